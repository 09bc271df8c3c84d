"""COPY and MOVE (RFC 4918 sections 9.8 and 9.9).

A copy is made whole in the staging area before any lock is asked, then put into place by a rename in
the transaction that checks the locks; so whoever looks sees the old destination or the new one.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.core.access import Role
from holdfast.core.decisions import Effect, Reach, Refused
from holdfast.core.model import Depth
from holdfast.core.paths import ResourcePath
from holdfast.faces.webdav.answers import refused
from holdfast.faces.webdav.call import Call
from holdfast.faces.webdav.conditional import precondition_of
from holdfast.faces.webdav.errors import RefusalError
from holdfast.files import Detached
from holdfast.service import WriteRequest
from holdfast.store.protocol import WriteTransaction
from holdfast.wire.exchange import Response
from holdfast.wire.rfc4918 import parse_depth, parse_overwrite

__all__ = ["copy", "move"]

Placed = tuple[bool, Detached | None]
"""Whether the destination is new, and what it replaced, to be purged once the transaction is over."""


def copy(call: Call) -> Response:
    """COPY: body and dead properties, never the locks (RFC 4918 sections 7.6, 9.8)."""
    source = call.existing()
    destination = _destination(call)
    depth = parse_depth(call.header(b"depth")) or Depth.INFINITY
    if depth is Depth.ONE:
        raise RefusalError(400, "COPY takes Depth 0 or infinity (RFC 4918 section 9.8.3).")
    whole = depth is Depth.INFINITY
    if whole and source.is_collection and destination.is_below(call.resource):
        raise RefusalError(403, "A collection cannot be copied into itself.")
    if whole and call.principal.role_throughout(call.resource) < Role.READER:
        raise RefusalError(403, f"You may not read all that is in {call.resource.text}.")
    early = call.site.service.check_write(_write_of_copy(call, destination), _precondition(call, destination))
    if early is not None:
        return refused(call, early)
    staged = call.site.folder.stage_copy(call.inside, depth_infinity=whole)
    try:

        def apply(tx: WriteTransaction) -> Placed:
            _check_destination(call, destination)
            tx.ensure_room()
            placed = call.site.folder.place_tree(staged, call.site.inside(destination), sync=False)
            tx.copy_properties(call.resource, destination, tree=whole)
            return placed

        answer = call.site.service.write(
            lambda: _write_of_copy(call, destination), apply, precondition=_precondition(call, destination)
        )
    finally:
        staged.discard()
    return _finish(call, destination, answer)


def move(call: Call) -> Response:
    """MOVE: a rename, dead properties with it; the locks at the source end (RFC 4918 sections 7.6, 9.9)."""
    call.refuse_the_mount()
    source = call.existing()
    destination = _destination(call)
    depth = parse_depth(call.header(b"depth")) or Depth.INFINITY
    if source.is_collection and depth is not Depth.INFINITY:
        raise RefusalError(400, "MOVE of a collection takes Depth infinity only (RFC 4918 section 9.9.2).")
    if destination.is_below(call.resource):
        raise RefusalError(403, "A collection cannot be moved into itself.")

    def apply(tx: WriteTransaction) -> Placed:
        _check_destination(call, destination)
        tx.ensure_room()
        placed = call.site.folder.move(call.inside, call.site.inside(destination), sync=False)
        tx.move_properties(call.resource, destination)
        return placed

    request = WriteRequest(
        call.claim(reaches_down=True),
        (Effect(call.resource, Reach.TREE), Effect(destination, Reach.TREE)),
        destroys=(call.resource, destination),
    )
    answer = call.site.service.write(request, apply, precondition=_precondition(call, destination))
    return _finish(call, destination, answer)


def _write_of_copy(call: Call, destination: ResourcePath) -> WriteRequest:
    existing = call.site.folder.stat(call.site.inside(destination))
    if existing is not None and not existing.is_collection:
        # An existing document is overwritten in place, as by PUT: its membership and its own locks stay (9.8.4).
        return WriteRequest(call.claim(), (Effect(destination, Reach.CONTENT),))
    return WriteRequest(call.claim(), (Effect(destination, Reach.TREE),), destroys=(destination,))


def _destination(call: Call) -> ResourcePath:
    destination = call.destination
    if destination is None:
        raise RefusalError(400, f"{call.request.method} needs a Destination header (RFC 4918 section 10.3).")
    site = call.site
    if not destination.is_at_or_below(site.mount):
        raise RefusalError(502, f"The Destination is outside of {site.mount.href(collection=True)}, the served folder.")
    if destination == call.resource:
        raise RefusalError(403, "The source and the Destination are the same resource.")
    if destination == site.mount:
        raise RefusalError(403, "The served folder itself cannot be replaced.")
    if call.resource.is_below(destination):
        raise RefusalError(403, "A resource cannot take the place of a collection that it lies in.")
    # Both ends are authorised, here for the destination (hacdias/webdav issue 179).
    if call.principal.role_throughout(destination) < Role.WRITER:
        raise RefusalError(403, f"You may not write to {destination.text}.")
    return destination


def _precondition(call: Call, destination: ResourcePath) -> Callable[[], bool] | None:
    """Overwrite: F beside the conditional fields; like them it is judged before locks (RFC 4918 section 10.6)."""
    others = precondition_of(call)
    if parse_overwrite(call.header(b"overwrite")):
        return others
    site = call.site

    def holds() -> bool:
        if site.folder.stat(site.inside(destination)) is not None:
            raise RefusalError(412, "There is a resource at the Destination, and Overwrite is F.")
        return others is None or others()

    return holds


def _check_destination(call: Call, destination: ResourcePath) -> None:
    """What must be true at the moment of the rename."""
    site = call.site
    parent = site.folder.stat(site.inside(destination.parent))
    if parent is None or not parent.is_collection:
        raise RefusalError(409, f"There is no collection at {destination.parent.text} to put it into.")


def _finish(call: Call, destination: ResourcePath, answer: Placed | Refused) -> Response:
    if isinstance(answer, Refused):
        return refused(call, answer)
    call.site.folder.sync(call.inside, call.site.inside(destination))
    created, replaced = answer
    if replaced is not None:
        replaced.purge()
    return Response(201 if created else 204, [], awaits_sync=True)
