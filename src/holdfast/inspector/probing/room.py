"""A room: one probe's own collection on the server, and those who act in it.

Owns: the verbs that probes are written in, what a probe found, and leaving nothing behind. Must not know: any one probe.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

from holdfast.inspector.exchange import SentRequest
from holdfast.inspector.notes import Level
from holdfast.inspector.probing.probe import NotApplicableError, Probe, ProbeFinding, UndecidedError
from holdfast.inspector.probing.reply import Reply
from holdfast.inspector.probing.session import NOBODY, Principal, Session
from holdfast.inspector.probing.wire import Midway

__all__ = ["LOCKINFO", "Actor", "Held", "Room", "lockinfo"]

PROBE_S: Final = 20.0
"""How long a probe may take, the seconds included that it lets pass."""
_CLEANING_S: Final = 8.0
_TIMEOUT: Final = "Second-120"
_MOST_FINDINGS: Final = 40


def lockinfo(scope: str = "exclusive", owner: str = "holdfast probe") -> bytes:
    """The body of a LOCK; `owner` is XML."""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<D:lockinfo xmlns:D="DAV:">'
        f"<D:lockscope><D:{scope}/></D:lockscope><D:locktype><D:write/></D:locktype><D:owner>{owner}</D:owner></D:lockinfo>"
    ).encode()


LOCKINFO: Final = lockinfo()


class Held(NamedTuple):
    """A lock that was granted: where, its token, and the answer that granted it."""

    path: str
    token: str
    reply: Reply

    @property
    def submitted(self) -> str:
        """The value of an If field that submits it, untagged."""
        return f"(<{self.token}>)"

    @property
    def tagged(self) -> str:
        """The value of an If field that submits it for its lock root, wherever the request goes."""
        return f"<{self.url}> (<{self.token}>)"

    @property
    def url(self) -> str:
        """The absolute URL of the lock root."""
        return self.reply.request.url


class Actor:
    """Somebody in a room: a method for each request; paths are absolute and percent-encoded."""

    def __init__(self, room: Room, principal: Principal) -> None:
        """Send nothing yet."""
        self._room = room
        self.principal = principal

    def send(self, method: str, path: str, body: bytes = b"", **fields: str) -> Reply:
        """Any request. Field names are written with underscores: `if_`, `lock_token`. Raises UndecidedError without an answer."""
        return self._send(method, path, body, fields)

    def put(self, path: str, body: bytes = b"changed", midway: Midway | None = None, **fields: str) -> Reply:
        """PUT."""
        return self._send("PUT", path, body, {"content_type": "text/plain", **fields}, midway)

    def get(self, path: str) -> Reply:
        """GET."""
        return self.send("GET", path)

    def delete(self, path: str, **fields: str) -> Reply:
        """DELETE."""
        return self._send("DELETE", path, b"", fields)

    def mkcol(self, path: str, **fields: str) -> Reply:
        """MKCOL."""
        return self._send("MKCOL", path, b"", fields)

    def move(self, path: str, to: str, **fields: str) -> Reply:
        """MOVE, overwriting."""
        return self._send(
            "MOVE", path, b"", {"destination": self._room.session.origin + to, "overwrite": "T", **fields}
        )

    def copy(self, path: str, to: str, **fields: str) -> Reply:
        """COPY, overwriting."""
        return self._send(
            "COPY", path, b"", {"destination": self._room.session.origin + to, "overwrite": "T", **fields}
        )

    def propfind(self, path: str, *names: str, depth: str = "0") -> Reply:
        """PROPFIND of DAV properties."""
        wanted = "".join(f"<D:{name}/>" for name in names or ("lockdiscovery",))
        body = f'<?xml version="1.0"?>\n<D:propfind xmlns:D="DAV:"><D:prop>{wanted}</D:prop></D:propfind>'
        return self.send("PROPFIND", path, body.encode(), depth=depth, content_type="application/xml")

    def proppatch(
        self, path: str, property_xml: str = '<X:note xmlns:X="urn:x-probe">changed</X:note>', **fields: str
    ) -> Reply:
        """PROPPATCH that sets one property."""
        body = f'<?xml version="1.0"?>\n<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>{property_xml}</D:prop></D:set></D:propertyupdate>'
        return self.send("PROPPATCH", path, body.encode(), content_type="application/xml", **fields)

    def lock(
        self,
        path: str,
        scope: str = "exclusive",
        *,
        depth: str | None = "0",
        timeout: str | None = _TIMEOUT,
        body: bytes | None = None,
        **fields: str,
    ) -> Reply:
        """LOCK with a body: a new lock."""
        lines = {"content_type": "application/xml", **fields}
        lines |= {"depth": depth} if depth is not None else {}
        lines |= {"timeout": timeout} if timeout is not None else {}
        return self._send("LOCK", path, lockinfo(scope) if body is None else body, lines)

    def held(
        self, path: str, scope: str = "exclusive", *, depth: str | None = "0", timeout: str | None = _TIMEOUT
    ) -> Held:
        """A new lock that has to be granted before anything can be asked. Raises NotApplicableError, UndecidedError."""
        reply = self.lock(path, scope, depth=depth, timeout=timeout)
        if reply.status not in {200, 201} or not reply.token:
            what = f"LOCK ({scope}) of {self._room.name_of(path)} was answered {reply.status}"
            what += "" if reply.status not in {200, 201} else " without a token"
            raise (UndecidedError if reply.is_accident else NotApplicableError)(what)
        return Held(path, reply.token, reply)

    def refresh(self, path: str, token: str, timeout: str = _TIMEOUT, **fields: str) -> Reply:
        """LOCK without a body."""
        return self._send("LOCK", path, b"", {"if_": f"(<{token}>)", "timeout": timeout, **fields})

    def unlock(self, path: str, token: str) -> Reply:
        """UNLOCK."""
        return self.send("UNLOCK", path, lock_token=f"<{token}>")

    def _send(
        self, method: str, path: str, body: bytes, fields: Mapping[str, str], midway: Midway | None = None
    ) -> Reply:
        lines = tuple((name.strip("_").replace("_", "-").title(), value) for name, value in fields.items())
        return self._room.send(self.principal, SentRequest(method=method, url=path, fields=lines, body=body), midway)


class Room:
    """What a probe is given. `creator` takes locks; `other` is the second principal, or the first one without its tokens."""

    def __init__(self, session: Session, probe: Probe, folder: str, first: Principal, second: Principal | None) -> None:
        """Send nothing yet."""
        self.session = session
        self.probe = probe
        self.folder = folder
        self.until = session.pace.now() + PROBE_S
        self.creator = Actor(self, first)
        self.other = Actor(self, second or first)
        self.nobody = Actor(self, NOBODY)
        self.findings: list[ProbeFinding] = []
        self.requests = 0
        self.last: Reply | None = None
        self._granted: list[tuple[Principal, str, str]] = []
        self._is_cleaning = False

    # -- what is there -------------------------------------------------------------------------------------------------

    def path(self, name: str) -> str:
        """The path of a name in this room."""
        return self.folder + quote(name, safe="/%")

    def name_of(self, path: str) -> str:
        """A path as it is called in a report: without what is before the room."""
        return path.removeprefix(self.folder) or "the collection"

    def open(self) -> None:
        """Make the room. Raises UndecidedError."""
        self._must(self.creator.mkcol(self.folder), "MKCOL")

    def document(self, name: str = "document.txt", body: bytes = b"as it was") -> str:
        """Make a document as the creator; its path. Raises UndecidedError."""
        path = self.path(name)
        self._must(self.creator.put(path, body), f"PUT of {name}")
        return path

    def collection(self, name: str = "collection") -> str:
        """Make a collection as the creator; its path, with a slash at its end. Raises UndecidedError."""
        path = self.path(name) + "/"
        self._must(self.creator.mkcol(path), f"MKCOL of {name}")
        return path

    def content(self, path: str) -> bytes | None:
        """What a document holds; None where there is none."""
        reply = self.creator.get(path)
        return reply.body if reply.status in {200, 204} else None

    def kept_out(self, reply: Reply, what: str) -> bool:
        """Expect that a write was refused because of a lock; as `refused`.

        Raises NotApplicableError where it was done because no lock keeps anybody out: that is the finding of put-locked, not of this probe.
        """
        if reply.took_effect and not self._locks_guard():
            raise NotApplicableError("locks keep nobody from writing here (see put-locked)")
        return self.refused(reply, what)

    def still_guards(self, path: str, what: str) -> bool:
        """Expect that a lock still keeps others from writing a document; `what` is the sentence that says what has ended it."""
        return self.kept_out(self.other.put(path), f"{what}: a PUT without the token")

    def shows_no_lock(self, path: str, what: str) -> bool:
        """Expect that lockdiscovery shows no lock."""
        reply = self.creator.propfind(path)
        return self.expect(not reply.locks, what, reply)

    def exists(self, path: str) -> bool:
        """Whether there is anything."""
        return self.creator.propfind(path, "resourcetype").status == 207

    def wait(self, seconds: float) -> None:
        """Let time pass. Raises StoppedError and OutOfTimeError at the next request where it was cut short."""
        self.session.pace.wait(seconds, self.session.stopping)

    # -- what is found -------------------------------------------------------------------------------------------------

    def expect(self, holds: object, summary: str, reply: Reply | None = None, level: Level | None = None) -> bool:
        """Note a finding unless it holds, about `reply` or else the last one; whether it held."""
        about = reply or self.last
        if not holds and len(self.findings) < _MOST_FINDINGS:
            self.findings.append(
                ProbeFinding(
                    summary=summary,
                    level=level or self.probe.level,
                    sent="" if about is None else about.sent_text,
                    came="" if about is None else about.came_text,
                )
            )
        return bool(holds)

    def unanswered(self, summary: str) -> None:
        """Note a finding about a request that got no answer."""
        self.findings.append(ProbeFinding(summary=summary, level=self.probe.level))

    def refused(self, reply: Reply, what: str) -> bool:
        """Expect that it was refused, and by no accident; `what` is the sentence that says who did what."""
        if not self.expect(not reply.took_effect, f"{what}: answered {reply.status}", reply):
            return False
        accident = f"{reply.request.method} was answered {reply.status}, which is an accident and no refusal"
        return self.expect(not reply.is_accident, accident, reply, Level.WARN)

    def allowed(self, reply: Reply, what: str) -> bool:
        """Expect that it was done; `what` is the sentence that says what was not."""
        return self.expect(reply.took_effect, f"{what}: answered {reply.status}", reply)

    # -- how ---------------------------------------------------------------------------------------------------------

    def send(self, principal: Principal, request: SentRequest, midway: Midway | None = None) -> Reply:
        """Send, and remember what has to be taken away afterwards."""
        reply = self.session.send(principal, request, self.until, midway, is_cleaning=self._is_cleaning)
        self.requests += 1
        self.last = reply
        if request.method == "LOCK" and reply.status in {200, 201, 207}:
            for token in {reply.token, *(lock.token for lock in reply.locks)} - {""}:
                self._granted.append((principal, request.url, token))
        return reply

    def race(
        self, width: int, act: Callable[[Actor, int], Reply], rounds: int, judge: Callable[[Sequence[Reply]], bool]
    ) -> int:
        """`act` at the same moment by `width` threads, principals in turn, for `rounds` times; see Session.race."""
        actors = [self.creator if number % 2 == 0 else self.other for number in range(width)]
        return self.session.race(width, lambda number: act(actors[number], number), rounds, judge)

    def clean(self) -> None:
        """Release the locks that were granted here and delete the room, whatever happened before."""
        self._is_cleaning = True
        self.until = self.session.pace.now() + _CLEANING_S
        for principal, path, token in dict.fromkeys(self._granted):
            with contextlib.suppress(UndecidedError):
                Actor(self, principal).unlock(path, token)
        with contextlib.suppress(UndecidedError):
            if self.creator.delete(self.folder).status not in {200, 204, 404}:
                self._release_all()
                held = {path: token for principal, path, token in self._granted if principal == self.creator.principal}
                lists = " ".join(f"<{self.session.origin}{path}> (<{token}>)" for path, token in held.items())
                self.creator.delete(self.folder, **({"if_": lists} if lists else {}))

    def _release_all(self) -> None:
        """Release what is shown to be locked here, by whomever it can be released."""
        shown = self.creator.propfind(self.folder, "lockdiscovery", depth="1")
        for lock in shown.locks:
            path = quote(lock.root or "", safe="/") or self.folder
            for actor in (self.creator, self.other) if lock.token else ():
                actor.unlock(path, lock.token)

    def _locks_guard(self) -> bool:
        """Whether a lock keeps others from writing at all; found out on a document of its own."""
        held = self.creator.held(self.document("guarded.txt"))
        return not self.other.put(held.path).took_effect

    def _must(self, reply: Reply, what: str) -> None:
        if not reply.took_effect:
            msg = f"{what} was answered {reply.status}"
            raise UndecidedError(msg)
