"""What is in force in a database as to locks, who holds it, and what to change: `examine`.

Owns: that question for all databases. Must not know: any database's own settings (`sqlite`, `postgres`, `mysql`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.databases.codes import Dialect
from holdfast.databases.connecting import (
    Target,
    dialect_of,
    engine_of,
    is_async,
    own_connection,
    own_connection_async,
    target_text,
)
from holdfast.databases.doctor.findings import Examination, Finding, InForce, Level

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Examination", "Finding", "InForce", "Level", "examine", "examine_async"]


def examine(target: Target) -> Examination:
    """Settings in force, holders, and findings with advice, the gravest first; nothing is changed.

    `target` is an engine, a URL, or the path of a SQLite file. With the application's own engine its own settings are told (its
    busy_timeout, its lock_timeout), with a URL those that a new connection gets. A SQLite file is read by a process of its own.

    Raises WhoError, as `who` does.
    """
    dialect = dialect_of(target)
    if dialect is Dialect.SQLITE:
        from holdfast.databases.doctor import sqlite

        return sqlite.examine(target, sqlite.own_settings(engine_of(target)))
    with own_connection(target) as connection:
        return _of_server(dialect)(connection, target_text(target))


async def examine_async(target: Target) -> Examination:
    """`examine` for asynchronous code, over the engine's own asynchronous driver where it has one."""
    dialect = dialect_of(target)
    if not is_async(target):
        return await asyncio.to_thread(examine, target)
    if dialect is Dialect.SQLITE:
        from holdfast.databases.doctor import sqlite

        own = await sqlite.own_settings_async(engine_of(target))
        return await asyncio.to_thread(sqlite.examine, target, own)
    look = _of_server(dialect)
    async with own_connection_async(target) as connection:
        return await connection.run_sync(look, target_text(target))


def _of_server(dialect: Dialect) -> Callable[[Connection, str], Examination]:
    if dialect is Dialect.POSTGRESQL:
        from holdfast.databases.doctor import postgres

        return postgres.examine
    from holdfast.databases.doctor import mysql

    return mysql.examine
