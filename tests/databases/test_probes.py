"""A probe is rolled back, or it is not run."""

from __future__ import annotations

import pytest
from sqlalchemy import DDL, Engine, select, table, text
from sqlalchemy.sql import column

from holdfast.databases import Dialect, who
from holdfast.databases.holders import WhoError
from holdfast.databases.who.probes import check_probe

FINE = {
    Dialect.MYSQL: (
        "SELECT 1 FROM orders WHERE id = 42 FOR UPDATE",
        "  /* the order */ update orders set note = 'a; drop table b' ;",
        "-- a\nDELETE FROM `a;b`",
        "(SELECT 1 FROM orders FOR SHARE)",
        "INSERT INTO orders VALUES ('it\\'s; so')",
        "REPLACE INTO orders VALUES (1)",
        "WITH a AS (SELECT 1) UPDATE orders SET n = 1",
    ),
    Dialect.POSTGRESQL: (
        "LOCK TABLE orders",
        "ALTER TABLE orders DROP COLUMN n;",
        "UPDATE orders SET note = 'a; COMMIT'",
        "DO $x$ BEGIN PERFORM 1; END $x$",
        'SELECT $$;$$, ";" FROM orders -- ; COMMIT',
    ),
}
REFUSED = {
    Dialect.MYSQL: (
        "ALTER TABLE orders DROP COLUMN n",
        "/*!50000 DROP TABLE orders */",
        "/*M! DROP TABLE orders */",
        "DROP TABLE orders",
        "LOCK TABLES orders WRITE",
        "UPDATE orders SET n = 1; COMMIT",
        "SELECT '\\''; COMMIT",
        "SELECT n FROM orders INTO OUTFILE '/tmp/a'",
        "COMMIT",
        "CALL pay()",
        "",
    ),
    Dialect.POSTGRESQL: (
        "UPDATE orders SET n = 1; COMMIT",
        "SELECT 'c:\\'; COMMIT; --'",
        "commit",
        "/* a */ END",
        "PREPARE TRANSACTION 'a'",
        "ROLLBACK",
    ),
}


@pytest.mark.parametrize(("dialect", "statement"), [(one, each) for one, all_ in FINE.items() for each in all_])
def test_what_a_rollback_undoes_may_be_run(dialect: Dialect, statement: str):
    check_probe(dialect, statement)


@pytest.mark.parametrize(("dialect", "statement"), [(one, each) for one, all_ in REFUSED.items() for each in all_])
def test_what_it_does_not_may_not(dialect: Dialect, statement: str):
    with pytest.raises(WhoError, match=r"[Aa] probe"):
        check_probe(dialect, statement)


def with_orders(engine: Engine) -> Engine:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id int PRIMARY KEY, n int)"))
        connection.execute(text("INSERT INTO orders VALUES (1, 0)"))
    return engine


def numbers(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return [int(row[0]) for row in connection.execute(text("SELECT n FROM orders"))]


@pytest.mark.process
@pytest.mark.tool("mariadbd")
@pytest.mark.parametrize(
    "probe", ["ALTER TABLE orders DROP COLUMN n", DDL("ALTER TABLE orders DROP COLUMN n")], ids=["text", "construct"]
)
def test_a_probe_changes_nothing_in_mariadb(mariadb_engine: Engine, probe: str | DDL):
    engine = with_orders(mariadb_engine)
    with pytest.raises(WhoError):
        who(engine, probe=probe)
    assert who(engine, probe="UPDATE orders SET n = 7") == []
    assert numbers(engine) == [0]


@pytest.mark.process
def test_a_probe_changes_nothing_in_postgresql(postgres_engine: Engine):
    engine = with_orders(postgres_engine)
    with pytest.raises(WhoError):
        who(engine, probe="UPDATE orders SET n = 7; COMMIT")
    assert who(engine, probe="ALTER TABLE orders DROP COLUMN n") == []
    assert who(engine, probe=select(table("orders", column("n"))).with_for_update()) == []
    assert numbers(engine) == [0]
