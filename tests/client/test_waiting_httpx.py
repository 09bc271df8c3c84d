"""WaitTransport and AsyncWaitTransport against a real Holdfast server: everyday waits, and no update lost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import trio

from holdfast.client.drivers import WaitCancelledError
from holdfast.client.errors import LockedError
from holdfast.client.policy import GaveUp, Stale, Waiting, WaitPolicy
from holdfast.client.transport_httpx import AsyncWaitTransport, WaitTransport
from holdfast.client.versions import UnknownVersionError
from tests.client.locked_servers import ManualTime
from tests.serving import Served, lockinfo, serving

QUICK = WaitPolicy(deadline=20, floor=0.01, cap=0.1)
PLAN = "/dav/plan.txt"


@pytest.fixture(name="served")
def _served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "plan.txt").write_bytes(b"start\n")
    with serving(tmp_path, users=None) as served:
        yield served


def client(served: Served, policy: WaitPolicy = QUICK, **time_and_luck: Any) -> httpx.Client:
    return httpx.Client(transport=WaitTransport(policy, **time_and_luck), base_url=served.url)


def until_listening(served: Served) -> None:
    """Wait until somebody listens to the server's events."""
    deadline = time.monotonic() + 10
    while not served.application.feed._readers:
        assert time.monotonic() < deadline, "nobody listens"
        time.sleep(0.005)


def meanwhile(*steps: Callable[[], object]) -> Callable[[Waiting], None]:
    """An `on_wait` that takes one step at each wait, as somebody else would."""
    left = list(steps)

    def step(waiting: Waiting) -> None:
        if left:
            left.pop(0)()

    return step


def add_line(http: httpx.Client, line: str) -> httpx.Response:
    """Take the lock in turn, read, write, give it back."""
    locked = http.request("LOCK", PLAN, content=lockinfo(), headers={"Timeout": "Second-60", "Depth": "0"})
    assert locked.status_code == 200, locked.text
    token = locked.headers["Lock-Token"]
    text = http.get(PLAN).text
    answer = http.put(PLAN, content=f"{text}{line}\n", headers={"If": f"({token})"})
    http.request("UNLOCK", PLAN, headers={"Lock-Token": token}).raise_for_status()
    return answer


def test_five_clients_write_one_locked_document_in_turn_and_none_loses_an_update(served: Served) -> None:
    holder = served.anonymous
    token = holder.locked(PLAN)
    started = threading.Barrier(6)

    def work(name: str) -> int:
        with client(served) as http:
            started.wait()
            return add_line(http, name).status_code

    with ThreadPoolExecutor(5) as pool:
        results = [pool.submit(work, name) for name in "abcde"]
        started.wait()
        assert holder.put(PLAN, b"start\nholder\n", if_=f"(<{token}>)").status == 204
        assert holder.unlock(PLAN, token).status == 204
        assert [result.result(30) for result in results] == [204] * 5
    lines = holder.get(PLAN).body.decode().splitlines()
    assert lines[:2] == ["start", "holder"]
    assert sorted(lines[2:]) == list("abcde")


def test_five_tasks_read_change_and_write_without_a_lock_of_their_own_and_none_loses_an_update(served: Served) -> None:
    """Each waits out the holder's lock; after the wait a stale one hears 412, reads again, and writes what is right."""
    token = served.anonymous.locked(PLAN)
    refused = list[int]()

    async def work(http: httpx.AsyncClient, name: str) -> None:
        while True:
            read = await http.get(PLAN)
            # The first write of each goes without a condition: the transport adds the one that the wait makes needful.
            fields = {"If-Match": read.headers["ETag"]} if name in refused_names else {}
            answer = await http.put(PLAN, content=f"{read.text}{name}\n", headers=fields)
            if answer.status_code == 412:
                refused.append(412)
                refused_names.add(name)
                continue
            assert answer.status_code == 204, answer.text
            return

    refused_names = set[str]()

    async def release(waiting: Waiting) -> None:
        waiting_urls.append(waiting.url)
        if len(waiting_urls) == 5:
            served.anonymous.put(PLAN, b"start\nholder\n", if_=f"(<{token}>)")
            served.anonymous.unlock(PLAN, token)

    waiting_urls = list[str]()

    async def main() -> None:
        policy = WaitPolicy(deadline=20, floor=0.01, cap=0.1, on_wait=release)
        async with httpx.AsyncClient(transport=AsyncWaitTransport(policy), base_url=served.url) as http:
            await asyncio.gather(*(work(http, name) for name in "abcde"))

    asyncio.run(main())
    lines = served.anonymous.get(PLAN).body.decode().splitlines()
    assert lines[:2] == ["start", "holder"]
    assert sorted(lines[2:]) == list("abcde")
    assert len(refused) >= 5, "what each had read was out of date after the wait"


