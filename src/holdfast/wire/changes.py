"""What a request is about to change, and which locks it holds out for that, read from its method and fields.

Owns: the one rule by which a request for somebody else's application is judged, behind a gateway that asks and in the application
itself. Must not know: how locks are kept, which application it is, who asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from holdfast.core.conditions import EtagCondition, IfHeader
from holdfast.core.decisions import Effect, Reach
from holdfast.core.paths import ResourcePath
from holdfast.wire.if_header import parse_if
from holdfast.wire.rfc4918 import destination_path, parse_destination, parse_lock_token

__all__ = ["Change", "ChangeReader", "is_reading"]

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY"})

_REACHES: Final = {"DELETE": Reach.TREE, "MOVE": Reach.TREE, "MKCOL": Reach.MEMBERSHIP}
"""How far a method's change goes; any other that is not known to read changes the content of its resource."""


class Change(msgspec.Struct, frozen=True):
    """What a request would do, the tokens of its Lock-Token field, and its If header."""

    effects: tuple[Effect, ...]
    tokens: tuple[str, ...] = ()
    condition: IfHeader | None = None


def is_reading(method: str) -> bool:
    """True for methods that change nothing (RFC 9110 section 9.2.1): no lock stands against them."""
    return method in _READING


class ChangeReader(msgspec.Struct, frozen=True):
    """Reads requests that were sent to `scheme` and `host` (their Host field).

    `resolve` makes a raw URL path canonical, as for every other request. `knows_etags` tells a resource whose entity tag is known;
    what an If header says of the others' is left out, since the application alone can judge it.
    """

    scheme: str
    host: str | None
    resolve: Callable[[str], ResourcePath]
    knows_etags: Callable[[ResourcePath], bool]

    def read(self, method: str, resource: ResourcePath, field: Callable[[bytes], str | None]) -> Change | None:
        """The change, None for a method that reads. `field` gives a field by its lower-case name.

        Raises HeaderError, IfSyntaxError or InvalidPathError, each for a 400.
        """
        if is_reading(method):
            return None
        token = field(b"lock-token")
        return Change(
            self._effects(method, resource, field(b"destination")),
            () if token is None else (parse_lock_token(token),),
            self._condition(resource, field(b"if")),
        )

    def _effects(self, method: str, resource: ResourcePath, destination: str | None) -> tuple[Effect, ...]:
        effects: list[Effect] = []
        if method != "COPY":
            effects.append(Effect(resource, _REACHES.get(method, Reach.CONTENT)))
        if method in {"COPY", "MOVE"} and destination is not None:
            # Whatever host it names: an application that looks at its path alone would write there, and one that goes by other
            # names than the request's Host would as well.
            effects.append(Effect(self.resolve(destination_path(destination)), Reach.TREE))
        return tuple(effects) or (Effect(resource, Reach.CONTENT),)

    def _condition(self, resource: ResourcePath, text: str | None) -> IfHeader | None:
        if text is None:
            return None
        header = parse_if(text, resource, self._tagged)
        return IfHeader(
            tuple(
                item
                if item.resource is None or self.knows_etags(item.resource)
                else msgspec.structs.replace(
                    item, conditions=tuple([one for one in item.conditions if not isinstance(one, EtagCondition)])
                )
                for item in header.lists
            )
        )

    def _tagged(self, tag: str) -> ResourcePath | None:
        try:
            return self.resolve(parse_destination(tag.partition("?")[0], scheme=self.scheme, host=self.host))
        except ValueError:
            return None  # malformed, or another server: it matches nothing (RFC 4918 section 10.4.3)
