"""Who one is to a server: a user with a password, or an API token, and never on the command line, which everybody on the machine can read.

Owns: where they come from, and in which order: `--user` (or the user in the URL) with HOLDFAST_PASSWORD, ~/.netrc or a question; else HOLDFAST_TOKEN;
else ~/.netrc. Must not know: how they are sent.
"""

from __future__ import annotations

import getpass
import netrc
import os
import sys
from pathlib import Path
from typing import Annotated, Final, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import msgspec
from cyclopts import Parameter

from holdfast.cli.terminal import CommandError, warn

__all__ = ["Credentials", "UserFlag", "credentials_for", "is_url", "split_url"]

UserFlag: TypeAlias = Annotated[
    str | None,
    Parameter(
        help="Your name on the server of a URL. The password comes from HOLDFAST_PASSWORD or ~/.netrc, or is asked for; "
        "without a name HOLDFAST_TOKEN is used."
    ),
]

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Credentials(msgspec.Struct, frozen=True):
    """A name and password, or an API token, or neither."""

    auth: tuple[str, str] | None = None
    token: str = ""

    def __repr__(self) -> str:
        """Without secrets."""
        return f"Credentials({'' if self.auth is None else self.auth[0]!r})"


def is_url(target: str) -> bool:
    """True for what names something on a server, and no path of this machine."""
    return target.lower().startswith(("http://", "https://"))


def split_url(text: str) -> tuple[str, str]:
    """The URL without its user and fragment, and that user. Raises CommandError where it is none, or has a password in it."""
    try:
        parts = urlsplit(text)
        host, port, user, password = parts.hostname, parts.port, parts.username, parts.password
    except ValueError as error:
        msg = f"{text} is no URL: {error}."
        raise CommandError(msg) from error
    if not host or any(ord(character) < 33 or character == "\x7f" for character in text):
        msg = f"{text!r} is no URL: write http://HOST/PATH or https://HOST/PATH."
        raise CommandError(msg)
    if password is not None:
        msg = (
            "A password in a URL is seen by everybody on this machine: use --user NAME, which asks for it, or ~/.netrc."
        )
        raise CommandError(msg)
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc = f"{netloc}:{port}"
    plain = SplitResult(parts.scheme.lower(), netloc, _encoded(parts.path) or "/", parts.query, "")
    return urlunsplit(plain), unquote(user or "")


def credentials_for(url: str, user: str | None) -> Credentials:
    """What to send to the server of `url`. Raises CommandError where a password is needed and cannot be had."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    found = _found(host, user)
    is_secret = found.auth is not None or found.token != ""
    if is_secret and parts.scheme == "http" and host not in _LOOPBACK:
        warn(f"The password or token goes to {host} unencrypted: use https:// where the server has it.")
    return found


def _found(host: str, user: str | None) -> Credentials:
    if user:
        password = os.environ.get("HOLDFAST_PASSWORD")
        if password is None:
            known = _from_netrc(host)
            password = known[1] if known is not None and known[0] == user else _asked(user, host)
        return Credentials((user, password))
    token = os.environ.get("HOLDFAST_TOKEN", "").strip()
    if token:
        if not token.isascii() or not token.isprintable() or " " in token:
            msg = "HOLDFAST_TOKEN is no API token: it has letters in it that no token has."
            raise CommandError(msg)
        return Credentials(token=token)
    return Credentials(_from_netrc(host))


def _from_netrc(host: str) -> tuple[str, str] | None:
    place = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        entry = netrc.netrc(place).authenticators(host)
    except FileNotFoundError:
        return None
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError) as error:
        msg = f"{place} cannot be used: {error}."
        raise CommandError(msg) from error
    if entry is None or not entry[0]:
        return None
    return entry[0], entry[2] or ""


def _asked(user: str, host: str) -> str:
    if not sys.stdin.isatty():
        msg = f"The password of {user} is needed: put it into HOLDFAST_PASSWORD or ~/.netrc, or run this on a terminal."
        raise CommandError(msg)
    return getpass.getpass(f"Password of {user} at {host}: ")


def _encoded(path: str) -> str:
    """A path as it goes over the wire: what a person typed in other letters is percent-encoded, what is encoded stays."""
    return "".join(
        character if character.isascii() and character not in '"<>\\^`{|}' else _percent(character)
        for character in path
    )


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))
