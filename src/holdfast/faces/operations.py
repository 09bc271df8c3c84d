"""What machines ask of a running server: alive, ready, and its metrics; or, of one that has no more to tell, its metrics alone.

Owns: `/healthz`, `/readyz` and `/metrics`, and who may read the last. Must not know: what is counted or tried.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from holdfast.access.unknown import UnknownAnswer
from holdfast.core.access import Role
from holdfast.core.paths import ROOT
from holdfast.metrics import CONTENT_TYPE, Metrics
from holdfast.readiness import Readiness
from holdfast.store.protocol import StoreError
from holdfast.wire.exchange import Request, Response
from holdfast.wire.problem import PROBLEM_CONTENT_TYPE, Problem, encode_problem

__all__ = ["NOT_READY_TYPE", "OPERATIONS", "MetricsFace", "OperationsFace"]

HEALTH: Final = "/healthz"
READINESS: Final = "/readyz"
METRICS: Final = "/metrics"

OPERATIONS: Final = (HEALTH, READINESS, METRICS)
"""The addresses of this face."""

NOT_READY_TYPE: Final = "urn:problem-type:holdfast:not-ready"
"""The `type` of the 503; the member `parts` tells which part is at fault."""

_READS: Final = frozenset({"GET", "HEAD"})
_PLAIN: Final = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
_ALLOW: Final = ("Allow", "GET, HEAD, OPTIONS")


class _NotReadyProblem(Problem, frozen=True, kw_only=True):
    """A Problem that names each part, with `ok` or what is wrong with it."""

    parts: dict[str, str]


class OperationsFace:
    """Satisfies `wire.exchange.Face`. Safe from any thread."""

    def __init__(
        self,
        readiness: Readiness,
        metrics: Metrics,
        *,
        is_public: bool,
        unknown: Callable[[Request], UnknownAnswer],
    ) -> None:
        """With `is_public` the metrics are everybody's; else a reader's at the root. `unknown` answers who is not known."""
        self._readiness = readiness
        self._metrics = metrics
        self._is_public = is_public
        self._unknown = unknown

    def admit(self, head: Request) -> Response | None:
        """No request here has a body."""
        length = head.headers.get(b"content-length")
        if b"transfer-encoding" in head.headers or length not in {None, "0"}:
            return _refuse(415, "Unsupported Media Type", f"{head.method} takes no body here.")
        return None

    def is_brief(self, request: Request) -> bool:
        """True where neither disk nor store is asked."""
        return request.target == HEALTH or request.method not in _READS

    def __call__(self, request: Request) -> Response:
        """Answer."""
        if not isinstance(request.body, bytes):
            request.body.discard()
        if request.target not in OPERATIONS:
            return _refuse(404, "Not Found", "There is nothing at this address.")
        if request.method == "OPTIONS":
            return Response(204, [_ALLOW])
        if request.method not in _READS:
            return _refuse(405, "Method Not Allowed", f"{request.method} is not a method of this address.", _ALLOW)
        if request.target == HEALTH:
            return _send_json({"status": "ok"})
        return self._tell_readiness() if request.target == READINESS else self._tell_metrics(request)

    def _tell_readiness(self) -> Response:
        found = self._readiness.look()
        if found.is_ready:
            return _send_json({"status": "ok", "parts": found.parts})
        faults = "; ".join(f"{part}: {said}" for part, said in found.parts.items() if said != "ok")
        problem = _NotReadyProblem(
            type=NOT_READY_TYPE,
            title="Not ready",
            status=503,
            detail=f"The server cannot do its work at the moment ({faults}); its log says more.",
            parts=found.parts,
        )
        return Response(
            503, [("Content-Type", PROBLEM_CONTENT_TYPE), *_PLAIN, ("Retry-After", "1")], encode_problem(problem)
        )

    def _tell_metrics(self, request: Request) -> Response:
        if not self._is_public:
            if request.principal is None:
                unknown = self._unknown(request)
                title = "Unauthorized" if unknown.status == 401 else "Too Many Requests"
                return _refuse(unknown.status, title, unknown.detail, *unknown.headers)
            if request.principal.role_at(ROOT) < Role.READER:
                return _refuse(403, "Forbidden", "The metrics need the reader role at /.")
        return _render(self._metrics)


class MetricsFace:
    """The metrics alone, for everybody who gets as far as this. Satisfies `wire.exchange.Face`. Safe from any thread."""

    def __init__(self, metrics: Metrics) -> None:
        """Tell of these."""
        self._metrics = metrics

    def admit(self, head: Request) -> Response | None:
        """No body is read."""
        return None

    def is_brief(self, request: Request) -> bool:
        """False: the store is asked."""
        return False

    def __call__(self, request: Request) -> Response:
        """Answer."""
        if request.method == "OPTIONS":
            return Response(204, [_ALLOW])
        if request.method not in _READS:
            return _refuse(405, "Method Not Allowed", f"{request.method} is not a method of this address.", _ALLOW)
        return _render(self._metrics)


def _render(metrics: Metrics) -> Response:
    try:
        text = metrics.render()
    except StoreError:
        return _refuse(503, "Service Unavailable", "The store cannot be read; the log says more.", ("Retry-After", "1"))
    return Response(200, [("Content-Type", CONTENT_TYPE), *_PLAIN], text)


def _send_json(value: object) -> Response:
    return Response(200, [("Content-Type", "application/json"), *_PLAIN], msgspec.json.encode(value))


def _refuse(status: int, title: str, detail: str, *headers: tuple[str, str]) -> Response:
    body = encode_problem(Problem(title=title, status=status, detail=detail))
    return Response(status, [("Content-Type", PROBLEM_CONTENT_TYPE), *_PLAIN, *headers], body)
