"""Refusals as locked, made in a line, and what a rule says of one."""

from __future__ import annotations

from holdfast.inspector.exchange import Exchange, ReceivedResponse, SentRequest
from holdfast.inspector.inspected import Inspected
from holdfast.inspector.inspecting import findings_of
from holdfast.inspector.notes import note_of
from holdfast.inspector.rules import RULES

XML = "application/xml"
SUBMITTED = "<D:lock-token-submitted><D:href>/d/a</D:href></D:lock-token-submitted>"
CONFLICTING = "<D:no-conflicting-lock><D:href>/d/a</D:href></D:no-conflicting-lock>"
EMPTY = "<D:lock-token-submitted/>"
LOCKED = "<D:status>HTTP/1.1 423 Locked</D:status>"


def error(inner, namespace="DAV:"):
    return f'<D:error xmlns:D="{namespace}" xmlns:X="urn:x">{inner}</D:error>'


def multistatus(*responses):
    return f'<D:multistatus xmlns:D="DAV:" xmlns:X="urn:x">{"".join(responses)}</D:multistatus>'


def member(inner, href="<D:href>/d/a</D:href>"):
    return f"<D:response>{href}{inner}</D:response>"


def answer(body="", status=423, content_type=XML, method="PUT", url="http://dav.example/d/a", fields=(), **rest):
    """An exchange; `method` None leaves the request out."""
    raw = body if isinstance(body, bytes) else body.encode()
    types = (("Content-Type", content_type),) if content_type else ()
    sent = rest.pop("sent", ())
    request = (
        None if method is None else SentRequest(method=method, url=url, fields=tuple(sent), body=rest.pop("asked", b""))
    )
    return Exchange(
        request=request, response=ReceivedResponse(status=status, fields=(*types, *fields), body=raw, **rest)
    )


def notes(rule_id, exchange):
    found = RULES[rule_id]
    return [note_of(found, finding) for finding in findings_of(found, Inspected(exchange))]


def levels(rule_id, exchange):
    return [note.level.value for note in notes(rule_id, exchange)]
