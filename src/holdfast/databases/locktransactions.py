"""The transactions of a LockTable: that there is one, whatever the application's connections are set to.

Owns: the engines that they are of, and their beginning. Must not know: what is done in them, retries.

Theory of operation: that two changes of locks are serial rests on row locks that last until the COMMIT. Where the driver itself is in
autocommit (`connect_args={"autocommit": True}`, SQLite's `isolation_level=None`, MySQL's `init_command`), each statement would be a
transaction of its own, and SQLAlchemy does not know it. So a transaction of a LockTable's own begins by a statement of its own there,
which the driver's commit() ends. One of the application's, in which it asks that a lock stays, is not begun behind its back: it is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine

from holdfast.databases.immediate import READ_ONLY

__all__ = ["begun", "demand_transaction", "engines_of"]

T = TypeVar("T")

_SERVER_STATUS_IN_TRANS: Final = 1
_SHARED: Final = (
    "the connection is in a transaction already, for the pool gives the same one to all (StaticPool, or sqlite:// in one thread): a LockTable "
    "would commit what is not its own. Commit first; what was open has been rolled back"
)


def engines_of(engine: Engine) -> tuple[Engine, Engine]:
    """For writing and for reading: with transactions, even where the application's are in AUTOCOMMIT. Raises ValueError.

    PostgreSQL's may be set to REPEATABLE READ, in which who has waited for his turn would not see what was done before it.
    """
    match engine.dialect.name:
        case "postgresql":
            level = "READ COMMITTED"
        case "sqlite" if _is_autocommit(engine):
            level = "SERIALIZABLE"
        case "mysql" | "mariadb" if _is_autocommit(engine):
            level = "REPEATABLE READ"
        case "sqlite" | "mysql" | "mariadb":
            level = ""
        case other:
            msg = f"a LockTable is for SQLite, PostgreSQL, MySQL and MariaDB, not for {other}"
            raise ValueError(msg)
    writing = engine.execution_options(isolation_level=level) if level else engine
    return writing, writing.execution_options(**{READ_ONLY: True})


def begun(work: Callable[[Connection], T]) -> Callable[[Connection], T]:
    """`work`, in a transaction that lasts until the driver's commit(). Raises RuntimeError where there can be none."""

    def inside(connection: Connection) -> T:
        _begin(connection)
        return work(connection)

    return inside


def demand_transaction(connection: Connection) -> None:
    """Raise RuntimeError where what has just been locked on `connection` is free again already, as it is in autocommit."""
    if _is_autocommit(connection) or not _is_open(connection):
        msg = (
            "the connection is in autocommit, so nothing holds the lock until the end of a transaction: begin one, "
            "on an engine that is not in AUTOCOMMIT, and whose driver is not either (connect_args)"
        )
        raise RuntimeError(msg)


def _begin(connection: Connection) -> None:
    match connection.dialect.name:
        case "sqlite":
            driver = connection.connection.driver_connection
            assert driver is not None
            autocommit = getattr(
                getattr(driver, "_conn", driver), "autocommit", None
            )  # aiosqlite keeps the driver's in it
            if autocommit is True:
                msg = "with autocommit=True in connect_args, SQLite's commit() ends no transaction, and a LockTable needs them: take it out"
                raise RuntimeError(msg)
            if not driver.in_transaction:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            elif driver.isolation_level is not None and autocommit is not False:
                # The driver begins one before a change, and there was none yet: it is of somebody else on the same connection.
                raise RuntimeError(_SHARED)
        case "mysql" | "mariadb":
            # In any other, gaps between rows would be locked, and who has waited would see what was before.
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            connection.exec_driver_sql("START TRANSACTION")  # nothing was done before, so it ends nothing
        case _:
            pass  # PostgreSQL's drivers are told with the level of isolation


def _is_open(connection: Connection) -> bool:
    """As the driver has it."""
    driver: Any = connection.connection.driver_connection
    match connection.dialect.name:
        case "sqlite":
            return bool(driver.in_transaction)
        case "mysql" | "mariadb":
            # mysql-connector has a property instead, which asks the server.
            is_autocommit = driver.get_autocommit() if hasattr(driver, "get_autocommit") else driver.autocommit
            # The application may have sent its own BEGIN, which PyMySQL and its kin have seen.
            return not is_autocommit or bool(getattr(driver, "server_status", 0) & _SERVER_STATUS_IN_TRANS)
        case _:
            return not getattr(driver, "autocommit", False)  # asyncpg's has none


def _is_autocommit(source: Engine | Connection) -> bool:
    level = source.get_execution_options().get("isolation_level")
    return (level or getattr(source.dialect, "_on_connect_isolation_level", None)) == "AUTOCOMMIT"
