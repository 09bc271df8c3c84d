"""A little WebDAV server that is right, and wrong in one way for each fault that is switched on.

It lives in the test's own process: `WrongServer(...)` is the Transport of the probes, and its clock is moved by their waits. Each
fault is a word that is asked for at the one place where it changes something: `self.has("...")`.
"""

from __future__ import annotations

import base64
import re
import threading
import time
import unicodedata
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree

from holdfast.inspector.exchange import Exchange, ReceivedResponse, SentRequest
from tests.probing.conditions import Condition, matches, parse_if

__all__ = ["USERS", "ManualPace", "WrongServer"]

USERS = {"ada": "ada-secret", "bob": "bob-secret"}
DAV = "{DAV:}"


class ManualPace:
    """Time that passes only when somebody waits."""

    is_shared = False

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> float:
        return self.seconds

    def wait(self, seconds: float, stop: threading.Event) -> None:
        self.seconds += seconds


@dataclass
class Lock:
    token: str
    root: str
    href: str
    depth: str
    scope: str
    creator: str
    owner: str
    granted: int | None
    until: float
    members_until: float
    first: str = ""
    extra: set[str] = field(default_factory=set)

    def covers(self, key: str) -> bool:
        return key == self.root or (self.depth == "infinity" and inside(key, self.root)) or key in self.extra


def inside(key: str, above: str) -> bool:
    return key.startswith(above.rstrip("/") + "/") and key != above


@dataclass
class Answer(Exception):  # noqa: N818 - an answer is no error
    status: int
    body: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    kind: str = 'application/xml; charset="utf-8"'


@dataclass
class Asked:
    """A request as the methods see it: `path` is where it is stored, `key` what it is called by locks."""

    method: str
    raw: str
    path: str
    key: str
    who: str
    body: bytes
    request: SentRequest
    lists: list[tuple[str | None, list[Condition]]] = field(default_factory=list)

    def header(self, name: str, default: str = "") -> str:
        return self.request.field(name) or default

    @property
    def submitted(self) -> set[str]:
        return {one.value for _, conditions in self.lists for one in conditions if not one.is_etag}


