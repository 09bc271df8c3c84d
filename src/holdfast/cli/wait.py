"""`holdfast wait`: until nobody holds a file of this machine, or what is at a URL.

Owns: the command, how often it looks at a local file, and what is shown meanwhile. Must not know: how locks are found; when to look at a server
again, which is the client's policy.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from holdfast.cli.contenders import Contender, sentence
from holdfast.cli.credentials import UserFlag, is_url
from holdfast.cli.spans import parse_seconds
from holdfast.cli.terminal import warn
from holdfast.cli.who import TargetArgument, look_local

if TYPE_CHECKING:
    from rich.status import Status
    from rich.text import Text

    from holdfast.cli.remote import Remote, RemoteLook

__all__ = ["TIMED_OUT", "Progress", "progress", "wait"]

TIMED_OUT: Final = 1
"""The exit code where the time is over, as flock(1) has it."""

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 1.0
_CALM: Final = 10  # a look takes at most a tenth of the time
_SLICE_S: Final = 20.0  # how long one thing is watched before all is looked at anew
_SHOWN_SLICE_S: Final = 5.0  # the same where somebody sees how the line stands
_BLIND_PAUSE_S: Final = 2.0


class Progress:
    """What is shown while one waits; nothing where nobody looks at it."""

    def __init__(self, status: Status | None) -> None:
        """`status` is what is updated."""
        self._status = status
        self._begun = time.monotonic()
        self._text = ""

    @property
    def is_watched(self) -> bool:
        """True where somebody looks at it."""
        return self._status is not None

    def tell(self, found: Sequence[Contender], place: str = "") -> None:
        """Who is in the way now, and one's own place in line, where there is one."""
        if self._status is not None and found:
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            self._text = f"{place}{': ' if place else ''}{sentence(found[0], datetime.now(UTC))}{more}"
            self._status.update(self)

    def say(self, holder: str, more: int) -> None:
        """The same of a holder that is in words already, and of how many more there are."""
        if self._status is not None:
            self._text = f"{holder}{f', and {more} more' if more else ''}"
            self._status.update(self)

    def __rich__(self) -> Text:
        """The line of this moment; it is asked for anew several times a second."""
        from rich.text import Text

        return Text(f"{self._text} - waiting for {time.monotonic() - self._begun:.0f} s")


@contextmanager
def progress() -> Generator[Progress]:
    """Show who is in the way on standard error for the block, where that is a terminal."""
    if not sys.stderr.isatty():
        yield Progress(None)
        return
    from rich.console import Console

    with Console(stderr=True, highlight=False).status("Waiting ...") as status:
        yield Progress(status)


def wait(
    target: TargetArgument,
    /,
    *,
    timeout: Annotated[str | None, Parameter(help="How long at most: 30s, 10m, 1h; default: for ever.")] = None,
    user: UserFlag = None,
) -> int:
    """Wait until nobody holds TARGET: a file of this machine, or what is at a URL.

    On a terminal it shows who is in the way meanwhile, and how many wait in line for
    it. That nobody holds it is true at this moment only: to have it for yourself, let
    `holdfast lock` stand in line, or `holdfast run`. Exit codes: 0 it is free, 1 the
    time is over, 2 a mistake.

    For example:

        holdfast wait app.db && sqlite3 app.db .backup
        holdfast wait --timeout 10m https://dav.example.org/team/plan.odt
    """
    seconds = float("inf") if timeout is None else parse_seconds(timeout, "--timeout")
    ends_at = time.monotonic() + seconds
    with progress() as shown:
        left = _wait_remote(target, user, ends_at, shown) if is_url(target) else _wait_local(target, ends_at, shown)
    if not left:
        return 0
    for one in left:
        warn(f"{sentence(one, datetime.now(UTC))}.", label="Still held:")
    return TIMED_OUT


def _wait_local(target: str, ends_at: float, shown: Progress) -> list[Contender]:
    """Those who are still in the way when the time is over."""
    pause = _FIRST_PAUSE_S
    while True:
        begun = time.monotonic()
        found = [one for one in look_local(target).holders if one.is_in_the_way]
        now = time.monotonic()
        if not found or now >= ends_at:
            return found
        shown.tell(found)
        time.sleep(min(max(pause, _CALM * (now - begun)), ends_at - now))
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _wait_remote(target: str, user: str | None, ends_at: float, shown: Progress) -> list[Contender]:
    from holdfast.cli.remote import connected
    from holdfast.client.probing import Watch

    with connected(target, user) as remote:
        look = remote.look()
        while look.contenders:
            left = ends_at - time.monotonic()
            if left <= 0:
                return list(look.contenders)
            shown.tell(list(look.contenders))
            outcome = remote.watch(look, min(left, _SHOWN_SLICE_S if shown.is_watched else _SLICE_S))
            if outcome is Watch.BLIND:
                time.sleep(min(_BLIND_PAUSE_S, max(0.0, ends_at - time.monotonic())))
            look = _look_again(remote, ends_at) or look
        return []


def _look_again(remote: Remote, ends_at: float) -> RemoteLook | None:
    """None where the server gives no answer just now, which one that starts again makes good."""
    from holdfast.client.errors import ClientError

    try:
        return remote.look()
    except ClientError:
        if time.monotonic() >= ends_at:
            raise
        time.sleep(_BLIND_PAUSE_S)
        return None
