"""What is known of a lock that is held: the pure state machine behind `held.state` and `held.ensure()`.

Owns: the states, the deadline, when to refresh and when to try again, and which reason a lost lock has. Must not know:
threads, HTTP, the clock. All instants are seconds of one clock that never runs backwards and counts while the machine
sleeps (see `boottime`).

The deadline counts from *before* the request was sent that the server answered, for the server's timer may have begun at
any moment since; and by the time that was granted, not the one that was asked for. So the lock ends here first, and
at the server a little later, whatever the network did in between.

HELD becomes AT_RISK where a refresh fails or little time is left, and HELD again with the next refresh that comes through.
Either becomes LOST at the deadline, or by an answer that says so; and RELEASED when it is given back. These two are final.
"""

from __future__ import annotations

import enum
from typing import Final, TypeAlias

import msgspec

from holdfast.client.errors import LockLostError, LostReason

__all__ = ["Failed", "HoldState", "Holding", "Loss", "Outcome", "Refreshed"]

_FOREVER: Final = float("inf")
_LOOK_AFTER: Final = 60.0  # seconds; a lock without end is asked for so often, to hear that it was broken
_SHORTEST_PAUSE: Final = 0.05
_LONGEST_TRY: Final = 10.0
_SHORTEST_TRY: Final = 0.2
_LONGEST_RELEASE: Final = 5.0
_SHORTEST_RELEASE: Final = 0.5


class HoldState(enum.StrEnum):
    """How sure it is that the lock is held.

    >>> HoldState.AT_RISK == "at-risk"
    True
    """

    HELD = "held"
    AT_RISK = "at-risk"
    """Still held, but a refresh has failed, or less than a third of the time is left."""
    LOST = "lost"
    """Held no more, or not surely so: write nothing. Final."""
    RELEASED = "released"
    """Given back by its holder. Final."""


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """Why a lock is lost. `detail` is a sentence; `by` and `why` tell of a lock that was broken; `error` is what led to it.

    >>> Loss(reason=LostReason.BROKEN, by="root", why="left open").by
    'root'
    """

    reason: LostReason
    detail: str = ""
    by: str = ""
    why: str = ""
    error: BaseException | None = None

    def as_error(self, resource: str) -> LockLostError:
        """The exception that `ensure()` raises, with the error that led to it as its cause."""
        error = LockLostError(resource, self.reason, self.detail)
        error.__cause__ = self.error
        return error


class Refreshed(msgspec.Struct, frozen=True):
    """The server restarted the timer: a request sent at `asked_at` was granted `ttl` seconds, None without end.

    `breaking` is the loss that is to come at the end of them, where somebody has set the lock to be broken then.
    """

    asked_at: float
    ttl: float | None
    breaking: Loss | None = None


class Failed(msgspec.Struct, frozen=True):
    """A refresh did not come through, which says nothing about the lock. `retry_after`: seconds, as the server asked."""

    error: Exception
    retry_after: float = 0.0
    is_refusal: bool = False
    """True where the server answered that it may not be: credentials, or rights."""


