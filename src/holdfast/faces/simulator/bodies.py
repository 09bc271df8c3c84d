"""The bodies of simulated answers: a Diagnosis as JSON, problem details, XML, HTML or text.

Owns: the text of each form, and that nothing a request says stands in any of them as markup. Must not know: options,
fields of the answer. Where a status has content of its own (a multistatus, a DAV:error, the lock of a 423), that stands first.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from html import escape as escape_html
from typing import Any, Final, cast

import msgspec

from holdfast.faces.simulator.diagnosis import Diagnosis, LockSeen, Turn
from holdfast.faces.simulator.options import BodyForm
from holdfast.wire.davxml_write import (
    HOLDFAST,
    XML_CONTENT_TYPE,
    Condition,
    condition_xml,
    error_element,
    escape,
    propstat,
    render_error,
    render_multistatus,
    response,
    status_response,
)
from holdfast.wire.exchange import Request
from holdfast.wire.locked import LockedAnswer, locked_conditions, locked_problem, render_locked
from holdfast.wire.problem import Representation
from holdfast.wire.problem_json import PROBLEM_CONTENT_TYPE, Problem
from holdfast.wire.rfc9110 import choose
from holdfast.wire.webpages import HTML_CONTENT_TYPE, PAGE_POLICY

__all__ = ["BARE_POLICY", "WEBDAV_METHODS", "choose_form", "content_type", "encode_json", "policy", "render"]

WEBDAV_METHODS: Final = frozenset({"COPY", "LOCK", "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "UNLOCK"})
"""Methods whose clients read XML (RFC 4918 section 9)."""

_DAV_CODES: Final = frozenset({207, 423, 424, 507})
_XML_FORMS: Final = {"application/xml": BodyForm.XML, "text/xml": BodyForm.XML}
_FORMS: Final = {
    "application/json": BodyForm.JSON,
    PROBLEM_CONTENT_TYPE: BodyForm.PROBLEM,
    "text/html": BodyForm.HTML,
    **_XML_FORMS,
    "text/plain": BodyForm.TEXT,
}
_OFFERED: Final = tuple(_FORMS)
_PROBLEMS_FIRST: Final = (PROBLEM_CONTENT_TYPE, *(name for name in _FORMS if name != PROBLEM_CONTENT_TYPE))
_XML_FIRST: Final = (*_XML_FORMS, *(name for name in _FORMS if name not in _XML_FORMS))

_CONTENT_TYPES: Final = {
    BodyForm.JSON: "application/json",
    BodyForm.PROBLEM: PROBLEM_CONTENT_TYPE,
    BodyForm.XML: XML_CONTENT_TYPE,
    BodyForm.HTML: HTML_CONTENT_TYPE,
    BodyForm.TEXT: "text/plain; charset=utf-8",
}

_STYLE: Final = (
    ":root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}body{max-width:46rem;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.6rem}dt{font-weight:600}dd{margin:0 0 .4rem 1rem;overflow-wrap:anywhere}code{font-size:.95em}"
)
_NOTHING: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
BARE_POLICY: Final = f"{_NOTHING}; sandbox"
"""The Content-Security-Policy of all that is no page: should a browser show it as one, nothing in it works."""

_PAGE_POLICY: Final = (
    f"{BARE_POLICY}; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)


def choose_form(code: int, method: str, asked: BodyForm | None, accept: str | None) -> BodyForm:
    """The form to answer in: the one asked for, else what Accept likes best, else JSON.

    A 207 is XML whatever Accept says, since it must be (RFC 4918 section 13). WebDAV's methods get XML where the
    status has an element for it and Accept leaves it open; and problem details win over JSON for an error where both are named.
    """
    if asked is not None:
        return asked
    if code == 207:
        return BodyForm.XML
    if code in _DAV_CODES and method in WEBDAV_METHODS:
        offered = _XML_FIRST
    else:
        offered = _PROBLEMS_FIRST if code >= 400 and "problem+json" in (accept or "").lower() else _OFFERED
    chosen = choose(accept, offered)
    return _FORMS[offered[0] if chosen is None else chosen]


def content_type(form: BodyForm) -> str | None:
    """The Content-Type of a form; None without a body."""
    return _CONTENT_TYPES.get(form)


def policy(code: int, form: BodyForm) -> str:
    """The Content-Security-Policy of an answer."""
    if form is not BodyForm.HTML:
        return BARE_POLICY
    return PAGE_POLICY if code == 423 else _PAGE_POLICY


def render(diagnosis: Diagnosis, form: BodyForm, request: Request, locked: LockedAnswer) -> bytes:
    """The body. `locked` is who holds the simulated lock, for those statuses that tell of one (207, 423)."""
    if form is BodyForm.NONE:
        return b""
    return _RENDERERS[form](diagnosis, request, locked)


def encode_json(value: object) -> bytes:
    """JSON without `<`, `>` and `&`, so that no browser can take any of it for markup."""
    text = msgspec.json.encode(value)
    return text.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")


def _json(diagnosis: Diagnosis, _request: Request, locked: LockedAnswer) -> bytes:
    if diagnosis.status.code != 423:
        return encode_json(diagnosis)
    told = locked_problem(locked)
    members: dict[str, object] = {"detail": told.detail, "resource": told.resource, "retry_after": told.retry_after}
    return encode_json(_builtin(diagnosis) | members | {"locks": told.locks})


def _problem(diagnosis: Diagnosis, _request: Request, locked: LockedAnswer) -> bytes:
    """RFC 9457; what JSON calls `status` is `about` here, where `status` is the number."""
    status = diagnosis.status
    members = _builtin(diagnosis)
    about = members.pop("status")
    code = max(status.code, 200)
    problem = (
        locked_problem(locked)
        if code == 423
        else Problem(title=status.phrase, status=code, detail=f"{status.meaning} {status.retry.sentence}")
    )
    return encode_json(_builtin(problem) | {"about": about} | members)


def _xml(diagnosis: Diagnosis, request: Request, locked: LockedAnswer) -> bytes:
    code = diagnosis.status.code
    if code == 207:
        return _multistatus(diagnosis, request, locked)
    told = f'<H:simulated xmlns:H="{HOLDFAST}">{"".join(_elements(_builtin(diagnosis)))}</H:simulated>'
    if code == 423:
        return render_error(locked_conditions(locked) + told)
    if code == 507:
        return render_error(condition_xml(Condition.SUFFICIENT_DISK_SPACE) + told)
    if code >= 400:
        return render_error(told)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{told}'.encode()


def _multistatus(diagnosis: Diagnosis, request: Request, locked: LockedAnswer) -> bytes:
    """A 207 in which one member is locked; what is said of the request's own URL is as its method wants it."""
    own, member = request.target, f"{request.target}/locked"
    error = error_element(locked_conditions(locked))
    if request.method == "PROPFIND":
        responses = [response(f"{own}/", propstat(200, "<D:resourcetype><D:collection/></D:resourcetype>"))]
    elif request.method == "PROPPATCH":
        responses = [response(own, propstat(423, "<D:displayname/>", error))]
    elif request.method == "LOCK":
        responses = [status_response(own, 424)]  # RFC 4918 section 9.10.9
    else:
        responses = []  # a 207 names no resource whose fate follows from a member's (RFC 4918 section 9.6.1)
    said = f"{diagnosis.status.meaning} This one is simulated."
    responses += [status_response(member, 423, error), f"<D:responsedescription>{escape(said)}</D:responsedescription>"]
    return render_multistatus(responses)


