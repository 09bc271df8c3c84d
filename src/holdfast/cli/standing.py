"""The locks in a state folder, as a command of this machine finds, changes and shows them, whether or not a server runs.

Owns: finding the state folder, opening its store as one more process beside the server's, and how a lock is shown on
a terminal and in JSON. Must not know: HTTP, roles: whoever may write the state folder may see and end every lock.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import msgspec
from cyclopts import Parameter

from holdfast.cli.instants import local_text
from holdfast.cli.terminal import CommandError, escape
from holdfast.config import DATABASE_NAME, STATE_NAME, Durability
from holdfast.core.model import Depth, Face, Lock, LockScope
from holdfast.core.paths import InvalidPathError, ResourcePath
from holdfast.wire.problem_json import Holder
from holdfast.wire.sentences import clean, holder_text, program_name

if TYPE_CHECKING:
    from holdfast.registry import Filter
    from holdfast.store.protocol import Store

__all__ = [
    "IN_THE_WAY",
    "NOT_LOCKED",
    "FolderArgument",
    "JsonFlag",
    "ShownLock",
    "Standing",
    "StateFlag",
    "TokenFlag",
    "aligned",
    "as_json",
    "describe_lock",
    "opened",
    "parse_path",
    "whole_second",
]

NOT_LOCKED: Final = 1
"""The exit code where there was no such lock, or no more."""

IN_THE_WAY: Final = 4
"""The exit code where others' locks are in the way, and nothing was changed."""

FolderArgument = Annotated[
    Path | None,
    Parameter(name="DIR", help="The served folder; default: the current folder."),
]
StateFlag = Annotated[Path | None, Parameter(help="The state folder, where it is not .holdfast in DIR.")]
JsonFlag = Annotated[bool, Parameter(help="Write JSON.", negative="", show_default=False)]
TokenFlag: TypeAlias = Annotated[
    str | None,
    Parameter(
        env_var="HOLDFAST_LOCK_TOKEN",
        show_env_var=False,
        help="The lock's token, for a URL that was not locked by this command and account; or put it into HOLDFAST_LOCK_TOKEN.",
    ),
]

_PAGE: Final = 1000
_LONGEST_TTL: Final = timedelta(days=36_600)
_NO_LIMIT: Final = 1 << 62
_MICROSECOND: Final = timedelta(microseconds=1)


class ShownLock(msgspec.Struct, frozen=True, kw_only=True):
    """A lock without its token. `root` is a URL path; `expires_in` is in seconds; None is without end."""

    id: str
    root: str
    scope: LockScope
    depth: Depth
    holder: Holder
    reason: str
    face: Face
    since: datetime
    expires_at: datetime | None
    expires_in: int | None
    fencing_token: int


class Standing:
    """An open store, and its locks as an administrator of the machine may ask for them and change them."""

    def __init__(self, store: Store, offset: timedelta) -> None:
        """`offset` leads from the store's clock to the wall clock."""
        from holdfast.core.timeouts import TimeoutPolicy
        from holdfast.registry import LockRegistry
        from holdfast.service import Limits, LockService

        self.store = store
        self.offset = offset
        # Maintenance lasts as long as it was set to last, however long that is, and is refused by no cap.
        service = LockService(
            store,
            etag_of=lambda _resource: None,
            timeouts=TimeoutPolicy(shortest=_MICROSECOND, longest=_LONGEST_TTL),
            limits=Limits(locks_per_principal=_NO_LIMIT, locks_in_all=_NO_LIMIT),
        )
        self.registry = LockRegistry(service, store)

    @property
    def now(self) -> datetime:
        """The instant on the wall clock."""
        return self.store.now() + self.offset

    def find(self, wanted: Filter) -> list[Lock]:
        """All held locks that fit, in the order of their roots."""
        found: list[Lock] = []
        after = None
        while True:
            page = self.registry.find(wanted, lambda _lock: True, after, _PAGE)
            found.extend(item.lock for item in page.found)
            after = page.next_key
            if after is None:
                return found

    def shown(self, lock: Lock) -> ShownLock:
        """For JSON."""
        return ShownLock(
            id=lock.id,
            root=lock.root.href(),
            scope=lock.scope,
            depth=lock.depth,
            holder=Holder(lock.principal, lock.owner, lock.client),
            reason=lock.reason,
            face=lock.face,
            since=(lock.created_at + self.offset).replace(microsecond=0),
            expires_at=None if lock.expires_at is None else whole_second(lock.expires_at + self.offset),
            expires_in=lock.seconds_left(self.store.now()),
            fencing_token=lock.fencing_token,
        )


@contextmanager
def opened(folder: Path | None, state: Path | None) -> Generator[Standing]:
    """Open the store of a served folder (none: the current one) or of a state folder.

    Raises CommandError or StoreError in plain words where there is none, or this account may not use it.
    """
    from holdfast.cli.upkeep import _places
    from holdfast.store.sqlite import SqliteStore

    if folder is None and state is None:
        folder = Path()
        if not (folder / STATE_NAME).is_dir() and folder.absolute().name != STATE_NAME:
            msg = "The current folder has no .holdfast: name the served folder, or its state folder with --state."
            raise CommandError(msg)
    _, place = _places(folder, state)
    database = place / DATABASE_NAME
    try:
        if not database.exists():
            msg = f"There is no database in {place}: no server has used it yet."
            raise CommandError(msg)
    except PermissionError as error:
        msg = f"{place} may be read by the server's account alone: run this as that account, or as root."
        raise CommandError(msg) from error
    with SqliteStore(database, durability=Durability.POWER) as store:
        yield Standing(store, store.clock.wall_offset())


def parse_path(text: str) -> ResourcePath:
    """A resource as people write it: its path as clients name it, not percent-encoded. Raises CommandError."""
    try:
        return ResourcePath.from_text(text)
    except InvalidPathError as error:
        msg = f"{text!r} names no resource: {error}. / is everything, and documents are below /dav/."
        raise CommandError(msg) from error


def describe_lock(lock: Lock, standing: Standing, verb: str = "has locked") -> str:
    """A sentence: who holds what, since and until when, and why."""
    now, offset = standing.now, standing.offset
    program = program_name(lock.client)
    tool = f" ({program})" if program else ""
    below = " and everything in it" if lock.depth is Depth.INFINITY else ""
    if lock.expires_at is None:
        until = "without a set end"
    else:
        until = f"until {local_text(whole_second(lock.expires_at + offset), now)}"
    reason = f"; reason: {clean(lock.reason)}" if lock.reason else ""
    holder = holder_text(lock.principal, lock.owner)
    since = local_text(lock.created_at + offset, now)
    return f"{holder}{tool} {verb} {lock.root.text}{below} since {since}, {until}{reason}."


def as_json(value: object) -> str:
    """For `say`: indented JSON."""
    return escape(msgspec.json.format(msgspec.json.encode(value)).decode())


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of cells as lines of columns."""
    widths = [max(_width(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _width(text: str) -> int:
    """How many places of a terminal it takes."""
    if text.isascii() and text.isprintable():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def whole_second(instant: datetime) -> datetime:
    """Rounded up to the second, so that nobody comes too early."""
    return (instant + timedelta(microseconds=999_999)).replace(microsecond=0)
