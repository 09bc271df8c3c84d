"""What servers were seen to answer where they mean "locked": one row for each answer, named after its service.

Other tests send these bodies, or bend them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import NamedTuple

from holdfast.client import LockedKind

BASE = "https://any.example/dir/thing"
DATE = "Sat, 21 Nov 2026 10:12:00 GMT"
HELD, BAD, RULE, UNKNOWN = (
    LockedKind.HELD_BY_OTHER, LockedKind.BAD_TOKEN, LockedKind.ADMINISTRATIVE, LockedKind.UNKNOWN,
)  # fmt: skip


class Row(NamedTuple):
    """An answer, and what is to be read of it; `conflicts` where it is read only when that is asked for."""

    name: str
    status: int
    body: bytes
    expected: dict[str, object]
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    conflicts: bool = False
    url: str = BASE

    @property
    def answer(self):
        return self.status, {"Date": DATE, **self.headers}, self.body, self.url


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def j(**members) -> bytes:
    return json.dumps(members).encode()


DAV_ERROR = b'<?xml version="1.0"?><D:error xmlns:D="DAV:"><D:%s><D:href>/dir/</D:href></D:%s></D:error>'
SABRE = b'<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns"><s:exception>%s</s:exception><s:message>%s</s:message>%s</d:error>'
SAP = (
    b'<exc:exception xmlns:exc="http://www.sap.com/abapxml/types/communicationframework"><namespace id="com.sap.adt"/>'
    b'<type id="%s"/><message lang="EN">%s</message><localizedMessage lang="EN">%s</localizedMessage><properties/></exc:exception>'
)
GRAPH = {"date": "2026-11-21T10:00:00", "request-id": "7a"}

ROWS = [
    Row("RFC 4918 write", 423, DAV_ERROR % (b"lock-token-submitted", b"lock-token-submitted"),
        {"kind": HELD, "code": "lock-token-submitted", "resource": "/dir/", "url": "https://any.example/dir/", "service": "webdav"}),
    Row("RFC 4918 LOCK", 423, DAV_ERROR % (b"no-conflicting-lock", b"no-conflicting-lock"),
        {"kind": HELD, "code": "no-conflicting-lock", "resource": "/dir/"}),
    Row("RFC 4918 UNLOCK of another's", 409,
        b'<D:error xmlns:D="DAV:"><D:lock-token-matches-request-uri/></D:error>',
        {"kind": BAD, "code": "lock-token-matches-request-uri"}, conflicts=True),
    Row("lock discovery in a 423", 423,
        b'<D:prop xmlns:D="DAV:"><D:lockdiscovery><D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:exclusive/>'
        b"</D:lockscope><D:depth>Infinity</D:depth><D:owner><D:href>mailto:ada@example.com</D:href></D:owner>"
        b"<D:timeout>Second-120</D:timeout><D:locktoken><D:href>urn:uuid:secret</D:href></D:locktoken>"
        b"<D:lockroot><D:href>/dir/</D:href></D:lockroot></D:activelock></D:lockdiscovery></D:prop>",
        {"kind": HELD, "holder": "mailto:ada@example.com", "until": at("2026-11-21T10:14:00Z"), "remaining": 120.0, "resource": "/dir/"}),
    Row("sabre/dav write", 423,
        SABRE % (rb"Sabre\DAV\Exception\Locked", b"", b"<d:lock-token-submitted><d:href>dir/thing</d:href></d:lock-token-submitted>"),
        {"kind": HELD, "code": "lock-token-submitted", "service": "sabre", "resource": "/dir/thing"}),
    Row("sabre/dav LOCK", 423,
        SABRE % (rb"Sabre\DAV\Exception\ConflictingLock", b"", b"<d:no-conflicting-lock><d:href>/dir/thing</d:href></d:no-conflicting-lock>"),
        {"kind": HELD, "code": "no-conflicting-lock", "resource": "/dir/thing"}),
    Row("Nextcloud transactional", 423,
        SABRE % (rb"OCA\DAV\Connector\Sabre\Exception\FileLocked", b'"thing" is locked', b""),
        {"kind": HELD, "code": "FileLocked", "message": '"thing" is locked', "holder": "", "resource": "/dir/thing"}),
    Row("Nextcloud files_lock LOCK", 423,
        b'<d:prop xmlns:d="DAV:" xmlns:nc="http://nextcloud.org/ns"><nc:lock>1</nc:lock><nc:lock-owner-type>0</nc:lock-owner-type>'
        b"<nc:lock-owner>user1</nc:lock-owner><nc:lock-owner-displayname>User One</nc:lock-owner-displayname>"
        b"<nc:lock-owner-editor/><nc:lock-time>1795255800</nc:lock-time><nc:lock-timeout>1800</nc:lock-timeout></d:prop>",
        {"kind": HELD, "holder": "User One", "since": at("2026-11-21T10:10:00Z"), "until": at("2026-11-21T10:40:00Z"),
         "remaining": 1680.0, "service": "nextcloud"}),
    Row("Nextcloud files_lock without end", 423,
        b'<d:prop xmlns:d="DAV:" xmlns:nc="http://nextcloud.org/ns"><nc:lock>1</nc:lock><nc:lock-owner>user1</nc:lock-owner>'
        b"<nc:lock-time>1795255800</nc:lock-time><nc:lock-timeout>-1</nc:lock-timeout></d:prop>",
        {"kind": HELD, "holder": "user1", "until": None, "endless": True}),
    Row("Nextcloud OCS", 423,
        j(ocs={"meta": {"status": "failure", "statuscode": 423, "message": "File is currently locked by user1"},
               "data": {"id": 3, "userId": "user1", "token": "files_lock/secret", "eta": 600, "creation": 1795255800}}),
        {"kind": HELD, "holder": "user1", "remaining": 600.0, "since": at("2026-11-21T10:10:00Z"), "until": at("2026-11-21T10:22:00Z")}),
    Row("Nextcloud OCS as XML", 423,
        b'<?xml version="1.0"?><ocs><meta><status>failure</status><statuscode>423</statuscode>'
        b"<message>File is currently locked by Ada L.</message></meta><data/></ocs>",
        {"kind": HELD, "holder": "Ada L", "service": "nextcloud"}),
    Row("Nextcloud OCS in a 500", 500,
        j(ocs={"meta": {"statuscode": 423, "message": "File is currently locked by user1"}, "data": []}),
        {"kind": HELD, "holder": "user1"}, conflicts=True),
    Row("Nextcloud Bookmarks", 423, j(status="error", data="Resource is already locked"),
        {"kind": HELD, "message": "Resource is already locked", "service": "nextcloud-bookmarks"}),
    Row("Microsoft Graph, token", 423,
        j(error={"code": "accessDenied", "message": "Lock token does not match existing lock", "innerError": GRAPH}),
        {"kind": BAD, "code": "accessDenied", "service": "microsoft-graph"}),
    Row("Microsoft Graph, checked out", 423,
        j(error={"code": "notAllowed", "innerError": GRAPH,
                 "message": "The file is currently checked out or locked for editing by another user."}),
        {"kind": HELD, "holder": ""}),
    Row("Microsoft Graph, resourceLocked", 423,
        j(error={"code": "notAllowed", "message": "The resource you are attempting to access is locked",
                 "innerError": {"code": "resourceLocked", **GRAPH}}),
        {"kind": HELD, "code": "resourceLocked"}),
    Row("SharePoint, exclusive use", 423,
        j(error={"code": "resourceLocked", "innerError": GRAPH,
                 "message": "The file 'a.docx' is locked for exclusive use by i:0#.f|membership|ada@contoso.example."}),
        {"kind": HELD, "holder": "ada@contoso.example"}),
    Row("Microsoft Graph beta, lockInfo", 423,
        j(error={"code": "resourceLocked", "message": "Locked", "innerError": GRAPH},
          file={"lockInfo": {"lockType": "shared", "createdDateTime": "2026-11-21T10:00:00Z",
                             "expirationDateTime": "2026-11-21T10:30:00.1234567Z", "owners": [{"user": {"displayName": "Ada"}}]}}),
        {"kind": HELD, "holder": "Ada", "since": at("2026-11-21T10:00:00Z"), "until": at("2026-11-21T10:30:00.123456Z")}),
    Row("Kestra, leased", 423,
        j(type="https://kestra.io/problems/resource-leased", title="Resource is leased", status=423, instance="/api/v1/x",
          detail="Lease on 'ASSET'.'my-asset' is held until 2026-11-21T14:32:10Z by USER 'alice@example.com'."),
        {"kind": HELD, "holder": "alice@example.com", "until": at("2026-11-21T14:32:10Z"), "code": "resource-leased", "service": "problem"}),
    Row("Kestra, locked", 423, j(type="https://kestra.io/problems/locked", title="Locked", status=423),
        {"kind": HELD, "code": "locked", "message": "Locked"}),
    Row("OSDU seismic store", 423, b"[seismic-store] The dataset is write locked [RCODE:WL3600]",
        {"kind": HELD, "code": "WL3600", "remaining": 3600.0, "until": at("2026-11-21T11:12:00Z"), "service": "osdu"}),
    Row("SAP ADT, lock handle", 423,
        SAP % (b"ExceptionResourceInvalidLockHandle", b"x", b"Resource INCLUDE ZX is not locked (invalid lock handle: 5D)"),
        {"kind": BAD, "code": "ExceptionResourceInvalidLockHandle", "service": "sap-adt"}),
    Row("SAP ADT, no access", 403,
        SAP % (b"ExceptionResourceNoAccess", b"x", b"Object ZX is locked by user DEVELOPER"),
        {"kind": HELD, "holder": "DEVELOPER"}, conflicts=True),
    Row("SAP ADT, editing", 403,
        SAP % (b"ExceptionResourceNoAccess", b"x", b"User DEVELOPER is currently editing ZX"),
        {"kind": HELD, "holder": "DEVELOPER"}, conflicts=True),
    Row("HubSpot", 423, j(status="error", message="Object is locked", correlationId="c", category="CONFLICT"),
        {"kind": HELD, "retry_after": 2.0, "service": "hubspot"}, {"X-HubSpot-Correlation-Id": "c"}),
    Row("Shopify", 423, j(errors="This shop is unavailable"),
        {"kind": RULE, "message": "This shop is unavailable", "endless": True}, url="https://ada.myshopify.com/admin/api/x.json"),
    Row("CloudAMQP", 423, b"", {"kind": UNKNOWN, "resource": "/dir/thing", "retry_after": None}),
    Row("Gitea, archived", 423, j(message="Repository a/b is archived", url="https://gitea.example/api/swagger"),
        {"kind": RULE, "message": "Repository a/b is archived"}),
    Row("GitHub, archived", 403, j(message="Repository was archived so is read-only.", documentation_url="https://docs"),
        {"kind": RULE, "service": "github"}, {"X-GitHub-Request-Id": "AB12"}, conflicts=True),
    Row("tus", 423, b"ERR_UPLOAD_LOCKED: file currently locked\n",
        {"kind": HELD, "code": "ERR_UPLOAD_LOCKED", "service": "tus"}, {"Tus-Resumable": "1.0.0"}),
    Row("ASP.NET state server", 423, b"", {"kind": HELD, "since": at("2026-11-21T10:11:30Z"), "service": "aspnet-state"},
        {"LockAge": "30", "LockCookie": "17"}),
    Row("Terraform", 423,
        j(ID="4ea3ec8b", Operation="OperationTypeApply", Info="", Who="root@vm", Version="1.11.4",
          Created="2026-11-21T10:00:40.281583755Z", Path=""),
        {"kind": HELD, "holder": "root@vm", "since": at("2026-11-21T10:00:40.281583Z"), "endless": False, "service": "terraform"}),
    Row("Terraform, other case", 409, j(id="4ea3ec8b", who="ada@ci", created="0001-01-01T00:00:00Z"),
        {"kind": HELD, "holder": "ada@ci", "since": None}, conflicts=True),
    Row("Terraform state in Django", 423, b'"State is already locked."', {"kind": HELD, "message": "State is already locked."}),
    Row("Git LFS", 409,
        j(lock={"id": "7", "path": "art/a.psd", "locked_at": "2026-11-21T10:00:00Z", "owner": {"name": "Ada"}}, message="already created lock"),
        {"kind": HELD, "holder": "Ada", "since": at("2026-11-21T10:00:00Z"), "resource": "art/a.psd", "service": "git-lfs"}, conflicts=True),
    Row("WOPI", 409, b"", {"kind": HELD, "message": "another session", "holder": "", "service": "wopi"},
        {"X-WOPI-Lock": "secret-lock-id", "X-WOPI-LockFailureReason": "another session"}, conflicts=True),
    Row("WOPI, coauthor", 409, b"", {"kind": HELD, "holder": "Ada"},
        {"X-WOPI-Lock": "x", "X-WOPI-LockedByOtherInterface": "true", "X-WOPI-ConflictingLockUsername": "Ada"}, conflicts=True),
    Row("WOPI, not locked any more", 409, b"", {"kind": BAD}, {"X-WOPI-Lock": ""}, conflicts=True),
    Row("Azure lease, present", 409,
        b'\xef\xbb\xbf<?xml version="1.0"?><Error><Code>LeaseAlreadyPresent</Code><Message>There is already a lease present.</Message></Error>',
        {"kind": HELD, "code": "LeaseAlreadyPresent", "service": "azure-storage"}, conflicts=True),
    Row("Azure lease, breaking", 409, b"<Error><Code>LeaseIsBreakingAndCannotBeAcquired</Code></Error>",
        {"kind": HELD, "remaining": 12.0}, {"x-ms-lease-time": "12"}, conflicts=True),
    Row("Azure lease, missing", 412, b"<Error><Code>LeaseIdMissing</Code></Error>", {"kind": HELD}, conflicts=True),
    Row("Azure lease, mismatch", 412, b"<Error><Code>LeaseIdMismatchWithBlobOperation</Code></Error>", {"kind": BAD}, conflicts=True),
    Row("Azure lease, HEAD", 412, b"", {"kind": BAD, "code": "LeaseLost"}, {"x-ms-error-code": "LeaseLost"}, conflicts=True),
    Row("Dropbox", 409,
        j(error_summary="path/lock_conflict/..", error={".tag": "path", "reason": {".tag": "lock_conflict", "lock": {
            "content": {".tag": "single_user", "created": "2026-11-21T10:00:00Z", "lock_holder_account_id": "dbid:AAH4"}}}}),
        {"kind": HELD, "holder": "dbid:AAH4", "since": at("2026-11-21T10:00:00Z"), "code": "lock_conflict"}, conflicts=True),
    Row("Dropbox, one entry", 200,
        j(entries=[{".tag": "failure", "failure": {".tag": "lock_conflict", "lock": {"content": {"lock_holder_account_id": "dbid:B"}}}}]),
        {"kind": HELD, "holder": "dbid:B"}, conflicts=True),
    Row("Box", 403, j(type="error", status=403, code="access_denied_item_locked", message="Access denied - item locked",
                      lock={"type": "lock", "expires_at": "2026-11-21T10:30:00+00:00", "created_by": {"name": "Ada", "id": "5"}}),
        {"kind": HELD, "holder": "Ada", "until": at("2026-11-21T10:30:00Z"), "service": "box"}, conflicts=True),
    Row("Autodesk ACC", 403,
        j(jsonapi={"version": "1.0"}, errors=[{"id": "1", "status": "403", "code": "ERR_WIP_ERROR", "title": "RESERVATION_LINEAGE_RESERVED"}]),
        {"kind": HELD, "code": "RESERVATION_LINEAGE_RESERVED", "service": "autodesk"}, conflicts=True),
    Row("DocuSign", 400,
        j(errorCode="EDIT_LOCK_NOT_LOCK_OWNER", message="The user is not the owner of the lock.",
          lockedByUser={"userName": "Ada Lovelace", "email": "ada@example.com"}, lockedUntilDateTime="2026-11-21T10:20:00.0000000Z"),
        {"kind": HELD, "holder": "Ada Lovelace", "until": at("2026-11-21T10:20:00Z"), "service": "docusign"}, conflicts=True),
    Row("Google Drive", 403,
        j(contentRestrictions=[{"readOnly": True, "reason": "Final", "restrictingUser": {"displayName": "Ada"},
                                "restrictionTime": "2026-11-21T10:00:00.000Z"}]),
        {"kind": RULE, "holder": "Ada", "since": at("2026-11-21T10:00:00Z"), "message": "Final"}, conflicts=True),
    Row("FHIR", 423,
        j(resourceType="OperationOutcome", issue=[{"severity": "error", "code": "processing", "details": {
            "coding": [{"code": "sdhr-patient-locked"}], "text": "temporarily locked due to a background load process"}}]),
        {"kind": HELD, "code": "sdhr-patient-locked", "service": "fhir"}),
    Row("4D REST", 200,
        j(result=False, __STATUS={"status": 3, "statusText": "Already Locked", "lockKind": 1, "lockKindText": "Locked By Record",
                                  "lockInfo": {"user_name": "Ada", "task_name": "P_12", "host_name": "mac"}}),
        {"kind": HELD, "holder": "Ada", "message": "Locked By Record"}, conflicts=True),
    Row("Ably Spaces", 400, j(error={"code": 101003, "message": "lock is currently locked", "statusCode": 400}),
        {"kind": HELD, "code": "101003", "service": "ably"}, conflicts=True),
    Row("GitLab", 409, j(message="409 Conflict: Resource lock"), {"kind": HELD, "message": "409 Conflict: Resource lock"}, conflicts=True),
    Row("locks listed in plain JSON", 423,
        j(simulated=True, status={"code": 423}, detail="Ada is editing it.", resource="/dir/thing", retry_after=5, locks=[
            {"id": "9", "root": "/dir/", "scope": "exclusive", "depth": "infinity", "holder": {"name": "ada", "owner": "Ada", "client": "Office"},
             "reason": "", "since": "2026-11-21T10:00:00Z", "expires_at": "2026-11-21T10:30:00Z"}]),
        {"kind": HELD, "holder": "ada", "since": at("2026-11-21T10:00:00Z"), "until": at("2026-11-21T10:30:00Z"),
         "message": "Ada is editing it.", "retry_after": 5.0, "resource": "/dir/thing", "service": "json"},
        {"Content-Type": "application/json"}),
    Row("locks listed with holders as text, for ever", 409,
        j(locks=[{"root": "/dir/thing", "holder": "ada", "expires_at": None}], message="no"),
        {"kind": HELD, "holder": "ada", "endless": True, "message": "no"}, conflicts=True),
    Row("x/net/webdav", 423, b"Locked", {"kind": HELD, "message": "Locked"}),
    Row("wsgidav", 423, b"<!DOCTYPE html><html><head><title>423 Locked</title></head><body>423 Locked<hr/></body></html>",
        {"kind": UNKNOWN, "resource": "/dir/thing"}),
    Row("Office field", 423, b"", {"kind": HELD, "holder": "Ada", "service": "msdavext"},
        {"X-MSDAVEXT_ERROR": "589838; The%20file%20is%20locked%20by%20Ada."}),
]  # fmt: skip
