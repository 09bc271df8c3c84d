"""who(engine) on a real PostgreSQL: the session at the root of the queue, the prepared transaction, the one that sits idle."""

from __future__ import annotations

import asyncio
import os

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from holdfast.databases.classify import classify
from holdfast.databases.holders import UnreachableDatabaseError, WhoError
from holdfast.databases.watching import watch
from holdfast.databases.who import who, who_async
from tests.databases.servers import Database
from tests.databases.sessions import eventually, postgres_holder, postgres_waiter

pytestmark = pytest.mark.process

ROW = "UPDATE orders SET n = n + 1 WHERE id = 1"
OTHER_ROW = "UPDATE orders SET n = n + 1 WHERE id = 2"


@pytest.fixture(name="engine")
def make_engine(postgres_engine: Engine) -> Engine:
    with postgres_engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id int PRIMARY KEY, n int)"))
        connection.execute(text("INSERT INTO orders VALUES (1, 0), (2, 0)"))
    return postgres_engine


def test_nobody_holds_a_database_at_rest(engine: Engine):
    assert who(engine) == []


def test_who_sits_idle_on_a_row_is_told_before_anybody_waits(engine: Engine, postgres: Database):
    with postgres_holder(postgres, ROW):
        [holder] = who(engine)
    assert holder.is_in_the_way
    assert (holder.user, holder.program, holder.state) == ("postgres", "reports", "idle in transaction")
    assert (holder.resource, holder.mode) == ("orders", "ROW EXCLUSIVE")
    assert holder.statement == ROW
    assert holder.held_s is not None
    assert 0 <= holder.held_s < 60
    assert not holder.is_this_process
    assert f"{holder.pid} (postgres, reports): is idle in a transaction" in str(holder)


def test_whose_rows_nobody_waits_for_is_a_probable_holder(engine: Engine, postgres: Database):
    with postgres_holder(postgres, ROW):
        [holder] = who(engine)
        with postgres_waiter(postgres, ROW):
            [waited_for] = eventually(lambda: [one for one in who(engine) if one.blocks])
    assert not holder.is_certain
    assert holder.note == "probably has open changes in orders; which rows is told only while somebody waits for one"
    assert (waited_for.is_certain, waited_for.note) == (True, "")


@pytest.mark.parametrize(
    ("statement", "note"),
    [
        ("SELECT 1 FROM orders WHERE id = 1 FOR UPDATE", "probably has locked rows of orders; "),
        ("UPDATE orders SET n = 0 WHERE id = 99", "has neither changed nor locked a row yet"),
        ("LOCK TABLE orders", ""),
        ("SELECT pg_advisory_lock(1)", ""),
        ("SELECT * FROM orders", ""),
    ],
)
def test_what_is_held_for_certain_and_what_is_not(engine: Engine, postgres: Database, statement: str, note: str):
    with postgres_holder(postgres, statement):
        [holder] = who(engine)
    assert holder.is_certain == (not note)
    assert holder.note.startswith(note)
    assert bool(holder.note) == bool(note)


def test_a_role_that_may_not_see_others_is_told_of_them_all_the_same(engine: Engine, postgres: Database):
    """It sees their locks, not whether they are idle: to say that nobody holds anything would be wrong."""
    with engine.begin() as connection:
        connection.execute(text("CREATE ROLE nobody_much LOGIN"))
    try:
        with postgres_holder(postgres, ROW), postgres_holder(postgres, "SELECT * FROM orders"):
            [holder] = who(postgres.postgres().set(username="nobody_much"))
    finally:
        with engine.begin() as connection:
            connection.execute(text("DROP ROLE nobody_much"))
    assert (holder.is_in_the_way, holder.is_certain, holder.statement) == (True, False, "")
    assert holder.doing == "holds a lock"
    assert holder.note.endswith("what it does may be seen with GRANT pg_read_all_stats")


def test_a_table_is_found_as_postgresql_finds_it(engine: Engine, postgres: Database):
    with postgres_holder(postgres, ROW):
        assert [len(who(engine, table=name)) for name in ("orders", "Orders", "public.orders")] == [1, 1, 1]
    with pytest.raises(WhoError, match="There is no table"):
        who(engine, table='"Orders"')


