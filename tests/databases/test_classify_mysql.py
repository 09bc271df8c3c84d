"""classify on a real MariaDB and a real MySQL: the codes of the table that a server can be brought to give, by every driver."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import mysql.connector
import pymysql
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from holdfast.databases import Dialect, LockKind, RetryUnit, classify, who
from tests.databases.conftest import MakeEngine
from tests.databases.refusals import TAKE, Held, caught, deadlocked, told
from tests.databases.servers import Database
from tests.databases.sessions import eventually, mysql_holder, mysql_waiter

pytestmark = pytest.mark.process

MARIADB, MYSQL = pytest.mark.tool("mariadbd"), pytest.mark.tool("mysqld")
BOTH = pytest.mark.parametrize(
    "database", [pytest.param("mariadb", marks=MARIADB), pytest.param("mysql", marks=MYSQL)], indirect=True
)


@pytest.fixture(name="database")
def make_database(request: pytest.FixtureRequest) -> Database:
    return request.getfixturevalue(request.param)


@pytest.fixture(name="row")
def make_row(database: Database, engine_for: MakeEngine) -> Iterator[Held]:
    held = Held(engine_for(database.mysql()))
    yield held
    held.close()


@pytest.fixture(name="mysql_row")
def make_mysql_row(mysql: Database, engine_for: MakeEngine) -> Iterator[Held]:
    held = Held(engine_for(mysql.mysql()))
    yield held
    held.close()


def by_driver(database: Database, driver: str, *statements: str) -> BaseException:
    """The error of the last statement."""
    if driver == "aiomysql":
        return asyncio.run(_by_aiomysql(database, statements))
    if driver.startswith("sqlalchemy"):
        from sqlalchemy import create_engine

        engine = create_engine(database.mysql(driver.partition(" ")[2]))
        try:
            with engine.connect() as connection:
                for statement in statements[:-1]:
                    connection.execute(text(statement))
                return caught(lambda: connection.execute(text(statements[-1])))
        finally:
            engine.dispose()
    place = str(database.folder / "socket")
    connection: Any
    if driver == "pymysql":
        connection = pymysql.connect(unix_socket=place, user="root", database=database.name)
    else:
        connection = mysql.connector.connect(unix_socket=place, user="root", database=database.name)
    try:
        cursor = connection.cursor()
        for statement in statements[:-1]:
            cursor.execute(statement)
            cursor.fetchall() if cursor.description else None
        return caught(lambda: cursor.execute(statements[-1]))
    finally:
        connection.close()


async def _by_aiomysql(database: Database, statements: tuple[str, ...]) -> BaseException:
    import aiomysql

    connection = await aiomysql.connect(unix_socket=str(database.folder / "socket"), user="root", db=database.name)
    try:
        cursor = await connection.cursor()
        for statement in statements:
            await cursor.execute(statement)
    except aiomysql.Error as error:
        return error
    finally:
        connection.close()
    raise AssertionError


DRIVERS = ["pymysql", "aiomysql", "mysql-connector", "sqlalchemy pymysql", "sqlalchemy mysqlconnector"]
REFUSED_BY_BOTH = {
    "for reading only": (
        ("LOCK TABLES mysql.user READ", "UPDATE mysql.user SET host = ''"),
        1099,
        LockKind.MISUSE,
        RetryUnit.NEVER,
    ),
    "not named": (("LOCK TABLES mysql.user READ", "SELECT * FROM t"), 1100, LockKind.MISUSE, RetryUnit.NEVER),
    "own read lock": (
        ("FLUSH TABLES WITH READ LOCK", "UPDATE t SET n = 1 WHERE id = 2"),
        1223,
        LockKind.MISUSE,
        RetryUnit.NEVER,
    ),
}
REFUSED_BY_MARIADB = {
    "lock wait timeout": ((f"{TAKE} WAIT 0",), 1205, LockKind.HELD, RetryUnit.TRANSACTION),
    "NOWAIT": ((f"{TAKE} NOWAIT",), 1205, LockKind.HELD, RetryUnit.TRANSACTION),
    "metadata": (("ALTER TABLE t NOWAIT ADD COLUMN m INTEGER",), 1205, LockKind.HELD, RetryUnit.TRANSACTION),
    **REFUSED_BY_BOTH,
}
REFUSED_BY_MYSQL = {
    "lock wait timeout": (
        ("SET innodb_lock_wait_timeout = 1", TAKE),
        1205,
        LockKind.HELD,
        RetryUnit.TRANSACTION,
    ),
    "NOWAIT": ((f"{TAKE} NOWAIT",), 3572, LockKind.HELD, RetryUnit.STATEMENT),
    "a transaction is open": (
        ("LOCK TABLES mysql.user READ", "FLUSH TABLES WITH READ LOCK"),
        1192,
        LockKind.MISUSE,
        RetryUnit.NEVER,
    ),
    **REFUSED_BY_BOTH,
}


@MARIADB
@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("how", REFUSED_BY_MARIADB)
def test_each_refusal_of_mariadb_is_known_by_every_driver(database: Database, row: Held, driver: str, how: str):
    statements, code, kind, retry = REFUSED_BY_MARIADB[how]
    found = told(by_driver(database, driver, *statements))
    assert (found.dialect, found.code, found.kind, found.retry) == (Dialect.MYSQL, code, kind, retry)


@MYSQL
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("how", REFUSED_BY_MYSQL)
def test_each_refusal_of_mysql_is_known_by_every_driver(mysql: Database, mysql_row: Held, driver: str, how: str):
    statements, code, kind, retry = REFUSED_BY_MYSQL[how]
    found = told(by_driver(mysql, driver, *statements))
    assert (found.dialect, found.code, found.kind, found.retry) == (Dialect.MYSQL, code, kind, retry)


@MYSQL
@pytest.mark.parametrize(
    "how, taken, statement",
    [
        ("a reader", ("BEGIN", "SELECT * FROM u"), "ALTER TABLE u ADD COLUMN m INTEGER"),
        ("LOCK TABLES", ("LOCK TABLES u WRITE",), "SELECT * FROM u"),
        ("global read lock", ("FLUSH TABLES WITH READ LOCK",), "UPDATE u SET id = 2"),
        ("backup lock", ("LOCK INSTANCE FOR BACKUP",), "ALTER TABLE u ADD COLUMN m INTEGER"),
    ],
)
def test_a_wait_for_a_whole_table_that_is_over_is_known(
    mysql: Database, engine_for: MakeEngine, how: str, taken: tuple[str, ...], statement: str
):
    with engine_for(mysql.mysql()).begin() as connection:
        connection.execute(text("CREATE TABLE u (id INTEGER)"))
    with mysql_holder(mysql, *taken):
        found = told(by_driver(mysql, "pymysql", "SET lock_wait_timeout = 1", statement))
    assert (found.code, found.kind, found.retry) == (1205, LockKind.HELD, RetryUnit.TRANSACTION)


@BOTH
@pytest.mark.parametrize("driver", ["pymysql", "mysqlconnector"])
def test_a_deadlock_is_known(database: Database, row: Held, engine_for: MakeEngine, driver: str):
    row.holder.rollback()
    found = told(deadlocked(engine_for(database.mysql(driver))))
    assert (found.code, found.kind, found.retry) == (1213, LockKind.DEADLOCK, RetryUnit.TRANSACTION)


@BOTH
def test_a_deadlock_is_known_although_the_savepoint_around_it_is_gone(
    database: Database, row: Held, engine_for: MakeEngine
):
    """They undo the whole transaction, so ROLLBACK TO SAVEPOINT fails, and hides the deadlock."""
    row.holder.rollback()
    engine = engine_for(database.mysql())
    both = threading.Barrier(2)
    errors: list[BaseException] = []

    def cross(first: int, second: int) -> None:
        with engine.connect() as connection:
            connection.execute(text("UPDATE t SET n = n + 1 WHERE id = :id"), {"id": first})
            try:
                with connection.begin_nested():
                    both.wait(30)
                    connection.execute(text("UPDATE t SET n = n + 1 WHERE id = :id"), {"id": second})
            except DBAPIError as error:
                errors.append(error)
            connection.rollback()

    threads = [threading.Thread(target=cross, args=ids) for ids in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [told(error).code for error in errors] == [1213]
    assert "SAVEPOINT" in str(errors[0])


@MYSQL
def test_a_deadlock_over_named_locks_is_known(mysql: Database):
    place = str(mysql.folder / "socket")
    with closing(pymysql.connect(unix_socket=place, user="root")) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT GET_LOCK('b', 0)")
        with mysql_waiter(mysql, "SELECT GET_LOCK('a', 0)", "SELECT GET_LOCK('b', 60)") as waiter:
            eventually(lambda: who(mysql.mysql(), waiter=waiter.number))
            found = told(caught(lambda: cursor.execute("SELECT GET_LOCK('a', 60)")))
    assert (found.code, found.name, found.kind) == (3058, "ER_USER_LOCK_DEADLOCK", LockKind.DEADLOCK)


@MYSQL
def test_the_locking_service_of_mysql_is_known(mysql: Database):
    """Its functions are there once they have been created."""
    place = str(mysql.folder / "socket")
    take = "SELECT service_get_write_locks('jobs', '{}', {})"
    with closing(pymysql.connect(unix_socket=place, user="root")) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE FUNCTION service_get_write_locks RETURNS INT SONAME 'locking_service.so'")
        try:
            cursor.execute(take.format("b", 0))
            with mysql_waiter(mysql, take.format("a", 0), take.format("b", 60)) as waiter:
                [holder] = eventually(lambda: who(mysql.mysql(), waiter=waiter.number))
                over = told(caught(lambda: cursor.execute(take.format("a", 0))))
                deadlock = told(caught(lambda: cursor.execute(take.format("a", 60))))
        finally:
            cursor.execute("DROP FUNCTION service_get_write_locks")
    assert (holder.pid, holder.resource) == (connection.thread_id(), "named lock jobs.b")
    assert (over.code, over.kind, over.retry) == (3133, LockKind.HELD, RetryUnit.STATEMENT)
    assert (deadlock.code, deadlock.kind, deadlock.retry) == (3132, LockKind.DEADLOCK, RetryUnit.TRANSACTION)


@MYSQL
def test_a_deadlock_of_an_xa_transaction_is_known_when_it_is_ended(mysql: Database, mysql_row: Held):
    """Its next statement is told why it cannot go on. (MariaDB only says that it cannot, 1399.)"""
    mysql_row.holder.rollback()
    place = str(mysql.folder / "socket")
    write = "UPDATE t SET n = n + 1 WHERE id = {}"
    with closing(pymysql.connect(unix_socket=place, user="root", database=mysql.name)) as connection:
        cursor = connection.cursor()
        cursor.execute("XA START 'one'")
        cursor.execute(write.format(1))
        with mysql_waiter(mysql, "BEGIN", write.format(2), "DELETE FROM t WHERE id > 1", write.format(1)):
            assert told(caught(lambda: cursor.execute(write.format(2)))).code == 1213
        found = told(caught(lambda: cursor.execute("XA END 'one'")))
        cursor.execute("XA ROLLBACK 'one'")
    assert (found.code, found.kind, found.retry) == (1614, LockKind.DEADLOCK, RetryUnit.TRANSACTION)


@MYSQL
@pytest.mark.parametrize(
    "code, statements",
    [
        (3024, ("SET max_execution_time = 100", TAKE)),
        (1290, ("SELECT * FROM t INTO OUTFILE '/nowhere/at/all'",)),
        (1792, ("START TRANSACTION READ ONLY", "UPDATE t SET n = 1 WHERE id = 2")),
        (1568, ("START TRANSACTION", "SET TRANSACTION READ ONLY")),
    ],
)
def test_what_is_refused_for_another_reason_is_not_said_to_be_locked(
    mysql: Database, mysql_row: Held, code: int, statements: tuple[str, ...]
):
    error = by_driver(mysql, "pymysql", *statements)
    assert error.args[0] == code
    assert classify(error) is None


@MYSQL
def test_a_statement_that_was_ended_is_not_said_to_be_locked(mysql: Database, mysql_row: Held):
    with mysql_waiter(mysql, TAKE) as waiter:
        pass
    assert isinstance(waiter.outcome, pymysql.err.OperationalError)
    assert waiter.outcome.args[0] == 1317
    assert classify(waiter.outcome) is None
