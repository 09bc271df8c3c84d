"""Answers on their way out: files, ranges, iterators, slow readers, answers that wait for the disk."""

from __future__ import annotations

import os
import threading

import pytest

from holdfast.edge.settings import Limits
from holdfast.wire.exchange import FileRegion, Response
from tests.edge.test_bodies import resident_kib
from tests.edge.tiny import PATIENCE_S, Edge, Settled, TinyFace, wait_until

KIB = 1024
MIB = 1024 * KIB


class Closing:
    """An iterator of chunks that says when it was closed; raises or waits where told."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = iter(chunks)
        self.closed = threading.Event()

    def __iter__(self):
        return self

    def __next__(self) -> bytes:
        chunk = next(self.chunks)
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "document"
    path.write_bytes(os.urandom(10 * MIB + 13))
    return path


class FileFace(TinyFace):
    """Answers with regions of one file and keeps the files to see whether they were closed."""

    def __init__(self, path, regions, brief=True) -> None:
        super().__init__(self.send, brief=brief)
        self.path = path
        self.regions = regions
        self.files = []

    def send(self, request):
        parts = []
        for region in self.regions:
            if isinstance(region, bytes):
                parts.append(region)
            else:
                file = self.path.open("rb")
                self.files.append(file)
                parts.append(FileRegion(file, *region))
        return Response(200, [("etag", '"1"')], parts)


@pytest.mark.parametrize("brief", [True, False])
@pytest.mark.parametrize("regions", [
    [(0, 1024)],
    [(5, 64 * KIB)],
    [(0, 10 * MIB + 13)],
    [(10 * MIB, 13)],
    [b"--one\r\n", (0, 10), b"--two\r\n", (1 * MIB, 3 * MIB), b"--three\r\n", (77, 0), b"--end--"],
    [],
])  # fmt: skip
def test_files_and_bytes_arrive_in_order_and_every_file_is_closed(document, regions, brief):
    data = document.read_bytes()
    expected = b"".join(r if isinstance(r, bytes) else data[r[0] : r[0] + r[1]] for r in regions)
    face = FileFace(document, regions, brief)
    with Edge(face) as edge, edge.connect() as client:
        for _ in range(2):
            assert client.ask("GET", "/dav/x").body == expected
        got = client.ask("HEAD", "/dav/x")
        assert int(got.fields["content-length"]) == len(expected)
        client.request("GET", "/dav/x")
        client.request("GET", "/dav/x")
        assert client.answer().body == expected
        assert client.answer().body == expected
    assert all(file.closed for file in face.files)


def test_an_iterator_is_sent_in_chunks_and_closed():
    made = []

    def answer(_):
        made.append(Closing(b"one", b"", b"x" * 100_000, b"two"))
        return Response(200, [], made[-1])

    with Edge(TinyFace(answer)) as edge, edge.connect() as client:
        for _ in range(2):
            got = client.ask("GET", "/dav/x")
            assert got.body == b"one" + b"x" * 100_000 + b"two"
            assert got.fields["transfer-encoding"] == "chunked"
            assert "content-length" not in got.fields
        assert all(one.closed.wait(PATIENCE_S) for one in made)


def test_an_empty_iterator_is_an_empty_body():
    with Edge(TinyFace(lambda _: Response(200, [], iter(())))) as edge, edge.connect() as client:
        assert client.ask("GET", "/dav/x").body == b""
        assert client.ask("GET", "/dav/x").body == b""


def test_an_iterator_for_http10_ends_with_the_connection():
    with Edge(TinyFace(lambda _: Response(200, [], iter([b"one", b"two"])))) as edge, edge.connect() as client:
        client.send("GET /dav/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        got = client.answer()
        assert got.body == b"onetwo"
        assert got.fields["connection"] == "close"
        assert "transfer-encoding" not in got.fields


def test_an_iterator_is_closed_unread_on_head():
    chunks = Closing(b"one")
    with Edge(TinyFace(lambda _: Response(200, [], chunks))) as edge, edge.connect() as client:
        assert client.ask("HEAD", "/dav/x").status == 200
        assert chunks.closed.wait(PATIENCE_S)
        assert next(chunks) == b"one"


def test_an_iterator_that_fails_at_once_is_500_and_later_cuts_the_connection(caplog):
    def answer(request):
        return Response(200, [], Closing(*([b"some"] if request.query else []), ValueError("bad chunk")))

    with Edge(TinyFace(answer)) as edge:
        with edge.connect() as client:
            assert client.ask("GET", "/dav/x").status == 500
        with edge.connect() as client:
            client.request("GET", "/dav/x?later")
            with pytest.raises((AssertionError, ConnectionError)):
                client.answer()
    assert "bad chunk" in caplog.text


def test_a_file_that_shrinks_while_it_is_sent_cuts_the_connection(document, caplog):
    face = FileFace(document, [(0, 11 * MIB)])
    with Edge(face) as edge, edge.connect() as client:
        client.request("GET", "/dav/x")
        with pytest.raises((AssertionError, ConnectionError)):
            client.answer()
    assert all(file.closed for file in face.files)


def test_a_small_file_that_is_too_short_is_500(document, caplog):
    face = FileFace(document, [(10 * MIB, 14)])
    with Edge(face) as edge, edge.connect() as client:
        assert client.ask("GET", "/dav/x").status == 500
    assert all(file.closed for file in face.files)


def endless(stopped: threading.Event):
    try:
        while True:
            yield b"x" * 64 * KIB
    finally:
        stopped.set()


@pytest.mark.parametrize("kind", ["file", "iterator"])
def test_a_client_that_leaves_in_the_middle_has_its_file_or_iterator_closed(document, kind):
    stopped = threading.Event()
    face = FileFace(document, [(0, 10 * MIB)] * 20)
    if kind == "iterator":
        face = TinyFace(lambda _: Response(200, [], endless(stopped)))
    with Edge(face) as edge:
        with edge.connect() as client:
            client.request("GET", "/dav/x")
            assert client.socket.recv(1000)
        if kind == "iterator":
            assert stopped.wait(PATIENCE_S)
    if kind == "file":
        assert all(file.closed for file in face.files)


@pytest.mark.parametrize("kind", ["file", "iterator"])
def test_a_client_that_takes_nothing_is_cut_off_and_costs_no_memory(document, kind):
    stopped = threading.Event()
    face = FileFace(document, [(0, 10 * MIB)] * 20)
    if kind == "iterator":
        face = TinyFace(lambda _: Response(200, [], endless(stopped)))
    with Edge(face, limits=Limits(stall_s=0.2, tick_s=0.02)) as edge:
        before = resident_kib()
        with edge.connect() as client:
            client.request("GET", "/dav/x")
            if kind == "iterator":
                assert stopped.wait(PATIENCE_S)
            else:
                wait_until(lambda: face.files and all(file.closed for file in face.files))
            assert client.is_cut_off()
        assert resident_kib() - before < 16 * KIB


def test_a_client_that_sends_requests_and_reads_no_answer_is_cut_off():
    face = TinyFace(lambda _: Response(200, [], b"x" * 60_000))
    with Edge(face, limits=Limits(stall_s=0.2, tick_s=0.02)) as edge, edge.connect() as client:
        before = resident_kib()
        with pytest.raises(ConnectionError):
            client.send(b"GET /dav/x HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000_000)
        assert resident_kib() - before < 32 * KIB


class Disk(Settled):
    """Has unsynced work until a sync is allowed and done."""

    def __init__(self) -> None:
        self.allowed = threading.Event()
        self.entered = threading.Event()
        self.syncs = 0
        self.fails = False

    @property
    def has_unsynced(self) -> bool:
        return True

    def sync(self) -> None:
        self.entered.set()
        assert self.allowed.wait(PATIENCE_S)
        self.syncs += 1
        if self.fails:
            raise OSError("fsync failed")


@pytest.mark.parametrize("brief", [True, False])
def test_an_answer_that_awaits_the_disk_is_not_sent_before_it(brief):
    disk = Disk()
    face = TinyFace(
        lambda request: Response(200, [], request.target.encode(), awaits_sync="w" in request.target), brief=brief
    )
    with Edge(face, settle=disk) as edge, edge.connect() as client:
        client.request("LOCK", "/dav/w")
        client.request("GET", "/dav/r")
        assert disk.entered.wait(PATIENCE_S)
        with edge.connect() as other:
            assert other.ask("GET", "/dav/r").body == b"/dav/r"
        client.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.socket.recv(1)
        client.socket.settimeout(PATIENCE_S)
        disk.allowed.set()
        assert client.answer().body == b"/dav/w"
        assert client.answer().body == b"/dav/r"


def test_answers_that_wait_at_the_same_time_share_one_sync():
    disk = Disk()
    calls = threading.Semaphore(0)

    def answer(request):
        calls.release()
        return Response(200, [], b"ok", awaits_sync=True)

    with Edge(TinyFace(answer), settle=disk) as edge:
        clients = [edge.connect() for _ in range(20)]
        clients[0].request("LOCK", "/dav/x")
        assert disk.entered.wait(PATIENCE_S)
        for client in clients[1:]:
            client.request("LOCK", "/dav/x")
        for _ in clients:
            assert calls.acquire(timeout=PATIENCE_S)
        with edge.connect() as other:
            assert other.ask("GET", "/asgi").status == 200
        disk.allowed.set()
        for client in clients:
            assert client.answer().body == b"ok"
            client.socket.close()
    assert disk.syncs == 2


def test_a_sync_that_fails_takes_the_answer_back(caplog):
    disk = Disk()
    disk.fails = True
    disk.allowed.set()
    with Edge(TinyFace(lambda _: Response(201, [], b"granted", awaits_sync=True)), settle=disk) as edge:
        with edge.connect() as client:
            got = client.ask("LOCK", "/dav/x")
            assert got.status == 500
            assert b"granted" not in got.body
    assert "fsync failed" in caplog.text


def test_echo_is_whole_at_every_size_around_the_write_limits():
    with Edge(TinyFace(lambda r: Response(200, [], b"x" * int(r.query)))) as edge, edge.connect() as client:
        for size in (0, 1, 65_535, 65_536, 65_537, 3 * MIB):
            assert len(client.ask("GET", f"/dav/x?{size}").body) == size
