"""What `holdfast run` is asked to do, checked: the lock, the server, the command, and how long each may take.

Owns: the reading of its flags, and a plain sentence for each mistake. Must not know: how any of it is done.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
from collections.abc import Sequence
from typing import Final

import msgspec

from holdfast.cli.credentials import Credentials, credentials_for, split_url
from holdfast.cli.spans import parse_seconds
from holdfast.cli.standing import parse_path
from holdfast.cli.terminal import CommandError
from holdfast.running.lease import most_grace
from holdfast.running.waiting import Wanted

__all__ = ["DEFAULT_SERVER", "Terms", "checked_terms", "unusable"]

DEFAULT_SERVER: Final = "http://127.0.0.1:4230"
"""Where `holdfast serve` listens unless it is told otherwise."""

_LONGEST_TTL_S: Final = 86_400.0


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """All that was asked for. `grace` is in seconds, None for the usual time. `name` is the resource as people write it."""

    server: str
    credentials: Credentials
    name: str
    wanted: Wanted
    words: tuple[str, ...]
    grace: float | None
    conflict_code: int


def checked_terms(
    name: str,
    words: Sequence[str],
    *,
    server: str | None,
    user: str | None,
    wait: str | None,
    nonblock: bool,
    ttl: str,
    shared: bool,
    reason: str,
    kill_after: str | None,
    conflict_code: int,
) -> Terms:
    """What was asked for. Raises CommandError where it cannot be."""
    if not words:
        raise CommandError("There is no command: holdfast run NAME -- COMMAND ARG...")
    if words[0].startswith("-"):
        msg = f"There is no flag {words[0]}, and a command does not begin so: holdfast run NAME -- COMMAND ARG..."
        raise CommandError(msg)
    if not 0 <= conflict_code <= 255:
        raise CommandError("--conflict-exit-code must be between 0 and 255.")
    if nonblock and wait is not None:
        raise CommandError("--nonblock and --wait say two different things: leave one of them out.")
    resource = parse_path(name if name.startswith("/") else f"/jobs/{name}")
    url, named = split_url(server or os.environ.get("HOLDFAST_URL") or DEFAULT_SERVER)
    if not url.startswith(("http://", "https://")):
        msg = f"{url} is no server of Holdfast: write http://HOST:PORT or https://HOST:PORT."
        raise CommandError(msg)
    seconds = _ttl(ttl)
    waited = float("inf") if wait is None else parse_seconds(wait, "--wait")
    return Terms(
        server=url.rstrip("/"),
        credentials=credentials_for(url, user or named or os.environ.get("HOLDFAST_USER")),
        name=resource.text,
        wanted=Wanted(
            resource=resource.href(),
            ttl=seconds,
            wait=0.0 if nonblock else waited,
            scope="shared" if shared else "exclusive",
            owner=_self_description(),
            reason=reason.strip() or os.path.basename(words[0])[:100],
        ),
        words=tuple(words),
        grace=_grace(kill_after, seconds),
        conflict_code=conflict_code,
    )


def unusable(word: str) -> tuple[int, str] | None:
    """Why a command cannot be executed, with the exit code of shells for it; None where it can, as far as one sees."""
    if shutil.which(word) is not None:
        return None
    places = [word] if os.sep in word else [os.path.join(part, word) for part in os.get_exec_path()]
    if any(os.path.exists(place) for place in places):
        return 126, f"{word} cannot be executed."
    return 127, f"{word} is not found."


def _ttl(text: str) -> float:
    seconds = parse_seconds(text, "--ttl")
    if not 1.0 <= seconds <= _LONGEST_TTL_S:
        msg = (
            f"--ttl {text} is not between a second and a day; it is refreshed at a third of it, so it need not be long."
        )
        raise CommandError(msg)
    return seconds


def _grace(text: str | None, ttl: float) -> float | None:
    if text is None:
        return None
    seconds = parse_seconds(text, "--kill-after")
    if seconds > most_grace(ttl):
        msg = (
            f"--kill-after {text} leaves no time to refresh a lock of {ttl:g} s: "
            f"{most_grace(ttl):g} s at most, or a longer --ttl."
        )
        raise CommandError(msg)
    return seconds


def _self_description() -> str:
    """Who runs it and where, for those who find the lock in their way."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        name = f"account {os.getuid()}"
    return f"{name}@{socket.gethostname()}, process {os.getpid()}"
