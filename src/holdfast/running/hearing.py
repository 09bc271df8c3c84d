"""Hearing at once that a lock has ended, or is to be broken soon, from the server's events, and not with the next refresh.

Owns: a thread that listens while a command runs, what it does about a word of the lock, and the bell that wakes the
supervision. Must not know: commands, leases, what an event looks like on the wire.

No promise rests on it. What is heard is only asked about: the lock is refreshed there and then, and that answer counts,
which names who broke it and why, or when it now ends. Where nothing can be heard (no stream to be had, a proxy that keeps it back, the server gone),
the refreshes go on as they are due, and the watchdog has its deadline in any case.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Any, Final, Self

from holdfast.client.acquiring import Endpoint
from holdfast.client.api import Client
from holdfast.client.held import Held
from holdfast.client.holding import Failed, Outcome
from holdfast.client.lockfeed import LockFeed
from holdfast.client.refusals import RefusedError, UnreachableError
from holdfast.client.sending import Sender

__all__ = ["Bell", "EarlyWord"]

_WORDS: Final = ("released", "expired", "breaking", "broken", "destroyed")
_QUIET_S: Final = 0.5  # a command that is over by then was not worth a connection
_LEAVING_S: Final = 1.0


class Bell:
    """A descriptor that becomes readable when it is rung, from any thread."""

    def __init__(self) -> None:
        """Silent."""
        self._ear, self._mouth = socket.socketpair()
        for end in (self._ear, self._mouth):
            end.setblocking(False)

    def fileno(self) -> int:
        """For a selector."""
        return self._ear.fileno()

    def ring(self) -> None:
        """Wake who waits; harmless when repeated, or when nobody does any more."""
        with contextlib.suppress(OSError):
            self._mouth.send(b"!")

    def silence(self) -> None:
        """It was heard."""
        with contextlib.suppress(BlockingIOError):
            while self._ear.recv(64):
                pass

    def close(self) -> None:
        """Idempotent."""
        self._ear.close()
        self._mouth.close()


class EarlyWord:
    """Listens for what ends one held lock, or brings its end nearer, for a `with` block."""

    def __init__(self, client: Client, endpoint: Endpoint, send: Sender, held: Held, bell: Bell) -> None:
        """Send nothing yet; the lock's refreshes are `client`'s. `bell` is rung when one has told something."""
        self._client = client
        self._send = send
        self._held = held
        self._bell = bell
        self._feed = LockFeed(endpoint, {"lock": held.id, "kind": _WORDS})
        self._mutex = threading.Lock()
        self._over = threading.Event()
        self._response: Any = None
        self._has_asked = False
        self._thread = threading.Thread(target=self._run, name="holdfast-hearing", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._mutex:
            self._over.set()
            response = self._response
        if response is not None:
            _interrupt(response)
        # It is a daemon: one that is stuck in a connection that does not come about is not waited for.
        self._thread.join(_LEAVING_S)

    def _run(self) -> None:
        pause = _QUIET_S
        while not self._over.wait(pause):
            try:
                self._listen()
            except RefusedError:
                return  # there is no such stream, or not for this principal
            except UnreachableError:
                pass
            except Exception:
                if self._over.is_set():
                    return  # the connections were closed meanwhile
                raise
            pause = self._feed.pause()

    def _listen(self) -> None:
        with self._send.stream(self._feed.request()) as response:
            with self._mutex:
                if self._over.is_set():
                    return
                self._response = response
            try:
                if not self._feed.opened(response.status_code, response.headers.get("retry-after", "")):
                    return
                for piece in response.iter_bytes():
                    found = self._feed.take(piece)
                    # What ended before the first stream began is told by none.
                    if found or not self._has_asked:
                        self._has_asked = True
                        self._ask()
            finally:
                with self._mutex:
                    self._response = None

    def _ask(self) -> None:
        """Refresh it now. Not by `held.refresh()`, which raises a loss here, and then the end of the block would not."""
        if self._over.is_set() or self._held.loss is not None:
            return
        self._held.begin_refresh()
        try:
            outcome: Outcome = self._client.refresh_one(self._held)
        except Exception as error:  # noqa: BLE001 - whatever it is, it says nothing about the lock
            outcome = Failed(error)
        self._held.apply(outcome)
        self._bell.ring()


def _interrupt(response: Any) -> None:
    """Closing a socket wakes nobody who reads from it; shutting it down does."""
    network = response.extensions.get("network_stream")
    with contextlib.suppress(OSError, AttributeError):
        network.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
