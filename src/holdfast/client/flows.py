"""The commands of the client's flows: what a conversation with a server needs from the world outside.

A flow is a generator: it yields commands and is sent their results, and what it returns is the outcome. So each
conversation (wait out a 423, acquire, refresh) is written once and runs under any driver (`drivers`): with threads or with
a loop, over httpx or requests, with real time or with a test's. Where a command fails, its exception is thrown into the flow.
Must not know: sockets, threads, loops, libraries.

>>> from holdfast.client.exchange import ClientRequest
>>> def look(url: str) -> Flow[int]:
...     response = yield from send(ClientRequest(method="GET", url=url))
...     return response.status
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from holdfast.client.exchange import ClientRequest, ClientResponse

__all__ = [
    "AsyncEventStream",
    "Command",
    "EventStream",
    "Flow",
    "Hear",
    "Hush",
    "Listen",
    "Notify",
    "Now",
    "Send",
    "Sleep",
    "notify",
    "now",
    "send",
    "sleep",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request once; the result is a ClientResponse. What the network raises is thrown into the flow."""

    request: ClientRequest


@dataclass(frozen=True, slots=True)
class Sleep:
    """Let this many seconds pass; the result is None. Raises WaitCancelledError where somebody cancels the wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Now:
    """Read the monotonic clock; the result is a float in seconds, from an origin that means nothing."""


@dataclass(frozen=True, slots=True)
class Notify:
    """Call `target(argument)`, which is the user's code; the result is None. Async drivers await what it returns, if they can."""

    target: Callable[[Any], object]
    argument: object


class EventStream(Protocol):
    """An answer that comes in pieces, as the driver's `listen` opened it."""

    @property
    def status(self) -> int:
        """The status of the answer."""
        ...

    def read(self) -> bytes:
        """The next piece; empty at the end."""
        ...

    def close(self) -> None:
        """End it, and the request with it. Idempotent."""
        ...


class AsyncEventStream(Protocol):
    """The same, awaited."""

    @property
    def status(self) -> int:
        """The status of the answer."""
        ...

    async def read(self) -> bytes:
        """The next piece; empty at the end."""
        ...

    async def close(self) -> None:
        """End it, and the request with it. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Listen:
    """Send a request whose answer is a stream; the result is a handle for Hear and Hush, or None where the driver cannot.

    The driver closes what the flow has not, whatever happens. Nothing may be silent for longer than `patience` seconds.
    """

    request: ClientRequest
    patience: float


@dataclass(frozen=True, slots=True)
class Hear:
    """Wait for the next piece of a stream; the result is bytes, empty at its end. What the network raises is thrown into the flow."""

    stream: EventStream | AsyncEventStream


@dataclass(frozen=True, slots=True)
class Hush:
    """Close a stream; the result is None."""

    stream: EventStream | AsyncEventStream


Command: TypeAlias = Send | Sleep | Now | Notify | Listen | Hear | Hush
"""All that a flow can ask for."""

Flow: TypeAlias = Generator[Command, Any, T]
"""A conversation whose outcome is a T."""


def send(request: ClientRequest) -> Flow[ClientResponse]:
    """A Send, with the type of its result; used with `yield from`."""
    response: ClientResponse = yield Send(request)
    return response


def sleep(seconds: float) -> Flow[None]:
    """A Sleep; used with `yield from`."""
    yield Sleep(seconds)


def now() -> Flow[float]:
    """A Now, with the type of its result; used with `yield from`."""
    seconds: float = yield Now()
    return seconds


def notify(target: Callable[[Any], object], argument: object) -> Flow[None]:
    """A Notify; used with `yield from`."""
    yield Notify(target, argument)
