"""A little WebDAV server that is right, and wrong in one way for each fault that is switched on.

It lives in the test's own process: `WrongServer(...)` is the Transport of the probes, and its clock is moved by their waits. Each
fault is a word that is asked for at the one place where it changes something: `self.has("...")`.
"""

from __future__ import annotations

import base64
import time
from email.utils import formatdate
from urllib.parse import urlsplit

from holdfast.inspector.exchange import Exchange, ReceivedResponse, SentRequest
from tests.probing.conditions import parse_if
from tests.probing.wrong_locking import Locking
from tests.probing.wrong_locks import Answer, Asked
from tests.probing.wrong_methods import Methods

__all__ = ["USERS", "WrongServer"]

USERS = {"ada": "ada-secret", "bob": "bob-secret"}


class WrongServer(Methods, Locking):
    """The server."""

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


REASONS = {
    200: "OK",
    201: "Created",
    204: "No Content",
    207: "Multi-Status",
    409: "Conflict",
    412: "Precondition Failed",
    423: "Locked",
}
