"""Running servers: starts one on its own copy of the tree, checks that it serves it, weighs it, ends it.

Owns processes and what /proc says of them (Linux only); knows neither workloads nor any single server.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import Peer, Place
from benchmarks.tree import SMALL, make_tree

__all__ = ["Instance", "StartError", "cpu_seconds", "end", "free_port", "memory_mib", "processes_of", "running"]

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")


class StartError(Exception):
    """A server did not come up, or does not serve its tree; the text holds its last words."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A running server. All its processes are in one session, which carries the id of ``process``, the first one."""

    peer: Peer
    port: int
    process: subprocess.Popen[bytes]
    is_whole: bool
    idle_mib: float

    @property
    def label(self) -> str:
        """The server's name, with a mark when it is the instance that holds locks."""
        return self.peer.name if self.is_whole else f"{self.peer.name}+held"

    def memory_mib(self) -> float:
        """The proportional set size of all its processes, in MiB."""
        return memory_mib(self.process.pid)

    def end(self) -> str:
        """How the server has ended by itself, or nothing while it runs."""
        status = self.process.poll()
        if status is None:
            return ""
        return f"the server was ended by signal {-status}" if status < 0 else f"the server ended with status {status}"

    def cpu_seconds(self) -> float:
        """What all its present processes have used of the processor so far, user and system."""
        return cpu_seconds(self.process.pid)


@contextlib.contextmanager
def running(peer: Peer, folder: Path, *, held: int, is_whole: bool, extra: tuple[str, ...]) -> Generator[Instance]:
    """Makes a tree under ``folder``, serves it until the block ends, and leaves no process behind.

    Raises PeerMissingError when the program is not there, StartError when it does not serve within half a minute.
    """
    place = Place(tree=folder / "tree", state=folder / "state", port=free_port(), held=held, extra=extra)
    place.tree.mkdir(parents=True)
    place.state.mkdir()
    launch = peer.prepare(place)
    make_tree(place.tree, held=held, is_whole=is_whole)
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            launch.command,
            env={**os.environ, **launch.environment},
            cwd=place.state,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_it_serves(peer, place.port, process, folder)
        time.sleep(1.0)  # workers that are still starting belong to the idle figure
        idle = memory_mib(process.pid)
        yield Instance(peer, place.port, process, is_whole, idle)
    finally:
        end(process)


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_serves(peer: Peer, port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    answer = "nothing"
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", f"{peer.prefix}/locks/000000.txt")
            response = connection.getresponse()
            body = response.read()
            if response.status == 200 and body == SMALL:
                return
            answer = f"{response.status} with {len(body)} octets"
        except (OSError, http.client.HTTPException) as error:
            answer = str(error)
        finally:
            connection.close()
        time.sleep(0.1)
    words = (folder / "output.txt").read_text(errors="replace").strip()[-600:]
    raise StartError(f"{peer.name} does not serve its tree (last answer: {answer}). It said: {words or 'nothing'}")


def end(process: subprocess.Popen[bytes]) -> None:
    """Asks the server to stop, waits, then kills what is left of its session (its first process leads the group)."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _stat_fields(process: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (state) on, or none when the process is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return []


def processes_of(session: int) -> list[int]:
    """The ids of the processes of a session, which has the id of its first one."""
    found = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [process for process in found if (fields := _stat_fields(process)) and fields[3] == str(session)]


def memory_mib(session: int) -> float:
    """The proportional set size of all processes of a session, in MiB."""
    return sum(map(_pss_kib, processes_of(session))) / 1024


def cpu_seconds(session: int) -> float:
    """What all present processes of a session have used of the processor so far, user and system."""
    return sum(map(_cpu_ticks, processes_of(session))) / _TICKS


def _cpu_ticks(process: int) -> int:
    fields = _stat_fields(process)
    return int(fields[11]) + int(fields[12]) if fields else 0


def _pss_kib(process: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
