"""What a program does about a 423: read it, wait it out, hold a lock of its own.

Public names are loaded when they are first used, so that one needs only what its own module imports: httpx and
requests are optional.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from holdfast.client.acquiring import BreakFirst
    from holdfast.client.adapter_requests import WaitAdapter, waited_for
    from holdfast.client.api import Client
    from holdfast.client.api_async import AsyncClient
    from holdfast.client.dav import AsyncDavHeld, AsyncDavLock, DavHeld, DavLock
    from holdfast.client.details import KnownLock, LockedDetails, LockedKind
    from holdfast.client.drivers import Sleeper, WaitCancelledError
    from holdfast.client.errors import ClientError, LockedError, LockLostError, LostReason, NotReplayableError
    from holdfast.client.exchange import ClientRequest, ClientResponse, Headers
    from holdfast.client.fencing import FencingGuard, StaleTokenError
    from holdfast.client.held import AsyncHeld, Held
    from holdfast.client.holding import HoldState, Loss
    from holdfast.client.layers import RetryLayerError
    from holdfast.client.lockviews import EndedLock, FoundLock, Gap, LockEvent
    from holdfast.client.policy import Budget, GaveUp, Stale, Waiting, WaitPolicy
    from holdfast.client.reading import raise_for_locked, read_locked
    from holdfast.client.refusals import RefusedError, UnreachableError
    from holdfast.client.tokens import LockTokens
    from holdfast.client.transport_httpx import AsyncWaitTransport, WaitTransport
    from holdfast.client.versions import UnknownVersionError
    from holdfast.client.waiting import Waited

__all__ = [
    "AsyncClient",
    "AsyncDavHeld",
    "AsyncDavLock",
    "AsyncHeld",
    "AsyncWaitTransport",
    "BreakFirst",
    "Budget",
    "Client",
    "ClientError",
    "ClientRequest",
    "ClientResponse",
    "DavHeld",
    "DavLock",
    "EndedLock",
    "FencingGuard",
    "FoundLock",
    "Gap",
    "GaveUp",
    "Headers",
    "Held",
    "HoldState",
    "KnownLock",
    "LockEvent",
    "LockLostError",
    "LockTokens",
    "LockedDetails",
    "LockedError",
    "LockedKind",
    "Loss",
    "LostReason",
    "NotReplayableError",
    "RefusedError",
    "RetryLayerError",
    "Sleeper",
    "Stale",
    "StaleTokenError",
    "UnknownVersionError",
    "UnreachableError",
    "WaitAdapter",
    "WaitCancelledError",
    "WaitPolicy",
    "WaitTransport",
    "Waited",
    "Waiting",
    "raise_for_locked",
    "read_locked",
    "waited_for",
]

# Where each public name lives.
_HOMES: Final = {
    "acquiring": ("BreakFirst",),
    "api": ("Client",),
    "api_async": ("AsyncClient",),
    "dav": ("AsyncDavHeld", "AsyncDavLock", "DavHeld", "DavLock"),
    "fencing": ("FencingGuard", "StaleTokenError"),
    "held": ("AsyncHeld", "Held"),
    "holding": ("HoldState", "Loss"),
    "lockviews": ("EndedLock", "FoundLock", "Gap", "LockEvent"),
    "refusals": ("RefusedError", "UnreachableError"),
    "tokens": ("LockTokens",),
    "adapter_requests": ("WaitAdapter", "waited_for"),
    "drivers": ("Sleeper", "WaitCancelledError"),
    "layers": ("RetryLayerError",),
    "policy": ("Budget", "GaveUp", "Stale", "WaitPolicy", "Waiting"),
    "transport_httpx": ("AsyncWaitTransport", "WaitTransport"),
    "versions": ("UnknownVersionError",),
    "waiting": ("Waited",),
    "details": ("KnownLock", "LockedDetails", "LockedKind"),
    "errors": ("ClientError", "LockLostError", "LockedError", "LostReason", "NotReplayableError"),
    "exchange": ("ClientRequest", "ClientResponse", "Headers"),
    "reading": ("raise_for_locked", "read_locked"),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import the module of a public name on its first use."""
    home = _HOME_OF.get(name)
    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, those that are not loaded yet included."""
    return sorted({*globals(), *__all__})
