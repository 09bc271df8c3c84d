"""The measurements of the lock API measure what they say: framing, turns in a line, and what listeners hear."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Generator

import pytest

from benchmarks.api.measures import greeted, hand_over, many_listeners, pairs, queue_up, refreshes, worker_of
from benchmarks.api.servers import HoldfastApi
from benchmarks.api.talk import LISTEN, Answer, Connection, Frame, Script, TalkError, frame_http, frame_redis, talk
from tests.serving import serving


@contextlib.contextmanager
def connected(frame: Frame) -> Generator[tuple[Connection, socket.socket]]:
    """A connection, and the other end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection(listener.getsockname()[1], frame)
        other, _ = listener.accept()
        with contextlib.closing(connection), other:
            yield connection, other


EVENT = b"id: 4\nevent: granted\ndata: {}\n\n"
OPENED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FRAMES = {
    "with a body": (frame_http, b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nabc", [(201, b"abc")]),
    "without": (frame_http, b"HTTP/1.1 204 No Content\r\n\r\n", [(204, b"")]),
    "a stream": (
        frame_http,
        OPENED
        + b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
        + b"a\r\n: comment\n\r\n1\r\n\n\r\n"
        + b"5\r\ndata:\r\n2\r\n\n\n\r\n",
        [(200, b""), (0, EVENT[:-2]), (0, b"data:")],
    ),
    "replies of Redis": (
        frame_redis,
        b"+OK\r\n$-1\r\n:1\r\n$3\r\na\r\n\r\n-ERR no\r\n",
        [(43, b"OK"), (36, b""), (58, b"1"), (36, b"a\r\n"), (45, b"ERR no")],
    ),
}


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_answers_are_told_apart_however_they_come(name: str, size: int) -> None:
    frame, octets, expected = FRAMES[name]
    with connected(frame) as (connection, _):
        found: list[tuple[int, bytes]] = []
        for start in range(0, len(octets), size):
            connection.buffer += octets[start : start + size]
            while (framed := frame(connection)) is not None:
                found.append(framed)
        assert found == expected


def test_a_server_that_hangs_up_is_an_error_and_not_a_slow_one() -> None:
    def script() -> Script:
        yield LISTEN

    with connected(frame_http) as (connection, other):
        other.close()
        with pytest.raises(TalkError, match="hung up"):
            talk([(connection, script())], 5)


def test_who_does_not_come_to_an_end_is_cut_off() -> None:
    def script() -> Script:
        yield LISTEN

    with connected(frame_http) as (connection, _), pytest.raises(TalkError, match="1 conversations"):
        talk([(connection, script())], 0.05)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Generator[HoldfastApi]:
    """A server without users in this process."""
    with serving(tmp_path_factory.mktemp("measured"), users=None) as served:
        yield HoldfastApi(served.port, os.getsid(0))


def test_locks_are_acquired_and_released_by_each_connection(api: HoldfastApi) -> None:
    assert pairs(api, 3, 0.1) > 0
    assert refreshes(api, 1, 0.1, at_once=3) > 0


def test_a_refusal_that_nobody_expects_is_no_figure(api: HoldfastApi) -> None:
    with pytest.raises(TalkError, match="400"):
        api.held("x", 0, Answer(400, b"no", 0.0))


@pytest.mark.parametrize("waits", [True, False])
def test_two_take_turns_and_each_hand_over_is_timed(api: HoldfastApi, waits: bool) -> None:
    found = hand_over(api, [api.connect(), api.connect()], 3, waits=waits)
    assert len(found) == 5
    assert all(seconds > 0 for seconds in found)


def test_a_line_is_served_in_its_order(api: HoldfastApi) -> None:
    line = queue_up(api, 12, waits=True, idle_s=0.05)
    assert (len(line.hand_overs), line.passed) == (12, 0)
    assert max(line.hand_overs) <= line.served_s


def test_each_listener_hears_each_grant(api: HoldfastApi) -> None:
    found = many_listeners(api, 5, 2, idle_s=0.05)
    assert len(found.first) == len(found.last) == 2
    assert all(first <= last for first, last in zip(found.first, found.last, strict=True))


def test_the_process_behind_a_connection_is_found(api: HoldfastApi) -> None:
    """Here it is this very process, which has both ends open."""
    with contextlib.closing(greeted(api)) as end:
        assert worker_of(api.session, end) == os.getpid()
