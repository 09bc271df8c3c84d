"""The locks of the wrong little server: what covers what, whose they are, when they end, and what an If field comes to.

Each fault is a word that is asked for at the one place where it changes something: `self.has("...")`.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from holdfast.inspector.exchange import SentRequest
from tests.probing.conditions import Condition, matches

__all__ = ["Answer", "Asked", "Lock", "LockTable", "ManualPace", "canonical", "inside"]


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


class LockTable:
    """Files and locks; `faults` are the words that are switched on."""

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


def canonical(path: str) -> str:
    """Without empty and dot segments, and without a slash at the end."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept[-1:] = []
        elif segment not in {"", "."}:
            kept.append(segment)
    return "/" + "/".join(kept)
