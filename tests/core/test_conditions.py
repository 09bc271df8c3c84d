"""What an If header means (RFC 4918 section 10.4): whether it holds, and which tokens it submits."""

from __future__ import annotations

import pytest

from holdfast.core.conditions import (
    NO_LOCK,
    ConditionList,
    EtagCondition,
    IfHeader,
    Submission,
    TokenCondition,
)
from holdfast.core.model import Lock
from holdfast.core.paths import ResourcePath
from tests.core.sample import INFINITY, ZERO, lock, path, said

A_DOC = lock("/dav/doc", depth=ZERO, token="urn:doc")
A_TREE = lock("/dav/tree", depth=INFINITY, token="urn:tree")
A_FLAT = lock("/dav/flat", depth=ZERO, token="urn:flat")
ETAGS = {"/dav/doc": '"v1"', "/dav/tree/x": '"v2"'}


class State:
    """Three locks, two entity tags; `/dav/unmapped` is not there."""

    def matching_lock(self, token: str) -> Lock | None:
        return {held.token: held for held in (A_DOC, A_TREE, A_FLAT)}.get(token)

    def etag_of(self, resource: ResourcePath) -> str | None:
        return ETAGS.get(resource.text)


def tok(token: str) -> TokenCondition:
    return TokenCondition(token)


def no_tok(token: str) -> TokenCondition:
    return TokenCondition(token, negated=True)


def tag(etag: str) -> EtagCondition:
    return EtagCondition(etag)


def no_tag(etag: str) -> EtagCondition:
    return EtagCondition(etag, negated=True)


def about(resource: str | None, *conditions: TokenCondition | EtagCondition, tagged: bool = False) -> ConditionList:
    return ConditionList(None if resource is None else path(resource), conditions, tagged)


CASES = {
    "the right token": (True, [about("/dav/doc", tok("urn:doc"))]),
    "a wrong token": (False, [about("/dav/doc", tok("urn:nobody"))]),
    "the token of another resource's lock": (False, [about("/dav/doc", tok("urn:tree"))]),
    "token of an infinity lock, about a member": (True, [about("/dav/tree/x/y", tok("urn:tree"))]),
    "token of an infinity lock, about its root": (True, [about("/dav/tree", tok("urn:tree"))]),
    "token of an infinity lock, about its parent": (False, [about("/dav", tok("urn:tree"))]),
    "token of a depth-0 lock, about a member": (False, [about("/dav/flat/x", tok("urn:flat"))]),
    "no lock is never a state": (False, [about("/dav/doc", tok(NO_LOCK))]),
    "not no-lock is always true": (True, [about("/dav/free", no_tok(NO_LOCK))]),
    "not the right token": (False, [about("/dav/doc", no_tok("urn:doc"))]),
    "not a wrong token": (True, [about("/dav/doc", no_tok("urn:nobody"))]),
    "10.4.7 not one, but the other": (True, [about("/dav/doc", no_tok("urn:tree"), tok("urn:doc"))]),
    "10.4.8 a stale token, or true": (True, [about("/dav/doc", tok("urn:stale")), about("/dav/doc", no_tok(NO_LOCK))]),
    "the right entity tag": (True, [about("/dav/doc", tag('"v1"'))]),
    "a wrong entity tag": (False, [about("/dav/doc", tag('"v0"'))]),
    "an entity tag without its quotes": (False, [about("/dav/doc", tag("v1"))]),
    "a weak tag never matches, also of the same text": (False, [about("/dav/doc", tag('W/"v1"'))]),
    "not a weak tag": (True, [about("/dav/doc", no_tag('W/"v1"'))]),
    "token and tag": (True, [about("/dav/doc", tok("urn:doc"), tag('"v1"'))]),
    "token and a wrong tag": (False, [about("/dav/doc", tok("urn:doc"), tag('"v0"'))]),
    "a wrong token and the tag": (False, [about("/dav/doc", tok("urn:nobody"), tag('"v1"'))]),
    "one false list and one true": (True, [about("/dav/doc", tag('"v0"')), about("/dav/doc", tok("urn:doc"))]),
    "two false lists": (False, [about("/dav/doc", tag('"v0"')), about("/dav/doc", tok("urn:nobody"))]),
    "tagged about another resource that is so": (True, [about("/dav/tree/x", tag('"v2"'), tagged=True)]),
    "tagged about another resource that is not so": (False, [about("/dav/tree/x", tag('"v1"'), tagged=True)]),
    "10.4.11 an unmapped URL has no tag": (False, [about("/dav/unmapped", tag('"4217"'), tagged=True)]),
    "10.4.11 an unmapped URL has not that tag": (True, [about("/dav/unmapped", no_tag('"4217"'), tagged=True)]),
    "an unmapped URL has no lock": (False, [about("/dav/unmapped", tok("urn:doc"), tagged=True)]),
    "an unmapped URL below an infinity lock has it": (True, [about("/dav/tree/new", tok("urn:tree"), tagged=True)]),
    "a foreign tag has no lock": (False, [about(None, tok("urn:doc"), tagged=True)]),
    "a foreign tag has no entity tag": (False, [about(None, tag('"v1"'), tagged=True)]),
    "a foreign tag has not that lock": (True, [about(None, no_tok("urn:doc"), tagged=True)]),
    "a foreign tag is false beside a true condition": (
        False,
        [about(None, no_tok(NO_LOCK), tok("urn:doc"), tagged=True)],
    ),
}


