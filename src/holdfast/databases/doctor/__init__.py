"""What is in force in a database as to locks, who holds it, and what to change: `examine`.

Owns: that question for all databases. Must not know: any database's own settings (`sqlite`, `postgres`, `mysql`).
"""

from __future__ import annotations

from holdfast.databases.codes import Dialect
from holdfast.databases.connecting import Target, dialect_of, own_connection, target_text
from holdfast.databases.doctor.findings import Examination, Finding, InForce, Level

__all__ = ["Examination", "Finding", "InForce", "Level", "examine"]


def examine(target: Target) -> Examination:
    """Settings in force, holders, and findings with advice, the gravest first; nothing is changed.

    `target` is an engine, a URL, or the path of a SQLite file. With the application's own engine its own settings are told (its
    busy_timeout, its lock_timeout), with a URL those that a new connection gets. A SQLite file is read by a process of its own.

    Raises WhoError, as `who` does.
    """
    if dialect_of(target) is Dialect.SQLITE:
        from holdfast.databases.doctor import sqlite

        return sqlite.examine(target)
    if dialect_of(target) is Dialect.POSTGRESQL:
        from holdfast.databases.doctor import postgres

        with own_connection(target) as connection:
            return postgres.examine(connection, target_text(target))
    from holdfast.databases.doctor import mysql

    with own_connection(target) as connection:
        return mysql.examine(connection, target_text(target))
