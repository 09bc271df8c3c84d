"""The doctor for PostgreSQL. Owns: which settings bear on locks, and what is advised. Must not know: how holders are found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sqlalchemy import Connection, text

from holdfast.databases.codes import Dialect
from holdfast.databases.doctor.findings import Examination, Finding, InForce, Level, of_holders, sorted_findings
from holdfast.databases.holders import span_text
from holdfast.databases.who import postgres

__all__ = ["examine"]

_SETTINGS: Final = {
    "lock_timeout": "how long a statement waits for a lock (0: for ever)",
    "statement_timeout": "how long a statement may take, waiting included (0: for ever)",
    "idle_in_transaction_session_timeout": "when a session that sits in a transaction is ended (0: never)",
    "transaction_timeout": "how long a transaction may take (0: for ever)",
    "deadlock_timeout": "how long before a deadlock is looked for",
    "default_transaction_isolation": "what a transaction sees of others",
    "log_lock_waits": "whether the server's log tells who waited",
    "max_prepared_transactions": "how many transactions may be left prepared",
    "max_connections": "how many sessions there may be",
}
_IN_FORCE: Final = text("SELECT name, current_setting(name) AS value FROM pg_settings WHERE name = ANY(:names)")
_VERSION: Final = text("SELECT current_setting('server_version')")
_LONG: Final = text("""
    SELECT pid, usename AS user, application_name AS program, state, extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
    FROM pg_stat_activity
    WHERE xact_start < clock_timestamp() - interval '5 minutes' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    ORDER BY xact_start LIMIT 5""")
_SESSIONS: Final = text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
_SEES_ALL: Final = text("SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')")
_FULL: Final = 0.9


def examine(connection: Connection, target: str) -> Examination:
    """`connection` must be in AUTOCOMMIT."""
    rows = connection.execute(_IN_FORCE, {"names": list(_SETTINGS)}).all()
    values = {str(name): str(value) for name, value in rows}
    holders = postgres.look(connection)
    findings = [*of_holders(holders), *_of_settings(values), *_of_sessions(connection, values)]
    told = {holder.pid for holder in holders if holder.is_in_the_way}
    for row in connection.execute(_LONG).mappings():
        if row["pid"] not in told:
            who = ", ".join(word for word in (row["user"], row["program"]) if word)
            findings.append(
                Finding(
                    Level.WARN,
                    f"{row['pid']} ({who}) has had a transaction open for {span_text(row['seconds'])} ({row['state']}).",
                    "A long transaction keeps its locks, and keeps VACUUM from removing dead rows: commit more often.",
                )
            )
    return Examination(
        dialect=Dialect.POSTGRESQL,
        target=target,
        version=f"PostgreSQL {connection.execute(_VERSION).scalar_one()}",
        settings=tuple(InForce(name, values[name], meaning) for name, meaning in _SETTINGS.items() if name in values),
        holders=tuple(holders),
        findings=sorted_findings(findings),
    )


def _of_settings(values: Mapping[str, str]) -> Iterator[Finding]:
    if values.get("lock_timeout") == "0":
        yield Finding(
            Level.WARN,
            "lock_timeout is 0: a statement that waits for a lock waits for ever.",
            "ALTER ROLE app SET lock_timeout = '5s'; at the least SET it before a migration's ALTER TABLE.",
        )
    if values.get("idle_in_transaction_session_timeout") == "0":
        yield Finding(
            Level.WARN,
            "idle_in_transaction_session_timeout is 0: a program that forgets to commit keeps its locks for ever.",
            "ALTER ROLE app SET idle_in_transaction_session_timeout = '60s'",
        )
    if values.get("statement_timeout") == "0" and values.get("transaction_timeout", "0") == "0":
        yield Finding(
            Level.INFO,
            "statement_timeout is 0: a statement may run, and keep its locks, without end.",
            "Bound it per role.",
        )
    if values.get("log_lock_waits") == "off":
        yield Finding(
            Level.INFO,
            "log_lock_waits is off: the server's log will not tell afterwards who waited for whom.",
            "ALTER SYSTEM SET log_lock_waits = on; SELECT pg_reload_conf()",
        )


def _of_sessions(connection: Connection, values: Mapping[str, str]) -> Iterator[Finding]:
    count, most = int(connection.execute(_SESSIONS).scalar_one()), int(values.get("max_connections", "0"))
    if most and count >= _FULL * most:
        yield Finding(
            Level.WARN,
            f"{count} of {most} connections are taken: whoever comes next may be turned away.",
            "Sessions that wait for locks fill it up: look at the holders first, then at the pools' sizes.",
        )
    if not connection.execute(_SEES_ALL).scalar_one():
        yield Finding(
            Level.INFO,
            "This role sees of others' sessions neither statement nor state.",
            "GRANT pg_read_all_stats TO it, and pg_signal_backend if it is to end sessions.",
        )
