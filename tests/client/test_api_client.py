"""The client's locks against a real Holdfast: in turn, cut off, broken, restarted, stopped. Time is the test's, or the server's."""

from __future__ import annotations

import asyncio
import gc
import pickle
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from holdfast.client.acquiring import BreakFirst
from holdfast.client.api import Client
from holdfast.client.api_async import AsyncClient
from holdfast.client.errors import LockedError, LockLostError, LostReason
from holdfast.client.holding import HoldState
from holdfast.client.lockviews import EndedLock, FoundLock, Gap, LockEvent
from holdfast.client.refusals import RefusedError, UnreachableError
from tests.client.cutting import Cutter, cutting
from tests.client.programs import Holder
from tests.client.waiting import come, until
from tests.serving import Served, serving
from tests.survival.processes import ServerProcess


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def resource(request: pytest.FixtureRequest) -> str:
    return f"/things/{abs(hash(request.node.nodeid))}"


def client_of(url: str, name: str = "alice", **options: object) -> Client:
    return Client(url, auth=(name, f"{name}-secret"), **options)  # type: ignore[arg-type]


@pytest.fixture
def alice(served: Served) -> Iterator[Client]:
    with client_of(served.url) as client:
        yield client


@pytest.fixture
def bob(served: Served) -> Iterator[Client]:
    with client_of(served.url, "bob") as client:
        yield client


@pytest.fixture
def root(served: Served) -> Iterator[Client]:
    with client_of(served.url, "root") as client:
        yield client


@pytest.fixture
def cutter(served: Served) -> Iterator[Cutter]:
    with cutting(served.port) as cutter:
        yield cutter


class TestHolding:
    """Acquire, hold, release."""

    def test_a_block_holds_the_lock_and_releases_it(self, alice: Client, bob: Client, resource: str) -> None:
        with alice.lock(resource, ttl=30, reason="import") as held:
            assert held.state is HoldState.HELD
            assert 29 < held.expires_in <= 30
            held.ensure()
            with pytest.raises(LockedError) as caught:
                bob.acquire(resource)
            assert (caught.value.holder, caught.value.locks[0].reason) == ("alice", "import")
        assert held.state is HoldState.RELEASED
        with pytest.raises(LockLostError):
            held.ensure()
        with bob.lock(resource) as other:
            assert other.fencing_token > held.fencing_token

    def test_the_token_is_in_no_repr(self, alice: Client, resource: str) -> None:
        with alice.lock(resource) as held:
            assert held.token.startswith("urn:uuid:")
            for shown in (repr(held), repr(held._grant), repr(alice), str(held.holding)):
                assert held.token not in shown

    def test_release_is_idempotent(self, alice: Client, resource: str) -> None:
        held = alice.acquire(resource)
        for _ in range(3):
            held.release()
        with held:
            pass
        assert isinstance(alice.describe(held.id), EndedLock)

    def test_the_server_is_asked_for_what_was_asked_for_with_each_refresh(self, alice: Client, resource: str) -> None:
        with alice.lock(resource, ttl=47) as held:
            held.refresh()
            found = alice.describe(held.id)
            assert isinstance(found, FoundLock)
            assert found.expires_in == 47

    def test_shared_locks_and_depth(self, alice: Client, bob: Client, resource: str) -> None:
        with (
            alice.lock(resource, scope="shared", depth="infinity") as one,
            bob.lock(resource, scope="shared") as other,
        ):
            assert (one.scope, one.depth, other.depth) == ("shared", "infinity", "0")
            assert alice.check(f"{resource}/below", tokens=[one.token]) is None
            locked = alice.check(f"{resource}/below")
            assert locked is not None
            assert locked.holder == "alice"

    def test_the_same_id_is_the_same_grant(self, alice: Client, resource: str) -> None:
        name = resource.replace("/", "_")
        one, two = alice.acquire(resource, id=name, ttl=30), alice.acquire(resource, id=name, ttl=30)
        assert (one.token, one.fencing_token) == (two.token, two.fencing_token)
        one.release()

    def test_a_lock_without_end_is_for_administrators(self, alice: Client, root: Client, resource: str) -> None:
        with pytest.raises(RefusedError) as caught:
            alice.acquire(resource, ttl=float("inf"))
        assert caught.value.status == 403
        with root.lock(resource, ttl=float("inf")) as held:
            assert held.expires_in == float("inf")

    @pytest.mark.parametrize("first", ["Upgrade", BreakFirst("Upgrade")])
    def test_an_administrator_breaks_what_is_in_the_way(
        self, alice: Client, root: Client, resource: str, first: str | BreakFirst
    ) -> None:
        held = alice.acquire(resource)
        with root.lock(resource, first_break=first):
            with pytest.raises(LockLostError) as caught:
                held.refresh()
        assert caught.value.reason is LostReason.BROKEN
        assert held.loss is not None
        assert (held.loss.by, held.loss.why) == ("root", "Upgrade")

    def test_taking_over_ends_the_old_hold(self, alice: Client, resource: str) -> None:
        old = alice.acquire(resource)
        with alice.take_over(old.id, ttl=60) as new:
            assert new.fencing_token > old.fencing_token
            with pytest.raises(LockLostError):
                old.refresh()

    def test_break_with_a_grace_and_at_once(self, alice: Client, root: Client, resource: str) -> None:
        held = alice.acquire(resource, ttl=600)
        found = root.break_lock(held.id, "soon", after=60)
        assert isinstance(found, FoundLock)
        assert found.breaking is not None
        held.refresh()
        assert held.expires_in <= 60
        ended = root.break_lock(held.id, "now")
        assert isinstance(ended, EndedLock)
        assert (ended.how, ended.by, ended.reason) == ("broken", "root", "now")

    def test_a_client_of_ones_own_is_used_and_left_open(self, served: Served, resource: str) -> None:
        with httpx.Client(base_url=served.url, auth=("alice", "alice-secret")) as http:
            with Client(http=http) as client, client.lock(resource):
                pass
            assert not http.is_closed

    @pytest.mark.parametrize("url", ["", "127.0.0.1:4230", "ftp://a/", "http://ada:secret@127.0.0.1/"])
    def test_what_is_no_url_of_a_server_is_refused_at_once(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"URL|auth") as caught:
            Client(url)
        assert "ada:secret" not in str(caught.value)


