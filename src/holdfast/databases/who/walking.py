"""Who waits for whom, walked to where the queue begins.

Owns: that walk. Pure. Must not know: any database. What waits is a number, what is waited for a number or a name.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

__all__ = ["everybody_behind", "everything_before"]

Key = TypeVar("Key", bound=Hashable)


def everybody_behind(waits: Mapping[Key, Iterable[Key]], one: Key) -> set[Key]:
    """All who wait for `one`, directly or through others. `waits` has for each waiter whom it waits for.

    >>> sorted(everybody_behind({2: [1], 3: [2], 4: [9]}, 1))
    [2, 3]
    """
    behind: dict[Key, set[Key]] = {}
    for waiter, blockers in waits.items():
        for blocker in blockers:
            behind.setdefault(blocker, set()).add(waiter)
    return _reached(behind, one)


def everything_before(waits: Mapping[Key, Iterable[Key]], one: Key) -> set[Key]:
    """All that `one` waits for, directly or because those wait themselves.

    >>> sorted(everything_before({2: [1], 3: [2], 4: [9]}, 3))
    [1, 2]
    """
    return _reached(waits, one)


def _reached(edges: Mapping[Key, Iterable[Key]], one: Key) -> set[Key]:
    """A deadlock is a circle, which is gone through once."""
    found: set[Key] = set()
    left = list(edges.get(one, ()))
    while left:
        key = left.pop()
        if key not in found and key != one:
            found.add(key)
            left.extend(edges.get(key, ()))
    return found
