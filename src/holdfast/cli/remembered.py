"""What the commands remember between one and the next: the tokens of the locks that they took, and the versions of the documents that they got.

Owns: the file, `~/.local/state/holdfast/remembered.json`, which is for its owner's eyes alone since tokens are secrets. Must not know: what either is used
for. Several commands may run at once: each change is made under a lock, and put into place whole.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from holdfast.cli.terminal import warn

__all__ = ["Memory", "TakenLock"]

_NAME: Final = "remembered.json"
_MOST_VERSIONS: Final = 2000
_KEPT: Final = timedelta(days=1)
"""For how long a lock whose time is over is remembered, so that one can be told what became of it."""


class TakenLock(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that a command took. `id` is empty for a server that gives none; `ttl` in seconds, None for the server's usual time."""

    token: str
    id: str = ""
    ttl: float | None = None
    depth: str = "0"
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        """All but the token."""
        return f"TakenLock(id={self.id!r})"


class _Contents(msgspec.Struct):
    locks: dict[str, TakenLock] = {}
    versions: dict[str, str] = {}


class Memory:
    """What is remembered, by URL. Where it cannot be kept, a note says so and nothing else changes."""

    def __init__(self, folder: Path | None = None) -> None:
        """In `folder`; by default that of the XDG base directories."""
        state = os.environ.get("XDG_STATE_HOME", "")
        home = Path(state) if state.startswith("/") else Path("~/.local/state").expanduser()
        self._folder = home / "holdfast" if folder is None else folder

    def lock(self, url: str) -> TakenLock | None:
        """The lock that was taken on `url`."""
        return self._read().locks.get(_plain(url))

    def remember_lock(self, url: str, lock: TakenLock) -> None:
        """A lock was taken, or refreshed."""
        with self._changing() as contents:
            contents.locks[_plain(url)] = lock

    def forget_lock(self, url: str, token: str) -> None:
        """The lock with this token is no more."""
        with self._changing() as contents:
            known = contents.locks.get(_plain(url))
            if known is not None and known.token == token:
                del contents.locks[_plain(url)]

    def version(self, url: str, path: Path) -> str | None:
        """The entity tag of the version of `url` that the file at `path` was made from."""
        return self._read().versions.get(_pair(url, path))

    def remember_version(self, url: str, path: Path, etag: str | None) -> None:
        """The file at `path` is this version of `url`; None where the server named none."""
        with self._changing() as contents:
            contents.versions.pop(_pair(url, path), None)
            if etag is not None:
                contents.versions[_pair(url, path)] = etag

    def _read(self) -> _Contents:
        try:
            return msgspec.json.decode((self._folder / _NAME).read_bytes(), type=_Contents)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return _Contents()

    @contextmanager
    def _changing(self) -> Generator[_Contents]:
        import fcntl

        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            guard = os.open(self._folder / f"{_NAME}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            warn(f"{self._folder} cannot be written, so nothing is remembered there: {error.strerror}.")
            yield _Contents()
            return
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)
            contents = self._read()
            yield contents
            self._write(contents)
        finally:
            os.close(guard)

    def _write(self, contents: _Contents) -> None:
        now = datetime.now(UTC)
        contents.locks = {
            url: lock
            for url, lock in contents.locks.items()
            if lock.expires_at is None or lock.expires_at + _KEPT > now
        }
        while len(contents.versions) > _MOST_VERSIONS:
            del contents.versions[next(iter(contents.versions))]
        number, name = tempfile.mkstemp(dir=self._folder, prefix=f"{_NAME}.")  # readable to its owner alone
        try:
            with os.fdopen(number, "wb") as file:
                file.write(msgspec.json.encode(contents))
            os.replace(name, self._folder / _NAME)
        except OSError as error:
            with suppress(OSError):
                os.unlink(name)
            warn(f"{self._folder} cannot be written, so nothing is remembered there: {error.strerror}.")


def _plain(url: str) -> str:
    return url.rstrip("/")


def _pair(url: str, path: Path) -> str:
    return f"{path.absolute()} {url}"
