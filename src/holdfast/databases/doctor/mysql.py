"""The doctor for MySQL and MariaDB. Owns: which variables bear on locks, and what is advised. Must not know: how holders are found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sqlalchemy import Connection, text

from holdfast.databases.codes import Dialect
from holdfast.databases.doctor.findings import Examination, Finding, InForce, Level, of_holders, sorted_findings
from holdfast.databases.who import mysql

__all__ = ["examine"]

_VARIABLES: Final = {
    "innodb_lock_wait_timeout": "seconds that a statement waits for a row",
    "lock_wait_timeout": "seconds that a statement waits for a table (metadata lock)",
    "innodb_rollback_on_timeout": "whether error 1205 undoes the whole transaction",
    "innodb_deadlock_detect": "whether deadlocks are found at once",
    "autocommit": "whether each statement is a transaction of its own",
    "transaction_isolation": "what a transaction sees of others",
    "tx_isolation": "what a transaction sees of others",
    "idle_transaction_timeout": "seconds after which a session that sits in a transaction is ended (0: never)",
    "wait_timeout": "seconds after which an idle session is ended",
    "innodb_print_all_deadlocks": "whether the server's log tells of every deadlock",
    "max_connections": "how many sessions there may be",
}
_IN_FORCE: Final = text("SHOW VARIABLES WHERE variable_name IN :names")
_ENGINES: Final = text(
    "SELECT table_name FROM information_schema.tables WHERE table_schema = database()"
    " AND table_type = 'BASE TABLE' AND engine IN ('MyISAM', 'Aria', 'MEMORY') ORDER BY table_name LIMIT 5"
)
_PATIENT_S: Final = 30
_PATIENT_TABLE_S: Final = 3600


def examine(connection: Connection, target: str) -> Examination:
    """`connection` must be in AUTOCOMMIT. Raises WhoError where the account may not see other sessions."""
    from sqlalchemy import bindparam

    question = _IN_FORCE.bindparams(bindparam("names", expanding=True))
    values = {str(row[0]).lower(): str(row[1]) for row in connection.execute(question, {"names": list(_VARIABLES)})}
    # Of an application's connection, not of this one, which is in AUTOCOMMIT on purpose.
    values["autocommit"] = "ON" if connection.exec_driver_sql("SELECT @@global.autocommit").scalar_one() else "OFF"
    is_maria = mysql.is_mariadb(connection)
    holders = mysql.look(connection)
    findings = [*of_holders(holders), *_of_variables(values), *_of_server(connection, is_maria=is_maria)]
    version = str(connection.exec_driver_sql("SELECT version()").scalar_one())
    return Examination(
        dialect=Dialect.MYSQL,
        target=target,
        version=f"{'MariaDB' if is_maria else 'MySQL'} {version}",
        settings=tuple(InForce(name, values[name], meaning) for name, meaning in _VARIABLES.items() if name in values),
        holders=tuple(holders),
        findings=sorted_findings(findings),
    )


def _of_variables(values: Mapping[str, str]) -> Iterator[Finding]:
    if values.get("innodb_rollback_on_timeout") == "OFF":
        yield Finding(
            Level.WARN,
            "innodb_rollback_on_timeout is OFF: after error 1205 the transaction is still open, with its locks.",
            "Roll back after 1205 (retry_locked does), or set it ON in the server's configuration.",
        )
    if values.get("autocommit") == "OFF":
        yield Finding(
            Level.WARN,
            "autocommit is OFF: even a SELECT opens a transaction, which keeps ALTER TABLE waiting until COMMIT.",
            "Set it ON, and begin transactions where they are meant.",
        )
    if values.get("innodb_deadlock_detect") == "OFF":
        yield Finding(
            Level.WARN,
            "innodb_deadlock_detect is OFF: a deadlock lasts until innodb_lock_wait_timeout is over.",
            "Set it ON, or innodb_lock_wait_timeout to a few seconds.",
        )
    if _seconds(values, "innodb_lock_wait_timeout") >= _PATIENT_S:
        yield Finding(
            Level.INFO,
            f"innodb_lock_wait_timeout is {values['innodb_lock_wait_timeout']} s: a web request waits for a row longer than its client.",
            "SET SESSION innodb_lock_wait_timeout = 5 where somebody waits for the answer.",
        )
    if _seconds(values, "lock_wait_timeout") >= _PATIENT_TABLE_S:
        yield Finding(
            Level.WARN,
            f"lock_wait_timeout is {values['lock_wait_timeout']} s: an ALTER TABLE waits that long for a forgotten transaction, and"
            " everybody else behind it.",
            "SET SESSION lock_wait_timeout = 5 before a migration.",
        )
    if values.get("idle_transaction_timeout") == "0":
        yield Finding(
            Level.INFO,
            "idle_transaction_timeout is 0: a program that forgets to commit keeps its locks until wait_timeout.",
            "SET GLOBAL idle_transaction_timeout = 60",
        )
    if "idle_transaction_timeout" not in values and _seconds(values, "wait_timeout") >= _PATIENT_TABLE_S:
        yield Finding(
            Level.INFO,
            f"wait_timeout is {values['wait_timeout']} s: a program that forgets to commit keeps its locks that long, for MySQL has no"
            " limit of its own for transactions that are idle.",
            "SET GLOBAL wait_timeout = 600, where the programs' pools connect anew (SQLAlchemy's pool_pre_ping).",
        )
    if values.get("innodb_print_all_deadlocks") == "OFF":
        yield Finding(
            Level.INFO,
            "innodb_print_all_deadlocks is OFF: only the last deadlock is known (SHOW ENGINE INNODB STATUS).",
            "SET GLOBAL innodb_print_all_deadlocks = ON",
        )


def _of_server(connection: Connection, *, is_maria: bool) -> Iterator[Finding]:
    tables = [str(row[0]) for row in connection.execute(_ENGINES)]
    if tables:
        yield Finding(
            Level.WARN,
            f"{', '.join(tables)}: not InnoDB, so every write locks the whole table.",
            "ALTER TABLE ... ENGINE = InnoDB",
        )
    if not is_maria and not connection.exec_driver_sql("SELECT @@performance_schema").scalar_one():
        yield Finding(
            Level.WARN,
            "performance_schema is OFF: MySQL does not tell who waits for whom, nor who holds a table.",
            "Set performance_schema = ON in the server's configuration, and start it anew.",
        )
    if is_maria and not mysql.tells_table_locks(connection):
        yield Finding(
            Level.INFO,
            "Who holds a table that ALTER TABLE waits for cannot be told for certain.",
            "INSTALL SONAME 'metadata_lock_info'",
        )


def _seconds(values: Mapping[str, str], name: str) -> float:
    return float(values.get(name, "0"))
