"""who(engine) on a real MariaDB: row locks, table locks, named locks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pymysql
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from holdfast.databases.holders import WhoError
from holdfast.databases.watching import watch
from holdfast.databases.who import who, who_async
from tests.databases.conftest import MakeEngine
from tests.databases.servers import Database
from tests.databases.sessions import eventually, mariadb_holder, mariadb_waiter

pytestmark = [pytest.mark.process, pytest.mark.tool("mariadbd")]

ROW = "UPDATE orders SET n = n + 1 WHERE id = 1"
OTHER_ROW = "UPDATE orders SET n = n + 1 WHERE id = 2"


@pytest.fixture(name="engine")
def make_engine(mariadb_engine: Engine) -> Engine:
    with mariadb_engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id int PRIMARY KEY, n int) ENGINE=InnoDB"))
        connection.execute(text("INSERT INTO orders VALUES (1, 0), (2, 0)"))
    return mariadb_engine


@contextmanager
def plugin(engine: Engine) -> Iterator[None]:
    """The server tells of metadata locks for the block."""
    with engine.begin() as connection:
        connection.execute(text("INSTALL SONAME 'metadata_lock_info'"))
    try:
        yield
    finally:
        with engine.begin() as connection:
            connection.execute(text("UNINSTALL SONAME 'metadata_lock_info'"))


def test_nobody_holds_a_database_at_rest(engine: Engine):
    assert who(engine) == []


def test_who_sits_idle_on_a_row_is_told_before_anybody_waits(engine: Engine, mariadb: Database):
    with mariadb_holder(mariadb, "BEGIN", ROW):
        [holder] = eventually(lambda: who(engine))
    assert holder.is_in_the_way
    assert (holder.user, holder.host, holder.state) == ("root", "localhost", "Sleep")
    assert holder.doing == "is idle in a transaction"
    assert holder.mode == "1 row lock"
    assert holder.database == mariadb.name
    assert holder.held_s is not None
    assert holder.since is not None
    assert 0 <= holder.held_s < 60


def test_the_holder_of_the_row_that_somebody_waits_for(engine: Engine, mariadb: Database):
    with mariadb_holder(mariadb, "BEGIN", ROW), mariadb_waiter(mariadb, "BEGIN", ROW) as waiter:
        [holder] = eventually(lambda: [one for one in who(engine) if one.blocks])
        assert [one.pid for one in who(engine, waiter=waiter.number)] == [holder.pid]
    assert holder.blocks == (waiter.number,)
    assert holder.resource == f"{mariadb.name}.orders PRIMARY = 1"
    assert holder.mode == "row lock, X"


def test_a_chain_is_walked_to_where_it_begins(engine: Engine, mariadb: Database):
    with mariadb_holder(mariadb, "BEGIN", ROW), mariadb_waiter(mariadb, "BEGIN", OTHER_ROW, ROW) as second:
        eventually(lambda: [one for one in who(engine) if one.blocks])
        with mariadb_waiter(mariadb, "BEGIN", OTHER_ROW) as third:
            first, middle = eventually(lambda: found if len(found := who(engine)) == 2 else [])
    assert (first.blocks, first.is_waiting) == (tuple(sorted((second.number, third.number))), False)
    assert (middle.pid, middle.blocks, middle.is_waiting) == (second.number, (third.number,), True)


def test_the_probe_finds_who_it_was(engine: Engine, mariadb: Database):
    with mariadb_holder(mariadb, "BEGIN", ROW), mariadb_holder(mariadb, "BEGIN", OTHER_ROW):
        assert len(eventually(lambda: found if len(found := who(engine)) == 2 else [])) == 2
        [holder] = who(engine, probe="SELECT 1 FROM orders WHERE id = 2 FOR UPDATE")
    assert holder.resource == f"{mariadb.name}.orders PRIMARY = 2"
    assert who(engine, probe="UPDATE orders SET n = 99") == []
    with engine.connect() as connection:
        assert connection.execute(text("SELECT max(n) FROM orders")).scalar_one() == 0


def test_a_reader_that_keeps_alter_table_waiting(engine: Engine, mariadb: Database):
    with (
        plugin(engine),
        mariadb_holder(mariadb, "BEGIN", "SELECT * FROM orders"),
        mariadb_waiter(mariadb, "ALTER TABLE orders ADD COLUMN x int") as alter,
    ):
        [holder] = eventually(lambda: who(engine, waiter=alter.number))
        with mariadb_waiter(mariadb, "SELECT * FROM orders") as reader:
            behind = eventually(lambda: who(engine, waiter=reader.number))
    assert (holder.resource, holder.mode) == (f"{mariadb.name}.orders", "SHARED READ")
    assert holder.is_in_the_way
    assert not holder.is_waiting
    assert holder.pid in {one.pid for one in behind}


def test_without_the_plugin_the_one_that_may_be_it_is_told_as_such(engine: Engine, mariadb: Database):
    with (
        mariadb_holder(mariadb, "BEGIN", "SELECT * FROM orders"),
        mariadb_waiter(mariadb, "ALTER TABLE orders ADD COLUMN x int") as alter,
    ):
        [holder] = eventually(lambda: who(engine, waiter=alter.number))
    assert holder.doing == "is idle in a transaction"
    assert "INSTALL SONAME 'metadata_lock_info'" in holder.note


def test_lock_tables_is_told_before_and_while_somebody_waits(engine: Engine, mariadb: Database):
    with plugin(engine), mariadb_holder(mariadb, "LOCK TABLES orders WRITE"):
        [holder] = eventually(lambda: who(engine))
        assert (holder.resource, holder.mode) == (f"{mariadb.name}.orders", "SHARED NO READ WRITE")
        assert [one.pid for one in who(engine, table="orders")] == [holder.pid]
        assert who(engine, table="others") == []
        with mariadb_waiter(mariadb, "SELECT * FROM orders") as reader:
            [holder] = eventually(lambda: who(engine, waiter=reader.number))
    assert holder.blocks == (reader.number,)


def test_a_named_lock(engine: Engine, mariadb: Database):
    with plugin(engine), mariadb_holder(mariadb, "SELECT GET_LOCK('nightly', 0)"):
        with mariadb_waiter(mariadb, "SELECT GET_LOCK('nightly', 60)") as waiter:
            [holder] = eventually(lambda: who(engine, waiter=waiter.number))
    assert holder.resource == "named lock nightly"


def test_a_global_read_lock(engine: Engine, mariadb: Database):
    with plugin(engine), mariadb_holder(mariadb, "FLUSH TABLES WITH READ LOCK"):
        with mariadb_waiter(mariadb, ROW) as waiter:
            [holder] = eventually(lambda: who(engine, waiter=waiter.number))
    assert holder.blocks == (waiter.number,)
    assert holder.resource == "all tables"


def test_a_prepared_transaction_without_a_session(engine: Engine, mariadb: Database):
    try:
        with mariadb_holder(mariadb, "XA START 'nightly'", ROW, "XA END 'nightly'", "XA PREPARE 'nightly'"):
            pass
        holders = eventually(lambda: [one for one in who(engine) if one.pid is None])
        assert [holder.doing for holder in holders] == [
            "is a prepared XA transaction, which belongs to no session (XA RECOVER lists it)"
        ]
        with mariadb_waiter(mariadb, ROW) as waiter:
            [holder] = eventually(lambda: who(engine, waiter=waiter.number))
        assert holder.prepared
        assert holder.blocks == (waiter.number,)
    finally:
        with pymysql.connect(unix_socket=str(mariadb.folder / "socket"), user="root", autocommit=True) as other:
            other.cursor().execute("XA ROLLBACK 'nightly'")


@pytest.mark.parametrize("driver", ["pymysql", "mysqlconnector"])
def test_a_holder_in_this_process_is_told_with_the_place_in_its_code(
    mariadb: Database, engine: Engine, engine_for: MakeEngine, driver: str
):
    own = engine_for(mariadb.mariadb(driver))
    watch(own)
    with own.begin() as connection:
        connection.execute(text(ROW))
        [holder] = eventually(lambda: who(own))
    assert holder.is_this_process
    assert holder.began_at.endswith("in test_a_holder_in_this_process_is_told_with_the_place_in_its_code")


def test_asynchronous_code_asks_over_its_own_driver(mariadb: Database, engine: Engine):
    async def ask() -> tuple[int, int]:
        own = create_async_engine(mariadb.mariadb("aiomysql"))
        try:
            found = await who_async(own)
            probed = await who_async(own, probe="SELECT 1 FROM orders WHERE id = 1 FOR UPDATE")
        finally:
            await own.dispose()
        return len(found), len(probed)

    with mariadb_holder(mariadb, "BEGIN", ROW):
        assert asyncio.run(ask()) == (1, 1)


def test_who_may_not_see_others_is_told_what_it_takes(mariadb: Database, engine: Engine, engine_for: MakeEngine):
    with engine.begin() as connection:
        connection.execute(text("CREATE USER IF NOT EXISTS nobody@localhost"))
        connection.execute(text(f"GRANT ALL ON {mariadb.name}.* TO nobody@localhost"))
    with pytest.raises(WhoError, match="PROCESS"):
        who(engine_for(mariadb.mariadb().set(username="nobody")))
