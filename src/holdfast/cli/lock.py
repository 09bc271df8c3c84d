"""`holdfast lock` and `holdfast unlock`: close a tree for maintenance, and open it again.

Owns: the flags, what is said about locks in the way, and the exit codes. Must not know: how a lock is granted or
broken. The lock is an ordinary one in the store, so every face of a running server refuses changes at once.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter
from rich.markup import escape

from holdfast.access.passwords import UnusableNameError, check_name
from holdfast.cli.instants import local_text, parse_span, parse_until
from holdfast.cli.locks import (
    FolderArgument,
    JsonFlag,
    ShownLock,
    Standing,
    StateFlag,
    as_json,
    describe_lock,
    opened,
    parse_path,
)
from holdfast.cli.terminal import CommandError, say, warn
from holdfast.core.decisions import Refused
from holdfast.core.model import Depth, Event, Face, Lock, LockScope
from holdfast.core.paths import ResourcePath
from holdfast.registry import BreakOrder, Filter, Granted
from holdfast.service import AcquireRequest, Claim

__all__ = ["IN_THE_WAY", "NOT_LOCKED", "lock", "unlock"]

NOT_LOCKED: Final = 1
"""The exit code of `unlock` where nothing was locked at the path."""

IN_THE_WAY: Final = 4
"""The exit code where others' locks are in the way, and nothing was changed."""

_MOST_SHOWN: Final = 20

PathArgument = Annotated[
    str, Parameter(help="What to close, as clients name it: / is everything, /dav/plans a collection in the folder.")
]


class _LockReport(msgspec.Struct, kw_only=True):
    """What `lock --json` writes. `lock` and `token` are None where it was not granted."""

    lock: ShownLock | None
    token: str | None
    in_the_way: list[ShownLock]
    broken: list[ShownLock]


class _UnlockReport(msgspec.Struct, kw_only=True):
    """What `unlock --json` writes."""

    ended: list[ShownLock]
    in_the_way: list[ShownLock]


def lock(
    path: PathArgument,
    folder: FolderArgument = None,
    /,
    *,
    reason: Annotated[str, Parameter(help="Why; everyone who is refused reads it.")],
    until: Annotated[
        str | None, Parameter(help="When it ends by itself: 22:00 (the next one), or 2026-11-22T22:00; local time.")
    ] = None,
    span: Annotated[
        str | None, Parameter(name="--for", help="After how long it ends by itself: 90m, 2h, 1d (m, h, d, w).")
    ] = None,
    force: Annotated[
        bool,
        Parameter(name="--break", help="End the locks in the way, for this reason.", negative="", show_default=False),
    ] = False,
    state: StateFlag = None,
    json: JsonFlag = False,
) -> int:
    """Close PATH and everything below for maintenance: whoever would change it is refused with 423 and the reason.

    It takes effect at once, whether or not the server runs, and stays until
    `holdfast unlock` or the end that was set. Its holder is you, by your login
    name. Exit codes: 0 closed, 2 a mistake, 4 other locks are in the way.

    For example:

        holdfast lock / --reason "Upgrade" --until 22:00
        holdfast lock /dav/plans /srv/team --reason "Audit" --for 2h --break
        holdfast unlock /
    """
    resource = parse_path(path)
    if not reason.strip():
        raise CommandError("--reason is empty: say why, since everyone who is refused reads it.")
    if until is not None and span is not None:
        raise CommandError("--until and --for both set the end: leave one of them out.")
    with opened(folder, state) as standing:
        request = _request(resource, reason.strip(), _ttl(until, span, standing.now))
        answer, contending = _acquire(standing, request, force=force)
        standing.store.sync()
        if not isinstance(answer, Granted):
            return _refuse(resource, contending, standing, json=json)
        if json:
            broken = [standing.shown(one) for one in contending]
            report = _LockReport(
                lock=standing.shown(answer.lock), token=answer.lock.token, in_the_way=[], broken=broken
            )
            say(as_json(report))
            return 0
        for one in contending:
            say(escape(f"Broken: {describe_lock(one, standing, 'had locked')}"))
        end = answer.lock.expires_at
        when = "`holdfast unlock`" if end is None else local_text(end + standing.offset, standing.now)
        what = "Everything" if resource.is_root else f"{resource.text}, with everything in it,"
        say(escape(f"{what} is closed until {when}; reason: {answer.lock.reason}."))
        return 0


