"""Readiness: whether the parts that requests need can do their work now.

Owns: which parts are tried and how, in words that tell a stranger nothing of the machine. Must not know: HTTP. What
is found stands for a second, so that whoever asks often costs no more than one who asks once a second.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from holdfast.core.paths import ROOT
from holdfast.files import Folder
from holdfast.files.errors import FilesError
from holdfast.store.protocol import Store, StoreError, StoreFullError

__all__ = ["OK", "Finding", "Readiness"]

_logger = logging.getLogger("holdfast.readiness")

OK: Final = "ok"

_KEPT_S: Final = 1.0
_LONGEST_LOOK_S: Final = 3.0


class Finding(msgspec.Struct, frozen=True):
    """Each part that was tried, with OK or with what is wrong with it."""

    parts: dict[str, str]

    @property
    def is_ready(self) -> bool:
        """True where nothing is wrong."""
        return all(said == OK for said in self.parts.values())


class Readiness:
    """Safe from any thread; one look at a time."""

    def __init__(
        self, store: Store, folder: Folder, place: Path, *, tick: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is tried before the first look. `place` is where `folder` lies; `tick` tells seconds that pass."""
        self._place = place
        self._store = store
        self._folder = folder
        self._tick = tick
        self._turn = threading.Lock()
        self._found = Finding({})
        self._until = float("-inf")
        self._began = float("-inf")

    def look(self) -> Finding:
        """What is found now, or was within the last second. Waits as long as the store does for its turn."""
        if not self._turn.acquire(blocking=False):
            # Somebody looks; who comes meanwhile is told what was found before, unless that look takes suspiciously long.
            if self._found.parts and self._tick() - self._began < _LONGEST_LOOK_S:
                return self._found
            return Finding({"store": "it takes long to answer"})
        try:
            now = self._tick()
            if now >= self._until:
                self._began = now
                found = Finding({"store": self._try_read(), "changes": self._try_write(), "folder": self._try_folder()})
                self._found = found
                self._until = self._tick() + _KEPT_S
            return self._found
        finally:
            self._turn.release()

    def _try_read(self) -> str:
        try:
            with self._store.read() as tx:
                tx.latest_seq()
        except StoreError as error:
            _logger.warning("not ready: %s", error)
            return "it cannot be read"
        return OK

    def _try_write(self) -> str:
        try:
            with self._store.write() as tx:
                tx.ensure_room()
        except StoreFullError as error:
            _logger.warning("not ready: %s", error)
            return "the disk is full"
        except StoreError as error:
            _logger.warning("not ready: %s", error)
            return "nothing can be changed"
        return OK

    def _try_folder(self) -> str:
        try:
            if self._folder.stat(ROOT) is not None and self._place.is_dir():
                return OK
        except (FilesError, OSError) as error:
            _logger.warning("not ready: the served folder cannot be read: %s", error)
            return "it cannot be read"
        _logger.warning("not ready: the served folder %s is not there", self._place)
        return "it is not there"
