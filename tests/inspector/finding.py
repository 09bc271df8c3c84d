"""What one rule finds of an exchange that is told in a line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from holdfast.inspector.exchange import Exchange, FieldLine, ReceivedResponse, SentRequest
from holdfast.inspector.inspected import Inspected
from holdfast.inspector.notes import Finding
from holdfast.inspector.rules import RULES

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
DATE = ("Date", "Sat, 21 Nov 2026 10:00:00 GMT")
XML = ("Content-Type", "application/xml; charset=utf-8")
JSON = ("Content-Type", "application/json")
PROBLEM = ("Content-Type", "application/problem+json")
TEXT = ("Content-Type", "text/plain")

_OF_RESPONSE = ("reason", "version", "faults", "body_is_known", "body_is_whole")


def exchange(
    *fields: FieldLine,
    status: int = 423,
    method: str = "PUT",
    asked: list[FieldLine] | tuple[FieldLine, ...] = (),
    body: bytes = b"",
    sent: bytes = b"",
    url: str = "http://dav.example/dav/report.odt",
    **rest: Any,
) -> Exchange:
    """The response has `fields`; method "" is a request that is not known. Other values go where they belong."""
    request = SentRequest(method=method, url=url, fields=tuple(asked), body=sent) if method else None
    of_response = {name: rest.pop(name) for name in _OF_RESPONSE if name in rest}
    response = ReceivedResponse(status=status, fields=fields, body=body, **of_response)
    return Exchange(request=request, response=response, **rest)


def found(rule_id: str, *fields: FieldLine, **values: Any) -> list[Finding]:
    """What the rule finds; see `exchange` for the values."""
    return list(RULES[rule_id].check(Inspected(exchange(*fields, **values), NOW)))


def locked_problem(lock: bytes) -> bytes:
    """The JSON of a 423 with Ada's lock; `lock` are the members about its end."""
    return (
        b'{"type": "urn:problem-type:holdfast:locked", "title": "Locked", "status": 423, "resource": "/orders/42",'
        b' "retry_after": 60, "locks": [{"id": "k7", "root": "/orders/42", "scope": "exclusive", "depth": "0",'
        b' "url": "/api/locks/k7", "holder": {"name": "Ada", "owner": "", "client": "api"},'
        b' "since": "2026-11-21T09:40:00Z", ' + lock + b"}]}"
    )


MINUTE = locked_problem(b'"expires_at": "2026-11-21T10:01:00Z", "expires_in": 60')
ENDLESS = locked_problem(b'"expires_at": null, "expires_in": null')
