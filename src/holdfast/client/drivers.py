"""Drivers: they run a flow, with plain calls or with await.

Owns: `run_sync` and `run_async`, and the sleepers, which can be cancelled. Must not know: what a flow is about, nor any
HTTP library; whoever calls brings `send`. The clock and the sleeper are arguments, so that a test lets no time pass.

>>> from holdfast.client import flows
>>> def nap() -> flows.Flow[str]:
...     yield from flows.sleep(3600)
...     return "awake"
>>> run_sync(nap(), send=lambda request: NotImplemented, sleeper=lambda seconds: None)
'awake'
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from holdfast.client.errors import ClientError
from holdfast.client.exchange import ClientRequest, ClientResponse
from holdfast.client.flows import AsyncEventStream, EventStream, Flow, Hear, Hush, Listen, Notify, Now, Send, Sleep

__all__ = ["AsyncSleep", "Sleeper", "SyncSleep", "WaitCancelledError", "async_sleep", "run_async", "run_sync"]

T = TypeVar("T")


class WaitCancelledError(ClientError):
    """A wait was cancelled from another thread, with `Sleeper.cancel`; the request was not sent again.

    >>> issubclass(WaitCancelledError, ClientError)
    True
    """


class SyncSleep(Protocol):
    """Lets seconds pass, or raises WaitCancelledError."""

    def __call__(self, seconds: float, /) -> None:
        """Return after `seconds`."""
        ...


class AsyncSleep(Protocol):
    """Lets seconds pass on a loop; is cancelled as every await is."""

    def __call__(self, seconds: float, /) -> Awaitable[None]:
        """Return after `seconds`."""
        ...


class Sleeper:
    """Sleeps until it is cancelled from another thread, or by a signal's handler.

    >>> sleeper = Sleeper()
    >>> sleeper.cancel()
    >>> sleeper(3600)
    Traceback (most recent call last):
    holdfast.client.drivers.WaitCancelledError: the wait was cancelled
    """

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        # One that may be taken again by a signal's handler while its thread has it.
        self._guard = threading.RLock()
        self._interrupts: dict[object, Callable[[], None]] = {}

    def __call__(self, seconds: float, /) -> None:
        """Sleep for `seconds`. Raises WaitCancelledError at once when cancelled, now or before."""
        if self._cancelled.wait(min(max(0.0, seconds), threading.TIMEOUT_MAX)):
            msg = "the wait was cancelled"
            raise WaitCancelledError(msg)

    def cancel(self) -> None:
        """End this sleep and all later ones, and what was attached. Idempotent; safe from any thread."""
        with self._guard:
            self._cancelled.set()
            interrupts = list(self._interrupts.values())
            self._interrupts.clear()
        for interrupt in interrupts:
            interrupt()

    def attach(self, owner: object, interrupt: Callable[[], None]) -> None:
        """Have `interrupt` called when it is cancelled, at once where it was: it ends what else `owner` waits for."""
        with self._guard:
            if not self._cancelled.is_set():
                self._interrupts[owner] = interrupt
                return
        interrupt()

    def detach(self, owner: object) -> None:
        """Forget what `owner` attached. Idempotent."""
        with self._guard:
            self._interrupts.pop(owner, None)


async def async_sleep(seconds: float, /) -> None:
    """Sleep on the running loop: asyncio's, and trio's where anyio is installed (httpx brings it)."""
    import asyncio

    try:
        import anyio
    except ImportError:
        await asyncio.sleep(seconds)
    else:
        await anyio.sleep(seconds)


def run_sync(
    flow: Flow[T],
    send: Callable[[ClientRequest], ClientResponse],
    sleeper: SyncSleep | None = None,
    now: Callable[[], float] = time.monotonic,
    *,
    listen: Callable[[ClientRequest, float], EventStream] | None = None,
) -> T:
    """Run `flow` in this thread and return its outcome; what it raises is raised here.

    `sleeper` defaults to a Sleeper of its own; `now` gives monotonic seconds. Without `listen` a flow that wants to
    listen to a stream is told that it cannot; what was opened is closed in the end. The flow is closed whatever happens, KeyboardInterrupt included.
    """
    nap = Sleeper() if sleeper is None else sleeper
    streams = _Streams(listen)

    def obey(command: object) -> object:
        match command:
            case Send(request):
                return send(request)
            case Sleep(seconds):
                return nap(seconds)
            case Now():
                return now()
            case Notify(target, argument):
                target(argument)
                return None
            case Listen() | Hear() | Hush():
                return streams.obey(command)
            case _:
                msg = f"{command!r} is no command of a flow"
                raise TypeError(msg)

    try:
        command: object = next(flow)
        while True:
            try:
                result = obey(command)
            except Exception as error:  # noqa: BLE001 - the flow decides what an error means to it
                command = flow.throw(error)
            else:
                command = flow.send(result)
    except StopIteration as stop:
        outcome: T = stop.value
        return outcome
    finally:
        try:
            streams.close()
        finally:
            flow.close()


async def run_async(
    flow: Flow[T],
    send: Callable[[ClientRequest], Awaitable[ClientResponse]],
    sleeper: AsyncSleep = async_sleep,
    now: Callable[[], float] = time.monotonic,
    *,
    listen: Callable[[ClientRequest, float], Awaitable[AsyncEventStream]] | None = None,
) -> T:
    """Run `flow` on the running loop; as `run_sync`, but sending, sleeping and listening are awaited.

    What a Notify's target returns is awaited where it is awaitable. A cancellation passes through and closes the flow.
    """
    streams = _AsyncStreams(listen)

    async def obey(command: object) -> object:
        match command:
            case Send(request):
                return await send(request)
            case Sleep(seconds):
                await sleeper(seconds)
                return None
            case Now():
                return now()
            case Notify(target, argument):
                returned: Any = target(argument)
                if inspect.isawaitable(returned):
                    await returned
                return None
            case Listen() | Hear() | Hush():
                return await streams.obey(command)
            case _:
                msg = f"{command!r} is no command of a flow"
                raise TypeError(msg)

    try:
        command: object = next(flow)
        while True:
            try:
                result = await obey(command)
            except Exception as error:  # noqa: BLE001 - the flow decides what an error means to it
                command = flow.throw(error)
            else:
                command = flow.send(result)
    except StopIteration as stop:
        outcome: T = stop.value
        return outcome
    finally:
        try:
            await streams.close()
        finally:
            flow.close()


class _Streams:
    """What a flow listens to, closed with it."""

    def __init__(self, listen: Callable[[ClientRequest, float], EventStream] | None) -> None:
        self._listen = listen
        self._opened: list[EventStream] = []

    def obey(self, command: Listen | Hear | Hush) -> object:
        if isinstance(command, Listen):
            if self._listen is None:
                return None
            self._opened.append(self._listen(command.request, command.patience))
            return self._opened[-1]
        return command.stream.read() if isinstance(command, Hear) else command.stream.close()

    def close(self) -> None:
        for stream in self._opened:
            stream.close()


class _AsyncStreams:
    """The same, awaited."""

    def __init__(self, listen: Callable[[ClientRequest, float], Awaitable[AsyncEventStream]] | None) -> None:
        self._listen = listen
        self._opened: list[AsyncEventStream] = []

    async def obey(self, command: Listen | Hear | Hush) -> object:
        if isinstance(command, Listen):
            if self._listen is None:
                return None
            self._opened.append(await self._listen(command.request, command.patience))
            return self._opened[-1]
        done: Any = command.stream.read() if isinstance(command, Hear) else command.stream.close()
        return await done

    async def close(self) -> None:
        for stream in self._opened:
            await stream.close()
