"""WebDAV's request bodies, XML -> values (RFC 4918 section 14, RFC 5689).

Owns: propfind, propertyupdate, lockinfo and mkcol. Must not know: which properties exist, or who may
set them. Elements that are not understood are passed over (RFC 4918 section 17); what is left must be
a whole request. Each parser raises XmlError, whose text is for the 400 answer. Writing is in `davxml_write`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

from holdfast.core.model import LockScope
from holdfast.wire.xmlread import (
    DEFAULT_LIMITS,
    NOTHING,
    Element,
    XmlError,
    XmlLimits,
    XmlTooLargeError,
    parse_xml,
    self_contained,
)

__all__ = [
    "DAV",
    "DEFAULT_LIMITS",
    "MAX_OWNER_LENGTH",
    "MAX_PROPERTY_NAMES",
    "ChangeKind",
    "LockInfo",
    "MkcolRequest",
    "PropertyChange",
    "PropertyName",
    "PropfindKind",
    "PropfindRequest",
    "XmlError",
    "XmlLimits",
    "XmlTooLargeError",
    "parse_lockinfo",
    "parse_mkcol",
    "parse_propfind",
    "parse_proppatch",
]

DAV: Final = "DAV:"
"""The namespace of WebDAV's own elements."""

MAX_OWNER_LENGTH: Final = 8192
"""Longest accepted DAV:owner element, re-serialised, in characters."""

MAX_PROPERTY_NAMES: Final = 1000
"""Most properties that one PROPFIND may name; each is answered for each member."""

_SMALL: Final = 2048  # bytes; lockinfo and propfind bodies up to this size are remembered

PropertyName: TypeAlias = tuple[str, str]
"""(namespace, local name); a property in no namespace has the namespace ""."""


class PropfindKind(enum.Enum):
    """The three forms of PROPFIND (RFC 4918 section 9.1)."""

    ALLPROP = "allprop"
    PROPNAME = "propname"
    PROP = "prop"


class PropfindRequest(msgspec.Struct, frozen=True):
    """`names` are those of PROP; `include` those asked for beside ALLPROP. No name comes twice."""

    kind: PropfindKind
    names: tuple[PropertyName, ...] = ()
    include: tuple[PropertyName, ...] = ()


class ChangeKind(enum.Enum):
    """What a PROPPATCH does with one property."""

    SET = "set"
    REMOVE = "remove"


class PropertyChange(msgspec.Struct, frozen=True):
    """One instruction. For SET, `xml` is the whole property element, self-contained, and `text` its character data."""

    kind: ChangeKind
    namespace: str
    name: str
    xml: str = ""
    text: str = ""


class LockInfo(msgspec.Struct, frozen=True):
    """A new lock as asked for. `owner_xml` is the whole DAV:owner element, self-contained; None where there is none.

    `owner_text` is what a person can read of it, on one line. Neither is ever checked.
    """

    scope: LockScope
    owner_text: str = ""
    owner_xml: str | None = None


class MkcolRequest(msgspec.Struct, frozen=True):
    """An extended MKCOL (RFC 5689): the resource types asked for, and the other properties to set."""

    resource_types: tuple[PropertyName, ...]
    changes: tuple[PropertyChange, ...]


_ALLPROP: Final = PropfindRequest(PropfindKind.ALLPROP)
_PROPFIND_KINDS: Final = {kind.value: kind for kind in PropfindKind}


@lru_cache(maxsize=128)
def _parse_small_propfind(body: bytes, limits: XmlLimits) -> PropfindRequest:
    return _read_propfind(parse_xml(body, limits))


def parse_propfind(body: bytes, limits: XmlLimits = DEFAULT_LIMITS) -> PropfindRequest:
    """Read a propfind body (RFC 4918 section 14.20); an empty one means allprop (section 9.1)."""
    if not body:
        return _ALLPROP
    if len(body) <= _SMALL:
        return _parse_small_propfind(body, limits)
    return _read_propfind(parse_xml(body, limits))


def parse_proppatch(body: bytes, limits: XmlLimits = DEFAULT_LIMITS) -> tuple[PropertyChange, ...]:
    """Read a propertyupdate body (RFC 4918 section 14.19): the instructions in document order, at least one."""
    root = _root(parse_xml(body, limits), "propertyupdate")
    changes = _changes(root, {"set": ChangeKind.SET, "remove": ChangeKind.REMOVE}, limits)
    if not changes:
        msg = "the propertyupdate element neither sets nor removes a property"
        raise XmlError(msg)
    return tuple(changes)


def parse_lockinfo(body: bytes, limits: XmlLimits = DEFAULT_LIMITS) -> LockInfo:
    """Read a lockinfo body (RFC 4918 section 14.11)."""
    if len(body) <= _SMALL:
        return _parse_small_lockinfo(body, limits)
    return _read_lockinfo(parse_xml(body, limits))


