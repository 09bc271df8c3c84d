"""Checks for Schemathesis: the 423 answers of an API, and whether its locks stop others. Importing this registers the first.

    import schemathesis
    from holdfast.testing.openapi import locked_response_conformance

    schema = schemathesis.openapi.from_url("http://127.0.0.1:8000/openapi.json")

    @schema.parametrize()
    def test_api(case):
        case.call_and_validate()

Owns: what an API owes to whoever meets its 423, and the sequence of lock, write as somebody else, unlock. Must not know: any server;
what is right and wrong about a 423 is the inspector's. Needs schemathesis (`pip install schemathesis`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, cast

import schemathesis
from schemathesis import Case, CheckContext, Response
from schemathesis.specs.openapi import checks as _openapi_checks

from holdfast.inspector.exchange import Exchange, FieldLine, ReceivedResponse, SentRequest
from holdfast.inspector.inspecting import inspect
from holdfast.inspector.notes import Level

__all__ = ["exchange_of", "locked_response_check", "locked_response_conformance", "refuses_others_while_locked"]

_LOCKED: Final = 423
_XML: Final = frozenset({"application/xml", "text/xml"})
_PROBLEM: Final = "application/problem+json"
_BY_A_SERVER: Final = frozenset({"H04"})
"""About Date, which a server adds: an application that is called within the process has none yet."""
_READING: Final = "S01"
_REFRAMED: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})

AnyCase: TypeAlias = "Case[Any]"
Check: TypeAlias = Callable[[CheckContext, Response, AnyCase], bool | None]
Headers: TypeAlias = Mapping[str, str]
"""Fields by name, such as a user's Authorization."""


def locked_response_check(*, ignoring: Collection[str] = ()) -> Check:
    """A check like `locked_response_conformance`, without the inspector's rules in `ignoring`, such as `{"L13"}`.

    For `case.call_and_validate(additional_checks=[...], excluded_checks=[locked_response_conformance])`.
    """

    def check(ctx: CheckContext, response: Response, case: AnyCase) -> bool | None:  # noqa: ARG001 - Schemathesis' form
        return _conforms(response, case, frozenset(ignoring))

    check.__name__ = "locked_response_check"
    return check


@schemathesis.check
def locked_response_conformance(ctx: CheckContext, response: Response, case: AnyCase) -> bool | None:  # noqa: ARG001
    """A 423 says when to try again, is kept by no cache, tells of the lock in a form that programs read, and breaks no rule.

    Asked for: Retry-After (RFC 9110 section 10.2.3); `Cache-Control: no-store`; a body that is problem details (RFC 9457) or,
    as WebDAV has it, a DAV:error (RFC 4918 section 16); and that `holdfast.inspector` finds nothing bad and nothing to warn of. A 423 to a
    GET is let pass where the document declares it. Other statuses are none of its business. Fails with AssertionError.
    """
    return _conforms(response, case, frozenset())


def refuses_others_while_locked(
    lock: AnyCase,
    write: AnyCase,
    *,
    holder: Headers,
    other: Headers,
    unlock: Callable[[Response], AnyCase] | None = None,
    submitted: Callable[[Response], Headers] | None = None,
    base_url: str | None = None,
) -> Response:
    """Lock as `holder`, write as `other`: that must be a 423, a right one, and declared. Gives the 423.

    `holder` and `other` are the fields by which the API tells the two apart. `submitted` makes, of the answer to `lock`, the fields
    with which the holder may write; that write must not be a 423. `unlock` makes the case that releases the lock; it is called however
    the test ends, and after it the write as `other` must not be a 423. `base_url` is where the API is, unless the schema knows.
    Fails with AssertionError.
    """
    granted = lock.call(base_url, headers=dict(holder))
    if granted.status_code >= 300:
        msg = f"{_name(lock)} granted no lock: it answered {granted.status_code}."
        raise AssertionError(msg)
    try:
        refused = write.call(base_url, headers=dict(other))
        if refused.status_code != _LOCKED:
            msg = f"{_name(write)} by somebody else answered {refused.status_code} while it was locked, and not 423."
            raise AssertionError(msg)
        _validate(write, refused)
        if submitted is not None:
            _is_let_through(
                write, base_url, {**holder, **submitted(granted)}, "by the holder, with what was submitted,"
            )
    finally:
        released = None if unlock is None else unlock(granted).call(base_url, headers=dict(holder))
    if released is not None:
        if released.status_code >= 300:
            msg = f"The lock could not be released: the answer was {released.status_code}."
            raise AssertionError(msg)
        _is_let_through(write, base_url, other, "by somebody else, after the lock was released,")
    return refused


