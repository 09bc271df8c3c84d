"""RFC 4918 sections 10.4 and 10.5, and 5.2: conditions over HTTP, what a token matches, and one lock for all spellings.

The numbers in brackets are those of the project's list of locking requirements that litmus does not cover.
"""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

import pytest

from tests.webdav.rooms import Room, conditions, discovered

UNKNOWN = "urn:uuid:00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    "text",
    ["", "()", "(", "<a>", "banana", "(<urn:x>", "(<urn:x>) <http://h/>", "(Not)", "([etag])", "(<a b>)", "((<a>))"],
)
def test_an_if_header_that_cannot_be_read_is_400(room: Room, text: str) -> None:
    """[35] Section 10.4.2; nothing is changed, and nothing of the header comes back."""
    room.make("doc")
    answer = room.alice.put(room("doc"), b"changed", if_=text)
    assert answer.status == 400
    assert room.alice.get(room("doc")).body == b"text"
    assert b"urn:x" not in answer.body


@pytest.mark.parametrize("method", ["PUT", "DELETE", "MOVE", "COPY", "PROPPATCH", "MKCOL", "LOCK"])
def test_when_every_list_is_false_the_request_fails_with_412(room: Room, method: str) -> None:
    """[36] Section 10.4.3: for every method that changes something, locked or not, and before 423."""
    room.make("free", "held", "source")
    token = room.bob.locked(room("held"))
    for name in ("free", "held"):
        target = room("new-" + name if method == "MKCOL" else name)
        body = {
            "PUT": b"changed",
            "LOCK": b"<D:lockinfo xmlns:D='DAV:'><D:lockscope><D:shared/></D:lockscope>"
            b"<D:locktype><D:write/></D:locktype></D:lockinfo>",
            "PROPPATCH": b"<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><D:x/></D:prop></D:set></D:propertyupdate>",
        }.get(method)
        fields = {"destination": room.at("elsewhere")} if method in {"MOVE", "COPY"} else {}
        for condition in (f"(<{UNKNOWN}>)", '(["no such tag"])', f'(<{UNKNOWN}>) (Not <{UNKNOWN}> ["none"])'):
            answer = room.alice.request(method, target, body, if_=condition, **fields)
            assert answer.status == 412, (name, condition)
            assert "Lock-Token" not in answer.headers
    assert room.alice.get(room("elsewhere")).status == 404
    assert room.alice.get(room("free")).body == room.alice.get(room("held")).body == b"text"
    assert len(discovered(room.bob, room("held"))) == 1
    assert room.bob.put(room("held"), if_=f"(<{token}>)").status == 204


def test_lists_are_alternatives_and_conditions_of_a_list_all_hold(room: Room) -> None:
    """[37] Section 10.4.3: OR of lists, AND in a list, Not, tagged lists about other resources."""
    room.make("doc", "other")
    token = room.alice.locked(room("doc"))
    etag, other = room.alice.get(room("doc"))["ETag"], room.alice.get(room("other"))["ETag"]
    doc, elsewhere = f"<{room('doc')}>", f"<{room.at('other')}>"
    expected = {
        f"(<{token}>)": 204,
        f"(<{token}> [{etag}])": 204,
        f'(<{token}> ["stale"])': 412,
        f'(["stale"]) (<{token}>)': 204,
        f"(<{token}> Not <DAV:no-lock>)": 204,
        f"(<{token}>) (Not <DAV:no-lock>)": 204,
        f"(Not <{token}>)": 412,
        "(Not <DAV:no-lock>)": 423,  # true, and submits nothing
        f"(Not <{token}>) (Not <DAV:no-lock>)": 423,
        f"([{etag}])": 423,
        f"{doc} (<{token}>)": 204,
        f"{doc} (<{token}> [{etag}]) {elsewhere} ([{other}])": 204,
        f'{doc} (<{token}>) {elsewhere} (["stale"])': 204,  # one true list is enough
        f"{elsewhere} ([{other}])": 423,
        f"{elsewhere} (<{token}>)": 412,  # the token is not of a lock on that resource
        f"{elsewhere} (Not <{token}>) {doc} (<{token}>)": 204,
        f"<{room('unmapped')}> (<{token}>)": 412,
        f"<http://elsewhere.invalid/x> (<{token}>)": 412,
        f"<http://elsewhere.invalid/x> (Not <{token}>)": 423,
    }
    found: dict[str, int] = {}
    for text in expected:
        current = room.alice.get(room("doc"))["ETag"]
        found[text] = room.alice.put(room("doc"), b"text", if_=text.replace(etag, current)).status
    assert found == expected


def test_a_token_matches_only_where_its_lock_covers_the_resource(room: Room) -> None:
    """[38] Section 10.4.4: also for indirectly locked members; never outside of the lock's scope."""
    room.make("coll/", "coll/doc", "beside")
    token = room.alice.locked(room("coll"), depth="infinity")
    assert room.alice.put(room("coll/doc"), if_=f"<{room('coll/doc')}> (<{token}>)").status == 204
    assert room.alice.put(room("beside"), if_=f"(<{token}>)").status == 412
    assert (
        room.alice.put(room("beside"), if_=f"<{room('coll')}> (<{token}>)").status == 204
    )  # true of coll, and beside is free
    flat = room.alice.locked(room("beside"))
    assert room.alice.put(room("coll/doc"), if_=f"(<{flat}>)").status == 412


