"""LOCK and UNLOCK of the wrong little server."""

from __future__ import annotations

import re
import time
import uuid
from xml.etree import ElementTree

from tests.probing.wrong_locks import Answer, Asked, Lock, LockTable

__all__ = ["Locking"]

DAV = "{DAV:}"


class Locking(LockTable):
    """The two methods."""

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
