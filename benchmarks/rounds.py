"""Interleaved rounds: every server does the same work in turn, again and again, each round in another order.

Owns the order of measuring and what is kept of it; knows neither goals nor how results are shown.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.instances import Instance, StartError, running
from benchmarks.load import GeneratorError, LoadResult, run_load
from benchmarks.peers import Peer, PeerMissingError
from benchmarks.workloads import Ask, Workload, hold_cycle

__all__ = ["BASE_HELD", "Cell", "Memory", "Results", "Settings", "measure"]

BASE_HELD = 16
"""How many locks are held where "none" are: the ones that the answers 423 come from."""
_FILL_SECONDS = 120.0
_WRONG_SHARE_ALLOWED = 0.01

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured."""

    rounds: int
    seconds: float
    warm_seconds: float
    held: int
    extra: tuple[str, ...] = ()
    """More arguments for ``holdfast serve``."""


@dataclass(slots=True)
class Cell:
    """All rounds of one workload on one instance, and the processor time that the server spent on each operation."""

    results: list[LoadResult] = field(default_factory=list[LoadResult])
    cpu_us: list[float] = field(default_factory=list[float])
    fault: str = ""

    @property
    def rate(self) -> float:
        """The median of good operations a second."""
        return statistics.median(result.rate for result in self.results) if self.results else 0.0

    @property
    def cpu_us_median(self) -> float:
        """The median of the server's processor time per operation, in microseconds."""
        return statistics.median(self.cpu_us) if self.cpu_us else 0.0

    @property
    def wrong_share(self) -> float:
        """The share of operations, over all rounds, with a status that was not expected."""
        wrong = sum(result.wrong for result in self.results)
        total = wrong + sum(result.good for result in self.results)
        return wrong / total if total else 1.0

    @property
    def is_valid(self) -> bool:
        """Whether its figures may be compared at all."""
        return bool(self.results) and not self.fault and self.wrong_share <= _WRONG_SHARE_ALLOWED


@dataclass(frozen=True, slots=True)
class Memory:
    """Proportional set sizes of a server in MiB, and how many locks it came to hold in the time allowed."""

    idle: float
    loaded: float | None = None
    held: int = 0


@dataclass(slots=True)
class Results:
    """Everything that a run found. Cells go by workload and instance label; ``absent`` says why a server is not there."""

    settings: Settings
    servers: list[str] = field(default_factory=list[str])
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict[tuple[str, str], Cell])
    memory: dict[str, Memory] = field(default_factory=dict[str, Memory])
    absent: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class _Target:
    instance: Instance
    held: int


def measure(
    peers: Sequence[Peer], workloads: Sequence[Workload], settings: Settings, folder: Path, say: Say
) -> Results:
    """Starts every server (twice where locks are measured: with few and with many held), measures, and ends them."""
    results = Results(settings)
    on_locks = any(workload.on_locks for workload in workloads)
    counts = [(BASE_HELD, True)]
    if on_locks and settings.held:
        counts.append((settings.held, False))
    with contextlib.ExitStack() as stack:
        targets: list[_Target] = []
        for held, is_whole in counts:
            for peer in peers:
                target = _start(stack, peer, held, folder, results, say, is_whole=is_whole)
                if target:
                    targets.append(target)
        results.servers = list(dict.fromkeys(target.instance.peer.name for target in targets))
        for workload in workloads:
            _measure_workload(workload, targets, results, say)
    return results


def _start(
    stack: contextlib.ExitStack, peer: Peer, held: int, folder: Path, results: Results, say: Say, *, is_whole: bool
) -> _Target | None:
    if peer.name in results.absent:
        return None
    extra = results.settings.extra if peer.name.startswith("holdfast") else ()
    place = folder / f"{peer.name}-{held}"
    try:
        instance = stack.enter_context(running(peer, place, held=held, is_whole=is_whole, extra=extra))
        reached = _hold(instance, held)
    except (PeerMissingError, StartError, GeneratorError) as error:
        results.absent[peer.name] = str(error)
        say(f"{peer.name}: {error}")
        return None
    memory = Memory(instance.idle_mib, None if is_whole else instance.memory_mib(), reached)
    results.memory[instance.label] = memory
    grown = "" if memory.loaded is None else f", then {memory.loaded:.0f} MiB"
    say(f"{instance.label}: {instance.idle_mib:.0f} MiB idle, {reached:,} locks held{grown}")
    return _Target(instance, reached)


def _hold(instance: Instance, count: int) -> int:
    peer = instance.peer
    cycle = hold_cycle(peer.prefix, count, min(peer.lock_connections, count))
    result = run_load(instance.port, cycle, _FILL_SECONDS)
    if result.wrong_share > _WRONG_SHARE_ALLOWED:
        raise StartError(f"{peer.name} does not grant the locks to hold: {result.statuses[0]}")
    return result.next_item


def _measure_workload(workload: Workload, targets: Iterable[_Target], results: Results, say: Say) -> None:
    fit = [target for target in targets if _is_fit(workload, target)]
    for number in range(results.settings.rounds):
        turn = number % len(fit) if fit else 0
        for target in fit[turn:] + fit[:turn]:
            cell = results.cells.setdefault((workload.name, target.instance.label), Cell())
            if not cell.fault:
                _measure_once(workload, target, cell, results.settings, number)
                say(f"{workload.name} {number + 1}/{results.settings.rounds} {target.instance.label}: {_brief(cell)}")


def _is_fit(workload: Workload, target: _Target) -> bool:
    peer = target.instance.peer
    if workload.takes_locks and workload.connections > peer.lock_connections:
        return False
    if not target.instance.is_whole and not workload.on_locks:
        return False
    return workload.writes or not peer.only_writes


def _measure_once(workload: Workload, target: _Target, cell: Cell, settings: Settings, number: int) -> None:
    instance = target.instance
    cycle = workload.cycle(Ask(instance.peer.prefix, target.held, number))
    if workload.writes:
        os.sync()  # what one server left to be written must not be paid for by the next
    before = instance.cpu_seconds()
    try:
        result = run_load(instance.port, cycle, settings.seconds, warm_seconds=settings.warm_seconds, seed=number + 1)
    except GeneratorError as error:
        cell.fault = instance.end() or str(error)
        return
    spent = instance.cpu_seconds() - before
    cell.results.append(result)
    # The warm-up's share of the processor time is taken out in proportion to its length.
    share = result.seconds / (result.seconds + settings.warm_seconds)
    operations = result.good + result.wrong
    cell.cpu_us.append(spent * share / operations * 1e6 if operations else 0.0)


def _brief(cell: Cell) -> str:
    if cell.fault:
        return cell.fault
    last = cell.results[-1]
    wrong = f", {last.wrong} wrong {list(last.statuses)}" if last.wrong else ""
    return f"{last.rate:,.1f}/s, generator at {last.generator_share:.0%}{wrong}"
