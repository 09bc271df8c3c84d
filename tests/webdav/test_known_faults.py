"""Faults found in other WebDAV servers, each as a test that this server does not have it.

The numbers are those of the project's survey of servers; the name of the server stands beside each.
Faults that are a race have their test in `test_races`. Not applicable as they stand:

| fault | why not | what stands in its place |
|---|---|---|
| 5, 20, 21, 30, 31: a look-up that scans all locks | a cost, not an answer | the store's tests refuse a query plan with a scan |
| 7 WsgiDAV on Redis: two round trips, KEYS, pickles | there is no Redis store | `test_races` here, the store suite, and the race of many processes on one store |
| 16 Apache's global mutex and unprotected dbm | no dbm, no files of locks | the store suite's overlapping transactions |
| 26 golang.org/x/net holds a lock during a request | a good idea, met otherwise | check and change share one transaction (`test_races`) |
| 33 sabre's right error codes | no fault | the codes are asserted throughout `test_rfc4918_*` |
"""

from __future__ import annotations

import re

import pytest

from holdfast.core.paths import ResourcePath
from tests.serving import DAV, Answer, Client, lockinfo
from tests.webdav.rooms import Room, activelocks, conditions, discovered, proppatch_body


def body_of_infinite_lock(client: Client, target: str, scope: str = "exclusive") -> Answer:
    return client.lock(target, scope, "infinity")


def timeout_of(answer: Answer) -> int:
    [lock] = activelocks(answer)
    text = lock.findtext(f"{DAV}timeout") or ""
    assert re.fullmatch(r"Second-[1-9][0-9]*", text), text
    return int(text.removeprefix("Second-"))


def test_1_ones_own_locked_descendants_do_not_stand_in_ones_own_way(room: Room) -> None:
    """[1] WsgiDAV: a tree could not be moved with the token of its child in hand. Tagged, and untagged as macOS sends."""
    for number, form in enumerate(("<{href}> (<{token}>)", "(<{token}>)")):
        room.make(f"tree-{number}/", f"tree-{number}/doc")
        token = room.alice.locked(room(f"tree-{number}/doc"))
        condition = form.format(href=room(f"tree-{number}/doc"), token=token)
        target = room(f"moved-{number}/")
        moved = room.alice.request("MOVE", room(f"tree-{number}/"), destination=target, if_=condition)
        assert moved.status == 201, form
        token = room.alice.locked(target + "doc")
        condition = form.format(href=target + "doc", token=token)
        assert room.bob.request("DELETE", target, if_=condition).status == 207
        assert room.alice.request("DELETE", target, if_=condition).status == 204


def test_2_two_holders_of_shared_locks_do_not_shut_each_other_out(room: Room) -> None:
    """[2] WsgiDAV, asgi-webdav: each wanted the tokens of both. One's own suffices (RFC 4918 section 6.2)."""
    room.make("doc")
    held = {"alice": room.alice.locked(room("doc"), "shared"), "bob": room.bob.locked(room("doc"), "shared")}
    for client, name in ((room.alice, "alice"), (room.bob, "bob")):
        assert client.put(room("doc"), name.encode(), if_=f"(<{held[name]}>)").status == 204
        assert client.put(room("doc")).status == 423
    assert room.alice.put(room("doc"), if_=f"(<{held['bob']}>)").status == 423
    assert room.served.as_("root").put(room("doc")).status == 423


def test_3_a_refused_write_says_lock_token_submitted(room: Room) -> None:
    """[3] WsgiDAV answered no-conflicting-lock, which is for LOCK."""
    room.make("doc")
    room.alice.locked(room("doc"))
    assert conditions(room.bob.put(room("doc"))) == ["lock-token-submitted"]
    assert conditions(room.bob.lock(room("doc"))) == ["no-conflicting-lock"]


@pytest.mark.parametrize("depth", ["0", "infinity"])
def test_4_a_refused_lock_of_an_unmapped_url_leaves_no_document(room: Room, depth: str) -> None:
    """[4] WsgiDAV made the file first and asked then; and never asked the depth-0 lock of the parent."""
    room.make("coll/")
    room.alice.locked(room("coll"), depth=depth)
    for scope in ("exclusive", "shared"):
        assert room.bob.lock(room("coll/new"), scope).status == 423
    assert list((room.folder / "coll").iterdir()) == []
    assert room.bob.get(room("coll/new")).status == 404


