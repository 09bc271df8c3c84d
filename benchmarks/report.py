"""Shows the results of a run as Markdown tables and as JSON. Owns nothing but their form."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence

from benchmarks.goals import judge
from benchmarks.rounds import Cell, Results
from benchmarks.workloads import WORKLOADS, Workload

__all__ = ["as_json", "as_markdown"]

_BUSY_GENERATOR = 0.9


def as_markdown(results: Results, command: str) -> str:
    """The goals with their ratios, then operations a second, processor time, memory, and what went wrong."""
    settings = results.settings
    rounds = f"the median of {settings.rounds} interleaved rounds of {settings.seconds:g} s"
    parts = [f"`{command}`: {os.cpu_count()} cores, {rounds}. Ratios hold within one run only."]
    verdicts = list(judge(results))
    if "holdfast" in results.servers and verdicts:
        rows = [[v.work, v.goal, v.measured, _VERDICTS[v.passed], v.by_cpu, v.with_fsync] for v in verdicts]
        parts += ["## Goals", _table(["work", "goal", "measured", "", "by CPU", "with fsync"], rows)]
    parts += ["## Operations a second", _cells(results, _rate)]
    parts += ["## The server's processor time per operation, in microseconds", _cells(results, _cpu)]
    parts += ["## Memory (PSS, MiB)", _memory(results)]
    if notes := list(_notes(results)):
        parts += ["## Notes", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts) + "\n"


_VERDICTS = {True: "pass", False: "**miss**", None: "?"}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (head, *rows)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(results: Results, show: Callable[[Cell], str]) -> str:
    rows = [
        [workload.title + suffix, *(_cell(results, workload, server + mark, show) for server in results.servers)]
        for mark, suffix in (("", ""), ("+held", f", {results.settings.held:,} held"))
        for workload in WORKLOADS.values()
        if any((workload.name, server + mark) in results.cells for server in results.servers)
    ]
    return _table(["work", *results.servers], rows)


def _cell(results: Results, workload: Workload, label: str, show: Callable[[Cell], str]) -> str:
    cell = results.cells.get((workload.name, label))
    if cell is None:
        return "-"
    if cell.fault or not cell.results:
        return "failed"
    return show(cell) if cell.is_valid else f"{show(cell)} INVALID ({cell.wrong_share:.0%} wrong)"


def _rate(cell: Cell) -> str:
    rate = cell.rate
    busy = "*" if max(result.generator_share for result in cell.results) > _BUSY_GENERATOR else ""
    return (f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}") + busy


def _cpu(cell: Cell) -> str:
    return f"{cell.cpu_us_median:,.0f}"


def _memory(results: Results) -> str:
    rows: list[list[str]] = []
    for server in results.servers:
        few, many = results.memory.get(server), results.memory.get(f"{server}+held")
        loaded = f"{many.loaded:.0f}" if many and many.loaded is not None else "-"
        rows.append([server, f"{few.idle:.0f}" if few else "-", loaded, f"{many.held:,}" if many else "-"])
    return _table(["server", "idle", "with locks held", "locks held"], rows)


def _notes(results: Results) -> Iterator[str]:
    for server, why in results.absent.items():
        yield f"{server} was not measured: {why}"
    for server in results.servers:
        memory = results.memory.get(f"{server}+held")
        if memory and memory.held < results.settings.held:
            yield f"{server} came to hold {memory.held:,} locks in two minutes, and is measured with these."
    for (workload, label), cell in results.cells.items():
        if cell.fault:
            yield f"{workload} on {label}: {cell.fault}"
        wrong = sum(result.wrong for result in cell.results)
        if wrong:
            good = sum(result.good for result in cell.results)
            yield f"{workload} on {label}: {wrong:,} of {good + wrong:,} operations wrong, {_statuses(cell)}"
        if any(result.generator_share > _BUSY_GENERATOR for result in cell.results):
            yield f"{workload} on {label}: * the load generator was at its limit, the server may be faster."


def _statuses(cell: Cell) -> str:
    """The statuses seen in each step of the cycle, over all rounds; 0 stands for a broken connection."""
    steps: list[str] = []
    for step in range(len(cell.results[0].statuses)):
        counts: dict[str, int] = {}
        for result in cell.results:
            for status, count in result.statuses[step].items():
                counts[status] = counts.get(status, 0) + count
        steps.append(" ".join(f"{status}x{count}" for status, count in sorted(counts.items())))
    return "; ".join(steps)


def as_json(results: Results, command: str) -> dict[str, object]:
    """Every round of every cell, for other programs."""
    return {
        "command": command,
        "cores": os.cpu_count(),
        "settings": dataclasses.asdict(results.settings),
        "goals": [dataclasses.asdict(verdict) for verdict in judge(results)],
        "memory": {label: dataclasses.asdict(memory) for label, memory in results.memory.items()},
        "absent": results.absent,
        "cells": [
            {
                "workload": workload,
                "server": label,
                "rate": cell.rate,
                "is_valid": cell.is_valid,
                "fault": cell.fault,
                "server_cpu_us": cell.cpu_us,
                "rounds": [dataclasses.asdict(result) for result in cell.results],
            }
            for (workload, label), cell in results.cells.items()
        ],
    }