def unlock(
    path: PathArgument,
    folder: FolderArgument = None,
    /,
    *,
    force: Annotated[
        bool,
        Parameter(name="--break", help="End every lock at PATH, whoever holds it.", negative="", show_default=False),
    ] = False,
    reason: Annotated[str, Parameter(help="Why a lock is broken; its holder is told. Needed with --break.")] = "",
    state: StateFlag = None,
    json: JsonFlag = False,
) -> int:
    """End the maintenance of PATH: the locks that `holdfast lock` put there, whoever ran it.

    Locks of clients stay, unless --break ends them too. Locks above and below PATH
    are not touched. Exit codes: 0 open again, 1 nothing was locked there, 2 a
    mistake, 4 only locks of clients are there.

    For example:

        holdfast unlock /
        holdfast unlock /dav/plan.odt /srv/team --break --reason "Alice is on leave"
    """
    resource = parse_path(path)
    reason = reason.strip()
    if force and not reason:
        raise CommandError("--break needs --reason: the holder is told why.")
    with opened(folder, state) as standing:
        held = standing.find(Filter(resource=resource))
        mine = [one for one in held if force or one.face is Face.COMMAND]
        ended = [one for one in mine if _end(standing, one, reason or "the maintenance is over")]
        standing.store.sync()
        left = [one for one in held if one not in mine]
        if json:
            report = _UnlockReport(
                ended=[standing.shown(one) for one in ended], in_the_way=[standing.shown(one) for one in left]
            )
            say(as_json(report))
        else:
            for one in ended:
                say(escape(f"Ended: {describe_lock(one, standing, 'had locked')}"))
            _tell_rest(resource, standing, left, is_done=bool(ended))
        return 0 if ended else IN_THE_WAY if left else NOT_LOCKED


def _request(resource: ResourcePath, reason: str, ttl: timedelta | None) -> AcquireRequest:
    return AcquireRequest(
        claim=Claim(resource, _login_name()),
        scope=LockScope.EXCLUSIVE,
        depth=Depth.INFINITY,
        asked=ttl,
        reason=reason,
        client=f"holdfast lock (process {os.getpid()} on {socket.gethostname()})",
        face=Face.COMMAND,
    )


def _acquire(standing: Standing, request: AcquireRequest, *, force: bool) -> tuple[object, list[Lock]]:
    """The registry's answer, and the locks that are in the way, or that were broken where it is Granted."""
    registry = standing.registry
    endless = request.asked is None
    answer = registry.acquire(request, endless=endless, may_break=lambda _lock: False)
    contending = _contending(answer)
    if not force or isinstance(answer, Granted):
        return answer, contending
    order = BreakOrder("", request.claim.principal, request.reason)
    found = {one.id: one for one in contending}

    def may_break(one: Lock) -> bool:
        found[one.id] = one
        return True

    answer = registry.acquire(request, endless=endless, first=order, may_break=may_break)
    if isinstance(answer, Granted):
        # What ended by itself in between was not broken.
        return answer, [one for one in found.values() if _was_broken(standing, one, answer.lock)]
    return answer, _contending(answer)


def _contending(answer: object) -> list[Lock]:
    if not isinstance(answer, Refused):
        return []
    return list({item.lock.id: item.lock for item in answer.contentions}.values())


def _was_broken(standing: Standing, one: Lock, granted: Lock) -> bool:
    with standing.store.read() as tx:
        end = tx.end_of_lock(one.id)
    return end is not None and end.at == granted.created_at


def _end(standing: Standing, one: Lock, reason: str) -> bool:
    """Release one's own maintenance, break the rest; False where it had ended already."""
    name = _login_name()
    if one.face is Face.COMMAND and one.principal == name:
        return isinstance(standing.registry.release(one.id, one.token, name), Lock)
    answer = standing.registry.break_lock(BreakOrder(one.id, name, reason), lambda _lock: True)
    return isinstance(answer, Event) and answer.actor == name


def _refuse(resource: ResourcePath, contending: Sequence[Lock], standing: Standing, *, json: bool) -> int:
    if json:
        shown = [standing.shown(one) for one in contending]
        say(as_json(_LockReport(lock=None, token=None, in_the_way=shown, broken=[])))
        return IN_THE_WAY
    _tell_all(contending, standing)
    if not contending:
        warn(f"Others wait in line for {resource.text}, or for what is in it.", label="In the way:")
    own = any(one.face is Face.COMMAND for one in contending)
    hint = " `holdfast unlock` ends maintenance." if own else ""
    warn(
        f"Nothing was locked. With --break what is in the way is ended, with your reason.{hint}",
        label="holdfast:",
        style="bold red",
    )
    return IN_THE_WAY


def _tell_rest(resource: ResourcePath, standing: Standing, left: Sequence[Lock], *, is_done: bool) -> None:
    """What still closes the path, or that nothing does."""
    if left:
        _tell_all(left, standing)
        warn(
            f"{'Clients hold these locks still' if is_done else 'Clients hold these locks'}: "
            "--break --reason TEXT ends them too.",
            label="holdfast:",
            style="bold red",
        )
    elif not is_done:
        say(escape(f"Nothing is locked at {resource.text} itself."))
    for one in standing.find(Filter(covering=resource)):
        if one.root != resource:
            warn(describe_lock(one, standing), label="Still closed from above:")


def _tell_all(found: Sequence[Lock], standing: Standing) -> None:
    for one in found[:_MOST_SHOWN]:
        warn(describe_lock(one, standing), label="In the way:")
    if len(found) > _MOST_SHOWN:
        warn(f"{len(found) - _MOST_SHOWN} more locks.", label="In the way:")


def _ttl(until: str | None, span: str | None, now: datetime) -> timedelta | None:
    """How long it is to last; None: without end."""
    if span is not None:
        return parse_span(span, "--for")
    return None if until is None else parse_until(until, "--until", now) - now


def _login_name() -> str:
    """Who runs the command; the account's number where it has no name, as in a container."""
    try:
        return check_name(getpass.getuser())
    except (OSError, KeyError, ImportError, UnusableNameError):
        return f"account {os.getuid()}"
