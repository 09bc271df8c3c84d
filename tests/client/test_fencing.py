"""Fencing at the resource: a lower token than one that was seen is refused, in memory and in a database."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.client.fencing import FencingGuard, StaleTokenError


@pytest.fixture(params=["memory", "sqlite"])
def guard(request: pytest.FixtureRequest) -> Iterator[FencingGuard]:
    if request.param == "memory":
        yield FencingGuard()
        return
    with closing(sqlite3.connect(":memory:")) as connection:
        guard = FencingGuard(connection)
        guard.create_table()
        yield guard


def test_tokens_may_rise_and_repeat_but_not_fall(guard: FencingGuard) -> None:
    for token in (3, 3, 7, 7):
        guard.check("/a", token)
    for token in (6, 1, 0, -1):
        with pytest.raises(StaleTokenError) as caught:
            guard.check("/a", token)
        assert (caught.value.token, caught.value.highest) == (token, 7)
    assert guard.highest("/a") == 7


def test_resources_are_apart(guard: FencingGuard) -> None:
    guard.check("/a", 9)
    guard.check("/b", 1)
    assert (guard.highest("/a"), guard.highest("/b"), guard.highest("/c")) == (9, 1, None)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5)), max_size=30))
def test_the_database_agrees_with_the_memory(writes: list[tuple[str, int]]) -> None:
    memory = FencingGuard()
    with closing(sqlite3.connect(":memory:")) as connection:
        kept = FencingGuard(connection)
        kept.create_table()
        for resource, token in writes:
            outcomes: list[bool] = []
            for guard in (memory, kept):
                try:
                    guard.check(resource, token)
                except StaleTokenError:
                    outcomes.append(False)
                else:
                    outcomes.append(True)
            assert outcomes[0] == outcomes[1]
        assert [memory.highest(name) for name in "ab"] == [kept.highest(name) for name in "ab"]


def test_a_write_that_is_rolled_back_leaves_no_token(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        guard = FencingGuard(connection)
        guard.create_table()
        with connection:
            guard.check("/a", 3)
        with pytest.raises(ZeroDivisionError), connection:  # noqa: PT012 - the block is what is tested
            guard.check("/a", 9)
            raise ZeroDivisionError
        guard.check("/a", 4)


def test_of_writers_that_race_none_ends_below_one_that_came_before(tmp_path: Path) -> None:
    """Each writes its token under the guard, in one transaction; the history of what was written never falls."""
    path = tmp_path / "db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE history (number INTEGER PRIMARY KEY, token INTEGER)")
        FencingGuard(connection).create_table()
        connection.commit()

    def write(worker: int) -> None:
        with closing(sqlite3.connect(path, timeout=60)) as own:
            guard = FencingGuard(own)
            for step in range(30):
                token = step * 4 + (worker * 7 + step) % 4
                try:
                    with own:
                        own.execute("BEGIN IMMEDIATE")
                        guard.check("/a", token)
                        own.execute("INSERT INTO history (token) VALUES (?)", (token,))
                except StaleTokenError:
                    continue

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    with closing(sqlite3.connect(path)) as connection:
        written = [token for (token,) in connection.execute("SELECT token FROM history ORDER BY number")]
    assert written == sorted(written)
    assert written


def test_the_example_of_the_page_about_fencing_keeps_its_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "fencing.md").read_text()
    [block] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(block, "fencing.md", "exec"), names)
    try:
        outcomes = [names["write"]("1", balance, token) for balance, token in ((120, 4), (110, 3), (130, 5), (140, 5))]
        assert outcomes == [True, False, True, True]
        assert names["connection"].execute("SELECT balance FROM accounts").fetchall() == [(140,)]
    finally:
        names["connection"].close()


def test_in_memory_nobody_gets_between_the_check_and_the_write() -> None:
    guard = FencingGuard()
    written: list[int] = []
    inside, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        with guard.admitting("/a", 1):
            inside.set()
            go_on.wait(20)
            written.append(1)

    def quick() -> None:
        with guard.admitting("/a", 2):
            written.append(2)

    threads = [threading.Thread(target=slow), threading.Thread(target=quick)]
    threads[0].start()
    inside.wait(20)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert written == [1, 2]
    with pytest.raises(StaleTokenError), guard.admitting("/a", 1):
        written.append(1)


@pytest.mark.parametrize("table", ["", "a b", "x; DROP TABLE y", "1a", '"a"'])
def test_a_table_is_a_plain_name(table: str) -> None:
    with pytest.raises(ValueError, match="no name of a table"):
        FencingGuard(table=table)


def test_an_unknown_paramstyle_is_refused() -> None:
    with pytest.raises(ValueError, match="paramstyle"):
        FencingGuard(paramstyle="dollar")
