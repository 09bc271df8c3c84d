"""Getting the lock that a command runs under: at once, or in line, for as long as its user wants to wait.

Owns: the id under which it is asked for, how often people are told who is in the way, what happens while the server is away, and
leaving the line. Must not know: the command, the terminal, exit codes.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

import msgspec

from holdfast.client.acquiring import release
from holdfast.client.api import Client, endpoint_of
from holdfast.client.boottime import boottime
from holdfast.client.drivers import run_sync
from holdfast.client.errors import ClientError, LockedError, LockLostError
from holdfast.client.exchange import ClientResponse
from holdfast.client.flows import Flow, send
from holdfast.client.held import Held, OnLost
from holdfast.client.refusals import RefusedError, UnreachableError
from holdfast.client.sending import Sender
from holdfast.running.hearing import Bell, EarlyWord

__all__ = ["Asker", "Wanted"]

_PATIENCE_S: Final = 60.0
_PAUSE_S: Final = 1.0
_FIRST_SLICE_S: Final = 0.25
_LEAVING_S: Final = 2.0


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The lock that is wanted. `ttl` and `wait` are in seconds; an infinite `wait` has no end, 0 is not to wait."""

    resource: str
    ttl: float
    wait: float
    scope: str
    owner: str
    reason: str


class Asker:
    """One lock, from the first request to the grant, or to leaving the line."""

    def __init__(self, url: str, http: Any, *, auth: tuple[str, str] | None, token: str) -> None:
        """Connect to nothing yet; `http` stays the caller's. Raises ValueError where `url` is no server's."""
        self.client = Client(url, auth=auth, token=token, http=http)
        self._endpoint = endpoint_of(url, http, token)
        self._send = Sender(http, auth)
        self._id = _new_id()
        self._is_asking = False

    def acquire(
        self, wanted: Wanted, tell: Callable[[LockedError], None], slice_s: float, on_lost: OnLost | None = None
    ) -> Held:
        """Acquire; `tell` hears who is in the way, at first and each `slice_s` seconds, `on_lost` a later loss.

        A server that has answered once, and then does not, is asked again for a minute. Raises LockedError when the wait is
        over, UnreachableError, RefusedError.
        """
        until = boottime() + wanted.wait
        heard_at: float | None = None
        wait = 0.0
        while True:
            try:
                return self._ask(wanted, wait, on_lost)
            except LockedError as error:
                if boottime() >= until:
                    self.leave()
                    raise
                heard_at = boottime()
                tell(error)
            except UnreachableError:
                now = boottime()
                if heard_at is None or now - heard_at > _PATIENCE_S or now >= until:
                    raise
                time.sleep(_PAUSE_S)
            except LockLostError:  # it was granted, and ended while nobody heard of it
                self._id = _new_id()
            except RefusedError as error:
                if error.status != 409 or heard_at is None:
                    raise
                self._id = _new_id()
            # Whoever has been told who is in the way learns soon where in line that leaves him.
            wait = max(0.001, min(until - boottime(), slice_s if wait else _FIRST_SLICE_S))

    def settle(self) -> None:
        """What was acquired has arrived where it is released."""
        self._is_asking = False

    def leave(self) -> None:
        """Give up the place in line, and what may have been granted unheard. Takes two seconds at most; says nothing."""
        if not self._is_asking:
            return
        self._is_asking = False
        with contextlib.suppress(ClientError):
            left = self._endpoint.request("DELETE", f"/api/locks/{self._id}", within=_LEAVING_S)
            if self._run(send(left)).status in {200, 204}:
                return
            known = self.client.describe(self._id)
            if known is not None and hasattr(known, "expires_at"):
                mine = self.client.take_over(self._id, keep_alive=False)
                self._run(release(self._endpoint, mine.id, mine.token, _LEAVING_S))

    def listen(self, held: Held, bell: Bell) -> EarlyWord:
        """For a `with` block, in which the end of the lock is heard of at once, and that it is set; then `bell` is rung."""
        return EarlyWord(self.client, self._endpoint, self._send, held, bell)

    def close(self) -> None:
        """Refresh nothing any more."""
        self.client.close()

    def _ask(self, wanted: Wanted, wait: float, on_lost: OnLost | None) -> Held:
        self._is_asking = True
        return self.client.acquire(
            wanted.resource,
            ttl=wanted.ttl,
            wait=wait,
            scope=wanted.scope,
            owner=wanted.owner,
            reason=wanted.reason,
            id=self._id,
            on_lost=on_lost,
        )

    def _run(self, flow: Flow[Any]) -> Any:
        return run_sync(flow, self._sent, now=boottime)

    def _sent(self, request: Any) -> ClientResponse:
        return self._send(request)


def _new_id() -> str:
    return f"run-{uuid.uuid4().hex}"
