"""Reads the exchanges of docs/rules/examples: plain text that a person can read, and each rule's tests run.

The form: remarks (`# ...`) and directives (`@name value`) first, then blocks parted by lines `---`: the request (it may
be left out), interim responses, the response. A block is a start line, fields, a blank line, and a body that ends
before the newline in front of the next `---`, or the last one of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from holdfast.inspector.exchange import Exchange, FieldLine, FramingFault, ReceivedResponse, SentRequest
from holdfast.wire.rfc9110.dates import parse_http_date

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "rules" / "examples"
RECEIVED_AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
"""When an example came that says nothing else of it."""

_STATUS_LINE = re.compile(r"HTTP/([0-9.]+) ([1-5][0-9]{2})(?: (.*))?")
_REQUEST_LINE = re.compile(r"(\S+) (\S+) HTTP/([0-9.]+)")
_DIRECTIVES = {"received", "answered", "body-sent", "head-only", "cut", "fault"}


class ExampleError(ValueError):
    """The example is not in the form; the text says where."""


def example(rule_id: str, name: str) -> Exchange:
    """The exchange in docs/rules/examples/<rule_id>/<name>.http."""
    return read_example((EXAMPLES / rule_id / f"{name}.http").read_bytes())


def read_example(raw: bytes) -> Exchange:
    """Read one example. Raises ExampleError for what is not in the form."""
    lines = raw.decode("utf-8").removesuffix("\n").split("\n")
    directives = list(_directives(lines))
    blocks = _blocks(lines)
    request = None if blocks[0][0].startswith("HTTP/") else _request(blocks.pop(0))
    given = {name for name, _ in directives}
    *interim, response = [_response(block, directives if block is blocks[-1] else []) for block in blocks]
    dates = response.values("date")
    received_at = parse_http_date(dates[0]) if dates else None
    for name, value in directives:
        if name == "received":
            received_at = parse_http_date(value)
    values = dict(directives)
    return Exchange(
        request=request,
        interim=tuple(interim),
        response=response,
        received_at=received_at or RECEIVED_AT,
        answered_s=float(values["answered"]) if "answered" in given else None,
        body_was_sent=values["body-sent"] == "yes" if "body-sent" in given else None,
    )


def _directives(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Take the remarks and directives away, and tell of the directives."""
    while lines and lines[0][:1] in {"#", "@", ""}:
        line = lines.pop(0)
        if line.startswith("@"):
            name, _, value = line[1:].partition(" ")
            if name not in _DIRECTIVES:
                msg = f"no directive is called {name}"
                raise ExampleError(msg)
            yield name, value.strip()


def _blocks(lines: list[str]) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line == "---":
            blocks.append([])
        else:
            blocks[-1].append(line)
    if not all(block and block[0] for block in blocks):
        msg = "a block is empty, or begins with a blank line"
        raise ExampleError(msg)
    return blocks


def _parts(block: list[str]) -> tuple[tuple[FieldLine, ...], bytes]:
    end = block.index("") if "" in block else len(block)
    fields: list[FieldLine] = []
    for line in block[1:end]:
        name, colon, value = line.partition(":")
        if not colon:
            msg = f"not a field line: {line!r}"
            raise ExampleError(msg)
        # As it came over the wire: its bytes, read as Latin-1.
        fields.append((name, value.removeprefix(" ").encode().decode("latin-1")))
    return tuple(fields), "\n".join(block[end + 1 :]).encode()


def _request(block: list[str]) -> SentRequest:
    found = _REQUEST_LINE.fullmatch(block[0])
    if found is None:
        msg = f"not a request line: {block[0]!r}"
        raise ExampleError(msg)
    fields, body = _parts(block)
    host = next((value for name, value in fields if name.lower() == "host"), "")
    url = f"http://{host}{found[2]}" if host and found[2].startswith("/") else found[2]
    return SentRequest(method=found[1], url=url, fields=fields, body=body, version=found[3])


def _response(block: list[str], directives: list[tuple[str, str]]) -> ReceivedResponse:
    found = _STATUS_LINE.fullmatch(block[0])
    if found is None:
        msg = f"not a status line: {block[0]!r}"
        raise ExampleError(msg)
    fields, body = _parts(block)
    given = {name for name, _ in directives}
    faults = [value.partition(" ") for name, value in directives if name == "fault"]
    return ReceivedResponse(
        status=int(found[2]),
        reason=found[3] or "",
        fields=fields,
        body=body,
        version=found[1],
        body_is_whole="cut" not in given,
        body_is_known="head-only" not in given,
        faults=tuple(FramingFault(code, detail) for code, _, detail in faults),
    )