def test_6_expired_locks_below_are_no_500(room: Room) -> None:
    """[6] WsgiDAV removed them from the dictionary that it was walking."""
    room.make("coll/", *(f"coll/{number}" for number in range(20)))
    for number in range(20):
        room.bob.locked(room(f"coll/{number}"), timeout=f"Second-{number % 3 + 1}")
    room.later(5)
    assert body_of_infinite_lock(room.alice, room("coll/")).status == 200


def test_8_an_undefined_entity_is_400_without_the_parsers_words(room: Room) -> None:
    """[8] WsgiDAV answered 500 with the exception's text; a bomb of entities must be refused as plainly."""
    room.make("doc")
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    for owner, prefix in (("&undefined;", ""), ("&b;", bomb)):
        body = prefix.encode() + lockinfo(owner=owner).split(b"?>", 1)[1]
        answer = room.alice.request("LOCK", room("doc"), body, depth="0")
        assert answer.status == 400
        assert b"Traceback" not in answer.body
        assert b"Error:" not in answer.body
    assert discovered(room.alice, room("doc")) == []


def test_9_a_lock_without_a_timeout_field_ends_within_the_hour(room: Room) -> None:
    """[9] WsgiDAV granted a week, and four at most: a crashed client blocked a document for that long."""
    answer = room.alice.request("LOCK", room("doc"), lockinfo(), depth="0")
    assert timeout_of(answer) == 1800
    room.later(1801)
    assert room.bob.put(room("doc")).status == 204


@pytest.mark.parametrize(
    "condition",
    [
        "(<{token}>)",
        "(Not <{token}>) (Not <DAV:no-lock>)",
        "<http://h/other> (<{token}>)",
        "<http://h/other> (<{token}>) (Not <DAV:no-lock>)",
        "<http://h/other> (Not <{token}>)",
        "<{href}> (<{token}>)",
        "<{href}> (Not <{token}>) (Not <DAV:no-lock>)",
        "(<{token}>) (Not <DAV:no-lock>)",
        "(Not <DAV:no-lock> <{token}>)",
        "(Not <{token}> Not <DAV:no-lock>)",
    ],
)
def test_10_no_spelling_of_the_if_header_makes_anothers_token_a_permission(room: Room, condition: str) -> None:
    """[10] Apache 2.4.71: a token in a Not, or in a list about another resource, passed for submitted, by whoever sent it."""
    room.make("doc")
    token = room.alice.locked(room("doc"))
    text = condition.format(token=token, href=room("doc"))
    for method, body in (("PUT", b"stolen"), ("DELETE", None), ("PROPPATCH", proppatch_body())):
        assert room.bob.request(method, room("doc"), body, if_=text).status in {412, 423}, method
    assert room.bob.put(room("doc"), b"stolen", if_=text, lock_token=f"<{token}>").status in {412, 423}
    assert room.bob.request("LOCK", room("doc"), if_=text).status in {400, 403, 412}
    assert room.alice.get(room("doc")).body == b"text"
    assert len(discovered(room.alice, room("doc"))) == 1


@pytest.mark.parametrize("condition", ["(Not <{token}>) (Not <DAV:no-lock>)", "<{other}> (Not <{token}>)"])
def test_10_a_token_in_not_is_no_submission_by_its_own_creator_either(room: Room, condition: str) -> None:
    """[10] Apache, the same: RFC 4918 section 10.4.3; a program that says 'not this lock' does not know that it has it."""
    room.make("doc", "other")
    token = room.alice.locked(room("doc"))
    assert room.alice.put(room("doc"), if_=condition.format(token=token, other=room("other"))).status == 423