def _elements(members: dict[str, Any]) -> Iterator[str]:
    for name, value in members.items():
        if name == "fields":
            listed = cast("dict[str, str]", value).items()
            yield "".join(f'<H:field name="{escape(field)}">{escape(text)}</H:field>' for field, text in listed)
        elif isinstance(value, dict):
            yield f"<H:{name}>{''.join(_elements(cast('dict[str, Any]', value)))}</H:{name}>"
        else:
            yield f"<H:{name}>{escape(_plain(value))}</H:{name}>"


def _html(diagnosis: Diagnosis, _request: Request, locked: LockedAnswer) -> bytes:
    if diagnosis.status.code == 423:
        return render_locked(locked, Representation.HTML)
    status = diagnosis.status
    title = f"{status.code} {status.phrase}"
    rows = "".join(
        f"<dt>{escape_html(name)}</dt><dd>{_html_value(name, value)}</dd>" for name, value in _lines(diagnosis)
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape_html(title)}</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape_html(title)}</h1>"
        f"<p>{escape_html(status.meaning)}</p><p>{escape_html(status.retry.sentence)}</p>"
        f'<p>This answer is simulated. <a href="{status.page}">More about {status.code}</a></p>'
        f"<dl>{rows}</dl></main></body></html>\n"
    ).encode()


def _html_value(name: str, value: str) -> str:
    said = escape_html(value)
    return f'<a href="{said}">{said}</a>' if name == "link" else f"<code>{said}</code>"


def _text(diagnosis: Diagnosis, _request: Request, locked: LockedAnswer) -> bytes:
    status = diagnosis.status
    head = [f"{status.code} {status.phrase}", status.meaning, status.retry.sentence, "This answer is simulated."]
    if status.code == 423:
        head.insert(1, locked_problem(locked).detail)
    # Values of the request are quoted as in JSON: a line break in one would be a line of the answer.
    lines = [f"{name}: {encode_json(value).decode()}" for name, value in _lines(diagnosis)]
    return "\n".join([*head, "", *lines, ""]).encode()


def _lines(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    """What HTML and text tell, a name and a value at a time."""
    status, request = diagnosis.status, diagnosis.request
    yield "class", status.status_class
    yield "registered", _plain(status.registered)
    yield "cacheable", _plain(status.cacheable)
    yield "source", status.source
    if isinstance(diagnosis.answered, int):
        yield "answered", str(diagnosis.answered)
    if isinstance(diagnosis.link, str):
        yield "link", diagnosis.link
    if isinstance(diagnosis.sequence, Turn):
        yield "sequence", f"{diagnosis.sequence.pattern}, turn {diagnosis.sequence.turn}, key {diagnosis.sequence.key}"
    lock = diagnosis.lock
    if isinstance(lock, LockSeen):
        yield "lock", lock.state
        yield "lock held", _plain(lock.held)
        if isinstance(lock.ended, str):
            yield "lock ended", lock.ended
    yield "method", request.method
    yield "url", request.url
    yield "client", request.client
    yield "body size", str(request.body.size)
    yield "body sha256", request.body.sha256
    for name, value in request.fields.items():
        yield f"field {name}", value


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _builtin(value: msgspec.Struct) -> dict[str, Any]:
    return cast("dict[str, Any]", msgspec.to_builtins(value))


_RENDERERS: Final[dict[BodyForm, Callable[[Diagnosis, Request, LockedAnswer], bytes]]] = {
    BodyForm.JSON: _json,
    BodyForm.PROBLEM: _problem,
    BodyForm.XML: _xml,
    BodyForm.HTML: _html,
    BodyForm.TEXT: _text,
}
