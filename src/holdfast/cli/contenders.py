"""Who is in the way, from whichever source: the kernel, a lock file, a server's answer, a state folder.

Owns: Contender, which `--json` writes, and how contenders are shown to people: as a table, or as a sentence. Must not know: how they were
found. What others wrote (owners, reasons, command lines) is cleaned before it reaches a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec

from holdfast.cli.instants import local_text
from holdfast.cli.standing import aligned
from holdfast.cli.terminal import escape, say
from holdfast.wire.sentences import clean, holder_text, program_name

if TYPE_CHECKING:
    from holdfast.cli.standing import ShownLock
    from holdfast.client.details import KnownLock
    from holdfast.client.lockviews import FoundLock
    from holdfast.local import LocalHolder

__all__ = ["Contender", "of_found", "of_known", "of_local", "of_shown", "sentence", "show", "show_columns"]

_LONGEST_COMMAND: Final = 300
_WIDEST: Final = 400


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """One who holds something, or waits for it. What is not known is empty or None; `started_at` is when the process began.

    `expires_in` is in seconds, `until` this machine's wall clock as far as it is told.
    """

    resource: str
    holder: str
    owner: str = ""
    does: str
    scope: str
    is_in_the_way: bool
    is_waiting: bool = False
    since: datetime | None = None
    until: datetime | None = None
    expires_in: int | None = None
    endless: bool = False
    reason: str = ""
    program: str = ""
    host: str = ""
    pid: int | None = None
    command: str = ""
    started_at: datetime | None = None
    sharing_pids: tuple[int, ...] = ()
    kind: str
    id: str = ""
    queue_length: int = 0
    note: str = ""


def of_local(holder: LocalHolder, path: str) -> Contender:
    """From a look at a local file."""
    process = holder.process
    return Contender(
        resource=path,
        holder=holder.name,
        does=holder.doing,
        scope=holder.strength.value,
        is_in_the_way=holder.is_in_the_way,
        is_waiting=holder.is_waiting,
        since=holder.since,
        host=holder.host,
        pid=None if process is None else process.pid,
        command="" if process is None else process.command,
        started_at=None if process is None else process.started_at,
        sharing_pids=tuple(sharer.pid for sharer in holder.sharers),
        kind=holder.kind.value,
        note=holder.note,
    )


def of_found(lock: FoundLock, asked: str) -> Contender:
    """From a Holdfast server's lock API; `asked` is the URL path that was asked about."""
    return _of_whole(lock, asked, lock.queue_length)


def of_known(lock: KnownLock, asked: str) -> Contender:
    """From any WebDAV server's lock discovery."""
    until = lock.until
    if until is None and lock.remaining is not None:
        until = (datetime.now(UTC) + timedelta(seconds=lock.remaining + 0.5)).replace(microsecond=0)
    return Contender(
        resource=lock.resource or asked,
        holder=lock.holder,
        owner=lock.owner,
        does=_does(lock.resource or asked, lock.depth, asked),
        scope=lock.scope or "exclusive",
        is_in_the_way=True,
        since=lock.since,
        until=until,
        expires_in=None if lock.remaining is None else round(lock.remaining),
        endless=lock.endless,
        reason=lock.reason,
        program=lock.program,
        kind="lock",
        id=lock.id,
    )


def of_shown(lock: ShownLock, asked: str) -> Contender:
    """From a state folder on this machine."""
    return _of_whole(lock, asked)


def _of_whole(lock: FoundLock | ShownLock, asked: str, queue_length: int = 0) -> Contender:
    """Of a lock of which all is known."""
    return Contender(
        resource=lock.root,
        holder=lock.holder.name,
        owner=lock.holder.owner,
        does=_does(lock.root, lock.depth.value, asked),
        scope=lock.scope.value,
        is_in_the_way=True,
        since=lock.since,
        until=lock.expires_at,
        expires_in=lock.expires_in,
        endless=lock.expires_in is None,
        reason=lock.reason,
        program=lock.holder.client,
        kind="lock",
        id=lock.id,
        queue_length=queue_length,
    )


def sentence(one: Contender, now: datetime) -> str:
    """Who does what, since and until when, and why."""
    process = f", process {one.pid}{f' ({_command(one)})' if one.command else ''}" if one.pid else ""
    since = "" if one.since is None else f" since {local_text(one.since, now)}"
    end = _end(one, now)
    until = f", {end}" if end == "no end" else f" until {end}" if end else ""
    reason = f"; reason: {clean(one.reason)}" if one.reason else ""
    queue = f"; {one.queue_length} in line" if one.queue_length else ""
    note = f" ({one.note})" if one.note else ""
    return f"{_holder(one)}{process} {clean(one.does, _WIDEST)}{since}{until}{reason}{queue}{note}"


def show(found: Sequence[Contender], now: datetime) -> None:
    """A table on standard output; a plain one, with nothing broken or cut, where that is no terminal."""
    columns = [
        ("HOLDER", [_holder(one) for one in found]),
        ("PROCESS", ["" if one.pid is None else str(one.pid) for one in found]),
        ("DOES", [clean(one.does, _WIDEST) for one in found]),
        ("SINCE", ["" if one.since is None else local_text(one.since, now) for one in found]),
        ("UNTIL", [_end(one, now) for one in found]),
        ("SCOPE", [one.scope if one.kind == "lock" else "" for one in found]),
        ("STARTED", ["" if one.started_at is None else local_text(one.started_at, now) for one in found]),
        ("PROGRAM", [_command(one) or program_name(one.program) for one in found]),
        ("IN LINE", [str(one.queue_length or "") for one in found]),
        ("REASON", [clean(one.reason) for one in found]),
        ("NOTE", [clean(one.note, _WIDEST) for one in found]),
    ]
    show_columns(columns)


def show_columns(columns: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Columns with their heads, without those that are empty; on a terminal a table, elsewhere with nothing broken or cut."""
    kept = [(name, cells) for name, cells in columns if any(cells)]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for name, _ in kept:
            table.add_column(name, overflow="fold")
        for row in zip(*(cells for _, cells in kept), strict=True):
            table.add_row(*(Text(cell) for cell in row))
        Console(highlight=False).print(table)
        return
    rows = [tuple(name for name, _ in kept), *zip(*(cells for _, cells in kept), strict=True)]
    for line in aligned(rows):
        say(escape(line))


def _holder(one: Contender) -> str:
    if one.kind == "lock":
        return holder_text(one.holder, one.owner)
    name = clean(one.holder) or "Someone"
    return f"{name} on {clean(one.host, 60)}" if one.host else name


def _command(one: Contender) -> str:
    return clean(one.command, _LONGEST_COMMAND)


def _end(one: Contender, now: datetime) -> str:
    if one.endless:
        return "no end"
    return "" if one.until is None else local_text(one.until, now)


def _does(root: str, depth: str, asked: str) -> str:
    below = " with everything in it" if depth == "infinity" else ""
    is_here = root.rstrip("/") == asked.rstrip("/")
    name = "it" if is_here else "everything" if root == "/" else clean(unquote(root, errors="replace"), 200)
    return f"has locked {name}{'' if name == 'everything' else below}"
