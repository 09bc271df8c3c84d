"""How long a locked database is waited for, how often, and what is said in the end: decisions without a database.

Owns: RetryOptions, Patience, Retry and DatabaseLockedError. Must not know: SQLAlchemy, sessions. The clock, the sleep and the
randomness are passed in.

The span before a retry is drawn at random up to a bound that doubles ("full jitter"), so that those who collided do not collide
again. The driver has mostly waited already (busy_timeout, lock_timeout), so the first spans are short.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypedDict

from holdfast.budget import Budget
from holdfast.databases.classify import LockedDatabase, classify
from holdfast.databases.codes import LockKind, RetryUnit
from holdfast.databases.holders import Holder, rank
from holdfast.databases.telling import LOG, holders_of, holders_of_async

if TYPE_CHECKING:
    from holdfast.databases.connecting import Target

__all__ = ["DatabaseLockedError", "Patience", "Retry", "RetryOptions"]

_MOST_DOUBLINGS: Final = 32
_ASK_EVERY_S: Final = 1.0
_NEGLIGIBLE_S: Final = 1e-6
"""What rounding leaves of a deadline that has been slept up to."""
_INSIDE: Final = frozenset({RetryUnit.STATEMENT, RetryUnit.SAVEPOINT})


class DatabaseLockedError(Exception):
    """The database was still locked when the deadline was over, or no attempt was left; the last refusal is the `__cause__`.

    `locked` is what it said, `holders` are those who were seen to hold it (with their statements, which its text leaves out), `waited` are the seconds since the first attempt began,
    `attempts` how often it was tried.
    """

    def __init__(
        self, locked: LockedDatabase, holders: tuple[Holder, ...] = (), waited: float = 0.0, attempts: int = 1
    ) -> None:
        """Its text is a sentence for a person."""
        tried = f"after {waited:.1f} s and {attempts} attempt{'' if attempts == 1 else 's'}"
        text = f"The database is still locked {tried}: {locked.sentence} ({locked.name}, {locked.code})."
        if holders:
            text += f" Held by {'; '.join(holder.brief for holder in sorted(holders, key=rank)[:3])}."
        super().__init__(text)
        self.locked = locked
        self.holders = holders
        self.waited = waited
        self.attempts = attempts

    def __reduce__(self) -> tuple[Any, ...]:
        """As queues of jobs send errors from process to process."""
        return type(self), (self.locked, self.holders, self.waited, self.attempts)


@dataclass(frozen=True, slots=True)
class Retry:
    """What `on_retry` is told before each wait. `unit` is what will be done again; the spans are in seconds.

    `waited` counts from the beginning of the first attempt, `left` until the deadline, `delay` until the next attempt.
    """

    locked: LockedDatabase
    holders: tuple[Holder, ...]
    unit: RetryUnit
    attempts: int
    waited: float
    delay: float
    left: float


class RetryOptions(TypedDict, total=False):
    """How a locked database is waited out; all spans are in seconds.

    `deadline` (30): for how long, counted from the beginning of the first attempt. `attempts` (no bound): how often it is tried at
    most. `floor` (0.01) and `cap` (1): the bound of the first span between two attempts, and of the longest. `jitter` (1): the share of a
    span that is drawn at random. `budget`: what all calls that share it may do again. `on_retry` is called before each wait with a
    Retry; async callers await what it returns. `name_holders` (True): ask who holds the database, and remember where in the code the
    engine's transactions begin (`holdfast.databases.watch`), so that this process itself is told with the place. `clock`, `sleep` and
    `chance` (numbers from 0 to 1) are for tests; `sleep` is a coroutine function for async callers.
    """

    deadline: float
    attempts: int | None
    floor: float
    cap: float
    jitter: float
    budget: Budget | None
    on_retry: Callable[[Retry], object] | None
    name_holders: bool
    clock: Callable[[], float]
    sleep: Callable[[float], Any] | None
    chance: Callable[[], float]


class Patience:
    """One call: how often it has been tried, and whether it is tried again."""

    def __init__(self, options: RetryOptions) -> None:
        """Begin now. Raises ValueError for spans that make no sense, TypeError for an option that there is not."""
        unknown = options.keys() - RetryOptions.__annotations__.keys()
        if unknown:
            msg = f"no such option: {', '.join(sorted(unknown))}"
            raise TypeError(msg)
        self.deadline = options.get("deadline", 30.0)
        self.most_attempts = options.get("attempts")
        self.floor = options.get("floor", 0.01)
        self.cap = options.get("cap", 1.0)
        self.jitter = options.get("jitter", 1.0)
        self.budget = options.get("budget")
        self.on_retry = options.get("on_retry")
        self.name_holders = options.get("name_holders", True)
        self.clock = options.get("clock", time.monotonic)
        self.sleep = options.get("sleep")
        self.chance = options.get("chance", random.random)
        if not (self.deadline >= 0 and 0 < self.floor <= self.cap and 0 <= self.jitter <= 1):
            msg = "a deadline is not negative, 0 < floor <= cap, and 0 <= jitter <= 1"
            raise ValueError(msg)
        if self.most_attempts is not None and self.most_attempts < 1:
            msg = "there is one attempt at least"
            raise ValueError(msg)
        self.attempts = 0
        self.is_committed = False
        """True once the COMMIT of what was tried is through: to do it again would do it twice."""
        self._began_at = self.clock()
        self._asked_at: float | None = None
        self._holders: tuple[Holder, ...] = ()

    @property
    def waited(self) -> float:
        """Seconds since the first attempt began."""
        return self.clock() - self._began_at

    @property
    def left(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self.deadline - self.waited)

    def judge(self, error: BaseException, *, whole: bool = True, statement: str | None = None) -> LockedDatabase | None:
        """What is to be waited out; None where `error` is to be raised as it is.

        `whole` is False inside a transaction that somebody else began: only what leaves that one as it was can be done again there.
        """
        if isinstance(error, DatabaseLockedError):
            return None  # it has been waited for already, further in
        found = classify(error, statement=statement)
        if found is None:
            return None
        if not found.is_retryable:
            error.add_note(f"{found}; waiting cannot help")
            return None
        if self.is_committed:
            error.add_note(f"{found}; this came after the COMMIT, so nothing was done again")
            return None
        return found if whole or found.retry in _INSIDE else None

    def given_up(self, error: Exception) -> Exception:
        """What is raised where nothing can be begun anew any more: a DatabaseLockedError where `error` would have been waited out."""
        found = self.judge(error)
        return error if found is None else DatabaseLockedError(found, self._holders, self.waited, self.attempts)

    def settle(self, found: LockedDatabase, error: BaseException, unit: RetryUnit, target: Target | None) -> None:
        """Wait until the next attempt is due. `target` is asked who holds it; DatabaseLockedError from `error` ends it."""
        if target is not None and self._is_to_ask(found):
            self._holders = holders_of(target) or self._holders
        retry = self._next(found, error, unit)
        if self.on_retry is not None:
            self.on_retry(retry)
        (self.sleep or time.sleep)(retry.delay)

    async def settle_async(
        self, found: LockedDatabase, error: BaseException, unit: RetryUnit, target: Target | None
    ) -> None:
        """The same, asking and sleeping asynchronously."""
        if target is not None and self._is_to_ask(found):
            self._holders = await holders_of_async(target) or self._holders
        retry = self._next(found, error, unit)
        if self.on_retry is not None:
            told = self.on_retry(retry)
            if isinstance(told, Awaitable):
                await told
        await (self.sleep or asyncio.sleep)(retry.delay)

    def _is_to_ask(self, found: LockedDatabase) -> bool:
        """At first, in the end, and once a second at most between them."""
        if not self.name_holders or found.kind is not LockKind.HELD:
            return False
        now = self.clock()
        if self._asked_at is not None and now - self._asked_at < _ASK_EVERY_S and self.left > _NEGLIGIBLE_S:
            return False
        self._asked_at = now
        return True

    def _next(self, found: LockedDatabase, error: BaseException, unit: RetryUnit) -> Retry:
        """What happens before the next attempt; logged."""
        delay = self._delay()
        if delay is None:
            raise DatabaseLockedError(found, self._holders, self.waited, self.attempts) from error
        retry = Retry(found, self._holders, unit, self.attempts, self.waited, delay, self.left)
        level = logging.WARNING if retry.waited >= _ASK_EVERY_S else logging.INFO
        LOG.log(
            level,
            "%s; %s again in %.2f s (attempt %d, %.1f s left)%s",
            found,
            unit.value,
            delay,
            retry.attempts,
            retry.left,
            f"; held by {min(retry.holders, key=rank).brief}" if retry.holders else "",
        )
        return retry

    def _delay(self) -> float | None:
        left = self.left
        if left < _NEGLIGIBLE_S or (self.most_attempts is not None and self.attempts >= self.most_attempts):
            return None
        span = min(self.cap, self.floor * 2 ** min(self.attempts - 1, _MOST_DOUBLINGS))
        delay = span * (1 - self.jitter) + span * self.jitter * self.chance()
        if self.budget is not None:
            reserved = self.budget.reserve(self.clock(), most=left)
            if reserved is None:
                return None
            delay = max(delay, reserved)
        return min(delay, left)
