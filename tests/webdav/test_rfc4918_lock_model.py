"""RFC 4918 sections 6 and 15.8: what a lock is, how long it lasts, whose it is, and how it is shown.

The numbers in brackets are those of the project's list of locking requirements that litmus does not cover.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tests.serving import DAV, Answer, Client, lockinfo
from tests.webdav.rooms import Room, activelocks, conditions, discovered, proppatch_body, roots


def test_a_shared_lock_is_refused_beside_anothers_exclusive_one(room: Room) -> None:
    """[1] Section 6.1 point 3."""
    room.make("doc")
    room.alice.locked(room("doc"))
    refusal = room.bob.lock(room("doc"), "shared")
    assert refusal.status == 423
    assert len(discovered(room.bob, room("doc"))) == 1


def test_of_two_simultaneous_exclusive_locks_exactly_one_is_granted(room: Room) -> None:
    """[2] Section 6.1 point 3, as a race of two principals over many rounds."""
    barrier = Barrier(2)

    def attempt(client: Client, target: str) -> Answer:
        barrier.wait(20)
        return client.lock(target)

    with ThreadPoolExecutor(2) as pool:
        for number in range(25):
            target = room(f"doc-{number}")
            answers = [pool.submit(attempt, client, target) for client in (room.alice, room.bob)]
            statuses = sorted(answer.result(30).status for answer in answers)
            assert statuses == [201, 423], f"round {number}"
            assert len(discovered(room.rita, target)) == 1


def test_deleting_the_lock_root_ends_the_lock(room: Room) -> None:
    """[5] Sections 6.1 point 8 and 9.6."""
    room.make("doc")
    token = room.alice.locked(room("doc"))
    assert room.alice.request("DELETE", room("doc"), if_=f"(<{token}>)").status == 204
    assert room.bob.put(room("doc"), b"new").status == 201
    assert discovered(room.bob, room("doc")) == []
    assert room.alice.put(room("doc"), if_=f"(<{token}>)").status == 412


def test_every_shared_lock_has_its_own_token(room: Room) -> None:
    """[6] Section 6.2."""
    room.make("doc")
    tokens = {room.alice.locked(room("doc"), "shared"), room.bob.locked(room("doc"), "shared")}
    tokens.add(room.alice.locked(room("doc"), "shared"))
    assert len(tokens) == 3
    assert len(discovered(room.rita, room("doc"))) == 3


@pytest.mark.parametrize("scope", ["exclusive", "shared"])
def test_another_principal_with_the_right_token_is_refused(room: Room, scope: str) -> None:
    """[7] Section 6.4: a token alone gives no right; it must come from the lock's creator."""
    room.make("doc", "source")
    token = room.alice.locked(room("doc"), scope)
    stolen = f"(<{token}>)"
    assert room.bob.put(room("doc"), b"stolen", if_=stolen).status == 423
    assert room.bob.put(room("doc"), b"stolen", lock_token=f"<{token}>").status == 423
    assert room.bob.request("PROPPATCH", room("doc"), proppatch_body(), if_=stolen).status == 423
    assert room.bob.request("DELETE", room("doc"), if_=stolen).status == 423
    assert room.bob.request("MOVE", room("doc"), destination=room("x"), if_=stolen).status == 423
    tagged = f"<{room('doc')}> {stolen}"
    assert room.bob.request("COPY", room("source"), destination=room("doc"), if_=tagged).status == 423
    assert room.bob.request("LOCK", room("doc"), if_=stolen).status == 403
    assert room.bob.unlock(room("doc"), token).status == 403
    assert room.alice.get(room("doc")).body == b"text"
    assert room.alice.put(room("doc"), b"mine", if_=stolen).status == 204


def test_tokens_are_absolute_uris_that_never_come_again(room: Room) -> None:
    """[8] Section 6.5."""
    tokens: set[str] = set()
    for number in range(20):
        target = room(f"doc-{number % 3}")
        token = room.alice.locked(target)
        assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", token)
        assert token not in tokens
        tokens.add(token)
        assert room.alice.unlock(target, token).status == 204
        assert room.alice.put(target, if_=f"(<{token}>)").status == 412


