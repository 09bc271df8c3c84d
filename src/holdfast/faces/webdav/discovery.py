"""Which locks are shown to whom (RFC 4918 sections 6.8, 15.8 and 20.4).

Owns: the rule that every lock is shown, and its token to its creator only.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from holdfast.core.model import Lock
from holdfast.wire.davxml_write import lockdiscovery, render_activelock

__all__ = ["activelocks_of", "discovery_of"]


def activelocks_of(locks: Iterable[Lock], now: datetime, principal: str) -> list[str]:
    """The activelock elements as `principal` may see them.

    davfs2 finds its own lock again by its token, so one's own tokens must be there.
    """
    return [
        render_activelock(lock, now, token_shown=lock.principal == principal, root_href=lock.root.href())
        for lock in locks
    ]


def discovery_of(locks: Iterable[Lock], now: datetime, principal: str) -> str:
    """The lockdiscovery property."""
    return lockdiscovery(activelocks_of(locks, now, principal))
