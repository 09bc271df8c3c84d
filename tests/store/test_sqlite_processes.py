"""Several processes share one SQLite store; any of them may be killed at any instant."""

import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from holdfast.config import Durability
from holdfast.core.paths import ROOT
from holdfast.store.sqlite import SqliteStore

pytestmark = pytest.mark.process

WORKER = Path(__file__).with_name("worker.py")


def start(job: str, path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WORKER), job, str(path), *arguments], stdout=subprocess.PIPE, text=True
    )


def output_of(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output.splitlines()


def test_write_transactions_of_many_processes_are_serial(tmp_path: Path) -> None:
    path = tmp_path / "locks.sqlite"
    processes, rounds = 3, 150
    running = [start("count-up", path, str(rounds)) for _ in range(processes)]
    tokens = [int(line) for process in running for line in output_of(process)]
    assert len(set(tokens)) == processes * rounds
    with SqliteStore(path) as store, store.read() as tx:
        counter = tx.lock_with_id("counter")
        assert counter is not None
        assert counter.reason == str(processes * rounds)
        events = tx.events_after(0, 10_000)
        assert [event.seq for event in events] == list(range(1, processes * rounds + 1))
        assert [event.at for event in events] == sorted(event.at for event in events)
        # In the order of commits, whichever process: tokens rise.
        assert [event.fencing_token for event in events] == sorted(tokens)


def test_the_version_changes_when_another_process_commits_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "locks.sqlite"
    with SqliteStore(path, durability=Durability.CRASH) as store:
        before = store.version()
        with subprocess.Popen(
            [sys.executable, str(WORKER), "wait-in-line", str(path), "3"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as worker:
            assert worker.stdin is not None
            assert worker.stdout is not None
            for number in range(3):
                # It has opened the store, which is a commit too, or has committed and said so.
                assert worker.stdout.readline() == f"{number} in line\n"
                after = store.version()
                assert after != before
                assert {store.version() for _ in range(5)} == {after}
                assert len(store.peek_waiters(["/a"])) == number
                before = after
                worker.stdin.write("go on\n")
                worker.stdin.flush()


def test_places_given_by_many_processes_differ_and_are_in_the_order_of_commits(tmp_path: Path) -> None:
    path = tmp_path / "locks.sqlite"
    running = [start("enqueue-many", path, name) for name in "abc"]
    given = [int(line) for process in running for line in output_of(process)]
    assert len(set(given)) == 300
    with SqliteStore(path) as store, store.read() as tx:
        events = tx.events_after(0, 1000)
        line = tx.waiters_on(["/a"])
        assert [event.lock_id for event in events] == [waiter.id for waiter in line]
        assert tx.count_waiters() == 300


def test_many_processes_may_make_the_store_at_once_and_agree_on_the_clock(tmp_path: Path) -> None:
    running = [start("just-open", tmp_path / "locks.sqlite") for _ in range(4)]
    anchors = {line for process in running for line in output_of(process)}
    assert len(anchors) == 1


@pytest.mark.parametrize("job", ["write-for-ever", "hold-for-ever"])
def test_what_a_killed_process_had_committed_is_there_and_no_token_comes_twice(tmp_path: Path, job: str) -> None:
    path = tmp_path / "locks.sqlite"
    chance = random.Random(423)
    told: dict[str, int] = {}
    for round_number in range(4):
        writers = [start(job, path, f"{round_number}-{name}") for name in "ab"]
        # The kill comes after a random number of answers of one, and anywhere in the work of the other.
        assert writers[0].stdout is not None
        for _ in range(chance.randrange(1, 120)):
            root, token = writers[0].stdout.readline().split()
            told[root] = int(token)
        for writer in writers:
            writer.kill()
        for writer in writers:
            # By the same reader as above: `communicate` would lose what that has read ahead, in mid-line.
            assert writer.stdout is not None
            with writer.stdout as answers:
                lines = answers.read().splitlines(keepends=True)
            writer.wait(timeout=60)
            for line in lines:
                if line.endswith("\n"):
                    root, token = line.split()
                    told[root] = int(token)
        with SqliteStore(path, durability=Durability.CRASH) as store, store.read() as tx:
            kept = {lock.root.text: lock.fencing_token for lock in tx.locks_below(ROOT)}
            assert tx.count_locks() == len(kept)
            assert len(tx.events_after(0, 100_000)) == len(kept)
        assert told.items() <= kept.items()
        assert len(set(kept.values())) == len(kept)


def test_a_store_that_was_open_before_a_fork_refuses_to_work_in_the_child(tmp_path: Path) -> None:
    lines = output_of(start("fork-while-open", tmp_path / "locks.sqlite"))
    assert lines == ["this store was opened before a fork; open it in the new process"] * 3 + ["2"]


@pytest.mark.parametrize("forbidden", ["folder", "file"])
def test_a_store_that_may_not_be_written_is_refused_with_a_sentence(forbidden: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "state"
        folder.mkdir()
        path = folder / "locks.sqlite"
        if forbidden == "file":
            SqliteStore(path).close()
            path.chmod(0o444)
        Path(name).chmod(0o755)
        folder.chmod(0o555 if forbidden == "folder" else 0o777)
        lines = output_of(start("open-without-rights", path))
        folder.chmod(0o755)
    assert len(lines) == 1
    assert str(path) in lines[0]
    assert "permissions" in lines[0] or "may write there" in lines[0]
