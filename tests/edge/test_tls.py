"""The same promises over TLS, where nothing can be sent around the encryption."""

from __future__ import annotations

import os
import socket
import ssl

import pytest
import trustme

from holdfast.edge.serve import Tls
from holdfast.edge.settings import Limits
from holdfast.wire.exchange import FileRegion, Response
from holdfast.wire.scripts import Cut, Data, Head, Interim, Script, Wait
from tests.edge.tiny import PATIENCE_S, Beats, Broadcast, Client, Edge, Ticket, TinyFace, Uploads, echo, wait_until

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(folder / "cert.pem", append=True)
    return Tls(folder / "cert.pem", folder / "key.pem")


@pytest.fixture(scope="module")
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_a_face_learns_that_the_scheme_is_https(tls, trusting):
    face = TinyFace(echo)
    with Edge(face, tls=tls) as edge, edge.connect(trusting) as client:
        for _ in range(3):
            assert client.ask("PUT", "/dav/x", b"hello").body.endswith(b"hello")
        assert client.ask("GET", "/asgi").body == b"asgi /asgi 0"
    assert face.calls[0].scheme == "https"


def test_uploads_files_and_iterators_arrive_whole(tls, trusting, tmp_path):
    data = os.urandom(5 * MIB + 3)
    path = tmp_path / "document"
    path.write_bytes(data)
    files = []

    def answer(request):
        if request.method == "PUT":
            return echo(request)
        if request.query:
            return Response(200, [], iter([data[:100], data[100:]]))
        files.append(path.open("rb"))
        return Response(200, [], [b"head", FileRegion(files[-1], 1, len(data) - 1), b"tail"])

    uploads = Uploads()
    with Edge(TinyFace(answer), tls=tls, uploads=uploads) as edge, edge.connect(trusting) as client:
        assert client.ask("PUT", "/dav/x", data).body.endswith(b"upload of %d" % len(data))
        assert client.ask("GET", "/dav/x").body == b"head" + data[1:] + b"tail"
        assert client.ask("GET", "/dav/x?it").body == data
    assert all(file.closed for file in files)


def test_a_refused_upload_and_a_broken_request_are_answered_before_the_end(tls, trusting):
    face = TinyFace(echo, refuse=lambda _: Response(423, [], b"locked"))
    with Edge(face, tls=tls, limits=Limits(linger_s=0.1, tick_s=0.02)) as edge:
        with edge.connect(trusting) as client:
            client.send("PUT /dav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n")
            client.send(b"x" * 100_000)
            assert client.answer().status == 423
        with edge.connect(trusting) as client:
            client.send("rubbish\r\n\r\n")
            assert client.answer().status in {400, 501}


def test_parked_requests_and_streams_are_answered_and_end(tls, trusting):
    pulse = Beats()
    pulse.is_wanted = True
    tickets = {"/dav/1": Ticket(), "/dav/2": Ticket(), "/dav/3": Ticket(at_hasten=Response(423, []))}
    stream = Broadcast(b"hello")

    def answer(request):
        body = tickets.get(request.target, stream)
        return Response(200, [], body)

    with Edge(TinyFace(answer), tls=tls, pulse=pulse) as edge:
        with edge.connect(trusting) as client, edge.connect(trusting) as gone:
            client.request("POST", "/dav/1")
            gone.request("POST", "/dav/2")
            assert tickets["/dav/1"].started.wait(PATIENCE_S)
            assert tickets["/dav/2"].started.wait(PATIENCE_S)
            gone.socket.close()
            assert tickets["/dav/2"].abandoned.wait(PATIENCE_S)
            pulse.do(lambda: tickets["/dav/1"].answer(Response(201, [], b"granted")))
            assert client.answer().body == b"granted"
            client.request("POST", "/dav/3")
            assert tickets["/dav/3"].started.wait(PATIENCE_S)
            with edge.connect(trusting) as listener:
                listener.request("GET", "/dav/live")
                listener.head()
                assert listener.chunk() == b"hello"
                edge.server.stop()
                assert listener.chunk() == b""
                assert listener.rest() == b""
                assert client.answer().status == 423
    assert stream.calls == ["start", "stop"]


def test_a_stream_is_cut_off_where_the_client_reads_nothing(tls, trusting):
    pulse = Beats()
    pulse.is_wanted = True
    stream = Broadcast()
    with Edge(TinyFace(lambda _: Response(200, [], stream)), tls=tls, pulse=pulse) as edge:
        with edge.connect(trusting) as client:
            client.request("GET", "/dav/live")
            assert stream.started.wait(PATIENCE_S)
            wait_until(lambda: not pulse.do(lambda: stream.sink.send(b"x" * 65536)))
            assert stream.stopped.wait(PATIENCE_S)
    assert stream.calls == ["start", "stop"]


def test_plain_http_on_a_tls_port_harms_nobody(tls, trusting):
    with Edge(TinyFace(echo), tls=tls) as edge:
        with edge.connect() as client:
            client.send("GET /dav/x HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.is_cut_off()
        with edge.connect(trusting) as client:
            assert client.ask("GET", "/dav/x").status == 200


def test_a_script_is_performed_and_its_cut_is_a_reset(tls, trusting):
    steps = (Interim(103), Head(100), Data(b"half"), Wait(0.02), Cut())
    face = TinyFace(lambda _: Response(200, [], Script(steps)))
    with Edge(face, tls=tls) as edge, socket.create_connection(edge.address, timeout=PATIENCE_S) as plain:
        with Client(trusting.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False)) as client:
            client.request("GET", "/dav/x")
            assert client.head() == {}
            assert client.head()["content-length"] == "100"
            assert client._exactly(4) == b"half"
            with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):  # the library calls either by the first name
                client.rest()
