"""Who is asking, and of what server: what a page has to know before it shows anything."""

from __future__ import annotations

from typing import Literal

import msgspec

from holdfast import __version__
from holdfast.core.access import Grant, Role
from holdfast.faces.api.call import Call, answer
from holdfast.wire.exchange import Response

__all__ = ["SessionBody", "session"]

RoleWord = Literal["none", "reader", "writer", "admin"]

_WORDS: dict[Role, RoleWord] = {
    Role.NONE: "none",
    Role.READER: "reader",
    Role.WRITER: "writer",
    Role.ADMIN: "admin",
}


class GrantBody(msgspec.Struct, frozen=True):
    """A role at and below a path, percent-encoded. Where grants overlap, the one with the longest path counts."""

    role: RoleWord
    path: str


class SessionBody(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking. `open`: nobody needs to log in. `session`: a login form's session told who asks, which logging out ends.

    `mount` is where the served folder stands.
    """

    name: str
    grants: list[GrantBody]
    open: bool
    session: bool
    version: str
    mount: str


def session(call: Call) -> Response:
    """GET /api/session."""
    is_open = call.site.is_open
    return answer(
        SessionBody(
            name=call.principal.name,
            grants=[_grant(grant) for grant in call.principal.grants],
            open=is_open,
            session=not is_open and call.header(b"authorization") is None,
            version=__version__,
            mount=call.site.mount.href(),
        )
    )


def _grant(grant: Grant) -> GrantBody:
    return GrantBody(_WORDS[grant.role], grant.path.href())
