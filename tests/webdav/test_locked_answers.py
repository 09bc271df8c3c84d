"""The 423 over HTTP: its fields, its three forms, its 207, what comes before it, and that no token is ever in it."""

from __future__ import annotations

import json
import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

import pytest

from tests.serving import DAV, Answer, Client, Served
from tests.webdav.rooms import Room, conditions, proppatch_body

HOLDFAST = "{urn:holdfast:dav}"
FORMS = {
    "application/xml": "application/xml; charset=utf-8",
    "application/problem+json": "application/problem+json",
    "text/html": "text/html; charset=utf-8",
}
OFFICE = "Microsoft Office Word 2016"
TERRAFORM_READS = {"id", "operation", "info", "who", "version", "created", "path"}


def refusals(room: Room, client: Client, **fields: str) -> dict[str, Answer]:
    """Every way to be told 423, of the document `doc` locked by alice in the collection `coll`, locked in depth too."""
    at = room("coll/doc")
    return {
        "PUT": client.put(at, b"x", **fields),
        "LOCK": client.lock(at, **fields),
        "DELETE": client.request("DELETE", at, **fields),
        "PROPPATCH": client.request("PROPPATCH", at, proppatch_body(), **fields),
        "MKCOL": client.request("MKCOL", room("coll/new"), **fields),
        "MOVE": client.request("MOVE", at, destination=room("away"), **fields),
        "COPY": client.request("COPY", room("source"), destination=at, **fields),
    }


@pytest.fixture
def tokens(room: Room) -> list[str]:
    room.make("coll/", "coll/doc", "source")
    return [room.alice.locked(room("coll"), "shared", "infinity"), room.alice.locked(room("coll/doc"), "shared")]


@pytest.mark.parametrize("accept", [None, *FORMS])
def test_every_423_has_the_same_fields_and_no_token(room: Room, tokens: list[str], accept: str | None) -> None:
    fields = {} if accept is None else {"accept": accept}
    asked = {**refusals(room, room.bob, **fields)}
    asked["LOCK"] = room.bob.lock(room("coll/doc"), "exclusive", **fields)
    for name, answer in asked.items():
        assert answer.status == 423, name
        assert answer["Cache-Control"] == "no-store"
        assert "Accept" in [item.strip() for item in answer["Vary"].split(",")]
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert parsedate_to_datetime(answer["Date"]).tzinfo is not None
        assert 1 <= int(answer["Retry-After"]) <= 60
        link = answer["Link"]
        assert re.search(r'</api/locks/[A-Za-z0-9_-]+>; rel="describedby"', link), link
        assert '</problems/locked>; rel="help"' in link
        assert answer["Content-Type"] == FORMS[accept or "application/xml"]
        assert int(answer["Content-Length"]) == len(answer.body) > 0
        assert answer.headers["Lock-Token"] is None
        assert answer.headers["X-MSDAVEXT_ERROR"] is None
        said = unquote(str(answer.headers)).encode() + answer.body
        for token in tokens:
            assert token.removeprefix("urn:uuid:").encode() not in said, name


def test_retry_after_is_what_is_left_and_at_most_a_minute(room: Room) -> None:
    room.alice.locked(room("short"), timeout="Second-20")
    room.alice.locked(room("long"), timeout="Second-3600")
    assert int(room.bob.put(room("short"))["Retry-After"]) in {19, 20}
    assert room.bob.put(room("long"))["Retry-After"] == "60"
    room.later(15)
    assert int(room.bob.put(room("short"))["Retry-After"]) in {4, 5}
    room.later(int(room.bob.put(room("short"))["Retry-After"]))
    assert room.bob.put(room("short")).status == 204  # coming back when told helps


def test_the_xml_names_the_condition_the_root_and_the_holder(room: Room) -> None:
    room.make("coll/", "coll/doc")
    room.alice.locked(room("coll"), depth="infinity", timeout="Second-60")
    for answer, condition in (
        (room.bob.put(room("coll/doc")), "lock-token-submitted"),
        (room.bob.lock(room("coll/doc")), "no-conflicting-lock"),
    ):
        assert conditions(answer) == [condition]
        [held] = answer.xml.findall(f"{HOLDFAST}lock")
        assert held.findtext(f"{HOLDFAST}holder") == "alice"
        since, until = (datetime.fromisoformat(held.findtext(f"{HOLDFAST}{name}") or "") for name in ("since", "until"))
        assert 59 <= (until - since).total_seconds() <= 61


