"""Flows and drivers: one conversation under both drivers, errors thrown into it, nothing left open."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
import trio

from holdfast.client.drivers import Sleeper, WaitCancelledError, async_sleep, run_async, run_sync
from holdfast.client.events import EventReader
from holdfast.client.exchange import ClientRequest, ClientResponse
from holdfast.client.flows import Flow, Hear, Listen, notify, now, send, sleep
from tests.client.locked_servers import ManualTime

GET = ClientRequest(method="GET", url="http://127.0.0.1/a")


def conversation(told: Callable[[object], object]) -> Flow[tuple[int, float]]:
    began = yield from now()
    first = yield from send(GET)
    yield from notify(told, first.status)
    yield from sleep(2.5)
    second = yield from send(GET)
    ended = yield from now()
    return first.status + second.status, ended - began


def test_one_conversation_has_one_outcome_with_threads_and_with_a_loop() -> None:
    time, told = ManualTime(), list[object]()
    answers = iter([423, 204, 423, 204])

    def answer(request: ClientRequest) -> ClientResponse:
        return ClientResponse(status=next(answers), url=request.url)

    async def answer_later(request: ClientRequest) -> ClientResponse:
        await asyncio.sleep(0)
        return answer(request)

    async def tell_later(status: object) -> None:
        await asyncio.sleep(0)
        told.append(status)

    assert run_sync(conversation(told.append), answer, time.sleep, time.now) == (627, 2.5)
    assert asyncio.run(run_async(conversation(tell_later), answer_later, time.asleep, time.now)) == (627, 2.5)
    assert told == [423, 423]


def test_what_the_network_raises_is_the_flows_to_handle() -> None:
    def stubborn() -> Flow[int]:
        try:
            yield from send(GET)
        except ConnectionResetError:
            return (yield from send(GET)).status
        return 0

    answers = iter([ConnectionResetError(), ClientResponse(status=200)])

    def answer(request: ClientRequest) -> ClientResponse:
        said = next(answers)
        if isinstance(said, Exception):
            raise said
        return said

    assert run_sync(stubborn(), answer) == 200


def test_a_flow_and_its_streams_are_closed_whatever_ends_it() -> None:
    closed: list[str] = []

    class Stream:
        status = 200

        def read(self) -> bytes:
            raise KeyboardInterrupt

        def close(self) -> None:
            closed.append("stream")

    def listener() -> Flow[None]:
        try:
            stream = yield Listen(GET, 5)
            yield Hear(stream)
        finally:
            closed.append("flow")

    with pytest.raises(KeyboardInterrupt):
        run_sync(listener(), lambda request: ClientResponse(status=200), listen=lambda request, patience: Stream())
    assert closed == ["stream", "flow"]


def test_a_cancelled_task_closes_its_flow() -> None:
    closed: list[str] = []

    def sleeper() -> Flow[None]:
        try:
            yield from sleep(3600)
        finally:
            closed.append("flow")

    async def never(request: ClientRequest) -> ClientResponse:
        raise AssertionError

    async def main() -> None:
        task = asyncio.create_task(run_async(sleeper(), never))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert closed == ["flow"]


def test_a_sleep_is_cancelled_from_another_thread() -> None:
    sleeper = Sleeper()
    threading.Timer(0.05, sleeper.cancel).start()
    with pytest.raises(WaitCancelledError):
        sleeper(3600)
    with pytest.raises(WaitCancelledError):
        sleeper(0)


def test_flows_sleep_on_trios_loop_too() -> None:
    def nap() -> Flow[str]:
        yield from sleep(0.001)
        return "awake"

    async def never(request: ClientRequest) -> ClientResponse:
        raise AssertionError

    async def main() -> str:
        return await run_async(nap(), never, async_sleep)

    assert trio.run(main) == "awake"


STREAM = b"retry: 2000\nid: 118\n\n:\nid: 119\nevent: released\ndata: {}\n\nid: 120\nevent: granted\ndata: {}\n\nid: 121\n\nid: 122\nevent: expired\n"


def test_a_stream_is_read_the_same_in_pieces_of_any_size() -> None:
    for size in (1, 2, 3, 7, 50, len(STREAM)):
        reader = EventReader()
        kinds: list[str] = []
        for start in range(0, len(STREAM), size):
            kinds += reader.feed(STREAM[start : start + size])
        assert kinds == ["released", "granted"]
        assert reader.last_id == "121", "an event that is not complete is asked for again"


def test_lines_may_end_as_the_standard_allows() -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        reader = EventReader()
        text = (STREAM + b"data: {}\n\n:\n").replace(b"\n", end)
        kinds = [kind for start in range(len(text)) for kind in reader.feed(text[start : start + 1])]
        assert kinds == ["released", "granted", "expired"]


def test_an_endless_line_does_not_fill_the_memory() -> None:
    reader = EventReader()
    for _ in range(100):
        assert reader.feed(b"x" * 65536) == []
    assert len(reader._rest) <= 65536