def test_a_write_goes_through_as_soon_as_the_lock_is_released(served: Served) -> None:
    """The server's events tell: the next look would be after half a minute, and its Retry-After is a whole one."""
    holder = served.anonymous
    for delay in (0.0, 0.4):
        token = holder.locked(PLAN)
        end = threading.Timer(delay, holder.unlock, (PLAN, token))
        policy = WaitPolicy(deadline=90, floor=30, cap=30, on_wait=meanwhile(end.start))
        with client(served, policy) as http:
            http.get(PLAN)
            began = time.monotonic()
            answer = http.put(PLAN, content=b"mine")
        end.join()
        assert answer.status_code == 204
        assert answer.extensions["holdfast"].attempts == 2
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_tasks_hear_of_the_release_too(served: Served, loop: str) -> None:
    holder = served.anonymous
    token = holder.locked(PLAN)
    end = threading.Timer(0.2, holder.unlock, (PLAN, token))
    policy = WaitPolicy(deadline=90, floor=30, cap=30, on_wait=meanwhile(end.start))

    async def main() -> httpx.Response:
        async with httpx.AsyncClient(transport=AsyncWaitTransport(policy), base_url=served.url) as http:
            await http.get(PLAN)
            return await http.put(PLAN, content=b"mine")

    began = time.monotonic()
    answer = asyncio.run(main()) if loop == "asyncio" else trio.run(main)
    end.join()
    assert answer.status_code == 204
    assert time.monotonic() - began < 5


def test_whoever_listens_stops_at_the_deadline(served: Served) -> None:
    served.anonymous.locked(PLAN, timeout="Second-3600")
    with client(served, WaitPolicy(deadline=1.3)) as http:
        http.get(PLAN)
        began = time.monotonic()
        assert http.put(PLAN, content=b"mine").extensions["holdfast"].gave_up is GaveUp.DEADLINE
        assert 1.2 < time.monotonic() - began < 5


def test_the_holders_change_is_not_overwritten_after_the_wait(served: Served) -> None:
    holder = served.anonymous
    token = holder.locked(PLAN)

    def change() -> None:
        holder.put(PLAN, b"theirs", if_=f"(<{token}>)")
        holder.unlock(PLAN, token)

    with client(served, WaitPolicy(deadline=20, on_wait=meanwhile(change))) as http:
        http.get(PLAN)
        answer = http.put(PLAN, content=b"mine")
    assert answer.status_code == 412
    assert answer.extensions["holdfast"].added["If-Match"].startswith('"')
    assert holder.get(PLAN).body == b"theirs"


def test_overwriting_after_a_wait_is_explicit(served: Served) -> None:
    holder = served.anonymous
    token = holder.locked(PLAN)

    def change() -> None:
        holder.put(PLAN, b"theirs", if_=f"(<{token}>)")
        holder.unlock(PLAN, token)

    policy = WaitPolicy(deadline=20, on_wait=meanwhile(change), stale=Stale.OVERWRITE)
    with client(served, policy) as http:
        assert http.put(PLAN, content=b"mine").status_code == 204
    assert holder.get(PLAN).body == b"mine"


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_change_of_what_was_never_read_is_refused_before_anything_is_waited_for(served: Served, method: str) -> None:
    served.anonymous.locked(PLAN)
    manual = ManualTime()
    with client(served, sleeper=manual.sleep, now=manual.now) as http, pytest.raises(UnknownVersionError) as caught:
        http.request(method, PLAN, content=b"mine" if method != "DELETE" else None)
    assert isinstance(caught.value.__cause__, LockedError)
    assert caught.value.__cause__.resource == PLAN
    assert manual.slept == []


def test_a_version_that_another_thread_read_is_not_taken_for_ones_own(served: Served) -> None:
    served.anonymous.locked(PLAN)
    with client(served) as http:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(http.get, PLAN).result()
        with pytest.raises(UnknownVersionError):
            http.put(PLAN, content=b"mine")


def test_a_named_version_counts_and_so_does_that_there_was_nothing(served: Served) -> None:
    holder = served.anonymous
    etag = holder.get(PLAN)["ETag"]
    for target, version, expected in [(PLAN, etag, 204), (PLAN, '"another"', 412), (PLAN, None, 412)]:
        token = holder.locked(target)
        policy = WaitPolicy(deadline=20, on_wait=meanwhile(lambda token=token: holder.unlock(PLAN, token)))
        with client(served, policy) as http:
            answer = http.put(target, content=b"mine", extensions={"holdfast": {"version": version}})
        assert answer.status_code == expected, version


