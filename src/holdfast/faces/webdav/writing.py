"""PUT, MKCOL and DELETE (RFC 4918 sections 9.3, 9.6, 9.7; RFC 5689 for MKCOL with a body).

Every change is checked and made in one transaction: what is in the way at that moment wins over what
was seen before (`LockService.write`).
"""

from __future__ import annotations

from holdfast.core.decisions import Effect, Reach, Refused
from holdfast.core.model import DeadProperty, Depth
from holdfast.faces.webdav.answers import refused
from holdfast.faces.webdav.call import Call
from holdfast.faces.webdav.conditional import precondition_of
from holdfast.faces.webdav.effects import refuse_too_many_properties, stored, write_of
from holdfast.faces.webdav.errors import RefusalError, as_refusal
from holdfast.faces.webdav.live import DAV, PROTECTED
from holdfast.files import AlreadyExistsError, Detached, IsCollectionError, StagedFile
from holdfast.service import WriteRequest
from holdfast.store.protocol import WriteTransaction
from holdfast.wire.davxml import parse_mkcol
from holdfast.wire.davxml_write import Condition
from holdfast.wire.exchange import Response
from holdfast.wire.rfc4918 import parse_depth

__all__ = ["delete", "judge_upload", "mkcol", "put"]

_XML_TYPES = ("application/xml", "text/xml")


def put(call: Call) -> Response:
    """PUT: the upload lies complete; check, then rename it into place (RFC 4918 section 9.7)."""
    if isinstance(call.request.body, bytes):
        # A large body was judged before it was read (judge_upload); a small one is judged here, before a file is made.
        refusal = _judge(call)
        if refusal is not None:
            return refusal
    staged = _staged_body(call)
    try:
        _check_expected_length(call, staged.length)
        modified = _client_modified(call)
        # Written to the disk before the transaction, so that nobody waits for our disk behind our lock.
        staged.seal(staged.length, durable=call.site.settings.syncs_files, modified_ns=modified)

        def apply(tx: WriteTransaction) -> tuple[bool, str]:
            created, resource = call.site.folder.place(staged, call.inside, sync=False)
            if created:
                # What a killed process may have left of an older resource of this name.
                tx.remove_properties(call.resource)
            return created, resource.etag or ""

        answer = call.site.service.write(lambda: write_of(call), apply, precondition=precondition_of(call))
    finally:
        staged.discard()
    if isinstance(answer, Refused):
        return refused(call, answer)
    call.site.folder.sync(call.inside)
    created, etag = answer
    headers = [("ETag", etag)]
    if modified is not None:
        headers.append(("X-OC-MTime", "accepted"))
    return Response(201 if created else 204, headers)


def judge_upload(call: Call) -> Response | None:
    """What stands against a PUT as things are now: conditions, locks, what can never be stored, a missing parent.

    Asked before a large body is read; the transaction that makes the change asks again.
    """
    refusal = _judge(call)
    if refusal is not None:
        return refusal
    resource = call.site.folder.stat(call.inside)
    if resource is not None and resource.is_collection:
        raise as_refusal(IsCollectionError("a collection has that name"))
    if resource is None:
        call.refuse_new_member_of_missing_parent()
    return None


def _judge(call: Call) -> Response | None:
    """The part that needs no look at the disk. What protects the parent collection is asked in the transaction."""
    if b"content-range" in call.request.headers:
        # RFC 9110 section 14.5: a server that does not support partial PUT must not store the part as the whole.
        raise RefusalError(400, "PUT with Content-Range is not supported; send the whole document.")
    request = WriteRequest(call.claim(), (Effect(call.resource, Reach.CONTENT),))
    refusal = call.site.service.check_write(request, precondition_of(call))
    return None if refusal is None else refused(call, refusal)


def _staged_body(call: Call) -> StagedFile:
    body = call.request.body
    if isinstance(body, bytes):
        staged = call.site.folder.staging.new()
        try:
            staged.write(body)
        except BaseException:
            staged.discard()  # on a full disk each refusal would keep what it took
            raise
        return staged
    if not isinstance(body, StagedFile):
        msg = "an upload must be staged by the served folder's own staging area"
        raise TypeError(msg)
    return body


