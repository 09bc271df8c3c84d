"""A process of its own that works on a SQLite store; run by the tests as a script, one job by its name.

It says what it has done on standard output, one line for each thing that was committed.
"""

import os
import sys
import tempfile
import threading
from pathlib import Path

from msgspec import structs

from holdfast.config import Durability
from holdfast.core.model import Event, EventKind
from holdfast.store.protocol import StoreError
from holdfast.store.sqlite import SqliteStore
from holdfast.testing.store_cases import event_about, lock_on, waiter_on


def open_store(path: Path) -> SqliteStore:
    return SqliteStore(path, durability=Durability.CRASH)


def count_up(path: Path, rounds: int) -> None:
    """Add one to a number that all processes share, `rounds` times; print each fencing token."""
    with open_store(path) as store:
        for _ in range(rounds):
            with store.write() as tx:
                token = tx.mint_fencing_token()
                held = tx.lock_with_id("counter")
                fresh = lock_on(tx, "/counter", lock_id="counter", fencing_token=token)
                if held is None:
                    tx.insert(structs.replace(fresh, reason="1"))
                else:
                    tx.replace(structs.replace(fresh, reason=str(int(held.reason) + 1)))
                tx.append(event_about(fresh, tx.now))
            print(token, flush=True)


def write_for_ever(path: Path, name: str) -> None:
    """Insert locks until killed; print each lock's number and fencing token once it is committed."""
    with open_store(path) as store:
        number = 0
        while True:
            number += 1
            root = f"/{name}/{number}"
            with store.write() as tx:
                token = tx.mint_fencing_token()
                lock = lock_on(tx, root, fencing_token=token)
                tx.insert(lock)
                tx.append(event_about(lock, tx.now))
            print(root, token, flush=True)


def hold_for_ever(path: Path, name: str) -> None:
    """Insert locks, some to a commit, until killed; print each lock's number and fencing token once it is committed."""
    with open_store(path) as store:
        number = 0
        while True:
            lines: list[str] = []
            for _ in range(1 + number % 7):
                number += 1
                root = f"/{name}/{number}"
                with store.hold(), store.write() as tx:
                    token = tx.mint_fencing_token()
                    lock = lock_on(tx, root, fencing_token=token)
                    tx.insert(lock)
                    tx.append(event_about(lock, tx.now))
                lines.append(f"{root} {token}")
            store.commit_held()
            for line in lines:
                print(line, flush=True)


def wait_in_line(path: Path, count: int) -> None:
    """Take `count` places, each once told to by a line of input; print how many are in line."""
    with open_store(path) as store:
        for number in range(count):
            print(number, "in line", flush=True)
            sys.stdin.readline()
            with store.write() as tx:
                tx.enqueue(waiter_on(tx, "/a", lock_id=str(number)))


def enqueue_many(path: Path, name: str) -> None:
    """Take a hundred places, some of them in one commit; print each."""
    with open_store(path) as store:
        for number in range(100):
            with store.hold(), store.write() as tx:
                waiter = tx.enqueue(waiter_on(tx, "/a", lock_id=f"{name}-{number}"))
                tx.append(Event.about_waiter(waiter, EventKind.QUEUED, tx.now, reason=""))
            print(waiter.seq, flush=True)
            if number % 3 == 0:
                store.commit_held()
        store.commit_held()


def just_open(path: Path) -> None:
    """Open and close; print the instant."""
    with open_store(path) as store:
        print(store.clock.anchor.wall_us, flush=True)


def open_without_rights(path: Path) -> None:
    """Open as an account that owns nothing here; print the error."""
    # All modules are loaded before the rights to read them may be gone.
    with tempfile.TemporaryDirectory() as elsewhere:
        open_store(Path(elsewhere) / path.name).close()
    if os.geteuid() == 0:
        os.setuid(65534)
    try:
        open_store(path).close()
    except StoreError as error:
        print(error)


def fork_while_open(path: Path) -> None:
    """Use a store in the child of a fork; print what happens there and in the parent."""
    with open_store(path) as store:
        with store.write() as tx:
            tx.insert(lock_on(tx, "/before"))
        version = store.version()
        release = threading.Event()
        other = threading.Thread(target=lambda: (store.peek(["/"]), release.wait()))
        other.start()
        child = os.fork()
        if child == 0:
            for use in (store.read, store.write):
                try:
                    with use():
                        print("worked in the child", flush=True)
                except StoreError as error:
                    print(error, flush=True)
            try:
                print(store.version(), "in the child", flush=True)
            except StoreError as error:
                print(error, flush=True)
            store.close()
            del store
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)
        release.set()
        other.join()
        with open_store(path) as second, second.write() as tx:
            tx.insert(lock_on(tx, "/after"))
        assert store.version() != version
        with store.write() as tx:
            print(tx.count_locks(), flush=True)


if __name__ == "__main__":
    job, place, *rest = sys.argv[1:]
    match job:
        case "count-up":
            count_up(Path(place), int(rest[0]))
        case "write-for-ever":
            write_for_ever(Path(place), rest[0])
        case "hold-for-ever":
            hold_for_ever(Path(place), rest[0])
        case "wait-in-line":
            wait_in_line(Path(place), int(rest[0]))
        case "enqueue-many":
            enqueue_many(Path(place), rest[0])
        case "just-open":
            just_open(Path(place))
        case "open-without-rights":
            open_without_rights(Path(place))
        case "fork-while-open":
            fork_while_open(Path(place))
        case _:
            sys.exit(f"no such job: {job}")