def test_who_has_only_read_is_in_nobodys_way(engine: Engine, postgres: Database):
    with postgres_holder(postgres, "SELECT * FROM orders"):
        [holder] = who(engine)
    assert not holder.is_in_the_way
    assert (holder.resource, holder.mode) == ("orders", "ACCESS SHARE")


def test_the_holder_of_the_row_that_somebody_waits_for(engine: Engine, postgres: Database):
    with postgres_holder(postgres, ROW), postgres_waiter(postgres, ROW) as waiter:
        holders = eventually(lambda: [holder for holder in who(engine) if holder.blocks])
    [holder] = holders
    assert holder.blocks == (waiter.number,)
    assert (holder.resource, holder.mode) == ("row (0,1) of orders", "row lock")


def test_a_chain_is_walked_to_where_it_begins(engine: Engine, postgres: Database):
    """The first holds row 1, the second row 2 and waits for row 1, the third waits for row 2: the first one keeps both waiting."""
    chain = f"DO $$ BEGIN {OTHER_ROW}; {ROW}; END $$"
    with postgres_holder(postgres, ROW), postgres_waiter(postgres, chain) as second:
        eventually(lambda: [holder for holder in who(engine) if holder.blocks])
        with postgres_waiter(postgres, OTHER_ROW) as third:
            found = eventually(lambda: [one for one in who(engine, waiter=third.number) if len(one.blocks) == 2])
            everybody = who(engine)
    assert [one.program for one in found] == ["reports"]
    first, middle = everybody
    assert (first.program, first.blocks, first.is_waiting) == (
        "reports",
        tuple(sorted((second.number, third.number))),
        False,
    )
    assert (middle.pid, middle.blocks, middle.is_waiting) == (second.number, (third.number,), True)
    assert middle.doing == "waits itself"


def test_who_stands_before_one_in_the_queue_is_not_taken_for_the_holder(engine: Engine, postgres: Database):
    """ALTER TABLE waits for a reader, and a new reader waits behind it: the root is the reader that has not ended."""
    with postgres_holder(postgres, "SELECT * FROM orders"):
        with postgres_waiter(postgres, "ALTER TABLE orders ADD COLUMN x int") as alter:
            eventually(lambda: [one for one in who(engine) if one.blocks])
            with postgres_waiter(postgres, "SELECT * FROM orders") as reader:
                root, *behind = eventually(lambda: who(engine, waiter=reader.number))
    assert (root.program, root.is_waiting, root.mode) == ("reports", False, "ACCESS SHARE")
    assert root.is_in_the_way
    assert [(one.pid, one.is_waiting) for one in behind] == [(alter.number, True)]


def test_a_prepared_transaction_holds_without_a_session(engine: Engine, postgres: Database):
    with postgres_holder(postgres, ROW, "PREPARE TRANSACTION 'nightly 7'"):
        pass
    [holder] = who(engine)
    assert (holder.pid, holder.prepared, holder.id) == (None, "nightly 7", "prepared:nightly 7")
    assert holder.is_in_the_way
    assert "orders" in holder.resource
    with postgres_waiter(postgres, ROW) as waiter:
        [holder] = eventually(lambda: who(engine, waiter=waiter.number))
    assert (holder.prepared, holder.blocks) == ("nightly 7", (waiter.number,))


def test_with_nowait_nobody_waits_and_the_probe_finds_who_it_was(engine: Engine, postgres: Database):
    """An active session is in nobody's way as far as the views tell; the probe waits on purpose and sees."""
    with postgres_holder(postgres, ROW), postgres_holder(postgres, OTHER_ROW):
        with engine.connect() as connection, pytest.raises(DBAPIError) as caught:
            connection.execute(text("SELECT 1 FROM orders WHERE id = 2 FOR UPDATE NOWAIT"))
        assert classify(caught.value) is not None
        assert len(who(engine)) == 2
        [holder] = who(engine, probe="SELECT ' :x %s' FROM orders WHERE id % 10 = 2 AND id = 2 FOR UPDATE")
    assert holder.statement == OTHER_ROW


def test_a_probe_that_need_not_wait_changes_nothing(engine: Engine):
    assert who(engine, probe="UPDATE orders SET n = 99") == []
    with engine.connect() as connection:
        assert connection.execute(text("SELECT max(n) FROM orders")).scalar_one() == 0


