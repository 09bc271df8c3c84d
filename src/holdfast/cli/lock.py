"""`holdfast lock` and `holdfast unlock`: close a tree for maintenance, and open it again; for a URL, lock what is there.

Owns: the flags, which of them belong to which form, and of the form for a served folder what is said about locks in the way. Must not know: how
a lock is granted or broken; servers (`remote_locks`). The lock is an ordinary one in the store, so every face of a running server refuses
changes at once.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from holdfast.access.passwords import UnusableNameError, check_name
from holdfast.cli.credentials import UserFlag, is_url
from holdfast.cli.instants import local_text, parse_span, parse_until
from holdfast.cli.spans import parse_seconds
from holdfast.cli.standing import (
    IN_THE_WAY,
    NOT_LOCKED,
    FolderArgument,
    JsonFlag,
    ShownLock,
    Standing,
    StateFlag,
    TokenFlag,
    as_json,
    describe_lock,
    opened,
    parse_path,
)
from holdfast.cli.terminal import CommandError, escape, say, warn
from holdfast.config import STATE_NAME
from holdfast.core.decisions import Refused
from holdfast.core.model import Depth, Event, Face, Lock, LockScope
from holdfast.core.paths import ResourcePath
from holdfast.registry import BreakOrder, Filter, Granted
from holdfast.service import AcquireRequest, Claim

__all__ = ["IN_THE_WAY", "NOT_LOCKED", "lock", "unlock"]

_MOST_SHOWN: Final = 20

_MOUNT: Final = "dav"

_BEFORE_THE_END: Final = timedelta(milliseconds=500)
"""The store reads its clock a moment later than the command, and ends are shown rounded up: 22:00 would be 22:00:01."""

PathArgument = Annotated[
    str,
    Parameter(
        help="What to close, as clients name it: / is everything, /dav/plans a collection in the folder. Or a URL: what to lock there."
    ),
]

OpenedArgument = Annotated[
    str,
    Parameter(
        help="What to open again, as clients name it: / is everything, /dav/plans a collection in the folder. Or a URL: what you locked there."
    ),
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
    reason: Annotated[
        str | None, Parameter(help="Why; everyone who is refused reads it. Needed but for a URL.")
    ] = None,
    until: Annotated[
        str | None, Parameter(help="When it ends by itself: 22:00 (the next one), or 2026-11-22T22:00; local time.")
    ] = None,
    span: Annotated[
        str | None,
        Parameter(name="--for", help="After how long it ends by itself: 90m, 2h, 1d (m, h, d, w; for a URL s too)."),
    ] = None,
    force: Annotated[
        bool,
        Parameter(name="--break", help="End the locks in the way, for this reason.", negative="", show_default=False),
    ] = False,
    state: StateFlag = None,
    wait: Annotated[str | None, Parameter(help="URL: how long to wait in line for it: 30s, 10m.")] = None,
    shared: Annotated[
        bool, Parameter(help="URL: others may have shared locks too.", negative="", show_default=False)
    ] = False,
    deep: Annotated[
        bool, Parameter(help="URL: with everything in the collection.", negative="", show_default=False)
    ] = False,
    user: UserFlag = None,
    json: JsonFlag = False,
) -> int:
    """Close PATH and everything below for maintenance: whoever would change it is refused with 423 and the reason.

    It takes effect at once, whether or not the server runs, and stays until
    `holdfast unlock` or the end that was set. Its holder is you, by your login
    name. Exit codes: 0 closed, 2 a mistake, 4 other locks are in the way.

    With a URL in place of PATH it locks what is there, on a Holdfast server or any
    other WebDAV server, and writes the lock's token, which is remembered too.

    For example:

        holdfast lock / --reason "Upgrade" --until 22:00
        holdfast lock /dav/plans /srv/team --reason "Audit" --for 2h --break
        holdfast unlock /
        holdfast lock --wait 10m --for 1h https://dav.example.org/team/plan.odt
    """
    if is_url(path):
        from holdfast.cli.remote_locks import LockWish, lock_url

        _refuse_flags({"DIR": folder is not None, "--state": state is not None}, "a path of a served folder")
        wish = LockWish(
            ttl=_seconds(until, span),
            wait=0.0 if wait is None else parse_seconds(wait, "--wait"),
            is_shared=shared,
            is_deep=deep,
            reason=(reason or "").strip(),
            force=force,
        )
        if force and not wish.reason:
            raise CommandError("--break needs --reason: the holder is told why.")
        return lock_url(path, wish, user, json=json)
    flags = {"--wait": wait is not None, "--shared": shared, "--deep": deep, "--user": user is not None}
    _refuse_flags(flags, "a URL")
    if reason is None:
        raise CommandError("--reason is missing: say why, since everyone who is refused reads it.")
    resource = parse_path(path)
    if not reason.strip():
        raise CommandError("--reason is empty: say why, since everyone who is refused reads it.")
    if until is not None and span is not None:
        raise CommandError("--until and --for both set the end: leave one of them out.")
    with opened(folder, state) as standing:
        if folder is not None or state is None:
            _refuse_name_of_file(resource, folder or Path())
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
        end = standing.shown(answer.lock).expires_at
        when = "`holdfast unlock`" if end is None else local_text(end, standing.now)
        what = "Everything" if resource.is_root else f"{resource.text}, with everything in it,"
        say(escape(f"{what} is closed until {when}; reason: {answer.lock.reason}."))
        return 0


def unlock(
    path: OpenedArgument,
    folder: FolderArgument = None,
    /,
    *,
    force: Annotated[
        bool,
        Parameter(name="--break", help="End every lock at PATH, whoever holds it.", negative="", show_default=False),
    ] = False,
    reason: Annotated[
        str | None, Parameter(help="Why a lock is broken; its holder is told. Needed with --break.")
    ] = None,
    state: StateFlag = None,
    lock_token: TokenFlag = None,
    user: UserFlag = None,
    json: JsonFlag = False,
) -> int:
    """End the maintenance of PATH: the locks that `holdfast lock` put there, whoever ran it.

    Locks of clients stay, unless --break ends them too. Locks above and below PATH
    are not touched. Exit codes: 0 open again, 1 nothing was locked there, 2 a
    mistake, 4 only locks of clients are there.

    With a URL in place of PATH it ends your own lock there, which `holdfast lock`
    took. Exit codes as above, 1 too where that lock had ended by itself before.

    For example:

        holdfast unlock /
        holdfast unlock /dav/plan.odt /srv/team --break --reason "Alice is on leave"
        holdfast unlock https://dav.example.org/team/plan.odt
    """
    reason = (reason or "").strip()
    if is_url(path):
        from holdfast.cli.remote_locks import break_, unlock_url

        _refuse_flags({"DIR": folder is not None, "--state": state is not None}, "a path of a served folder")
        if force:
            return break_(path, reason=reason, user=user, json=json)
        return unlock_url(path, lock_token, user, json=json)
    _refuse_flags({"--user": user is not None}, "a URL")
    resource = parse_path(path)
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


def _refuse_flags(given: Mapping[str, bool], form: str) -> None:
    """What was typed beside a target of the other form would have no effect."""
    for name, is_given in given.items():
        if is_given:
            msg = f"{name} goes with {form} alone: leave it out."
            raise CommandError(msg)


def _refuse_name_of_file(resource: ResourcePath, folder: Path) -> None:
    """A path of this machine, or one that begins in the served folder, would close nothing that anyone can change.

    Any other path outside of /dav is the name of a resource of somebody's own, such as /orders/42.
    """
    if resource.is_root or resource.segments[0] == _MOUNT:
        return
    served = folder.expanduser().resolve()
    if served.name == STATE_NAME:
        served = served.parent
    named = Path(os.path.realpath(resource.text))
    inside = Path(*resource.segments)
    if named.is_relative_to(served) and served != served.parent:
        inside = named.relative_to(served)
    elif not os.path.lexists(served / inside):
        return
    meant = "/".join(["", _MOUNT, *inside.parts])
    msg = f"{resource.text} is no path as clients name it, and closes no document: did you mean {meant}?"
    raise CommandError(msg)


def _seconds(until: str | None, span: str | None) -> float | None:
    """For how long a URL is to be locked; None for the usual time."""
    if until is not None and span is not None:
        raise CommandError("--until and --for both set the end: leave one of them out.")
    if span is not None:
        return max(1.0, parse_seconds(span, "--for"))
    now = datetime.now(UTC)
    return None if until is None else (parse_until(until, "--until", now) - now).total_seconds()


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
    return None if until is None else max(parse_until(until, "--until", now) - now - _BEFORE_THE_END, _BEFORE_THE_END)


def _login_name() -> str:
    """Who runs the command; the account's number where it has no name, as in a container."""
    try:
        return check_name(getpass.getuser())
    except (OSError, KeyError, ImportError, UnusableNameError):
        return f"account {os.getuid()}"
