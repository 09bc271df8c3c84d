"""A process of its own in the tests of LockTable: python -m tests.databases.locking_worker WORK URL NAME COUNT."""

from __future__ import annotations

import sys

from sqlalchemy import Engine, create_engine, text

from holdfast.databases import LockTable, ResourceLockedError, begin_immediate, retry_locked


def acquire(engine: Engine, name: str, count: int) -> None:
    """Try for each of `count` resources once, and print those that were granted, with their fencing tokens."""
    locks = LockTable(engine, deadline=60)
    for number in range(count):
        try:
            lock = locks.acquire(f"/race/{number}", name)
        except ResourceLockedError:
            continue
        print(number, lock.fencing_token, flush=True)


def churn(engine: Engine, name: str, count: int) -> None:
    """Acquire and release until killed; each fencing token is printed as soon as it is known."""
    locks = LockTable(engine, deadline=60)
    while True:
        lock = locks.acquire(f"/of/{name}", name, break_first="the process before me has died")
        print(lock.fencing_token, flush=True)
        locks.release(lock)


def wait(engine: Engine, name: str, count: int) -> None:
    """Stand in line for one lock, and print its fencing token."""
    locks = LockTable(engine, deadline=60)
    with locks.hold("/a", name, wait=60) as lock:
        print(lock.fencing_token, flush=True)


def add(engine: Engine, name: str, count: int) -> None:
    """Read and write a counter, `count` times, each in a transaction of its own that is retried."""

    @retry_locked(engine, deadline=60)
    def one(session) -> None:
        read = session.execute(text("SELECT n FROM counter")).scalar_one()
        session.execute(text("UPDATE counter SET n = :n"), {"n": read + 1})

    for _ in range(count):
        one()
    print("done", flush=True)


def main() -> None:
    work, url, name, count = sys.argv[1:]
    engine = create_engine(url)
    if work == "add":
        begin_immediate(engine)
    print("ready", flush=True)
    sys.stdin.readline()
    {"acquire": acquire, "churn": churn, "wait": wait, "add": add}[work](engine, name, int(count))
    engine.dispose()


if __name__ == "__main__":
    main()
