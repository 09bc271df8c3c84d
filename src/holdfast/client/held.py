"""A lock that is held, as its holder has it in hand: `held.state`, `held.ensure()`, `held.release()`.

Owns: Held and AsyncHeld, who is told of a loss, and how a `with` block ends. The states are `holding`'s; how a server
is asked comes from whoever acquired the lock. Must not know: HTTP.

`ensure()` looks at the clock itself and trusts nobody else to have done so: the thread that refreshes may have been stopped
together with everything else. It is a promise up to the moment at which it looks. What must hold beyond that (the program
is stopped right behind it) needs the fencing token, checked by the resource.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

import msgspec

from holdfast.client.errors import ClientError, LockLostError, LostReason
from holdfast.client.holding import Failed, Holding, HoldState, Loss, Outcome

if TYPE_CHECKING:
    import asyncio

__all__ = ["AsyncHeld", "AsyncLostSignal", "AsyncWarden", "Grant", "Held", "HeldLock", "LostSignal", "OnLost", "Warden"]

_logger = logging.getLogger("holdfast.client")

OnLost = Callable[[LockLostError], object]
"""Called once when a lock is lost, by whoever notices: the thread that refreshes, or the one that calls `ensure()`."""

_LONGEST_NAP: Final = 5.0  # seconds; threads and loops sleep on a clock that stands still while the machine does
_KNOWN_TO_THE_SERVER: Final = {LostReason.BROKEN, LostReason.RELEASED_ELSEWHERE, LostReason.GONE}


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A lock as it was granted. `asked` is the time that was asked for in seconds, and again with each refresh.

    `asked_at` is from before the request was sent, `ttl` the seconds that were granted then; None without end.
    """

    resource: str
    id: str
    token: str
    asked_at: float
    ttl: float | None
    asked: float | None = None
    fencing_token: int | None = None
    scope: str = "exclusive"
    depth: str = "0"

    def __repr__(self) -> str:
        """All but the token."""
        return f"Grant(resource={self.resource!r}, id={self.id!r}, fencing_token={self.fencing_token})"


class Warden(Protocol):
    """Who acquired a lock, and asks the server about it."""

    def refresh_one(self, held: HeldLock) -> Outcome:
        """Restart its timer."""
        ...

    def release_one(self, held: HeldLock) -> Loss | None:
        """Give it back; a Loss where it had ended in another way. Raises ClientError where that cannot be known."""
        ...

    def forget(self, held: HeldLock) -> None:
        """Refresh it no more."""
        ...


class AsyncWarden(Protocol):
    """The same with await."""

    async def refresh_one(self, held: HeldLock) -> Outcome:
        """Restart its timer."""
        ...

    async def release_one(self, held: HeldLock) -> Loss | None:
        """Give it back; a Loss where it had ended in another way. Raises ClientError where that cannot be known."""
        ...

    def forget(self, held: HeldLock) -> None:
        """Refresh it no more."""
        ...


