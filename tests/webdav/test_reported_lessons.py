"""What users of other WebDAV servers reported about locks, each lesson as a test.

The numbers are those of the project's list of such threads. Not here, because another test or a
later part of the product answers them:

| lesson | where |
|---|---|
| 3, LibreOffice and short grants | the settings' bounds below (`min_timeout_s`); what is asked is granted |
| 7, 8 list locks and break them | comes with the lock API; until then each lock ends by itself within a day |
| 11 `Prefer: wait=n` | comes with the lock API; Retry-After is below |
| 13 an acquire that is two statements | `test_races`, and the race of many processes with the store's tests |
| 14 several workers with a store each | the store is shared by default; the race of many processes is with the store's tests |
| 21 Win32* properties, 28 supportedlock for readers in programs | `test_clients` too |
| 26 internal locks tied to a connection | there are none: 33 and `test_races` |
| 35 a plain lock API | comes with the lock API |
| 36 web page and WebDAV collide | one lock service stands behind every face |
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.serving import DAV, Client, Served, lockinfo, serving
from tests.webdav.rooms import Room, activelocks, conditions, discovered, proppatch_body


def granted_seconds(client: Client, target: str, asked: str) -> int:
    [lock] = activelocks(client.lock(target, timeout=asked))
    return int((lock.findtext(f"{DAV}timeout") or "").removeprefix("Second-"))


def test_1_office_saves_with_a_lock_token_field_and_no_if_header(room: Room) -> None:
    """[1] sabre-io/dav 980: Office 2016 was told 423 for its own lock. The field counts, for its creator alone."""
    token = room.alice.locked(room("doc.docx"))
    assert room.alice.put(room("doc.docx"), b"saved", lock_token=f"<{token}>").status == 204
    assert room.alice.put(room("doc.docx"), b"saved", lock_token=token).status == 204
    assert room.bob.put(room("doc.docx"), b"stolen", lock_token=f"<{token}>").status == 423
    other = room.alice.locked(room("other.docx"))
    assert room.alice.put(room("doc.docx"), lock_token=f"<{other}>").status == 423


def test_2_4_word_may_idle_over_lunch_because_what_it_asks_is_granted(room: Room) -> None:
    """[2, 4] redmine_dmsf 648, sabre 876: one hour or thirty minutes fixed, and Word could not save after lunch."""
    for number, seconds in enumerate((180, 3600, 7200, 86_400)):
        assert granted_seconds(room.alice, room(f"doc-{number}"), f"Second-{seconds}") == seconds
    token = room.alice.locked(room("lunch.docx"), timeout="Second-7200")
    room.later(5000)
    assert room.alice.put(room("lunch.docx"), b"after lunch", if_=f"(<{token}>)").status == 204


def test_3_bounds_and_default_of_the_timeout_are_settings(tmp_path: Path) -> None:
    """[3] OpenMarshal/npm-WebDAV-Server 101: 30 s granted where Word refreshes each 45 s; a site can set a minimum."""
    with serving(tmp_path, min_timeout_s=180, default_timeout_s=600, max_timeout_s=7200) as served:
        alice = served.as_("alice")
        assert granted_seconds(alice, "/dav/a", "Second-30") == 180
        assert granted_seconds(alice, "/dav/b", "Infinite") == 7200
        [lock] = activelocks(alice.request("LOCK", "/dav/c", lockinfo(), depth="0"))
        assert lock.findtext(f"{DAV}timeout") == "Second-600"


def test_4_an_unlock_without_credentials_is_refused_and_the_lock_ends_by_itself(room: Room) -> None:
    """[4] sabre 876: Office sends UNLOCK without Authorization; its lock hung for ever elsewhere."""
    token = room.alice.locked(room("doc"), timeout="Second-3600")
    assert room.served.anonymous.unlock(room("doc"), token).status == 401
    room.later(3601)
    assert room.bob.put(room("doc")).status == 204


def test_5_a_refresh_keeps_the_token_and_adds_no_lock(room: Room) -> None:
    """[5] FubarDevelopment/WebDavServer 24: a second lock, and then a conflict with oneself."""
    token = room.alice.locked(room("doc"))
    for _ in range(3):
        [lock] = activelocks(room.alice.request("LOCK", room("doc"), if_=f"(<{token}>)"))
        assert lock.findtext(f"{DAV}locktoken/{DAV}href") == token
    assert len(discovered(room.alice, room("doc"))) == 1


def test_6_a_refresh_of_a_lock_that_is_gone_is_412_with_a_reason(room: Room) -> None:
    """[6] sabre 537: Office 2013 begins with an empty LOCK about a token that nobody knows."""
    room.make("doc")
    answer = room.alice.request("LOCK", room("doc"), b"", if_="(<urn:uuid:00000000-0000-4000-8000-000000000000>)")
    assert answer.status == 412
    assert conditions(answer) == ["lock-token-matches-request-uri"]


def test_9_no_client_gets_a_lock_without_end_nor_any_number_of_them(tmp_path: Path) -> None:
    """[9] photoprism 5736: unbounded locks as a denial of service; here 507, and others still can lock."""
    with serving(tmp_path, max_locks_per_principal=3, max_locks=5) as served:
        alice, bob = served.as_("alice"), served.as_("bob")
        assert granted_seconds(alice, "/dav/0", "Infinite") == 86_400
        tokens = [alice.locked(f"/dav/{number}", timeout="Second-60") for number in (1, 2)]
        refused = alice.lock("/dav/3")
        assert refused.status == 507
        assert alice.get("/dav/3").status == 404
        assert alice.request("LOCK", "/dav/1", if_=f"(<{tokens[0]}>)", timeout="Second-60").status == 200
        assert bob.lock("/dav/4").status == 201
        assert alice.unlock("/dav/1", tokens[0]).status == 204
        assert alice.lock("/dav/3", timeout="Second-60").status == 201
        served.uptime.advance(61)  # those that have expired do not count, swept or not
        assert alice.lock("/dav/5").status == 201


def test_10_11_the_423_says_who_since_when_until_when_and_when_to_retry(room: Room) -> None:
    """[10, 11] nextcloud/server 30651, owncloud/core 26505, owncloud/client 8477: 'nobody knows what this is'."""
    room.alice.locked(room("doc"), timeout="Second-120")
    answer = room.bob.put(room("doc"), accept="application/problem+json")
    problem = json.loads(answer.body)
    assert "alice" in problem["detail"]
    [held] = problem["locks"]
    assert held["holder"]["name"] == "alice"
    assert held["since"] < held["expires_at"]
    assert answer["Retry-After"] == "60"


def test_12_expiry_is_decided_when_asked_and_nothing_but_a_refresh_extends(room: Room) -> None:
    """[12] nextcloud/server 16508: stray locks blocked until a cron came by, and were renewed by being read."""
    room.alice.locked(room("doc"), timeout="Second-600")
    for _ in range(3):
        room.later(190)
        assert len(discovered(room.bob, room("doc"))) == 1
        assert room.bob.put(room("doc")).status == 423
    room.later(40)
    assert discovered(room.bob, room("doc")) == []
    assert room.bob.lock(room("doc")).status == 200


def test_15_ones_own_put_after_ones_own_lock_passes(room: Room) -> None:
    """[15] INGInious 1024 (WsgiDAV after 4.1): LOCK 200, then 423 for the holder."""
    room.make("coll/")
    for target in (room("doc"), room("coll/deep%20name.txt"), room("%C3%A9t%C3%A9")):
        token = room.alice.locked(target)
        for condition in (f"(<{token}>)", f"<{room.served.url}{target}> (<{token}>)"):
            assert room.alice.put(target, if_=condition).status == 204


def test_16_windows_save_dance_works_to_its_end(room: Room) -> None:
    """[16] golang/go 42839, sabre 487: PUT(0) LOCK DELETE PUT LOCK; where DELETE left the lock the document was lost."""
    assert room.alice.put(room("doc"), b"").status == 201
    token = room.alice.locked(room("doc"))
    assert room.alice.request("DELETE", room("doc"), if_=f"(<{token}>)").status == 204
    assert room.alice.put(room("doc"), b"").status == 201
    token = room.alice.locked(room("doc"))
    assert room.alice.put(room("doc"), b"saved", if_=f"(<{token}>)").status == 204
    assert room.alice.unlock(room("doc"), token).status == 204
    assert room.bob.get(room("doc")).body == b"saved"


def test_17_deleting_a_member_leaves_the_lock_of_its_collection(room: Room) -> None:
    """[17] sabre 1335, owncloud/core 38510: the parent's lock went with the child."""
    room.make("coll/", "coll/doc", "coll/other")
    token = room.alice.locked(room("coll"), depth="infinity")
    assert room.alice.request("DELETE", room("coll/doc"), if_=f"(<{token}>)").status == 204
    moved = room.alice.request("MOVE", room("coll/other"), destination=room("out"), if_=f"(<{token}>)")
    assert moved.status == 201
    assert len(discovered(room.bob, room("coll"))) == 1
    assert room.bob.put(room("coll/new")).status == 423


