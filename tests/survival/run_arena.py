"""Several `holdfast run` of one name at once, over and over, while something stops and kills them at random; as a process.

    python -m tests.survival.run_arena URL FOLDER SECONDS SEED

The witness is the kernel: each command wants flock(2) on one file, without waiting, and whoever does not get it was not alone. The lock is on an
open file that every child of the command inherits, so a straggler is seen too. And its fencing token must be higher than the last.
The server is killed and started anew by whoever started this process; FOLDER/server has its process id,
and is missing meanwhile.
Nothing of holdfast's is changed but its start: the interpreter is started once, and forked for each run.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.cli.main import main
from holdfast.running.kernel import adopt_orphans
from holdfast.running.tree import descendants, kill_all_descendants

CONTENDERS = 3
TTL = "1.2"

# $1: how it behaves, $2: the folder. Descriptor 9 stays open in all that it starts.
WORK = r"""
case $1 in deaf*) trap '' TERM INT;; esac
exec 9>>"$2/witness"
if ! flock -n 9; then
  echo "token $HOLDFAST_FENCING_TOKEN came in while another was there" >>"$2/violations"
  exit 1
fi
last=$(cat "$2/token" 2>/dev/null || echo 0)
[ "$HOLDFAST_FENCING_TOKEN" -gt "$last" ] || echo "token $HOLDFAST_FENCING_TOKEN after $last" >>"$2/violations"
echo "$HOLDFAST_FENCING_TOKEN" >"$2/token"
echo "$1" >>"$2/rounds"
case $1 in
  brief) ;;
  usual) sleep 0.2 ;;
  long | deaf-long) sleep 30 ;;
  family | deaf-family) sleep 31 & setsid sleep 32 & (sleep 33 & exec sleep 34) & sleep 35 ;;
esac
"""
HABITS = ("brief", "brief", "usual", "usual", "long", "deaf-long", "family", "deaf-family")


@dataclass
class Arena:
    url: str
    folder: Path
    chance: random.Random
    runs: dict[int, float] = field(default_factory=dict)
    """Each run's process, and when it is told to end, or looked at again."""
    families: set[int] = field(default_factory=set)
    """Those whose command leaves a daemon behind when it is only told to end, which is its right: they are killed."""
    harmed: set[int] = field(default_factory=set)
    told: set[int] = field(default_factory=set)
    to_continue: list[tuple[float, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def go(self, seconds: float) -> None:
        """Let them contend for so long, then end all of them."""
        adopt_orphans()
        end = time.monotonic() + seconds
        next_fault = time.monotonic() + 0.3
        while time.monotonic() < end:
            # One that finds no server ends at once; the next would, too.
            while len(self.runs) < CONTENDERS and self.server is not None:
                self.start()
            if time.monotonic() >= next_fault:
                self.harm()
                next_fault = time.monotonic() + self.chance.uniform(0.05, 0.4)
            self.tend()
            time.sleep(0.01)
        for _, pid in self.to_continue:
            send(pid, signal.SIGCONT)
        kill_all_descendants()

    @property
    def server(self) -> int | None:
        """The server's process, while there is one."""
        try:
            return int((self.folder / "server").read_text())
        except FileNotFoundError:
            return None

    def start(self) -> None:
        """Fork one run."""
        habit = self.chance.choice(HABITS)
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            grace = self.chance.choice(["0", "0.1", "0.3"])
            words = ["run", "arena", "--server", self.url, "--ttl", TTL, "--kill-after", grace]
            code = 1
            try:
                main([*words, "--", "sh", "-c", WORK, "work", habit, str(self.folder)])
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            finally:
                os._exit(code)
        self.runs[pid] = time.monotonic() + 3
        if "family" in habit:
            self.families.add(pid)

    def harm(self) -> None:
        """One fault: to a run that has had none yet, for two in one run are more than is promised; or to the server."""
        if self.chance.random() < 0.03 and self.server is not None:
            self.stop(self.server, "server stopped", self.chance.uniform(0.1, 2.0))
            return
        whole = [pid for pid in self.runs if pid not in self.harmed]
        busy = [pid for pid in whole if len(descendants(pid)) > 1]
        if not whole or (not busy and self.chance.random() < 0.8):
            return
        run = self.chance.choice(busy or whole)
        watchdog = next((found.pid for found in descendants(run) if found.parent == run), None)
        command = None if watchdog is None else next(iter(descendants(watchdog)), None)
        kind = self.chance.choice(
            [
                "run stopped",
                "run stopped",
                "run stopped",
                "run killed",
                "watchdog killed",
                "watchdog stopped",
                "command",
            ]
        )
        if command is None and kind != "run stopped":
            return  # it stands in line: the server keeps the place of one that was killed for a while, and nothing would happen
        self.harmed.add(run)
        if kind == "run stopped":
            self.stop(run, kind, self.chance.uniform(0.1, 2.5))
        elif kind == "run killed":
            self.faults.append(kind)
            send(run, signal.SIGKILL)
        elif kind == "watchdog killed" and watchdog is not None:
            self.faults.append(kind)
            send(watchdog, signal.SIGKILL)
        elif kind == "watchdog stopped" and watchdog is not None:
            self.stop(watchdog, kind, self.chance.uniform(0.1, 2.5))
        elif kind == "command" and command is not None:
            self.stop(command.pid, "command stopped", self.chance.uniform(0.1, 2.5))
        else:
            self.harmed.discard(run)

    def stop(self, pid: int, kind: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so many seconds."""
        self.faults.append(kind)
        send(pid, signal.SIGSTOP)
        self.to_continue.append((time.monotonic() + seconds, pid))

    def tend(self) -> None:
        """Continue what was stopped long enough, end runs that would go on, and reap what has ended."""
        now = time.monotonic()
        due = [pid for at, pid in self.to_continue if at <= now]
        self.to_continue = [(at, pid) for at, pid in self.to_continue if at > now]
        for pid in due:
            send(pid, signal.SIGCONT)
        for pid, until in list(self.runs.items()):
            if now >= until:
                self.runs[pid] = now + 1
                if len(descendants(pid)) < 2:
                    continue  # it stands in line
                gentle = signal.SIGINT if pid % 2 else signal.SIGTERM
                send(pid, signal.SIGKILL if pid in self.families or pid in self.told else gentle)
                self.told.add(pid)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                self.runs.pop(ended, None)
                for group in (self.families, self.harmed, self.told):
                    group.discard(ended)


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    url, folder, seconds, seed = sys.argv[1:]
    arena = Arena(url, Path(folder), random.Random(seed))
    arena.go(float(seconds))
    print({kind: arena.faults.count(kind) for kind in sorted(set(arena.faults))})