@pytest.mark.parametrize(("holds", "lists"), CASES.values(), ids=CASES)
def test_a_header_holds_when_one_list_does_and_a_list_when_all_its_conditions_do(
    holds: bool, lists: list[ConditionList]
):
    assert IfHeader(tuple(lists)).holds(State()) is holds


def test_a_macos_move_of_a_tree_may_hold_out_untagged_the_tokens_of_open_members():
    # macOS webdavfs collects the tokens of all open members of a folder that it moves.
    header = IfHeader((about("/dav", tok("urn:doc")), about("/dav", tok("urn:flat"))))
    assert not header.holds(State())
    assert header.holds(State(), reaches_down=True)
    assert all(
        item.unlocks(held) for item, held in zip(header.submissions(reaches_down=True), (A_DOC, A_FLAT), strict=True)
    )
    assert not any(item.unlocks(held) for item in header.submissions() for held in (A_DOC, A_FLAT))


def test_a_tagged_list_never_reaches_down():
    header = IfHeader((about("/dav", tok("urn:doc"), tagged=True),))
    assert not header.holds(State(), reaches_down=True)
    assert not any(item.unlocks(A_DOC) for item in header.submissions(reaches_down=True))


def test_a_token_inside_not_is_not_submitted():
    # Apache 2.4's first bypass: `If: (Not <tokA>) (Not <DAV:no-lock>)` holds, and must submit nothing.
    header = IfHeader((about("/dav/doc", no_tok("urn:doc")), about("/dav/doc", no_tok(NO_LOCK))))
    assert header.holds(State())
    assert list(header.submissions()) == []


def test_a_token_about_a_resource_outside_its_locks_scope_is_not_submitted():
    # Apache 2.4's second bypass: `If: <http://host/other> (<tokA>)`; here with a list beside it that holds.
    header = IfHeader(
        (about("/dav/other", tok("urn:doc"), tagged=True), about("/dav/other", no_tok(NO_LOCK), tagged=True))
    )
    assert header.holds(State())
    assert not any(item.unlocks(A_DOC) for item in header.submissions())


def test_a_token_about_nothing_on_this_server_is_not_submitted():
    header = IfHeader((about(None, tok("urn:doc"), tagged=True), about("/dav/doc", no_tok(NO_LOCK))))
    assert header.holds(State())
    assert list(header.submissions()) == []


def test_a_token_in_a_false_list_beside_a_true_one_is_submitted():
    # RFC 4918 section 10.4.8: "the lock token ... will be submitted in any case".
    header = IfHeader((about("/dav/doc", tok("urn:doc"), tag('"v0"')), about("/dav/doc", no_tok(NO_LOCK))))
    assert header.holds(State())
    assert any(item.unlocks(A_DOC) for item in header.submissions())


@pytest.mark.parametrize("form", ["/dav/tree", "/dav/tree/member"])
def test_the_forms_of_7_5_2_all_submit_the_token_of_an_infinity_lock(form: str):
    header = IfHeader((about(form, tok("urn:tree"), tagged=True),))
    assert header.holds(State())
    assert any(item.unlocks(A_TREE) for item in header.submissions())


@pytest.mark.parametrize(
    ("submission", "held", "unlocks"),
    [
        (said(A_DOC), A_DOC, True),
        (said(A_DOC, "/dav"), A_DOC, False),
        (said(A_DOC, "/dav", reaches_down=True), A_DOC, True),
        (said(A_DOC, "/da", reaches_down=True), A_DOC, False),
        (said(A_DOC, "/dav/doc/below", reaches_down=True), A_DOC, False),
        (said(A_TREE, "/dav/tree/x"), A_TREE, True),
        (said(A_FLAT, "/dav/flat/x"), A_FLAT, False),
        (said(A_TREE, "/dav/doc"), A_DOC, False),
        (Submission("URN:DOC", path("/dav/doc")), A_DOC, False),
        (Submission("", path("/dav/doc")), A_DOC, False),
    ],
)
def test_a_submission_unlocks_only_its_own_lock_and_only_in_its_scope(
    submission: Submission, held: Lock, unlocks: bool
):
    assert submission.unlocks(held) is unlocks
