"""`/healthz` and `/readyz`: alive, and able to work."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.files import Folder
from holdfast.readiness import OK, Readiness
from holdfast.store.memory import MemoryStore
from holdfast.store.protocol import StoreError, StoreFullError
from holdfast.store.sqlite import SqliteStore
from tests.serving import serving


def test_a_server_in_order_is_alive_and_ready_without_credentials(tmp_path: Path):
    with serving(tmp_path) as served:
        alive, ready = served.anonymous.get("/healthz"), served.anonymous.get("/readyz")
        assert (alive.status, ready.status) == (200, 200)
        assert json.loads(ready.body)["parts"] == {"store": "ok", "changes": "ok", "folder": "ok"}
        assert ready["Cache-Control"] == "no-store"
        assert served.anonymous.request("HEAD", "/readyz").status == 200
        assert served.anonymous.request("DELETE", "/readyz").status == 405
        assert served.anonymous.request("POST", "/healthz", b"x" * 100_000).status in {405, 415}
        assert served.anonymous.get("/readyz/more").status == 404


def test_what_is_at_fault_is_named_and_nothing_of_the_machine_is_told(tmp_path: Path):
    served_folder, state = tmp_path / "documents", tmp_path / "state"
    served_folder.mkdir()
    state.mkdir()
    with serving(served_folder, state=state) as served:
        os.rename(served_folder, tmp_path / "gone")
        answer = served.anonymous.get("/readyz")
        assert answer.status == 503
        assert answer["Content-Type"] == "application/problem+json"
        assert answer["Retry-After"] == "1"
        told = json.loads(answer.body)
        assert told["type"] == "urn:problem-type:holdfast:not-ready"
        assert told["parts"]["folder"] != "ok"
        assert told["parts"]["store"] == "ok"
        assert str(tmp_path) not in answer.body.decode()
        assert served.anonymous.get("/healthz").status == 200


def test_a_store_in_which_nothing_can_be_changed_is_not_ready(tmp_path: Path):
    """Another process holds the database's write lock; reading goes on."""
    with (
        SqliteStore(tmp_path / "locks.db", busy_limit_s=0.05) as store,
        Folder(tmp_path, state=tmp_path) as folder,
        closing(sqlite3.connect(tmp_path / "locks.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        found = Readiness(store, folder, tmp_path).look()
        assert found.parts == {"store": OK, "changes": "nothing can be changed", "folder": OK}
        assert not found.is_ready
        other.execute("ROLLBACK")
        assert Readiness(store, folder, tmp_path).look().is_ready


class Troubled(MemoryStore):
    """A store whose changes fail as they are told to."""

    trouble: StoreError | None = None
    tries = 0

    def write(self):
        self.tries += 1
        if self.trouble is not None:
            raise self.trouble
        return super().write()


@pytest.fixture
def folder(tmp_path: Path):
    with Folder(tmp_path) as folder:
        yield folder


def test_a_full_disk_is_said_to_be(folder: Folder, tmp_path: Path):
    store = Troubled()
    store.trouble = StoreFullError("the disk is full")
    assert Readiness(store, folder, tmp_path).look().parts["changes"] == "the disk is full"


def test_what_is_found_stands_for_a_second(folder: Folder, tmp_path: Path):
    store, now = Troubled(), [100.0]
    readiness = Readiness(store, folder, tmp_path, tick=lambda: now[0])
    for _ in range(50):
        assert readiness.look().is_ready
    assert store.tries == 1
    store.trouble = StoreError("broken")
    now[0] += 1.1
    assert not readiness.look().is_ready
    assert store.tries == 2


def test_a_look_that_takes_long_holds_nobody_up(folder: Folder, tmp_path: Path):
    began, go_on = threading.Event(), threading.Event()

    class Slow(MemoryStore):
        def write(self):
            began.set()
            assert go_on.wait(30)
            return super().write()

    now = [100.0]
    readiness = Readiness(Slow(), folder, tmp_path, tick=lambda: now[0])
    looking = threading.Thread(target=readiness.look)
    looking.start()
    assert began.wait(30)
    assert not readiness.look().is_ready
    go_on.set()
    looking.join(30)
    assert readiness.look().is_ready
