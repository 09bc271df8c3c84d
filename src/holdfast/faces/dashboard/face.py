"""DashboardFace: the pages that people look at, and the login form that begins their session.

Owns: which address shows what to whom, logging in and out. Must not know: locks; the pages read them from the API, as
whoever looks at them.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from holdfast.access.cookies import clear_cookies, set_cookie
from holdfast.access.identification import Identification
from holdfast.access.unknown import Lack, answer_unknown
from holdfast.faces.dashboard.login import (
    LOGIN,
    MAX_LOGIN_BYTES,
    LoginForm,
    UnreadableLoginError,
    local_target,
    login_address,
    read_login,
    read_next,
)
from holdfast.faces.dashboard.pages import Pages
from holdfast.wire.exchange import Request, Response
from holdfast.wire.problem import Representation, choose_representation, render_refusal
from holdfast.wire.provenance import Provenance, is_from_script, is_led_here, is_over_https, provenance
from holdfast.wire.staticfiles import GUARDS, send_static

__all__ = ["DashboardFace"]

_log = logging.getLogger("holdfast.dashboard")

_LOGOUT: Final = "/logout"
_READS: Final = frozenset({"GET", "HEAD"})
_BODY_LIMIT_DIGITS: Final = 10

_NEVER_KEPT: Final = ("Cache-Control", "no-store")


class DashboardFace:
    """The face over one Identification; satisfies `wire.exchange.Face`. Safe from any thread."""

    def __init__(self, identification: Identification) -> None:
        """Read the pages; who looks at them is known by `identification`."""
        self._identification = identification
        self._pages = Pages()

    def admit(self, head: Request) -> Response | None:
        """Refuse a body that is too large, or that nobody would read, before it comes."""
        if head.target not in {LOGIN, _LOGOUT} or head.method != "POST":
            return None if head.method in _READS else self._no_method(head)
        length = head.headers.get(b"content-length") or "0"
        if length.isdecimal() and len(length) < _BODY_LIMIT_DIGITS and int(length) <= MAX_LOGIN_BYTES:
            return None
        return _refused(head, 413, f"A login has at most {MAX_LOGIN_BYTES} bytes.")

    def is_brief(self, request: Request) -> bool:
        """True for all but a login, which hashes a password."""
        return request.method != "POST" or request.target != LOGIN

    def __call__(self, request: Request) -> Response:
        """Answer; every refusal is a response."""
        try:
            return self._answer(request)
        finally:
            if not isinstance(request.body, bytes):
                request.body.discard()

    def _answer(self, request: Request) -> Response:
        method, target = request.method, request.target
        if method == "OPTIONS" and self._methods(target):
            return Response(204, [("Allow", ", ".join(self._methods(target)))])
        if method == "POST" and target == LOGIN:
            return self._log_in(request)
        if method == "POST" and target == _LOGOUT:
            return self._log_out(request)
        if method not in _READS or target == _LOGOUT:
            return self._no_method(request)
        asset = self._pages.asset(target)
        if asset is not None:
            return send_static(request, asset)
        page = self._pages.page(target)
        if target == LOGIN:
            if request.principal is not None:
                return _see_other(local_target(read_next(request.query)))
        elif request.principal is None and (page is None or not is_led_here(request)):
            # Whoever is led here may be logged in: the page, which says nothing by itself, asks with the cookie, and
            # leads those who are not to the form.
            return self._unknown(request)
        return (
            _refused(request, 404, "There is nothing at this address.") if page is None else send_static(request, page)
        )

    def _methods(self, target: str) -> list[str]:
        """What may be asked of an address; empty where nothing is there."""
        if target == _LOGOUT:
            return ["OPTIONS", "POST"]
        if target == LOGIN:
            return ["GET", "HEAD", "OPTIONS", "POST"]
        known = self._pages.page(target) or self._pages.asset(target)
        return [] if known is None else ["GET", "HEAD", "OPTIONS"]

    def _no_method(self, request: Request) -> Response:
        methods = self._methods(request.target)
        if not methods:
            return _refused(request, 404, "There is nothing at this address.")
        detail = f"{request.method} is not a method of this address."
        return _refused(request, 405, detail, ("Allow", ", ".join(methods)))

    def _unknown(self, request: Request) -> Response:
        """The login form for a browser that shows a page, 401 for any other client."""
        answer = self._identification.answer_unknown(request)
        wants_page = choose_representation(request.headers.get(b"accept"), prefers_xml=False) is Representation.HTML
        if wants_page and b"authorization" not in request.headers and not is_from_script(request):
            query = f"?{request.query}" if request.query else ""
            return _see_other(login_address(local_target(request.target + query)))
        return _refused(request, answer.status, answer.detail, *answer.headers)

    def _log_in(self, request: Request) -> Response:
        if provenance(request) is Provenance.ELSEWHERE:
            # Else another site could log a visitor in as somebody of its own choice, and watch what they do there.
            _log.warning("a login from a page of another site was refused, from %s", request.client)
            return _refused(request, 403, "Logging in is only possible from a page of this server.")
        try:
            form, is_json = read_login(request)
        except UnreadableLoginError as error:
            return _refused(request, error.status, str(error))
        target = local_target(form.next)
        if self._identification.is_open:
            return _said({"next": target}) if is_json else _see_other(target)
        login = self._identification.log_in(form.name, form.password, request.client)
        if login.session is None:
            return _failed(request, form, login.wait_s, is_json=is_json)
        cookie = set_cookie(login.session, secure=is_over_https(request), lasting_s=self._identification.session_s)
        return _said({"next": target}, cookie) if is_json else _see_other(target, cookie)

    def _log_out(self, request: Request) -> Response:
        if provenance(request) is Provenance.ELSEWHERE:
            return _refused(request, 403, "Logging out is only possible from a page of this server.")
        cookies = clear_cookies(secure=is_over_https(request))
        if is_from_script(request):
            return Response(204, [_NEVER_KEPT, *(("Set-Cookie", cookie) for cookie in cookies)])
        return _see_other("/" if self._identification.is_open else LOGIN, *cookies)


def _failed(request: Request, form: LoginForm, wait_s: int, *, is_json: bool) -> Response:
    """Back to the form, which says so; a program gets what Authorization would have got it."""
    if is_json:
        # Without Basic: a browser would ask for the password in a box of its own, over the form.
        answer = answer_unknown(Lack.WRONG, wait_s, from_script=True)
        return _refused(request, answer.status, answer.detail, *answer.headers)
    said = {"slowed": str(wait_s)} if wait_s else {"failed": "1"}
    return _see_other(login_address(local_target(form.next), **said))


def _see_other(target: str, *cookies: str) -> Response:
    fields = [("Location", target), _NEVER_KEPT, *GUARDS, *(("Set-Cookie", cookie) for cookie in cookies)]
    return Response(303, fields)


def _said(value: object, *cookies: str) -> Response:
    fields = [("Content-Type", "application/json"), _NEVER_KEPT, *GUARDS]
    return Response(200, [*fields, *(("Set-Cookie", cookie) for cookie in cookies)], msgspec.json.encode(value))


def _refused(request: Request, status: int, detail: str, *fields: tuple[str, str]) -> Response:
    answer = render_refusal(status, "", detail, accept=request.headers.get(b"accept"), prefers_xml=False)
    return Response(status, [*answer.headers, *fields], answer.body)