class TestTheEndOfABlock:
    """The body's own exception goes first."""

    def test_a_lock_that_was_lost_is_told_at_the_end(self, alice: Client, root: Client, resource: str) -> None:
        with pytest.raises(LockLostError) as caught:
            with alice.lock(resource) as held:
                root.break_lock(held.id, "old")
        assert caught.value.reason is LostReason.BROKEN

    def test_nobody_is_told_twice(self, alice: Client, root: Client, resource: str) -> None:
        with alice.lock(resource) as held:
            root.break_lock(held.id, "old")
            with pytest.raises(LockLostError):
                held.refresh()

    def test_the_bodys_exception_is_never_masked(self, alice: Client, root: Client, resource: str) -> None:
        with pytest.raises(ZeroDivisionError) as caught:  # noqa: PT012 - the block is what is tested
            with alice.lock(resource) as held:
                root.break_lock(held.id, "old")
                held.apply(alice.refresh_one(held))
                raise ZeroDivisionError
        assert caught.value.__notes__
        assert "root" in caught.value.__notes__[0]

    def test_a_release_that_fails_is_a_note_where_the_body_failed(self, cutter: Cutter, resource: str) -> None:
        with client_of(cutter.url) as client:
            with pytest.raises(ZeroDivisionError) as caught:  # noqa: PT012 - the block is what is tested
                with client.lock(resource, ttl=1, keep_alive=False):
                    cutter.refuses = True
                    cutter.cut()
                    raise ZeroDivisionError
        assert "could not be released" in caught.value.__notes__[0] or "lost" in caught.value.__notes__[0]

    def test_a_release_whose_answer_is_lost_is_sent_again(self, cutter: Cutter, alice: Client, resource: str) -> None:
        with client_of(cutter.url) as client:
            held = client.acquire(resource)
            cutter.drop_answers = 2
            held.release()
        assert cutter.dropped == 2
        ended = alice.describe(held.id)
        assert isinstance(ended, EndedLock)
        assert ended.how == "released"


