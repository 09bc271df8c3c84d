"""What the client raises: each error carries its facts, reads as a sentence, and survives pickling.

Owns: the exceptions of `holdfast.client` and the closed set of reasons for which a lock is lost. Must not
know: how a response is read (see `reading`), or any HTTP library.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Self

from holdfast.client.details import KnownLock, LockedDetails, LockedKind, locked_sentence
from holdfast.client.exchange import ClientResponse

__all__ = ["ClientError", "LockLostError", "LockedError", "LostReason", "NotReplayableError"]


class ClientError(Exception):
    """The root of the client's own errors.

    >>> issubclass(LockedError, ClientError)
    True
    """


class LockedError(ClientError):
    """A request was refused because something is locked. `str()` is a sentence for a person.

    `response` is the response as it came from the HTTP library; after pickling it is a ClientResponse, without the
    request's credentials. `waited` is in seconds, `attempts` counts the requests that were sent. All else that the
    server told is in `details`, and the most of it here as well.

    >>> from holdfast.client import raise_for_locked
    >>> try:
    ...     raise_for_locked((423, {}, b'{"ID": "9", "Who": "ada@build", "Operation": "plan"}', "https://tf.example/state"))
    ... except LockedError as error:
    ...     print(error, error.kind, sep=" | ")
    /state is locked by ada@build | LockedKind.HELD_BY_OTHER
    """

    def __init__(
        self, details: LockedDetails, response: object = None, *, waited: float = 0.0, attempts: int = 1
    ) -> None:
        """Keep the facts; the sentence is made when it is asked for."""
        super().__init__(details)
        self.details = details
        self.response = response
        self.waited = waited
        self.attempts = attempts

    def __str__(self) -> str:
        return locked_sentence(self.details, self.waited, self.attempts)

    @property
    def resource(self) -> str:
        """The URL path of what is locked."""
        return self.details.resource

    @property
    def holder(self) -> str:
        """Who holds the lock; empty where it is not told."""
        return self.details.holder

    @property
    def since(self) -> datetime | None:
        """Since when it is held, by the server's clock."""
        return self.details.since

    @property
    def until(self) -> datetime | None:
        """When it ends unless it is released or refreshed before, by the server's clock."""
        return self.details.until

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the server wants to be asked again, counted from its answer."""
        return self.details.retry_after

    @property
    def code(self) -> str:
        """The server's own name of the refusal."""
        return self.details.code

    @property
    def kind(self) -> LockedKind:
        """Why it was refused."""
        return self.details.kind

    @property
    def locks(self) -> tuple[KnownLock, ...]:
        """All locks in the way that are known."""
        return self.details.locks

    @property
    def queue_length(self) -> int | None:
        """How many wait in line, where it is told."""
        return self.details.queue_length

    @property
    def position(self) -> int | None:
        """The caller's own place in the line, 1 for the next, where it is told."""
        return self.details.position

    def __copy__(self) -> Self:
        new = type(self).__new__(type(self), *self.args)
        new.__dict__.update(self.__dict__)
        return new

    def __reduce__(self) -> tuple[object, ...]:
        state = self.__dict__ | {"response": _lasting(self.response)}
        return _restored, (type(self), self.args), state


def _restored(kind: type[LockedError], args: tuple[object, ...]) -> LockedError:
    return kind.__new__(kind, *args)


def _lasting(response: object) -> object:
    """What was read of the response, as a value: the object itself may hold connections and credentials."""
    if response is None:
        return None
    try:
        return ClientResponse.of(response)
    except TypeError:
        return None


class LostReason(enum.Enum):
    """Why a lock that was held is held no longer.

    >>> LostReason("broken") is LostReason.BROKEN
    True
    """

    EXPIRED = "expired"
    """Its time ran out before it could be refreshed."""
    BROKEN = "broken"
    """Somebody ended it; who, when and why is in the error's `detail`."""
    RELEASED_ELSEWHERE = "released elsewhere"
    """Somebody released it with its token, or removed the resource that it was on."""
    GONE = "gone"
    """The server knows it no longer."""
    REFUSED = "refused"
    """The server refuses the refresh (401, 403): credentials or rights were withdrawn."""
    UNREACHABLE = "unreachable"
    """The server could not be asked until its time ran out."""
    SUSPENDED = "suspended"
    """This process, or its machine, was stopped beyond its end."""
    KEEPALIVE_DIED = "keepalive died"
    """What refreshes it ended with an error of its own."""


class LockLostError(ClientError):
    """A lock that was held is lost: what it protects must not be written any more.

    >>> str(LockLostError("/orders/42", LostReason.BROKEN, "Bob broke it at 14:03 UTC."))
    'The lock on /orders/42 is lost: broken. Bob broke it at 14:03 UTC.'
    """

    def __init__(self, resource: str, reason: LostReason, detail: str = "") -> None:
        """`resource` is what was locked; `detail` is a sentence of the server, or of the error that led to it."""
        super().__init__(resource, reason, detail)
        self.resource = resource
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        detail = f". {self.detail}" if self.detail else ""
        return f"The lock on {self.resource} is lost: {self.reason.value}{detail}"


class NotReplayableError(ClientError):
    """A request cannot be sent again once its lock is free: its body is spent, or part of it was carried out.

    >>> str(NotReplayableError("PUT", "/dav/a", "its body is an iterator that was read"))
    'PUT /dav/a cannot be sent again: its body is an iterator that was read'
    """

    def __init__(self, method: str, resource: str, why: str) -> None:
        """`why` goes on after a colon."""
        super().__init__(method, resource, why)
        self.method = method
        self.resource = resource
        self.why = why

    def __str__(self) -> str:
        return f"{self.method} {self.resource} cannot be sent again: {self.why}"