def test_18_29_finders_two_locks_are_two(room: Room) -> None:
    """[18, 29] sabre 149: Finder locks a document and its ._ companion; redmine_dmsf 1495: the companion stayed for ever."""
    locks = {name: room.alice.locked(room(name)) for name in ("doc", "._doc")}
    assert room.alice.unlock(room("._doc"), locks["._doc"]).status == 204
    assert room.bob.put(room("doc")).status == 423
    assert room.bob.request("DELETE", room("._doc")).status == 204


def test_19_20_class_2_is_said_and_reads_pass(room: Room) -> None:
    """[19, 20] WebDAV-Daemon 17 and PR 21: read-only Finder mounts without class 2; GET blocked by a write lock."""
    assert "2" in [item.strip() for item in room.alice.request("OPTIONS", room())["DAV"].split(",")]
    room.alice.locked(room("doc"))
    assert room.bob.get(room("doc")).status == 200
    assert room.bob.propfind(room("doc")).status == 207


def test_21_windows_sets_its_properties_on_what_it_has_locked(room: Room) -> None:
    """[21] nginx-dav-ext 16, wsgidav 112: 200 for each Win32 property, with the token only."""
    token = room.alice.locked(room("doc"))
    body = proppatch_body("Win32LastModifiedTime", "urn:schemas-microsoft-com:", "Thu, 01 Jan 2026 10:00:00 GMT")
    assert room.alice.request("PROPPATCH", room("doc"), body).status == 423
    answer = room.alice.request("PROPPATCH", room("doc"), body, if_=f"(<{token}>)")
    assert (answer.status, answer.statuses()) == (207, {room("doc"): 200})
    assert room.bob.get(room("doc"))["Last-Modified"] == "Thu, 01 Jan 2026 10:00:00 GMT"