class HeldLock:
    """What Held and AsyncHeld have in common: the lock, its state, and `ensure()`. Safe from any thread."""

    def __init__(
        self, grant: Grant, now: Callable[[], float], *, keep_alive: bool, on_lost: OnLost | None = None
    ) -> None:
        """Hold what was granted; `now` is the clock of `grant.asked_at`."""
        self._grant = grant
        self._now = now
        self._on_lost = on_lost
        self._mutex = threading.Lock()
        self._holding = Holding(asked_at=grant.asked_at, ttl=grant.ttl, is_kept=keep_alive)
        self._is_told = False
        self._was_raised = False
        self._is_given_back = False

    @property
    def id(self) -> str:
        """The public id of the lock; a WebDAV server that gives none has none."""
        return self._grant.id

    @property
    def resource(self) -> str:
        """What is locked: a URL path, or for a WebDAV lock its URL."""
        return self._grant.resource

    @property
    def token(self) -> str:
        """The lock token: a secret, never shown in a repr."""
        return self._grant.token

    @property
    def fencing_token(self) -> int:
        """The number that rises with each grant. Raises AttributeError for a WebDAV server that gives none."""
        if self._grant.fencing_token is None:
            msg = "this server gives no fencing token"
            raise AttributeError(msg)
        return self._grant.fencing_token

    @property
    def scope(self) -> str:
        """`exclusive` or `shared`."""
        return self._grant.scope

    @property
    def depth(self) -> str:
        """`0` or `infinity`."""
        return self._grant.depth

    @property
    def asked(self) -> float | None:
        """The seconds that were asked for, and are asked for with each refresh; None for the server's usual time."""
        return self._grant.asked

    @property
    def holding(self) -> Holding:
        """What is known of it now."""
        return self._holding

    @property
    def state(self) -> HoldState:
        """Held, at risk, lost or released, by the clock and not by who refreshes."""
        return self._change(lambda holding, now: holding.checked(now)).state(self._now())

    @property
    def expires_in(self) -> float:
        """Seconds until it is not surely held any more; infinite for a lock without end."""
        return self._holding.left(self._now())

    @property
    def loss(self) -> Loss | None:
        """Why it is lost; None while it is not, or once it was released."""
        return self._change(lambda holding, now: holding.checked(now)).loss

    @property
    def error(self) -> Exception | None:
        """What the last refresh failed with, while none has come through since."""
        failed = self._holding.failed
        return None if failed is None else failed.error

    def ensure(self) -> None:
        """Return if the lock is held at this moment. Call it just before the write that the lock protects.

        Raises LockLostError where it is lost, or was released. No request is sent: to ask the server too, `refresh()`.
        """
        loss = self.loss
        if loss is not None:
            self._was_raised = True
            raise loss.as_error(self.resource)
        if self._holding.is_released:
            raise LockLostError(self.resource, LostReason.RELEASED_ELSEWHERE, "It was released by its holder.")

    def apply(self, outcome: Outcome) -> None:
        """A refresh had this outcome."""
        self._change(lambda holding, now: holding.after(outcome, now).checked(now))

    def begin_refresh(self) -> None:
        """A refresh is about to be sent."""
        self._change(lambda holding, now: holding.trying(now))

    def _change(self, step: Callable[[Holding, float], Holding]) -> Holding:
        with self._mutex:
            holding = self._holding = step(self._holding, self._now())
            first = holding.loss is not None and not self._is_told
            self._is_told = self._is_told or first
        if first and holding.loss is not None:
            self._tell(holding.loss)
        return holding

    def _tell(self, loss: Loss) -> None:
        self._signal()
        if self._on_lost is None:
            return
        try:
            self._told(self._on_lost(loss.as_error(self.resource)))
        except Exception:
            # It is the user's code; whoever noticed the loss has work to do for other locks.
            _logger.exception("on_lost failed for the lock on %s", self.resource)

    def _signal(self) -> None:
        """Wake who waits for a loss, or for ever."""

    def _told(self, returned: object) -> None:
        """`on_lost` returned this."""

    def _begin_release(self) -> bool:
        """Mark it as given back; False where there is nothing to give back."""
        loss = self._change(lambda holding, now: holding.checked(now).released()).loss
        with self._mutex:
            again, self._is_given_back = self._is_given_back, True
        self._signal()
        # One that ran out here may still be held at the server, and in somebody's way.
        return not again and (loss is None or loss.reason not in _KNOWN_TO_THE_SERVER)

    def _shrug(self, error: ClientError) -> None:
        """Raise the error of a release, unless the lock was lost before: then it was a courtesy."""
        if self._holding.loss is None:
            raise error

    def _judge_end(self, body: BaseException | None, trouble: Exception | None, late: Loss | None) -> None:
        """How a block ends: the body's own error goes first, and hears of all else in its notes (PEP 678)."""
        loss = self._holding.loss or late
        if body is not None:
            if loss is not None and not self._was_raised:
                body.add_note(f"Meanwhile {_lower(loss.as_error(self.resource))}")
            if trouble is not None:
                body.add_note(f"The lock on {self.resource} could not be released: {trouble}")
            return
        if loss is not None and not self._was_raised:
            self._was_raised = True
            raise loss.as_error(self.resource)
        if trouble is not None and loss is None:
            raise trouble

    def __repr__(self) -> str:
        # To be looked at in a debugger must change nothing, so nobody is told of a loss from here.
        state = self._holding.state(self._now())
        return f"<{type(self).__name__} {self.resource} {state.value} fencing_token={self._grant.fencing_token}>"


def _lower(error: LockLostError) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]


