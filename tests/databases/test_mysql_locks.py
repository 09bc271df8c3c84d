"""Who waits for whom over metadata locks, by the rows of MySQL; what the real servers tell is in test_who_mysql.py and test_who_mariadb.py."""

from __future__ import annotations

import pytest

from holdfast.databases.who.mysql import holders_of
from holdfast.databases.who.mysql_locks import Session, TableLock, Transaction, Wait, metadata_waits, with_prepared


def lock(session: int, mode: str, name: str = "orders", *, kind: str = "TABLE", granted: bool = True) -> TableLock:
    return TableLock(session=session, mode=mode, kind=kind, schema="app" if name else "", name=name, granted=granted)


def waited_for(*locks: TableLock) -> set[tuple[int, int]]:
    """The pairs of who waits and for whom."""
    sessions = [Session(id=number, command="Query") for number in {one.session for one in locks}]
    return {(wait.waiter, wait.holder) for wait in metadata_waits(sessions, locks, [])}


def test_a_pending_lock_names_what_is_waited_for():
    sessions = [
        Session(id=7, user="ada", command="Sleep"),
        Session(id=8, command="Query", state="Waiting for table metadata lock", statement="DROP TABLE x"),
    ]
    locks = [
        lock(7, "SHARED_READ"),
        lock(7, "SHARED_READ", "others"),
        lock(8, "EXCLUSIVE", granted=False),
    ]
    [wait] = metadata_waits(sessions, locks, [])
    assert (wait.waiter, wait.holder, wait.resource, wait.mode) == (8, 7, "app.orders", "SHARED READ")
    [holder] = holders_of(sessions, [], [wait], locks)
    assert (holder.pid, holder.user, holder.blocks) == (7, "ada", (8,))


@pytest.mark.parametrize(
    "wanted, blocking",
    [
        ("SHARED_READ", {"SHARED_NO_READ_WRITE", "EXCLUSIVE"}),
        ("SHARED_WRITE", {"SHARED_READ_ONLY", "SHARED_NO_WRITE", "SHARED_NO_READ_WRITE", "EXCLUSIVE"}),
        ("SHARED_READ_ONLY", {"SHARED_WRITE", "SHARED_NO_READ_WRITE", "EXCLUSIVE"}),
    ],
)
def test_only_whom_it_does_not_go_with_keeps_it_waiting(wanted: str, blocking: set[str]):
    modes = ["SHARED_READ", "SHARED_WRITE", "SHARED_READ_ONLY", "SHARED_NO_WRITE", "SHARED_NO_READ_WRITE", "EXCLUSIVE"]
    held = dict(enumerate(modes, start=10))
    found = waited_for(lock(1, wanted, granted=False), *(lock(number, mode) for number, mode in held.items()))
    assert {held[holder] for _, holder in found} == blocking


def test_a_reader_waits_for_the_alter_table_that_waits_for_another_reader():
    found = waited_for(
        lock(7, "SHARED_READ"),
        lock(8, "SHARED_UPGRADABLE"),
        lock(8, "EXCLUSIVE", granted=False),
        lock(9, "SHARED_READ", granted=False),
    )
    assert found == {(8, 7), (9, 8)}


def test_two_alter_tables_do_not_wait_for_each_other():
    found = waited_for(
        lock(7, "SHARED_READ"),
        lock(8, "EXCLUSIVE", granted=False),
        lock(9, "EXCLUSIVE", granted=False),
    )
    assert found == {(8, 7), (9, 7)}


def test_writers_that_go_on_keep_no_other_writer_waiting_for_the_global_read_lock():
    found = waited_for(
        lock(7, "SHARED", "", kind="GLOBAL"),
        lock(8, "INTENTION_EXCLUSIVE", "", kind="GLOBAL"),
        lock(9, "INTENTION_EXCLUSIVE", "", kind="GLOBAL", granted=False),
    )
    assert found == {(9, 7)}


def test_a_mode_that_is_not_known_may_be_kept_waiting_by_any():
    assert waited_for(lock(7, "SHARED_READ"), lock(8, "SOMETHING_NEW", granted=False)) == {(8, 7)}


def test_a_transaction_without_a_session_is_known_by_its_number():
    wait = Wait(waiter=8, holder=0, holder_trx="421", resource="app.orders")
    [holder] = holders_of([Session(id=8)], [Transaction(id="421", session=0)], [wait])
    assert (holder.pid, holder.prepared, holder.blocks) == (None, "421", (8,))


def test_a_table_of_the_session_itself_is_not_said_to_be_of_a_prepared_transaction():
    locks = [lock(number, "SHARED_WRITE") for number in (7, 8, 0)]
    transactions = [Transaction(id="12", session=0), Transaction(id="13", session=8)]
    found = with_prepared(locks, transactions, {("app", "orders"): ["12"]})
    assert [one.holder for one in found] == ["12", 8]
    assert [one.holder for one in with_prepared(locks, transactions, {})] == [7, 8]


def test_a_session_that_ended_while_it_was_looked_at_is_not_said_to_be_a_prepared_transaction():
    [holder] = holders_of([Session(id=8)], [], [Wait(waiter=8, holder=7, resource="app.orders")])
    assert (holder.pid, holder.prepared, holder.doing) == (7, "", "is beginning or ending")