def test_a_depth_0_lock_of_a_collection_says_nothing_of_its_members(room: Room) -> None:
    """[38] Section 10.4.4: its token is not a state of a member."""
    room.make("coll/", "coll/doc")
    token = room.alice.locked(room("coll"))
    assert room.alice.put(room("coll/doc"), if_=f"(<{token}>)").status == 412
    assert room.alice.put(room("coll/doc"), if_=f"<{room('coll')}> (<{token}>)").status == 204


def test_a_weak_entity_tag_is_not_a_strong_one(room: Room) -> None:
    """[38] Section 10.4.4 with RFC 9110 section 8.8.3.2: overwriting asks for certainty."""
    room.make("doc")
    etag = room.alice.get(room("doc"))["ETag"]
    assert not etag.startswith("W/")
    assert room.alice.put(room("doc"), if_=f"([W/{etag}])").status == 412
    assert room.alice.put(room("doc"), if_=f"([{etag}])").status == 204
    assert room.alice.put(room("doc"), if_=f"([{etag}])").status == 412  # it has changed


def test_a_lock_token_field_must_name_a_lock_that_includes_the_request_uri(room: Room) -> None:
    """[39] Sections 10.5 and 16: UNLOCK and refresh, on a parent, a sibling, and below a depth-0 lock."""
    room.make("coll/", "coll/doc", "coll/sibling")
    token = room.alice.locked(room("coll/doc"))
    for name in ("coll", "coll/sibling", "coll/doc/below"):
        answer = room.alice.unlock(room(name), token)
        assert answer.status == 409, name
        assert conditions(answer) == ["lock-token-matches-request-uri"]
        refresh = room.alice.request("LOCK", room(name), if_=f"(<{token}>)")
        assert refresh.status == 412, name
        assert conditions(refresh) == ["lock-token-matches-request-uri"]
    flat = room.alice.locked(room("coll"))
    assert room.alice.unlock(room("coll/sibling"), flat).status == 409
    assert room.alice.unlock(room("coll/"), flat).status == 204


@pytest.mark.parametrize(
    "locked_as, written_as",
    [
        ("coll/", "coll"),
        ("coll", "coll/"),
        ("%61.txt", "a.txt"),
        ("a.txt", "%61%2etxt"),
        ("na%C3%AFve", "na%c3%afve"),
        ("x%7Ey", "x~y"),
        ("two%20words", "two%20words?query"),
    ],
)
def test_every_spelling_of_a_url_meets_the_same_lock(room: Room, locked_as: str, written_as: str) -> None:
    """[48] Section 5.2 and RFC 3986 section 6.2.2: slash at the end, percent-encoding and its letter case."""
    room.make("coll/" if "coll" in locked_as else locked_as)
    token = room.alice.locked(room(locked_as))
    assert room.bob.request("DELETE", room(written_as)).status == 423
    assert room.bob.lock(room(written_as)).status == 423
    assert len(discovered(room.bob, room(written_as))) == 1
    tagged = f"<{room(written_as)}> (<{token}>)"
    assert room.alice.request("LOCK", room(locked_as), if_=tagged).status == 200
    assert room.alice.unlock(room(written_as), token).status == 204


@pytest.mark.parametrize("held, asked", [("NFC", "NFD"), ("NFD", "NFC")])
def test_both_unicode_forms_of_a_name_meet_the_same_lock(room: Room, held: str, asked: str) -> None:
    """[48] macOS sends decomposed names, others composed ones; a person sees one document."""
    name = "r\u00e9sum\u00e9.txt"
    stored, other = (quote(unicodedata.normalize(form, name)) for form in (held, asked))
    token = room.alice.locked(room(stored))
    assert room.bob.put(room(other), b"over").status == 423
    assert room.bob.lock(room(other)).status == 423
    assert room.alice.put(room(other), b"mine", if_=f"(<{token}>)").status == 204
    assert len(list(room.folder.iterdir())) == 1
    assert room.alice.get(room(stored)).body == b"mine"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PROPFIND"])
def test_an_if_header_is_a_condition_of_reads_too(room: Room, method: str) -> None:
    """Section 10.4.1: it makes any method conditional. A lock that stands is no hindrance, a false list is."""
    room.make("doc")
    token = room.alice.locked(room("doc"))
    success = 207 if method == "PROPFIND" else 200
    for condition, status in (
        (f"(<{token}>)", success),
        ("(Not <DAV:no-lock>)", success),
        ("(<DAV:no-lock>)", 412),
        ('(["stale"])', 412),
        ("((", 400),
    ):
        assert room.bob.request(method, room("doc"), depth="0", if_=condition).status == status, condition
