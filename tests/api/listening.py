"""A client of the event stream: reads it line by line, as it comes."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

from tests.serving import Client

__all__ = ["Entry", "Listening", "listening"]

Entry = dict[str, Any]
"""The fields of an entry, its `data` read as JSON."""


class Listening:
    """An open stream. `last_event_id` is what a browser would send when it comes back."""

    def __init__(self, response: http.client.HTTPResponse, last_event_id: str) -> None:
        self.response = response
        self.last_event_id = last_event_id
        self.comments = 0
        self._lines: list[str] = []

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def text(self) -> str:
        """All that came."""
        return "".join(self._lines)

    def __iter__(self) -> Iterator[Entry]:
        """The entries that have data, until the server ends the stream as it should."""
        fields: Entry = {}
        while line := self.response.readline().decode():
            self._lines.append(line)
            name, _, value = line.rstrip("\n").partition(": ")
            if line == "\n":
                self.last_event_id = fields.get("id", self.last_event_id)
                if "data" in fields:
                    yield fields
                fields = {}
            elif line.startswith(":"):
                self.comments += 1
            else:
                fields[name] = json.loads(value) if name == "data" else value

    def take(self, count: int) -> list[Entry]:
        """The next entries; waits for them."""
        entries = iter(self)
        return [next(entries) for _ in range(count)] if count else []


@contextlib.contextmanager
def listening(client: Client, query: str = "", after: str = "") -> Iterator[Listening]:
    """Listen as `client`, until the end of the block; `after` is the last event id of the stream before."""
    connection = http.client.HTTPConnection(client.host, client.port, timeout=30)
    sent = {"Last-Event-ID": after} if after else {}
    if client.authorization is not None:
        sent["Authorization"] = client.authorization
    with contextlib.closing(connection):
        connection.request("GET", f"/api/events?{query}" if query else "/api/events", headers=sent)
        with contextlib.closing(connection.getresponse()) as response:
            yield Listening(response, after)
