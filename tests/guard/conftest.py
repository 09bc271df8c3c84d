"""An application that notes what reached it, and guards before it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.guard.standing import AsgiApplication, Peer, RawApplication, Standing, forever


class Noting(RawApplication):
    """Answers everything with `from app`, and remembers the requests that came whole."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        super().__init__(forever(self._answer))

    def _answer(self, peer: Peer, line: str, fields: dict[str, str], body: bytes) -> None:
        method, target, _ = line.split(" ")
        self.seen.append((f"{method} {target}", body))
        if method == "HEAD":
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        else:
            peer.answer(b"from app")


@pytest.fixture
def application() -> Iterator[Noting]:
    with Noting() as standing:
        yield standing


@pytest.fixture
def tls_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """For an application at https://localhost whose certificate guards trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def guarding(tmp_path: Path) -> Iterator[Callable[..., Standing]]:
    """Make guards; those made later end first."""
    with ExitStack() as stack:

        def make(upstream: RawApplication | AsgiApplication, **settings: Any) -> Standing:
            return stack.enter_context(Standing(upstream.url, tmp_path, **settings))

        yield make
