"""`holdfast lock`, `unlock`, `refresh`, `locks` and `break` for a URL: by the lock API on a Holdfast server, else by LOCK and UNLOCK.

Owns: what each does on either kind of server, what it says, and its exit code. Must not know: state folders (`lock`, `locks`), how a lock is asked for.
The token of a lock is all that goes to standard output, so that a script can take it; it is remembered too, so that a person need not.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, TypeAlias

import msgspec
from cyclopts import Parameter

from holdfast.cli.contenders import Contender, of_found, of_known, sentence, show
from holdfast.cli.credentials import UserFlag, is_url
from holdfast.cli.instants import local_text
from holdfast.cli.remembered import Memory, TakenLock
from holdfast.cli.remote import Remote, connected
from holdfast.cli.spans import parse_seconds
from holdfast.cli.standing import IN_THE_WAY, NOT_LOCKED, JsonFlag, TokenFlag, as_json
from holdfast.cli.terminal import CommandError, escape, say, warn
from holdfast.cli.wait import Progress, progress
from holdfast.client.acquiring import Acquisition, Ask, BreakFirst, Mine, refresh_many, release
from holdfast.client.asking import break_lock
from holdfast.client.boottime import boottime
from holdfast.client.dav_acquiring import DavAcquisition, DavAsk, refresh_dav, release_dav
from holdfast.client.details import LockedDetails
from holdfast.client.errors import LockedError
from holdfast.client.held import Grant
from holdfast.client.holding import Failed, Loss, Outcome, Refreshed
from holdfast.client.lockviews import FoundLock

__all__ = [
    "LockWish",
    "break_",
    "list_url",
    "lock_url",
    "refresh",
    "unlock_url",
    "watch_url",
]

_USUAL_TTL_S: Final = 1800.0
_WITHIN_S: Final = 10.0

UrlArgument: TypeAlias = Annotated[
    str, Parameter(name="URL", help="What is locked: a URL of a WebDAV server, or of Holdfast.")
]


class LockWish(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that is wanted on a URL. `ttl` and `wait` are in seconds, `ttl` None for the usual time; `force` breaks what is in the way."""

    ttl: float | None = None
    wait: float = 0.0
    is_shared: bool = False
    is_deep: bool = False
    reason: str = ""
    force: bool = False


class _Report(msgspec.Struct, kw_only=True):
    """What `lock URL --json` writes. `token` is None where it was not granted; `expires_at` is None without end."""

    url: str
    token: str | None
    id: str = ""
    expires_at: datetime | None = None
    fencing_token: int | None = None
    in_the_way: Sequence[Contender] = ()


def lock_url(url: str, wish: LockWish, user: str | None, *, json: bool) -> int:
    """Lock a URL, and write the token."""
    with connected(url, user) as remote:
        try:
            with progress() as shown:
                look = remote.look()
                if wish.wait > 0:
                    shown.tell(look.contenders)
                grant = _acquired(remote, wish, shown, is_holdfast=look.is_holdfast)
        except LockedError as error:
            return _refuse(remote, error, json=json)
        ends = _end_of(grant.ttl, grant.asked_at)
        taken = TakenLock(token=grant.token, id=grant.id, ttl=wish.ttl, depth=grant.depth, expires_at=ends)
        Memory().remember_lock(remote.url, taken)
        if json:
            say(
                as_json(
                    _Report(
                        url=remote.url,
                        token=grant.token,
                        id=grant.id,
                        expires_at=ends,
                        fencing_token=grant.fencing_token,
                    )
                )
            )
            return 0
        say(escape(grant.token))
        until = "without end" if ends is None else f"until {_shown(ends)}"
        warn(f"Locked {remote.url} {until}; `holdfast unlock {remote.url}` ends it.", label="holdfast:", style="green")
        return 0


def unlock_url(url: str, token: str | None, user: str | None, *, json: bool) -> int:
    """End one's own lock on a URL."""
    memory = Memory()
    with connected(url, user) as remote:
        taken = _own(memory, remote, token)
        if taken is None:
            return _not_mine(remote, json=json)
        loss = _release(remote, taken)
        memory.forget_lock(remote.url, taken.token)
        if json:
            say(
                as_json({"url": remote.url, "released": loss is None, "how": "" if loss is None else loss.reason.value})
            )
        elif loss is None:
            say(escape(f"Unlocked {remote.url}."))
        else:
            say(escape(f"The lock on {remote.url} had ended before: {_why(loss)}"))
        return 0 if loss is None else NOT_LOCKED


