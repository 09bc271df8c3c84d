"""Probes of a server's locking: small conversations that show whether a promise of RFC 4918 is kept. Knows no server of its own."""

from holdfast.inspector.probing import catalogue, showing
from holdfast.inspector.probing.probe import PROBES, Need, Probe, ProbeFinding, ProbeResult, Verdict
from holdfast.inspector.probing.report import ServerReport
from holdfast.inspector.probing.running import DEFAULT_LIMIT_S, UnusableServerError, chosen, run_probes
from holdfast.inspector.probing.session import Principal

__all__ = [
    "DEFAULT_LIMIT_S",
    "PROBES",
    "Need",
    "Principal",
    "Probe",
    "ProbeFinding",
    "ProbeResult",
    "ServerReport",
    "UnusableServerError",
    "Verdict",
    "catalogue",
    "chosen",
    "run_probes",
    "showing",
]