def test_22_a_connection_lives_through_options_and_401(room: Room) -> None:
    """[22] sftpgo 614, nextcloud/server 2986: OPTIONS without credentials is 200 with DAV; a 401 does not hang up."""
    connection = http.client.HTTPConnection(room.served.host, room.served.port, timeout=20)
    with contextlib.closing(connection):
        sockets: set[socket.socket | None] = set()
        for method, headers, status in (
            ("OPTIONS", {}, 200),
            ("PROPFIND", {"Depth": "0"}, 401),
            ("PROPFIND", {"Depth": "0", "Authorization": room.alice.authorization or ""}, 207),
        ):
            connection.request(method, room(), headers=headers)
            response = connection.getresponse()
            response.read()
            assert response.status == status
            sockets.add(connection.sock)
        assert len(sockets) == 1


def test_23_33_many_puts_in_a_row_meet_no_423(room: Room) -> None:
    """[23, 33] sftpgo 481, owncloud/core 16959: copying many files, or Finder's two PUTs, met internal locks."""
    for number in range(10):
        assert room.alice.put(room(f"doc-{number}"), b"").status == 201
        assert room.alice.put(room(f"doc-{number}"), b"content").status == 204


@pytest.mark.parametrize("announced", [None, "7"])
def test_24_a_chunked_put_keeps_its_body(room: Room, announced: str | None) -> None:
    """[24] webdav-handler-rs 18, sabre 55: Finder's chunked PUT became an empty document, also on a locked one."""
    token = room.alice.locked(room("doc"))
    fields = {} if announced is None else {"x_expected_entity_length": announced}
    answer = room.alice.put(
        room("doc"), b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", if_=f"(<{token}>)", transfer_encoding="chunked", **fields
    )
    assert answer.status == 204
    assert room.bob.get(room("doc")).body == b"abcdefg"
    empty = room.alice.put(
        room("doc"), b"0\r\n\r\n", if_=f"(<{token}>)", transfer_encoding="chunked", x_expected_entity_length="7"
    )
    assert empty.status == 400
    assert room.bob.get(room("doc")).body == b"abcdefg"


def test_25_26_a_broken_upload_changes_nothing_and_leaves_nothing_locked(room: Room) -> None:
    """[25, 26] sftpgo 2260, owncloud/core 31843: half a body was kept as the whole, and a 423 stood for five minutes."""
    room.make("doc")
    head = (
        f"PUT {room('doc')} HTTP/1.1\r\nHost: h\r\nAuthorization: {room.alice.authorization}\r\n"
        "Content-Length: 3000000\r\n\r\n"
    ).encode()
    with contextlib.closing(socket.create_connection((room.served.host, room.served.port), timeout=20)) as connection:
        connection.sendall(head + b"x" * 1_000_000)
    assert room.bob.get(room("doc")).body == b"text"
    assert room.bob.put(room("doc"), b"next").status == 204
    staging = room.served.folder / ".holdfast" / "staging"
    until = time.monotonic() + 10
    while any(path.stat().st_size for path in staging.rglob("*") if path.is_file()):
        assert time.monotonic() < until, "the broken upload was not removed"
        threading.Event().wait(0.02)


