"""One request over a raw socket, and everything that came back: interim answers, the final one, and how it ended."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Head", "Seen", "ask"]


@dataclass
class Head:
    """A status line and its fields, by lower-case name; those that were sent twice are in `repeated`."""

    status: int
    line: str
    fields: dict[str, str]
    repeated: dict[str, list[str]]

    def __getitem__(self, name: str) -> str:
        return self.fields[name.lower()]

    def __contains__(self, name: str) -> bool:
        return name.lower() in self.fields


@dataclass
class Seen:
    """All of it. `final` is None where no answer came; `body` is raw, chunk sizes included; `was_reset`: by a TCP RST."""

    interim: list[Head] = field(default_factory=list)
    final: Head | None = None
    body: bytes = b""
    was_reset: bool = False

    @property
    def head(self) -> Head:
        """The final answer's head, which must be there."""
        assert self.final is not None
        return self.final

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def ask(
    port: int,
    target: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | list[tuple[str, str]] | None = None,
) -> Seen:
    """Send just this, on a connection of its own, and read to the end."""
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers or [])
    lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    if not any(name.lower() == "connection" for name, _ in pairs):
        lines.append("Connection: close")
    lines += [f"{name}: {value}" for name, value in pairs]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    seen = Seen()
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=20)) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))
        raw = bytearray()
        try:
            while more := connection.recv(1 << 16):
                raw += more
        except ConnectionResetError:
            seen.was_reset = True
    rest = bytes(raw)
    while rest and seen.final is None:
        text, _, rest = rest.partition(b"\r\n\r\n")
        head = _read(text.decode("latin-1"))
        if head.status < 200 and head.status != 101:
            seen.interim.append(head)
        else:
            seen.final = head
    seen.body = rest
    return seen


def _read(text: str) -> Head:
    line, *others = text.split("\r\n")
    assert line.startswith("HTTP/1.1 "), text
    found: dict[str, list[str]] = {}
    for other in others:
        name, _, value = other.partition(":")
        assert name.strip() == name, other
        found.setdefault(name.lower(), []).append(value.strip(" \t"))
    fields = {name: ", ".join(values) for name, values in found.items()}
    return Head(int(line.split()[1]), line, fields, {name: values for name, values in found.items() if len(values) > 1})
