"""A run: it ends in time, goes on after a probe that fails, and leaves the server as it was, whatever happens."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.inspector.probing import PROBES, Principal, UnusableServerError, Verdict, chosen, run_probes, showing
from holdfast.inspector.probing.showing import as_json
from holdfast.inspector.probing.wire import NoAnswerError
from tests.probing.wrong_server import USERS, WrongServer

ADA, BOB = (Principal(name, password) for name, password in USERS.items())
URL = "http://wrong.test/dav/"


def run(server, principals=(ADA, BOB), **options):
    options.setdefault("limit_s", 100_000)
    return run_probes(URL, principals, transport=server, pace=server.pace, **options)


def is_as_it_was(server: WrongServer) -> bool:
    return server.files == {"": None, "/dav": None} and not [lock for lock in server.locks if server.is_live(lock)]


def test_nothing_is_left_behind():
    server = WrongServer()
    assert run(server).leftovers == ()
    assert is_as_it_was(server)


@pytest.mark.parametrize("after", [1, 7, 60])
def test_ctrl_c_takes_away_what_was_made_and_passes_through(after):
    server = WrongServer()
    seen: list[str] = []

    def stop(result, done, total):
        seen.append(result.id)
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(server, on_result=stop)
    assert len(seen) == after
    assert is_as_it_was(server)


@pytest.mark.parametrize("method", ["MKCOL", "LOCK", "PUT", "UNLOCK", "DELETE"])
def test_ctrl_c_in_the_middle_of_a_request_takes_away_what_was_made(method):
    class Interrupted(WrongServer):
        left = 12

        def exchange(self, request, within, midway=None):
            self.left -= request.method == method
            if not self.left:
                self.left = -1
                raise KeyboardInterrupt
            return super().exchange(request, within, midway)

    server = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        run(server)
    assert is_as_it_was(server)


def test_what_cannot_be_taken_away_is_told():
    server = WrongServer("UNLOCK does nothing", "members are always in the way")
    told: list[str] = []
    report = run(server, on_leftover=told.append)
    assert told == list(report.leftovers)
    assert told
    assert "is still there" in told[0]


def test_a_run_ends_when_its_time_is_over():
    class Slow(WrongServer):
        def exchange(self, request, within, midway=None):
            self.pace.seconds += 1
            return super().exchange(request, within, midway)

    server = Slow()
    report = run(server, limit_s=60)
    assert report.seconds < 120
    undecided = [result for result in report.results if result.verdict is Verdict.ERROR]
    assert len(undecided) > 50
    assert {result.reason for result in undecided} == {"its time was used up"}
    assert is_as_it_was(server)


def test_a_probe_that_gets_no_answer_is_undecided_and_the_others_go_on():
    class Mute(WrongServer):
        def exchange(self, request, within, midway=None):
            if request.method == "COPY":
                raise NoAnswerError("COPY: no answer")
            return super().exchange(request, within, midway)

    report = run(Mute())
    undecided = {result.id for result in report.results if result.verdict is Verdict.ERROR}
    assert {"copy-onto-locked", "copy-over-tree"} <= undecided
    assert report.count(Verdict.PASSED) > 100


def test_a_request_of_ill_will_that_gets_no_answer_is_a_finding():
    class Hanging(WrongServer):
        def exchange(self, request, within, midway=None):
            if "4100000000" in (request.field("timeout") or ""):
                raise NoAnswerError("LOCK: no answer in time")
            return super().exchange(request, within, midway)

    result = run(Hanging(), probes=chosen(["absurd-timeouts"])).results[0]
    assert result.verdict is Verdict.FAILED
    assert "Infinite, Second-4100000000" in result.findings[0].summary


def test_what_takes_two_principals_is_not_applicable_with_one():
    report = run(WrongServer(), [ADA])
    foreign = [result for result in report.results if result.id.startswith("foreign-")]
    assert len(foreign) == 7
    assert {result.verdict for result in foreign} == {Verdict.NOT_APPLICABLE}
    assert {result.reason for result in foreign} == {
        "two principals are needed (give --user NAME:PASSWORD a second time)"
    }
    told = [line.text for line in showing.text_lines(report) if "principal" in line.text]
    count = sum("two principals are needed" in result.reason for result in report.results)
    assert told == [
        f"{count} probes were left out: two principals are needed (give --user NAME:PASSWORD a second time)."
    ]
    assert report.count(Verdict.FAILED) == 0


def test_a_second_principal_who_may_not_write_is_named():
    report = run(WrongServer(), [ADA, Principal("bob", "wrong")])
    assert report.principals == ("ada",)
    assert "bob cannot write here: PUT was answered 401" in report.notes[0]


def test_wrong_credentials_are_told_before_anything_is_probed():
    with pytest.raises(UnusableServerError, match="MKCOL was answered 401"):
        run(WrongServer(), [Principal("ada", "wrong")])


def test_a_probe_can_be_chosen_and_left_out():
    report = run(WrongServer(), probes=chosen(["put-locked", "lock-race"], ["lock-race"]))
    assert [result.id for result in report.results] == ["put-locked"]
    assert len(chosen()) == len(PROBES)
    with pytest.raises(KeyError, match="no-such"):
        chosen(["no-such"])


def test_no_report_holds_credentials():
    text = as_json([run(WrongServer("protects nothing"))])
    assert "Basic " not in text
    assert "ada-secret" not in text
    assert msgspec.json.decode(text)["servers"][0]["principals"] == ["ada", "bob"]