def test_11_a_refresh_of_a_tree_lock_holds_for_its_members(room: Room) -> None:
    """[11] Apache kept a copied end time with each member, and refreshed only the root's: 204 at +5 s."""
    room.make("coll/", "coll/doc")
    token = room.alice.locked(room("coll"), depth="infinity", timeout="Second-30")
    assert room.alice.request("LOCK", room("coll"), if_=f"(<{token}>)", timeout="Second-600").status == 200
    room.later(50)
    assert room.bob.put(room("coll/doc")).status == 423
    [lock] = discovered(room.bob, room("coll/doc"))
    assert 500 <= int((lock.findtext(f"{DAV}timeout") or "")[7:]) <= 550


def test_13_a_423_is_xml_that_a_program_can_read(room: Room) -> None:
    """[13] Apache sent an HTML page to WebDAV clients, and a 424 where a 423 belongs in a multi-status DELETE."""
    room.make("tree/", "tree/doc")
    room.alice.locked(room("tree/doc"))
    assert room.bob.put(room("tree/doc"))["Content-Type"].startswith("application/xml")
    assert set(room.bob.request("DELETE", room("tree/")).statuses().values()) == {423}


def test_14_a_tree_lock_is_one_lock_whatever_is_in_the_tree(room: Room) -> None:
    """[14] Apache wrote a record for each member, again at each change."""
    room.make("coll/", *(f"coll/{number}" for number in range(20)))
    token = room.alice.locked(room("coll"), depth="infinity")
    assert room.alice.put(room("coll/new"), if_=f"(<{token}>)").status == 201
    with room.served.application.store.read() as tx:
        path = ResourcePath(room.path)
        assert len(tx.locks_below(path)) == 1


@pytest.mark.parametrize("asked", ["Infinite", "Second-4294967295", "Infinite, Second-4100000000", "banana"])
def test_15_no_lock_is_for_ever(room: Room, asked: str) -> None:
    """[15] Apache: absent, unknown or Infinite meant for ever."""
    assert timeout_of(room.alice.lock(room("doc"), timeout=asked)) <= 86_400
    room.later(86_401)
    assert room.bob.put(room("doc")).status == 204


def test_17_locks_expire_when_they_say(room: Room) -> None:
    """[17] Lighttpd compared 'HH:MM:SS' plus n: a lock of 5 s still answered 423 after 7 s, and after any time."""
    room.make("doc")
    room.alice.locked(room("doc"), timeout="Second-100")
    room.later(80)
    assert room.bob.put(room("doc")).status == 423
    room.later(30)
    assert room.bob.put(room("doc")).status == 204


def test_18_a_refresh_refreshes_and_is_the_creators_alone(room: Room) -> None:
    """[18] Lighttpd answered 200 and changed nothing, to anybody, by way of any URL."""
    room.make("doc", "other")
    token = room.alice.locked(room("doc"), timeout="Second-100")
    assert room.bob.request("LOCK", room("doc"), if_=f"(<{token}>)", timeout="Second-1000").status == 403
    assert room.alice.request("LOCK", room("other"), if_=f"(<{token}>)", timeout="Second-1000").status == 412
    room.later(50)
    refreshed = room.alice.request("LOCK", room("doc"), if_=f"(<{token}>)", timeout="Second-1000")
    assert timeout_of(refreshed) == 1000
    room.later(500)
    assert room.bob.put(room("doc")).status == 423


def test_19_the_rfcs_own_timeout_example_hangs_nobody(room: Room) -> None:
    """[19] Lighttpd never came past the comma, and served nobody any more."""
    answer = room.alice.lock(room("doc"), timeout="Infinite, Second-4100000000")
    assert answer.status == 201
    for text in (",", ",,,,", "Infinite," * 100, "Second-1," * 100, " ", "Second-1 Second-2"):
        assert room.alice.lock(room("doc"), timeout=text).status == 423
    assert room.alice.lock(room("doc"), timeout="Second-1," * 5000).status == 400  # longer than any client's
    assert room.bob.get(room("doc")).status == 200


@pytest.mark.parametrize("method", ["DELETE", "MOVE"])
def test_20_23_29_31_anothers_lock_inside_a_tree_stops_what_would_destroy_it(room: Room, method: str) -> None:
    """[20, 23, 29, 31] Lighttpd, golang.org/x/net/webdav, asgi-webdav, nginx-dav-ext: 204, and the locked child was gone."""
    room.make("tree/", "tree/sub/", "tree/sub/doc")
    room.alice.locked(room("tree/sub/doc"))
    assert room.bob.request(method, room("tree/"), destination=room("away/")).status == 207
    assert room.alice.get(room("tree/sub/doc")).body == b"text"


