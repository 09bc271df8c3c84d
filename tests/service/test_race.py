"""However many ask for one resource at once, exactly one is granted it, and all others are told whose it is."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from holdfast.clock import Clock
from holdfast.core.model import EventKind
from holdfast.core.paths import ROOT
from holdfast.store.memory import MemoryStore
from holdfast.store.protocol import Store
from tests.service.contender import Result, compete, open_shared, service_on
from tests.service.race_process import take_part


def check(store: Store, by_contender: list[list[Result]], rounds: int) -> None:
    fencing_tokens: list[int] = []
    for seen in zip(*by_contender, strict=True):
        winners = [result for result in seen if result[0]]
        assert len(winners) == 1, seen
        # Losers were told of the very lock that won.
        assert {result[1:] for result in seen} == {winners[0][1:]}
        fencing_tokens.append(winners[0][2])
    assert len(fencing_tokens) == rounds
    assert fencing_tokens == sorted(set(fencing_tokens))
    with store.read() as tx:
        assert tx.locks_below(ROOT) == []
        kinds = [event.kind for event in tx.events_after(0, 10 * rounds)]
    assert kinds == [EventKind.GRANTED, EventKind.RELEASED] * rounds


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_of_eight_threads_exactly_one_wins_each_of_200_rounds(kind: str, tmp_path: Path):
    contenders, rounds = 8, 200
    barrier = threading.Barrier(contenders)

    def run(number: int, store: Store) -> list[Result]:
        try:
            return compete(service_on(store), "c" * (number + 1), rounds, lambda: barrier.wait(60))
        except BaseException:
            barrier.abort()
            raise

    with MemoryStore(clock=Clock()) if kind == "memory" else open_shared(tmp_path / "holdfast.db") as store:
        with ThreadPoolExecutor(contenders) as pool:
            futures = [pool.submit(run, number, store) for number in range(contenders)]
            results = [future.result() for future in futures]
        check(store, results, rounds)


@pytest.mark.process
def test_of_four_processes_exactly_one_wins_each_of_150_rounds(tmp_path: Path):
    contenders, rounds = 4, 150
    file = tmp_path / "holdfast.db"
    spawn = multiprocessing.get_context("spawn")
    barrier, queue = spawn.Barrier(contenders), spawn.Queue()
    processes = [
        spawn.Process(target=take_part, args=(str(file), "c" * (number + 1), rounds, barrier, queue))
        for number in range(contenders)
    ]
    for process in processes:
        process.start()
    try:
        results = [queue.get(timeout=90) for _ in processes]
    finally:
        for process in processes:
            process.join(10)
            process.kill()
            process.join()
        queue.close()
        queue.join_thread()
    assert [process.exitcode for process in processes] == [0] * contenders
    with open_shared(file) as store:
        check(store, results, rounds)