def test_a_new_document_is_made_only_while_there_is_none(served: Served) -> None:
    holder = served.anonymous
    token = holder.locked("/dav/", depth="infinity")

    def change() -> None:
        assert holder.put("/dav/new.txt", b"theirs", if_=f"<{served.url}/dav/> (<{token}>)").status == 201
        holder.unlock("/dav/", token)

    with client(served, WaitPolicy(deadline=20, on_wait=meanwhile(change))) as http:
        assert http.get("/dav/new.txt").status_code == 404
        answer = http.put("/dav/new.txt", content=b"mine")
    assert answer.status_code == 412
    assert answer.extensions["holdfast"].added["If-None-Match"] == "*"
    assert holder.get("/dav/new.txt").body == b"theirs"


def test_a_move_does_not_replace_a_destination_that_was_changed_during_the_wait(served: Served) -> None:
    holder = served.anonymous
    holder.put("/dav/draft.txt", b"draft")
    token = holder.locked(PLAN)

    def change() -> None:
        holder.put(PLAN, b"theirs", if_=f"(<{token}>)")
        holder.unlock(PLAN, token)

    with client(served, WaitPolicy(deadline=20, on_wait=meanwhile(change))) as http:
        http.get(PLAN)
        answer = http.request("MOVE", "/dav/draft.txt", headers={"Destination": f"{served.url}{PLAN}"})
    assert answer.status_code == 412
    assert holder.get(PLAN).body == b"theirs"
    assert holder.get("/dav/draft.txt").body == b"draft"


def test_a_lock_that_expires_ends_the_wait(served: Served) -> None:
    manual = ManualTime(on_sleep=served.uptime.advance)
    served.anonymous.locked(PLAN, timeout="Second-30")
    policy = WaitPolicy(deadline=60, listen=False)
    with client(served, policy, sleeper=manual.sleep, now=manual.now) as http:
        http.get(PLAN)
        answer = http.put(PLAN, content=b"mine")
    assert answer.status_code == 204
    waited = answer.extensions["holdfast"]
    assert 29 <= waited.waited <= 42
    assert waited.attempts == 2, "the lock was looked at, and the body sent again only once"


def test_at_the_deadline_the_caller_has_the_last_423_and_knows_the_holder(served: Served) -> None:
    manual = ManualTime(on_sleep=served.uptime.advance)
    served.anonymous.locked(PLAN, timeout="Second-3600")
    policy = WaitPolicy(deadline=30, listen=False)
    with client(served, policy, sleeper=manual.sleep, now=manual.now) as http:
        http.get(PLAN)
        answer = http.put(PLAN, content=b"mine")
    assert answer.status_code == 423
    assert b"lock-token-submitted" in answer.content
    waited = answer.extensions["holdfast"]
    assert waited.gave_up is GaveUp.DEADLINE
    assert waited.waited == pytest.approx(30)
    assert "until" in str(waited.error)


def test_an_error_can_be_asked_for_instead(served: Served) -> None:
    manual = ManualTime()
    served.anonymous.locked(PLAN, timeout="Second-3600")
    policy = WaitPolicy(deadline=5, listen=False, raise_locked=True)
    with client(served, policy, sleeper=manual.sleep, now=manual.now) as http:
        http.get(PLAN)
        with pytest.raises(LockedError) as caught:
            http.put(PLAN, content=b"mine")
    assert caught.value.waited == pytest.approx(5)
    assert isinstance(caught.value.response, httpx.Response)
    assert caught.value.response.status_code == 423


def test_maintenance_without_an_end_is_not_waited_for_unless_asked_to(served: Served) -> None:
    body = {"resource": "/", "depth": "infinity", "ttl": None, "reason": "Upgrade, back at ten"}
    with httpx.Client(base_url=served.url) as plain:
        lock = plain.post("/api/locks", json=body).raise_for_status().json()
        manual = ManualTime()
        with client(served, sleeper=manual.sleep, now=manual.now) as http:
            http.get(PLAN)
            answer = http.put(PLAN, content=b"mine")
        assert answer.status_code == 423
        assert answer.extensions["holdfast"].gave_up is GaveUp.ENDLESS
        assert manual.slept == []

        def end() -> None:
            plain.request("DELETE", lock["url"], headers={"Lock-Token": f"<{lock['token']}>"}).raise_for_status()

        policy = WaitPolicy(deadline=20, wait_for_endless=True, on_wait=meanwhile(end))
        with client(served, policy) as http:
            http.get(PLAN)
            assert http.put(PLAN, content=b"mine").status_code == 204


