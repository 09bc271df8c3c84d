"""Five clients that ask for a list of requests, and the exchanges that each of them saw.

What each gives: the raw socket and curl the bytes of the wire, interim answers included; httpx, requests and fetch the final answer
as their caller gets it. None follows a redirect. A request that a client will not make, or an answer that it will not
give to its caller, becomes a Failure with the client's own words.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import requests

from holdfast.inspector.exchange import Exchange, FieldLine, ReceivedResponse, SentRequest
from holdfast.inspector.framing import Content, Head, faults_of_fields, read_content, read_head
from holdfast.inspector.reading import read_exchange

__all__ = ["CLIENTS", "Failure", "Seen"]

_HERE = Path(__file__).parent
_MOST = 1_000_000
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Failure:
    """What the client said in the place of an answer."""

    said: str


Seen = Exchange | Failure
Client = Callable[[Sequence[SentRequest], Path], Iterable[Seen]]


def by_socket(asked: Sequence[SentRequest], _folder: Path) -> Iterator[Seen]:
    """Over one raw connection, until the server closes it, and then over the next: a wrong length spoils the answer after it."""
    connection: socket.socket | None = None
    stream: io.BufferedReader | None = None
    with contextlib.ExitStack() as kept:
        for request in asked:
            if connection is None or stream is None:
                place = urlsplit(request.url)
                connection = kept.enter_context(
                    socket.create_connection((place.hostname, place.port), timeout=_PATIENCE_S)
                )
                stream = kept.enter_context(connection.makefile("rb"))
            sent = _with(request, ("Host", urlsplit(request.url).netloc), ("Accept", "*/*"))
            head = [f"{sent.method} {urlsplit(sent.url).path} HTTP/1.1"]
            head += [f"{name}: {value}" for name, value in sent.fields]
            connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1"))
            exchange = _read(stream, sent)
            yield exchange
            if "close" in (exchange.response.field("connection") or "") or exchange.response.status == 101:
                assert stream.read() == b"", "something comes behind the last answer"
                kept.close()
                connection = None


def _read(stream: io.BufferedReader, sent: SentRequest) -> Exchange:
    interim: list[ReceivedResponse] = []
    while True:
        head = read_head(stream)
        assert head is not None, f"no answer to {sent.method} {sent.url}"
        if not head.is_interim:
            break
        interim.append(_received(head, Content(b"")))
    response = _received(head, read_content(stream, head, sent.method, _MOST))
    return Exchange(request=sent, response=response, interim=tuple(interim), received_at=datetime.now(UTC))


def _received(head: Head, content: Content) -> ReceivedResponse:
    return ReceivedResponse(
        version=head.version,
        status=head.status,
        reason=head.reason,
        fields=head.fields,
        body=content.body,
        body_is_whole=content.is_whole,
        faults=(*head.faults, *faults_of_fields(head), *content.faults),
    )


def by_curl(asked: Sequence[SentRequest], folder: Path) -> Iterator[Seen]:
    """One process for all; each answer goes to a file of its own, chunks and interim answers included."""
    lines: list[str] = []
    sent: list[SentRequest] = []
    for number, request in enumerate(asked):
        lines += ["next"] if number else []
        lines += [f'url = "{request.url}"', f'output = "{folder / str(number)}"', "include", "raw"]
        lines += ["silent", "show-error", "user-agent = curl", f"max-time = {_PATIENCE_S}", 'noproxy = "*"']
        lines += ["head"] if request.method == "HEAD" else [f"request = {request.method}"]
        lines += [f'header = "{name}: {value}"' for name, value in request.fields]
        sent.append(_with(request, ("Host", urlsplit(request.url).netloc), ("User-Agent", "curl"), ("Accept", "*/*")))
    config = folder / "config"
    config.write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(["curl", "-q", "--config", config], capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout == "", done.stdout
    for number, request in enumerate(sent):
        file = folder / str(number)
        if file.exists():
            came = datetime.fromtimestamp(file.stat().st_mtime, UTC)
            yield read_exchange(file.read_bytes(), request, received_at=came)
        else:
            yield Failure(done.stderr.strip())


def by_httpx(asked: Sequence[SentRequest], _folder: Path) -> Iterator[Seen]:
    """One Client, which keeps its connections."""
    with httpx.Client(trust_env=False, timeout=_PATIENCE_S) as client:
        for request in asked:
            try:
                answer = client.request(request.method, request.url, headers=list(request.fields))
            except httpx.HTTPError as error:
                yield Failure(f"{type(error).__name__}: {error}")
                continue
            fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers.raw]
            said = (answer.status_code, answer.reason_phrase, fields, answer.content)
            yield _seen(request, dict(answer.request.headers), datetime.now(UTC), *said)


def by_requests(asked: Sequence[SentRequest], _folder: Path) -> Iterator[Seen]:
    """A Session, which keeps its connections; a new one after each interim answer, which http.client takes for the final one."""
    session = requests.Session()
    try:
        for request in asked:
            session.trust_env = False
            try:
                answer = session.request(
                    request.method,
                    request.url,
                    headers=dict(request.fields),
                    allow_redirects=False,
                    timeout=_PATIENCE_S,
                )
            except requests.RequestException as error:
                yield Failure(f"{type(error).__name__}: {error}")
                continue
            said = (answer.status_code, answer.reason, list(answer.raw.headers.items()), answer.content)
            yield _seen(request, dict(answer.request.headers), datetime.now(UTC), *said)
            if answer.status_code < 200:
                session.close()
                session = requests.Session()
    finally:
        session.close()


def by_fetch(asked: Sequence[SentRequest], _folder: Path) -> Iterator[Seen]:
    """One process of node for all."""
    wanted = [{"method": one.method, "url": one.url, "fields": dict(one.fields)} for one in asked]
    done = subprocess.run(
        ["node", _HERE / "fetching.mjs"],
        input=json.dumps(wanted),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for request, seen in zip(asked, json.loads(done.stdout), strict=True):
        if "error" in seen:
            yield Failure(seen["error"])
            continue
        added = {"host": urlsplit(request.url).netloc, "accept": "*/*", "accept-encoding": "gzip, deflate"}
        fields = [(name, value) for name, value in seen["fields"]]
        came = datetime.fromtimestamp(seen["came"] / 1000, UTC)
        yield _seen(request, added, came, seen["status"], seen["reason"], fields, base64.b64decode(seen["body"]))


CLIENTS: Mapping[str, Client] = {
    "socket": by_socket,
    "curl": by_curl,
    "httpx": by_httpx,
    "requests": by_requests,
    "fetch": by_fetch,
}


def _with(request: SentRequest, *fields: FieldLine) -> SentRequest:
    """The request with what the client puts into it by itself."""
    added = tuple((name, value) for name, value in fields if not request.has(name))
    return SentRequest(method=request.method, url=request.url, fields=(*added, *request.fields))


def _seen(
    request: SentRequest,
    sent: Mapping[str, str | bytes],
    came: datetime,
    status: int,
    reason: str,
    fields: list[FieldLine],
    body: bytes,
) -> Exchange:
    return Exchange(
        request=_with(request, *((name, str(value)) for name, value in sent.items())),
        response=ReceivedResponse(status=status, reason=reason, fields=tuple(fields), body=body),
        received_at=came,
    )
