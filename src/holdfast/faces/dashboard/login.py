"""Logging in and out: what a login form sends, and where it leads.

Owns: reading a form or JSON of name and password, and which addresses may follow a login. Must not know: how a
password is checked, or what carries a session.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, quote

import msgspec

from holdfast.wire.exchange import Request

__all__ = [
    "LOGIN",
    "MAX_LOGIN_BYTES",
    "LoginForm",
    "UnreadableLoginError",
    "local_target",
    "login_address",
    "read_login",
    "read_next",
]

LOGIN: Final = "/login"
MAX_LOGIN_BYTES: Final = 8 * 1024
"""Longest body of a login: a name, a password of 1,024 bytes, percent-encoded, and an address."""

_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"

# A path of this server: no second slash or backslash, which browsers take for the start of a host's name, and no
# space or control character, which they leave out before they look.
_LOCAL: Final = re.compile(r"/(?:[!-.0-\[\]-~][!-\[\]-~]{0,2046})?")


class UnreadableLoginError(Exception):
    """The body is not what a login is; `status` is what is answered, the text a sentence for a person."""

    def __init__(self, status: int, detail: str) -> None:
        """Answer `status`."""
        super().__init__(detail)
        self.status = status


class LoginForm(msgspec.Struct, frozen=True):
    """What was sent. Never shown: the password is in it."""

    name: str
    password: str
    next: str = "/"

    def __repr__(self) -> str:
        """The name alone, so that no log or traceback can show the password."""
        return f"LoginForm(name={self.name!r})"


def read_login(request: Request) -> tuple[LoginForm, bool]:
    """The form, and whether it came as JSON. Raises UnreadableLoginError."""
    body = request.body
    if not isinstance(body, bytes) or len(body) > MAX_LOGIN_BYTES:
        raise UnreadableLoginError(413, f"A login has at most {MAX_LOGIN_BYTES} bytes.")
    media_type = (request.headers.get(b"content-type") or "").partition(";")[0].strip().lower()
    try:
        if media_type == _JSON:
            return msgspec.json.decode(body, type=LoginForm), True
        if media_type == _FORM:
            pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=16)
            return msgspec.convert(dict(pairs), LoginForm), False
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise UnreadableLoginError(400, "A login needs name and password, in UTF-8.") from None
    raise UnreadableLoginError(415, f"A login is {_FORM} or {_JSON}.")


def read_next(query: str) -> str | None:
    """What `next` says in the query of the login form's address; None without one."""
    try:
        return dict(parse_qsl(query, errors="strict", max_num_fields=16)).get("next")
    except ValueError:
        return None


def local_target(text: str | None) -> str:
    """`text` where it is a path of this server, as it may stand in Location; else the front page.

    So no link to the login form can lead on to another server.
    """
    return text if text is not None and _LOCAL.fullmatch(text) else "/"


def login_address(target: str, **said: str) -> str:
    """The address of the login form that leads on to `target`; `said` is what it tells the person."""
    parts = [f"{name}={quote(value, safe='')}" for name, value in said.items()]
    if target != "/":
        parts.append(f"next={quote(target, safe='/')}")
    return f"{LOGIN}?{'&'.join(parts)}" if parts else LOGIN
