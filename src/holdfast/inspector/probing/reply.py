"""A reply: an exchange, as WebDAV.

Owns: what a probe reads of a response: tokens, active locks, precondition codes, the parts of a 207, and both messages as text for a
report. Must not know: what is right. Nothing here raises for any response: what is not there is empty.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from holdfast.inspector.exchange import Exchange, FieldLine, ReceivedResponse, SentRequest
from holdfast.wire.xmlread import Element, XmlError, XmlLimits, parse_xml

__all__ = ["ActiveLock", "Reply", "path_of"]

_LIMITS: Final = XmlLimits(size_bytes=2 * 1024 * 1024, depth=64, nodes=100_000)
_SHOWN_BODY: Final = 700
_SECRET: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})


def path_of(href: str) -> str:
    """The path of an absolute or relative reference, decoded, with no slash at its end."""
    return unquote(urlsplit(href.strip()).path).rstrip("/")


class ActiveLock(msgspec.Struct, frozen=True):
    """An `activelock` (RFC 4918 section 14.1) as far as it was told. `timeout_s` None: endless, or not told."""

    scope: str = ""
    kind: str = ""
    depth: str = ""
    token: str = ""
    root: str | None = None
    timeout: str = ""
    owner: Element | None = None

    @property
    def timeout_s(self) -> int | None:
        """The seconds of a `Second-n`."""
        word, _, digits = self.timeout.partition("-")
        return int(digits[:12]) if word.lower() == "second" and digits.isascii() and digits.isdigit() else None


class Reply:
    """What came for a request. `who` is the name of whom it was sent as; empty without credentials."""

    def __init__(self, exchange: Exchange, who: str) -> None:
        """Read nothing yet."""
        self.exchange = exchange
        self.who = who
        self.at = datetime.now(UTC)

    @property
    def request(self) -> SentRequest:
        """The request."""
        assert self.exchange.request is not None
        return self.exchange.request

    @property
    def response(self) -> ReceivedResponse:
        """The final response."""
        return self.exchange.response

    @property
    def status(self) -> int:
        """The final status."""
        return self.exchange.response.status

    @property
    def body(self) -> bytes:
        """The content."""
        return self.exchange.response.body

    def field(self, name: str) -> str:
        """A field of the response; empty where it was not sent."""
        return self.exchange.response.field(name) or ""

    @property
    def took_effect(self) -> bool:
        """True where the response says that all was done."""
        return 200 <= self.status < 300 and not any(status >= 400 for status in self.statuses.values())

    @property
    def is_accident(self) -> bool:
        """True where the server failed; 501 and 507 are plain refusals."""
        return self.status >= 500 and self.status not in {501, 507}

    @cached_property
    def xml(self) -> Element | None:
        """The root element; None where the body is no XML."""
        try:
            return parse_xml(self.body, _LIMITS)
        except XmlError:
            return None

    @cached_property
    def elements(self) -> list[Element]:
        """All elements, in document order."""
        found: list[Element] = []
        todo = [] if self.xml is None else [self.xml]
        while todo:
            element = todo.pop()
            found.append(element)
            todo.extend(reversed(element.elements()))
        return found

    def named(self, name: str) -> list[Element]:
        """All elements of this name in DAV:."""
        return [element for element in self.elements if element.namespace == "DAV:" and element.name == name]

    @cached_property
    def statuses(self) -> dict[str, int]:
        """Of a 207: path of each response with the worst status in it. Empty for any other response."""
        if self.status != 207:
            return {}
        found: dict[str, int] = {}
        for response in self.named("response"):
            told = [_status(element.text()) for element in _below(response, "status")]
            for href in (child for child in response.elements() if child.name == "href"):
                found[path_of(href.text())] = max(told, default=0)
        return found

    @cached_property
    def conditions(self) -> set[str]:
        """The precondition codes in all of its `DAV:error` elements."""
        return {child.name for error in self.named("error") for child in error.elements() if child.namespace == "DAV:"}

    def hrefs(self, condition: str) -> list[str]:
        """The paths in the elements of a precondition code."""
        return [
            path_of(child.text())
            for element in self.named(condition)
            for child in element.elements()
            if child.name == "href"
        ]

    @property
    def token_field(self) -> str:
        """The Lock-Token field as it came."""
        return self.field("lock-token").strip()

    @property
    def token(self) -> str:
        """The token of a new lock, by its field or else by the first activelock; empty where there is none."""
        if self.token_field:
            return self.token_field.removeprefix("<").removesuffix(">").strip()
        return next((lock.token for lock in self.locks if lock.token), "")

    @cached_property
    def locks(self) -> list[ActiveLock]:
        """Every activelock."""
        return [_active_lock(element) for element in self.named("activelock")]

    @property
    def shows_discovery(self) -> bool:
        """True where `lockdiscovery` was told, empty or not."""
        return any(
            found.name == "propstat" and _below(found, "lockdiscovery") and _propstat_ok(found)
            for found in self.named("propstat")
        )

    @property
    def sent_text(self) -> str:
        """The request, for a report; without credentials."""
        request = self.request
        target = request.url.partition("//")[2].partition("/")[2]
        who = f" (as {self.who})" if self.who else " (without credentials)"
        return _text(f"{request.method} /{target}{who}", request.fields, request.body)

    @property
    def came_text(self) -> str:
        """The response, for a report."""
        response = self.response
        return _text(
            f"HTTP/{response.version} {response.status} {response.reason}".rstrip(), response.fields, response.body
        )


def _below(element: Element, name: str) -> list[Element]:
    found: list[Element] = []
    todo = list(element.elements())
    while todo:
        child = todo.pop(0)
        if child.namespace == "DAV:" and child.name == name:
            found.append(child)
        todo.extend(child.elements())
    return found


def _propstat_ok(propstat: Element) -> bool:
    return all(200 <= _status(element.text()) < 300 for element in propstat.elements() if element.name == "status")


def _status(line: str) -> int:
    words = line.split()
    return int(words[1]) if len(words) > 1 and words[1].isascii() and words[1].isdigit() else 0


def _active_lock(element: Element) -> ActiveLock:
    parts = {child.name: child for child in element.elements() if child.namespace == "DAV:"}

    def inner(name: str) -> str:
        return next((child.name for child in parts[name].elements()), "") if name in parts else ""

    def text(name: str) -> str:
        return parts[name].text().strip() if name in parts else ""

    return ActiveLock(
        scope=inner("lockscope"),
        kind=inner("locktype"),
        depth=text("depth").lower(),
        token=text("locktoken"),
        root=path_of(text("lockroot")) if "lockroot" in parts else None,
        timeout=text("timeout"),
        owner=parts.get("owner"),
    )


def _text(first: str, fields: tuple[FieldLine, ...], body: bytes) -> str:
    lines = [first, *(f"{name}: {value}" for name, value in fields if name.lower() not in _SECRET)]
    if body:
        shown = body[:_SHOWN_BODY].decode("utf-8", "replace")
        rest = f" … ({len(body)} bytes)" if len(body) > _SHOWN_BODY else ""
        lines += ["", shown + rest]
    return "\n".join(lines)
