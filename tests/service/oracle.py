"""The rules of locking restated in the simplest way: a list of all locks ever granted, scanned for every question.

Shares nothing with the code under test but the words: paths are texts here, time is a number of seconds.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Held:
    """One lock, as the oracle remembers it."""

    id: str
    token: str
    root: str
    exclusive: bool
    infinite: bool
    principal: str
    expires_s: int
    ended: bool = False


@dataclass
class Waits:
    """One request in line."""

    id: str
    root: str
    exclusive: bool
    infinite: bool
    principal: str
    lease_s: int
    gone: bool = False


@dataclass(frozen=True)
class Said:
    """One `(<token>)` list: a token said about a resource, perhaps inside Not, perhaps untagged for a whole tree."""

    token: str
    about: str
    negated: bool = False
    untagged: bool = False


def parts(text: str) -> list[str]:
    return [part for part in text.split("/") if part]


def above_or_at(one: str, other: str) -> bool:
    return parts(other)[: len(parts(one))] == parts(one)


def parent(text: str) -> str:
    return "/" + "/".join(parts(text)[:-1])


class Oracle:
    """All locks and the time; `universe` is every resource there is, with one unknown member in each."""

    def __init__(self, paths: list[str]) -> None:
        self.now_s = 0
        self.all: list[Held] = []
        self.line: list[Waits] = []
        self.universe = [*paths, *(f"{text.rstrip('/')}/~" for text in paths)]

    def live(self) -> list[Held]:
        return [held for held in self.all if not held.ended and held.expires_s > self.now_s]

    def covers(self, held: Held | Waits, resource: str) -> bool:
        return held.root == resource or (held.infinite and above_or_at(held.root, resource))

    def covering(self, resource: str) -> list[Held]:
        return [held for held in self.live() if self.covers(held, resource)]

    def meet(self, one: Held | Waits, other: Held | Waits) -> bool:
        """Is there a resource that both would protect?"""
        return any(self.covers(one, resource) and self.covers(other, resource) for resource in self.universe)

    def conflicts(self, asked: Held | Waits) -> bool:
        return any((held.exclusive or asked.exclusive) and self.meet(held, asked) for held in self.live())

    # -- the line -------------------------------------------------------------------------------

    def lives(self, waits: Waits) -> bool:
        return not waits.gone and waits.lease_s > self.now_s

    def ahead(self, asked: Held | Waits) -> list[Waits]:
        """Those in line before it, or all where it is not in it itself, whom it must not pass."""
        before: list[Waits] = []
        for waits in self.line:
            if waits is asked:
                break
            if self.lives(waits) and (waits.exclusive or asked.exclusive) and self.meet(waits, asked):
                before.append(waits)
        return before

    # -- the If header --------------------------------------------------------------------------

    def matches(self, said: Said, held: Held) -> bool:
        """Is this the lock's token, said about a resource that the lock is on?"""
        reaches = said.untagged and above_or_at(said.about, held.root)
        return said.token == held.token and (self.covers(held, said.about) or reaches)

    def condition_holds(self, lists: list[Said], otherwise: bool) -> bool:
        """Each list has one condition; `otherwise` adds `(Not <DAV:no-lock>)`; no list at all is no header."""
        if not lists or otherwise:
            return True
        return any(any(self.matches(said, held) for held in self.live()) != said.negated for said in lists)

    # -- permission -----------------------------------------------------------------------------

    def permitted(self, resource: str, lists: list[Said], principal: str) -> bool:
        covering = self.covering(resource)
        return not covering or any(
            held.principal == principal and any(not said.negated and self.matches(said, held) for said in lists)
            for held in covering
        )

    def changed(self, resource: str, reach: str) -> list[str]:
        changed = [resource]
        if reach != "content" and resource != "/":
            changed.append(parent(resource))
        if reach == "tree":
            changed += [other for other in self.universe if above_or_at(resource, other)]
        return changed

    def may_write(self, resource: str, reach: str, lists: list[Said], principal: str) -> bool:
        return all(self.permitted(other, lists, principal) for other in self.changed(resource, reach))

    def holder(self, resource: str, token: str, principal: str) -> str:
        """`ok`, or why `principal` may not refresh or release by this token."""
        for held in self.covering(resource):
            if held.token == token:
                return "ok" if held.principal == principal else "not-holder"
        return "not-in-scope"