def test_27_the_release_of_a_lock_that_is_gone_says_so_and_harms_nobody(room: Room) -> None:
    """[27] owncloud/core 34153, sabre PR 1672: the list asks for 204 here; RFC 4918 section 9.11.1 says 409, and it wins.

    The answer carries `lock-token-matches-request-uri` and a sentence, and the client can save at once.
    """
    token = room.alice.locked(room("doc"), timeout="Second-10")
    room.later(11)
    answer = room.alice.unlock(room("doc"), token)
    assert answer.status == 409
    assert conditions(answer) == ["lock-token-matches-request-uri"]
    assert b"expired" in answer.body
    assert room.alice.put(room("doc"), b"saved").status == 204
    room.bob.locked(room("doc"))
    assert room.alice.unlock(room("doc"), token).status == 409
    assert len(discovered(room.bob, room("doc"))) == 1


def test_28_locks_are_offered_only_where_they_would_be_granted(room: Room) -> None:
    """[28] owncloud/core 34394: offered where LOCK is forbidden, LibreOffice opened read-only."""
    room.make("doc")
    for client, offered in ((room.alice, 2), (room.rita, 0)):
        for target, depth in ((room("doc"), "0"), (room(), "1")):
            answer = client.propfind(target, "supportedlock", depth=depth)
            found = answer.xml.findall(f".//{DAV}lockentry")
            assert len(found) == offered * len(answer.xml.findall(f"{DAV}response"))


def test_29_a_document_may_be_locked_before_it_is_made(room: Room) -> None:
    """[29] redmine_dmsf 292: davfs2 does, with If-None-Match: *; 500 elsewhere."""
    answer = room.alice.lock(room("new"), if_none_match="*")
    assert answer.status == 201
    assert room.alice.put(room("new"), b"text", if_=f"(<{answer.token}>)").status == 204
    assert room.bob.lock(room("new"), if_none_match="*").status == 412


def test_30_whoever_forgets_the_token_is_told_what_to_do(room: Room) -> None:
    """[30] ganttproject 1585: a client that never sends If locked itself out; it can find its token and release it."""
    token = room.alice.locked(room("doc"))
    assert conditions(room.alice.put(room("doc"))) == ["lock-token-submitted"]
    [own] = discovered(room.alice, room("doc"))
    assert own.findtext(f"{DAV}locktoken/{DAV}href") == token
    assert room.alice.unlock(room("doc"), token).status == 204


def test_31_a_token_of_anothers_is_neither_seen_nor_worth_anything(room: Room) -> None:
    """[31] owncloud/core 34338: read by PROPFIND, used for MOVE."""
    token = room.alice.locked(room("doc"))
    for depth, target in (("0", room("doc")), ("1", room())):
        for names in ((), ("lockdiscovery",)):
            assert token.encode() not in room.bob.propfind(target, *names, depth=depth).body
    assert token.encode() not in room.bob.get(room()).body
    moved = room.bob.request("MOVE", room("doc"), destination=room("x"), if_=f"(<{token}>)")
    assert moved.status == 423


@pytest.mark.parametrize("fields", [{}, {"depth": "infinity"}])
def test_32_an_unbounded_propfind_is_refused_and_never_answered_in_part(room: Room, fields: dict[str, str]) -> None:
    """[32] infinidysk 581: answered shallow, and clients deleted the rest; OpenMarshal 84: no Depth passed the limit."""
    room.make("coll/", "coll/doc")
    answer = room.alice.request("PROPFIND", room(), **fields)
    assert answer.status == 403
    assert conditions(answer) == ["propfind-finite-depth"]


def test_34_the_condition_is_judged_with_the_change(room: Room) -> None:
    """[34] FubarDevelopment/WebDavServer 10: a race between If and the write; here of two saves of one version, one wins."""
    room.make("doc")
    etag = room.alice.get(room("doc"))["ETag"]
    answers = [
        client.put(room("doc"), name, if_=f"([{etag}])") for client, name in ((room.alice, b"a"), (room.bob, b"b"))
    ]
    assert [answer.status for answer in answers] == [204, 412]


def test_37_the_locks_of_a_collection_are_listed_with_their_holders(room: Room, shared: Served) -> None:
    """[37] owncloud/core 37551: users want to see what is locked; eXist-db 954: also after a restart (`test_rfc4918_*`)."""
    room.make("a", "b")
    room.alice.locked(room("a"))
    page = room.bob.get(room(), accept="text/html").body.decode()
    assert "alice" in page
    answer = room.bob.propfind(room(), "lockdiscovery", depth="1")
    assert len(activelocks(answer)) == 1