def exchange_of(response: Response) -> Exchange:
    """What Schemathesis sent and received, as `holdfast.inspector.inspect` takes it; content codings are undone already."""
    asked = response.request
    body = asked.body
    sent = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else b""
    is_coded = "content-encoding" in response.headers
    fields: list[FieldLine] = [
        (name, value)
        for name, values in response.headers.items()
        if not (is_coded and name in _REFRAMED)
        for value in values
    ]
    return Exchange(
        request=SentRequest(
            method=asked.method or "",
            url=asked.url or "",
            fields=tuple((name, _text(value)) for name, value in asked.headers.items()),
            body=sent,
        ),
        response=ReceivedResponse(
            status=response.status_code,
            reason=response.message or "",
            fields=tuple(fields),
            body=response.content or b"",
            body_is_whole=not response.is_truncated,
        ),
        received_at=datetime.now(UTC),
    )


def _conforms(response: Response, case: AnyCase, ignoring: frozenset[str]) -> bool | None:
    if response.status_code != _LOCKED:
        return None
    passed_over = set(ignoring)
    if case.operation.app is not None:
        passed_over |= _BY_A_SERVER
    if str(_LOCKED) in _declared(case):
        passed_over.add(_READING)
    exchange = exchange_of(response)
    wrong = list(_owed(exchange))
    for note in inspect(exchange, generic=False).notes:
        if note.level in {Level.BAD, Level.WARN} and note.rule not in passed_over:
            sources = "; ".join(str(source) for source in note.sources)
            wrong.append(f"{note.rule} ({note.level}): {note.summary}. {note.mend} ({sources})")
    if wrong:
        msg = "\n".join([f"The 423 of {_name(case)} is not as it should be:", *(f"- {each}" for each in wrong)])
        raise AssertionError(msg)
    return None


def _owed(exchange: Exchange) -> Iterator[str]:
    """What RFCs leave open, and a client cannot do without."""
    response = exchange.response
    if not response.has("retry-after"):
        yield "Retry-After is missing: a client cannot know when trying again can help."
    controls = {part.strip().lower() for part in (response.field("cache-control") or "").split(",")}
    if "no-store" not in controls:
        yield "Cache-Control: no-store is missing: what is said of a lock is over when the lock is."
    if exchange.method == "HEAD":
        return
    kind = response.media_type
    if kind == "text/html" and "text/html" in (exchange.requested("accept") or ""):
        return
    if kind != _PROBLEM and kind not in _XML:
        said = f"of the type {kind}" if kind else "without a type"
        yield f"The body is {said}: programs read {_PROBLEM}, and with WebDAV application/xml."
    elif kind == _PROBLEM and not _names_a_lock(response.body):
        yield "The problem details have no member beside the standard ones that tells of the lock: who, since when, until when."


def _names_a_lock(body: bytes) -> bool:
    try:
        found = json.loads(body)
    except ValueError:
        return True  # P01 says so
    if not isinstance(found, dict):
        return True
    members = cast("dict[str, Any]", found)
    return bool(members.keys() - {"type", "title", "status", "detail", "instance"})


def _validate(case: AnyCase, response: Response) -> None:
    """By our check, and by those of Schemathesis that compare an answer with the document; none of them asks again."""
    declared: Any = _openapi_checks
    validate: Any = cast("Any", case).validate_response
    validate(
        response,
        checks=[
            locked_response_conformance,
            declared.status_code_conformance,
            declared.response_headers_conformance,
            declared.response_schema_conformance,
        ],
    )


def _is_let_through(write: AnyCase, base_url: str | None, headers: Headers, whose: str) -> None:
    status = write.call(base_url, headers=dict(headers)).status_code
    if status == _LOCKED:
        msg = f"{_name(write)} {whose} was refused with 423."
        raise AssertionError(msg)


def _declared(case: AnyCase) -> Collection[str]:
    raw: object = case.operation.definition.raw
    if not isinstance(raw, dict):
        return ()
    responses: object = cast("dict[str, object]", raw).get("responses")
    return {str(code) for code in cast("dict[object, object]", responses)} if isinstance(responses, dict) else ()


def _name(case: AnyCase) -> str:
    return f"{case.method.upper()} {case.path}"


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