def test_22_tokens_cannot_be_guessed(room: Room) -> None:
    """[22] golang.org/x/net/webdav counts up from the time of day (and knows no principal); nginx-dav-ext has 32 bits."""
    tokens = [room.alice.locked(room(f"doc-{number}")) for number in range(8)]
    digits = [int(token.removeprefix("urn:uuid:").replace("-", ""), 16) for token in tokens]
    gaps = [abs(one - other) for number, one in enumerate(digits) for other in digits[:number]]
    assert min(gaps) > 2**80
    assert room.bob.unlock(room("doc-0"), tokens[0]).status == 403


def test_23_a_deleted_resource_takes_its_lock_with_it(room: Room) -> None:
    """[23] golang.org/x/net/webdav: RemoveAll left the lock behind, and the name was unusable (golang/go 42839)."""
    room.make("tree/", "tree/doc")
    tree = room.alice.locked(room("tree"), depth="infinity")
    assert room.alice.request("DELETE", room("tree/"), if_=f"(<{tree}>)").status == 204
    assert room.bob.request("MKCOL", room("tree/")).status == 201
    assert room.bob.lock(room("tree/doc")).status == 201


def test_25_entity_tags_and_not_count_in_an_if_header(room: Room) -> None:
    """[25] golang.org/x/net/webdav ignored both: a stale tag beside a good token wrote (golang/go 44493)."""
    room.make("doc")
    token = room.alice.locked(room("doc"))
    assert room.alice.put(room("doc"), if_=f'(<{token}> ["stale"])').status == 412
    etag = room.alice.get(room("doc"))["ETag"]
    assert room.alice.put(room("doc"), if_=f"(<{token}> Not [{etag}])").status == 412
    assert room.alice.put(room("doc"), if_=f"(<{token}> [{etag}])").status == 204


def test_25_a_locked_document_moves_to_a_free_place_with_its_own_token(room: Room) -> None:
    """[25] golang.org/x/net/webdav answered 412 (golang/net 93, golang/go 43556)."""
    room.make("doc")
    token = room.alice.locked(room("doc"))
    assert room.alice.request("MOVE", room("doc"), destination=room.at("moved"), if_=f"(<{token}>)").status == 201


def test_27_32_34_nobody_uses_refreshes_or_releases_anothers_lock(room: Room) -> None:
    """[27, 32, 34] Asgi-webdav, sabre/dav, dav-server-rs, nginx-dav-ext: whoever has the token has the lock."""
    room.make("doc")
    token = room.alice.locked(room("doc"))
    administrator = room.served.as_("root")
    for client in (room.bob, administrator):
        assert client.put(room("doc"), if_=f"(<{token}>)").status == 423
        assert client.request("LOCK", room("doc"), if_=f"(<{token}>)").status == 403
        assert client.unlock(room("doc"), token).status == 403
    assert len(discovered(room.alice, room("doc"))) == 1


@pytest.mark.parametrize("asked", [None, "Infinite", "Second-600, Infinite", "Infinite, Second-600"])
def test_28_a_granted_lock_lasts(room: Room, asked: str | None) -> None:
    """[28] Asgi-webdav granted 'Second-0' to a client that named no time, Infinite or a list."""
    room.make("doc")
    fields = {} if asked is None else {"timeout": asked}
    assert timeout_of(room.alice.request("LOCK", room("doc"), lockinfo(), depth="0", **fields)) >= 600
    room.later(599)
    assert room.bob.put(room("doc")).status == 423


def test_29_an_entity_tag_in_the_if_header_of_lock_is_a_condition(room: Room) -> None:
    """[29] Asgi-webdav answered 500."""
    room.make("doc")
    assert room.alice.lock(room("doc"), if_='(["stale"])').status == 412
    assert room.alice.lock(room("doc"), if_=f"([{room.alice.get(room('doc'))['ETag']}])").status == 200


