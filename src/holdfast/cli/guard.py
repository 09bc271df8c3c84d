"""`holdfast guard`: check everything that was asked, in words, then put locks before an application and say where.

Owns: the flags, the order of the checks, and the sentence for each thing that can be wrong. Must not know: how requests are
passed on. Nothing is started before all checks have passed.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import unquote

from cyclopts import Parameter
from rich.markup import escape

from holdfast import __version__
from holdfast.access.users_file import UserRecord, UsersFile
from holdfast.cli.serve import _check_tls, _listed_users, _say_row, _stop
from holdfast.cli.terminal import CommandError, say, warn
from holdfast.config import Durability, LogFormat
from holdfast.core.paths import InvalidPathError, ResourcePath
from holdfast.listening import is_loopback_only

if TYPE_CHECKING:
    from holdfast.edge.upstream import Upstream
    from holdfast.guarding import GuardSettings

__all__ = ["DEFAULT_PORT", "guard"]

DEFAULT_PORT: Final = 4232
_DEFAULT_LOCKS: Final = "sqlite:///holdfast-locks.db"
_FIELD: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]+")
_OWN_FIELDS: Final = frozenset({"authorization", "content-length", "cookie", "host", "if", "lock-token", "via"})
_LOOPBACK: Final = ("127.0.0.1", "::1")


def guard(
    *,
    upstream: Annotated[
        str, Parameter(help="The application: http://HOST:PORT, https://HOST:PORT or unix:/PATH of its socket.")
    ],
    locks: Annotated[
        str | None,
        Parameter(help=f"Where the locks are kept: sqlite:///FILE. {_DEFAULT_LOCKS} unless --server is given."),
    ] = None,
    server: Annotated[
        str | None,
        Parameter(
            help="Holdfast server that has the locks: http://HOST:PORT or https://HOST:PORT, in the place of --locks."
        ),
    ] = None,
    host: Annotated[
        str, Parameter(help="Address or name to listen on; 0.0.0.0 is every network of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes a free one.")] = DEFAULT_PORT,
    host_names: Annotated[
        list[str] | None,
        Parameter(
            name="--host-name",
            help="NAME that a guard without users answers to, beside localhost; may be repeated.",
            negative="",
        ),
    ] = None,
    prefix: Annotated[
        list[str] | None,
        Parameter(
            help="PATH at and below which locks are asked about; default: everywhere. May be repeated.", negative=""
        ),
    ] = None,
    user_header: Annotated[
        str | None,
        Parameter(help="Field in which a proxy before the guard names whoever is logged in, as X-Remote-User."),
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        Parameter(
            help="ADDRESS whose --user-header, X-Forwarded-* and Forwarded are believed; default: this machine. May be repeated.",
            negative="",
        ),
    ] = None,
    admin: Annotated[
        list[str] | None,
        Parameter(help="NAME in --user-header that may end others' locks; may be repeated.", negative=""),
    ] = None,
    user: Annotated[
        list[str] | None,
        Parameter(
            help="NAME:PASSWORD or NAME:PASSWORD:ROLE, for trials; may be repeated. Role: reader, writer (default), admin.",
            negative="",
        ),
    ] = None,
    users: Annotated[Path | None, Parameter(help="File of users that `holdfast users` keeps.")] = None,
    upstream_host: Annotated[
        str | None, Parameter(help="Host field that the application gets; default: the one that the client sent.")
    ] = None,
    timeout: Annotated[float, Parameter(help="Seconds within which the application must begin its answer.")] = 60.0,
    guard_only: Annotated[
        bool,
        Parameter(
            help="Answer nothing at /api/locks and Holdfast's other addresses: all goes to the application.",
            negative="",
            show_default=False,
        ),
    ] = False,
    tls_cert: Annotated[Path | None, Parameter(help="Certificate chain (PEM), to serve HTTPS.")] = None,
    tls_key: Annotated[Path | None, Parameter(help="Private key (PEM) of the certificate.")] = None,
    durability: Annotated[
        Durability, Parameter(help="What a granted lock survives: power loss, or only a crash (faster).")
    ] = Durability.POWER,
    log_format: Annotated[
        LogFormat, Parameter(help="How messages are written to standard error: text, or json objects, one on a line.")
    ] = LogFormat.TEXT,
    access_log: Annotated[
        bool, Parameter(help="Write a line about each answered request.", negative="", show_default=False)
    ] = False,
) -> None:
    r"""Put locks before an application: a reverse proxy.

    While a resource is locked, only its holder's changes reach the application,
    and everyone else gets the 423: who holds it, since when, until when. All else
    streams through. Locks are taken at /api/locks of the same address. Ctrl-C
    stops it.

    Try it out on this machine, before an application on port 8000:

        holdfast guard --upstream http://127.0.0.1:8000

    Behind a proxy that logs people in, with the locks of a Holdfast server
    (an administrator's API token is in HOLDFAST_TOKEN):

        holdfast guard --upstream http://127.0.0.1:8000 \
            --server http://127.0.0.1:4230 --user-header X-Remote-User
    """
    from holdfast.guarding import GuardSettings

    listed = _listed_users(user or [])
    _check_combination(locks, server, user_header, admin, has_users=bool(listed or users))
    if (tls_cert is None) != (tls_key is None):
        raise CommandError("HTTPS needs both a certificate and its key: give --tls-cert and --tls-key together.")
    _check_tls(tls_cert, tls_key)
    names = _names(listed, users)
    _check_reach(host, knows_people=bool(names or user_header or server), has_tls=tls_cert is not None)
    token = _token(server, user_header)
    settings = GuardSettings(
        upstream=_address(upstream, "--upstream"),
        locks=None if server is not None else _file(locks or _DEFAULT_LOCKS),
        server=None if server is None else _address(server, "--server"),
        token=token,
        prefixes=tuple(_path(one) for one in prefix or ["/"]),
        shows_locks=not guard_only,
        host=host,
        port=port,
        host_names=tuple(host_names or ()),
        user_field=_field(user_header),
        admins=frozenset(admin or ()),
        trusted=frozenset(_proxy(one) for one in trusted_proxy or _LOOPBACK),
        upstream_host=_host(upstream_host),
        answer_s=_span(timeout),
        users_file=None if users is None else users.expanduser().resolve(),
        tls_cert=tls_cert,
        tls_key=tls_key,
        durability=durability,
        log_format=log_format,
        access_log=access_log,
    )
    _start(settings, tuple(listed), names)


def _start(settings: GuardSettings, listed: tuple[UserRecord, ...], names: list[str]) -> None:
    from holdfast.guarding import run

    def on_ready(url: str) -> None:
        if listed:
            warn(
                "passwords on a command line can be seen by others on this machine; "
                "`holdfast users` keeps them in a file."
            )
        say(f"[bold]Holdfast {__version__}[/bold] guards {escape(str(settings.upstream))}")
        say()
        _say_row("address", f"[bold]{escape(url)}[/bold]")
        _say_row("locks", escape(str(settings.locks or settings.server)))
        if settings.shows_locks:
            _say_row("taken at", escape(f"{url}api/locks"))
        _say_row("people", escape(_people(settings, names)))
        say()
        say("Ctrl-C stops the guard.")

    signal.signal(signal.SIGTERM, _stop)
    with contextlib.suppress(KeyboardInterrupt):
        run(settings, users=listed, on_ready=on_ready)
    say("Holdfast has stopped.")


def _people(settings: GuardSettings, names: list[str]) -> str:
    if settings.user_field:
        return f"whom {settings.user_field} names, on requests from {', '.join(sorted(settings.trusted))}"
    if settings.server is not None:
        return "as the server knows them, by what they send"
    if names:
        return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return "nobody is known: whoever has a lock's token is its holder, and no other machine can reach it"


def _check_combination(
    locks: str | None, server: str | None, user_header: str | None, admin: list[str] | None, *, has_users: bool
) -> None:
    if locks is not None and server is not None:
        raise CommandError("The locks are in one place: give --locks or --server, not both.")
    if server is not None and has_users:
        raise CommandError("With --server the server knows the users: leave --user and --users out.")
    if user_header is not None and has_users:
        raise CommandError("People log in with the guard's users or are named by --user-header: leave one out.")
    if admin and (user_header is None or server is not None):
        raise CommandError(
            "--admin goes with --user-header and --locks: elsewhere roles say who may end others' locks."
        )


def _check_reach(host: str, *, knows_people: bool, has_tls: bool) -> None:
    if is_loopback_only(host):
        return
    if not knows_people:
        msg = (
            f"Without users the guard listens on this machine only, and {host} can be reached from others: add users "
            "(--users FILE, or --user NAME:PASSWORD for a trial), --user-header or --server, or leave --host out."
        )
        raise CommandError(msg)
    if not has_tls:
        warn(
            "passwords and documents cross the network unencrypted: add --tls-cert and --tls-key, "
            "or let a proxy that speaks HTTPS stand in front and listen on 127.0.0.1."
        )


def _token(server: str | None, user_header: str | None) -> str:
    """What the server is asked with; without one, the client's own credentials count there."""
    if server is None or user_header is None:
        return ""
    token = os.environ.get("HOLDFAST_TOKEN", "").strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        msg = (
            "With --server and --user-header the guard asks for others, which takes an administrator's API token: "
            "put it into HOLDFAST_TOKEN (`holdfast tokens add` makes one)."
        )
        raise CommandError(msg)
    return token


def _names(listed: list[UserRecord], users: Path | None) -> list[str]:
    names = [record.name for record in listed]
    if users is None:
        return names
    kept = UsersFile(users.expanduser().resolve()).load_all()
    twice = next((name for name in names if name in kept.users), None)
    if twice is not None:
        raise CommandError(f"{twice} is in {users} and on the command line: leave one of them out.")
    if not kept.users and not kept.tokens and not names:
        raise CommandError(
            f"The users file {users} has no users: add one with `holdfast users add NAME --users {users}`."
        )
    return [*names, *kept.users, *(token.principal.name for token in kept.tokens.values())]


def _address(text: str, flag: str) -> Upstream:
    from holdfast.edge.upstream import Upstream, UpstreamAddressError

    try:
        return Upstream.parse(text)
    except UpstreamAddressError as error:
        raise CommandError(f"{flag}: {error}") from error


def _file(text: str) -> Path:
    """The file of `sqlite:///relative` or `sqlite:////absolute`, or of a plain path."""
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
        raise CommandError(f"--locks: the folder {path.parent} does not exist: make it first, or check the spelling.")
    return path


def _path(text: str) -> ResourcePath:
    try:
        return ResourcePath.from_target(text)
    except InvalidPathError as error:
        raise CommandError(f"--prefix {text!r} is no path of an address: {error}.") from error


def _field(name: str | None) -> str:
    if name is None:
        return ""
    if not _FIELD.fullmatch(name) or name.lower() in _OWN_FIELDS:
        raise CommandError(
            f"--user-header {name!r} cannot be: name a field of letters, digits and hyphens, as X-Remote-User."
        )
    return name.lower()


def _proxy(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise CommandError(f"--trusted-proxy {text!r} is no IP address.") from error


def _host(text: str | None) -> str:
    if text is None:
        return ""
    if not text or not text.isascii() or not text.isprintable() or any(sign in text for sign in " /,@?#"):
        raise CommandError(f"--upstream-host {text!r} is no host: write NAME or NAME:PORT.")
    return text


def _span(seconds: float) -> float:
    if not 0.05 <= seconds <= 86_400:
        raise CommandError("--timeout must be from 0.05 to 86400 seconds.")
    return seconds
