"""One API request on its way: what every handler is given.

Owns: decoding a body or a query into its type, with a refusal that names the member; turning URL paths
into resources; encoding answers. Must not know what any route does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import inspect

from holdfast.clock import Clock
from holdfast.core.access import Principal
from holdfast.core.paths import InvalidPathError, ResourcePath
from holdfast.faces.api.errors import RefusalError
from holdfast.live.feed import Feed
from holdfast.live.line import WaitingLine
from holdfast.registry import LockRegistry
from holdfast.wire.exchange import Request, Response
from holdfast.wire.locked import SERVER_LINKS, LockLinks

__all__ = ["JSON_CONTENT_TYPE", "MAX_BODY_BYTES", "ApiSite", "Call", "answer", "too_large"]

JSON_CONTENT_TYPE: Final = "application/json"

MAX_BODY_BYTES: Final = 64 * 1024
"""Longest body that any route takes, in bytes."""

_LONGEST_CLIENT: Final = 200
_UNKNOWN_CHOICE: Final = "Invalid enum value"
_MEMBER: Final = re.compile(r"`\$\.(\w+)(\[[0-9]+\])?`")
_UNKNOWN_FIELD: Final = "Object contains unknown field"

T = TypeVar("T")


class ApiSite(msgspec.Struct, frozen=True):
    """What the face serves. `resolve` makes a raw URL path canonical, as every other face does (InvalidPathError).

    `is_served` tells a resource whose entity tag is known here, so that conditions about it can be judged. `mount` is where
    the served folder stands; on an `is_open` server nobody needs to log in. `follow` gives, for what goes on after its request,
    what tells what a principal may do by then, None once it is nobody any more.
    """

    registry: LockRegistry
    feed: Feed
    line: WaitingLine
    clock: Clock
    resolve: Callable[[str], ResourcePath]
    is_served: Callable[[ResourcePath], bool]
    mount: ResourcePath
    is_open: bool
    follow: Callable[[Principal], Callable[[], Principal | None]]
    links: LockLinks = SERVER_LINKS
    """Where the links of a 423 lead."""


class Call:
    """A request with its authenticated principal; `lock_id` is the id in its path, empty where there is none."""

    __slots__ = ("lock_id", "principal", "request", "site")

    def __init__(self, site: ApiSite, request: Request, principal: Principal, lock_id: str = "") -> None:
        """Tie the request to who asks."""
        self.site = site
        self.request = request
        self.principal = principal
        self.lock_id = lock_id

    @property
    def client(self) -> str:
        """What the client calls itself; kept with a lock so that people can tell which program holds it."""
        return (self.header(b"user-agent") or "")[:_LONGEST_CLIENT]

    def header(self, name: bytes) -> str | None:
        """A field's text, by lower-case name."""
        return self.request.headers.get(name)

    def has_body(self) -> bool:
        """True where the request has a body of at least a byte."""
        body = self.request.body
        return not isinstance(body, bytes) or bool(body)

    def body(self, kind: type[T]) -> T:
        """The JSON body as `kind`. 415 for another type, 413 for too much, 400 for no JSON or an unknown member, 422."""
        raw = self.request.body
        if not isinstance(raw, bytes):
            raw.discard()
            raise too_large()
        # Asked for also because a page of another site cannot send it without being allowed to (cross-site requests).
        media_type = (self.header(b"content-type") or "").partition(";")[0].strip().lower()
        if media_type != JSON_CONTENT_TYPE:
            raise RefusalError(415, f"The body must be {JSON_CONTENT_TYPE}.", headers=(("Accept", JSON_CONTENT_TYPE),))
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.ValidationError as error:
            raise _unfit(str(error), 422, kind) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RefusalError(400, "The body is not well-formed JSON in UTF-8.") from None

    def query(self, kind: type[T], *, lists: Collection[str] = ()) -> T:
        """The query as `kind`; 400 for an unknown or repeated parameter and for a value that does not fit.

        Those named in `lists` may be repeated, or have commas between their values.
        """
        try:
            pairs = (
                parse_qsl(
                    self.request.query, keep_blank_values=True, errors="strict", max_num_fields=32, strict_parsing=True
                )
                if self.request.query
                else []
            )
        except (ValueError, UnicodeDecodeError):
            raise RefusalError(400, "The query is not a list of name=value in UTF-8.") from None
        found: dict[str, str | list[str]] = {}
        for name, value in pairs:
            if name in lists:
                found[name] = [*found.get(name, ()), *value.split(",")]
            elif name in found:
                raise RefusalError(400, "A parameter of the query is repeated.")
            else:
                found[name] = value
        try:
            return msgspec.convert(found, kind, strict=False)
        except msgspec.ValidationError as error:
            raise _unfit(str(error), 400, kind) from None

    def resource(self, text: str, member: str, status: int = 422) -> ResourcePath:
        """The resource that a URL path in `member` names; refused with `status` where it cannot be one."""
        try:
            return self.site.resolve(text)
        except InvalidPathError as error:
            raise RefusalError(status, f"{error} - at `$.{member}`") from None


def _unfit(said: str, status: int, kind: type[object]) -> RefusalError:
    """What the decoder said, as a refusal; it names the member, and what there is to choose from, and never quotes a secret."""
    known = _choices(kind, said) if said.startswith(_UNKNOWN_CHOICE) else []
    hint = f"; known: {', '.join(known)}" if known else ""
    return RefusalError(400 if said.startswith(_UNKNOWN_FIELD) else status, said + hint)


def _choices(kind: type[object], said: str) -> list[str]:
    """The values that the member named in `said` may have, as `kind` has them; none where it is deeper inside."""
    found = _MEMBER.search(said)
    structure = inspect.type_info(kind)
    if found is None or not isinstance(structure, inspect.StructType):
        return []
    left = [field.type for field in structure.fields if field.encode_name == found[1]]
    while left:
        match left.pop():
            case inspect.UnionType(types=types):
                left.extend(types)
            case inspect.Metadata(type=item) | inspect.ListType(item_type=item):
                left.append(item)
            case inspect.EnumType(cls=choices):
                return [str(choice.value) for choice in choices]
            case inspect.LiteralType(values=values):
                return [str(value) for value in values]
            case _:
                pass
    return []


def too_large() -> RefusalError:
    """The refusal of a body over the limit."""
    return RefusalError(413, f"The body is larger than {MAX_BODY_BYTES} bytes, the most that is taken here.")


def answer(value: object, status: int = 200, *headers: tuple[str, str], awaits_sync: bool = False) -> Response:
    """A JSON answer. Locks change at any moment, so none may be kept."""
    fields = [
        ("Content-Type", JSON_CONTENT_TYPE),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *headers,
    ]
    return Response(status, fields, msgspec.json.encode(value), awaits_sync=awaits_sync)
