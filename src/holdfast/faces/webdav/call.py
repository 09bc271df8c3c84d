"""One WebDAV request on its way: what every method's handler is given.

Owns: turning URLs into canonical paths (the request's own, Destination, the tags of an If header) and
collecting what the request holds out for the lock service. Must not know what any method does.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from holdfast.clock import Clock
from holdfast.core.access import Principal, Role
from holdfast.core.conditions import IfHeader
from holdfast.core.paths import InvalidPathError, ResourcePath
from holdfast.faces.webdav.errors import RefusalError
from holdfast.files import Folder, Resource, StagedFile
from holdfast.live.line import WaitingLine
from holdfast.service import Claim, LockService
from holdfast.store.protocol import Store
from holdfast.wire.davxml import XmlLimits
from holdfast.wire.exchange import Request
from holdfast.wire.if_header import parse_if
from holdfast.wire.rfc4918 import parse_destination, parse_lock_token

__all__ = ["Call", "FaceSettings", "Site"]

_LONGEST_CLIENT = 200


class TextLimits(msgspec.Struct, frozen=True):
    """The longest texts that are taken, in bytes, and the most dead properties of one resource."""

    path_bytes: int = 4096
    if_bytes: int = 16_384
    timeout_bytes: int = 1024
    destination_bytes: int = 16_384
    owner_bytes: int = 8192
    property_bytes: int = 65_536
    properties: int = 1000


class FaceSettings(msgspec.Struct, frozen=True):
    """What an administrator may choose about the face."""

    texts: TextLimits = TextLimits()
    xml: XmlLimits = XmlLimits()
    propfind_infinity: bool = False
    """Serve PROPFIND with Depth infinity; off, it is refused with `propfind-finite-depth`."""
    syncs_files: bool = True
    """Changes are fsynced, so they are long work and never done on the event loop."""


class Site(msgspec.Struct, frozen=True):
    """What the face serves: a folder, mounted at a path of the one namespace, guarded by the lock service.

    `follow` gives, for a request that waits, what tells what its principal may do by then, None once it is nobody any more.
    """

    mount: ResourcePath
    folder: Folder
    service: LockService
    line: WaitingLine
    store: Store
    clock: Clock
    settings: FaceSettings
    follow: Callable[[Principal], Callable[[], Principal | None]]

    def inside(self, resource: ResourcePath) -> ResourcePath:
        """The path within the folder of a resource at or below the mount."""
        return ResourcePath(resource.text[len(self.mount.text) :] or "/")

    def etag_of(self, resource: ResourcePath) -> str | None:
        """The current entity tag of any resource of the namespace; None where the URL is unmapped."""
        if not resource.is_at_or_below(self.mount):
            return None
        return self.folder.etag_of(self.inside(resource))

    def resolve(self, target: str) -> ResourcePath:
        """The canonical path of a raw request target; raises InvalidPathError.

        A name that is on disk in another Unicode normal form than the one sent is the same resource.
        """
        resource = ResourcePath.from_target(target)
        longest = self.settings.texts.path_bytes
        if len(target) > longest and len(resource.text.encode()) > longest:
            msg = f"the path is longer than {longest} bytes"
            raise InvalidPathError(msg)
        if resource.text.isascii() or not resource.is_at_or_below(self.mount):
            return resource
        spelled = self.folder.spelling(self.inside(resource))
        return ResourcePath(self.mount.text + spelled.text) if not spelled.is_root else resource


class Call:
    """A request with its canonical path and its authenticated principal; `inside` is the path within the folder."""

    __slots__ = ("_condition", "_destination", "inside", "principal", "request", "resource", "site")

    _condition: IfHeader | None
    _destination: ResourcePath | None

    def __init__(self, site: Site, request: Request, resource: ResourcePath, principal: Principal) -> None:
        """Tie the request to what it is about."""
        self.site = site
        self.request = request
        self.resource = resource
        self.principal = principal
        self.inside = site.inside(resource)
        self._condition = None
        self._destination = None

    @property
    def names_collection(self) -> bool:
        """True when the URL was written with a trailing slash."""
        return self.request.target.endswith("/")

    @property
    def client(self) -> str:
        """What the client calls itself; kept with a lock so that people can tell which program holds it."""
        return (self.request.headers.get(b"user-agent") or "")[:_LONGEST_CLIENT]

    @property
    def role(self) -> Role:
        """What the principal may do to the request's own resource."""
        return self.principal.role_at(self.resource)

    def header(self, name: bytes) -> str | None:
        """A field's text, by lower-case name."""
        return self.request.headers.get(name)

    def bounded(self, name: bytes, longest: int) -> str | None:
        """A field that may have `longest` bytes; 400 for more."""
        text = self.request.headers.get(name)
        if text is not None and len(text) > longest:
            raise RefusalError(400, f"The {name.decode().title()} header is longer than {longest} bytes.")
        return text

    @property
    def condition(self) -> IfHeader | None:
        """The If header, read once; None where there is none. Raises IfSyntaxError."""
        if self._condition is None and b"if" in self.request.headers.fields:
            text = self.bounded(b"if", self.site.settings.texts.if_bytes)
            if text is not None:
                self._condition = parse_if(text, self.resource, self._resolve_tag)
        return self._condition

    def _resolve_tag(self, tag: str) -> ResourcePath | None:
        try:
            return self.site.resolve(self._local_target(tag.partition("?")[0]))
        except ValueError:
            return None  # malformed, or another server: it matches nothing (RFC 4918 section 10.4.3)

    def _local_target(self, uri: str) -> str:
        return parse_destination(uri, scheme=self.request.scheme, host=self.header(b"host"))

    @property
    def destination(self) -> ResourcePath | None:
        """Where COPY or MOVE goes; None when the field is absent.

        Raises HeaderError, InvalidPathError, or DestinationElsewhereError for another server.
        """
        if self._destination is None:
            text = self.bounded(b"destination", self.site.settings.texts.destination_bytes)
            if text is not None:
                self._destination = self.site.resolve(self._local_target(text))
        return self._destination

    def body_bytes(self) -> bytes:
        """The body of a method that takes XML; 413 for one that is larger than the settings allow."""
        body = self.request.body
        if isinstance(body, bytes):
            return body
        longest = self.site.settings.xml.size_bytes
        try:
            if isinstance(body, StagedFile) and body.length <= longest:
                return body.read()
        finally:
            body.discard()
        raise RefusalError(413, f"The body is larger than {longest} bytes, the most that this method takes.")

    def existing(self) -> Resource:
        """What is at the request's URL now; 404 when it is unmapped."""
        resource = self.site.folder.stat(self.inside)
        if resource is None:
            raise RefusalError(404, f"There is no resource at {self.resource.text}.")
        return resource

    def refuse_the_mount(self) -> None:
        """403 for what would remove the served folder itself."""
        if self.resource == self.site.mount:
            raise RefusalError(403, "The served folder itself cannot be deleted or moved.")

    def refuse_new_member_of_missing_parent(self) -> None:
        """409 where the parent collection is missing; none is ever made on the way (RFC 4918 section 9.7.1)."""
        parent = self.resource.parent
        found = self.site.folder.stat(self.site.inside(parent)) if self.resource != self.site.mount else None
        if found is None or not found.is_collection:
            raise RefusalError(409, f"There is no collection at {parent.text} to put it into.")

    def claim(self, *, reaches_down: bool = False) -> Claim:
        """Everything the request holds out to the lock service.

        A Lock-Token field counts as submitted, because Office sends it on PUT without an If header
        and must not fail for that (MS-WDV; sabre-io/dav issue 980).
        """
        token = self.header(b"lock-token")
        return Claim(
            resource=self.resource,
            principal=self.principal.name,
            condition=self.condition,
            tokens=() if token is None else (parse_lock_token(token),),
            reaches_down=reaches_down,
        )