def test_a_probe_that_is_wrong_says_so(engine: Engine):
    with pytest.raises(DBAPIError, match="nosuch"):
        who(engine, probe="SELECT 1 FROM nosuch FOR UPDATE")


def test_a_table_narrows_it_and_shows_those_at_work_too(engine: Engine, postgres: Database):
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE others (id int)"))
    with postgres_holder(postgres, ROW), postgres_holder(postgres, "LOCK TABLE others"):
        [holder] = who(engine, table="others")
        with postgres_waiter(postgres, "INSERT INTO orders VALUES (3, 0); SELECT pg_sleep(60)") as busy:
            found = eventually(lambda: [one for one in who(engine, table="orders") if one.pid == busy.number])
            assert busy.number not in {one.pid for one in who(engine)}
    assert (holder.resource, holder.mode) == ("others", "ACCESS EXCLUSIVE")
    assert found[0].doing == "is running a statement"


def test_an_advisory_lock_has_its_number(engine: Engine, postgres: Database):
    with postgres_holder(postgres, "SELECT pg_advisory_lock(4230000000423)"):
        with postgres_waiter(postgres, "SELECT pg_advisory_lock(4230000000423)") as waiter:
            [holder] = eventually(lambda: who(engine, waiter=waiter.number))
    assert holder.resource == "advisory lock 4230000000423"


def test_a_holder_in_this_process_is_told_with_the_place_in_its_code(engine: Engine):
    watch(engine)
    with Session(engine) as session:
        session.execute(text(ROW))
        [holder] = who(session)
    assert holder.is_this_process
    assert f"{os.path.basename(__file__)}:" in holder.began_at
    assert holder.began_at.endswith("in test_a_holder_in_this_process_is_told_with_the_place_in_its_code")
    assert who(engine) == []


def test_a_pool_that_is_used_up_and_a_transaction_that_failed_are_no_hindrance(postgres: Database, engine: Engine):
    narrow = create_engine(postgres.postgres(), poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=1)
    with postgres_holder(postgres, ROW), narrow.connect() as connection:
        with pytest.raises(DBAPIError):
            connection.execute(text("SELECT 1 FROM orders FOR UPDATE NOWAIT"))
        assert [one.program for one in who(connection)] == ["reports"]
    narrow.dispose()


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_url_will_do(engine: Engine, postgres: Database, driver: str):
    with postgres_holder(postgres, ROW):
        url = postgres.postgres(driver).render_as_string(hide_password=False)
        assert [one.program for one in who(url)] == ["reports"]


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_asynchronous_code_asks_over_its_own_driver(engine: Engine, postgres: Database, driver: str):
    async def ask() -> tuple[list[str], list[str], str]:
        own = create_async_engine(postgres.postgres(driver))
        watch(own)
        try:
            found = await who_async(own)
            probed = await who_async(own, probe="SELECT 1 FROM orders WHERE id = 1 FOR UPDATE")
            async with own.begin() as connection:
                await connection.execute(text(OTHER_ROW))
                [mine] = [one for one in await who_async(own) if one.is_this_process]
        finally:
            await own.dispose()
        return [one.program for one in found], [one.program for one in probed], mine.began_at

    with postgres_holder(postgres, ROW):
        found, probed, place = asyncio.run(ask())
    assert (found, probed) == (["reports"], ["reports"])
    assert place.endswith(".ask")
    assert os.path.basename(__file__) in place


def test_a_synchronous_question_about_an_asynchronous_url_takes_another_driver(engine: Engine, postgres: Database):
    with postgres_holder(postgres, ROW):
        assert [one.program for one in who(postgres.postgres("asyncpg"))] == ["reports"]


def test_what_cannot_be_reached_is_said_without_the_password():
    with pytest.raises(UnreachableDatabaseError, match=r"postgresql.*cannot be reached") as caught:
        who("postgresql+psycopg://ada:secret@127.0.0.1:1/app")
    assert "secret" not in str(caught.value)


def test_a_database_that_cannot_be_asked_is_named():
    with pytest.raises(WhoError, match="oracle"):
        who("oracle+oracledb://somewhere/app")