class LostSignal:
    """Becomes set when the lock is lost; as a threading.Event, but it looks at the clock itself.

    >>> LostSignal.is_set.__doc__
    'True once the lock is lost.'
    """

    def __init__(self, held: Held) -> None:
        self._held = held
        self._event = threading.Event()

    def is_set(self) -> bool:
        """True once the lock is lost."""
        return self._held.loss is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the lock is lost or released, or `timeout` seconds have passed; whether it is lost.

        Returns at the deadline also where nothing refreshes the lock any more.
        """
        now = self._held._now
        until = float("inf") if timeout is None else now() + timeout
        while not self.is_set():
            left = min(until - now(), _LONGEST_NAP)
            if left <= 0 or self._held.holding.is_released:
                return False
            self._event.wait(max(0.01, min(left, self._held.expires_in)))
        return True


class Held(HeldLock):
    """A held lock. Made by `Client.lock`, `Client.acquire` and `DavLock`; a context manager that releases at its end.

    >>> Held.ensure.__doc__.splitlines()[0]
    'Return if the lock is held at this moment. Call it just before the write that the lock protects.'
    """

    def __init__(
        self,
        grant: Grant,
        now: Callable[[], float],
        warden: Warden,
        *,
        keep_alive: bool,
        on_lost: OnLost | None = None,
    ) -> None:
        """As HeldLock; `warden` asks the server."""
        super().__init__(grant, now, keep_alive=keep_alive, on_lost=on_lost)
        self._warden = warden
        self.lost = LostSignal(self)

    def refresh(self) -> None:
        """Ask the server now, and restart the timer. Raises LockLostError where it is lost, else what the request raised."""
        self.ensure()
        self.begin_refresh()
        outcome = self._warden.refresh_one(self)
        self.apply(outcome)
        self.ensure()
        if isinstance(outcome, Failed):
            raise outcome.error

    def release(self) -> None:
        """Give the lock back. Idempotent: a lock that was lost or released is no error.

        Raises ClientError where the server could not be told; the lock then ends by itself, at its deadline.
        """
        self._release()

    def _release(self) -> Loss | None:
        due = self._begin_release()
        self._warden.forget(self)
        try:
            return self._warden.release_one(self) if due else None
        except ClientError as error:
            return self._shrug(error)

    def _signal(self) -> None:
        self.lost._event.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, body: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release. The body's own exception is never masked; without one, raises LockLostError where the lock was lost."""
        trouble: Exception | None = None
        late: Loss | None = None
        try:
            late = self._release()
        except Exception as error:  # noqa: BLE001 - whatever it is, the body's error goes first
            trouble = error
        self._judge_end(body, trouble, late)


class AsyncLostSignal:
    """Becomes set when the lock is lost; as an asyncio.Event, but it looks at the clock itself.

    >>> AsyncLostSignal.is_set.__doc__
    'True once the lock is lost.'
    """

    def __init__(self, held: AsyncHeld) -> None:
        import asyncio

        self._held = held
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def is_set(self) -> bool:
        """True once the lock is lost."""
        return self._held.loss is not None

    async def wait(self) -> bool:
        """Wait until the lock is lost or released; whether it is lost. As `LostSignal.wait`; bound it with asyncio.timeout."""
        import asyncio

        while not self.is_set():
            if self._held.holding.is_released:
                return False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, min(self._held.expires_in, _LONGEST_NAP))):
                    await self._event.wait()
        return True

    def _set(self) -> None:
        # A loss may be noticed on another thread, by somebody's `state` or `ensure`.
        import asyncio

        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            self._event.set()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)


T = TypeVar("T")
_background: Final[set[asyncio.Future[Any]]] = set()


async def finish(work: Awaitable[T]) -> T:
    """Await what must be done although this task is being cancelled: it goes on behind it where that comes again."""
    import asyncio

    task = asyncio.ensure_future(work)
    _background.add(task)
    task.add_done_callback(_background.discard)
    return await asyncio.shield(task)


class AsyncHeld(HeldLock):
    """A held lock, for asyncio. Made by `AsyncClient.lock`, `AsyncClient.acquire` and `AsyncDavLock`.

    >>> AsyncHeld.ensure is Held.ensure
    True
    """

    def __init__(
        self,
        grant: Grant,
        now: Callable[[], float],
        warden: AsyncWarden,
        *,
        keep_alive: bool,
        on_lost: OnLost | None = None,
    ) -> None:
        """As HeldLock; `warden` asks the server."""
        super().__init__(grant, now, keep_alive=keep_alive, on_lost=on_lost)
        self._warden = warden
        self.lost = AsyncLostSignal(self)

    async def refresh(self) -> None:
        """Ask the server now, and restart the timer. Raises LockLostError where it is lost, else what the request raised."""
        self.ensure()
        self.begin_refresh()
        outcome = await self._warden.refresh_one(self)
        self.apply(outcome)
        self.ensure()
        if isinstance(outcome, Failed):
            raise outcome.error

    async def release(self) -> None:
        """Give the lock back, also while the task is cancelled. Idempotent; raises as `Held.release` does."""
        await self._release()

    async def _release(self) -> Loss | None:
        due = self._begin_release()
        self._warden.forget(self)
        try:
            return await finish(self._warden.release_one(self)) if due else None
        except ClientError as error:
            return self._shrug(error)

    def _signal(self) -> None:
        self.lost._set()

    def _told(self, returned: object) -> None:
        import asyncio

        if inspect.isawaitable(returned):
            task = asyncio.ensure_future(_logged(returned, self.resource))
            _background.add(task)
            task.add_done_callback(_background.discard)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, body: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `Held.__exit__`."""
        trouble: Exception | None = None
        late: Loss | None = None
        try:
            late = await self._release()
        except Exception as error:  # noqa: BLE001 - whatever it is, the body's error goes first
            trouble = error
        self._judge_end(body, trouble, late)


async def _logged(awaited: Awaitable[object], resource: str) -> None:
    try:
        await awaited
    except Exception:
        _logger.exception("on_lost failed for the lock on %s", resource)