def test_the_json_is_a_problem_with_members_that_no_client_mistakes(room: Room) -> None:
    room.make("coll/", "coll/doc")
    token = Client(room.served.host, room.served.port, room.alice.authorization, "LibreOffice 24.8").locked(
        room("coll"), depth="infinity", timeout="Second-60"
    )
    answer = room.bob.put(room("coll/doc"), accept="application/problem+json")
    problem = json.loads(answer.body)
    assert problem["type"] == "urn:problem-type:holdfast:locked"
    assert (problem["title"], problem["status"]) == ("Locked", 423)
    assert "alice" in problem["detail"]
    assert problem["instance"] == problem["resource"] == room("coll/doc")
    assert problem["retry_after"] == int(answer["Retry-After"])
    assert not TERRAFORM_READS & set(problem)
    [held] = problem["locks"]
    assert set(held) == {
        "id", "root", "scope", "depth", "holder", "reason", "since", "expires_at", "expires_in", "queue_length", "url",
    }  # fmt: skip
    assert held["root"].rstrip("/") == room("coll")
    assert (held["scope"], held["depth"], held["queue_length"]) == ("exclusive", "infinity", 0)
    assert held["holder"] == {"name": "alice", "owner": "mailto:ada@example.org", "client": "LibreOffice 24.8"}
    assert 55 <= held["expires_in"] <= 60
    assert held["url"] == f"/api/locks/{held['id']}"
    assert f"<{held['url']}>" in answer["Link"]
    assert token not in json.dumps(problem)


def test_the_page_tells_a_person_who_and_until_when(room: Room) -> None:
    room.alice.locked(room("doc"), timeout="Second-60")
    page = room.bob.put(room("doc"), accept="text/html").body.decode()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "alice" in page
    assert "UTC" in page
    assert "doc" in page


@pytest.mark.parametrize(
    "accept, form",
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("application/json", "application/problem+json"),
        ("application/problem+json, application/xml;q=0.5", "application/problem+json"),
        ("text/xml", "application/xml"),
        ("*/*", "application/xml"),
        ("image/png", "application/xml"),
        ("application/xml;q=0, application/json", "application/problem+json"),
        (";;;,,,q=", "application/xml"),
    ],
)
def test_the_form_is_chosen_by_accept_and_xml_is_the_default(room: Room, accept: str, form: str) -> None:
    room.alice.locked(room("doc"))
    assert room.bob.put(room("doc"), accept=accept)["Content-Type"] == FORMS[form]


def test_what_a_client_writes_about_itself_comes_back_as_text_only(room: Room) -> None:
    """Owner and User-Agent are a stranger's words: no markup, no header line, no second document."""
    hostile = '<x:b xmlns:x="u">&lt;script&gt;alert(1)&lt;/script&gt;</x:b>'
    mallory = room.served.as_("alice", agent="</script><img src=x onerror=1>")
    body = mallory.request("LOCK", room("doc"), _lockinfo(hostile), depth="0")
    assert body.status == 201
    for accept in FORMS:
        answer = room.bob.put(room("doc"), accept=accept)
        if accept != "application/problem+json":
            assert b"<script>alert" not in answer.body
            assert b"<img" not in answer.body


def _lockinfo(owner: str) -> bytes:
    return (
        '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype>'
        f"<D:owner>{owner}</D:owner></D:lockinfo>"
    ).encode()


@pytest.mark.parametrize("agent", [OFFICE, "Microsoft-WebDAV-MiniRedir/10.0.19045", "MSOffice 16"])
def test_office_reads_who_holds_it_in_its_own_field(room: Room, tokens: list[str], agent: str) -> None:
    """MS-WDV section 2.2.3: X-MSDAVEXT_ERROR: 589838; and a percent-encoded sentence."""
    for name, answer in refusals(room, room.served.as_("bob", agent=agent)).items():
        if name == "LOCK":
            continue
        code, _, sentence = answer["X-MSDAVEXT_ERROR"].partition("; ")
        assert code == "589838", name
        assert re.fullmatch(r"[A-Za-z0-9_.~%-]+", sentence), sentence
        assert "alice" in unquote(sentence)
    conflict = room.served.as_("bob", agent=agent).lock(room("coll/doc"), "exclusive")
    assert conflict["X-MSDAVEXT_ERROR"].startswith("589838; ")
    assert room.bob.put(room("coll/doc")).headers["X-MSDAVEXT_ERROR"] is None


