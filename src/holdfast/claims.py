"""What is asked of the locks: who holds out what, which new lock, which change.

Owns: the questions as values, which faces make and the service answers. Must not know: how they are answered.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from holdfast.core.conditions import IfHeader, Submission
from holdfast.core.decisions import Effect
from holdfast.core.model import Depth, Face, LockScope
from holdfast.core.paths import ResourcePath

__all__ = ["AcquireRequest", "Claim", "WriteRequest"]


class Claim(msgspec.Struct, frozen=True):
    """Who asks, and what the request holds out: its If header and the tokens outside of it.

    `tokens` come from a Lock-Token field (Office sends it on PUT, POST and GET) and are submitted
    for `resource`, the request's own.
    """

    resource: ResourcePath
    principal: str
    condition: IfHeader | None = None
    tokens: tuple[str, ...] = ()
    reaches_down: bool = False

    def submissions(self) -> list[Submission]:
        """All tokens submitted, each with what it was said about."""
        found = [Submission(token, self.resource, self.reaches_down) for token in self.tokens]
        if self.condition is not None:
            found.extend(self.condition.submissions(reaches_down=self.reaches_down))
        return found


class AcquireRequest(msgspec.Struct, frozen=True):
    """A new lock on `claim.resource`. `asked` is the ttl asked for, None when the client named none."""

    claim: Claim
    scope: LockScope
    depth: Depth
    asked: timedelta | None
    owner: str = ""
    owner_xml: str | None = None
    reason: str = ""
    client: str = ""
    face: Face = Face.WEBDAV


class WriteRequest(msgspec.Struct, frozen=True):
    """A change to resources; `effects` says to which, and how far it reaches."""

    claim: Claim
    effects: tuple[Effect, ...]
    destroys: tuple[ResourcePath, ...] = ()
    """Resources that are gone afterwards (DELETE, MOVE's source, what MOVE overwrites): locks rooted at or
    below them end with the change, in its transaction."""