def refresh(
    url: UrlArgument,
    /,
    *,
    span: Annotated[
        str | None, Parameter(name="--for", help="How long from now: 30s, 10m, 2h; default: as before.")
    ] = None,
    lock_token: TokenFlag = None,
    user: UserFlag = None,
    json: JsonFlag = False,
) -> int:
    """Restart the timer of your lock on URL, which `holdfast lock URL` took.

    Exit codes: 0 it is held, and for how long is told, 1 it had ended, 2 a mistake.

    For example:

        holdfast refresh https://dav.example.org/team/plan.odt
        holdfast refresh --for 2h http://127.0.0.1:4230/orders/42
    """
    _need_url(url, "refresh")
    memory = Memory()
    with connected(url, user) as remote:
        taken = _own(memory, remote, lock_token)
        if taken is None:
            return _not_mine(remote, json=json)
        if span is not None:
            taken = msgspec.structs.replace(taken, ttl=parse_seconds(span, "--for"))
        outcome = _refreshed(remote, taken)
        if isinstance(outcome, Failed):
            raise outcome.error
        if isinstance(outcome, Loss):
            memory.forget_lock(remote.url, taken.token)
            say(
                as_json({"url": remote.url, "held": False, "how": outcome.reason.value})
                if json
                else escape(f"The lock on {remote.url} had ended: {_why(outcome)}")
            )
            return NOT_LOCKED
        ends = _end_of(outcome.ttl, outcome.asked_at)
        memory.remember_lock(remote.url, msgspec.structs.replace(taken, expires_at=ends))
        if json:
            say(as_json({"url": remote.url, "held": True, "expires_at": ends}))
        else:
            say(escape(f"{remote.url} is locked {'without end' if ends is None else f'until {_shown(ends)}'}."))
        return 0


def list_url(url: str, user: str | None, *, json: bool) -> None:
    """The locks at and below a URL on a Holdfast server; elsewhere those on it, for WebDAV has no list."""
    with connected(url, user) as remote:
        look = remote.look()
        found = (
            tuple(of_found(lock, remote.path) for lock in remote.find(under=remote.path))
            if look.is_holdfast
            else look.contenders
        )
        if json:
            say(as_json(found))
            return
        if not found:
            say(escape(f"Nothing is locked at {'or below ' if look.is_holdfast else ''}{remote.url}."))
            return
        show(found, datetime.now(UTC))


def watch_url(url: str, user: str | None, *, json: bool) -> None:
    """What happens to locks at and below a URL of a Holdfast server, as it happens, until Ctrl-C."""
    from holdfast.client.api import Client
    from holdfast.client.lockviews import Gap

    with connected(url, user) as remote, Client(remote.base, token=remote.endpoint.bearer, http=remote.http) as client:
        for event in client.events(under=remote.path):
            if json:
                say(escape(msgspec.json.encode(event).decode()))
            elif isinstance(event, Gap):
                warn("Events are missing here: the server keeps them no more.")
            else:
                by = f" by {event.actor}" if event.actor and event.actor != event.holder else ""
                why = f"; reason: {event.reason}" if event.reason else ""
                at = local_text(event.at, datetime.now(UTC))
                end = "" if event.ends_at is None else f", ends by {local_text(event.ends_at, datetime.now(UTC))}"
                say(escape(f"{at}  {event.kind:<9}  {event.root}  {event.holder}{by}{end}{why}"))


def break_(
    url: UrlArgument,
    /,
    *,
    reason: Annotated[str, Parameter(help="Why; its holder is told.")],
    after: Annotated[str | None, Parameter(help="A grace in which the holder can finish: 30s, 5m.")] = None,
    user: UserFlag = None,
    json: JsonFlag = False,
) -> int:
    """End the locks on URL by force, whoever holds them. It needs a Holdfast server, and an administrator.

    Your own locks you may break too, from wherever you are. It is recorded, and the
    former holder is told who did it, when and why. Exit codes: 0 broken, 1 nothing
    was locked there, 2 a mistake.

    For example:

        holdfast break --reason "On leave" http://127.0.0.1:4230/dav/plan.odt
        holdfast break --after 5m --reason Upgrade https://dav.example.org/dav/
    """
    _need_url(url, "break")
    if not reason.strip():
        raise CommandError("--reason is empty: say why, since the holder is told.")
    grace = 0.0 if after is None else parse_seconds(after, "--after")
    with connected(url, user) as remote:
        if not remote.look().is_holdfast:
            msg = f"{remote.base}/ is no Holdfast server: only the holder can end a lock there, with its token."
            raise CommandError(msg)
        found = remote.find(resource=remote.path)
        broken = [_broken(remote, lock, reason.strip(), grace) for lock in found]
        if json:
            say(as_json([of_found(lock, remote.path) for lock in broken]))
        else:
            _tell_broken(remote, broken)
        return 0 if found else NOT_LOCKED


def _broken(remote: Remote, lock: FoundLock, reason: str, grace: float) -> FoundLock:
    """Break it; the lock as it was, or with a grace as it is from now on. A break that was set before may come sooner."""
    answer = remote.run(break_lock(remote.endpoint, lock.id, reason, grace))
    return answer if isinstance(answer, FoundLock) else msgspec.structs.replace(lock, breaking=None)


def _tell_broken(remote: Remote, broken: Sequence[FoundLock]) -> None:
    now = datetime.now(UTC)
    for lock in broken:
        verb = "Broken" if lock.breaking is None else f"Ends by {local_text(lock.breaking.at, now)}"
        say(escape(f"{verb}: {sentence(of_found(lock, remote.path), now)}."))
    if not broken:
        say(escape(f"Nothing is locked at {remote.url} itself."))
        for lock in remote.find(covering=remote.path):
            warn(f"{sentence(of_found(lock, remote.path), now)}.", label="Locked from above:")


