"""who(engine) on a real MySQL: row locks, metadata locks, locks on everything, prepared XA transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pymysql
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from holdfast.databases import DatabaseLockedError, Holder, run_locked
from holdfast.databases.holders import WhoError
from holdfast.databases.watching import watch
from holdfast.databases.who import who, who_async
from tests.databases.conftest import MakeEngine
from tests.databases.servers import Database
from tests.databases.sessions import eventually, mysql_holder, mysql_waiter

pytestmark = [pytest.mark.process, pytest.mark.tool("mysqld")]

ROW = "UPDATE orders SET n = n + 1 WHERE id = 1"
OTHER_ROW = "UPDATE orders SET n = n + 1 WHERE id = 2"
READ = "SELECT * FROM orders"
ALTER = "ALTER TABLE orders ADD COLUMN x int"
PREPARED = ("XA START 'nightly'", ROW, "XA END 'nightly'", "XA PREPARE 'nightly'")


@pytest.fixture(name="engine")
def make_engine(mysql_engine: Engine) -> Engine:
    with mysql_engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id int PRIMARY KEY, n int)"))
        connection.execute(text("INSERT INTO orders VALUES (1, 0), (2, 0)"))
    return mysql_engine


@pytest.fixture(name="rolled_back")
def make_rolled_back(mysql: Database) -> Iterator[None]:
    """The prepared transaction is gone at the end."""
    yield
    with session(mysql) as cursor:
        cursor.execute("XA ROLLBACK 'nightly'")


@contextmanager
def session(database: Database) -> Iterator[pymysql.cursors.Cursor]:
    place = str(database.folder / "socket")
    with pymysql.connect(unix_socket=place, user="root", database=database.name, autocommit=True) as connection:
        yield connection.cursor()


def before(engine: Engine, waiter: int, is_it: Callable[[list[Holder]], bool] = bool) -> list[Holder]:
    """Those for whom `waiter` waits, once it does."""
    return eventually(lambda: found if is_it(found := who(engine, waiter=waiter)) else [])


def test_nobody_holds_a_database_at_rest(engine: Engine):
    assert who(engine) == []


def test_who_sits_idle_on_a_row_is_told_before_anybody_waits(engine: Engine, mysql: Database):
    with mysql_holder(mysql, "BEGIN", ROW):
        [holder] = eventually(lambda: who(engine))
        assert [one.pid for one in who(engine, table=f"{mysql.name}.orders")] == [holder.pid]
        assert who(engine, table="others") == []
    assert holder.is_in_the_way
    assert (holder.user, holder.host, holder.state) == ("root", "localhost", "Sleep")
    assert holder.doing == "is idle in a transaction"
    assert (holder.resource, holder.mode) == (f"{mysql.name}.orders", "1 row lock")
    assert holder.statement == ROW
    assert holder.database == mysql.name
    assert holder.held_s is not None
    assert holder.since is not None
    assert 0 <= holder.held_s < 60


def test_who_only_reads_is_in_nobodys_way(engine: Engine, mysql: Database):
    with mysql_holder(mysql, "BEGIN", READ):
        [holder] = eventually(lambda: who(engine))
    assert not holder.is_in_the_way


@pytest.mark.parametrize("driver", ["pymysql", "mysqlconnector"])
def test_the_holder_of_the_row_that_somebody_waits_for(
    engine: Engine, mysql: Database, engine_for: MakeEngine, driver: str
):
    asked = engine_for(mysql.mysql(driver))
    with mysql_holder(mysql, "BEGIN", ROW), mysql_waiter(mysql, "BEGIN", ROW) as waiter:
        [holder] = eventually(lambda: [one for one in who(asked) if one.blocks])
        assert [one.pid for one in who(asked, waiter=waiter.number)] == [holder.pid]
    assert holder.pid is not None
    assert holder.statement == ROW
    assert holder.blocks == (waiter.number,)
    assert holder.resource == f"{mysql.name}.orders PRIMARY = 1"
    assert holder.mode == "row lock, X,REC_NOT_GAP"


def test_a_program_that_names_itself_is_told_by_its_name(engine: Engine, mysql: Database):
    place = str(mysql.folder / "socket")
    with pymysql.connect(unix_socket=place, user="root", database=mysql.name, program_name="nightly") as connection:
        connection.cursor().execute(ROW)
        [holder] = eventually(lambda: who(engine))
    assert holder.name == f"{connection.thread_id()} (root, nightly, on localhost)"


def test_a_chain_is_walked_to_where_it_begins(engine: Engine, mysql: Database):
    with mysql_holder(mysql, "BEGIN", ROW), mysql_waiter(mysql, "BEGIN", OTHER_ROW, ROW) as second:
        eventually(lambda: [one for one in who(engine) if one.blocks])
        with mysql_waiter(mysql, "BEGIN", OTHER_ROW) as third:
            first, middle = eventually(lambda: found if len(found := who(engine)) == 2 else [])
    assert (first.blocks, first.is_waiting) == (tuple(sorted((second.number, third.number))), False)
    assert (middle.pid, middle.blocks, middle.is_waiting) == (second.number, (third.number,), True)


def test_a_chain_of_rows_and_tables_is_walked_to_where_it_begins(engine: Engine, mysql: Database):
    """An ALTER TABLE waits for one who waits for a row of another."""
    with session(mysql) as cursor:
        cursor.execute("CREATE TABLE items (id int PRIMARY KEY)")
    read_items = "SELECT * FROM items"
    with mysql_holder(mysql, "BEGIN", ROW), mysql_waiter(mysql, "BEGIN", read_items, ROW) as second:
        before(engine, second.number)
        with mysql_waiter(mysql, "DROP TABLE items") as third:
            first, middle = before(engine, third.number, lambda found: len(found) == 2)
    assert (first.blocks, first.is_waiting) == (tuple(sorted((second.number, third.number))), False)
    assert (middle.pid, middle.resource, middle.is_waiting) == (second.number, f"{mysql.name}.items", True)


def test_the_probe_finds_who_it_was(engine: Engine, mysql: Database):
    with mysql_holder(mysql, "BEGIN", ROW), mysql_holder(mysql, "BEGIN", OTHER_ROW):
        assert len(eventually(lambda: found if len(found := who(engine)) == 2 else [])) == 2
        [holder] = who(engine, probe="SELECT 1 FROM orders WHERE id = 2 FOR UPDATE")
    assert holder.resource == f"{mysql.name}.orders PRIMARY = 2"


def test_a_reader_that_keeps_alter_table_waiting_and_everybody_behind_it(engine: Engine, mysql: Database):
    with mysql_holder(mysql, "BEGIN", READ), mysql_waiter(mysql, ALTER) as alter:
        [holder] = before(engine, alter.number)
        with mysql_waiter(mysql, READ) as late:
            root, middle = before(engine, late.number, lambda found: len(found) == 2)
            seen = who(engine)
    assert (holder.resource, holder.mode, holder.statement) == (f"{mysql.name}.orders", "SHARED READ", READ)
    assert not holder.is_waiting
    assert (root.pid, root.blocks) == (holder.pid, tuple(sorted((alter.number, late.number))))
    assert (middle.pid, middle.blocks) == (alter.number, (late.number,))
    assert [one.pid for one in seen] == [root.pid, middle.pid]


def test_who_only_reads_the_table_is_not_said_to_keep_a_writer_waiting(engine: Engine, mysql: Database):
    with (
        mysql_holder(mysql, "BEGIN", READ),
        mysql_holder(mysql, "LOCK TABLES orders READ"),
        mysql_waiter(mysql, ROW) as writer,
    ):
        [holder] = before(engine, writer.number)
    assert holder.mode == "SHARED READ ONLY"
    assert holder.statement == "LOCK TABLES orders READ"


@pytest.mark.parametrize(
    "taken, wanted, resource, mode",
    [
        ("LOCK TABLES orders WRITE", READ, "{}.orders", "SHARED NO READ WRITE"),
        ("SELECT GET_LOCK('nightly', 0)", "SELECT GET_LOCK('nightly', 60)", "named lock nightly", "EXCLUSIVE"),
        ("FLUSH TABLES WITH READ LOCK", ROW, "all tables", "SHARED"),
        ("LOCK INSTANCE FOR BACKUP", ALTER, "all definitions of tables", "SHARED"),
    ],
)
def test_what_outlives_a_transaction_is_told_before_and_while_somebody_waits(
    engine: Engine, mysql: Database, taken: str, wanted: str, resource: str, mode: str
):
    with mysql_holder(mysql, taken):
        [holder] = eventually(lambda: who(engine))
        assert resource.format(mysql.name) in holder.resource
        assert holder.mode == mode
        assert holder.is_in_the_way
        assert holder.doing.startswith("is idle")
        assert holder.statement == taken
        with mysql_waiter(mysql, wanted) as waiter:
            [blocking] = before(engine, waiter.number)
    assert (blocking.pid, blocking.blocks) == (holder.pid, (waiter.number,))
    assert (blocking.resource, blocking.mode) == (resource.format(mysql.name), mode)


@pytest.mark.usefixtures("rolled_back")
@pytest.mark.parametrize("wanted, mode", [(ROW, "row lock, X,REC_NOT_GAP"), (ALTER, "SHARED WRITE")])
def test_a_prepared_transaction_is_told_when_its_session_has_ended(
    engine: Engine, mysql: Database, wanted: str, mode: str
):
    with mysql_holder(mysql, *PREPARED):
        pass
    [holder] = eventually(lambda: [one for one in who(engine) if one.prepared])
    assert (holder.pid, holder.resource, holder.mode) == (None, f"{mysql.name}.orders", "1 row lock")
    assert holder.doing == "is a prepared XA transaction, which belongs to no session (XA RECOVER lists it)"
    with mysql_waiter(mysql, wanted) as waiter:
        [blocking] = before(engine, waiter.number)
    assert (blocking.pid, blocking.prepared, blocking.blocks) == (None, holder.prepared, (waiter.number,))
    assert blocking.mode == mode


@pytest.mark.usefixtures("rolled_back")
@pytest.mark.parametrize("wanted", [ROW, ALTER])
def test_a_prepared_transaction_is_not_told_as_the_session_that_prepared_it(
    engine: Engine, mysql: Database, wanted: str
):
    """Ending that session would free nothing."""
    with mysql_holder(mysql, *PREPARED):
        eventually(lambda: [one for one in who(engine) if one.prepared])
        with mysql_waiter(mysql, wanted) as waiter:
            [blocking] = before(engine, waiter.number)
    assert (blocking.pid, blocking.blocks) == (None, (waiter.number,))


@pytest.mark.parametrize("driver", ["pymysql", "mysqlconnector"])
def test_a_holder_in_this_process_is_told_with_the_place_in_its_code(
    mysql: Database, engine: Engine, engine_for: MakeEngine, driver: str
):
    own = engine_for(mysql.mysql(driver))
    watch(own)
    with own.begin() as connection:
        connection.execute(text(ROW))
        [holder] = eventually(lambda: who(own))
    assert holder.is_this_process
    assert holder.began_at.endswith("in test_a_holder_in_this_process_is_told_with_the_place_in_its_code")


def test_asynchronous_code_asks_over_its_own_driver(mysql: Database, engine: Engine):
    async def ask() -> tuple[int, int]:
        own = create_async_engine(mysql.mysql("aiomysql"))
        try:
            found = await who_async(own)
            probed = await who_async(own, probe="SELECT 1 FROM orders WHERE id = 1 FOR UPDATE")
        finally:
            await own.dispose()
        return len(found), len(probed)

    with mysql_holder(mysql, "BEGIN", ROW):
        eventually(lambda: who(engine))
        assert asyncio.run(ask()) == (1, 1)


def test_an_account_that_may_see_others_and_one_that_may_not(mysql: Database, engine: Engine, engine_for: MakeEngine):
    """With a password, as MySQL 8 keeps it (caching_sha2_password)."""
    with engine.begin() as connection:
        connection.execute(text("DROP USER IF EXISTS visitor@localhost"))
        connection.execute(text("CREATE USER visitor@localhost IDENTIFIED BY 'secret'"))
        connection.execute(text(f"GRANT ALL ON {mysql.name}.* TO visitor@localhost"))
    url = mysql.mysql().set(username="visitor", password="secret")
    with mysql_holder(mysql, "BEGIN", ROW):
        [holder] = eventually(lambda: who(engine))
        with pytest.raises(WhoError, match="PROCESS"):
            who(engine_for(url))
        with engine.begin() as connection:
            connection.execute(text("GRANT PROCESS ON *.* TO visitor@localhost"))
        with pytest.raises(WhoError, match="performance_schema"):
            who(engine_for(url))
        with engine.begin() as connection:
            connection.execute(text("GRANT SELECT ON performance_schema.* TO visitor@localhost"))
        assert [one.pid for one in who(engine_for(url))] == [holder.pid]


def test_who_gives_up_is_told_who_it_was(engine: Engine, mysql: Database):
    with mysql_holder(mysql, "BEGIN", ROW), pytest.raises(DatabaseLockedError) as caught:
        run_locked(engine, lambda session: session.execute(text(f"{READ} FOR UPDATE NOWAIT")), deadline=0.5)
    assert caught.value.locked.name == "ER_LOCK_NOWAIT"
    assert [holder.statement for holder in caught.value.holders] == [ROW]
