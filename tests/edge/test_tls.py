"""The same promises over TLS, where nothing can be sent around the encryption."""

from __future__ import annotations

import os
import ssl

import pytest
import trustme

from holdfast.edge.serve import Tls
from holdfast.edge.settings import Limits
from holdfast.wire.exchange import FileRegion, Response
from tests.edge.tiny import Edge, TinyFace, Uploads, echo

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


def test_plain_http_on_a_tls_port_harms_nobody(tls, trusting):
    with Edge(TinyFace(echo), tls=tls) as edge:
        with edge.connect() as client:
            client.send("GET /dav/x HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.is_cut_off()
        with edge.connect(trusting) as client:
            assert client.ask("GET", "/dav/x").status == 200
