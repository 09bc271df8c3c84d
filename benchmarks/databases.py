"""The command ``python -m benchmarks.databases``: many who read and then write one SQLite database, before and after.

Each worker does transactions that read a counter, let the others read too, and write what they read plus one. A transaction that is
refused is counted and left; an update that is lost shows in the counter's last value.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError

from holdfast.databases import begin_immediate, classify, retry_locked

_RESULTS = Path(__file__).parent / "results" / "databases.md"
_READ = text("SELECT n FROM counter")
_WRITE = text("UPDATE counter SET n = :n")
_TIMEOUT_S = 5


def _as_it_is(engine: Engine) -> None:
    del engine


def _deferred(engine: Engine) -> None:
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))


@dataclass(frozen=True)
class Mode:
    """One way to do it: how the engine is set, and whether refused transactions are begun anew."""

    name: str
    prepare: Callable[[Engine], None]
    retries: bool = False


MODES = (
    Mode("SQLAlchemy's default", _as_it_is),
    Mode("BEGIN (deferred)", _deferred),
    Mode("BEGIN, with `retry_locked`", _deferred, retries=True),
    Mode("`begin_immediate`", begin_immediate),
    Mode("`begin_immediate`, with `retry_locked`", begin_immediate, retries=True),
)


@dataclass(frozen=True)
class Outcome:
    """What came of one run."""

    failures: dict[str, int]
    lost: int
    seconds: float


def worker(path: str, number: int, transactions: int, barrier: Any, told: Any) -> None:
    """The work of one thread or process; the names of the refusals are put into `told`."""
    mode = MODES[number]
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": _TIMEOUT_S})
    mode.prepare(engine)

    def plain() -> None:
        with engine.begin() as connection:
            step(connection)

    def step(connection: Connection) -> None:
        read = connection.execute(_READ).scalar_one()
        time.sleep(0.001)  # the application thinks
        connection.execute(_WRITE, {"n": read + 1})

    retried = retry_locked(engine, deadline=60, name_holders=False)(lambda session: step(session.connection()))
    once = retried if mode.retries else plain
    refused: list[str] = []
    barrier.wait()
    for _ in range(transactions):
        try:
            once()
        except OperationalError as error:
            found = classify(error)
            refused.append("another error" if found is None else found.name)
    engine.dispose()
    told.put(refused)


def run(number: int, kind: str, workers: int, transactions: int) -> Outcome:
    """One run of mode `number` by threads or processes."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "counter.db")
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE counter (n INTEGER)")
        connection.execute("INSERT INTO counter VALUES (0)")
        connection.commit()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            ["sqlalchemy.dialects.sqlite", "holdfast.databases.immediate", "holdfast.databases.units"]
        )
        started: list[Any]
        if kind == "threads":
            import queue

            barrier: Any = threading.Barrier(workers + 1)
            told: Any = queue.SimpleQueue()
            started = [
                threading.Thread(target=worker, args=(path, number, transactions, barrier, told))
                for _ in range(workers)
            ]
        else:
            barrier = context.Barrier(workers + 1)
            told = context.SimpleQueue()
            started = [
                context.Process(target=worker, args=(path, number, transactions, barrier, told)) for _ in range(workers)
            ]
        for one in started:
            one.start()
        barrier.wait()
        began = time.perf_counter()
        refused = [name for _ in started for name in told.get()]
        seconds = time.perf_counter() - began
        for one in started:
            one.join()
        counted = int(connection.execute("SELECT n FROM counter").fetchone()[0])
        connection.close()
    failures = {name: refused.count(name) for name in sorted(set(refused))}
    return Outcome(failures, workers * transactions - len(refused) - counted, seconds)


def table(kind: str, workers: int, transactions: int, rounds: int) -> list[str]:
    """The Markdown table of all modes; each is run `rounds` times, and the run with the median time is shown."""
    total = workers * transactions
    lines = [
        f"## {workers} {kind}, {transactions} transactions each",
        "",
        f"| transactions begin with | refused, of {total} | updates lost | seconds |",
        "|---|---|---|---|",
    ]
    runs: list[list[Outcome]] = [[] for _ in MODES]
    for turn in range(rounds):
        for offset in range(len(MODES)):
            number = (turn + offset) % len(MODES)
            runs[number].append(run(number, kind, workers, transactions))
    for mode, outcomes in zip(MODES, runs, strict=True):
        median = statistics.median_low([outcome.seconds for outcome in outcomes])
        shown = next(outcome for outcome in outcomes if outcome.seconds == median)
        names = ", ".join(f"{count} {name}" for name, count in shown.failures.items())
        refused = f"{sum(shown.failures.values())} ({names})" if names else "0"
        lines.append(f"| {mode.name} | {refused} | {shown.lost} | {shown.seconds:.2f} |")
    return [*lines, ""]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 when anything was refused or lost with both switches on, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.databases", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write the tables to benchmarks/results/{_RESULTS.name}")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run (3)")
    options = parser.parse_args(arguments)
    lines = [
        "# Locked databases: before and after",
        "",
        "`python -m benchmarks.databases --write`. Each transaction reads a counter, thinks for a millisecond, and writes what it",
        f"read plus one; the run with the median time of {options.rounds} is shown. SQLite {sqlite3.sqlite_version} in WAL mode, busy",
        f"timeout {_TIMEOUT_S} s, Python {platform.python_version()}.",
        "",
        "SQLAlchemy's default for SQLite begins no transaction before the first statement that writes: nothing is refused, and what two",
        "have read at the same time is written twice, so **updates are lost without a word**. With a real BEGIN they are refused",
        "instead, at once, whatever the timeout is. BEGIN IMMEDIATE lets them wait for each other.",
        "",
    ]
    for kind in ("threads", "processes"):
        lines += table(kind, 4, 10, options.rounds)
    report = "\n".join(lines)
    print(report)
    if options.write:
        _RESULTS.write_text(report.rstrip() + "\n")
    return int(any("| 0 | 0 |" not in line for line in lines if line.startswith("| `begin_immediate`, with")))


if __name__ == "__main__":
    raise SystemExit(main())
