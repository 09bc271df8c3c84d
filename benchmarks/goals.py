"""What Holdfast has to reach: each goal as a line of data, and the judgement on a finished run.

Owns the figures to reach; knows nothing of measuring or of tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.rounds import Results
from benchmarks.workloads import WORKLOADS

__all__ = ["GOALS", "Goal", "MemoryGoal", "Verdict", "judge"]

OURS = "holdfast"
OURS_WITH_FSYNC = "holdfast-power"


@dataclass(frozen=True, slots=True)
class Goal:
    """A rate must be at least ``factor`` times that of another server, or of Holdfast itself with few locks held."""

    workload: str
    other: str
    factor: float
    other_workload: str = ""
    """What the other server is measured with, where it is not the same."""
    with_held: bool = False


@dataclass(frozen=True, slots=True)
class MemoryGoal:
    """Holdfast's memory must be at most ``mib``."""

    mib: float
    with_held: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judged goal, ready to be shown. ``passed`` is None when it was not measured, or not validly."""

    work: str
    goal: str
    measured: str
    passed: bool | None
    by_cpu: str
    """The same ratio by processor time per operation, which a busy neighbour disturbs less."""
    with_fsync: str


_HELD = ("CYCLE1", "CYCLE16", "CYCLEPUT1", "CYCLEPUT16", "LOCK423", "PUT423")
_PUTS = ("PUT1KNEW", "PUT1KOVER", "PUT10M")
GOALS: tuple[Goal | MemoryGoal, ...] = (
    Goal("CYCLE16", "apache", 3.0, "CYCLE1"),
    Goal("CYCLE16", "wsgidav", 8.0),
    Goal("CYCLE16", "rclone", 0.7),
    *(Goal(work, *other) for work in ("LOCK423", "PUT423") for other in (("apache", 1.0), ("rclone", 0.7))),
    *(Goal(work, OURS, 0.8, with_held=True) for work in _HELD),
    *(Goal(f"PROPFIND{size}", other, 1.0) for size in (10, 1000, 10_000) for other in ("rclone", "wsgidav")),
    *(Goal(f"PROPFIND{size}", "apache", 1.0) for size in (1000, 10_000)),
    *(Goal(work, *other) for work in ("GET1K", "GET10M") for other in (("rclone", 1.0), ("apache", 0.6))),
    *(Goal(work, *other) for work in _PUTS for other in (("rclone", 1.0), ("apache", 0.7))),
    MemoryGoal(90, with_held=False),
    MemoryGoal(220, with_held=True),
)
"""Every goal, in the order of the report."""


def judge(results: Results) -> Iterator[Verdict]:
    """Every goal with what was measured; those whose workload was left out of the run are left out here too."""
    measured = {workload for workload, _ in results.cells}
    for goal in GOALS:
        if isinstance(goal, MemoryGoal):
            if OURS in results.servers:
                yield _judge_memory(goal, results)
        elif goal.workload in measured:
            yield _judge_rate(goal, results)


def _judge_rate(goal: Goal, results: Results) -> Verdict:
    work = WORKLOADS[goal.workload].title
    against = f"{goal.factor:g}x {goal.other}"
    if goal.with_held:
        work += f", {results.settings.held:,} locks held"
        against = f"{goal.factor:g}x itself with none"
    elif goal.other_workload:
        against += f" ({WORKLOADS[goal.other_workload].title})"
    rate, cpu = _ratios(goal, OURS, results)
    return Verdict(
        work,
        f"at least {against}",
        _show(rate, "not measured"),
        None if rate is None else rate >= goal.factor,
        _show(cpu),
        _show(_ratios(goal, OURS_WITH_FSYNC, results)[0]),
    )


def _ratios(goal: Goal, ours: str, results: Results) -> tuple[float | None, float | None]:
    """By operations a second, and by the processor time of each."""
    mine = results.cells.get((goal.workload, f"{ours}+held" if goal.with_held else ours))
    theirs = results.cells.get((goal.other_workload or goal.workload, ours if goal.with_held else goal.other))
    if mine is None or theirs is None or not mine.is_valid or not theirs.is_valid:
        return None, None
    by_cpu = theirs.cpu_us_median / mine.cpu_us_median if mine.cpu_us_median else None
    return mine.rate / theirs.rate, by_cpu


def _show(ratio: float | None, missing: str = "") -> str:
    return missing if ratio is None else f"{ratio:.2f}x"


def _judge_memory(goal: MemoryGoal, results: Results) -> Verdict:
    def mib(server: str) -> float | None:
        memory = results.memory.get(f"{server}+held" if goal.with_held else server)
        return None if memory is None else memory.loaded if goal.with_held else memory.idle

    figure, with_fsync = mib(OURS), mib(OURS_WITH_FSYNC)
    return Verdict(
        f"memory with {results.settings.held:,} locks held" if goal.with_held else "memory, idle",
        f"at most {goal.mib:g} MiB",
        "not measured" if figure is None else f"{figure:.0f} MiB",
        None if figure is None else figure <= goal.mib,
        "",
        "" if with_fsync is None else f"{with_fsync:.0f} MiB",
    )
