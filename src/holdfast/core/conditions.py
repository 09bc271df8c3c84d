"""Conditions: what an If header says, whether it holds, and which lock tokens it submits.

Owns: the meaning of the If header (RFC 4918 section 10.4), apart from its text (`wire.if_header`).
Must not know: how state is stored; it asks a StateLookup. Whether a submitted token gives its sender
the right to write is another question, answered by `core.decisions`: a true condition is not a permission.

Two sets come out of one header and must not be mixed:
- the header's truth: an OR over lists, each an AND over conditions, each about the list's resource;
- the submitted tokens: those of plain (not negated) conditions, each with the resource that its list is
  about. A token inside `Not` is not submitted, and a token counts only for a lock that covers that resource.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

import msgspec

from holdfast.core.model import Lock
from holdfast.core.paths import ResourcePath

__all__ = ["NO_LOCK", "ConditionList", "EtagCondition", "IfHeader", "StateLookup", "Submission", "TokenCondition"]

NO_LOCK: Final = "DAV:no-lock"
"""The state token that never matches (RFC 4918 section 10.4.8)."""


class TokenCondition(msgspec.Struct, frozen=True):
    """`<token>` or `Not <token>`."""

    token: str
    negated: bool = False


class EtagCondition(msgspec.Struct, frozen=True):
    """`["etag"]` or `Not ["etag"]`; `etag` as sent, quotes and `W/` included."""

    etag: str
    negated: bool = False


class ConditionList(msgspec.Struct, frozen=True):
    """One parenthesised list: all conditions must hold for `resource`.

    `resource` is None for a tag that names nothing here (another server, a malformed path): it
    matches no token and no entity tag. `tagged` tells an explicit Resource-Tag from the request's own URL.
    """

    resource: ResourcePath | None
    conditions: tuple[TokenCondition | EtagCondition, ...]
    tagged: bool = False


class Submission(msgspec.Struct, frozen=True):
    """A lock token that the request holds out, and the resource it was said about."""

    token: str
    resource: ResourcePath
    reaches_down: bool = False
    """True for an untagged list of a request that acts on a whole tree: the token may also be of a lock below
    (macOS collects the tokens of all open members of a folder that it moves or deletes)."""

    def unlocks(self, lock: Lock) -> bool:
        """True where this is the lock's token, said about a resource in its scope (RFC 4918 section 10.4.4)."""
        if self.token != lock.token:
            return False
        return lock.covers(self.resource) or (self.reaches_down and lock.root.is_below(self.resource))


class StateLookup(Protocol):
    """What an evaluation may ask, inside the transaction."""

    def matching_lock(self, token: str) -> Lock | None:
        """The unexpired lock with this token."""
        ...

    def etag_of(self, resource: ResourcePath) -> str | None:
        """The current strong entity tag, quoted; None where the URL is unmapped or has none."""
        ...


class IfHeader(msgspec.Struct, frozen=True):
    """A whole If header; at least one list."""

    lists: tuple[ConditionList, ...]

    def holds(self, state: StateLookup, *, reaches_down: bool = False) -> bool:
        """True when at least one list does (RFC 4918 section 10.4.3)."""
        return any(_list_holds(item, state, reaches_down=reaches_down) for item in self.lists)

    def submissions(self, *, reaches_down: bool = False) -> Iterator[Submission]:
        """Every token that the header submits; see the module's text for which count."""
        for item in self.lists:
            if item.resource is None:
                continue
            for condition in item.conditions:
                if isinstance(condition, TokenCondition) and not condition.negated:
                    yield Submission(condition.token, item.resource, reaches_down and not item.tagged)


def _list_holds(item: ConditionList, state: StateLookup, *, reaches_down: bool) -> bool:
    return all(
        _condition_holds(condition, item, state, reaches_down=reaches_down and not item.tagged) != condition.negated
        for condition in item.conditions
    )


def _condition_holds(
    condition: TokenCondition | EtagCondition, item: ConditionList, state: StateLookup, *, reaches_down: bool
) -> bool:
    if item.resource is None:
        return False
    if isinstance(condition, EtagCondition):
        # Strong comparison: a weak tag promises too little to overwrite on (RFC 9110 section 8.8.3.2).
        return not condition.etag.startswith("W/") and state.etag_of(item.resource) == condition.etag
    if condition.token == NO_LOCK:
        return False
    lock = state.matching_lock(condition.token)
    return lock is not None and Submission(condition.token, item.resource, reaches_down).unlocks(lock)
