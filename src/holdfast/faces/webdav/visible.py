"""Which members of a collection a principal gets to see.

Owns: the rule that what may not be read is not listed either. Must not know: in which form they are shown.
"""

from __future__ import annotations

from holdfast.core.access import Role
from holdfast.core.paths import ResourcePath
from holdfast.faces.webdav.call import Call
from holdfast.files import Resource

__all__ = ["visible_members"]


def visible_members(call: Call, collection: ResourcePath) -> list[Resource]:
    """The members of `collection` that the request's principal may read."""
    members = call.site.folder.members(call.site.inside(collection))
    principal = call.principal
    if principal.role_throughout(collection) > Role.NONE:
        return members
    prefix = collection.prefix
    return [item for item in members if principal.role_at(ResourcePath(prefix + item.path.name)) > Role.NONE]