def test_a_lock_ends_at_its_timeout_and_only_a_refresh_restarts_the_timer(room: Room) -> None:
    """[9] Section 6.6: neither reads, writes by its holder, discovery nor refused requests keep a lock alive."""
    room.make("doc")
    token = room.alice.locked(room("doc"), timeout="Second-40")
    room.later(24)
    assert room.alice.request("LOCK", room("doc"), if_=f"(<{token}>)", timeout="Second-40").status == 200
    room.later(30)
    assert room.bob.put(room("doc")).status == 423  # 54 s after the grant, 30 s after the refresh
    assert room.alice.put(room("doc"), b"held", if_=f"(<{token}>)").status == 204
    assert room.alice.get(room("doc")).status == 200
    assert room.alice.propfind(room("doc"), "lockdiscovery").status == 207
    assert room.alice.lock(room("doc")).status == 423
    room.later(12)
    assert discovered(room.bob, room("doc")) == []
    assert room.bob.put(room("doc"), b"free").status == 204
    assert room.alice.put(room("doc"), b"too late", if_=f"(<{token}>)").status == 412
    assert room.bob.get(room("doc")).body == b"free"


@pytest.mark.parametrize("name", ["doc", "coll/"])
def test_supportedlock_offers_exclusive_and_shared_write_locks(room: Room, name: str) -> None:
    """[10] Sections 6.7 and 15.10."""
    room.make(name)
    answer = room.bob.propfind(room(name), "supportedlock")
    entries = answer.xml.findall(f".//{DAV}propstat/{DAV}prop/{DAV}supportedlock/{DAV}lockentry")
    found = {
        (entry.find(f"{DAV}lockscope/*").tag, entry.find(f"{DAV}locktype/*").tag)  # pyright: ignore[reportOptionalMemberAccess]
        for entry in entries
    }
    assert found == {(f"{DAV}exclusive", f"{DAV}write"), (f"{DAV}shared", f"{DAV}write")}


@pytest.mark.parametrize("name", ["doc", "coll/"])
def test_lockdiscovery_is_there_and_empty_on_what_is_not_locked(room: Room, name: str) -> None:
    """[11] Sections 6.8 and 15.8."""
    room.make(name)
    assert discovered(room.bob, room(name)) == []
    token = room.alice.locked(room(name))
    assert len(discovered(room.bob, room(name))) == 1
    assert room.alice.unlock(room(name), token).status == 204
    assert discovered(room.bob, room(name)) == []


@pytest.mark.parametrize("name", ["lockdiscovery", "supportedlock"])
def test_lock_properties_are_protected(room: Room, name: str) -> None:
    """[12] Sections 15.8 and 15.10: PROPPATCH is 403 with cannot-modify-protected-property; the lock stays."""
    room.make("doc")
    token = room.alice.locked(room("doc"))
    body = proppatch_body(name, "DAV:", "")
    answer = room.alice.request("PROPPATCH", room("doc"), body, if_=f"(<{token}>)")
    assert answer.status == 207
    assert answer.statuses() == {room("doc"): 403}
    assert answer.xml.find(f".//{DAV}error/{DAV}cannot-modify-protected-property") is not None
    assert len(discovered(room.alice, room("doc"))) == 1


@pytest.mark.parametrize("scope", ["exclusive", "shared"])
def test_a_refused_lock_names_the_condition_and_the_root_of_the_lock_in_the_way(room: Room, scope: str) -> None:
    """[32] [46] Sections 9.10.6, 16 and 16.3: 423, no-conflicting-lock, the root's href."""
    room.make("coll/", "coll/doc")
    room.alice.locked(room("coll"), depth="infinity")
    refusal = room.bob.lock(room("coll/doc"), scope)
    assert refusal.status == 423
    assert conditions(refusal) == ["no-conflicting-lock"]
    assert [root.rstrip("/") for root in roots(refusal)] == [room("coll")]


