"""Requests and answers of Django, as the rest of Holdfast reads and makes them.

Owns: who sends a request, its head as a value, and the HttpResponse of a refusal. Must not know: how locks are kept. What a 423
says is rendered by `wire.locked`, as everywhere.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final, cast

import msgspec
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from holdfast.core.paths import ROOT, InvalidPathError, ResourcePath
from holdfast.databases.classify import classify
from holdfast.databases.patience import DatabaseLockedError
from holdfast.integrations.answering import LINKS_LEFT_OUT, REFUSALS, answer_locked, answer_refusal, body_of
from holdfast.integrations.backends import DEFAULT_PRINCIPAL
from holdfast.integrations.django.configuration import configured
from holdfast.integrations.django.naming import name_of
from holdfast.integrations.guarding import Head
from holdfast.wire.exchange import Headers, Response

__all__ = ["as_django", "head_of", "principal_of", "refusal_of", "user_of"]

_DRIVERS: Final = {"postgresql": "postgresql", "mysql": "mysql"}


def user_of(request: HttpRequest) -> Any:
    """Who sends the request, as HOLDFAST["PRINCIPAL"] says, or who is logged in: a user, or a name; None for nobody who is known."""
    rule = configured().principal
    user: Any = getattr(request, "user", None) if rule is None else rule(request)
    if not user or isinstance(user, str):
        return user or None
    return user if user.is_authenticated else None


def principal_of(request: HttpRequest) -> str:
    """The user's name, as its model tells it; the principal of everybody who is not known."""
    user = user_of(request)
    return DEFAULT_PRINCIPAL if user is None else name_of(user)


def head_of(request: HttpRequest) -> Head:
    """The request without its body. The path is as Django's own routes see it, below where the project is mounted."""
    fields = cast("dict[str, str]", request.headers)
    lines = [(name.lower().encode("latin-1"), text.encode("latin-1", "replace")) for name, text in fields.items()]
    root = str(request.META.get("SCRIPT_NAME") or "").rstrip("/")
    return Head(request.method or "GET", request.path_info, Headers(lines), request.scheme or "http", root)


def as_django(response: Response) -> HttpResponse:
    """A wire Response as Django's."""
    answer = HttpResponse(body_of(response), status=response.status)
    del answer["Content-Type"]
    for name, value in response.headers:
        if name == "Vary":
            patch_vary_headers(answer, [value])
        else:
            answer[name] = value
    return answer


def refusal_of(request: HttpRequest, error: BaseException) -> HttpResponse | None:
    """The answer that an error becomes: a lock in the way, another refusal about a lock, or a locked database. None for all others."""
    head = head_of(request)
    accept = head.field(b"accept")
    if isinstance(error, REFUSALS):
        return as_django(answer_refusal(error, accept, root=head.root))
    return _locked_database(error, request.path_info, accept)


def _locked_database(error: BaseException, path: str, accept: str | None) -> HttpResponse | None:
    from holdfast.databases.answering import answer_error

    located = error.locked if isinstance(error, DatabaseLockedError) else classify(error)
    if located is None:
        return None
    try:
        resource = ResourcePath.from_text(path)
    except InvalidPathError:
        resource = ROOT
    found = answer_error(error, _address_of(located.dialect.value), resource=resource)
    if found is None:
        return None
    return as_django(answer_locked(msgspec.structs.replace(found, links=LINKS_LEFT_OUT), accept))


def _address_of(vendor: str) -> Any:
    """Where the project's database of this kind can be asked who holds it; None where it cannot."""
    for alias in connections:
        one: Any = connections[alias]
        if one.vendor != vendor:
            continue
        settings = one.settings_dict
        if vendor == "sqlite":
            return str(settings["NAME"])
        if vendor not in _DRIVERS or find_spec("sqlalchemy") is None:
            return None
        from sqlalchemy import URL

        host, port = settings["HOST"] or None, settings["PORT"]
        is_socket = bool(host) and str(host).startswith("/")
        return URL.create(
            _DRIVERS[vendor],
            settings["USER"] or None,
            settings["PASSWORD"] or None,
            host=None if is_socket else host,
            port=int(port) if port else None,
            database=settings["NAME"],
            query={("host" if vendor == "postgresql" else "unix_socket"): str(host)} if is_socket else {},
        )
    return None
