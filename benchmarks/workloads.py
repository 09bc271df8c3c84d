"""The work that is measured: for each name, the cycle of requests and how long its rounds ought to be.

Owns the requests; knows no server. A workload on locks runs twice: with few locks held, and with very many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.load import Cycle, Pick, Step
from benchmarks.tree import LARGE, LARGE_COUNT, SMALL, SMALL_COUNT

__all__ = ["WORKLOADS", "Ask", "Workload", "hold_cycle"]

_LOCKINFO = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype><D:owner><D:href>mailto:bench@example.org</D:href></D:owner></D:lockinfo>"
)
_ALLPROP = b'<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>'
_XML = ("Content-Type", "application/xml; charset=utf-8")
_WRITTEN = (200, 201, 204)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a workload must know to form its requests: where the tree is, which locks are held, the run's number."""

    prefix: str
    held: int
    run: int


@dataclass(frozen=True, slots=True)
class Workload:
    """One row of the tables."""

    name: str
    title: str
    cycle: Callable[[Ask], Cycle]
    on_locks: bool = False
    """Whether it is measured with very many other locks held as well."""
    writes: bool = False
    takes_locks: bool = False
    connections: int = 16


def _lock(path: str, expect: tuple[int, ...], seconds: int = 600) -> Step:
    fields = (_XML, ("Timeout", f"Second-{seconds}"), ("Depth", "0"))
    return Step("LOCK", path, expect, fields, _LOCKINFO)


def _unlock(path: str) -> Step:
    return Step("UNLOCK", path, (204,), (("Lock-Token", "@T@"),))


def hold_cycle(prefix: str, count: int, connections: int) -> Cycle:
    """Takes ``count`` locks for a day, each once, in order."""
    step = _lock(f"{prefix}/held/@D@/@I@.txt", (200,), seconds=86_400)
    return Cycle((step,), connections, "once", 0, count)


def _get(path: str, count: int, pick: Pick = "random", connections: int = 16) -> Callable[[Ask], Cycle]:
    return lambda ask: Cycle((Step("GET", ask.prefix + path, (200,)),), connections, pick, 0, count)


def _propfind(size: int, connections: int) -> Workload:
    def cycle(ask: Ask) -> Cycle:
        step = Step("PROPFIND", f"{ask.prefix}/p{size}/", (207,), (_XML, ("Depth", "1")), _ALLPROP)
        return Cycle((step,), connections)

    title = f"PROPFIND depth 1 allprop, {size:,} members"
    return Workload(f"PROPFIND{size}", title, cycle, connections=connections)


def _put_new(ask: Ask) -> Cycle:
    step = Step("PUT", f"{ask.prefix}/new/{ask.run}-@I@.txt", (201,), (), SMALL)
    return Cycle((step,), 16, "once", 0, 10_000_000)


def _put_over(ask: Ask) -> Cycle:
    return Cycle((Step("PUT", f"{ask.prefix}/over/@I@.txt", _WRITTEN, (), SMALL),), 16, "wrap", 0, SMALL_COUNT)


def _put_large(ask: Ask) -> Cycle:
    step = Step("PUT", f"{ask.prefix}/large/@I@.txt", _WRITTEN, (), LARGE)
    return Cycle((step,), LARGE_COUNT, "wrap", 0, LARGE_COUNT)


def _lock_cycle(name: str, connections: int, *, with_put: bool = False) -> Workload:
    def cycle(ask: Ask) -> Cycle:
        path = f"{ask.prefix}/locks/@I@.txt"
        put = (Step("PUT", path, _WRITTEN, (("If", "(@T@)"),), SMALL),) if with_put else ()
        return Cycle((_lock(path, (200,)), *put, _unlock(path)), connections, "wrap", 0, SMALL_COUNT)

    verbs = "LOCK+PUT+UNLOCK" if with_put else "LOCK+UNLOCK"
    title = f"{verbs}, {connections} connection{'s' if connections > 1 else ''}"
    return Workload(name, title, cycle, on_locks=True, writes=True, takes_locks=True, connections=connections)


def _lock_refused(ask: Ask) -> Cycle:
    return Cycle((_lock(f"{ask.prefix}/held/@D@/@I@.txt", (423,)),), 16, "random", 0, ask.held)


def _put_refused(ask: Ask) -> Cycle:
    return Cycle((Step("PUT", f"{ask.prefix}/held/@D@/@I@.txt", (423,), (), SMALL),), 16, "random", 0, ask.held)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("GET1K", "GET 1 KiB", _get("/small/@I@.txt", SMALL_COUNT)),
        Workload("GET10M", "GET 10 MiB", _get("/large/@I@.txt", LARGE_COUNT, "wrap", LARGE_COUNT), connections=4),
        Workload("PUT1KNEW", "PUT 1 KiB, new", _put_new, writes=True),
        Workload("PUT1KOVER", "PUT 1 KiB, over another", _put_over, writes=True),
        Workload("PUT10M", "PUT 10 MiB, over another", _put_large, writes=True, connections=LARGE_COUNT),
        _propfind(10, 16),
        _propfind(1000, 4),
        _propfind(10_000, 2),
        _lock_cycle("CYCLE1", 1),
        _lock_cycle("CYCLE16", 16),
        _lock_cycle("CYCLEPUT1", 1, with_put=True),
        _lock_cycle("CYCLEPUT16", 16, with_put=True),
        Workload("LOCK423", "LOCK answered 423", _lock_refused, on_locks=True, writes=True),
        Workload("PUT423", "PUT answered 423", _put_refused, on_locks=True, writes=True),
    )
}
"""Every workload, by name, in the order of the tables."""