@pytest.mark.parametrize(
    "held, asked, status",
    [
        ([], "shared", 200),
        ([], "exclusive", 200),
        (["shared"], "shared", 200),
        (["shared"], "exclusive", 423),
        (["shared", "shared"], "exclusive", 423),
        (["exclusive"], "shared", 423),
        (["exclusive"], "exclusive", 423),
    ],
)
@pytest.mark.parametrize("same_principal", [True, False])
def test_the_compatibility_table(room: Room, held: list[str], asked: str, status: int, same_principal: bool) -> None:
    """[31] Section 9.10.5, every cell; it is the same for one principal and for two."""
    room.make("doc")
    for scope in held:
        room.alice.locked(room("doc"), scope)
    asker = room.alice if same_principal else room.bob
    assert asker.lock(room("doc"), asked).status == status
    assert len(discovered(room.rita, room("doc"))) == len(held) + (status == 200)


def test_locking_needs_the_right_to_write(room: Room) -> None:
    """[49] Section 6.4: a reader is told 403, a stranger 401; neither leaves a lock or a document behind."""
    room.make("doc")
    assert room.rita.lock(room("doc")).status == 403
    assert room.rita.lock(room("new")).status == 403
    assert room.served.anonymous.lock(room("doc")).status == 401
    assert discovered(room.rita, room("doc")) == []
    assert room.rita.get(room("new")).status == 404
    token = room.alice.locked(room("doc"))
    assert room.rita.unlock(room("doc"), token).status == 403
    assert room.rita.request("LOCK", room("doc"), if_=f"(<{token}>)").status == 403


def test_anothers_lock_is_shown_without_its_token(room: Room) -> None:
    """[50] Sections 6.8, 15.8 and 20.4: the activelock must be shown; what it gives away may be withheld."""
    room.make("doc")
    token = room.alice.locked(room("doc"))
    [seen] = discovered(room.bob, room("doc"))
    assert seen.find(f"{DAV}locktoken") is None
    assert seen.find(f"{DAV}lockscope/{DAV}exclusive") is not None
    assert seen.findtext(f"{DAV}lockroot/{DAV}href") == room("doc")
    assert token.encode() not in room.bob.propfind(room(), depth="1").body
    [own] = discovered(room.alice, room("doc"))
    assert own.findtext(f"{DAV}locktoken/{DAV}href") == token


def test_the_same_principal_needs_the_token_too(room: Room) -> None:
    """[53] Section 7.5: another program of the same person must not overwrite."""
    room.make("doc")
    token = room.alice.locked(room("doc"))
    assert room.alice.put(room("doc"), b"other program").status == 423
    assert room.alice.lock(room("doc")).status == 423
    assert room.alice.get(room("doc")).body == b"text"
    assert room.alice.put(room("doc"), b"this program", if_=f"(<{token}>)").status == 204


def test_timeouts_of_any_form_are_answered_with_a_finite_one_that_counts_down(room: Room) -> None:
    """[41] Section 10.7: the field is a wish; LOCK never fails or hangs for it, and what is left is shown."""
    asked = {
        "Second-600": 600,
        "Infinite": 86_400,
        "Second-4294967295": 86_400,
        "Second-99999999999999999999999999999": 86_400,
        "Infinite, Second-4100000000": 86_400,
        "Second-120, Infinite": 120,
        "Second-0": 1,
        "Second--5": 1800,
        "Second-": 1800,
        "Extend, Second-90": 90,
        "banana": 1800,
        ", ,": 1800,
        "second-300": 300,
    }
    for number, (text, seconds) in enumerate(asked.items()):
        answer = room.alice.lock(room(f"doc-{number}"), timeout=text)
        assert answer.status == 201, text
        [lock] = activelocks(answer)
        assert lock.findtext(f"{DAV}timeout") == f"Second-{seconds}", text
    absent = room.alice.request("LOCK", room("no-field"), lockinfo(), depth="0")
    assert activelocks(absent)[0].findtext(f"{DAV}timeout") == "Second-1800"
    room.later(100)
    [lock] = discovered(room.bob, room("doc-0"))
    left = int((lock.findtext(f"{DAV}timeout") or "").removeprefix("Second-"))
    assert 490 <= left <= 500