def test_a_lock_over_the_api_is_waited_for_in_line(served: Served) -> None:
    with httpx.Client(base_url=served.url) as plain:
        held = plain.post("/api/locks", json={"resource": "/orders/42", "ttl": 60}).raise_for_status().json()
        end = threading.Timer(
            0.2, lambda: plain.request("DELETE", held["url"], headers={"Lock-Token": f"<{held['token']}>"})
        )
        end.start()
        with client(served) as http:
            answer = http.post("/api/locks", json={"resource": "/orders/42", "ttl": 60})
        end.join()
    assert answer.status_code == 201
    assert answer.extensions["holdfast"].attempts == 1, "the server held the line"
    assert answer.headers["Preference-Applied"].startswith("wait=")


def test_who_wants_to_hear_of_it_is_told_before_the_server_holds_the_line(served: Served) -> None:
    told = list[Waiting]()
    token = served.anonymous.locked(PLAN)

    def hear(waiting: Waiting) -> None:
        told.append(waiting)
        threading.Timer(0.1, lambda: served.anonymous.unlock(PLAN, token)).start()

    with client(served, WaitPolicy(deadline=20, on_wait=hear)) as http:
        answer = http.request("LOCK", PLAN, content=lockinfo(), headers={"Depth": "0", "Timeout": "Second-60"})
    assert answer.status_code == 200
    assert answer.extensions["holdfast"].attempts == 2
    assert [waiting.details.resource for waiting in told] == [PLAN]


def test_the_short_read_timeout_of_the_client_is_not_the_end_of_a_line(served: Served) -> None:
    token = served.anonymous.locked(PLAN)
    with client(served) as http:
        http.timeout = httpx.Timeout(5, read=0.2)
        end = threading.Timer(0.6, lambda: served.anonymous.unlock(PLAN, token))
        end.start()
        answer = http.request("LOCK", PLAN, content=lockinfo(), headers={"Depth": "0", "Timeout": "Second-60"})
        end.join()
    assert answer.status_code == 200


@pytest.mark.parametrize("listen", [True, False])
def test_closing_the_client_ends_the_waits_of_other_threads(served: Served, listen: bool) -> None:
    served.anonymous.locked(PLAN, timeout="Second-3600")
    waiting = threading.Event()
    policy = WaitPolicy(deadline=60, listen=listen, floor=30, cap=30, on_wait=lambda _waiting: waiting.set())
    http = client(served, policy)

    def work() -> str:
        http.get(PLAN)
        try:
            http.put(PLAN, content=b"mine")
        except WaitCancelledError as error:
            return str(error)
        return "not cancelled"

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(work)
        assert waiting.wait(10)
        if listen:
            until_listening(served)
        http.close()
        assert result.result(10) == "the wait was cancelled"


@pytest.mark.parametrize("listen", [True, False])
def test_a_cancelled_task_leaves_nothing_open(served: Served, listen: bool) -> None:
    served.anonymous.locked(PLAN, timeout="Second-3600")

    async def main() -> None:
        told = asyncio.Event()
        policy = WaitPolicy(deadline=60, listen=listen, floor=30, cap=30, on_wait=lambda _waiting: told.set())
        async with httpx.AsyncClient(transport=AsyncWaitTransport(policy), base_url=served.url) as http:
            await http.get(PLAN)
            task = asyncio.create_task(http.put(PLAN, content=b"mine"))
            await asyncio.wait_for(told.wait(), 10)
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_httpx2_waits_as_httpx_does(served: Served) -> None:
    holder = served.anonymous
    token = holder.locked(PLAN)
    policy = WaitPolicy(deadline=20, on_wait=meanwhile(lambda: holder.unlock(PLAN, token)))
    with httpx2.Client(transport=WaitTransport(policy), base_url=served.url) as http:  # type: ignore[arg-type]
        http.get(PLAN)
        answer = http.put(PLAN, content=b"mine")
    assert answer.status_code == 204
    assert isinstance(answer, httpx2.Response)
    token = holder.locked(PLAN)

    async def main() -> httpx2.Response:
        transport = AsyncWaitTransport(WaitPolicy(deadline=0))
        async with httpx2.AsyncClient(transport=transport, base_url=served.url) as later:  # type: ignore[arg-type]
            await later.get(PLAN)
            return await later.put(PLAN, content=b"mine")

    refused = asyncio.run(main())
    assert refused.status_code == 423
    assert b"lock-token-submitted" in refused.content
