"""Scripts on the wire: each step as it is written, in its order, and ended when nobody waits for it any more."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Generator

import pytest

from holdfast.edge.settings import Limits
from holdfast.wire.exchange import Request, Response
from holdfast.wire.scripts import Cut, Data, End, Framing, Head, Interim, MalformedChunk, Script, Step, Wait
from tests.edge.tiny import PATIENCE_S, Client, Edge, Settled, TinyFace, wait_until

LONG = Wait(3600)
"""Longer than any test: whoever sees its end has seen it ended early."""


class Stage:
    """A face that performs `steps` at /dav/play, and answers others with their target."""

    def __init__(self, *, brief: bool = True) -> None:
        self.face = TinyFace(self.answer, brief=brief)
        self.response = Response(200, [])
        self.steps: tuple[Step, ...] = (Head(), End())

    def answer(self, request: Request) -> Response:
        if request.target != "/dav/play":
            return Response(200, [], request.target.encode())
        response = self.response
        return Response(response.status, list(response.headers), Script(self.steps), response.awaits_sync)

    def plays(self, *steps: Step, status: int = 200, fields: tuple[tuple[str, str], ...] = ()) -> None:
        self.steps = steps
        self.response = Response(status, list(fields))


@pytest.fixture(params=[True, False], ids=["hot", "cold"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(brief=request.param)


@pytest.fixture
def edge(stage: Stage) -> Generator[Edge]:
    with Edge(stage.face) as edge:
        yield edge


@pytest.fixture
def client(edge: Edge) -> Generator[Client]:
    with edge.connect() as client:
        yield client


def is_kept(client: Client) -> bool:
    """Ask for more on the same connection."""
    return client.ask("GET", "/dav/next").body == b"/dav/next"


def head_of(client: Client) -> bytes:
    """The next head as it is on the wire, interim ones included."""
    return client._until(b"\r\n\r\n")


def until_reset(client: Client) -> bytes:
    """All that comes before the reset, which must come."""
    data = bytearray(client._buffer)
    with pytest.raises(ConnectionResetError):
        _read_on(client, data)
    return bytes(data)


def _read_on(client: Client, data: bytearray) -> None:
    while more := client.socket.recv(65536):
        data += more


# Framing


def test_a_known_length_is_told_and_the_connection_is_kept(stage: Stage, client: Client) -> None:
    stage.plays(Head(), Data(b"one"), Data(b""), Data(b"two"), End(), fields=(("x-said", "yes"),))
    for _ in range(2):
        answer = client.ask("GET", "/dav/play")
        assert (answer.status, answer.body) == (200, b"onetwo")
        assert (answer.fields["content-length"], answer.fields["x-said"]) == ("6", "yes")
        assert "date" in answer.fields
        assert "connection" not in answer.fields
    assert is_kept(client)


def test_each_data_is_a_chunk_where_chunks_are_wanted(stage: Stage, client: Client) -> None:
    stage.plays(Head(Framing.CHUNKED), Data(b"one"), Data(b""), Data(b"two"), End())
    client.request("GET", "/dav/play")
    fields = client.head()
    assert fields["transfer-encoding"] == "chunked"
    assert "content-length" not in fields
    assert [client.chunk() for _ in range(3)] == [b"one", b"two", b""]
    assert is_kept(client)


def test_without_framing_the_close_is_the_end(stage: Stage, client: Client) -> None:
    stage.plays(Head(Framing.CLOSE), Data(b"one"), End())
    client.request("GET", "/dav/play")
    fields = client.head()
    assert fields["connection"] == "close"
    assert not {"content-length", "transfer-encoding"} & fields.keys()
    assert client.rest() == b"one"


@pytest.mark.parametrize("length", [2, 100])
def test_after_a_length_that_is_not_true_nothing_else_comes(stage: Stage, client: Client, length: int) -> None:
    stage.plays(Head(length), Data(b"three"), End())
    client.send("GET /dav/play HTTP/1.1\r\nHost: x\r\n\r\nGET /dav/next HTTP/1.1\r\nHost: x\r\n\r\n")
    fields = client.head()
    assert (fields["content-length"], fields["connection"]) == (str(length), "close")
    assert client.rest() == b"three"


def test_a_length_that_is_true_is_like_any_other(stage: Stage, client: Client) -> None:
    stage.plays(Head(5), Data(b"three"), End())
    assert client.ask("GET", "/dav/play").body == b"three"
    assert is_kept(client)


def test_a_malformed_chunk_is_no_chunk_and_ends_the_connection(stage: Stage, client: Client) -> None:
    stage.plays(Head(Framing.CHUNKED), Data(b"good"), MalformedChunk(b"bad"), End())
    client.request("GET", "/dav/play")
    assert client.head()["connection"] == "close"
    assert client.chunk() == b"good"
    rest = client.rest()
    with pytest.raises(ValueError, match="invalid literal"):
        int(rest.partition(b"\r\n")[0], 16)
    assert b"bad" in rest
    assert not rest.endswith(b"0\r\n\r\n")


def test_http_1_0_gets_no_chunks_and_no_interim_answers(stage: Stage, client: Client) -> None:
    stage.plays(Interim(103), Head(Framing.CHUNKED), Data(b"one"), Data(b"two"), End())
    client.send("GET /dav/play HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    head = head_of(client)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"chunked" not in head
    assert client.rest() == b"onetwo"


def test_http_1_0_is_kept_where_it_asked_for_that_and_the_length_is_known(stage: Stage, client: Client) -> None:
    stage.plays(Head(), Data(b"one"), End())
    for _ in range(2):
        client.send("GET /dav/play HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = client.answer()
        assert (answer.body, answer.fields["connection"]) == (b"one", "keep-alive")


# Statuses


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED, 3])
def test_head_gets_the_head_of_get(stage: Stage, client: Client, framing: Framing | int) -> None:
    stage.plays(Head(framing), Data(b"one"), End(), fields=(("etag", '"x"'),))
    heads = []
    for method in ("GET", "HEAD"):
        client.request(method, "/dav/play")
        heads.append({line for line in head_of(client).split(b"\r\n") if not line.lower().startswith(b"date")})
        if method == "GET":
            body = client._exactly(len(b"3\r\none\r\n0\r\n\r\n") if framing is Framing.CHUNKED else 3)
            assert b"one" in body
    assert heads[0] == heads[1]
    assert is_kept(client)


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED, 3])
@pytest.mark.parametrize("status", [204, 304])
def test_what_has_no_content_has_no_length_either(
    stage: Stage, client: Client, status: int, framing: Framing | int
) -> None:
    stage.plays(Head(framing), Data(b"one"), End(), status=status)
    answer = client.ask("GET", "/dav/play")
    assert answer.status == status
    assert not {"content-length", "transfer-encoding"} & answer.fields.keys()
    assert is_kept(client)


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED])
def test_205_has_a_length_of_zero_and_nothing_else(stage: Stage, client: Client, framing: Framing) -> None:
    stage.plays(Head(framing), Data(b"one"), End(), status=205)
    answer = client.ask("GET", "/dav/play")
    assert (answer.status, answer.fields["content-length"], answer.body) == (205, "0", b"")
    assert "transfer-encoding" not in answer.fields
    assert is_kept(client)


@pytest.mark.parametrize(("status", "line"), [(299, b"299 "), (423, b"423 Locked"), (599, b"599 ")])
def test_any_final_status_may_be_sent(stage: Stage, client: Client, status: int, line: bytes) -> None:
    stage.plays(Head(), End(), status=status)
    client.request("GET", "/dav/play")
    assert head_of(client).split(b"\r\n")[0] == b"HTTP/1.1 " + line
    assert is_kept(client)


@pytest.mark.parametrize("status", [0, 99, 100, 101, 103, 199, 600, 1000])
def test_what_is_no_final_status_becomes_500(
    stage: Stage, client: Client, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    stage.plays(Interim(102), Head(), End(), status=status)
    client.request("GET", "/dav/play")
    assert head_of(client).startswith(b"HTTP/1.1 102 ")
    assert client.answer().status == 500
    assert is_kept(client)
    assert "could not be sent" in caplog.text


def test_interim_answers_come_before_the_final_one_when_they_are_due(stage: Stage, client: Client) -> None:
    early = Interim(103, (("link", "</style.css>; rel=preload"),))
    stage.plays(Interim(100), Interim(102), early, Interim(142), Wait(0.02), Head(), Data(b"x"), End())
    client.request("GET", "/dav/play")
    heads = [head_of(client) for _ in range(4)]
    assert heads[0] == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert heads[1] == b"HTTP/1.1 102 Processing\r\n\r\n"
    assert heads[2] == b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
    assert heads[3] == b"HTTP/1.1 142 \r\n\r\n"
    assert client.answer().body == b"x"
    assert is_kept(client)


def test_an_interim_answer_that_cannot_be_sent_becomes_500(
    stage: Stage, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    stage.plays(Interim(103, (("link", "a\r\nb: c"),)), Head(), End())
    assert client.ask("GET", "/dav/play").status == 500
    assert is_kept(client)
    assert "could not be sent" in caplog.text


UPGRADE = "Connection: keep-alive, Upgrade\r\nUpgrade: other/1, Example/2\r\n"


def test_101_switches_to_a_protocol_that_was_asked_for(stage: Stage, client: Client) -> None:
    stage.plays(Head(), Data(b"\x00\x01"), Data(b"bye"), End(), status=101, fields=(("upgrade", "example/2"),))
    client.request("GET", "/dav/play", fields=UPGRADE)
    head = head_of(client).lower()
    assert head.startswith(b"http/1.1 101 switching protocols\r\n")
    assert b"\r\nconnection: upgrade\r\n" in head
    assert b"\r\nupgrade: example/2\r\n" in head
    assert b"content-length" not in head
    assert client.rest() == b"\x00\x01bye"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("", (("upgrade", "example/2"),)),
        ("Upgrade: example/2\r\n", (("upgrade", "example/2"),)),
        (UPGRADE, (("upgrade", "example/3"),)),
        (UPGRADE, (("upgrade", "example/2"), ("upgrade", "other/1"))),
        (UPGRADE, ()),
    ],
)
def test_101_is_never_sent_unasked(
    stage: Stage, client: Client, fields: str, told: tuple[tuple[str, str], ...], caplog: pytest.LogCaptureFixture
) -> None:
    stage.plays(Head(), Data(b"bye"), End(), status=101, fields=told)
    assert client.ask("GET", "/dav/play", fields=fields).status == 500
    assert is_kept(client)
    assert "did not ask" in caplog.text


def test_101_is_never_sent_to_http_1_0(stage: Stage, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    stage.plays(Head(), Data(b"bye"), End(), status=101, fields=(("upgrade", "example/2"),))
    client.send(f"GET /dav/play HTTP/1.0\r\n{UPGRADE}\r\n")
    assert client.answer().status == 500
    assert "did not ask" in caplog.text


def test_an_upgrade_that_nobody_takes_is_known_to_the_face_and_changes_nothing(stage: Stage, client: Client) -> None:
    assert client.ask("PUT", "/dav/next", b"body", fields=UPGRADE).body == b"/dav/next"
    request = stage.face.calls[-1]
    assert request.headers.get(b"upgrade") == "other/1, Example/2"
    assert request.body == b"body"
    assert client.ask("GET", "/dav/next").status == 200
    assert b"upgrade" not in stage.face.calls[-1].headers


# Cuts


def test_a_cut_before_the_head_resets_with_no_answer(stage: Stage, client: Client) -> None:
    stage.plays(Interim(103), Cut())
    client.request("GET", "/dav/play")
    assert until_reset(client) == b"HTTP/1.1 103 Early Hints\r\n\r\n"


def test_a_cut_after_the_head_comes_after_the_head(stage: Stage, client: Client) -> None:
    stage.plays(Head(), Wait(0.02), Cut())
    client.request("GET", "/dav/play")
    assert until_reset(client).endswith(b"\r\n\r\n")


@pytest.mark.parametrize("framing", [Framing.CHUNKED, 1_000_000])
def test_a_cut_in_the_body_comes_after_what_was_sent(stage: Stage, client: Client, framing: Framing | int) -> None:
    stage.plays(Head(framing), Data(b"half"), Wait(0.02), Cut())
    client.request("GET", "/dav/play")
    data = until_reset(client)
    assert b"half" in data
    assert b"connection: close" not in data


def test_a_cut_comes_after_much_that_the_client_takes_its_time_for(stage: Stage, client: Client) -> None:
    data = b"x" * 3_000_000
    stage.plays(Head(4_000_000), Data(data), Cut())
    client.request("GET", "/dav/play")
    client.head()
    assert client._exactly(1_000_000) == data[:1_000_000]
    assert until_reset(client) == data[1_000_000:]


# Time


def test_a_wait_takes_as_long_as_it_says(stage: Stage, client: Client) -> None:
    stage.plays(Wait(0.03), Head(), Wait(0.02), Data(b"x"), End())
    start = time.monotonic()
    client.request("GET", "/dav/play")
    client.head()
    assert time.monotonic() - start >= 0.03
    assert client._exactly(1) == b"x"
    assert time.monotonic() - start >= 0.05


def test_a_wait_of_nothing_is_none(stage: Stage, client: Client) -> None:
    stage.plays(Wait(0), Head(), Data(b"x"), End())
    assert client.ask("GET", "/dav/play").body == b"x"


def test_what_comes_before_a_wait_is_sent_before_it(stage: Stage, client: Client) -> None:
    stage.plays(Head(), Data(b"first"), LONG, Data(b"last"), End())
    client.request("GET", "/dav/play")
    assert client.head()["content-length"] == "9"
    assert client._exactly(5) == b"first"


def test_no_limit_on_what_stands_still_ends_a_wait(stage: Stage) -> None:
    limits = Limits(stall_s=0.005, idle_s=0.005, head_s=0.005, body_window_s=0.005, tick_s=0.002)
    stage.plays(Wait(0.04), Head(), Data(b"x"), Wait(0.04), Data(b"y"), End())
    with Edge(stage.face, limits=limits) as edge, edge.connect() as client:
        assert client.ask("GET", "/dav/play").body == b"xy"


def test_a_client_that_takes_nothing_is_cut_off(stage: Stage) -> None:
    limits = Limits(stall_s=0.05, tick_s=0.01)
    stage.plays(Head(), *(Data(b"x" * 1_000_000),) * 20, LONG, End())
    with Edge(stage.face, limits=limits) as edge, edge.connect() as client:
        client.request("GET", "/dav/play")
        wait_until(lambda: edge.server._runtime.scripts == 1)
        wait_until(lambda: edge.server._runtime.scripts == 0)
        assert client.is_cut_off()


def test_requests_behind_it_are_answered_after_it(stage: Stage, client: Client) -> None:
    stage.plays(Wait(0.02), Head(Framing.CHUNKED), Data(b"all"), End())
    client.send("".join(f"GET /dav/{name} HTTP/1.1\r\nHost: x\r\n\r\n" for name in ("a", "play", "play", "b")))
    assert [client.answer().body for _ in range(4)] == [b"/dav/a", b"all", b"all", b"/dav/b"]


def test_a_client_that_goes_ends_it(stage: Stage, edge: Edge) -> None:
    scripts = edge.server._runtime
    for steps in ((LONG, Head(), End()), (Head(), LONG, End()), (LONG, Cut())):
        stage.plays(*steps)
        with edge.connect() as client:
            client.request("GET", "/dav/play")
            wait_until(lambda: scripts.scripts == 1)
        wait_until(lambda: scripts.scripts == 0)


def test_a_client_that_goes_with_requests_behind_it_ends_it(stage: Stage, edge: Edge) -> None:
    stage.plays(LONG, Head(), End())
    with edge.connect() as client:
        client.request("GET", "/dav/play")
        client.request("GET", "/dav/play")
        wait_until(lambda: edge.server._runtime.scripts == 1)
    wait_until(lambda: edge.server._runtime.scripts == 0)


def test_a_server_that_stops_ends_all_waits_and_says_the_rest(stage: Stage) -> None:
    stage.plays(LONG, Interim(102), LONG, Head(), Data(b"x"), LONG, Data(b"y"), LONG, End())
    with Edge(stage.face) as edge, edge.connect() as client:
        client.request("GET", "/dav/play")
        client.request("GET", "/dav/play")
        wait_until(lambda: edge.server._runtime.scripts == 1)
        edge.server.stop()
        for last in (False, True):
            assert head_of(client).startswith(b"HTTP/1.1 102 ")
            answer = client.answer()
            assert answer.body == b"xy"
            assert ("connection" in answer.fields) is last
        assert client.is_closed_by_server()


# Limits, and who is told


def test_more_scripts_at_once_than_are_allowed_are_answered_503(stage: Stage) -> None:
    stage.plays(LONG, Head(), End())
    with Edge(stage.face, limits=Limits(scripts=2, retry_after_s=7)) as edge:
        with edge.connect() as one, edge.connect() as two, edge.connect() as three:
            one.request("GET", "/dav/play")
            two.request("GET", "/dav/play")
            wait_until(lambda: edge.server._runtime.scripts == 2)
            answer = three.ask("GET", "/dav/play")
            assert (answer.status, answer.fields["retry-after"]) == (503, "7")
            assert is_kept(three)
            one.socket.close()
            wait_until(lambda: edge.server._runtime.scripts == 1)
            stage.plays(Head(), Data(b"x"), End())
            assert three.ask("GET", "/dav/play").body == b"x"
        wait_until(lambda: edge.server._runtime.scripts == 0)


@pytest.mark.parametrize(
    ("steps", "statuses"),
    [
        ((Interim(102), Wait(0.01), Head(), Data(b"x"), End()), [423]),
        ((Head(Framing.CHUNKED), Data(b"x"), Cut()), [423]),
        ((Interim(102), Cut()), [423]),
    ],
)
def test_whoever_observes_is_told_of_each_script_once(
    stage: Stage, steps: tuple[Step, ...], statuses: list[int]
) -> None:
    told: list[int] = []
    stage.plays(*steps, status=423)
    with Edge(stage.face, observe=lambda _, response: told.append(response.status)) as edge:
        with edge.connect() as client, contextlib.suppress(ConnectionResetError):
            client.request("GET", "/dav/play", fields="Connection: close\r\n")
            client.rest()
        wait_until(lambda: edge.server._runtime.scripts == 0)
    assert told == statuses


def test_a_refusal_may_be_a_script_and_the_body_stays_where_it_is(stage: Stage) -> None:
    stage.face.refuse = stage.answer
    stage.plays(Wait(0.01), Head(), Data(b"no"), End(), status=423)
    with Edge(stage.face) as edge, edge.connect() as client:
        client.send("PUT /dav/play HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.body, answer.fields["connection"]) == (423, b"no", "close")
        assert client.is_closed_by_server()


class OneSync(Settled):
    """What is committed is not safe before `may_sync`."""

    def __init__(self) -> None:
        self.has_unsynced = True
        self.may_sync = threading.Event()

    def sync(self) -> None:
        assert self.may_sync.wait(PATIENCE_S)
        self.has_unsynced = False


def test_a_script_that_promises_something_begins_when_that_is_sure(stage: Stage) -> None:
    settle = OneSync()
    stage.plays(Head(), Data(b"x"), End())
    stage.response.awaits_sync = True
    with Edge(stage.face, settle=settle) as edge, edge.connect() as client:
        client.request("GET", "/dav/play")
        client.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.socket.recv(1, socket.MSG_PEEK)
        client.socket.settimeout(PATIENCE_S)
        settle.may_sync.set()
        assert client.answer().body == b"x"
