"""An inspection takes no more than it is given, and says what it did not judge."""

from __future__ import annotations

import gzip

from holdfast.inspector.budget import Budget, WorkLimits
from holdfast.inspector.inspecting import NOT_JUDGED, Generic, Report, inspect
from holdfast.inspector.rules import RULES
from holdfast.inspector.showing import Form, Shown, render
from tests.inspector.finding import XML, exchange

MEMBER = b"<D:response><D:href>/a</D:href><D:status>HTTP/1.1 423 Locked</D:status></D:response>"


def multistatus(members: int) -> bytes:
    return b'<D:multistatus xmlns:D="DAV:">' + MEMBER * members + b"</D:multistatus>"


def left_out(report: Report) -> list[str]:
    return [note.summary for note in report.notes if note.rule == NOT_JUDGED]


class Ticks:
    """A clock that goes on by a second each time that it is looked at."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return float(self.looks)


def test_a_body_that_is_too_long_is_judged_by_its_head_and_the_report_says_so():
    sent = exchange(
        XML, ("Content-Encoding", "gzip"), ("Retry-After", "soon"), status=423, body=gzip.compress(multistatus(1000))
    )
    report = inspect(sent, budget=Budget(WorkLimits(bytes_each=1000)), generic=False)
    assert left_out(report) == ["The body is not judged, only the head: it has more than 1000 bytes"]
    rules = {note.rule for note in report.notes}
    assert "H01" in rules
    assert not rules & {"L02", "L09", "S07", "L01"}
    assert report.explanation.endswith("Not everything was judged.")
    assert NOT_JUDGED not in {cost.rule for cost in report.costs}
    for form in Form:
        assert "The body is not judged" in render(form, [Shown("x", report)])


def test_a_body_of_too_many_elements_is_judged_by_its_head():
    budget = Budget(WorkLimits(nodes_each=10))
    assert not left_out(inspect(exchange(XML, status=207, body=multistatus(3)), budget=budget, generic=False))
    report = inspect(exchange(XML, status=207, body=multistatus(4)), budget=budget, generic=False)
    assert left_out(report) == ["The body is not judged, only the head: it has more than 10 elements"]


def test_what_is_left_for_later_bodies_is_what_the_earlier_did_not_take():
    sent = exchange(XML, status=207, body=multistatus(2))
    by_nodes = Budget(WorkLimits(nodes_each=10, nodes_in_all=20))
    found = [left_out(inspect(sent, budget=by_nodes, generic=False)) for _ in range(4)]
    assert [bool(one) for one in found] == [False, False, True, True]
    assert "too many elements" in found[2][0]
    by_bytes = Budget(WorkLimits(bytes_in_all=2 * len(sent.response.body)))
    found = [left_out(inspect(sent, budget=by_bytes, generic=False)) for _ in range(4)]
    assert [bool(one) for one in found] == [False, False, True, True]
    assert "too long" in found[2][0]


def test_no_more_is_decoded_than_fits():
    taken: list[int] = []

    class Watching(Budget):
        def take(self, content: bytes) -> str:
            taken.append(len(content))
            return super().take(content)

    body = gzip.compress(b"a" * 10_000_000)
    inspect(
        exchange(("Content-Encoding", "gzip"), status=423, body=body),
        budget=Watching(WorkLimits(bytes_each=500)),
        generic=False,
    )
    assert taken == [501]


def test_rules_for_which_no_time_is_left_are_named():
    report = inspect(exchange(status=423), budget=Budget(WorkLimits(seconds=10), clock=Ticks()))
    [said] = left_out(report)
    assert "the time for inspecting was over" in said
    unasked = set(said.rpartition(": ")[2].split(", "))
    assert unasked == {
        *sorted(RULES)[9:],
        "httplint",
    }  # before each rule the clock goes on by a second, and once at first
    assert report.generic is Generic.OFF


def test_a_response_that_was_never_begun_is_told_as_such():
    clock = Ticks()
    budget = Budget(WorkLimits(seconds=1), clock=clock)
    report = inspect(exchange(XML, status=423, body=b"<"), budget=budget)
    assert left_out(report) == ["Nothing of this response was judged: the time for inspecting was over before"]
    assert report.behaviour == ()
