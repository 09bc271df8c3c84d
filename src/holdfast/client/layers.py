"""One retry layer: what else below (or above) a waiting transport would send a 423 again.

Owns: how urllib3's Retry and httpx-retries' RetryTransport are noticed, by their shape. Must not know: either library.

Two layers multiply: five tries of one around five of the other are twenty-five requests, and the inner one throws away
the 423 that says who holds the lock. So a second one is refused when the first is made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, cast

from holdfast.client.errors import ClientError

__all__ = ["RetryLayerError", "refuse_retries", "retries_locked"]

_WRAPPED: Final = ("_sync_transport", "_async_transport", "_transport", "transport", "_wrapped", "wrapped", "_inner")
_DEEPEST: Final = 8


class RetryLayerError(ClientError):
    """Another layer is set to retry 423, too: take 423 out of its `status_forcelist`.

    >>> issubclass(RetryLayerError, ClientError)
    True
    """


def retries_locked(retry: object) -> bool:
    """True where a Retry of urllib3 or of httpx-retries sends a 423 again.

    >>> from urllib3.util import Retry
    >>> retries_locked(Retry(3, status_forcelist=[423])), retries_locked(Retry(3))
    (True, False)
    """
    if retry is None or isinstance(retry, (int, bool)):
        return False
    judge = getattr(retry, "is_retryable_status_code", None)
    if callable(judge):
        return bool(cast("Callable[[int], object]", judge)(423))
    listed = getattr(retry, "status_forcelist", None)
    return isinstance(listed, Collection) and 423 in listed


def refuse_retries(transport: object) -> None:
    """Raise RetryLayerError where `transport`, or one that it wraps, sends a 423 again."""
    seen: list[object] = []
    todo = [transport]
    while todo and len(seen) < _DEEPEST:
        layer = todo.pop()
        if layer is None or any(layer is known for known in seen):
            continue
        seen.append(layer)
        if retries_locked(getattr(layer, "retry", None)) or retries_locked(getattr(layer, "max_retries", None)):
            msg = (
                f"{type(layer).__name__} is set to retry 423 as well: the waits would multiply, and the answer that names the "
                "holder would be lost. Take 423 out of its status_forcelist."
            )
            raise RetryLayerError(msg)
        todo.extend(getattr(layer, name, None) for name in _WRAPPED)
