"""A full disk: each change is refused with 507, what was there stays, and room makes all well without a restart."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.serving import Answer, Client
from tests.survival.conftest import SmallDisk
from tests.survival.processes import ServerProcess, events_of

OLD = b"old" * 10_000
LARGE = bytes(6 * 1024 * 1024)

pytestmark = [pytest.mark.process]


def write_for_ever(descriptor: int, size: int) -> None:
    while True:
        os.write(descriptor, bytes(size))


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = disk / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (65_536, 1):
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                write_for_ever(descriptor, size)
    finally:
        os.close(descriptor)
    return ballast


def mark(client: Client, path: str, size: int = 50_000) -> Answer:
    value = "m" * size
    body = f'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><m xmlns="urn:x">{value}</m></D:prop></D:set></D:propertyupdate>'
    return client.request("PROPPATCH", path, body.encode())


def lock_until_refused(client: Client, path: str) -> Answer:
    """A store has a little room left inside of its files; use that up too."""
    for number in range(500):
        answer = client.lock(f"{path}-{number}")
        if answer.status not in {200, 201}:
            return answer
    raise AssertionError("the disk is not full")


def check_well(server: ServerProcess) -> None:
    """Everything works, as if nothing had been."""
    alice, bob = server.client("alice"), server.client("bob")
    token = alice.locked("/dav/well")
    assert bob.put("/dav/well").status == 423
    assert alice.put("/dav/well", b"well", if_=f"(<{token}>)").status == 204
    assert mark(alice, "/dav/doc", 10).status == 207
    assert alice.request("COPY", "/dav/doc", destination="/dav/copy").status == 201
    assert alice.unlock("/dav/well", token).status == 204
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()
    assert events_of(server.state)


@pytest.mark.parametrize("durability", ["power", "crash"])
def test_on_a_full_disk_every_change_is_507_and_the_old_is_intact(
    tmp_path: Path, small_disk: SmallDisk, durability: str
) -> None:
    folder = small_disk("served")
    with ServerProcess.start(folder, tmp_path / "log", "--durability", durability) as server:
        alice, bob = server.client("alice"), server.client("bob")
        for name in ("doc", "mine", "room-0"):
            assert alice.put(f"/dav/{name}", OLD).status == 201
        token = alice.locked("/dav/mine")
        ballast = fill(folder)
        refusal = lock_until_refused(alice, "/dav/room")
        fill(folder)
        assert refusal.status == 507, refusal.body
        refused = {
            "PUT": alice.put("/dav/doc", b"n" * 40_000),
            "PUT large": alice.put("/dav/doc", LARGE),
            "PUT new": alice.put("/dav/new", b"n" * 40_000),
            "PUT locked": alice.put("/dav/mine", LARGE, if_=f"(<{token}>)"),
            "COPY": alice.request("COPY", "/dav/doc", destination="/dav/copy"),
            "COPY over": alice.request("COPY", "/dav/doc", destination="/dav/mine", if_=f"</dav/mine> (<{token}>)"),
            "LOCK": alice.lock("/dav/doc"),
            "LOCK new": alice.lock("/dav/fresh"),
            "PROPPATCH": mark(alice, "/dav/doc"),
        }
        assert {name: answer.status for name, answer in refused.items()} == dict.fromkeys(refused, 507)
        for answer in refused.values():
            assert b"disk" in answer.body or b"room" in answer.body
            assert str(folder).encode() not in answer.body
        # Whoever only looks is served, and the lock that was granted holds.
        assert alice.get("/dav/doc").body == alice.get("/dav/mine").body == OLD
        assert bob.put("/dav/mine").status == 423
        assert bob.propfind("/dav/", "lockdiscovery", depth="1").status == 207
        names = {path.name for path in folder.iterdir()}
        assert not names & {"new", "copy", "fresh"}
        assert not list((server.state / "staging").glob("*/*"))
        ballast.unlink()
        assert alice.put("/dav/mine", b"again", if_=f"(<{token}>)").status == 204
        check_well(server)


def test_a_full_disk_under_the_state_alone_refuses_locks_but_loses_none(tmp_path: Path, small_disk: SmallDisk) -> None:
    state = small_disk("state", 2)
    folder = tmp_path / "served"
    folder.mkdir()
    with ServerProcess.start(folder, tmp_path / "log", state=state) as server:
        alice, bob = server.client("alice"), server.client("bob")
        for name in ("doc", "mine"):
            assert alice.put(f"/dav/{name}", OLD).status == 201
        token = alice.locked("/dav/mine")
        fill(state)
        assert lock_until_refused(alice, "/dav/room").status == 507
        ballast = fill(state)
        assert alice.lock("/dav/doc").status == 507
        assert mark(alice, "/dav/doc").status == 507
        assert not (folder / "fresh").exists()
        assert alice.lock("/dav/fresh").status == 507
        # The document of a lock that could not be kept does not stay behind.
        assert not (folder / "fresh").exists()
        assert bob.put("/dav/mine").status == 423
        assert alice.get("/dav/mine").body == OLD
        ballast.unlink()
        assert alice.request("LOCK", "/dav/mine", if_=f"(<{token}>)").status == 200
        check_well(server)


def test_what_was_locked_before_the_disk_was_full_is_locked_after_a_kill(tmp_path: Path, small_disk: SmallDisk) -> None:
    folder = small_disk("served")
    with ServerProcess.start(folder, tmp_path / "log") as server:
        alice = server.client("alice")
        tokens = {name: alice.locked(f"/dav/{name}") for name in ("a", "b", "c")}
        ballast = fill(folder)
        assert lock_until_refused(alice, "/dav/room").status == 507
        server.crash()
    ballast.unlink()
    with ServerProcess.start(folder, tmp_path / "log") as server:
        alice, bob = server.client("alice"), server.client("bob")
        for name, token in tokens.items():
            assert bob.put(f"/dav/{name}").status == 423
            assert alice.put(f"/dav/{name}", if_=f"(<{token}>)").status == 204
        check_well_after = alice.put("/dav/doc", OLD)
        assert check_well_after.status == 201
        check_well(server)
