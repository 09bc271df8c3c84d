"""What is asked becomes reports: a text is read, a HAR file taken apart, a URL asked through the guard.

Owns: how much of it one request may have, and how many may be at work at once in this process. Must not know: HTTP's side of the face.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec
from msgspec import UNSET

from holdfast.faces.inspector.asked import Asked, RefusedError
from holdfast.inspector.addresses import AddressGuard
from holdfast.inspector.budget import Budget, WorkLimits
from holdfast.inspector.connecting import Resolve, resolve
from holdfast.inspector.exchange import Exchange, SentRequest
from holdfast.inspector.fetching import FetchError, FetchLimits, fetch
from holdfast.inspector.har import read_har
from holdfast.inspector.inspecting import inspect
from holdfast.inspector.reading import ReadingError, read_exchanges
from holdfast.inspector.showing import Shown

__all__ = ["LIVE_LIMITS", "MOST_REPORTS", "WORK_LIMITS", "Inspection"]

LIVE_LIMITS: Final = FetchLimits(total_s=10.0, most_bytes=1024 * 1024, redirects=5)
"""What one live request may take."""

WORK_LIMITS: Final = WorkLimits(
    bytes_each=64 * 1024, nodes_each=5_000, bytes_in_all=1024 * 1024, nodes_in_all=20_000, seconds=5.0
)
"""What inspecting may take for one request, however many responses it has."""

MOST_REPORTS: Final = 50
"""Responses that are inspected for one request."""

_AT_WORK: Final = 4
_REFUSALS: Final = frozenset({207, *range(400, 600)})


class Inspection:
    """Safe from any thread. With a `guard` URLs are asked; None: they are not."""

    def __init__(
        self,
        guard: AddressGuard | None = None,
        *,
        look_up: Resolve = resolve,
        limits: FetchLimits = LIVE_LIMITS,
        work: WorkLimits = WORK_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`look_up` tells the addresses of a host, `clock` the seconds that `work` is measured in."""
        self._guard = guard
        self._look_up = look_up
        self._limits = limits
        self._work = work
        self._clock = clock
        self._live = threading.BoundedSemaphore(_AT_WORK)
        self._read = threading.BoundedSemaphore(_AT_WORK)

    @property
    def asks_urls(self) -> bool:
        """True where URLs are asked."""
        return self._guard is not None

    def inspect(self, asked: Asked) -> list[Shown]:
        """The reports. Raises RefusedError: 403, 422, 502 where there is no response, 503 where too many are at work."""
        if asked.url is not UNSET:
            with _place(self._live) as place:
                exchanges = self._asked(asked, asked.url, place)
            source = asked.url
        else:
            source = "the text" if asked.har is UNSET else "the HAR file"
            with _place(self._read):
                exchanges = _read(asked)
        if len(exchanges) > MOST_REPORTS:
            said = f"There are {len(exchanges)} responses; at most {MOST_REPORTS} are inspected at once. `holdfast inspect` takes more."
            raise RefusedError(422, said)
        with _place(self._read):
            budget = Budget(self._work, clock=self._clock)
            return [Shown(source, inspect(exchange, budget=budget)) for exchange in exchanges]

    def _asked(self, asked: Asked, url: str, place: _Place) -> list[Exchange]:
        if self._guard is None:
            raise RefusedError(
                403, "This server asks no URLs (the setting inspect_urls is off). Paste what curl -i shows."
            )

        def look_up(host: str, port: int) -> Sequence[str]:
            # On a thread that may outlive the request: its end cannot be told to hurry.
            if not place.join():
                raise TimeoutError("no time is left")
            try:
                return self._look_up(host, port)
            finally:
                place.leave()

        request = SentRequest(method=asked.method or "GET", url=url, fields=tuple(asked.fields))
        try:
            found = fetch(request, limits=self._limits, guard=self._guard, follows=asked.follow, look_up=look_up)
        except FetchError as error:
            raise RefusedError(502, str(error)) from None
        return found if asked.all else found[-1:]


def _read(asked: Asked) -> list[Exchange]:
    try:
        if asked.har is not UNSET:
            found = read_har(asked.har_bytes())
            chosen = found if asked.all else [each for each in found if each.response.status in _REFUSALS]
            if not chosen:
                said = f"None of the {len(found)} responses is a 207 or of 400 and above; with `all` every one is inspected."
                raise RefusedError(422, said)
            return chosen
        text = "" if asked.response is UNSET else asked.response
        request = SentRequest(method=asked.method) if asked.method else None
        found = read_exchanges(text.encode("utf-8", "surrogatepass"), request)
    except (ReadingError, msgspec.DecodeError, UnicodeError) as error:
        raise RefusedError(422, str(error)) from None
    return found if asked.all else found[-1:]


class _Place:
    """One of the places for work: free again once nobody who is in it is left."""

    def __init__(self, places: threading.BoundedSemaphore) -> None:
        """Taken, for one to begin with."""
        self._places = places
        self._changing = threading.Lock()
        self._inside = 1

    def join(self) -> bool:
        """Stay too; False where everybody has left already."""
        with self._changing:
            if not self._inside:
                return False
            self._inside += 1
            return True

    def leave(self) -> None:
        """Go; the last one frees the place."""
        with self._changing:
            self._inside -= 1
            is_last = not self._inside
        if is_last:
            self._places.release()


@contextmanager
def _place(places: threading.BoundedSemaphore) -> Generator[_Place]:
    """One of the places for work, or a refusal."""
    if not places.acquire(blocking=False):
        raise RefusedError(503, "Too many responses are being inspected at the moment.", ("Retry-After", "2"))
    place = _Place(places)
    try:
        yield place
    finally:
        place.leave()
