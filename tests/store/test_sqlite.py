"""The SQLite store keeps every promise of the protocol, in both durabilities."""

from pathlib import Path

from holdfast.clock import Clock
from holdfast.config import Durability
from holdfast.store.sqlite import SqliteStore
from holdfast.testing.held_suite import HeldStoreSuite
from holdfast.testing.store_suite import StoreSuite


class TestSqliteStoreForPower(StoreSuite):
    shared = True
    reads_during_writes = True

    def open_store(self, place: Path, clock: Clock) -> SqliteStore:
        return SqliteStore(place / "locks.sqlite", clock=clock, durability=Durability.POWER)


class TestSqliteStoreForCrash(StoreSuite):
    shared = True
    reads_during_writes = True

    def open_store(self, place: Path, clock: Clock) -> SqliteStore:
        return SqliteStore(place / "locks.sqlite", clock=clock, durability=Durability.CRASH)


class TestSqliteStoreForPowerHeld(HeldStoreSuite, TestSqliteStoreForPower):
    """With transactions that share a commit."""


class TestSqliteStoreForCrashHeld(HeldStoreSuite, TestSqliteStoreForCrash):
    """With transactions that share a commit."""
