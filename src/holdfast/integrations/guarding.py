"""Guarding: may this request pass, as far as locks go? Asked by every framework's middleware, in the same words.

Owns: which requests of an application are looked at, and what their paths are called as resources. What a method changes is told by
`wire.changes`. Must not know: frameworks, or how locks are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from holdfast.core.paths import InvalidPathError, ResourcePath
from holdfast.integrations.answering import REFUSALS, LockedError, answer_refusal
from holdfast.integrations.backends import Locks
from holdfast.wire.changes import Change, ChangeReader, is_reading
from holdfast.wire.exchange import Headers, Response

__all__ = ["Guard", "Head", "change_of"]

_SLASHES: Final = re.compile(r"//+")
_DOTS: Final = re.compile(r"/\.\.?(?:/|$)")


class Head(msgspec.Struct, frozen=True):
    """A request without its body. `path` is decoded, as the application's own routes see it, below where it is mounted (`root`)."""

    method: str
    path: str
    headers: Headers
    scheme: str = "http"
    root: str = ""

    def field(self, name: bytes) -> str | None:
        """A field's text, by lower-case name."""
        return self.headers.get(name)


def change_of(head: Head, resource: ResourcePath | None = None, *, writes: bool = False) -> Change | None:
    """What the request would do to `resource` (its own path where none is named), and the tokens it submits; None for one that reads.

    With `writes` any method changes something, as the application says of its GET. Raises HeaderError, IfSyntaxError or
    InvalidPathError, each for a 400.
    """
    path = ResourcePath.from_text(head.path) if resource is None else resource
    method = "PUT" if writes and is_reading(head.method) else head.method
    return _reader(head).read(method, path, head.field)


def _reader(head: Head) -> ChangeReader:
    def resolve(target: str) -> ResourcePath:
        path = ResourcePath.from_target(target)
        mounted = ResourcePath.from_text(head.root) if head.root else None
        if mounted is None or not path.is_at_or_below(mounted):
            return path
        return path.moved(mounted, ResourcePath("/"))

    return ChangeReader(head.scheme, head.field(b"host"), resolve, lambda _resource: False)


class Guard:
    """Lets no change to what somebody has locked pass.

    It looks at requests `under` these paths; `methods` narrows that (empty: every method that changes something). `resource`
    gives the resource's path for one of the application, both decoded, None for one that no lock stands for; without it each path
    stands for itself. The locks' own routes are never guarded.
    """

    def __init__(
        self,
        locks: Locks,
        *,
        under: Collection[str] = ("/",),
        methods: Collection[str] = (),
        resource: Callable[[str], str | None] | None = None,
    ) -> None:
        """Raises InvalidPathError for a path that cannot be one."""
        self.locks = locks
        self._under = [ResourcePath.from_text(path) for path in under]
        self._methods = frozenset(method.upper() for method in methods)
        self._resource = resource

    def concerns(self, head: Head) -> bool:
        """True for a request that locks are asked about."""
        if is_reading(head.method) or (self._methods and head.method not in self._methods):
            return False
        if _DOTS.search(head.path):
            return True  # what it means to the application cannot be told, so it is refused
        path = ResourcePath(_SLASHES.sub("/", head.path).rstrip("/") or "/")
        address = self.locks.address
        if address and path.is_at_or_below(ResourcePath(address)):
            return False
        return any(path.is_at_or_below(top) for top in self._under)

    def judge(self, head: Head, principal: Callable[[], str]) -> Response | None:
        """The refusal of a request, None for one that may pass. `principal` is asked only where it matters."""
        if not self.concerns(head):
            return None
        try:
            resource = self._resource_of(head.path)
            change = None if resource is None else change_of(head, resource)
            if change is None:
                return None
            found = self.locks.check(change.effects, change.tokens, principal(), change.condition)
            if found is None:
                return None
            raise LockedError(found)
        except REFUSALS as error:
            return answer_refusal(error, head.field(b"accept"), root=head.root)

    def _resource_of(self, path: str) -> ResourcePath | None:
        if self._resource is None:
            return ResourcePath.from_text(path)
        named = self._resource(path)
        if named is None:
            return None
        try:
            return ResourcePath.from_text(named)
        except InvalidPathError as error:
            msg = f"{named!r} is no path of a resource: {error}"
            raise InvalidPathError(msg) from error
