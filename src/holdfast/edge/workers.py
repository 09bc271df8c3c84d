"""Several worker processes on one listening socket, and the parent that keeps them alive.

Owns: starting, restarting and stopping workers. Must not know: what they serve. The parent opens no
store and runs no loop. Workers are spawned, not forked, so they share nothing but the sockets.

Theory of operation: each worker watches a pipe whose other end only the parent holds, so it ends when
the parent does, however that died. The parent sleeps until a worker ends, a worker says that it is
ready, or a signal came, which writes a byte to a pipe.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any, Final, Protocol, TypeVar, cast

__all__ = ["ServeWorker", "supervise"]

logger = logging.getLogger("holdfast.edge")

S = TypeVar("S")


class Pipe(Protocol):
    """One end of a multiprocessing pipe."""

    def fileno(self) -> int: ...
    def recv_bytes(self) -> bytes: ...
    def send_bytes(self, data: bytes, /) -> None: ...
    def close(self) -> None: ...


ServeWorker = Callable[[S, list[socket.socket], Callable[[], None]], None]
"""(settings, sockets, on_ready): builds the application, serves until SIGTERM, returns. A module's function, picklable by name."""

_SHORT_LIFE_S: Final = 5.0
_MOST_SHORT_LIVES: Final = 5
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def supervise(
    serve_worker: ServeWorker[S],
    settings: S,
    sockets: Sequence[socket.socket],
    workers: int,
    *,
    stop_s: float = 20.0,
    on_ready: Callable[[], None] | None = None,
) -> int:
    """Run `workers` processes until SIGINT or SIGTERM; returns the exit code, 0 after a clean stop.

    Call it from the main thread. A worker that dies is started again, unless workers keep dying within
    seconds of their start: then all are stopped and the code is 1. Workers that need longer than
    `stop_s` seconds to stop are killed, and the code is 1. `on_ready` is called once all accept connections.
    """
    crew = _Crew(serve_worker, settings, list(sockets), on_ready)
    with _signal_pipe() as signals:
        try:
            crew.fill(workers)
            while not crew.has_failed:
                ready = wait(cast("list[Any]", [signals, *crew.watched()]))
                if signals in ready:
                    break
                crew.look(ready)
                crew.fill(workers)
        finally:
            is_clean = crew.stop(stop_s)
            for sock in sockets:
                sock.close()
    return 0 if is_clean and not crew.has_failed else 1


class _Crew:
    """The workers that run now."""

    def __init__(
        self,
        serve_worker: ServeWorker[Any],
        settings: object,
        sockets: list[socket.socket],
        on_ready: Callable[[], None] | None,
    ) -> None:
        self.has_failed = False
        self._context = multiprocessing.get_context("spawn")
        self._serve_worker = serve_worker
        self._settings = settings
        self._sockets = sockets
        self._on_ready = on_ready
        self._running: dict[int, tuple[SpawnProcess, float]] = {}
        self._starting: set[Pipe] = set()
        self._short_lives = 0

    def watched(self) -> list[Any]:
        """What `multiprocessing.connection.wait` is to wait for."""
        return [*self._running, *self._starting]

    def fill(self, count: int) -> None:
        """Start workers until there are `count`."""
        while len(self._running) < count and not self.has_failed:
            ours, theirs = self._context.Pipe(duplex=False)
            process = self._context.Process(
                target=_work, args=(self._serve_worker, self._settings, self._sockets, theirs), name="holdfast-worker"
            )
            process.start()
            theirs.close()
            self._running[process.sentinel] = (process, time.monotonic())
            self._starting.add(ours)

    def look(self, ready: list[Any]) -> None:
        """Note who became ready and who died."""
        for one in ready:
            if one in self._starting:
                self._note_start(one)
            elif one in self._running:
                self._note_end(one)

    def _note_start(self, pipe: Pipe) -> None:
        with contextlib.suppress(EOFError):  # it died before; its sentinel says so too
            pipe.recv_bytes()
        pipe.close()
        self._starting.discard(pipe)
        if not self._starting and self._on_ready is not None:
            self._on_ready()
            self._on_ready = None

    def _note_end(self, sentinel: int) -> None:
        process, started = self._running.pop(sentinel)
        process.join()
        self._short_lives = self._short_lives + 1 if time.monotonic() - started < _SHORT_LIFE_S else 0
        logger.error("worker %s ended with code %s; another is started", process.pid, process.exitcode)
        process.close()
        if self._short_lives >= _MOST_SHORT_LIVES:
            logger.error("workers keep ending within %s seconds of their start; giving up", _SHORT_LIFE_S)
            self.has_failed = True

    def stop(self, stop_s: float) -> bool:
        """Ask all to stop, wait, kill the rest; True when none had to be killed."""
        processes = [process for process, _ in self._running.values()]
        for process in processes:
            process.terminate()
        end = time.monotonic() + stop_s
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
        late = [process for process in processes if process.is_alive()]
        for process in late:
            process.kill()
        for process in processes:
            process.join()
            process.close()
        for pipe in self._starting:
            pipe.close()
        return not late


@contextlib.contextmanager
def _signal_pipe() -> Generator[Pipe]:
    """A pipe that becomes readable when SIGINT or SIGTERM comes.

    The interpreter itself writes to it, at once. A handler in Python would be called only when the main thread runs
    again; a signal that comes just before that thread begins to wait does not wake it, and would never be heard.
    """
    reader, writer = multiprocessing.Pipe(duplex=False)
    os.set_blocking(writer.fileno(), False)
    former_pipe = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    former = {number: signal.signal(number, _go_on) for number in _SIGNALS}
    try:
        yield reader
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(former_pipe)
        reader.close()
        writer.close()


def _go_on(_number: int, _frame: object) -> None:
    """The signal is heard by the pipe."""


def _work(serve_worker: ServeWorker[Any], settings: object, sockets: list[socket.socket], ready: Pipe) -> None:
    """The main function of a worker."""
    threading.Thread(target=_end_with_parent, name="holdfast-parent-watch", daemon=True).start()
    told = threading.Event()

    def on_ready() -> None:
        if not told.is_set():
            told.set()
            with contextlib.suppress(OSError):
                ready.send_bytes(b"r")
            ready.close()

    serve_worker(settings, sockets, on_ready)


def _end_with_parent() -> None:
    """End this process when its parent has ended: in order if that is quick, at once if not."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_SHORT_LIFE_S)
    os.kill(os.getpid(), signal.SIGKILL)
