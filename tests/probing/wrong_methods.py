"""The methods of the wrong little server."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from tests.probing.wrong_locks import Answer, Asked, Lock, LockTable, inside

__all__ = ["Methods"]

DAV = "{DAV:}"


class Methods(LockTable):
    """GET, PUT, PROPFIND and the like: everything but LOCK and UNLOCK."""

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