def _acquired(remote: Remote, wish: LockWish, shown: Progress, *, is_holdfast: bool) -> Grant:
    scope, depth = "shared" if wish.is_shared else "exclusive", "infinity" if wish.is_deep else "0"
    if is_holdfast:
        ask = Ask(
            resource=remote.path,
            ttl=wish.ttl,
            wait=wish.wait,
            scope=scope,
            depth=depth,
            reason=wish.reason,
            first_break=BreakFirst(wish.reason) if wish.force else None,
        )

        def tell(details: LockedDetails) -> None:
            shown.tell([of_known(lock, remote.path) for lock in details.locks], details.place)

        acquisition: Acquisition | DavAcquisition = Acquisition(
            remote.endpoint, ask, tell=tell if shown.is_watched else None
        )
    else:
        if wish.force:
            msg = f"{remote.base}/ is no Holdfast server: locks in the way cannot be broken there."
            raise CommandError(msg)
        owner = remote.user or os.environ.get("USER", "")
        told = f"{owner}: {wish.reason}" if owner and wish.reason else owner or wish.reason
        acquisition = DavAcquisition(
            DavAsk(url=remote.url, ttl=wish.ttl or _USUAL_TTL_S, wait=wish.wait, scope=scope, depth=depth, owner=told)
        )
    try:
        return remote.run(acquisition.run())
    except KeyboardInterrupt:
        remote.run(acquisition.abandon())
        raise


def _refuse(remote: Remote, error: LockedError, *, json: bool) -> int:
    found = [of_known(lock, remote.path) for lock in error.locks]
    if json:
        say(as_json(_Report(url=remote.url, token=None, in_the_way=found)))
        return IN_THE_WAY
    now = datetime.now(UTC)
    for one in found:
        warn(f"{sentence(one, now)}.", label="In the way:")
    if not found:
        warn(f"{error}.", label="In the way:")
    warn("Nothing was locked. With --wait it stands in line.", label="holdfast:", style="bold red")
    return IN_THE_WAY


def _own(memory: Memory, remote: Remote, token: str | None) -> TakenLock | None:
    """The lock that is meant; None where nothing is known of one."""
    taken = memory.lock(remote.url)
    if token is None or (taken is not None and taken.token == token):
        return taken
    token = token.strip().removeprefix("<").removesuffix(">")
    if not token.isascii() or not token.isprintable() or not token or ">" in token or " " in token:
        raise CommandError("--lock-token is no lock token, which is one word such as urn:uuid:5f2c7b0e-...")
    look = remote.look()
    if not look.is_holdfast:
        return TakenLock(token=token)
    for lock in remote.find(resource=remote.path):
        [outcome] = remote.run(refresh_many(remote.endpoint, [Mine(lock.id, token, None)], _WITHIN_S))
        if isinstance(outcome, Refreshed):
            return TakenLock(token=token, id=lock.id, depth=lock.depth.value)
    return None


def _release(remote: Remote, taken: TakenLock) -> Loss | None:
    if taken.id:
        return remote.run(release(remote.endpoint, taken.id, taken.token))
    return remote.run(release_dav(DavAsk(url=remote.url), taken.token))


def _refreshed(remote: Remote, taken: TakenLock) -> Outcome:
    if taken.id:
        [outcome] = remote.run(refresh_many(remote.endpoint, [Mine(taken.id, taken.token, taken.ttl)], _WITHIN_S))
        return outcome
    return remote.run(refresh_dav(DavAsk(url=remote.url, ttl=taken.ttl or _USUAL_TTL_S), taken.token, _WITHIN_S))


def _not_mine(remote: Remote, *, json: bool) -> int:
    """There is no lock of one's own that is known here: say whose there are."""
    found = remote.look().contenders
    if json:
        say(as_json({"url": remote.url, "released": False, "in_the_way": found}))
        return IN_THE_WAY if found else NOT_LOCKED
    now = datetime.now(UTC)
    for one in found:
        warn(f"{sentence(one, now)}.", label="Locked:")
    hint = " Give its token with --lock-token, or break it: `holdfast break --reason TEXT`." if found else ""
    warn(f"No lock on {remote.url} was taken by this account and command.{hint}", label="holdfast:", style="bold red")
    return IN_THE_WAY if found else NOT_LOCKED


def _why(loss: Loss) -> str:
    return loss.detail or f"{loss.reason.value}."


def _end_of(ttl: float | None, asked_at: float) -> datetime | None:
    """The instant on the wall clock up to which it is surely held."""
    return (
        None
        if ttl is None
        else (datetime.now(UTC) + timedelta(seconds=asked_at + ttl - boottime())).replace(microsecond=0)
    )


def _shown(instant: datetime) -> str:
    return local_text(instant, datetime.now(UTC))


def _need_url(url: str, command: str) -> None:
    if not is_url(url):
        msg = f"`holdfast {command}` takes a URL, such as http://127.0.0.1:4230/dav/plan.odt, not {url}."
        raise CommandError(msg)
