"""The memory store keeps every promise of the protocol."""

from pathlib import Path

from holdfast.clock import Clock
from holdfast.store.memory import MemoryStore
from holdfast.testing.held_suite import HeldStoreSuite
from holdfast.testing.store_suite import StoreSuite


class TestMemoryStore(StoreSuite):
    def open_store(self, place: Path, clock: Clock) -> MemoryStore:
        return MemoryStore(clock)


class TestMemoryStoreHeld(HeldStoreSuite, TestMemoryStore):
    """With transactions that share a commit."""
