"""Which locks are shown to whom (RFC 4918 sections 6.8, 15.8 and 20.4).

Owns: the rule that every lock is shown, and its token to its creator only.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from holdfast.core.model import Lock
from holdfast.wire.davxml_write import lockdiscovery, render_activelock

__all__ = ["Shown", "activelocks_of", "discovery_of"]


class Shown(NamedTuple):
    """The resource that locks are shown on: its path's text, and whether it is a collection."""

    path_text: str
    is_collection: bool


def activelocks_of(locks: Iterable[Lock], now: datetime, principal: str, shown: Shown) -> list[str]:
    """The activelock elements as `principal` may see them.

    davfs2 finds its own lock again by its token, so one's own tokens must be there. The URL of a root
    that is a collection ends in a slash (RFC 4918 section 5.2); one that lies above is one.
    """
    return [
        render_activelock(
            lock,
            now,
            token_shown=lock.principal == principal,
            root_href=lock.root.href(collection=shown.is_collection or lock.root.text != shown.path_text),
        )
        for lock in locks
    ]


def discovery_of(locks: Iterable[Lock], now: datetime, principal: str, shown: Shown) -> str:
    """The lockdiscovery property."""
    return lockdiscovery(activelocks_of(locks, now, principal, shown))
