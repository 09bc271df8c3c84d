"""Locks and instants to test with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from holdfast.core.conditions import Submission
from holdfast.core.model import Depth, Face, Lock, LockScope
from holdfast.core.paths import ResourcePath

START = datetime(2026, 1, 1, tzinfo=UTC)
EXCLUSIVE, SHARED = LockScope.EXCLUSIVE, LockScope.SHARED
ZERO, INFINITY = Depth.ZERO, Depth.INFINITY


def path(text: str) -> ResourcePath:
    return ResourcePath.from_text(text)


def lock(
    root: str,
    principal: str = "ann",
    *,
    token: str = "",
    scope: LockScope = EXCLUSIVE,
    depth: Depth = INFINITY,
    ttl_s: float | None = 60,
) -> Lock:
    """A lock granted at START; its token names the principal and the root unless one is given."""
    token = token or f"urn:{principal}:{root}"
    return Lock(
        id=f"id-{token}",
        token=token,
        root=path(root),
        scope=scope,
        depth=depth,
        principal=principal,
        owner="",
        owner_xml=None,
        reason="",
        client="",
        face=Face.WEBDAV,
        fencing_token=1,
        created_at=START,
        refreshed_at=START,
        expires_at=None if ttl_s is None else START + timedelta(seconds=ttl_s),
    )


def said(held: Lock, about: str | None = None, *, reaches_down: bool = False) -> Submission:
    """The submission of a lock's token, about the lock's root unless another resource is named."""
    return Submission(held.token, held.root if about is None else path(about), reaches_down)