class TestWaiting:
    """In line, for as long as it takes."""

    def test_it_waits_its_turn(self, served: Served, alice: Client, bob: Client, resource: str) -> None:
        line = served.application.line
        with ThreadPoolExecutor(1) as threads:
            with alice.lock(resource):
                future = threads.submit(bob.acquire, resource, wait=30, ttl=20)
                until(lambda: len(line) > 0)
            held = future.result(20)
        assert 19 < held.expires_in <= 20
        held.release()

    def test_the_error_after_a_wait_tells_how_long_it_was(self, alice: Client, bob: Client, resource: str) -> None:
        with alice.lock(resource):
            with pytest.raises(LockedError) as caught:
                bob.acquire(resource, wait=0.2)
        assert caught.value.waited >= 0.2
        assert "alice" in str(caught.value)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    def test_a_wait_that_is_cut_goes_on_in_its_place(
        self, served: Served, cutter: Cutter, alice: Client, root: Client, resource: str
    ) -> None:
        line = served.application.line
        with client_of(cutter.url, "bob") as bob, ThreadPoolExecutor(2) as threads:
            with alice.lock(resource):
                first = threads.submit(bob.acquire, resource, wait=30)
                until(lambda: len(line) == 1)
                second = threads.submit(root.acquire, resource, wait=30)
                until(lambda: len(line) == 2)
                cutter.cut()
                until(lambda: bob._send._http is not None and len(line) == 2 and cutter.dropped == 0)
            one = first.result(20)
            assert not second.done()
            one.release()
            second.result(20).release()
        events = alice.history(under=resource)
        assert [event.kind for event in events if event.holder == "bob"] == ["queued", "granted", "released"]

    def test_a_wait_longer_than_the_servers_goes_on_with_the_same_place(self, tmp_path: Path) -> None:
        with (
            serving(tmp_path, max_wait_s=1) as served,
            client_of(served.url) as alice,
            client_of(served.url, "bob", now=lambda: served.uptime() / 1e6) as bob,
        ):
            line = served.application.line
            sent: list[str] = []
            real = bob._send
            bob._send = lambda request: (sent.append(request.url), real(request))[1]  # type: ignore[assignment]
            with ThreadPoolExecutor(1) as threads:
                with alice.lock("/a"):
                    future = threads.submit(bob.acquire, "/a", wait=60)
                    for number in range(1, 4):
                        until(lambda number=number: len(sent) == number and len(line) == 1)
                        served.uptime.advance(2)
                future.result(20).release()
            kinds = [event.kind for event in alice.history() if event.holder == "bob"]
            assert kinds == ["queued", "granted", "released"]

    def test_a_full_line_is_asked_again(self, tmp_path: Path) -> None:
        with serving(tmp_path, max_waiters=1) as served, client_of(served.url) as alice:
            with client_of(served.url, "bob") as bob, client_of(served.url, "root") as root:
                line = served.application.line
                with ThreadPoolExecutor(2) as threads:
                    held = alice.acquire("/a")
                    first = threads.submit(bob.acquire, "/a", wait=60)
                    until(lambda: len(line) == 1)
                    second = threads.submit(root.acquire, "/a", wait=60)
                    held.release()
                    first.result(20).release()
                    second.result(20).release()

    def test_who_gives_up_while_waiting_leaves_no_lock_behind(
        self, served: Served, alice: Client, root: Client, resource: str
    ) -> None:
        line = served.application.line

        async def give_up() -> None:
            async with AsyncClient(served.url, auth=("bob", "bob-secret")) as bob:
                task = asyncio.create_task(bob.acquire(resource, wait=30))
                await come(lambda: len(line) == 1)
                held.release()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

        held = alice.acquire(resource)
        asyncio.run(give_up())
        with root.lock(resource, wait=30):
            pass
        assert [lock.holder.name for lock in root.find(resource=resource)] == []


