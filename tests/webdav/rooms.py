"""A collection of its own for each test, on a server that the tests of one module share.

A start costs most of a second, and locks in one collection do not meet those in another.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.serving import DAV, Answer, Client, Served

__all__ = ["Room", "activelocks", "conditions", "discovered", "new_room", "proppatch_body", "roots", "write_methods"]

_numbers = itertools.count(1)


@dataclass
class Room:
    """`room("a.txt")` is the path of a resource in it. alice and bob are writers, rita a reader, root an administrator."""

    served: Served
    path: str

    def __call__(self, name: str = "") -> str:
        """The URL path of a member; of the collection itself, with its slash, without a name."""
        return f"{self.path}/{name}"

    def at(self, name: str) -> str:
        """The absolute URL of a member."""
        return self.served.url + self(name)

    @property
    def folder(self) -> Path:
        """Where it lies on the disk."""
        return self.served.folder / self.path.removeprefix("/dav/")

    @property
    def alice(self) -> Client:
        return self.served.as_("alice")

    @property
    def bob(self) -> Client:
        return self.served.as_("bob")

    @property
    def rita(self) -> Client:
        return self.served.as_("rita")

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.served.uptime.advance(seconds)

    def make(self, *names: str) -> None:
        """Make collections (a slash at the end) and documents, in this order."""
        for name in names:
            answer = self.alice.request("MKCOL", self(name)) if name.endswith("/") else self.alice.put(self(name))
            assert answer.status == 201, (name, answer.status)


def new_room(served: Served) -> Room:
    """An empty collection that no other test uses."""
    room = Room(served, f"/dav/room-{next(_numbers)}")
    assert room.alice.request("MKCOL", room()).status == 201
    return room


def conditions(answer: Answer) -> list[str]:
    """The RFC 4918 section 16 elements directly in the answer's DAV:error."""
    assert answer.xml.tag == f"{DAV}error", answer.body
    return [child.tag.removeprefix(DAV) for child in answer.xml if child.tag.startswith(DAV)]


def roots(answer: Answer) -> list[str]:
    """The hrefs in the one condition of the answer's DAV:error."""
    [condition] = [child for child in answer.xml if child.tag.startswith(DAV)]
    return [element.text or "" for element in condition.findall(f"{DAV}href")]


def activelocks(answer: Answer) -> list[ET.Element]:
    """All activelock elements of an answer."""
    return answer.xml.findall(f".//{DAV}lockdiscovery/{DAV}activelock")


def discovered(client: Client, target: str) -> list[ET.Element]:
    """What PROPFIND lockdiscovery shows to this client; the property must be there."""
    answer = client.propfind(target, "lockdiscovery")
    assert answer.status == 207, answer.status
    assert answer.xml.find(f".//{DAV}propstat/{DAV}prop/{DAV}lockdiscovery") is not None, answer.body
    assert b"404 Not Found" not in answer.body
    return activelocks(answer)


def proppatch_body(name: str = "colour", namespace: str = "urn:test", value: str = "red") -> bytes:
    """A PROPPATCH that sets one property."""
    return (
        f'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x:{name} xmlns:x="{namespace}">{value}</x:{name}>'
        "</D:prop></D:set></D:propertyupdate>"
    ).encode()


def write_methods(client: Client, target: str, elsewhere: str, source: str) -> dict[str, Answer]:
    """Everything that would change a document, each sent without a token; the answers by name."""
    return {
        "PUT": client.put(target, b"changed"),
        "PROPPATCH": client.request("PROPPATCH", target, proppatch_body()),
        "DELETE": client.request("DELETE", target),
        "MOVE away": client.request("MOVE", target, destination=elsewhere),
        "MOVE onto": client.request("MOVE", source, destination=target),
        "COPY onto": client.request("COPY", source, destination=target),
    }
