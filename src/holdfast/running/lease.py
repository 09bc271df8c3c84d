"""When a command must be ended so that nothing of it is left once its lock may be somebody else's.

Owns: the arithmetic from the end of a lock to two instants: when a command is asked to end, and when it is killed. Pure. Must
not know: processes, signals, the clock. All instants are seconds of `boottime`.

    asked_at                                        term_at          kill_at     deadline
       |------------------ ttl - grace - margin --------|---- grace ----|-- margin --|
       the refresh was sent                            TERM           KILL           the server may grant it to another

The deadline counts from before the last refresh that came through was *sent*, so at the server it is never earlier. The margin
is for what happens between the decision to kill and the death of the last process, and for two clocks that do not go alike.
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["LONGEST_GRACE", "USUAL_GRACE_S", "Lease", "Span", "grace_of", "margin_of", "most_grace"]

USUAL_GRACE_S: Final = 5.0
"""Seconds between TERM and KILL, unless something else was asked for, or there is no time for them."""

LONGEST_GRACE: Final = 1 / 4
"""Most of a lock's time that may go by between TERM and KILL. A refresh is due at a third, and needs time to be repeated."""

_DRIFT: Final = 1 / 1000  # twice as much as two clocks that are kept by NTP may differ in rate (500 ppm)
_LEAST_MARGIN_S: Final = 0.25
_MOST_MARGIN_S: Final = 2.0
_SAME_S: Final = (
    1.0  # two refreshes tell of the same end a little differently, as they were more or less long on their way
)


def margin_of(ttl: float) -> float:
    """Seconds before the end of a lock of `ttl` seconds at which its command is killed.

    >>> margin_of(1.0), margin_of(30.0), margin_of(3600.0)
    (0.251, 1.53, 5.6)
    """
    return round(min(max(ttl / 20, _LEAST_MARGIN_S), _MOST_MARGIN_S) + ttl * _DRIFT, 6)


def most_grace(ttl: float) -> float:
    """The longest time between TERM and KILL, in seconds, that a lock of `ttl` seconds has room for.

    >>> most_grace(30.0)
    7.5
    """
    return ttl * LONGEST_GRACE


def grace_of(asked: float | None, ttl: float) -> float:
    """Seconds between TERM and KILL: what was asked for (None: the usual time), as far as there is room.

    >>> grace_of(None, 30.0), grace_of(None, 2.0), grace_of(0.0, 30.0)
    (5.0, 0.5, 0.0)
    """
    return min(USUAL_GRACE_S if asked is None else asked, most_grace(ttl))


class Span(msgspec.Struct, frozen=True):
    """A lock's deadline, and the seconds from which its margin and grace are measured; None is without end."""

    deadline: float
    ttl: float | None

    def after(self, deadline: float, ttl: float | None) -> Span:
        """The same once it was refreshed for `ttl` seconds, up to `deadline`.

        Where the end is set (the lock is to be broken then), each refresh gives less and moves nothing. That must not eat up
        the grace: it stays what it was when this end became known.

        >>> Span(1030.0, 30.0).after(1040.0, 30.0), Span(1030.0, 30.0).after(1014.0, 4.0)
        (Span(deadline=1040.0, ttl=30.0), Span(deadline=1014.0, ttl=4.0))
        >>> Span(1014.0, 4.0).after(1013.99, 2.6)
        Span(deadline=1013.99, ttl=4.0)
        """
        is_set = self.ttl is not None and ttl is not None and ttl < self.ttl and deadline > self.deadline - _SAME_S
        return Span(deadline, self.ttl if is_set else ttl)


class Lease(msgspec.Struct, frozen=True):
    """How long a command may run: it is told to end at `term_at`, and killed at `kill_at`."""

    term_at: float
    kill_at: float

    @classmethod
    def until(cls, deadline: float, ttl: float | None, asked_grace: float | None) -> Lease:
        """The lease of a lock that ends at `deadline` and was granted for `ttl` seconds; None is without end.

        >>> Lease.until(1030.0, 30.0, 5.0)
        Lease(term_at=1023.47, kill_at=1028.47)
        """
        if ttl is None:
            return cls(float("inf"), float("inf"))
        kill_at = deadline - margin_of(ttl)
        return cls(kill_at - grace_of(asked_grace, ttl), kill_at)