def test_29_not_no_lock_is_true(room: Room) -> None:
    """[29] Asgi-webdav had it inverted."""
    room.make("doc")
    assert room.alice.put(room("doc"), if_="(Not <DAV:no-lock>)").status == 204
    assert room.alice.put(room("doc"), if_="(<DAV:no-lock>)").status == 412


def test_29_the_answer_to_lock_is_whole(room: Room) -> None:
    """[29] Asgi-webdav: the owner as a Python dict, no lockroot, no <>, a 423 without a body, 201 and no file."""
    answer = room.alice.lock(room("doc"))
    [lock] = activelocks(answer)
    assert lock.findtext(f"{DAV}owner/{DAV}href") == "mailto:ada@example.org"
    assert lock.findtext(f"{DAV}lockroot/{DAV}href") == room("doc")
    assert re.fullmatch(r"<urn:uuid:[0-9a-f-]{36}>", answer["Lock-Token"])
    assert room.bob.lock(room("doc")).body
    assert room.bob.get(room("doc")).status == 200
    assert room.alice.request("OPTIONS", room("doc"))["MS-Author-Via"] == "DAV"


@pytest.mark.parametrize("text", ["banana", "(<urn:uuid:00000000-0000-4000-8000-000000000000>)", '(["stale"])'])
def test_31_a_false_or_broken_condition_is_never_passed_over(room: Room, text: str) -> None:
    """[31] Nginx-dav-ext reduced If to 'the first token' and wrote all the same; it said class 2 and not 1."""
    room.make("doc")
    assert room.alice.put(room("doc"), b"changed", if_=text).status in {400, 412}
    assert room.alice.get(room("doc")).body == b"text"
    assert {"1", "2"} <= {item.strip() for item in room.alice.request("OPTIONS", room())["DAV"].split(",")}


def test_32_lock_asks_if_children_and_the_parent(room: Room) -> None:
    """[32] sabre/dav asked none of them on LOCK (sabre-io/dav 1133), and gave 30 minutes whatever was asked (876)."""
    room.make("coll/", "coll/doc", "doc")
    assert room.alice.lock(room("doc"), if_="(<DAV:no-lock>)").status == 412
    room.bob.locked(room("coll/doc"))
    assert body_of_infinite_lock(room.alice, room("coll/")).status == 207
    room.bob.locked(room("coll"))
    assert room.alice.lock(room("coll/new")).status == 423
    assert timeout_of(room.alice.lock(room("doc"), timeout="Second-7200")) == 7200


@pytest.mark.parametrize("held, asked", [("a_c", "abc"), ("a%25", "abc"), ("A", "a"), ("coll", "coll2"), ("x*", "xy")])
def test_32_names_are_never_patterns(room: Room, held: str, asked: str) -> None:
    """[32] sabre/dav matched paths with LIKE and escaped neither _ nor %; neighbours by prefix or case are not below."""
    room.make(f"{held}/", f"{asked}/", f"{asked}/doc")
    room.alice.locked(room(held), depth="infinity")
    assert room.bob.put(room(f"{asked}/doc")).status == 204
    assert room.bob.request("DELETE", room(f"{asked}/")).status == 204


def test_34_discovery_shows_no_depth_0_lock_of_an_ancestor(room: Room) -> None:
    """[34] dav-server-rs listed it on the members, and never read the time when a lock ends."""
    room.make("coll/", "coll/doc")
    room.alice.locked(room("coll"), timeout="Second-60")
    assert discovered(room.bob, room("coll/doc")) == []
    room.later(61)
    assert discovered(room.bob, room("coll/")) == []


def test_35_parent_and_children_count_and_no_lock_has_two_holders(room: Room) -> None:
    """[35] Nextcloud's files_lock asked neither, and took a unique violation for success; its default had no end."""
    room.make("coll/", "coll/doc")
    token = room.alice.locked(room("coll"), depth="infinity")
    assert room.bob.lock(room("coll/doc")).status == 423
    assert room.alice.unlock(room("coll"), token).status == 204
    room.alice.locked(room("coll/doc"))
    assert body_of_infinite_lock(room.bob, room("coll/")).status == 207
    assert len(discovered(room.rita, room("coll/doc"))) == 1
