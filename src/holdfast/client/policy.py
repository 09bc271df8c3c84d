"""How long to wait for a lock, how often to ask, and when to give up: pure decisions.

Owns: WaitPolicy, `next_delay` and `hopeless`. Must not know: requests, the network. Randomness and the clock are
passed in.

What a server says is a floor: jitter is *added* to it, never taken off, for earlier cannot help. Where nothing is said,
the span is drawn anew each time, from the floor up to a bound that doubles, so that many who wait do not come together.
A lock's known end is no promise in either direction (RFC 4918 section 6.6): its holder may release it earlier, or renew it.
So a lock that ends later than the deadline is waited for, unless `trust_expiry` is set; one that has no end is not,
unless `wait_for_endless` is set; and a rule (an archived repository) never is.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from holdfast.budget import Budget
from holdfast.client.details import LockedDetails, LockedKind

__all__ = ["Budget", "GaveUp", "Stale", "WaitPolicy", "Waiting", "backoff", "hopeless", "next_delay"]

_MOST_DOUBLINGS: Final = 32


class Stale(enum.Enum):
    """What becomes of a change whose author's version may be out of date after a wait.

    >>> Stale("refuse") is Stale.REFUSE
    True
    """

    REFUSE = "refuse"
    """Send it again only with the version that was read (If-Match); where none is known, raise UnknownVersionError at once."""
    OVERWRITE = "overwrite"
    """Send it again as it was, whatever the holder of the lock has changed meanwhile. The last one wins."""


class GaveUp(enum.Enum):
    """Why a refusal was not waited out.

    >>> GaveUp("deadline") is GaveUp.DEADLINE
    True
    """

    DEADLINE = "deadline"
    """The time of the policy is over, or the server wants to be asked only after it."""
    ATTEMPTS = "attempts"
    """The request was sent as often as the policy allows."""
    BUDGET = "budget"
    """The budget that many requests share has nothing left before the deadline."""
    ENDLESS = "endless"
    """The lock has no end."""
    EXPIRY = "expiry"
    """The lock ends after the deadline, and the policy trusts that."""
    RULE = "rule"
    """It is refused by a rule, or for a token that does not count: waiting does not help."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What `on_wait` is told before each wait: who is in the way, and how long it will be.

    `waited` and `left` are the seconds since the first refusal and until the deadline. `delay` is after how many
    seconds the lock is looked at, or the request sent, again; 0 where the server tells at once when it is free.

    >>> policy = WaitPolicy(on_wait=lambda waiting: print(f"{waiting.details.holder} has it, {waiting.left:.0f} s left"))
    >>> policy.on_wait(Waiting("PUT", "http://dav.example/a", LockedDetails(status=423), 0.0, 60.0, 1, 2.5))
     has it, 60 s left
    """

    method: str
    url: str
    details: LockedDetails
    waited: float
    left: float
    attempts: int
    delay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitPolicy:
    """How a refusal as locked is waited out. All spans are in seconds.

    `deadline`: for how long, counted from the first refusal. `attempts`: how often the request is sent at most. `floor` and
    `cap`: the least and the most between two looks where the server does not say. `jitter`: the share of a span that the
    server named which is added to it at random. `budget`: what all requests under this policy may send again; give the same
    to several policies to have them share it. `on_wait` is called before each wait with a Waiting; async clients
    await what it returns. `stale`: see Stale. `conflicts`: read 409 and 412 too, for services that say "locked" that way.
    `raise_locked`: raise LockedError in the end, instead of returning the last refusal. `small_body`: bytes up to which a
    request is simply sent again where its lock cannot be looked at.

    >>> policy = WaitPolicy(deadline=30, on_wait=lambda waiting: print(waiting.details.holder))
    >>> policy.floor, policy.cap
    (0.25, 10.0)
    """

    deadline: float = 60.0
    attempts: int = 100
    floor: float = 0.25
    cap: float = 10.0
    jitter: float = 0.2
    budget: Budget = field(default_factory=Budget)
    on_wait: Callable[[Waiting], object] | None = None
    stale: Stale = Stale.REFUSE
    conflicts: bool = False
    wait_for_endless: bool = False
    trust_expiry: bool = False
    hold_the_line: bool = True
    listen: bool = True
    raise_locked: bool = False
    small_body: int = 64 * 1024

    def __post_init__(self) -> None:
        """Raises ValueError for spans that cannot be."""
        if not 0 < self.floor <= self.cap:
            msg = "floor must be above 0 and not above cap"
            raise ValueError(msg)
        if not self.deadline >= 0 or self.attempts < 1 or not 0 <= self.jitter <= 1:
            msg = "deadline must not be below 0, attempts not below 1, jitter from 0 to 1"
            raise ValueError(msg)


def backoff(policy: WaitPolicy, *, waits: int, chance: float) -> float:
    """Seconds to wait for the `waits`-th time (from 0): from the floor to a bound that doubles, up to the cap.

    `chance` is from 0 to 1, drawn by the caller.

    >>> [backoff(WaitPolicy(floor=1, cap=10), waits=waits, chance=1.0) for waits in range(5)]
    [2.0, 4.0, 8.0, 10.0, 10.0]
    """
    top = min(policy.cap, policy.floor * 2 ** min(waits + 1, _MOST_DOUBLINGS))
    return policy.floor + (top - policy.floor) * chance


def next_delay(
    policy: WaitPolicy,
    *,
    retry_after: float | None,
    remaining: float | None,
    waits: int,
    left: float,
    chance: float,
) -> float | None:
    """Seconds until the request is sent again; None where that would be too late.

    `retry_after`: what the server asked for. `remaining`: until the lock's known end. `left`: until the deadline.
    `waits`: how often it was waited before. `chance`: a number from 0 to 1, drawn at random. A Retry-After is always
    kept. An end that is near (within the cap) is waited for; one that is far tells nothing of when the holder is done.

    >>> next_delay(WaitPolicy(jitter=0.2), retry_after=5, remaining=None, waits=0, left=60, chance=0.5)
    5.5
    >>> next_delay(WaitPolicy(), retry_after=90, remaining=None, waits=0, left=60, chance=0.5) is None
    True
    """
    if left <= 0:
        return None
    asked = retry_after
    if asked is None and remaining is not None and remaining <= policy.cap:
        asked = remaining
    if asked is None:
        # The last look is at the deadline itself.
        return min(backoff(policy, waits=waits, chance=chance), left)
    floor = max(asked, policy.floor)
    if floor > left:
        # What was not asked for by the server can be cut short.
        return None if retry_after is not None and retry_after > left else left
    return min(floor * (1 + policy.jitter * chance), left)


def hopeless(policy: WaitPolicy, details: LockedDetails, *, left: float) -> GaveUp | None:
    """Why waiting for `left` seconds cannot help; None where it can.

    >>> hopeless(WaitPolicy(), LockedDetails(status=423, kind=LockedKind.ADMINISTRATIVE), left=60)
    <GaveUp.RULE: 'rule'>
    """
    if details.kind in {LockedKind.ADMINISTRATIVE, LockedKind.BAD_TOKEN}:
        return GaveUp.RULE
    if left <= 0:
        return GaveUp.DEADLINE
    if details.endless:
        return None if policy.wait_for_endless else GaveUp.ENDLESS
    if policy.trust_expiry and details.remaining is not None and details.remaining > left:
        return GaveUp.EXPIRY
    return None