def _check_expected_length(call: Call, length: int) -> None:
    # Finder announces the real length of a chunked PUT here; some proxies drop the chunks and pass on
    # an empty body, which must not truncate the document (webdav-handler-rs issue 18).
    expected = call.header(b"x-expected-entity-length")
    if expected is not None and expected.isascii() and expected.isdigit() and length < int(expected[:20]):
        raise RefusalError(400, f"The body has {length} bytes, fewer than the X-Expected-Entity-Length announced.")


def _client_modified(call: Call) -> int | None:
    """X-OC-Mtime (ownCloud, Nextcloud, rclone): seconds since 1970, perhaps with a fraction; in nanoseconds."""
    text = call.header(b"x-oc-mtime")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return None
    return int(seconds * 1_000_000_000) if 0 <= seconds < 2**40 else None


def mkcol(call: Call) -> Response:
    """MKCOL, plain or with properties to set (RFC 4918 section 9.3, RFC 5689)."""
    body = call.body_bytes()
    properties: list[DeadProperty] = []
    if body.strip():
        kind = (call.header(b"content-type") or "").partition(";")[0].strip().lower()
        if kind not in _XML_TYPES:
            raise RefusalError(415, "A MKCOL body must be an XML mkcol element (RFC 5689), or absent.")
        properties = _extended(call, body)

    def apply(tx: WriteTransaction) -> None:
        call.refuse_new_member_of_missing_parent()
        if properties:
            tx.ensure_room()
        call.site.folder.make_collection(call.inside, sync=False)
        tx.remove_properties(call.resource)
        for item in properties:
            tx.put_property(item)
        refuse_too_many_properties(call, tx)

    if call.site.folder.stat(call.inside) is not None:
        raise as_refusal(AlreadyExistsError("there is a resource at this URL already"))
    answer = call.site.service.write(lambda: write_of(call), apply, precondition=precondition_of(call))
    if isinstance(answer, Refused):
        return refused(call, answer)
    call.site.folder.sync(call.inside)
    return Response(201, [])


def _extended(call: Call, body: bytes) -> list[DeadProperty]:
    request = parse_mkcol(body, call.site.settings.xml)
    if request.resource_types != ((DAV, "collection"),):
        raise RefusalError(
            403, "MKCOL makes plain collections only (RFC 5689 section 3.3).", condition=Condition.VALID_RESOURCETYPE
        )
    if {(change.namespace, change.name) for change in request.changes} & PROTECTED:
        raise RefusalError(
            403, "MKCOL cannot set a protected property.", condition=Condition.CANNOT_MODIFY_PROTECTED_PROPERTY
        )
    return [stored(call, change) for change in request.changes]


def delete(call: Call) -> Response:
    """DELETE, of a collection with everything below, or of nothing (RFC 4918 section 9.6).

    A lock below that is not the requester's stops the whole: nothing is deleted, and 207 names it.
    """
    call.refuse_the_mount()
    resource = call.existing()
    depth = parse_depth(call.header(b"depth")) or Depth.INFINITY
    if resource.is_collection and depth is not Depth.INFINITY:
        raise RefusalError(400, "DELETE of a collection takes Depth infinity only (RFC 4918 section 9.6.1).")

    def apply(tx: WriteTransaction) -> Detached:
        if resource.is_collection or tx.locks_on([call.resource.text]) or tx.properties_on(call.resource):
            tx.ensure_room()  # a plain document may go without, to make some
        detached = call.site.folder.detach(call.inside, sync=False)
        tx.remove_properties(call.resource)
        return detached

    answer = call.site.service.write(lambda: write_of(call), apply, precondition=precondition_of(call))
    if isinstance(answer, Refused):
        return refused(call, answer)
    call.site.folder.sync(call.inside)
    answer.purge()
    return Response(204, [], awaits_sync=True)
