"""One run: a real server, clients in processes of their own, and somebody who stops and kills them all.

Owns: the processes and the record of what was done to them. Which blow falls when is drawn from the seed; how fast the
processes are is the machine's affair, so two runs of one seed are alike, not equal.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.histories.history import Entry, History, Span, read_history
from tests.survival.processes import ServerProcess

__all__ = ["Plan", "record"]

_CLIENT = Path(__file__).parent / "client.py"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run. `server_kills`: how often all of the server is killed; `worker_kills`: one of its workers."""

    seed: str
    seconds: float
    clients: int = 12
    workers: int = 1
    server_kills: int = 1
    worker_kills: int = 0


@dataclass
class _Run:
    plan: Plan
    folder: Path
    dice: random.Random
    server: ServerProcess | None = None
    clients: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, "subprocess.Popen[bytes]"])
    killed: dict[str, float] = field(default_factory=dict[str, float])
    outages: list[Span] = field(default_factory=list[Span])
    stopped: dict[str, tuple[Span, ...]] = field(default_factory=dict[str, tuple[Span, ...]])
    ends_at: float = 0.0
    names: int = 0

    @property
    def address(self) -> Path:
        return self.folder / "address"

    def start_server(self) -> None:
        flags = ["--durability", "crash", "--workers", str(self.plan.workers)]
        self.server = ServerProcess.start(self.folder / "served", self.folder / "server.log", *flags, users=())
        fresh = self.folder / "address.new"
        fresh.write_text(f"{self.server.address[0]} {self.server.address[1]}")
        fresh.replace(self.address)

    def restart_server(self) -> None:
        assert self.server is not None
        begun = time.monotonic()
        self.server.crash()
        self.start_server()
        self.outages.append(Span(begun, time.monotonic()))

    def kill_worker(self) -> None:
        assert self.server is not None
        if workers := self.server.workers:
            begun = time.monotonic()
            os.kill(self.dice.choice(workers), signal.SIGKILL)
            self.outages.append(Span(begun, begun + 3))

    def start_client(self) -> None:
        self.names += 1
        name = f"c{self.names}"
        left = str(max(0.5, self.ends_at - time.monotonic()))
        command = [
            sys.executable,
            "-S",
            _CLIENT,
            name,
            self.plan.seed,
            left,
            self.address,
            self.folder / f"{name}.jsonl",
        ]
        self.clients[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def kill_client(self, name: str) -> None:
        process = self.clients.pop(name)
        process.kill()
        process.wait()
        self.killed[name] = time.monotonic()

    def stop_client(self, name: str) -> None:
        begun = time.monotonic()
        self.clients[name].send_signal(signal.SIGSTOP)
        self.stopped[name] = (*self.stopped.get(name, ()), Span(begun, float("inf")))

    def wake_client(self, name: str) -> None:
        process = self.clients.get(name)
        if process is not None:
            process.send_signal(signal.SIGCONT)
        *before, last = self.stopped[name]
        self.stopped[name] = (*before, Span(last.start, time.monotonic()))


def record(plan: Plan, folder: Path) -> History:
    """Run it and read what was recorded. Nothing that was started is left when this returns."""
    (folder / "served").mkdir()
    run = _Run(plan, folder, random.Random(plan.seed))
    try:
        run.start_server()
        run.ends_at = time.monotonic() + plan.seconds
        for _ in range(plan.clients):
            run.start_client()
        _strike(run)
        for name, process in run.clients.items():
            assert process.wait(60) == 0, f"client {name} ended with {process.returncode}"
        entries = _feed_of(run)
    finally:
        for process in run.clients.values():
            process.kill()
            process.wait()
        if run.server is not None:
            run.server.crash()
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_text().splitlines(keepends=True)]
    return read_history(lines, killed=run.killed, outages=run.outages, stopped=run.stopped, entries=entries)


def _feed_of(run: _Run) -> list[Entry]:
    """All that the server recorded, over its restarts; its instants, of the wall clock, on the clock of the clients."""
    assert run.server is not None
    client = run.server.client()
    behind = time.time() - time.monotonic()
    found: list[Entry] = []
    after, more = 0, True
    while more:
        page = json.loads(client.get(f"/api/history?limit=1000&after={after}").body)
        after, more = page["next"], page["more"]
        for event in page["events"]:
            at = datetime.fromisoformat(event["at"]).timestamp() - behind
            names = ("kind", "lock_id", "root", "scope", "depth")
            told = {name: event[name] for name in names}
            found.append(Entry(event["seq"], at, fencing=event["fencing_token"], reason=event["reason"], **told))
    return found


def _strike(run: _Run) -> None:
    """Blow after blow until the end: each at its time, which the seed says."""
    pause = threading.Event()  # never set: only its patience is used
    asleep: list[tuple[float, str]] = []
    blows = sorted(_blows(run), reverse=True)
    while time.monotonic() < run.ends_at:
        now = time.monotonic()
        for due in [one for one in asleep if one[0] <= now]:
            asleep.remove(due)
            run.wake_client(due[1])
        if blows and blows[-1][0] <= now - (run.ends_at - run.plan.seconds):
            _, blow = blows.pop()
            awake = sorted(set(run.clients) - {name for _, name in asleep})
            _fall(run, blow, run.dice.choice(awake), asleep)
        pause.wait(0.02)
    for _, name in asleep:
        run.wake_client(name)


def _blows(run: _Run) -> Iterator[tuple[float, str]]:
    """When, in seconds from the start, and what."""
    seconds = run.plan.seconds
    for number in range(run.plan.server_kills):
        yield seconds * (number + run.dice.uniform(0.3, 0.6)) / run.plan.server_kills, "server"
    for number in range(run.plan.worker_kills):
        yield seconds * (number + run.dice.uniform(0.6, 0.9)) / run.plan.worker_kills, "worker"
    at = 1.0
    while at < seconds - 1:
        yield at, run.dice.choice(("stop", "stop", "stop", "kill"))
        at += run.dice.uniform(0.3, 1.0)


def _fall(run: _Run, blow: str, name: str, asleep: list[tuple[float, str]]) -> None:
    if blow == "server":
        run.restart_server()
    elif blow == "worker":
        run.kill_worker()
    elif blow == "kill":
        run.kill_client(name)
        run.start_client()
    elif len(asleep) < run.plan.clients // 4:
        run.stop_client(name)
        asleep.append((time.monotonic() + run.dice.uniform(0.2, 2.5), name))