class WrongServer:
    """The server; `faults` are the words that are switched on."""

    def __init__(self, *faults: str) -> None:
        self.faults = set(faults)
        self.asked_for: set[str] = set()
        self.pace = ManualPace()
        self.files: dict[str, bytes | None] = {"": None, "/dav": None}
        self.versions: dict[str, int] = {}
        self.locks: list[Lock] = []
        self.counter = 1_795_000_000
        self.mutex = threading.RLock()
        self.writing: set[str] = set()

    def has(self, fault: str) -> bool:
        self.asked_for.add(fault)
        return fault in self.faults

    # -- the wire --

    def exchange(self, request: SentRequest, within: float, midway=None) -> Exchange:
        was_sent = True
        if request.has("expect") and not self.has("asks for the body first"):
            asked_early = self.answer(request, is_dry=True)
            was_sent = asked_early is None
        judged_early = None
        if midway is not None:
            if self.has("judges before the upload"):
                judged_early = self.answer(request, is_dry=True)
            midway()
        answer = self.answer(
            request, is_allowed=midway is not None and self.has("judges before the upload") and judged_early is None
        )
        assert answer is not None
        fields = (("Server", "wrong"), ("Date", formatdate(usegmt=True)), ("Cache-Control", "no-store"), *answer.fields)
        if answer.body:
            fields += (("Content-Type", answer.kind),)
        body = (
            b""
            if request.method == "HEAD"
            else answer.body.encode("latin-1" if answer.kind == "text/plain" else "utf-8")
        )
        fields += (("Content-Length", str(len(body))), ("Vary", "Accept"))
        response = ReceivedResponse(
            status=answer.status, reason=REASONS.get(answer.status, ""), fields=fields, body=body
        )
        return Exchange(response=response, request=request, body_was_sent=was_sent)

    def release(self) -> None:
        pass

    def answer(self, request: SentRequest, *, is_dry: bool = False, is_allowed: bool = False) -> Answer | None:
        """The answer; with `is_dry` only a refusal that needs no body, else None."""
        if request.method == "LOCK" and self.has("checks, then locks"):
            return self._handle(request, is_dry=is_dry, is_allowed=is_allowed)
        if request.method == "PUT" and self.has("one upload at a time"):
            if request.url in self.writing:
                return self.locked_answer([], "lock-token-submitted", request.url)
            self.writing.add(request.url)
            time.sleep(0.002)
            try:
                with self.mutex:
                    return self._handle(request, is_dry=is_dry, is_allowed=is_allowed)
            finally:
                self.writing.discard(request.url)
        with self.mutex:
            return self._handle(request, is_dry=is_dry, is_allowed=is_allowed)

    def _handle(self, request: SentRequest, *, is_dry: bool, is_allowed: bool) -> Answer | None:
        try:
            asked = self.read(request)
            if request.method != "OPTIONS" and not asked.who:
                self.before_login(asked)
            if is_allowed:
                self.store(asked.path, asked.body)
                return Answer(204)
            return self.judged(asked, is_dry=is_dry)
        except Answer as answer:
            return answer

    def judged(self, asked: Asked, *, is_dry: bool) -> Answer | None:
        if asked.header("if") and not self.has("ignores If"):
            if self.has("chokes on tags in LOCK") and asked.method == "LOCK" and "[" in asked.header("if"):
                raise Answer(500)
            lists = parse_if(asked.header("if"))
            if lists is None:
                if not self.has("takes any If"):
                    raise Answer(400)
                lists = [(None, [])]
            asked.lists = lists[: 16 if self.has("reads sixteen lists") else None]
            if self.has("locks before conditions") and asked.method == "PUT":
                self.guard(asked, [asked.key])
            is_refresh = asked.method == "LOCK" and not asked.body
            if not is_refresh and not self.is_true(asked):
                raise Answer(412)
        elif asked.header("if"):
            asked.lists = parse_if(asked.header("if")) or []
        method = getattr(self, "do_" + asked.method.lower(), None)
        if method is None:
            raise Answer(405, fields=(("Allow", "GET, PUT, LOCK, UNLOCK"),))
        if is_dry:
            if asked.method == "PUT":
                self.guard(asked, self.written_by_put(asked))
            return None
        return method(asked)

    def before_login(self, asked: Asked) -> None:
        if asked.method == "PUT" and self.has("lock before login"):
            self.guard(asked, [asked.key])
        if asked.method == "LOCK" and self.has("strangers lock"):
            raise self.do_lock(asked)
        raise Answer(401, "who?", (("WWW-Authenticate", 'Basic realm="x"'),), "text/plain")

    def read(self, request: SentRequest) -> Asked:
        raw = urlsplit(request.url).path
        who = ""
        kind, _, credentials = (request.field("authorization") or "").partition(" ")
        if kind == "Basic":
            name, _, password = base64.b64decode(credentials).decode().partition(":")
            who = name if USERS.get(name) == password else ""
        return Asked(request.method, raw, self.place(raw), self.key(raw), who, request.body, request)

    # -- names --

    def place(self, raw: str) -> str:
        """Where a URL's path is stored."""
        path = canonical(unquote(raw))
        if self.has("capitals do not matter to files"):
            path = path.lower()
        if self.has("decomposed letters are other names to locks"):
            path = unicodedata.normalize("NFC", path)
        return path

    def key(self, raw: str) -> str:
        """What locks call it."""
        if self.has("encoding is another name to locks"):
            return raw.rstrip("/")
        if self.has("dots are another name to locks"):
            return unquote(raw).rstrip("/")
        key = canonical(unquote(raw))
        if self.has("a slash is another name to locks") and raw.endswith("/"):
            key += "/"
        return key

    # -- conditions --

    def is_true(self, asked: Asked) -> bool:
        lists = asked.lists[:1] if self.has("reads one list") else asked.lists
        for tag, conditions in lists:
            if tag is not None and not tag.startswith("http") and self.has("wants whole URLs as tags"):
                continue
            raw = asked.raw if tag is None or self.has("ignores tags") else urlsplit(tag).path
            each = [self.holds(asked, one, raw) for one in conditions]
            if any(each) if self.has("takes one condition for all") and each else all(each):
                return True
        return False

    def holds(self, asked: Asked, one: Condition, raw: str) -> bool:
        if one.is_etag and self.has("ignores entity tags in If"):
            return True
        if one.is_negated and self.has("ignores Not"):
            return False
        if one.is_etag:
            is_there = self.place(raw) in self.files
            held = (
                one.value == self.etag(self.place(raw)) if is_there else self.has("anything is true where nothing is")
            )
        else:
            known = self.locks if self.has("a token is true anywhere") else self.covering(self.key(raw))
            held = one.value in {lock.token for lock in known}
            held = held or (one.value in self.gone and self.has("tokens stay true"))
        return matches(held=held, is_negated=one.is_negated)

    @property
    def gone(self) -> set[str]:
        return self.__dict__.setdefault("_gone", set())

    # -- locks --

    def is_live(self, lock: Lock, key: str = "") -> bool:
        if self.has("locks never end"):
            return True
        now = self.pace.now()
        if key and key != lock.root:
            return self.has("members stay locked") or now < lock.members_until
        return now < lock.until

    def covering(self, key: str) -> list[Lock]:
        for lock in self.locks:
            if not self.is_live(lock) and not self.is_live(lock, lock.root + "/x"):
                self.gone.add(lock.token)
        return [lock for lock in self.locks if lock.covers(key) and self.is_live(lock, key)]

    def below(self, key: str) -> list[Lock]:
        return [lock for lock in self.locks if inside(lock.root, key) and self.is_live(lock)]

    def may(self, asked: Asked, locks: list[Lock]) -> bool:
        """Whether who asks has submitted what these locks take."""
        if not locks or self.has("protects nothing"):
            return True
        if self.has("asks who, not for tokens") and any(lock.creator == asked.who for lock in locks):
            return True
        if self.has("true is enough") and asked.lists:
            return True
        if self.has("refuses its own token") and asked.method == "PUT":
            return False
        tokens = set(asked.submitted)
        if self.has("refuses tagged tokens"):
            tokens = {one.value for tag, conditions in asked.lists if tag is None for one in conditions}
        own = [
            lock
            for lock in locks
            if lock.token in tokens and (lock.creator == asked.who or self.has("a token is enough"))
        ]
        if self.bypassed(asked, locks):
            return True
        if self.has("asks for all shared tokens") and len(own) < len(locks):
            return False
        return bool(own) or (self.has("shared locks protect nothing") and all(lock.scope == "shared" for lock in locks))

    def bypassed(self, asked: Asked, locks: list[Lock]) -> bool:
        tokens = {lock.token for lock in locks}
        for tag, conditions in asked.lists:
            for one in conditions:
                if one.value in tokens and one.is_negated and self.has("a token behind Not is anybody's"):
                    return True
                is_elsewhere = tag is not None and self.key(urlsplit(tag).path) != asked.key
                if one.value in tokens and is_elsewhere and self.has("a token about another resource is anybody's"):
                    return True
        return False

    def guard(self, asked: Asked, keys: Iterable[str], *, deep: Iterable[str] = ()) -> None:
        """Refuse with 423, or 207 where only something below is in the way, unless every lock's token was submitted."""
        if self.has(f"{asked.method} asks no locks"):
            return
        for key in keys:
            locks = self.covering(key)
            if not self.may(asked, locks):
                raise self.locked_answer(locks, "lock-token-submitted", asked.raw)
        for key in deep:
            for lock in [] if self.has("looks at no members") else self.below(key):
                if not self.may(asked, [lock]) or self.has("members are always in the way"):
                    self.say_member(asked, lock)

    def say_member(self, asked: Asked, lock: Lock) -> None:
        if asked.method == "DELETE" and self.has("calls a tree a failed dependency"):
            raise Answer(424)
        error = f"<D:error><D:lock-token-submitted><D:href>{lock.href}</D:href></D:lock-token-submitted></D:error>"
        one = f"<D:response><D:href>{lock.href}</D:href><D:status>HTTP/1.1 423 Locked</D:status>{error}</D:response>"
        raise Answer(207, f'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">{one}</D:multistatus>')

    def locked_answer(self, locks: list[Lock], code: str, raw: str) -> Answer:
        if self.has("says 409 for 423"):
            return Answer(409)
        if self.has("shows a page for 423"):
            return Answer(423, "<!doctype html><title>Locked</title>", kind="text/html")
        if self.has("says lock-token-submitted to LOCK"):
            code = "lock-token-submitted"
        if self.has("says no-conflicting-lock to writes"):
            code = "no-conflicting-lock"
        hrefs = [raw] if self.has("names what was asked for") or not locks else [lock.href for lock in locks]
        inner = "".join(f"<D:href>{href}</D:href>" for href in hrefs)
        body = f'<?xml version="1.0" encoding="utf-8"?><D:error xmlns:D="DAV:"><D:{code}>{inner}</D:{code}></D:error>'
        return Answer(423, body, (("Retry-After", "5"),))

    # -- files --

    def etag(self, path: str) -> str:
        return f'"{self.versions.get(path, 0)}"'

    def store(self, path: str, body: bytes | None) -> None:
        self.files[path] = body
        self.versions[path] = self.versions.get(path, 0) + 1

    def remove(self, path: str, key: str) -> None:
        for name in [name for name in self.files if name == path or inside(name, path)]:
            del self.files[name]
        if not self.has("DELETE leaves locks"):
            self.forget([lock for lock in self.locks if lock.root == key or inside(lock.root, key)])

    def forget(self, locks: list[Lock]) -> None:
        self.gone.update(lock.token for lock in locks)
        self.locks = [lock for lock in self.locks if lock not in locks]

    def membership(self, asked: Asked, key: str, *, how: str) -> list[str]:
        """The keys that a change of a collection's members needs: the collection's, for a lock of depth 0 on it too."""
        return [] if self.has(f"members come and go by {how}") else [key.rstrip("/").rpartition("/")[0]]

    def parent_is_there(self, path: str) -> bool:
        return self.files.get(path.rpartition("/")[0], b"") is None

    # -- methods --

    def do_options(self, asked: Asked) -> Answer:
        return Answer(
            200, fields=(("DAV", "1" if self.has("says class 1") else "1, 2"), ("Allow", "GET, PUT, LOCK, UNLOCK"))
        )

    def do_get(self, asked: Asked) -> Answer:
        if self.has("readers wait") and not self.may(
            asked, [one for one in self.covering(asked.key) if one.creator != asked.who]
        ):
            raise self.locked_answer(self.covering(asked.key), "lock-token-submitted", asked.raw)
        body = self.files.get(asked.path, b"?") if asked.path in self.files else None
        if asked.path not in self.files:
            raise Answer(404)
        return Answer(200, (body or b"").decode("latin-1"), (("ETag", self.etag(asked.path)),), "text/plain")

    do_head = do_get

    def written_by_put(self, asked: Asked) -> list[str]:
        if asked.path in self.files:
            return [asked.key]
        return [asked.key, *self.membership(asked, asked.key, how="PUT")]

    def do_put(self, asked: Asked) -> Answer:
        if not self.parent_is_there(asked.path):
            raise Answer(409)
        if self.has("a refused PUT writes") and asked.path in self.files:
            self.store(asked.path, asked.body)
        self.guard(asked, self.written_by_put(asked))
        is_new = asked.path not in self.files
        self.store(asked.path, asked.body)
        if self.has("writing refreshes"):
            for lock in self.covering(asked.key):
                lock.until = lock.members_until = self.pace.now() + (lock.granted or 0)
        if self.has("writing ends the lock"):
            self.forget(self.covering(asked.key))
        return Answer(201 if is_new else 204, fields=(("ETag", self.etag(asked.path)),))

    def do_post(self, asked: Asked) -> Answer:
        if not self.has("POST writes"):
            raise Answer(405, fields=(("Allow", "GET, PUT, LOCK, UNLOCK"),))
        self.store(asked.path, asked.body)
        return Answer(204)

    def do_mkcol(self, asked: Asked) -> Answer:
        is_empty = self.files.get(asked.path) == b"" and self.has("MKCOL takes an empty document")
        if asked.path in self.files and not is_empty:
            raise Answer(405, fields=(("Allow", "GET, PUT, LOCK, UNLOCK"),))
        if not self.parent_is_there(asked.path):
            raise Answer(409)
        self.guard(asked, [asked.key, *self.membership(asked, asked.key, how="MKCOL")])
        self.store(asked.path, None)
        return Answer(201)

    def do_delete(self, asked: Asked) -> Answer:
        if asked.path not in self.files:
            raise Answer(404)
        self.guard(asked, [asked.key, *self.membership(asked, asked.key, how="DELETE")], deep=[asked.key])
        if self.has("DELETE of a member ends its collection's lock"):
            self.forget(self.covering(asked.key))
        self.remove(asked.path, asked.key)
        return Answer(204)

    def do_copy(self, asked: Asked) -> Answer:
        return self.transfer(asked, is_move=False)

    def do_move(self, asked: Asked) -> Answer:
        return self.transfer(asked, is_move=True)

    def transfer(self, asked: Asked, *, is_move: bool) -> Answer:
        raw = urlsplit(asked.header("destination")).path
        path, key = self.place(raw), self.key(raw)
        if asked.path not in self.files:
            raise Answer(404)
        if not self.parent_is_there(path):
            raise Answer(409)
        is_new = path not in self.files
        needed = (
            []
            if self.has("destinations ask no locks")
            else [key, *(self.membership(asked, key, how="moving in") if is_new else [])]
        )
        if is_move and not self.has("sources ask no locks"):
            needed += [asked.key, *self.membership(asked, asked.key, how="moving out")]
        self.guard(asked, needed, deep=[key, *([asked.key] if is_move else [])])
        tree = {name: body for name, body in self.files.items() if name == asked.path or inside(name, asked.path)}
        covering = self.covering(asked.key)
        kept = [lock for lock in self.locks if lock.root == key]
        if not is_new:
            self.remove(path, key)
        self.locks += [lock for lock in kept if lock not in self.locks]
        for name, body in tree.items():
            self.store(path + name[len(asked.path) :], body)
        if is_move:
            if self.has("locks move along"):
                for lock in self.locks:
                    lock.root, lock.href = (key, raw) if lock.root == asked.key else (lock.root, lock.href)
            if self.has("what is moved out stays locked"):
                for lock in covering:
                    lock.extra.add(key) if lock.depth == "infinity" else None
            self.remove(asked.path, asked.key)
        return Answer(201 if is_new else 204)

    def do_proppatch(self, asked: Asked) -> Answer:
        self.guard(asked, [asked.key])
        is_protected = b"lockdiscovery" in asked.body and not self.has("sets lockdiscovery")
        error = "<D:error><D:cannot-modify-protected-property/></D:error>"
        status = (
            f"<D:status>HTTP/1.1 403 Forbidden</D:status>{error}"
            if is_protected
            else "<D:status>HTTP/1.1 200 OK</D:status>"
        )
        return self.multistatus([(asked.raw, f"<D:propstat><D:prop/>{status}</D:propstat>")])

    def do_propfind(self, asked: Asked) -> Answer:
        if asked.path not in self.files:
            raise Answer(404)
        paths = [asked.path]
        if asked.header("depth") == "1":
            paths += [name for name in self.files if name.rpartition("/")[0] == asked.path]
        found: list[tuple[str, str]] = []
        for path in paths:
            raw = asked.raw if path == asked.path else quote(path)
            found.append(
                (
                    raw,
                    f"<D:propstat><D:prop>{self.properties(asked, raw)}</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>",
                )
            )
        return self.multistatus(found)

    def properties(self, asked: Asked, raw: str) -> str:
        told = ""
        if b"supportedlock" in asked.body and not self.has("no supportedlock"):
            kinds = ("exclusive", "shared")
            told += (
                "<D:supportedlock>"
                + "".join(
                    f"<D:lockentry><D:lockscope><D:{kind}/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"
                    for kind in kinds
                )
                + "</D:supportedlock>"
            )
        if b"lockdiscovery" in asked.body:
            locks = self.covering(self.key(raw))
            if self.has("members show no lock"):
                locks = [lock for lock in locks if lock.root == self.key(raw)]
            if self.has("shows locks to their creators only"):
                locks = [lock for lock in locks if lock.creator == asked.who]
            if locks or not self.has("no lockdiscovery without a lock"):
                told += self.discovery(locks)
        return told

    def multistatus(self, parts: list[tuple[str, str]]) -> Answer:
        inner = "".join(f"<D:response><D:href>{raw}</D:href>{told}</D:response>" for raw, told in parts)
        return Answer(
            207, f'<?xml version="1.0" encoding="utf-8"?><D:multistatus xmlns:D="DAV:">{inner}</D:multistatus>'
        )

    def discovery(self, locks: list[Lock]) -> str:
        return "<D:lockdiscovery>" + "".join(map(self.active, locks)) + "</D:lockdiscovery>"

    def active(self, lock: Lock) -> str:
        remaining = (
            lock.granted
            if self.has("shows what was granted")
            else None
            if lock.granted is None
            else int(lock.until - self.pace.now())
        )
        root = "" if self.has("no lockroot") else f"<D:lockroot><D:href>{lock.href}</D:href></D:lockroot>"
        owner = re.sub("<[^>]*>", "", lock.owner) if self.has("owner as text") else lock.owner
        return (
            f"<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:{lock.scope}/></D:lockscope><D:depth>{lock.depth}</D:depth>"
            f"<D:owner>{owner}</D:owner><D:timeout>{'Infinite' if remaining is None else f'Second-{remaining}'}</D:timeout>"
            f"<D:locktoken><D:href>{lock.token}</D:href></D:locktoken>{root}</D:activelock>"
        )

    # -- LOCK and UNLOCK --

    def do_lock(self, asked: Asked) -> Answer:
        if self.has("no LOCK"):
            raise Answer(405, fields=(("Allow", "GET"),))
        if not asked.body and not (self.has("locks without a body") and not asked.lists):
            return self.refresh(asked)
        scope, owner = self.lockinfo(asked.body) if asked.body else ("exclusive", "")
        depth = asked.header("depth", "0" if self.has("no Depth is 0") else "infinity").lower()
        if depth not in {"0", "infinity"}:
            if not self.has("takes Depth: 1"):
                raise Answer(400)
            depth = "infinity"
        if depth == "0" and self.has("Depth: 0 is infinity"):
            depth = "infinity"
        granted = self.timeout(asked.header("timeout"))
        is_new = asked.path not in self.files
        if is_new and not self.parent_is_there(asked.path):
            if not self.has("makes missing collections"):
                raise Answer(409)
            self.store(asked.path.rpartition("/")[0], None)
        if is_new and self.has("makes the document first"):
            self.store(asked.path, b"")
        self.judge_lock(asked, scope, depth)
        if is_new:
            self.guard(asked, self.membership(asked, asked.key, how="LOCK"))
        if is_new and not self.has("locks nothing where nothing is"):
            self.store(asked.path, b"")
        until = self.pace.now() + (10**9 if granted is None else granted)
        lock = Lock(self.token(asked), asked.key, asked.raw, depth, scope, asked.who, owner, granted, until, until)
        if not (is_new and self.has("new names are not locked")):
            self.locks.append(lock)
        if is_new and self.has("new names go with their lock"):
            lock.first = asked.path
        field = lock.token if self.has("bare token") else f"<{lock.token}>"
        body = f'<?xml version="1.0" encoding="utf-8"?><D:prop xmlns:D="DAV:">{self.discovery([lock])}</D:prop>'
        status = 201 if is_new or self.has("always 201") else 200
        return Answer(status, body, (("Lock-Token", field),))

    def judge_lock(self, asked: Asked, scope: str, depth: str) -> None:
        if self.has("protects nothing"):
            return
        here = self.covering(asked.key)
        if self.has("LOCK asks no ancestors"):
            here = [lock for lock in here if lock.root == asked.key]
        if self.has("one may lock again"):
            here = [lock for lock in here if lock.creator != asked.who]
        if self.has("a submitted token locks again"):
            here = [lock for lock in here if lock.token not in asked.submitted]
        below = self.below(asked.key) if depth == "infinity" and not self.has("LOCK asks no members") else []
        in_the_way = [lock for lock in [*here, *below] if self.conflict(lock.scope, scope)]
        if self.has("checks, then locks"):
            time.sleep(0.002)
        if in_the_way and in_the_way[0] in below:
            if self.has("forbids a tree with locked members"):
                raise Answer(403)
            self.say_tree(asked, in_the_way[0])
        if in_the_way:
            raise self.locked_answer(in_the_way, "no-conflicting-lock", asked.raw)

    def say_tree(self, asked: Asked, lock: Lock) -> None:
        error = f"<D:error><D:no-conflicting-lock><D:href>{lock.href}</D:href></D:no-conflicting-lock></D:error>"
        member = f"<D:response><D:href>{lock.href}</D:href><D:status>HTTP/1.1 423 Locked</D:status>{error}</D:response>"
        whole = (
            f"<D:response><D:href>{asked.raw}</D:href><D:status>HTTP/1.1 424 Failed Dependency</D:status></D:response>"
        )
        raise Answer(207, f'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">{member}{whole}</D:multistatus>')

    def conflict(self, held: str, asked: str) -> bool:
        if held == "exclusive" and self.has(f"grants {asked} beside exclusive"):
            return False
        if held == "shared" and asked == "exclusive":
            return not self.has("grants exclusive beside shared")
        return held == "exclusive" or asked == "exclusive" or self.has("one shared lock only")

    def token(self, asked: Asked) -> str:
        if self.has("a token for each name"):
            return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, asked.path)}"
        if self.has("counts its tokens"):
            self.counter += 1
            return f"x:{self.counter}"
        return f"urn:uuid:{uuid.uuid4()}"

    def timeout(self, text: str) -> int | None:
        if not text or text.startswith("Infinite"):
            if self.has("no Timeout is none"):
                return 0
            return None if text and self.has("grants without end") else 1800
        found = re.search(r"Second-([0-9]+)", text)
        if found is None or int(found[1]) > 2**32:
            if self.has("chokes on timeouts"):
                raise Answer(500)
            return 1800
        return max(1, min(int(found[1]), 86_400))

    def lockinfo(self, body: bytes) -> tuple[str, str]:
        text = body.decode("utf-8", "replace")
        if "&nobody;" in text and self.has("chokes on entities"):
            raise Answer(500)
        if text.count("<x>") > 500 and self.has("chokes on depth"):
            raise Answer(500)
        if "SYSTEM" in text and self.has("fetches entities"):
            text = text.replace("&x;", "127.0.0.1 localhost").partition("]>")[2]
        elif "<!DOCTYPE" in text and not self.has("expands entities"):
            raise Answer(400)
        try:
            root = ElementTree.fromstring(text if isinstance(text, str) else body)
        except (ElementTree.ParseError, ValueError):
            raise Answer(500 if self.has("chokes on malformed XML") else 400) from None
        scope = next((child.tag.removeprefix(DAV) for child in root.findall(f"{DAV}lockscope/*")), "")
        if root.tag != f"{DAV}lockinfo" or scope not in {"exclusive", "shared"}:
            if not self.has("takes any body"):
                raise Answer(400)
            return "exclusive", ""
        owner = re.search("<D:owner>(.*)</D:owner>", text, re.DOTALL)
        if "<!DOCTYPE" in text:
            return scope, root.findtext(f"{DAV}owner") or ""
        return scope, owner[1] if owner else ""

    def refresh(self, asked: Asked) -> Answer:
        if not asked.submitted:
            raise Answer(400)
        known = [lock for lock in self.covering(asked.key) if lock.token in asked.submitted]
        if self.has("refreshes what has ended"):
            known = [lock for lock in self.locks if lock.token in asked.submitted and lock.covers(asked.key)]
        if self.has("refreshes at the root only"):
            known = [lock for lock in known if lock.root == asked.key]
        if not known and self.has("refreshes anything"):
            return Answer(200, f'<D:prop xmlns:D="DAV:">{self.discovery([])}</D:prop>')
        if not known or (known[0].creator != asked.who and not self.has("anybody refreshes")):
            raise Answer(412, '<D:error xmlns:D="DAV:"><D:lock-token-matches-request-uri/></D:error>')
        lock = known[0]
        lock.granted = self.timeout(asked.header("timeout"))
        if not self.has("a refresh does nothing"):
            lock.until = self.pace.now() + (lock.granted or 10**9)
            lock.members_until = lock.members_until if self.has("a refresh leaves the members") else lock.until
        if self.has("a refresh changes the token"):
            lock.token = f"urn:uuid:{uuid.uuid4()}"
        if self.has("a refresh takes Depth") and asked.header("depth"):
            lock.depth = asked.header("depth")
        fields = (("Lock-Token", f"<{lock.token}>"),) if self.has("a refresh says Lock-Token") else ()
        if self.has("a refresh says nothing"):
            return Answer(200, fields=fields)
        return Answer(200, f'<D:prop xmlns:D="DAV:">{self.discovery([lock])}</D:prop>', fields)

    def do_unlock(self, asked: Asked) -> Answer:
        token = asked.header("lock-token").strip("<>")
        known = self.covering(asked.key)
        if not token:
            if not self.has("UNLOCK needs no token"):
                raise Answer(400)
            token = known[0].token if known else ""
        found = [lock for lock in known if lock.token == token]
        if self.has("UNLOCK takes any token"):
            found = known
        if self.has("UNLOCK works anywhere"):
            found = [lock for lock in self.locks if lock.token == token]
        if self.has("UNLOCK at the root only"):
            found = [lock for lock in found if lock.root == asked.key]
        if not found:
            raise Answer(409, '<D:error xmlns:D="DAV:"><D:lock-token-matches-request-uri/></D:error>')
        if found[0].creator != asked.who and not self.has("anybody unlocks"):
            raise Answer(403)
        if self.has("UNLOCK does nothing"):
            return Answer(204)
        self.forget(known if self.has("UNLOCK releases all") else found)
        for lock in found:
            if lock.first:
                self.files.pop(lock.first, None)
        return Answer(204)


REASONS = {
    200: "OK",
    201: "Created",
    204: "No Content",
    207: "Multi-Status",
    409: "Conflict",
    412: "Precondition Failed",
    423: "Locked",
}


def canonical(path: str) -> str:
    """Without empty and dot segments, and without a slash at the end."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept[-1:] = []
        elif segment not in {"", "."}:
            kept.append(segment)
    return "/" + "/".join(kept)
