"""Request bodies: small ones in memory, large ones in uploads, unwelcome ones refused before they are read."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from holdfast.edge.settings import Limits
from holdfast.wire.exchange import Response
from tests.edge.tiny import PATIENCE_S, Edge, TinyFace, Uploads, echo

KIB = 1024
MIB = 1024 * KIB
REFUSAL = Response(423, [("content-type", "text/plain")], b"locked")


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailers + b"\r\n"


def resident_kib() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // KIB


@pytest.mark.parametrize("brief", [True, False])
@pytest.mark.parametrize("size", [1, 64 * KIB])
def test_a_body_up_to_64_kib_stays_in_memory(size, brief):
    face = TinyFace(echo, brief=brief)
    uploads = Uploads()
    with Edge(face, uploads=uploads) as edge, edge.connect() as client:
        assert client.ask("PUT", "/dav/x", b"x" * size).body.endswith(b"\n" + b"x" * size)
    assert uploads.made == []


@pytest.mark.parametrize("size", [64 * KIB + 1, 5 * MIB + 7])
def test_a_larger_body_arrives_in_an_upload_whole(size):
    seen = []

    def answer(request):
        request.body.file.seek(0)
        seen.append(request.body.file.read())
        return echo(request)

    data = os.urandom(size)
    uploads = Uploads()
    with Edge(TinyFace(answer), uploads=uploads) as edge, edge.connect() as client:
        for _ in range(2):
            assert client.ask("PUT", "/dav/x", data).body.endswith(b"upload of %d" % size)
    assert seen == [data, data]
    assert all(upload.discarded.is_set() for upload in uploads.made)


def test_chunked_bodies_with_extensions_and_trailers_arrive_as_finder_sends_them():
    with Edge(TinyFace(echo)) as edge, edge.connect() as client:
        for data in (b"", b"hello", b"x" * MIB):
            client.send(b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.send(chunked(*([data] if data else []), trailers=b"X-Checksum: 1\r\n"))
            expected = b"upload of %d" % len(data) if len(data) > 64 * KIB else data
            assert client.answer().body == b"PUT\n/dav/x\n\nanonymous\n" + expected


def test_a_body_in_many_tiny_chunks_arrives_whole():
    with Edge(TinyFace(echo)) as edge, edge.connect() as client:
        client.send(b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(chunked(*[b"y"] * 100_000))
        assert client.answer().body.endswith(b"upload of 100000")


def test_a_client_that_expects_it_is_told_to_continue_once_the_face_welcomes_it():
    with Edge(TinyFace(echo)) as edge, edge.connect() as client:
        for size in (5, 100 * KIB):
            client.send(f"PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\nExpect: 100-continue\r\n\r\n")
            assert client.answer().status == 100
            client.send(b"z" * size)
            assert client.answer().status == 200


def test_a_client_that_expects_continue_but_sends_at_once_is_served_too():
    with Edge(TinyFace(echo)) as edge, edge.connect() as client:
        client.send(b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello")
        first = client.answer()
        assert (client.answer() if first.status == 100 else first).body.endswith(b"hello")


def test_an_unwelcome_upload_is_refused_before_its_body_is_sent():
    face = TinyFace(echo, refuse=lambda _: REFUSAL)
    with Edge(face) as edge, edge.connect() as client:
        client.send("PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000\r\nExpect: 100-continue\r\n\r\n")
        got = client.answer()
        assert got.status == 423
        assert got.fields["connection"] == "close"
        assert client.is_closed_by_server()
    assert face.calls == []


def test_an_unwelcome_chunked_upload_is_refused_before_its_body_is_sent():
    face = TinyFace(echo, refuse=lambda _: REFUSAL)
    with Edge(face) as edge, edge.connect() as client:
        client.send("PUT /dav/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert client.answer().status == 423


def test_a_client_that_sends_without_asking_reads_the_refusal_before_the_end():
    face = TinyFace(echo, refuse=lambda _: REFUSAL)
    with Edge(face) as edge, edge.connect() as client:
        client.send(b"PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n")
        client.send(b"x" * 900_000)
        assert client.answer().body == b"locked"
        assert client.rest() == b""


def test_a_small_rest_is_dropped_and_the_connection_goes_on():
    face = TinyFace(echo, refuse=lambda head: REFUSAL if head.target == "/dav/no" else None)
    with Edge(face) as edge, edge.connect() as client:
        size = 100 * KIB
        client.send(f"PUT /dav/no HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size)
        first = client.answer()
        if first.fields.get("connection") != "close":
            assert client.ask("GET", "/dav/yes").status == 200
    assert "/dav/no" not in [call.target for call in face.calls]


def test_who_refuses_on_a_body_of_known_length_knows_the_principal():
    heads = []
    face = TinyFace(echo, refuse=lambda head: heads.append((head.method, head.principal, head.body)) or REFUSAL)
    with Edge(face) as edge, edge.connect() as client:
        client.send("PUT /dav/x HTTP/1.1\r\nHost: x\r\nAuthorization: Basic slow\r\nContent-Length: 99999999\r\n\r\n")
        assert client.answer().status == 423
    [(method, principal, body)] = heads
    assert (method, principal.name, body) == ("PUT", "slow-holdfast", b"")


def test_a_100_gb_upload_over_the_limit_is_413_before_it_is_read():
    uploads = Uploads()
    with Edge(TinyFace(echo), uploads=uploads, limits=Limits(body_bytes=MIB)) as edge, edge.connect() as client:
        client.send("PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 107374182400\r\n\r\n")
        assert client.answer().status == 413
    assert uploads.made == []


def test_a_chunked_upload_that_grows_over_the_limit_is_413():
    face = TinyFace(echo)
    uploads = Uploads()
    with Edge(face, uploads=uploads, limits=Limits(body_bytes=MIB)) as edge, edge.connect() as client:
        client.send("PUT /dav/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"200000\r\n" + b"x" * 2 * MIB)
        assert client.answer().status == 413
        assert uploads.made[0].discarded.wait(PATIENCE_S)
    assert face.calls == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_507_and_the_face_is_not_called(code):
    face = TinyFace(echo)
    uploads = Uploads(OSError(code, "full"))
    with Edge(face, uploads=uploads) as edge, edge.connect() as client:
        client.request("PUT", "/dav/x", b"x" * 200 * KIB)
        assert client.answer().status == 507
        assert uploads.made[0].discarded.wait(PATIENCE_S)
    assert face.calls == []


def test_another_disk_error_is_500_and_is_logged(caplog):
    uploads = Uploads(OSError(errno.EIO, "broken disk"))
    with Edge(TinyFace(echo), uploads=uploads) as edge, edge.connect() as client:
        client.request("PUT", "/dav/x", b"x" * 200 * KIB)
        assert client.answer().status == 500
    assert "broken disk" in caplog.text


def test_too_many_uploads_at_once_are_503_and_a_slot_comes_free_again():
    with Edge(TinyFace(echo), limits=Limits(uploads=1)) as edge:
        with edge.connect() as first, edge.connect() as second:
            first.send("PUT /dav/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\nExpect: 100-continue\r\n\r\n")
            assert first.answer().status == 100
            second.send("PUT /dav/2 HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\nExpect: 100-continue\r\n\r\n")
            got = second.answer()
            assert (got.status, got.fields["retry-after"]) == (503, "2")
            first.send(b"x" * 200_000)
            assert first.answer().status == 200
        with edge.connect() as third:
            assert third.ask("PUT", "/dav/3", b"x" * 200_000).status == 200


@pytest.mark.parametrize("size", [10, 10 * MIB])
def test_a_client_that_vanishes_in_a_body_changes_nothing(size):
    face = TinyFace(echo)
    uploads = Uploads()
    with Edge(face, uploads=uploads) as edge:
        with edge.connect() as client:
            client.send(f"PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
            client.send(b"x" * (size // 2))
        with edge.connect() as other:
            assert other.ask("GET", "/dav/alive").status == 200
        for upload in uploads.made:
            assert upload.discarded.wait(PATIENCE_S)
    assert [call.target for call in face.calls] == ["/dav/alive"]


def test_an_upload_that_the_face_leaves_is_discarded_even_when_it_raises(caplog):
    def explode(_):
        raise ValueError

    uploads = Uploads()
    with Edge(TinyFace(explode), uploads=uploads) as edge, edge.connect() as client:
        assert client.ask("PUT", "/dav/x", b"x" * 200 * KIB).status == 500
    assert uploads.made[0].discarded.is_set()


def test_the_memory_for_a_300_mib_upload_is_bounded():
    block = b"x" * MIB
    entered = threading.Event()

    def answer(request):
        entered.set()
        return echo(request)

    with Edge(TinyFace(answer)) as edge, edge.connect() as client:
        assert client.ask("PUT", "/dav/warm", b"x" * MIB).status == 200
        before = resident_kib()
        most = before
        client.send(f"PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: {300 * MIB}\r\n\r\n")
        for number in range(300):
            client.send(block)
            if number % 10 == 0:
                most = max(most, resident_kib())
        assert client.answer().body.endswith(b"upload of %d" % (300 * MIB))
    assert most - before < 16 * KIB
