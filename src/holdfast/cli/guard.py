"""`holdfast guard`: check everything that was asked, in words, then put locks before an application and say where.

Owns: the flags, the order of the checks, and the sentence for each thing that can be wrong. Must not know: how requests are
passed on. Nothing is started before all checks have passed.
"""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from holdfast import __version__
from holdfast.access.users_file import UserRecord, UsersFile
from holdfast.cli.guard_flags import LockFlags, PassingFlags, PeopleFlags, StandingFlags, address_of
from holdfast.cli.once import fetch_once
from holdfast.cli.serve import _check_tls, _listed_users, _say_row, _stop
from holdfast.cli.terminal import CommandError, escape, say, warn
from holdfast.config import LogFormat
from holdfast.listening import is_loopback_only

if TYPE_CHECKING:
    from holdfast.edge.upstream import Upstream
    from holdfast.guarding import GuardSettings

__all__ = ["guard"]

# A group of which no flag is given.
_PASSING: Final = PassingFlags()
_LOCKS: Final = LockFlags()
_PEOPLE: Final = PeopleFlags()
_STANDING: Final = StandingFlags()


def guard(
    *,
    upstream: Annotated[
        str, Parameter(help="The application: http://HOST:PORT, https://HOST:PORT or unix:/PATH of its socket.")
    ],
    passing: PassingFlags = _PASSING,
    locks: LockFlags = _LOCKS,
    people: PeopleFlags = _PEOPLE,
    standing: StandingFlags = _STANDING,
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
    streams through, WebSockets too. Locks are taken at /api/locks of the same
    address. Ctrl-C stops it.

    Try it out on this machine, before an application on port 8000:

        holdfast guard --upstream http://127.0.0.1:8000

    Behind a proxy that logs people in, with the locks of a Holdfast server
    (an administrator's API token is in HOLDFAST_TOKEN):

        holdfast guard --upstream http://127.0.0.1:8000 \
            --server http://127.0.0.1:4230 --user-header X-Remote-User
    """
    from holdfast.guarding import GuardSettings

    listed = _listed_users(people.user or [])
    file = locks.file
    people.check(locks.server)
    standing.check()
    _check_tls(standing.tls_cert, standing.tls_key)
    names = _names(listed, people.users)
    _check_reach(standing, locks.address, knows_people=bool(names or people.user_header))
    settings = GuardSettings(
        upstream=address_of(upstream, "--upstream"),
        upstream_host=passing.host,
        answer_s=passing.answer_s,
        upgrades=passing.upgrades,
        locks=file,
        server=locks.address,
        token=people.token(locks.server),
        prefixes=locks.prefixes,
        shows_locks=not locks.guard_only,
        durability=locks.durability,
        user_field=people.field,
        admins=frozenset(people.admin or ()),
        trusted=people.trusted,
        users_file=people.file,
        host=standing.host,
        port=standing.port,
        host_names=tuple(standing.host_names or ()),
        tls_cert=standing.tls_cert,
        tls_key=standing.tls_key,
        workers=standing.workers,
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
    is_clean = True
    with contextlib.suppress(KeyboardInterrupt):
        is_clean = run(settings, users=listed, on_ready=on_ready)
    if not is_clean:
        raise CommandError("Worker processes kept failing, or did not end in time; the messages above say more.")
    say("Holdfast has stopped.")


def _people(settings: GuardSettings, names: list[str]) -> str:
    if settings.user_field:
        return f"whom {settings.user_field} names, on requests from {', '.join(sorted(settings.trusted))}"
    if settings.server is not None:
        return "as the server knows them, by what they send"
    if names:
        return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return "nobody is known: whoever has a lock's token is its holder, and no other machine can reach it"


def _check_reach(standing: StandingFlags, server: Upstream | None, *, knows_people: bool) -> None:
    host = standing.host
    if is_loopback_only(host):
        return
    if server is not None:
        _check_server(server, host)
    elif not knows_people:
        msg = (
            f"Without users the guard listens on this machine only, and {host} can be reached from others: add users "
            "(--users FILE, or --user NAME:PASSWORD for a trial), --user-header or --server, or leave --host out."
        )
        raise CommandError(msg)
    if standing.tls_cert is None:
        warn(
            "passwords and documents cross the network unencrypted: add --tls-cert and --tls-key, "
            "or let a proxy that speaks HTTPS stand in front and listen on 127.0.0.1."
        )


def _check_server(server: Upstream, host: str) -> None:
    """Whoever can reach the guard can do there what the server lets strangers do: nothing may be open that was for one machine."""
    try:
        status, body = fetch_once(server, b"/api/session")
    except OSError as error:
        msg = (
            f"The server {server} could not be asked whether it has users ({error}), and {host} can be reached from other machines: "
            "start it first, or leave --host out."
        )
        raise CommandError(msg) from error
    if status == 401:
        return
    is_open = status == 200 and b'"open":true' in body.replace(b" ", b"")
    why = "has no users" if is_open else f"does not ask for a login (it answered {status})"
    msg = f"The server {server} {why}, and {host} can be reached from others: start it with users, or leave --host out."
    raise CommandError(msg)


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
