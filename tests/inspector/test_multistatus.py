"""Rules L09 and L10, and L03 in a multistatus: whether what is locked is told where clients look for it."""

from __future__ import annotations

import pytest

from holdfast.inspector.inspected import Inspected
from holdfast.inspector.rules import RULES
from tests.inspector.refusals import LOCKED, SUBMITTED, answer, error, levels, member, multistatus, notes

RIGHT = member(LOCKED + f"<D:error>{SUBMITTED}</D:error>")
PROPSTAT = f"<D:propstat><D:prop><X:p/></D:prop>{LOCKED}<D:error>{SUBMITTED}</D:error></D:propstat>"


@pytest.mark.parametrize(
    "body",
    [multistatus(RIGHT), multistatus(member(PROPSTAT)), multistatus(RIGHT, member(LOCKED, "<D:href>/d/b</D:href>"))],
)
def test_a_right_multistatus_is_right(body):
    assert levels("L09", answer(body, 207)) == []


@pytest.mark.parametrize("line", ["423 Locked", "423", "HTTP/2 423 Locked", "Locked 423", "HTTP/1.1  423 Locked"])
def test_a_status_is_a_whole_status_line(line):
    body = multistatus(member(f"<D:status>{line}</D:status><D:error>{SUBMITTED}</D:error>"))
    assert levels("L09", answer(body, 207)) == ["bad"]


@pytest.mark.parametrize(
    "body",
    [
        multistatus(member(LOCKED + SUBMITTED)),
        multistatus(member(LOCKED), f"<D:error>{SUBMITTED}</D:error>"),
        multistatus(member(f"<D:propstat><D:prop>{SUBMITTED}</D:prop>{LOCKED}</D:propstat>")),
        multistatus(member(f"<D:error>{SUBMITTED}</D:error>")),
        multistatus(member(LOCKED, href="")),
        multistatus(RIGHT, RIGHT),
        error(SUBMITTED),
    ],
    ids=["beside", "above", "in prop", "no status", "no href", "twice", "no multistatus"],
)
def test_what_stands_in_the_wrong_place_is_not_found(body):
    assert "bad" in levels("L09", answer(body, 207))


def test_a_code_for_a_lock_goes_with_423():
    body = multistatus(member(f"<D:status>HTTP/1.1 403 Forbidden</D:status><D:error>{SUBMITTED}</D:error>"))
    assert levels("L09", answer(body, 207)) == ["warn"]


def test_a_multistatus_is_looked_for_in_a_207_alone():
    """mod_dav answers DELETE of a collection with a locked member so."""
    assert levels("L09", answer(multistatus(RIGHT), 424, method="DELETE")) == ["warn"]


def test_a_locked_member_without_a_code_is_warned_of_once():
    """As wsgidav and mod_dav have it."""
    body = multistatus(member(LOCKED), member(LOCKED, "<D:href>/d/b</D:href>"))
    found = notes("L03", answer(body, 207, method="DELETE"))
    assert [note.level.value for note in found] == ["warn"]
    assert found[0].summary.startswith("/d/a and 1 more: ")
    assert levels("L03", answer(multistatus(RIGHT), 207, method="DELETE")) == []


def test_the_error_of_a_property_may_stand_at_its_resource():
    """Section 16: in the propstat or response element, depending on what the condition applies to."""
    propstat = f"<D:propstat><D:prop><X:p/></D:prop>{LOCKED}</D:propstat>"
    body = multistatus(member(f"{propstat}<D:error>{SUBMITTED}</D:error>"))
    exchange = answer(body, 207, method="PROPPATCH")
    assert [note for rule_id in RULES if rule_id[0] == "L" for note in notes(rule_id, exchange)] == []


def test_a_multistatus_in_which_nothing_is_locked_is_left_alone():
    body = multistatus(member("<D:status>404</D:status>", href=""))
    assert all(levels(rule_id, answer(body, 207, method="DELETE")) == [] for rule_id in RULES if rule_id[0] == "L")


def test_424_is_left_out_of_the_answer_to_delete():
    dependent = member("<D:status>HTTP/1.1 424 Failed Dependency</D:status>", "<D:href>/d/</D:href>")
    assert levels("L10", answer(multistatus(RIGHT, dependent), 207, method="DELETE")) == ["warn"]
    assert levels("L10", answer(multistatus(RIGHT, dependent), 207, method="LOCK")) == []
    assert levels("L10", answer(multistatus(RIGHT, dependent), 207, method=None)) == []
    assert levels("L10", answer(multistatus(RIGHT), 207, method="DELETE")) == []


def test_members_are_counted_once_for_each_status():
    inspected = Inspected(answer(multistatus(RIGHT, member(PROPSTAT, "<D:href>/d/b</D:href>")), 207))
    assert [(one.href, one.status, one.in_propstat) for one in inspected.members] == [
        ("/d/a", 423, False),
        ("/d/b", 423, True),
    ]
    assert len(inspected.locked_members) == 2
