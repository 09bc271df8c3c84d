"""WebDavFace: RFC 4918 classes 1, 2 and 3 over a served folder.

Owns: the table of methods, who may use each (authentication, then authorization, before anything
else is judged: RFC 4918 section 8.1), and turning refusals into answers. Each method's own work is in
the module named in the table.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from holdfast.access.unknown import UnknownAnswer
from holdfast.core.access import Role
from holdfast.core.paths import InvalidPathError
from holdfast.faces.webdav.answers import refusal_answer
from holdfast.faces.webdav.call import Call, Site
from holdfast.faces.webdav.copying import copy, move
from holdfast.faces.webdav.errors import EXPECTED_ERRORS, RefusalError, as_refusal
from holdfast.faces.webdav.locking import lock, unlock
from holdfast.faces.webdav.propfind import propfind
from holdfast.faces.webdav.proppatch import proppatch
from holdfast.faces.webdav.reading import get, options
from holdfast.faces.webdav.writing import delete, judge_upload, mkcol, put
from holdfast.wire.exchange import Request, Response

__all__ = ["METHODS", "Method", "WebDavFace"]

_logger = logging.getLogger("holdfast.webdav")


class Method(msgspec.Struct, frozen=True):
    """One method: its work, the role it needs, and whether its body is ever looked at."""

    handle: Callable[[Call], Response]
    role: Role
    takes_body: bool = False
    whole_tree: bool = False
    """It removes all that is below, so the role is needed there as well."""


METHODS: Final[dict[str, Method]] = {
    "GET": Method(get, Role.READER),
    "HEAD": Method(get, Role.READER),
    "PROPFIND": Method(propfind, Role.READER, takes_body=True),
    "COPY": Method(copy, Role.READER),
    "PUT": Method(put, Role.WRITER, takes_body=True),
    "DELETE": Method(delete, Role.WRITER, whole_tree=True),
    "MKCOL": Method(mkcol, Role.WRITER, takes_body=True),
    "MOVE": Method(move, Role.WRITER, whole_tree=True),
    "PROPPATCH": Method(proppatch, Role.WRITER, takes_body=True),
    "LOCK": Method(lock, Role.WRITER, takes_body=True),
    "UNLOCK": Method(unlock, Role.WRITER),
}
"""Every method but OPTIONS, which is answered before anything is asked. COPY's destination needs a writer too."""

_ANSWERED: Final = (RefusalError, *EXPECTED_ERRORS)


ALLOW: Final = ", ".join(["OPTIONS", *METHODS])


class WebDavFace:
    """The face over one Site; satisfies `wire.exchange.Face`. Safe from any thread."""

    def __init__(self, site: Site, *, unknown: Callable[[Request], UnknownAnswer]) -> None:
        """`unknown` tells what is answered to a request without a principal."""
        self._site = site
        self._unknown_answer = unknown

    def admit(self, head: Request) -> Response | None:
        """Refuse before the body is read what would be refused after: credentials, rights, conditions, locks."""
        try:
            return self._judge_head(head)
        except _ANSWERED as error:
            return _refusal(head, error)

    def is_brief(self, request: Request) -> bool:
        """True for short work that waits for no disk but the page cache."""
        method = request.method
        if method in {"OPTIONS", "LOCK", "UNLOCK"}:
            return True
        if method in {"GET", "HEAD"}:
            return not request.target.endswith("/")
        if method == "PUT":
            return isinstance(request.body, bytes) and not self._site.settings.syncs_files
        return method == "PROPFIND" and self._is_short_listing(request)

    def _is_short_listing(self, request: Request) -> bool:
        """Depth 0, or a collection that is small on the disk; a long listing would hold all others up."""
        depth = request.headers.get(b"depth")
        if depth != "1":
            return depth == "0"
        try:
            inside = self._site.inside(self._site.resolve(request.target))
        except InvalidPathError:
            return True
        return self._site.folder.is_small(inside)

    def __call__(self, request: Request) -> Response:
        """Answer; every refusal is a response, and a fault of ours is logged and answered 500."""
        try:
            if request.method == "OPTIONS":
                return options()
            call, method = self._open(request)
            if not method.takes_body and request.body:
                # RFC 4918 section 8.4: a body that would be ignored must be refused.
                raise RefusalError(415, f"{request.method} takes no body here.")
            return method.handle(call)
        except _ANSWERED as error:
            return _refusal(request, error)

    def _open(self, request: Request) -> tuple[Call, Method]:
        """Authenticate and authorise, before anything about the resource is said."""
        if request.principal is None:
            raise self._unknown(request)
        method = METHODS.get(request.method)
        if method is None:
            raise RefusalError(405, f"{request.method} is not a method of this resource.", headers=(("Allow", ALLOW),))
        resource = self._site.resolve(request.target)
        if not resource.is_at_or_below(self._site.mount):
            raise RefusalError(404, "There is no such resource.")
        principal = request.principal
        if (principal.role_throughout(resource) if method.whole_tree else principal.role_at(resource)) < method.role:
            raise RefusalError(
                403, f"You may not {request.method} {resource.text}; it needs the {method.role.name.lower()} role."
            )
        return Call(self._site, request, resource, request.principal), method

    def _unknown(self, request: Request) -> RefusalError:
        answer = self._unknown_answer(request)
        return RefusalError(answer.status, answer.detail, headers=answer.headers)

    def _judge_head(self, head: Request) -> Response | None:
        call, _ = self._open(head)
        if head.method == "PUT":
            return judge_upload(call)
        return None


def _refusal(request: Request, error: Exception) -> Response:
    return refusal_answer(request, error if isinstance(error, RefusalError) else as_refusal(error))
