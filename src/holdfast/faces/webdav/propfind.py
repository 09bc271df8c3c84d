"""PROPFIND (RFC 4918 section 9.1, with the preferences of RFC 8144).

Owns: which resources and properties an answer holds. How a live property is made is in `live`.

Theory of operation: a PROPFIND of a collection costs one directory read, one look-up of locks and one
of dead properties, whatever the number of members; each member's elements are then joined as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from holdfast.core.access import Role
from holdfast.core.model import DeadProperty, Depth, Lock
from holdfast.core.paths import ResourcePath
from holdfast.faces.webdav.call import Call
from holdfast.faces.webdav.conditional import refuse_false_condition
from holdfast.faces.webdav.errors import RefusalError
from holdfast.faces.webdav.live import ALLPROP, LIVE, Live, View
from holdfast.faces.webdav.visible import visible_members
from holdfast.files import Resource
from holdfast.wire.davxml import PropfindKind, PropfindRequest, parse_propfind
from holdfast.wire.davxml_write import (
    XML_CONTENT_TYPE,
    Condition,
    empty_property,
    escape,
    render_multistatus,
    stream_multistatus,
)
from holdfast.wire.exchange import Body, Response
from holdfast.wire.prefer import Return, parse_prefer
from holdfast.wire.rfc4918 import parse_depth

__all__ = ["propfind"]

_WHOLE_UP_TO: Final = 1000
"""Answers of more members than this are sent as they are made, so that memory stays bounded."""

_VALUES: Final = "<D:propstat><D:prop>"
_FOUND: Final = "</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
_MISSING: Final = "</D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>"

Name = tuple[str, str]


class _Wanted(msgspec.Struct, frozen=True):
    """What to look up for each resource: each name with the function that makes it live, where there is one."""

    names: tuple[tuple[Name, Live | None, str], ...]
    """(name, live, the empty element for 404 and propname answers)"""
    lives: tuple[Live, ...] | None
    """The functions alone, where they are the whole answer for a resource without dead properties; else None."""
    all_dead: bool
    names_only: bool
    omits_missing: bool


def propfind(call: Call) -> Response:
    """Depth 0 or 1; infinity only where the settings allow it."""
    refuse_false_condition(call)
    resource = call.existing()
    depth = parse_depth(call.header(b"depth")) or Depth.INFINITY
    if depth is Depth.INFINITY and resource.is_collection and not call.site.settings.propfind_infinity:
        # Never a shallow answer in its place: sync clients take what is left out for deleted (infinidysk issue 581).
        raise RefusalError(
            403,
            "PROPFIND with Depth infinity is not served here; ask with Depth 1, collection by collection.",
            condition=Condition.PROPFIND_FINITE_DEPTH,
        )
    preferences = parse_prefer(call.header(b"prefer"), call.header(b"brief"))
    minimal = preferences.return_ is Return.MINIMAL
    request = parse_propfind(call.body_bytes(), call.site.settings.xml)
    wanted = _wanted(request, minimal=minimal)
    with_root = not (preferences.depth_noroot and depth is not Depth.ZERO)
    headers = [("Content-Type", XML_CONTENT_TYPE), ("Cache-Control", "no-cache"), ("Vary", "Prefer")]
    applied = ["return=minimal"] if minimal else []
    if not with_root:
        applied.append("depth-noroot")
    if applied:
        headers.append(("Preference-Applied", ", ".join(applied)))
    return Response(207, headers, _body(call, resource, depth, wanted, with_root=with_root))


def _wanted(request: PropfindRequest, *, minimal: bool) -> _Wanted:
    kind = request.kind
    if kind is PropfindKind.PROP:
        names, omits = request.names, minimal
    elif kind is PropfindKind.PROPNAME:
        names, omits = tuple(LIVE), True
    else:
        extra = tuple(name for name in request.include if name not in ALLPROP)
        # allprop leaves out what a resource does not have; what `include` names is answered, if only with 404.
        names, omits = (*ALLPROP, *extra), minimal or not extra
    names_only = kind is PropfindKind.PROPNAME
    return _Wanted(
        names=tuple((name, LIVE.get(name), empty_property(*name)) for name in names),
        lives=tuple(LIVE[name] for name in names if name in LIVE) if omits and not names_only else None,
        all_dead=kind is not PropfindKind.PROP,
        names_only=names_only,
        omits_missing=omits,
    )


def _body(call: Call, resource: Resource, depth: Depth, wanted: _Wanted, *, with_root: bool) -> Body:
    root = [_of_itself(call, resource, wanted)] if with_root else []
    if depth is Depth.ZERO or not resource.is_collection:
        return render_multistatus(root)
    members = visible_members(call, call.resource)
    responses = _responses(call, members, wanted, root, deep=depth is Depth.INFINITY)
    if depth is Depth.INFINITY or len(members) > _WHOLE_UP_TO:
        return stream_multistatus(responses)
    return render_multistatus(responses)


def _responses(call: Call, members: list[Resource], wanted: _Wanted, root: list[str], *, deep: bool) -> Iterator[str]:
    yield from root
    yield from _of_members(call, call.resource, members, wanted)
    waiting = _collections(call.resource, members) if deep else []
    while waiting:
        below = waiting.pop()
        found = visible_members(call, below)
        yield from _of_members(call, below, found, wanted)
        waiting += _collections(below, found)


def _collections(parent: ResourcePath, members: list[Resource]) -> list[ResourcePath]:
    return [parent.child(member.path.name) for member in members if member.is_collection]


def _of_itself(call: Call, resource: Resource, wanted: _Wanted) -> str:
    view = _view(call, call.site.service.discover(call.resource))
    with call.site.store.read() as tx:
        dead = tx.properties_on(call.resource)
    href = call.resource.href(collection=resource.is_collection)
    return _element(resource, call.resource.text, href, wanted, view, dead)


def _of_members(call: Call, collection: ResourcePath, members: list[Resource], wanted: _Wanted) -> Iterator[str]:
    above, direct = call.site.service.discover_members(collection)
    view = _view(call, above, direct)
    with call.site.store.read() as tx:
        dead: dict[str, list[DeadProperty]] = {}
        for item in tx.properties_on_members(collection):
            dead.setdefault(item.path.text, []).append(item)
    prefix = collection.prefix
    is_uniform = call.principal.is_uniform_below(collection)
    for member in members:
        path = ResourcePath(prefix + member.path.name)
        if not is_uniform:
            view.may_lock = call.principal.role_at(path) >= Role.WRITER
        href = path.href(collection=member.is_collection)
        yield _element(member, path.text, href, wanted, view, dead.get(path.text, ()))


def _view(call: Call, above: list[Lock], direct: dict[str, list[Lock]] | None = None) -> View:
    return View(
        principal=call.principal.name,
        may_lock=call.role >= Role.WRITER,
        now=call.site.clock.now(),
        locks_above=above,
        locks_on=direct or {},
        quota=call.site.folder.quota,
    )


def _element(
    resource: Resource, path: str, href: str, wanted: _Wanted, view: View, dead: Sequence[DeadProperty]
) -> str:
    if not dead and wanted.lives is not None:
        values = [value for live in wanted.lives if (value := live(resource, path, view)) is not None]
        return f"<D:response><D:href>{escape(href)}</D:href>{_VALUES}{''.join(values)}{_FOUND}</D:response>"
    kept = {(item.namespace, item.name): item.xml for item in dead}
    found: list[str] = []
    missing: list[str] = []
    for name, live, empty in wanted.names:
        value = kept.pop(name, None) if kept else None
        if value is None and live is not None:
            value = live(resource, path, view)
        if value is None:
            missing.append(empty)
        else:
            found.append(empty if wanted.names_only else value)
    if kept and wanted.all_dead:
        found.extend((empty_property(*name) if wanted.names_only else xml) for name, xml in kept.items())
    parts = ["<D:response><D:href>", escape(href), "</D:href>"]
    if found or not missing or wanted.omits_missing:
        # An element must have a propstat, so an answer without any value has an empty one.
        parts += (_VALUES, *found, _FOUND)
    if missing and not wanted.omits_missing:
        parts += (_VALUES, *missing, _MISSING)
    parts.append("</D:response>")
    return "".join(parts)
