"""kill -9 at any instant leaves the old or the new, and the next start leaves nothing else.

Once at random instants, and once at every single system call that changes a name.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from holdfast.files import Folder

VICTIM = Path(__file__).with_name("victim.py")
SIZE = 30_000
VERBS = ["place", "move", "copy", "delete"]
CALLS = "rename,renameat,renameat2,unlinkat,copy_file_range"


def command(disk: Path, verb: str, rounds: int, mount: str) -> list[str]:
    source, destination = "/s", f"{mount}/d"
    return [sys.executable, str(VICTIM), str(disk), verb, str(rounds), source, destination]


def generation_of(path: Path) -> int:
    """The generation of a file that must be whole."""
    data = path.read_bytes()
    assert len(data) == SIZE, f"{path.name} has {len(data)} bytes"
    assert data == data[:10] * (SIZE // 10)
    return int(data[:10])


def prepare(verb: str, destination: Path) -> None:
    old = b"0000000000" * (SIZE // 10)
    if verb == "place":
        destination.write_bytes(old)
    elif verb != "delete":
        destination.mkdir()
        for name in ("a", "b"):
            (destination / name).write_bytes(old)


def check(disk: Path, verb: str, mount: str, *, exact: bool = False) -> None:
    """What a person finds after the kill, and after the next start; `exact`: not killed while building."""
    source, destination = disk / "s", disk / (mount + "/d")[1:]
    if exact and verb != "delete":
        assert destination.exists()
    if verb == "place" and destination.exists():
        generation_of(destination)
    elif destination.exists() and (verb != "delete" or exact):
        found = sorted(os.listdir(destination))
        assert found == ["a", "b"]
        assert len({generation_of(destination / name) for name in found}) == 1
    with Folder(disk, durable=False):
        if verb == "move" and not mount and exact and source.exists() and destination.exists():
            newer = generation_of(source / "a") > generation_of(destination / "a")
            assert newer, "the replaced collection is still where the new one came from"
        assert list((disk / ".holdfast" / "staging").glob("*/*")) == []
        assert list(disk.rglob(".holdfast-*")) == []
    for path in (source, destination):
        subprocess.run(["rm", "-rf", str(path)], check=True)


@pytest.mark.process
@pytest.mark.parametrize("mount", ["", "/m"])
@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_a_random_instant(disk, mounted, verb, mount):
    if mount:
        (disk / "m").mkdir()
        mounted(disk / "m", "size=4m")
    chance = random.Random(verb + mount)
    for _ in range(6):
        with subprocess.Popen(command(disk, verb, 100_000, mount), stdout=subprocess.PIPE) as victim:
            for _ in range(chance.randrange(2, 60)):
                victim.stdout.readline()
            victim.kill()
        check(disk, verb, mount)


@pytest.mark.process
@pytest.mark.tool("strace")
@pytest.mark.parametrize("mount", ["", "/m"])
@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_each_call_that_changes_a_name(disk, mounted, verb, mount):
    if mount:
        (disk / "m").mkdir()
        mounted(disk / "m", "size=4m")
    trace = disk.parent / "trace"
    counted = traced(["-e", f"trace={CALLS}"], trace, disk, verb, mount)
    assert counted.returncode == 0
    calls = re.findall(r"^(\w+)\(", trace.read_text(), re.MULTILINE)
    check(disk, verb, mount, exact=True)
    assert calls
    for name, most in Counter(calls).items():
        for number in range(1, most + 1):
            killed = traced(["-e", f"inject={name}:signal=KILL:when={number}"], trace, disk, verb, mount)
            assert killed.returncode in (-9, 137), killed.stderr
            check(disk, verb, mount, exact=True)


def traced(options: list[str], trace: Path, disk: Path, verb: str, mount: str) -> subprocess.CompletedProcess[str]:
    """One round of the victim, with an older generation at the destination."""
    prepare(verb, disk / (mount + "/d")[1:])
    run = ["strace", "-qq", "-o", str(trace), *options, *command(disk, verb, 1, mount)]
    done = subprocess.run(run, capture_output=True, text=True)
    if "ptrace" in done.stderr:
        pytest.skip(f"tracing is not permitted here: {done.stderr.strip()}")
    return done
