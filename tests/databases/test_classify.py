"""classify: each code of the table, provoked for real where there is a server, else raised as the driver's own class would be."""

from __future__ import annotations

import asyncio
import select
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import apsw
import psycopg
import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from holdfast.databases import Dialect, LockKind, RetryUnit, classify
from holdfast.databases.codes import CODES, code_of
from tests.databases.conftest import MakeEngine
from tests.databases.refusals import TAKE, Held, caught, deadlocked, told
from tests.databases.servers import Database

# -- SQLite ------------------------------------------------------------------------------------------


@pytest.fixture(name="path")
def make_path(tmp_path: Path) -> Path:
    path = tmp_path / "app.db"
    with Plain(path) as connection:
        connection.execute("CREATE TABLE t (n INTEGER)")
        connection.execute("INSERT INTO t VALUES (0)")
    return path


class Plain:
    """A sqlite3 connection that begins nothing by itself, and is closed."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=0, **options)

    def __enter__(self) -> sqlite3.Connection:
        return self.connection

    def __exit__(self, *_: object) -> None:
        self.connection.close()


@pytest.fixture(name="writer")
def make_writer(path: Path) -> Iterator[sqlite3.Connection]:
    with Plain(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def by_sqlite3(path: Path) -> BaseException:
    with Plain(path) as connection:
        return caught(lambda: connection.execute("BEGIN IMMEDIATE"))


def by_aiosqlite(path: Path) -> BaseException:
    async def program() -> BaseException:
        async with aiosqlite.connect(path, timeout=0) as connection:
            try:
                await connection.execute("BEGIN IMMEDIATE")
            except aiosqlite.OperationalError as error:
                return error
        raise AssertionError

    return asyncio.run(program())


def by_apsw(path: Path) -> BaseException:
    """It brings a SQLite of its own, which knows nothing of the locks that another one has in the same process."""
    path = path.with_name("apsw.db")
    writer, connection = apsw.Connection(str(path)), apsw.Connection(str(path))
    try:
        writer.execute("BEGIN IMMEDIATE")
        return caught(lambda: connection.execute("BEGIN IMMEDIATE"))
    finally:
        connection.close()
        writer.close()


def by_sqlalchemy(path: Path) -> BaseException:
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})
    try:
        with engine.connect() as connection:
            return caught(lambda: connection.execute(text("BEGIN IMMEDIATE")))
    finally:
        engine.dispose()


def by_sqlalchemy_aiosqlite(path: Path) -> BaseException:
    async def program() -> BaseException:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}", connect_args={"timeout": 0})
        try:
            async with engine.connect() as connection:
                await connection.execute(text("BEGIN IMMEDIATE"))
        except DBAPIError as error:
            return error
        finally:
            await engine.dispose()
        raise AssertionError

    return asyncio.run(program())


@pytest.mark.parametrize("refused", [by_sqlite3, by_aiosqlite, by_apsw, by_sqlalchemy, by_sqlalchemy_aiosqlite])
def test_busy_is_known_by_every_way_to_sqlite(
    path: Path, writer: sqlite3.Connection, refused: Callable[[Path], BaseException]
):
    error = refused(path)
    found = told(error, statement="BEGIN IMMEDIATE")
    assert (found.dialect, found.name, found.code) == (Dialect.SQLITE, "SQLITE_BUSY", 5)
    assert (found.kind, found.wait_helps, found.retry) == (LockKind.HELD, True, RetryUnit.STATEMENT)
    assert told(error, statement="UPDATE t").retry is RetryUnit.TRANSACTION


def test_what_sqlalchemy_was_doing_is_read_from_its_error(path: Path, writer: sqlite3.Connection):
    assert told(by_sqlalchemy(path)).retry is RetryUnit.STATEMENT


def test_a_busy_commit_is_to_be_committed_again(path: Path):
    with Plain(path) as reader, Plain(path) as writer:
        reader.execute("BEGIN")
        reader.execute("SELECT n FROM t").fetchone()
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE t SET n = 1")
        error = caught(lambda: writer.execute("COMMIT"))
        found = told(error, statement="COMMIT")
        assert (found.name, found.retry) == ("SQLITE_BUSY", RetryUnit.COMMIT)
        reader.execute("COMMIT")
        writer.execute("COMMIT")


def test_a_stale_snapshot_needs_a_new_transaction(path: Path):
    with Plain(path) as late, Plain(path) as writer:
        late.execute("PRAGMA journal_mode = WAL")
        late.execute("BEGIN")
        late.execute("SELECT n FROM t").fetchone()
        writer.execute("UPDATE t SET n = 1")
        found = told(caught(lambda: late.execute("UPDATE t SET n = 2")))
    assert (found.name, found.code, found.kind) == ("SQLITE_BUSY_SNAPSHOT", 517, LockKind.STALE)
    assert (found.wait_helps, found.retry) == (False, RetryUnit.TRANSACTION)


def test_ones_own_cursor_is_not_waited_for(path: Path):
    with Plain(path) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        cursor = connection.execute("SELECT n FROM t")
        cursor.fetchone()
        found = told(caught(lambda: connection.execute("DROP TABLE t")))
        cursor.close()
    assert (found.name, found.kind, found.retry) == ("SQLITE_LOCKED", LockKind.SELF, RetryUnit.NEVER)
    assert not found.is_retryable


def test_the_shared_cache_of_one_process_is_another_case():
    name = "file:classified?mode=memory&cache=shared"
    with Plain(name, uri=True) as first, Plain(name, uri=True) as second:  # type: ignore[arg-type]
        first.execute("CREATE TABLE t (n)")
        first.execute("BEGIN")
        first.execute("INSERT INTO t VALUES (1)")
        found = told(caught(lambda: second.execute("SELECT * FROM t").fetchall()))
    assert (found.name, found.code, found.retry) == ("SQLITE_LOCKED_SHAREDCACHE", 262, RetryUnit.STATEMENT)


def test_a_code_that_is_not_in_the_table_counts_as_the_primary_one_it_belongs_to():
    assert code_of(Dialect.SQLITE, 5 | (99 << 8)) == CODES[Dialect.SQLITE][5]
    assert code_of(Dialect.SQLITE, 1 | (1 << 8)) is None


@pytest.mark.parametrize("statement", ["SELECT * FROM missing", "INSERT INTO t VALUES (1, 2)", "CREATE TABLE t (n)"])
def test_what_is_no_lock_is_none(path: Path, statement: str):
    with Plain(path) as connection:
        assert classify(caught(lambda: connection.execute(statement))) is None


@pytest.mark.parametrize("error", [ValueError("database is locked"), sqlite3.OperationalError("database is locked")])
def test_a_message_alone_decides_nothing(error: BaseException):
    assert classify(error) is None


# -- PostgreSQL --------------------------------------------------------------------------------------

POSTGRES = ["psycopg", "psycopg2", "asyncpg"]


@pytest.fixture(name="row")
def make_row(postgres: Database, engine_for: MakeEngine) -> Iterator[Held]:
    held = Held(engine_for(postgres.postgres()))
    yield held
    held.close()


def refused_by_postgres(database: Database, driver: str, through: str, *statements: Any) -> BaseException:
    """The error of the last statement."""
    if driver == "asyncpg":
        return asyncio.run(_refused_by_asyncpg(database, through, statements))
    if through == "sqlalchemy":
        from sqlalchemy import create_engine

        engine = create_engine(database.postgres(driver))
        try:
            with engine.connect() as connection:
                for statement in statements[:-1]:
                    connection.execute(text(statement))
                return caught(lambda: connection.execute(text(statements[-1])))
        finally:
            engine.dispose()
    connect = psycopg.connect if driver == "psycopg" else psycopg2.connect
    connection: Any = connect(host=str(database.folder), user="postgres", dbname=database.name)
    try:
        cursor = connection.cursor()
        for statement in statements[:-1]:
            statement() if callable(statement) else cursor.execute(statement)
        return caught(lambda: cursor.execute(statements[-1]))
    finally:
        connection.close()


async def _refused_by_asyncpg(database: Database, through: str, statements: tuple[Any, ...]) -> BaseException:
    import asyncpg

    if through == "driver":
        connection = await asyncpg.connect(host=str(database.folder), user="postgres", database=database.name)
        try:
            async with connection.transaction():
                for statement in statements:
                    statement() if callable(statement) else await connection.execute(statement)
        except asyncpg.PostgresError as error:
            return error
        finally:
            await connection.close()
        raise AssertionError
    engine = create_async_engine(database.postgres("asyncpg"))
    try:
        async with engine.connect() as given:
            for statement in statements:
                await given.execute(text(statement))
    except DBAPIError as error:
        return error
    finally:
        await engine.dispose()
    raise AssertionError


REFUSED = {
    "NOWAIT": (f"{TAKE} NOWAIT",),
    "lock_timeout": ("SET LOCAL lock_timeout = '50ms'", TAKE),
    "LOCK TABLE": ("LOCK TABLE t IN ACCESS EXCLUSIVE MODE NOWAIT",),
}


@pytest.mark.process
@pytest.mark.parametrize("through", ["driver", "sqlalchemy"])
@pytest.mark.parametrize("driver", POSTGRES)
@pytest.mark.parametrize("how", REFUSED)
def test_lock_not_available_is_known_by_every_driver(
    postgres: Database, row: Held, driver: str, through: str, how: str
):
    found = told(refused_by_postgres(postgres, driver, through, *REFUSED[how]))
    assert (found.dialect, found.code, found.name) == (Dialect.POSTGRESQL, "55P03", "lock_not_available")
    assert (found.kind, found.wait_helps, found.retry) == (LockKind.HELD, True, RetryUnit.SAVEPOINT)


@pytest.mark.process
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_deadlock_names_the_processes_in_it(postgres: Database, row: Held, engine_for: MakeEngine, driver: str):
    row.holder.rollback()
    found = told(deadlocked(engine_for(postgres.postgres(driver))))
    assert (found.code, found.kind, found.retry) == ("40P01", LockKind.DEADLOCK, RetryUnit.TRANSACTION)
    assert "waits for ShareLock on transaction" in found.detail


@pytest.mark.process
@pytest.mark.parametrize("driver", POSTGRES)
def test_a_serialization_failure_is_stale(postgres: Database, row: Held, driver: str):
    def change_the_row() -> None:
        row.holder.execute(text("UPDATE t SET n = n + 1 WHERE id = 1"))
        row.holder.commit()

    row.holder.rollback()
    error = refused_by_postgres(
        postgres,
        driver,
        "driver",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SELECT n FROM t",
        change_the_row,
        "UPDATE t SET n = n + 1 WHERE id = 1",
    )
    found = told(error)
    assert (found.code, found.kind) == ("40001", LockKind.STALE)
    assert (found.wait_helps, found.retry) == (False, RetryUnit.TRANSACTION)


@pytest.mark.process
def test_an_object_in_use_is_waited_for(postgres: Database, row: Held):
    """To rename a database to which somebody else is connected: the server waits five seconds by itself, and then says so."""
    with psycopg.connect(host=str(postgres.folder), user="postgres", dbname="postgres", autocommit=True) as connection:
        statement = f"ALTER DATABASE {postgres.name} RENAME TO another"
        error = caught(lambda: connection.execute(statement))  # type: ignore[arg-type]
    found = told(error)
    assert (found.code, found.name) == ("55006", "object_in_use")


@pytest.mark.process
@pytest.mark.parametrize(
    ("statements", "code"),
    [
        (("SELECT pg_terminate_backend(pg_backend_pid())",), "57P01"),
        (("SET idle_in_transaction_session_timeout = '20ms'", "SELECT 1", "SELECT pg_sleep(0)"), "25P03"),
    ],
    ids=["terminated", "idle in transaction"],
)
def test_a_session_that_was_ended_has_lost_its_locks(postgres: Database, statements: tuple[str, ...], code: str):
    with psycopg.connect(host=str(postgres.folder), user="postgres", dbname=postgres.name) as connection:
        for statement in statements[:-1]:
            connection.execute(statement)  # type: ignore[arg-type]
        if code == "25P03":
            select.select([connection.fileno()], [], [], 30)  # until the server has hung up
        found = told(caught(lambda: connection.execute(statements[-1])))  # type: ignore[arg-type]
    assert (found.code, found.kind, found.retry) == (code, LockKind.ENDED, RetryUnit.NEVER)


@pytest.mark.process
@pytest.mark.parametrize("driver", POSTGRES)
@pytest.mark.parametrize("statement", ["SELECT * FROM missing", "SELECT 1/0", "INSERT INTO t VALUES (1, 1)"])
def test_what_is_no_lock_in_postgresql_is_none(postgres: Database, row: Held, driver: str, statement: str):
    row.holder.rollback()
    assert classify(refused_by_postgres(postgres, driver, "driver", statement)) is None


@pytest.mark.process
@pytest.mark.parametrize("driver", POSTGRES)
def test_a_statement_that_took_too_long_is_no_lock(postgres: Database, row: Held, driver: str):
    """57014 may come from a lock, and from anything else: retrying it would run a slow query again and again."""
    error = refused_by_postgres(postgres, driver, "sqlalchemy", "SET LOCAL statement_timeout = '30ms'", TAKE)
    assert classify(error) is None


# -- the others, as their drivers raise them ---------------------------------------------------------


def raised(
    module: str, name: str, *arguments: object, base: type[Exception] = Exception, **members: object
) -> Exception:
    """An error whose class comes from `module`, as a driver that is not installed here has it."""
    kind = type(name, (base,), {"__module__": module})
    error: Exception = kind(*arguments)
    for member, value in members.items():
        setattr(error, member, value)
    return error


def oracle(number: int) -> object:
    return type("_Error", (), {"code": number, "full_code": f"ORA-{number:05}"})()


def by_pyodbc(state: str, number: int) -> Exception:
    text = f"[{state}] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Refused. ({number}) (SQLExecDirectW)"
    return raised("pyodbc", "OperationalError", state, text)


SHAPED = [
    (by_pyodbc("HYT00", 1222), Dialect.MSSQL, 1222, LockKind.HELD),
    (by_pyodbc("40001", 1205), Dialect.MSSQL, 1205, LockKind.DEADLOCK),
    (by_pyodbc("42000", 3960), Dialect.MSSQL, 3960, LockKind.STALE),
    (
        raised("pymssql._pymssql", "OperationalError", 1222, b"Lock request time out"),
        Dialect.MSSQL,
        1222,
        LockKind.HELD,
    ),
    (raised("pymssql._pymssql", "OperationalError", 1205, b"deadlocked"), Dialect.MSSQL, 1205, LockKind.DEADLOCK),
    *[
        (raised("oracledb.exceptions", "DatabaseError", oracle(number)), Dialect.ORACLE, number, code.kind)
        for number, code in CODES[Dialect.ORACLE].items()
        if isinstance(number, int)
    ],
    (raised("cx_Oracle", "DatabaseError", oracle(54)), Dialect.ORACLE, 54, LockKind.HELD),
    *[
        (raised("MySQLdb", "OperationalError", number, "refused"), Dialect.MYSQL, number, code.kind)
        for number, code in CODES[Dialect.MYSQL].items()
    ],
    (raised("mariadb", "OperationalError", "refused", errno=3572), Dialect.MYSQL, 3572, LockKind.HELD),
    (raised("asyncmy.errors", "OperationalError", 1205, "refused"), Dialect.MYSQL, 1205, LockKind.HELD),
    (
        raised("pg8000.exceptions", "DatabaseError", {"S": "ERROR", "C": "55P03"}),
        Dialect.POSTGRESQL,
        "55P03",
        LockKind.HELD,
    ),
]


@pytest.mark.parametrize(("error", "dialect", "code", "kind"), SHAPED, ids=lambda value: str(value)[:40])
def test_the_errors_of_drivers_that_are_not_here(error: Exception, dialect: Dialect, code: int, kind: LockKind):
    found = told(error)
    assert (found.dialect, found.code, found.kind) == (dialect, code, kind)


def test_the_same_number_of_two_databases_means_two_things():
    """1205 is a timeout of MySQL's, and a deadlock of SQL Server's."""
    assert told(raised("MySQLdb", "OperationalError", 1205, "")).kind is LockKind.HELD
    assert told(by_pyodbc("40001", 1205)).kind is LockKind.DEADLOCK


@pytest.mark.parametrize("wrapped_in", ["django.db.utils", "sqlalchemy.exc"])
def test_what_wraps_the_drivers_error_is_looked_through(wrapped_in: str):
    inner = sqlite3.OperationalError("database is locked")
    inner.sqlite_errorcode = sqlite3.SQLITE_BUSY
    outer = raised(wrapped_in, "OperationalError", "database is locked")
    if wrapped_in.startswith("django"):
        outer.__cause__ = inner
    else:
        outer.orig = inner  # type: ignore[attr-defined]
    assert told(outer).name == "SQLITE_BUSY"


def test_each_code_of_each_table_is_sound():
    for dialect, table in CODES.items():
        for key, code in table.items():
            assert key == code.code
            assert code.sentence
            assert not code.sentence.endswith(".")
            never = code.kind in {LockKind.SELF, LockKind.MISUSE} or key in {"57P01", "25P03"}  # ended on purpose
            assert (code.retry is RetryUnit.NEVER) == never, (dialect, key)
            if code.kind in {LockKind.HELD, LockKind.DEADLOCK}:
                assert code.wait_helps
            if code.kind in {LockKind.STALE, LockKind.DEADLOCK, LockKind.ENDED} and key != 4020 and not never:
                assert code.retry is RetryUnit.TRANSACTION, (dialect, key)
