"""Why a lock needs a fencing token, to be watched: `python docs/examples/fencing/run.py`.

Starts a lock server and an account with a balance of 100. Ann deposits 10 under a lock, and is stopped between reading and
writing until her lock has expired. Bob takes the lock meanwhile and deposits 20. Then Ann goes on, and writes what she had
reckoned: once to an account that looks at no token, once to one that does.
"""

# ruff: noqa: INP001, S310, S603 (a program on its own; it runs its neighbours)
from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Generator
from pathlib import Path

HERE = Path(__file__).parent
BALANCE, ANN, BOB = 100, 10, 20


@contextlib.contextmanager
def started(*command: str) -> Generator[str]:
    """A program of our own; the first URL that it prints."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        found = (word for line in process.stdout for word in line.split() if word.startswith("http://"))
        yield next(found).removesuffix("/dav/").rstrip("/")
    finally:
        process.terminate()
        process.stdout.close()
        process.wait()


def race(holdfast: str, account: str) -> int:
    """Ann is stopped before she writes, Bob comes and goes, Ann wakes up; the balance after it."""
    deposit = [sys.executable, str(HERE / "deposit.py")]
    ann = subprocess.Popen([*deposit, "Ann", str(ANN), holdfast, account, "--stop"])
    try:
        _, status = os.waitpid(ann.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            raise SystemExit(f"Ann ended before she was stopped: {status}")
        subprocess.run([*deposit, "Bob", str(BOB), holdfast, account], check=True)
        ann.send_signal(signal.SIGCONT)
        ann.wait()
    finally:
        ann.kill()
        ann.wait()
    with urllib.request.urlopen(account, timeout=30) as answer:
        return int(answer.read())


def main() -> None:
    """Both races."""
    serve = ("-m", "holdfast", "serve", "--port", "0", "--durability", "crash")
    with (
        tempfile.TemporaryDirectory() as folder,
        started(*serve, folder) as holdfast,
        started(str(HERE / "account.py"), str(BALANCE)) as accounts,
    ):
        for name in ("unfenced", "fenced"):
            sys.stdout.write(f"{name}: Ann deposits {ANN}, Bob deposits {BOB}, to {BALANCE}\n")
            sys.stdout.flush()
            after = race(holdfast, f"{accounts}/{name}")
            lost = BALANCE + ANN + BOB - after
            sys.stdout.write(f"{name}: the balance is {after}: {f'{lost} lost' if lost else 'nothing is lost'}\n")


if __name__ == "__main__":
    main()
