"""What a request would do, in the lock service's words.

Owns: from a method to the effects that locks are asked about (RFC 4918 section 7.4). Must not know how
the change is made.
"""

from __future__ import annotations

from holdfast.core.decisions import Effect, Reach
from holdfast.core.model import DeadProperty
from holdfast.faces.webdav.call import Call
from holdfast.faces.webdav.errors import RefusalError
from holdfast.service import WriteRequest
from holdfast.store.protocol import WriteTransaction
from holdfast.wire.davxml import PropertyChange

__all__ = ["refuse_too_many_properties", "stored", "write_of"]


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


def stored(call: Call, change: PropertyChange) -> DeadProperty:
    """A property to set, as it is kept for the request's resource; 507 for one that is too large."""
    longest = call.site.settings.texts.property_bytes
    if len(change.xml.encode()) > longest:
        raise RefusalError(507, f"The property {change.name} is longer than {longest} bytes.")
    return DeadProperty(call.resource, change.namespace, change.name, change.xml)


def refuse_too_many_properties(call: Call, tx: WriteTransaction) -> None:
    """507 where the request's resource has more than it may, which undoes the transaction."""
    most = call.site.settings.texts.properties
    if len(tx.properties_on(call.resource)) > most:
        raise RefusalError(507, f"A resource can have {most} properties; remove some first.")
