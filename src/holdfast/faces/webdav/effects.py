"""What a request would do, in the lock service's words.

Owns: from a method to the effects that locks are asked about (RFC 4918 section 7.4). Must not know how
the change is made.
"""

from __future__ import annotations

from holdfast.core.decisions import Effect, Reach
from holdfast.core.model import DeadProperty
from holdfast.core.paths import ResourcePath
from holdfast.faces.webdav.call import Call
from holdfast.service import WriteRequest
from holdfast.wire.davxml import PropertyChange

__all__ = ["stored", "write_of"]


def write_of(call: Call) -> WriteRequest:
    """What PUT, MKCOL, DELETE or PROPPATCH would do to the resource that it names, as things are now.

    To be asked inside the transaction: a document that is deleted before it begins makes of a PUT a new member.
    """
    method = call.request.method
    if method == "DELETE":
        effect = Effect(call.resource, Reach.TREE)
        return WriteRequest(call.claim(reaches_down=True), (effect,), destroys=(call.resource,))
    if method == "PROPPATCH":
        return WriteRequest(call.claim(), (Effect(call.resource, Reach.CONTENT),))
    exists = call.site.folder.stat(call.inside) is not None
    reach = Reach.CONTENT if exists else Reach.MEMBERSHIP
    return WriteRequest(call.claim(), (Effect(call.resource, reach),))


def stored(resource: ResourcePath, change: PropertyChange) -> DeadProperty:
    """A property to set, as it is kept for a resource."""
    return DeadProperty(resource, change.namespace, change.name, change.xml)
