"""Drives the load generator: writes its request files, compiles it on first use, reads what it counted.

Owns the meaning of a cycle of requests; knows no server and no workload.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Cycle", "GeneratorError", "LoadResult", "Step", "compiled_generator", "run_load"]

Pick = Literal["once", "wrap", "random"]
_SOURCES = tuple(Path(__file__).parent / name for name in ("load.c", "answer.h"))
_CACHE = Path(__file__).parent / ".cache"
_GRACE_SECONDS = 60.0


class GeneratorError(Exception):
    """The load generator could not be built, or could not talk to the server."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a cycle and the statuses that count as right.

    In ``path`` and the field values these are replaced for each request: ``@I@`` the item (six digits), ``@D@`` its
    thousand (three digits), ``@C@`` the connection, ``@T@`` the last Lock-Token received, in its angle brackets.
    """

    method: str
    path: str
    expect: tuple[int, ...]
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    def render(self, port: int) -> bytes:
        """The raw request, as HTTP/1.1 with keep-alive."""
        fields = [("Host", f"127.0.0.1:{port}"), *self.headers]
        if self.body is not None:
            fields.append(("Content-Length", str(len(self.body))))
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
        return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + (self.body or b"")


@dataclass(frozen=True, slots=True)
class Cycle:
    """Requests that belong together, over how many connections, and which items they pick from [first, last)."""

    steps: tuple[Step, ...]
    connections: int = 1
    pick: Pick = "wrap"
    first: int = 0
    last: int = 1


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What came back. An operation is a whole cycle; it is wrong when any of its statuses is not one expected."""

    seconds: float
    good: int
    wrong: int
    statuses: tuple[dict[str, int], ...]
    reconnects: int
    generator_cpu: float
    next_item: int
    p50_us: int
    p99_us: int

    @property
    def rate(self) -> float:
        """Good operations a second."""
        return self.good / self.seconds if self.seconds else 0.0

    @property
    def wrong_share(self) -> float:
        """The share of operations that went wrong, 0 to 1; 1 when there were none at all."""
        total = self.good + self.wrong
        return self.wrong / total if total else 1.0

    @property
    def generator_share(self) -> float:
        """How much of one core the generator itself used, 0 to 1."""
        return self.generator_cpu / self.seconds if self.seconds else 0.0


def compiled_generator() -> Path:
    """The generator's binary, compiled with the system's C compiler unless these very sources were compiled before.

    Raises GeneratorError when there is no compiler or it fails.
    """
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in _SOURCES)).hexdigest()[:16]
    binary = _CACHE / f"load-{digest}"
    if binary.exists():
        return binary
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise GeneratorError("The load generator needs a C compiler (cc) on the PATH.")
    _CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
        made = Path(scratch) / "load"
        command = [compiler, "-O2", "-o", str(made), str(_SOURCES[0])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise GeneratorError(f"The load generator does not compile:\n{done.stderr}")
        made.replace(binary)
    return binary


def run_load(port: int, cycle: Cycle, seconds: float, *, warm_seconds: float = 0.0, seed: int = 1) -> LoadResult:
    """Loads the server on a loopback port for some seconds, or until ``once`` has used up the items.

    Raises GeneratorError when the server refuses or breaks every connection.
    """
    with tempfile.TemporaryDirectory(prefix="holdfast-load-") as folder:
        requests: list[str] = []
        for number, step in enumerate(cycle.steps):
            file = Path(folder) / f"{number}.http"
            file.write_bytes(step.render(port))
            requests.append(f"{','.join(map(str, step.expect))}:{file}")
        options = {
            "-p": port,
            "-c": cycle.connections,
            "-d": seconds,
            "-w": warm_seconds,
            "-g": _GRACE_SECONDS,
            "-m": cycle.pick,
            "-l": cycle.first,
            "-u": cycle.last,
            "-s": seed,
        }
        arguments = [text for name, value in options.items() for text in (name, str(value))]
        command = [str(compiled_generator()), *arguments, *requests]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GeneratorError(done.stderr.strip() or f"the load generator ended with {done.returncode}")
    counted = json.loads(done.stdout)
    return LoadResult(
        seconds=counted["elapsed"],
        good=counted["good"],
        wrong=counted["wrong"],
        statuses=tuple(counted["statuses"]),
        reconnects=counted["reconnects"],
        generator_cpu=counted["cpu"],
        next_item=counted["next_item"],
        p50_us=counted["latency_us"]["p50"],
        p99_us=counted["latency_us"]["p99"],
    )