class TestABadNetwork:
    """Answers that are lost, and servers that are gone for a while."""

    def test_an_answer_that_is_lost_grants_nothing_twice_and_leaves_nothing_behind(
        self, cutter: Cutter, alice: Client, resource: str
    ) -> None:
        with client_of(cutter.url) as client:
            cutter.drop_answers = 2
            with client.lock(resource, ttl=60) as held:
                assert cutter.dropped == 2
                assert 59 < held.expires_in <= 60
                assert [lock.id for lock in alice.find(resource=resource)] == [held.id]
        assert alice.find(resource=resource) == []
        kinds = [event.kind for event in alice.history(under=resource)]
        assert kinds == ["granted", "released"]

    def test_the_deadline_of_a_repeated_grant_counts_from_a_request_that_began_it(
        self, served: Served, cutter: Cutter, resource: str
    ) -> None:
        """The first answer is lost, and time passes before it is asked again: a grant is not as new as its answer."""
        server_clock = lambda: served.uptime() / 1e6  # noqa: E731
        sent: list[str] = []
        with client_of(cutter.url, now=server_clock) as client:
            real = client._send

            def slow(request):  # the network between two tries
                sent.append(request.url.rpartition("/api")[2])
                try:
                    return real(request)
                except UnreachableError:
                    served.uptime.advance(3)
                    raise

            client._send = slow  # type: ignore[assignment]
            cutter.drop_answers = 1
            with client.lock(resource, ttl=60, wait=20) as held:
                found = client.describe(held.id)
                assert isinstance(found, FoundLock)
                assert found.expires_in is not None
                assert held.expires_in <= found.expires_in
        assert sent[:3] == ["/locks", "/locks", "/locks/refresh"]

    def test_a_server_that_is_not_there_is_told_at_once_without_a_wait(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with client_of(f"http://127.0.0.1:{port}") as client, pytest.raises(UnreachableError) as caught:
            client.acquire("/a")
        assert caught.value.was_sent is False
        assert type(caught.value.__cause__).__name__ == "ConnectError"
        assert "secret" not in str(caught.value)

    def test_a_refresh_whose_answer_is_lost_is_a_risk_and_then_made_good(
        self, served: Served, cutter: Cutter, resource: str
    ) -> None:
        with client_of(cutter.url, now=lambda: served.uptime() / 1e6) as client:
            with client.lock(resource, ttl=60) as held:
                cutter.drop_answers = 1
                served.uptime.advance(20)
                client._keep_alive.poke()
                until(lambda: held.state is HoldState.AT_RISK)
                assert isinstance(held.error, UnreachableError)
                held.ensure()
                served.uptime.advance(5)
                client._keep_alive.poke()
                until(lambda: held.state is HoldState.HELD)

    def test_a_server_that_comes_back_in_time_costs_nothing(self, tmp_path: Path) -> None:
        """kill -9 and a new start on the same state: the lock is held all the while."""
        folder = tmp_path / "served"
        folder.mkdir()
        server = ServerProcess.start(folder, tmp_path / "log", "--durability", "crash")
        with cutting(server.address[1]) as cutter, client_of(cutter.url) as client:
            with client.lock("/a", ttl=60) as held:
                server.crash()
                with pytest.raises(UnreachableError):
                    held.refresh()
                assert held.state is HoldState.AT_RISK
                with ServerProcess.start(folder, tmp_path / "log", "--durability", "crash") as again:
                    cutter.target = again.address
                    held.refresh()
                    assert held.state is HoldState.HELD
                    held.release()

    @pytest.mark.process
    def test_a_server_that_hangs_for_a_while_is_a_risk_and_then_made_good(self, tmp_path: Path) -> None:
        """SIGSTOP of the server: the refresh is given up in time for another one, and that comes through."""
        folder = tmp_path / "served"
        folder.mkdir()
        with ServerProcess.start(folder, tmp_path / "log", "--durability", "crash") as server:
            with client_of("http://{}:{}".format(*server.address)) as client, client.lock("/a", ttl=8) as held:
                server.process.send_signal(signal.SIGSTOP)
                until(lambda: held.state is HoldState.AT_RISK and held.error is not None)
                held.ensure()
                server.process.send_signal(signal.SIGCONT)
                until(lambda: held.state is HoldState.HELD)

    def test_a_server_that_forgot_the_lock_is_told_as_such(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        with serving(tmp_path / "two") as two:
            with serving(tmp_path / "one") as one, cutting(one.port) as cutter:
                with client_of(cutter.url) as client:
                    held = client.acquire("/a")
                    cutter.target = ("127.0.0.1", two.port)
                    cutter.cut()
                    with pytest.raises(LockLostError) as caught:
                        held.refresh()
        assert caught.value.reason is LostReason.GONE

    def test_a_user_that_was_removed_loses_the_lock_as_refused(self, tmp_path: Path) -> None:
        with serving(tmp_path) as served:
            with client_of(served.url, now=lambda: served.uptime() / 1e6) as client:
                held = client.acquire("/a", ttl=30)
                client._send._options["auth"] = client._send._library.BasicAuth("alice", "changed")
                served.uptime.advance(11)
                client._keep_alive.poke()
                until(lambda: held.state is HoldState.AT_RISK)
                served.uptime.advance(20)
                with pytest.raises(LockLostError) as caught:
                    held.ensure()
        assert caught.value.reason is LostReason.REFUSED


class TestKeptAlive:
    """All locks of a client together."""

    def test_many_locks_are_refreshed_with_one_request(self, served: Served, resource: str) -> None:
        with client_of(served.url, now=lambda: served.uptime() / 1e6) as client:
            locks = [client.acquire(f"{resource}/{number}", ttl=60) for number in range(20)]
            sent: list[str] = []
            real = client._send
            client._send = lambda request: (sent.append(request.url), real(request))[1]  # type: ignore[assignment]
            served.uptime.advance(25)
            client._keep_alive.poke()
            until(lambda: all(held.state is HoldState.HELD and held.expires_in > 50 for held in locks))
            assert len(sent) == 1
            client._send = real
            for held in locks:
                held.release()

    def test_a_broken_lock_is_told_by_the_next_refresh(self, served: Served, root: Client, resource: str) -> None:
        told: list[LockLostError] = []
        with client_of(served.url, now=lambda: served.uptime() / 1e6) as client:
            held = client.acquire(resource, ttl=60, on_lost=told.append)
            root.break_lock(held.id, "old")
            served.uptime.advance(21)
            client._keep_alive.poke()
            assert held.lost.wait(20)
            until(lambda: bool(told))
            assert (told[0].reason, told[0].resource) == (LostReason.BROKEN, resource)
            assert "root" in str(told[0])

    def test_no_thread_is_left(self, alice: Client, resource: str) -> None:
        with alice.lock(resource):
            [thread] = [thread for thread in threading.enumerate() if thread.name == "holdfast-keepalive"]
        thread.join(20)
        assert not thread.is_alive()


class TestStopped:
    """The holding process is stopped (SIGSTOP), as a full swap or a closed lid does."""

    @pytest.mark.process
    @pytest.mark.parametrize("kind", ["api", "loop", "dav"])
    def test_a_stopped_holder_knows_when_it_wakes_that_it_has_lost(self, tmp_path: Path, kind: str) -> None:
        with serving(tmp_path) as served, client_of(served.url, "bob") as bob, Holder(kind, served.url, 1.5) as holder:
            holder.stop()
            with bob.lock("/dav/job" if kind == "dav" else "/job", wait=30):
                holder.wake()
                reason, signals = holder.ask()
        assert reason in {"suspended", "unreachable"}
        assert signals == ["True", reason]

    @pytest.mark.process
    def test_a_holder_that_is_stopped_for_a_moment_goes_on(self, tmp_path: Path) -> None:
        with serving(tmp_path) as served, Holder("api", served.url, 60) as holder:
            holder.stop()
            holder.wake()
            reason, _ = holder.ask()
        assert reason == "still held"


class TestFollowing:
    """The record, in pages and as it happens."""

    def test_history_in_pages(self, alice: Client, resource: str) -> None:
        for _ in range(3):
            alice.acquire(resource).release()
        assert [event.kind for event in alice.history(under=resource)] == ["granted", "released"] * 3
        first = alice.history(under=resource, kind=["granted"], limit=2)
        assert [event.kind for event in first] == ["granted", "granted"]
        assert len(alice.history(under=resource, after=first[-1].seq)) == 3

    def test_find_in_pages(self, alice: Client, resource: str) -> None:
        locks = [alice.acquire(f"{resource}/{number}") for number in range(5)]
        assert len(alice.find(under=resource, limit=3)) == 3
        assert len(alice.find(under=resource)) == 5
        assert [lock.id for lock in alice.find(covering=f"{resource}/2")] == [locks[2].id]
        for held in locks:
            held.release()

    def test_events_go_on_where_a_stream_was_cut(self, cutter: Cutter, alice: Client, resource: str) -> None:
        with client_of(cutter.url) as client:
            after = max((event.seq for event in alice.history()), default=0)
            events = client.events(under=resource, after=after)
            seen: list[LockEvent | Gap] = []
            for _ in range(3):
                alice.acquire(resource).release()
                seen += [next(events), next(events)]
                cutter.cut()
            events.close()
        kinds = [event.kind for event in seen if isinstance(event, LockEvent)]
        assert kinds == ["granted", "released"] * 3
        seqs = [event.seq for event in seen if isinstance(event, LockEvent)]
        assert seqs == sorted(set(seqs))

    def test_a_stream_that_may_not_be_had_is_refused(self, served: Served) -> None:
        with Client(served.url, auth=("alice", "wrong")) as client:
            with pytest.raises(RefusedError) as caught:
                next(client.events())
        assert caught.value.status == 401

    def test_what_is_not_known_is_none(self, alice: Client) -> None:
        assert alice.describe("no-such-lock") is None

    def test_a_server_that_is_no_holdfast_is_told_as_such(self, served: Served) -> None:
        with Client(served.url + "/nothing", auth=("alice", "alice-secret")) as client:
            with pytest.raises(RefusedError):
                client.find()


class TestOnALoop:
    """The same with await."""

    def play(self, served: Served, scene: Callable[[AsyncClient], Awaitable[None]], url: str = "") -> None:
        async def run() -> None:
            async with AsyncClient(url or served.url, auth=("alice", "alice-secret")) as client:
                await scene(client)

        asyncio.run(asyncio.wait_for(run(), 60))
        gc.collect()

    def test_a_block_holds_the_lock_and_releases_it(self, served: Served, resource: str) -> None:
        async def scene(client: AsyncClient) -> None:
            async with client.lock(resource, ttl=30) as held:
                held.ensure()
                await held.refresh()
                assert [lock.id for lock in await client.find(resource=resource)] == [held.id]
                assert await client.check(resource, tokens=[held.token]) is None
                assert isinstance(await client.describe(held.id), FoundLock)
            assert held.state is HoldState.RELEASED
            await client.release(held)

        self.play(served, scene)

    def test_many_wait_in_turn(self, served: Served, resource: str) -> None:
        inside = 0

        async def work(client: AsyncClient) -> int:
            nonlocal inside
            async with client.lock(resource, wait=60) as held:
                inside += 1
                assert inside == 1
                await asyncio.sleep(0)
                inside -= 1
                return held.fencing_token

        async def scene(client: AsyncClient) -> None:
            tokens = await asyncio.gather(*(work(client) for _ in range(8)))
            assert len(set(tokens)) == 8

        self.play(served, scene)

    def test_a_lost_lock_is_told_at_the_end_and_masks_nothing(
        self, served: Served, root: Client, resource: str
    ) -> None:
        async def scene(client: AsyncClient) -> None:
            with pytest.raises(LockLostError):
                async with client.lock(resource) as held:
                    await asyncio.to_thread(root.break_lock, held.id, "old")
            with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
                async with client.lock(resource) as held:
                    await asyncio.to_thread(root.break_lock, held.id, "old")
                    raise ZeroDivisionError

        self.play(served, scene)

    def test_a_cancelled_body_releases_its_lock(self, served: Served, alice: Client, resource: str) -> None:
        async def work(client: AsyncClient) -> None:
            async with client.lock(resource):
                holding.set()
                await asyncio.Event().wait()

        async def scene(client: AsyncClient) -> None:
            task = asyncio.create_task(work(client))
            await holding.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        holding = asyncio.Event()
        self.play(served, scene)
        assert alice.find(resource=resource) == []

    def test_events_go_on_where_a_stream_was_cut(
        self, served: Served, cutter: Cutter, alice: Client, resource: str
    ) -> None:
        async def scene(client: AsyncClient) -> None:
            after = max((event.seq for event in alice.history()), default=0)
            events = client.events(under=resource, after=after)
            kinds: list[str] = []
            for _ in range(2):
                await asyncio.to_thread(lambda: alice.acquire(resource).release())
                for _ in range(2):
                    event = await anext(events)
                    assert isinstance(event, LockEvent)
                    kinds.append(event.kind)
                cutter.cut()
            await events.aclose()
            assert kinds == ["granted", "released"] * 2

        self.play(served, scene, cutter.url)

    def test_an_answer_that_is_lost_is_asked_for_again(self, served: Served, cutter: Cutter, resource: str) -> None:
        async def scene(client: AsyncClient) -> None:
            cutter.drop_answers = 1
            async with client.lock(resource) as held:
                cutter.drop_answers = 1
                assert [lock.id for lock in await AsyncClient.find(direct, resource=resource)] == [held.id]

        direct: AsyncClient

        async def both(client: AsyncClient) -> None:
            nonlocal direct
            async with AsyncClient(served.url, auth=("alice", "alice-secret")) as direct:
                await scene(client)

        self.play(served, both, cutter.url)
