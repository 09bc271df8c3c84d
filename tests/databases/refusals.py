"""Statements that a real database refuses, and the errors that drivers make of that."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from holdfast.databases import LockedDatabase, classify

TAKE = "SELECT n FROM t WHERE id = 1 FOR UPDATE"


def caught(call: Callable[[], object]) -> BaseException:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - each driver has classes of its own
        return error
    raise AssertionError("nothing was refused")


def told(error: BaseException, **given: str) -> LockedDatabase:
    found = classify(error, **given)
    assert found is not None, repr(error)
    return found


class Held:
    """A row that another transaction holds, and statements by one driver, directly or through SQLAlchemy."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)"))
            connection.execute(text("INSERT INTO t VALUES (1, 0), (2, 0)"))
        self.holder = engine.connect()
        self.holder.execute(text("SELECT n FROM t WHERE id = 1 FOR UPDATE"))

    def close(self) -> None:
        self.holder.close()


def deadlocked(engine: Engine) -> BaseException:
    """The error of the one of two who gave way."""
    both = threading.Barrier(2)
    errors: list[BaseException] = []

    def cross(first: int, second: int) -> None:
        with engine.connect() as connection:
            connection.execute(text("UPDATE t SET n = n + 1 WHERE id = :id"), {"id": first})
            both.wait(30)
            try:
                connection.execute(text("UPDATE t SET n = n + 1 WHERE id = :id"), {"id": second})
            except DBAPIError as error:
                errors.append(error)
            connection.rollback()

    threads = [threading.Thread(target=cross, args=ids) for ids in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 1
    return errors[0]
