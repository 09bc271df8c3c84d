"""What power loss may take from the SQLite store, and what it must not.

Power loss is played by going back to the files as they were at the store's last fdatasync: the least
that the disk is sure to have.
"""

import os
import random
import shutil
import subprocess
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.config import Durability
from holdfast.core.paths import ROOT
from holdfast.store.protocol import StoreError
from holdfast.store.sqlite import SqliteStore
from holdfast.testing import ManualTime
from holdfast.testing.store_cases import lock_on

NAME = "locks.sqlite"


class Disk:
    """A folder, and what of it is sure to survive."""

    def __init__(self, folder: Path) -> None:
        self.live = folder / "live"
        self.sure = folder / "sure"
        self.live.mkdir()
        self.sure.mkdir()
        self.time = ManualTime()
        self.syncs = 0

    def sync(self, file: int) -> None:
        self.syncs += 1
        # By another process: SQLite's locks in this one would not outlive our closing the files.
        subprocess.run(["cp", self.live / NAME, self.live / f"{NAME}-wal", self.sure], check=True)

    def open(self, durability: Durability) -> SqliteStore:
        return SqliteStore(self.live / NAME, clock=self.time.clock(), durability=durability)

    def lose_power(self) -> None:
        shutil.rmtree(self.live)
        shutil.copytree(self.sure, self.live)
        self.time.pass_by(timedelta(minutes=1))
        # Each start a little earlier than the last: that is how the clock tells a restart on one machine.
        self.time.uptime_us = min(self.time.uptime_us - 60_000_000, 1_000_000) - 1


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(tmp_path)
    monkeypatch.setattr(os, "fdatasync", disk.sync)
    return disk


@pytest.mark.parametrize("seed", range(3))
def test_no_fencing_token_is_given_twice_through_power_losses_and_changes_of_durability(disk: Disk, seed: int) -> None:
    chance = random.Random(seed)
    given: list[int] = []
    for _ in range(6):
        durability = chance.choice(list(Durability))
        with disk.open(durability) as store:
            for _ in range(chance.randrange(1, 4)):
                many = chance.choice([1, 5, 3000, 4096, 5000])
                with store.write() as tx:
                    minted = [tx.mint_fencing_token() for _ in range(many)]
                store.sync()
                given += minted
            # Committed, but nobody was told.
            with store.write() as tx:
                tx.insert(lock_on(tx, "/a", lock_id=str(len(given)), fencing_token=0))
        if chance.random() < 0.7:
            disk.lose_power()
    assert given == sorted(set(given))


def test_two_stores_do_not_trust_a_reserve_that_the_other_has_not_seen_on_disk(disk: Disk) -> None:
    with disk.open(Durability.CRASH) as store, disk.open(Durability.CRASH) as other:
        with store.write() as tx:
            tx.mint_fencing_token()
        syncs = disk.syncs
        with other.write() as tx:
            tx.mint_fencing_token()
        assert disk.syncs == syncs + 1
        for each in (store, other):
            with each.write() as tx:
                tx.mint_fencing_token()
        assert disk.syncs == syncs + 1


def test_fencing_tokens_for_crash_durability_wait_for_the_disk_once_in_thousands(disk: Disk) -> None:
    with disk.open(Durability.CRASH) as store:
        for _ in range(300):
            with store.write() as tx:
                tx.mint_fencing_token()
        assert disk.syncs == 1
        assert not store.has_unsynced
        store.sync()
        assert disk.syncs == 1


def test_what_was_synced_survives_power_loss(disk: Disk) -> None:
    with disk.open(Durability.POWER) as store:
        for number in range(20):
            with store.write() as tx:
                tx.insert(lock_on(tx, f"/{number}"))
            assert store.has_unsynced
            if number == 15:
                store.sync()
                assert not store.has_unsynced
        disk.lose_power()
    with disk.open(Durability.POWER) as store, store.read() as tx:
        assert tx.count_locks() == len(tx.locks_below(ROOT)) == 16


def test_a_sync_with_nothing_new_costs_nothing(disk: Disk) -> None:
    with disk.open(Durability.POWER) as store:
        store.sync()
        with store.write() as tx:
            tx.count_locks()
        with store.read() as tx:
            tx.count_locks()
        assert not store.has_unsynced
        store.sync()
    assert disk.syncs == 0


def test_many_callers_share_one_trip_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, may_end = threading.Event(), threading.Event()
    syncs: list[int] = []

    def slow_sync(file: int) -> None:
        syncs.append(file)
        started.set()
        may_end.wait(10)

    monkeypatch.setattr(os, "fdatasync", slow_sync)
    with SqliteStore(tmp_path / NAME, durability=Durability.POWER) as store:
        committed = threading.Barrier(9)

        def commit(number: int) -> None:
            with store.write() as tx:
                tx.insert(lock_on(tx, f"/{number}"))

        def commit_and_sync(number: int) -> None:
            commit(number)
            committed.wait(10)
            store.sync()

        def lead() -> None:
            commit(100)
            store.sync()

        leader = threading.Thread(target=lead)
        leader.start()
        assert started.wait(10)
        # All of these commit while the first fsync is on its way, so it does not cover them: one more does.
        followers = [threading.Thread(target=commit_and_sync, args=(number,)) for number in range(8)]
        for thread in followers:
            thread.start()
        committed.wait(10)
        assert store.has_unsynced
        may_end.set()
        for thread in (leader, *followers):
            thread.join(10)
        assert len(syncs) == 2
        assert not store.has_unsynced


def test_after_a_failed_fsync_nothing_is_called_durable_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: int) -> None:
        raise OSError(5, "Input/output error")

    with SqliteStore(tmp_path / NAME, durability=Durability.POWER) as store:
        with store.write() as tx:
            tx.insert(lock_on(tx, "/a"))
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", fail)
            with pytest.raises(StoreError, match="Input/output error"):
                store.sync()
        with pytest.raises(StoreError, match="restart Holdfast"):
            store.sync()
        assert store.has_unsynced
