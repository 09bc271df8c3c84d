"""Each probe is shown to fire, and to fire only where its own promise is broken."""

from __future__ import annotations

import pytest

from holdfast.inspector.probing import PROBES, Principal, ServerReport, Verdict, run_probes
from tests.probing.faults import FAULTS
from tests.probing.wrong_server import USERS, WrongServer

PRINCIPALS = tuple(Principal(name, password) for name, password in USERS.items())


def probed(*faults: str) -> tuple[ServerReport, WrongServer]:
    server = WrongServer(*faults)
    url = "http://wrong.test/dav/"
    return run_probes(url, PRINCIPALS, transport=server, pace=server.pace, limit_s=100_000), server


def test_a_right_server_passes_every_probe_and_has_every_switch_in_the_table():
    report, server = probed()
    assert {result.id: result for result in report.results if result.findings or result.verdict is Verdict.ERROR} == {}
    assert [result.id for result in report.results if result.verdict is not Verdict.PASSED] == [
        "alias-case",
        "alias-unicode",
    ]
    known = {word for words in FAULTS for word in words.split("; ")}
    assert server.asked_for <= known, "a switch that no test turns"


@pytest.mark.parametrize("words", FAULTS)
def test_a_fault_is_seen_by_the_probes_that_ask_for_it_and_by_no_others(words):
    report, server = probed(*words.split("; "))
    failed = [result.id for result in report.results if result.verdict is Verdict.FAILED]
    assert failed == FAULTS[words].split()
    assert set(words.split("; ")) <= server.asked_for
    for result in report.results:
        for finding in result.findings:
            assert finding.summary
            assert finding.came, f"{result.id} does not show what came"


def test_each_probe_fires_for_some_fault():
    assert {probe_id for ids in FAULTS.values() for probe_id in ids.split()} == set(PROBES)


@pytest.mark.parametrize("probe_id", PROBES)
def test_each_probe_says_what_it_promises_and_where_that_is_written(probe_id):
    probe = PROBES[probe_id]
    assert probe.title.endswith(".")
    assert probe.source.section
    assert probe_id == probe_id.lower()