Outcome: TypeAlias = Refreshed | Failed | Loss
"""What became of one refresh."""


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """One held lock at one moment. Each change gives a new value; one that is lost or released changes no more.

    `ttl` is in seconds, None without end. `is_kept` says that something refreshes it; `tried_at` is when the last
    refresh was begun since the last one that came through. `breaking` is the loss that its end brings, where a break is set.

    >>> holding = Holding(asked_at=100.0, ttl=30.0)
    >>> holding.refresh_at, holding.deadline, holding.state(111.0).value, holding.state(130.0).value
    (110.0, 130.0, 'held', 'lost')
    """

    asked_at: float
    ttl: float | None
    is_kept: bool = True
    tried_at: float | None = None
    failures: int = 0
    failed: Failed | None = None
    again_at: float | None = None
    breaking: Loss | None = None
    loss: Loss | None = None
    is_released: bool = False

    @property
    def deadline(self) -> float:
        """From when on it is not surely held any more."""
        return _FOREVER if self.ttl is None else self.asked_at + self.ttl

    @property
    def refresh_at(self) -> float:
        """When it is next to be refreshed: at a third of its time; after a failure when the pause is over."""
        if self.again_at is not None:
            return self.again_at
        return self.asked_at + (_LOOK_AFTER if self.ttl is None else self.ttl / 3)

    @property
    def is_final(self) -> bool:
        """True once it is known to be lost, or released."""
        return self.is_released or self.loss is not None

    def left(self, now: float) -> float:
        """Seconds until the deadline, at least 0; infinite without end."""
        return 0.0 if self.is_final else max(0.0, self.deadline - now)

    def state(self, now: float) -> HoldState:
        """The state at `now`, which trusts nothing but the deadline."""
        if self.is_released:
            return HoldState.RELEASED
        if self.loss is not None or now >= self.deadline:
            return HoldState.LOST
        if self.failures or (self.ttl is not None and self.deadline - now < self.ttl / 3):
            return HoldState.AT_RISK
        return HoldState.HELD

    def trying(self, now: float) -> Holding:
        """A refresh is begun."""
        return self if self.is_final else msgspec.structs.replace(self, tried_at=now)

    def try_for(self, now: float) -> float:
        """How many seconds a refresh that is begun now may take: half of what is left, so that there is a second try."""
        return min(_LONGEST_TRY, max(_SHORTEST_TRY, self.left(now) / 2))

    def release_for(self, now: float) -> float:
        """How many seconds a release may be tried for: no longer than the lock would last, and shortly where it is lost."""
        left = 0.0 if self.loss is not None else self.deadline - now
        return min(_LONGEST_RELEASE, max(_SHORTEST_RELEASE, left))

    def after(self, outcome: Outcome, now: float) -> Holding:
        """What is known once a refresh has had this outcome."""
        if self.is_final:
            return self
        if isinstance(outcome, Loss):
            return msgspec.structs.replace(self, loss=outcome)
        if isinstance(outcome, Failed):
            return self._failed(outcome, now)
        if outcome.asked_at < self.asked_at:  # overtaken by a later refresh, from another thread
            return self
        return Holding(asked_at=outcome.asked_at, ttl=outcome.ttl, is_kept=self.is_kept, breaking=outcome.breaking)

    def checked(self, now: float) -> Holding:
        """The same, lost where its deadline has passed."""
        if self.is_final or now < self.deadline:
            return self
        return msgspec.structs.replace(self, loss=self._lapsed(now))

    def released(self) -> Holding:
        """Given back."""
        return self if self.loss is not None else msgspec.structs.replace(self, is_released=True)

    def _failed(self, outcome: Failed, now: float) -> Holding:
        left = self.deadline - now
        usual = _LOOK_AFTER if self.ttl is None else self.ttl
        pause = min(usual / 30 * 2**self.failures, usual / 3)
        # What the server asks for is heeded, as far as there is time; an attempt in the last moment helps nobody.
        pause = max(_SHORTEST_PAUSE, min(max(pause, outcome.retry_after), max(left / 2, 0.0), _LOOK_AFTER))
        return msgspec.structs.replace(
            self, failures=self.failures + 1, failed=outcome, again_at=min(now + pause, self.deadline)
        )

    def _lapsed(self, now: float) -> Loss:
        if self.breaking is not None:
            return self.breaking
        late = f"{now - self.deadline:.1f} s"
        if self.failed is not None:
            reason = LostReason.REFUSED if self.failed.is_refusal else LostReason.UNREACHABLE
            detail = f"No refresh came through until its time had run out: {self.failed.error}"
            return Loss(reason=reason, detail=detail, error=self.failed.error)
        if self.tried_at is not None and self.is_kept:
            return Loss(reason=LostReason.UNREACHABLE, detail="The server did not answer until its time had run out.")
        if self.is_kept:
            detail = f"This program was stopped, or its machine slept: it looks {late} after the end of the lock."
            return Loss(reason=LostReason.SUSPENDED, detail=detail)
        return Loss(reason=LostReason.EXPIRED, detail=f"Its time ran out {late} ago, and nothing refreshes it.")
