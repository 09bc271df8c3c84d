"""One run of all measurements of the API, and its tables. Owns the order of the run, the goals and the form of the page."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.api.measures import (
    Line,
    Listeners,
    greeted,
    hand_over,
    many_listeners,
    pairs,
    queue_up,
    refreshes,
    worker_of,
)
from benchmarks.api.servers import HoldfastApi, MissingServerError, RedisLock, holdfast, redis
from benchmarks.api.talk import Connection, TalkError

__all__ = ["Size", "measure_api"]

GOAL_ONE_MS = 5.0
GOAL_ACROSS_MS = 100.0
_MANY = 256
_RATIOS = (("holdfast", "redis"), ("holdfast, fsync", "redis, fsync"))


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int = 3
    seconds: float = 2.0
    hand_overs: int = 150
    waiters: int = 1000
    readers: int = 1000
    grants: int = 20


@dataclass(slots=True)
class _Findings:
    rates: dict[tuple[str, str], list[float]] = field(default_factory=dict[tuple[str, str], list[float]])
    hand_overs: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    lines: dict[str, Line] = field(default_factory=dict[str, Line])
    listeners: Listeners | None = None
    missing: list[str] = field(default_factory=list[str])


Start = Callable[[Path], AbstractContextManager[Any]]
_SERVERS: dict[str, Start] = {
    "holdfast": holdfast,
    "holdfast, 2 workers": lambda folder: holdfast(folder, workers=2),
    "redis": redis,
    "holdfast, fsync": lambda folder: holdfast(folder, durability="power"),
    "redis, fsync": lambda folder: redis(folder, fsync="always"),
}
_RATES: dict[str, Callable[[Any, float], float]] = {
    "acquire + release, 1 connection": lambda server, seconds: pairs(server, 1, seconds),
    "acquire + release, 16 connections": lambda server, seconds: pairs(server, 16, seconds),
    "refresh, 1 connection": lambda server, seconds: refreshes(server, 1, seconds),
    "refresh, 16 connections": lambda server, seconds: refreshes(server, 16, seconds),
    f"refresh, {_MANY} locks in each call": lambda server, seconds: refreshes(server, 1, seconds, at_once=_MANY),
}


def measure_api(size: Size, folder: Path, command: str, say: Callable[[str], None]) -> str:
    """Measure everything and give the page."""
    found = _Findings()
    for number in range(size.rounds):
        for name, start in _SERVERS.items():
            if name in found.missing:
                continue
            try:
                with start(folder / f"rates-{number}-{len(name)}-{name[:5]}") as server:
                    _measure_rates(server, name, size, found, say)
            except MissingServerError as error:
                found.missing.append(name)
                say(f"{name}: {error}")
    _measure_hand_overs(size, folder, found, say)
    _measure_lines(size, folder, found, say)
    with holdfast(folder / "listeners") as server:
        found.listeners = many_listeners(server, size.readers, size.grants)
        say(f"{size.readers} listeners: {found.listeners.kib_each:.1f} KiB each")
    return "\n\n".join(_page(found, size, command)) + "\n"


def _measure_rates(
    server: HoldfastApi | RedisLock, name: str, size: Size, found: _Findings, say: Callable[[str], None]
) -> None:
    for work, measure in _RATES.items():
        if isinstance(server, RedisLock) and "in each call" in work:
            continue
        rate = measure(server, size.seconds)
        found.rates.setdefault((work, name), []).append(rate)
        say(f"{name}: {work}: {rate:,.0f}/s")


def _measure_hand_overs(size: Size, folder: Path, found: _Findings, say: Callable[[str], None]) -> None:
    def note(name: str, seconds: list[float]) -> None:
        found.hand_overs[name] = seconds
        say(f"hand-over, {name}: {_ms(statistics.median(seconds))} ms")

    with holdfast(folder / "one") as server:
        note(
            "holdfast, one process",
            hand_over(server, [server.connect(), server.connect()], size.hand_overs, waits=True),
        )
    with holdfast(folder / "two", workers=2) as server:
        note("holdfast, across two workers", hand_over(server, _across(server), size.hand_overs, waits=True))
    if "redis" not in found.missing:
        with redis(folder / "poll") as server:
            rounds = max(20, size.hand_overs // 3)
            note(
                "redis, asked every 100 ms",
                hand_over(server, [server.connect(), server.connect()], rounds, waits=False),
            )


def _across(server: HoldfastApi) -> list[Connection]:
    """Two connections that different workers serve."""
    one = greeted(server)
    first = worker_of(server.session, one)
    for _ in range(500):  # those in between stay open and idle, which does no harm
        other = greeted(server)
        if worker_of(server.session, other) != first:
            return [one, other]
    raise TalkError("one worker takes all connections")


def _measure_lines(size: Size, folder: Path, found: _Findings, say: Callable[[str], None]) -> None:
    def note(name: str, line: Line) -> None:
        found.lines[name] = line
        say(
            f"{line.waiters} waiters, {name}: {line.served_s:.2f} s, {line.kib_each:.1f} KiB each, {line.passed} passed"
        )

    with holdfast(folder / "line-one") as server:
        note("holdfast", queue_up(server, size.waiters, waits=True))
    with holdfast(folder / "line-two", workers=2) as server:
        note("holdfast, 2 workers", queue_up(server, size.waiters, waits=True))
    if "redis" not in found.missing:
        with redis(folder / "line-poll") as server:
            note("redis, asked every 100 ms", queue_up(server, size.waiters, waits=False))


# -- the page ---------------------------------------------------------------------------------------


def _page(found: _Findings, size: Size, command: str) -> Iterator[str]:
    yield (
        f"`{command}`: {os.cpu_count()} cores, which the load generator shares (one thread of Python). Rates are the median "
        f"of {size.rounds} interleaved rounds of {size.seconds:g} s. Only ratios within one run mean anything."
    )
    yield from _goals(found)
    yield "## Operations a second"
    names = [name for name in _SERVERS if name not in found.missing]
    rows = [
        [work, *(_rate(found, work, name) for name in names), *(_ratio(found, work, *pair) for pair in _RATIOS)]
        for work in _RATES
    ]
    yield _table(["work", *names, *(f"{ours} / {theirs}" for ours, theirs in _RATIOS)], rows)
    yield (
        "Redis keeps an append-only file, synced each second as is its default, and with `fsync` before each answer, as "
        "Holdfast does by default; the other columns of Holdfast are with `--durability crash`. Redis is faster than the load generator: "
        "its figures without fsync are what the generator can do. An acquire of Holdfast also writes a row of its record and "
        "counts a fencing token, of which the lock on Redis has neither."
    )
    yield "## Hand-over: from sending a release until the waiting one has the lock, in milliseconds"
    rows = [
        [name, _ms(statistics.median(each)), _ms(_p99(each)), _ms(max(each)), str(len(each))]
        for name, each in found.hand_overs.items()
    ]
    yield _table(["", "median", "p99", "longest", "hand-overs"], rows)
    yield f"## {size.waiters:,} waiters on one lock"
    yield _table(["", *found.lines], list(_line_rows(found.lines.values())))
    assert found.listeners is not None
    yield f"## {size.readers:,} readers of the event stream"
    yield _table(["", "holdfast"], list(_listener_rows(found.listeners)))
    if found.missing:
        yield f"Not installed, and so not measured: {', '.join(found.missing)}."


def _goals(found: _Findings) -> Iterator[str]:
    yield "## Goals"
    goals = (("holdfast, one process", GOAL_ONE_MS), ("holdfast, across two workers", GOAL_ACROSS_MS))
    rows: list[list[str]] = []
    for name, goal in goals:
        median = statistics.median(found.hand_overs[name]) * 1000
        verdict = "pass" if median < goal else "**miss**"
        rows.append([f"hand-over, {name}, median", f"under {goal:g} ms", f"{median:.1f} ms", verdict])
    yield _table(["what", "goal", "measured", ""], rows)


def _line_rows(lines: Sequence[Line] | Any) -> Iterator[list[str]]:
    each = list(lines)
    yield ["memory of the server for each (PSS)", *(f"{line.kib_each:.1f} KiB" for line in each)]
    yield ["processor while all wait", *(f"{line.idle_cpu_share:.1%} of a core" for line in each)]
    yield ["until all were served", *(f"{line.served_s:.2f} s" for line in each)]
    yield ["hand-over, median", *(f"{_ms(statistics.median(line.hand_overs))} ms" for line in each)]
    yield ["hand-over, p99", *(f"{_ms(_p99(line.hand_overs))} ms" for line in each)]
    yield ["served after one who came later", *(f"{line.passed:,}" for line in each)]


def _listener_rows(found: Listeners) -> Iterator[list[str]]:
    yield ["memory of the server for each (PSS)", f"{found.kib_each:.1f} KiB"]
    yield ["processor while nothing happens", f"{found.idle_cpu_share:.1%} of a core"]
    yield ["until the lock itself is granted, median", f"{_ms(statistics.median(found.granted))} ms"]
    yield ["until the first reader has it, median", f"{_ms(statistics.median(found.first))} ms"]
    yield ["until the last reader has it, median", f"{_ms(statistics.median(found.last))} ms"]
    yield ["until the last reader has it, longest", f"{_ms(max(found.last))} ms"]


def _rate(found: _Findings, work: str, name: str) -> str:
    rates = found.rates.get((work, name))
    return "-" if rates is None else f"{statistics.median(rates):,.0f}"


def _ratio(found: _Findings, work: str, ours: str, theirs: str) -> str:
    """The median of the rounds' own ratios."""
    mine, others = found.rates.get((work, ours), []), found.rates.get((work, theirs), [])
    ratios = [one / other for one, other in zip(mine, others, strict=False)]
    return f"{statistics.median(ratios):.2f}x" if ratios else "-"


def _p99(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
