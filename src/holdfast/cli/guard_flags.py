"""The flags of `holdfast guard`, in groups: how requests pass, where the locks are, who is asking, and how the guard itself stands.

Owns: each flag with its help, and the sentence for each value that cannot be. Must not know: what a guard does with them, and
how the groups fit together (`guard`).
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import unquote

from cyclopts import Parameter

from holdfast.cli.terminal import CommandError
from holdfast.config import Durability
from holdfast.core.paths import InvalidPathError, ResourcePath

if TYPE_CHECKING:
    from holdfast.edge.upgrading import Upgrades
    from holdfast.edge.upstream import Upstream

__all__ = ["DEFAULT_PORT", "LockFlags", "PassingFlags", "PeopleFlags", "StandingFlags", "address_of"]

DEFAULT_PORT: Final = 4232
_DEFAULT_LOCKS: Final = "sqlite:///holdfast-locks.db"
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]+")
_PROTOCOL: Final = re.compile(r"[\w!#$%&'*+.^`|~-]+(/[\w!#$%&'*+.^`|~-]+)?", re.ASCII)
_OWN_FIELDS: Final = frozenset({"authorization", "content-length", "cookie", "host", "if", "lock-token", "via"})
_LOOPBACK: Final = ("127.0.0.1", "::1")
_MOST_WORKERS: Final = 256


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PassingFlags:
    """How requests reach the application."""

    upstream_host: Annotated[
        str | None, Parameter(help="Host field that the application gets; default: the one that the client sent.")
    ] = None
    timeout: Annotated[float, Parameter(help="Seconds within which the application must begin its answer.")] = 60.0
    upgrade: Annotated[
        list[str] | None,
        Parameter(
            help="PROTOCOL for which a connection may leave HTTP, beside websocket; may be repeated.", negative=""
        ),
    ] = None
    refuse_upgrades: Annotated[
        bool,
        Parameter(
            help="Let no connection leave HTTP: WebSockets are refused with 501.", negative="", show_default=False
        ),
    ] = False
    idle: Annotated[
        float, Parameter(help="Seconds in which neither side of a WebSocket says anything before it is closed.")
    ] = 3600.0

    @property
    def host(self) -> str:
        """The Host field; empty for the client's. Raises CommandError."""
        text = self.upstream_host
        if text is None:
            return ""
        if not text or not text.isascii() or not text.isprintable() or any(sign in text for sign in " /,@?#"):
            raise CommandError(f"--upstream-host {text!r} is no host: write NAME or NAME:PORT.")
        return text

    @property
    def answer_s(self) -> float:
        """Seconds for an answer. Raises CommandError."""
        return _span(self.timeout, "--timeout")

    @property
    def upgrades(self) -> Upgrades:
        """The protocols that pass. Raises CommandError."""
        from holdfast.edge.upgrading import WEBSOCKET, Upgrades, is_http

        named = self.upgrade or []
        if self.refuse_upgrades and named:
            raise CommandError("Connections may leave HTTP, or may not: give --upgrade or --refuse-upgrades, not both.")
        for protocol in named:
            if not _PROTOCOL.fullmatch(protocol):
                raise CommandError(f"--upgrade {protocol!r} is no protocol: write its name, or NAME/VERSION.")
            if is_http(protocol):
                raise CommandError(f"--upgrade {protocol} cannot be: there are requests in it that no lock would stop.")
        passing = [] if self.refuse_upgrades else [WEBSOCKET, *(protocol.lower() for protocol in named)]
        return Upgrades(protocols=frozenset(passing), idle_s=_span(self.idle, "--idle"), half_closed_s=self.answer_s)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LockFlags:
    """Where the locks are, and which addresses they are asked about."""

    locks: Annotated[
        str | None,
        Parameter(help=f"Where the locks are kept: sqlite:///FILE. {_DEFAULT_LOCKS} unless --server is given."),
    ] = None
    server: Annotated[
        str | None,
        Parameter(
            help="Holdfast server that has the locks: http://HOST:PORT or https://HOST:PORT, in the place of --locks."
        ),
    ] = None
    prefix: Annotated[
        list[str] | None,
        Parameter(
            help="PATH at and below which locks are asked about; default: everywhere. May be repeated.", negative=""
        ),
    ] = None
    guard_only: Annotated[
        bool,
        Parameter(
            help="Answer nothing at /api/locks and Holdfast's other addresses: all but /.holdfast goes to the application.",
            negative="",
            show_default=False,
        ),
    ] = False
    durability: Annotated[
        Durability, Parameter(help="What a granted lock survives: power loss, or only a crash (faster).")
    ] = Durability.POWER

    @property
    def file(self) -> Path | None:
        """The file of `sqlite:///relative` or `sqlite:////absolute`, or of a plain path; None with a server. Raises CommandError."""
        if self.server is not None:
            if self.locks is not None:
                raise CommandError("The locks are in one place: give --locks or --server, not both.")
            return None
        text = self.locks or _DEFAULT_LOCKS
        if text.startswith("sqlite:///"):
            text = unquote(text.removeprefix("sqlite:///"))
        elif "://" in text or text.startswith("sqlite:"):
            raise CommandError(
                f"--locks {text} is no file of locks: write sqlite:///FILE; --server takes a server's address."
            )
        path = Path(text).expanduser().absolute()
        if not text or path.is_dir():
            raise CommandError(f"--locks {path} is a folder: name the file in it that is to keep the locks.")
        if not path.parent.is_dir():
            raise CommandError(
                f"--locks: the folder {path.parent} does not exist: make it first, or check the spelling."
            )
        return path

    @property
    def address(self) -> Upstream | None:
        """The server; None where the locks are here. Raises CommandError."""
        return None if self.server is None else address_of(self.server, "--server")

    @property
    def prefixes(self) -> tuple[ResourcePath, ...]:
        """Where locks are asked about. Raises CommandError."""
        return tuple(_path(one) for one in self.prefix or ["/"])


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PeopleFlags:
    """Who is asking."""

    user_header: Annotated[
        str | None,
        Parameter(help="Field in which a proxy before the guard names whoever is logged in, as X-Remote-User."),
    ] = None
    trusted_proxy: Annotated[
        list[str] | None,
        Parameter(
            help="ADDRESS whose --user-header, X-Forwarded-* and Forwarded are believed; default: this machine. May be repeated.",
            negative="",
        ),
    ] = None
    admin: Annotated[
        list[str] | None,
        Parameter(help="NAME in --user-header that may end others' locks; may be repeated.", negative=""),
    ] = None
    user: Annotated[
        list[str] | None,
        Parameter(
            help="NAME:PASSWORD or NAME:PASSWORD:ROLE, for trials; may be repeated. Role: reader, writer (default), admin.",
            negative="",
        ),
    ] = None
    users: Annotated[Path | None, Parameter(help="File of users that `holdfast users` keeps.")] = None

    def check(self, server: str | None) -> None:
        """Raises CommandError where these say who is asking in two ways, `server` being where the locks are."""
        has_users = bool(self.user or self.users)
        if server is not None and has_users:
            raise CommandError("With --server the server knows the users: leave --user and --users out.")
        if self.user_header is not None and has_users:
            raise CommandError("People log in with the guard's users or are named by --user-header: leave one out.")
        if self.admin and (self.user_header is None or server is not None):
            raise CommandError(
                "--admin goes with --user-header and --locks: elsewhere roles say who may end others' locks."
            )

    @property
    def field(self) -> str:
        """The field that names people, lower case; empty where none does. Raises CommandError."""
        name = self.user_header
        if name is None:
            return ""
        if not _TOKEN.fullmatch(name) or name.lower() in _OWN_FIELDS:
            raise CommandError(
                f"--user-header {name!r} cannot be: name a field of letters, digits and hyphens, as X-Remote-User."
            )
        return name.lower()

    @property
    def trusted(self) -> frozenset[str]:
        """The addresses of proxies that are believed. Raises CommandError."""
        return frozenset(_proxy(one) for one in self.trusted_proxy or _LOOPBACK)

    @property
    def file(self) -> Path | None:
        """The file of users."""
        return None if self.users is None else self.users.expanduser().resolve()

    def token(self, server: str | None) -> str:
        """What the server is asked with; without one, the client's own credentials count there. Raises CommandError."""
        if server is None or self.user_header is None:
            return ""
        token = os.environ.get("HOLDFAST_TOKEN", "").strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            msg = (
                "With --server and --user-header the guard asks for others, which takes an administrator's API token: "
                "put it into HOLDFAST_TOKEN (`holdfast tokens create` makes one)."
            )
            raise CommandError(msg)
        return token


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class StandingFlags:
    """Where the guard listens, and with how many processes."""

    host: Annotated[str, Parameter(help="Address or name to listen on; 0.0.0.0 is every network of this machine.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes a free one.")] = DEFAULT_PORT
    host_names: Annotated[
        list[str] | None,
        Parameter(
            name="--host-name",
            help="NAME that a guard without users answers to, beside localhost; may be repeated.",
            negative="",
        ),
    ] = None
    tls_cert: Annotated[Path | None, Parameter(help="Certificate chain (PEM), to serve HTTPS.")] = None
    tls_key: Annotated[Path | None, Parameter(help="Private key (PEM) of the certificate.")] = None
    workers: Annotated[int, Parameter(help="Processes that share the port and the locks.")] = 1

    def check(self) -> None:
        """Raises CommandError."""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise CommandError("HTTPS needs both a certificate and its key: give --tls-cert and --tls-key together.")
        if not 1 <= self.workers <= _MOST_WORKERS:
            raise CommandError(f"--workers must be from 1 to {_MOST_WORKERS}.")


def address_of(text: str, flag: str) -> Upstream:
    """Where an application, or a server, is. Raises CommandError, which names the `flag`."""
    from holdfast.edge.upstream import Upstream, UpstreamAddressError

    try:
        return Upstream.parse(text)
    except UpstreamAddressError as error:
        raise CommandError(f"{flag}: {error}") from error


def _path(text: str) -> ResourcePath:
    try:
        return ResourcePath.from_target(text)
    except InvalidPathError as error:
        raise CommandError(f"--prefix {text!r} is no path of an address: {error}.") from error


def _proxy(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise CommandError(f"--trusted-proxy {text!r} is no IP address.") from error


def _span(seconds: float, flag: str) -> float:
    if not 0.05 <= seconds <= 86_400:
        raise CommandError(f"{flag} must be from 0.05 to 86400 seconds.")
    return seconds
