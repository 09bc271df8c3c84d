"""A 423 to look at, in both forms for programs, made by the renderer that makes the real ones.

Owns: the lock of the example, and how its answer is laid out for reading. Must not know: any real lock.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from holdfast.core.model import Depth, Face, LockScope
from holdfast.core.paths import ResourcePath
from holdfast.wire.davxml_write import Condition
from holdfast.wire.exchange import Response
from holdfast.wire.locked import ContendingLock, LockedAnswer, locked_response
from holdfast.wire.problem_json import PROBLEM_CONTENT_TYPE, Holder
from holdfast.wire.rfc9110 import render_http_date

__all__ = ["example_problem", "example_xml"]

_SINCE: Final = datetime(2026, 11, 22, 10, 2, tzinfo=UTC)
_NOW: Final = _SINCE + timedelta(minutes=4, seconds=18)
_PATH: Final = ResourcePath("/dav/plan.odt")
_LOCK: Final = ContendingLock(
    id="7Hq2",
    root=_PATH,
    root_href="/dav/plan.odt",
    scope=LockScope.EXCLUSIVE,
    depth=Depth.ZERO,
    holder=Holder("Ada", "Ada Lovelace, room 12", "LibreOffice/24.8"),
    reason="",
    face=Face.WEBDAV,
    created_at=_SINCE,
    expires_at=_SINCE + timedelta(minutes=30),
)
_TAG: Final = re.compile(r"(<[?/]?[^>]+>)")


def example_problem() -> str:
    """The answer to a refused PUT as problem+json: status line, fields, and the body indented."""
    answer = _answer(PROBLEM_CONTENT_TYPE)
    return _head(answer) + msgspec.json.format(_body(answer), indent=2).decode()


def example_xml() -> str:
    """The same as DAV:error."""
    answer = _answer("application/xml")
    return _head(answer) + _indented(_body(answer).decode())


def _answer(accept: str) -> Response:
    said = LockedAnswer(resource=_PATH, locks=(_LOCK,), condition=Condition.LOCK_TOKEN_SUBMITTED, now=_NOW)
    return locked_response(said, accept)


def _head(answer: Response) -> str:
    fields = [("Date", render_http_date(_NOW)), *answer.headers]
    return "".join(["HTTP/1.1 423 Locked\n", *(f"{name}: {value}\n" for name, value in fields), "\n"])


def _body(answer: Response) -> bytes:
    return answer.body if isinstance(answer.body, bytes) else b""


def _indented(xml: str) -> str:
    """One element in a line; one that holds a text alone stays together with it."""
    lines: list[str] = []
    depth = 0
    ends_here = False  # the last line is an element that has just begun, so its end may follow on the same line
    for part in filter(str.strip, _TAG.split(xml)):
        if part.startswith("</"):
            depth -= 1
            if ends_here:
                lines[-1] += part
            else:
                lines.append("  " * depth + part)
            ends_here = False
        elif part.startswith("<"):
            lines.append("  " * depth + part)
            ends_here = not part.endswith(("?>", "/>"))
            depth += ends_here
        else:
            lines[-1] += part
    return "\n".join(lines)
