"""Many client processes want one resource at once: exactly one is granted it, and the others are told whose it is."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest

from holdfast.core.model import EventKind
from tests.serving import Answer
from tests.survival.processes import USERS, KeptClient, ServerProcess, events_of

ROUNDS = 100
THREADS = 2  # in each of the four client processes, both of one user
CONTENDERS = THREADS * len(USERS)
HOLDER = ".//{*}holder"

pytestmark = [pytest.mark.process]


class Seen(NamedTuple):
    """What one contender got: a status, its scope, and, when it lost, the names of those it was told of."""

    name: str
    scope: str
    status: int
    told: frozenset[str]


class Ask(NamedTuple):
    """What a contender asks for in a round."""

    target: str
    scope: str = "exclusive"
    depth: str = "0"


def one_document(_number: int, _who: int) -> Ask:
    return Ask("/dav/doc")


def unmapped(number: int, _who: int) -> Ask:
    return Ask(f"/dav/new/{number}")


def tree_against_member(_number: int, who: int) -> Ask:
    return Ask("/dav/coll/", depth="infinity") if who % 2 else Ask("/dav/coll/doc")


def shared_against_exclusive(_number: int, who: int) -> Ask:
    return Ask("/dav/doc", "exclusive" if who % 4 == 0 else "shared")


_start: Barrier
"""In a client process: where all contenders meet."""


def meet_at(barrier: Barrier) -> None:
    """Begin a client process."""
    global _start  # noqa: PLW0603 - a barrier is handed to a process at its birth, or not at all
    _start = barrier


def take_part(
    address: tuple[str, int], authorization: str, name: str, first: int, what: Callable[[int, int], Ask]
) -> list[list[Seen]]:
    """A client process: THREADS contenders, each with a connection of its own."""
    with ThreadPoolExecutor(THREADS) as pool:
        runs = [
            pool.submit(compete, KeptClient(address, authorization), name, first + thread, what)
            for thread in range(THREADS)
        ]
        return [run.result() for run in runs]


def compete(client: KeptClient, name: str, who: int, what: Callable[[int, int], Ask]) -> list[Seen]:
    seen: list[Seen] = []
    try:
        for number in range(ROUNDS):
            ask = what(number, who)
            _start.wait(60)
            answer = client.lock(ask.target, ask.scope, ask.depth, accept="application/problem+json")
            seen.append(Seen(name, ask.scope, answer.status, told_of(answer)))
            _start.wait(60)
            if answer.status in {200, 201}:
                assert client.unlock(ask.target, answer.token) == 204
    except BaseException:
        _start.abort()
        raise
    finally:
        client.close()
    return seen


def told_of(answer: Answer) -> frozenset[str]:
    if answer.status == 423:
        return frozenset(lock["holder"]["name"] for lock in json.loads(answer.body)["locks"])
    if answer.status == 207:  # a lock on a member stands in the way of one on the tree (RFC 4918 section 9.10.3)
        return frozenset("".join(holder.itertext()).strip() for holder in ET.fromstring(answer.body).iterfind(HOLDER))
    return frozenset()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("what", [one_document, unmapped, tree_against_member, shared_against_exclusive])
def test_of_eight_contenders_exactly_one_wins_each_round_and_the_others_learn_who(
    tmp_path: Path, what: Callable[[int, int], Ask], workers: str
) -> None:
    for name in ("new", "coll"):
        (tmp_path / "served" / name).mkdir(parents=True)
    for name in ("doc", "coll/doc"):
        (tmp_path / "served" / name).write_text("text")
    spawn = multiprocessing.get_context("spawn")
    flags = ("--workers", workers, "--durability", "crash")
    with ServerProcess.start(tmp_path / "served", tmp_path / "log", *flags) as server:
        barrier = spawn.Barrier(CONTENDERS)
        with ProcessPoolExecutor(len(USERS), mp_context=spawn, initializer=meet_at, initargs=(barrier,)) as pool:
            runs = [
                pool.submit(
                    take_part, server.address, server.client(name).authorization or "", name, THREADS * number, what
                )
                for number, name in enumerate(USERS)
            ]
            seen = [contender for run in runs for contender in run.result(100)]
        assert server.stop() == 0
    granted = sum(check_round(each) for each in zip(*seen, strict=True))
    kinds = [event.kind for event in events_of(server.state)]
    assert kinds.count(EventKind.GRANTED) == kinds.count(EventKind.RELEASED) == granted
    assert len(kinds) == 2 * granted
    if what is unmapped:
        made = list((server.folder / "new").iterdir())
        assert len(made) == ROUNDS
        assert {document.read_bytes() for document in made} == {b""}


def check_round(seen: tuple[Seen, ...]) -> int:
    """How many were granted a lock, none beside an exclusive one."""
    winners = [each for each in seen if each.status in {200, 201}]
    losers = [each for each in seen if each not in winners]
    scopes = {winner.scope for winner in winners}
    if scopes == {"shared"}:
        assert len(winners) == sum(each.scope == "shared" for each in seen), seen
    else:
        assert len(winners) == 1, seen
    assert {each.status for each in losers} <= {423, 207}, seen
    names = {winner.name for winner in winners}
    for loser in losers:
        assert loser.told, seen
        assert loser.told <= names, seen
    return len(winners)