def parse_mkcol(body: bytes, limits: XmlLimits = DEFAULT_LIMITS) -> MkcolRequest:
    """Read an extended MKCOL body (RFC 5689 section 5.1); not empty, for an empty one is plain MKCOL."""
    root = _root(parse_xml(body, limits), "mkcol")
    types: list[PropertyName] = []
    for part in _children(root, "set"):
        for prop in _children(part, "prop"):
            for kind in _children(prop, "resourcetype"):
                types.extend((item.namespace, item.name) for item in kind.elements())
    changes = _changes(root, {"set": ChangeKind.SET}, limits)
    return MkcolRequest(
        tuple(dict.fromkeys(types)),
        tuple(change for change in changes if (change.namespace, change.name) != (DAV, "resourcetype")),
    )


# Editors ask for locks with the same few bodies again and again; errors are not remembered.
@lru_cache(maxsize=512)
def _parse_small_lockinfo(body: bytes, limits: XmlLimits) -> LockInfo:
    return _read_lockinfo(parse_xml(body, limits))


def _read_propfind(root: Element) -> PropfindRequest:
    _root(root, "propfind")
    kinds = [child for child in root.elements() if child.namespace == DAV and child.name in _PROPFIND_KINDS]
    if len(kinds) != 1:
        # An element that is not understood counts as absent, so a request may be left empty (RFC 4918 A.1).
        msg = "the propfind element must hold exactly one of allprop, propname and prop"
        raise XmlError(msg)
    kind = _PROPFIND_KINDS[kinds[0].name]
    if kind is PropfindKind.PROP:
        return PropfindRequest(kind, names=_names(kinds[0]))
    if kind is PropfindKind.ALLPROP:
        include = tuple(dict.fromkeys(name for item in _children(root, "include") for name in _names(item)))
        return PropfindRequest(kind, include=include)
    return PropfindRequest(kind)


def _read_lockinfo(root: Element) -> LockInfo:
    _root(root, "lockinfo")
    scopes = [
        item.name
        for part in _children(root, "lockscope")
        for item in part.elements()
        if item.namespace == DAV and item.name in {"exclusive", "shared"}
    ]
    if len(scopes) != 1:
        msg = "the lockinfo element must hold a lockscope of exclusive or shared"
        raise XmlError(msg)
    types = [item for part in _children(root, "locktype") for item in _children(part, "write")]
    if len(types) != 1:
        msg = "the lockinfo element must hold a locktype of write, the only one there is"
        raise XmlError(msg)
    scope = LockScope(scopes[0])
    owners = _children(root, "owner")
    if not owners:
        return LockInfo(scope)
    if len(owners) > 1:
        msg = "the lockinfo element holds more than one owner"
        raise XmlError(msg)
    written = self_contained(owners[0], NOTHING.inside(root))
    if len(written) > MAX_OWNER_LENGTH:
        msg = f"the owner of the lock is longer than {MAX_OWNER_LENGTH} characters"
        raise XmlTooLargeError(msg)
    return LockInfo(scope, " ".join(owners[0].text().split()), written)


def _changes(root: Element, kinds: dict[str, ChangeKind], limits: XmlLimits) -> list[PropertyChange]:
    found: list[PropertyChange] = []
    # A namespace declared once is written on each property that needs it: cap what that can add up to.
    room = 4 * limits.size_bytes
    around_root = NOTHING.inside(root)
    for part in root.elements():
        kind = kinds.get(part.name) if part.namespace == DAV else None
        if kind is None:
            continue
        around_part = around_root.inside(part)
        for prop in _children(part, "prop"):
            around = around_part.inside(prop)
            for item in prop.elements():
                if kind is ChangeKind.REMOVE:
                    found.append(PropertyChange(kind, item.namespace, item.name))
                    continue
                written = self_contained(item, around)
                room -= len(written)
                if room < 0:
                    msg = "the properties are too long once each declares its namespaces"
                    raise XmlTooLargeError(msg)
                found.append(PropertyChange(kind, item.namespace, item.name, written, item.text()))
    return found


def _root(root: Element, name: str) -> Element:
    if root.namespace != DAV or root.name != name:
        msg = f'the body must be a {name} element in the namespace "DAV:"'
        raise XmlError(msg)
    return root


def _children(parent: Element, name: str) -> Sequence[Element]:
    return [
        child
        for child in parent.content
        if not isinstance(child, str) and child.name == name and child.namespace == DAV
    ]


def _names(parent: Element) -> tuple[PropertyName, ...]:
    names = tuple(dict.fromkeys((item.namespace, item.name) for item in parent.elements()))
    if len(names) > MAX_PROPERTY_NAMES:
        msg = f"the request names more than {MAX_PROPERTY_NAMES} properties"
        raise XmlError(msg)
    return names