def test_a_207_tells_of_each_member_who_holds_it(room: Room) -> None:
    """RFC 4918 sections 9.6.1, 9.9.2, 9.10.3: each response has its own error element, with the holder in it."""
    room.make("tree/", "tree/a", "tree/b", "tree/c")
    tokens = [room.alice.locked(room("tree/a"), timeout="Second-30"), room.alice.locked(room("tree/b"))]
    for answer, condition in (
        (room.bob.request("DELETE", room("tree/")), "lock-token-submitted"),
        (room.bob.request("MOVE", room("tree/"), destination=room("x/")), "lock-token-submitted"),
        (room.bob.lock(room("tree/"), depth="infinity"), "no-conflicting-lock"),
    ):
        assert answer.status == 207
        assert answer["Cache-Control"] == "no-store"
        assert 1 <= int(answer["Retry-After"]) <= 60
        locked = [item for item in answer.xml if " 423 " in (item.findtext(f"{DAV}status") or "")]
        assert sorted(item.findtext(f"{DAV}href") or "" for item in locked) == [room("tree/a"), room("tree/b")]
        for item in locked:
            [error] = item.findall(f"{DAV}error")
            href = item.findtext(f"{DAV}href")
            assert error.findtext(f"{DAV}{condition}/{DAV}href") == href
            assert error.findtext(f"{HOLDFAST}lock/{HOLDFAST}holder") == "alice"
        assert all(token.encode() not in answer.body for token in tokens)


def test_a_lock_on_the_destination_itself_is_423_and_not_207(room: Room) -> None:
    """A flat copy of a collection into itself meets a lock on its destination, which is no member of what changes."""
    room.make("coll/", "coll/sub/", "coll/sub/doc")
    room.alice.locked(room("coll/sub"))
    copied = room.bob.request("COPY", room("coll/"), destination=room.at("coll/sub/x"), depth="0")
    assert copied.status == 423
    assert room.bob.request("COPY", room("coll/sub/doc"), destination=room.at("coll/sub")).status in {403, 423}


def test_a_false_condition_is_told_before_a_lock(room: Room) -> None:
    """412 before 423 (RFC 4918 sections 8.5 and 10.4.3): If, If-Match and If-None-Match."""
    room.make("doc")
    room.alice.locked(room("doc"))
    unknown = "(<urn:uuid:00000000-0000-4000-8000-000000000000>)"
    for name, value in (("If", unknown), ("If-Match", '"stale"'), ("If-None-Match", "*")):
        assert room.bob.put(room("doc"), headers={name: value}).status == 412, name
        assert room.bob.request("DELETE", room("doc"), headers={name: value}).status == 412, name
        answer = room.bob.request("PROPPATCH", room("doc"), proppatch_body(), headers={name: value})
        assert answer.status == 412, name
    assert room.bob.put(room("doc"), headers={"If-Match": room.bob.get(room("doc"))["ETag"]}).status == 423
    assert room.bob.lock(room("doc"), if_none_match="*").status == 412


def test_who_may_not_write_learns_nothing_of_locks_or_conditions(room: Room, shared: Served) -> None:
    """401 and 403 before 412 and 423, and no holder's name for a stranger."""
    room.make("coll/", "coll/doc", "source")
    room.alice.locked(room("coll"), depth="infinity")
    stranger, impostor = shared.anonymous, shared.as_("alice", "wrong")
    for fields in ({}, {"if_": "(<urn:x:unknown>)"}, {"if_match": '"stale"'}):
        for name, answer in refusals(room, stranger, **fields).items():
            assert answer.status == 401, name
            assert "WWW-Authenticate" in answer.headers
            assert b"alice" not in answer.body
        for name, answer in refusals(room, room.rita, **fields).items():
            assert answer.status == 403, name
            assert b"alice" not in answer.body
    assert impostor.put(room("coll/doc")).status == 401
