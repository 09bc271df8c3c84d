"""The heart beats soon after a commit and when its time is up, and costs nothing while nobody waits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.edge.heart import Heart
from holdfast.wire.exchange import Request, Response
from tests.edge.test_holding import Crowd, Ledger
from tests.edge.tiny import PATIENCE_S, Beats, Edge, Ticket, TinyFace, wait_until


class Timer:
    def __init__(self, after_s: float, work: Callable[[], None]) -> None:
        self.after_s = after_s
        self.work = work
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """An event loop whose turns and time the test decides."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.timers: list[Timer] = []

    def call_soon(self, work: Callable[[], None]) -> None:
        self.soon.append(work)

    def call_later(self, after_s: float, work: Callable[[], None]) -> Timer:
        self.timers.append(Timer(after_s, work))
        return self.timers[-1]

    def turn(self) -> None:
        soon, self.soon = self.soon, []
        for work in soon:
            work()

    @property
    def running(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.is_cancelled]


class Keeper:
    """Commits what beats change; each commit is a nudge, as the holder's is."""

    def __init__(self) -> None:
        self.nudge: Callable[[], None]
        self.changes = 0
        self.commits = 0

    def run(self, work: Callable[[], float]) -> float:
        return work()

    def flush(self) -> bool:
        if self.changes:
            self.changes = 0
            self.commits += 1
            self.nudge()
        return True


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def pulse() -> Beats:
    return Beats(rest_s=7.0)


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def heart(loop: Any, pulse: Beats, keeper: Keeper) -> Heart:
    heart = Heart(loop, pulse, keeper)
    keeper.nudge = heart.nudge
    return heart


def test_while_nothing_is_wanted_a_nudge_does_nothing(heart: Heart, loop: Loop, pulse: Beats) -> None:
    heart.nudge()
    assert (loop.soon, loop.timers, pulse.count) == ([], [], 0)


def test_many_nudges_in_a_turn_make_one_beat(heart: Heart, loop: Loop, pulse: Beats) -> None:
    pulse.is_wanted = True
    for _ in range(5):
        heart.nudge()
    loop.turn()
    assert pulse.count == 1
    assert loop.soon == []


def test_the_next_beat_comes_when_the_last_one_said_and_a_sooner_one_replaces_it(
    heart: Heart, loop: Loop, pulse: Beats
) -> None:
    pulse.is_wanted = True
    heart.nudge()
    loop.turn()
    assert [timer.after_s for timer in loop.running] == [7.0]
    pulse.rest_s = 3.0
    heart.nudge()
    loop.turn()
    assert [timer.after_s for timer in loop.running] == [3.0]
    loop.running[0].work()
    assert pulse.count == 3


def test_a_beat_that_is_always_due_leaves_time_to_others(heart: Heart, loop: Loop, pulse: Beats) -> None:
    pulse.is_wanted = True
    pulse.rest_s = -1.0
    heart.nudge()
    loop.turn()
    assert loop.soon == []
    assert loop.running[0].after_s > 0


def test_it_rests_once_nothing_is_wanted_any_more(heart: Heart, loop: Loop, pulse: Beats) -> None:
    pulse.is_wanted = True
    heart.nudge()
    loop.turn()
    pulse.is_wanted = False
    loop.running[0].work()
    assert pulse.count == 1
    assert len(loop.timers) == 1


def test_a_beat_that_changed_something_is_followed_by_one_more_and_no_more(
    heart: Heart, loop: Loop, pulse: Beats, keeper: Keeper
) -> None:
    pulse.is_wanted = True
    pulse.asked.put(lambda: setattr(keeper, "changes", 1))
    heart.nudge()
    for _ in range(5):
        loop.turn()
    assert (keeper.commits, pulse.count) == (1, 2)


def test_a_beat_that_raises_is_logged_and_tried_again_in_a_second(
    heart: Heart, loop: Loop, pulse: Beats, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("arrhythmia")

    pulse.is_wanted = True
    pulse.asked.put(fail)
    heart.nudge()
    loop.turn()
    assert [timer.after_s for timer in loop.running] == [1.0]
    assert "arrhythmia" in caplog.text
    loop.running[0].work()
    assert [timer.after_s for timer in loop.running] == [7.0]


# With a server around it. A pulse that rests so long beats only when it is nudged.


class Scene:
    """A ledger, and a face that enters in it and parks `ticket` where it is asked to."""

    def __init__(self, *, brief: bool = True) -> None:
        self.ledger = Ledger()
        self.pulse = Beats(rest_s=3600.0)
        self.ticket = Ticket(at_hasten=Response(423, []))
        self.face = TinyFace(self.answer, brief=brief)

    def answer(self, request: Request) -> Response:
        if request.target == "/dav/park":
            self.pulse.is_wanted = True
            return Response(0, [], self.ticket)
        if request.method == "GET":
            return Response(200, [], b"read")
        self.ledger.enter(request.target)
        return Response(201, [], b"done", awaits_sync=True)


@pytest.mark.parametrize("brief", [True, False])
def test_what_begins_to_wait_and_what_is_committed_is_followed_by_a_beat(brief: bool) -> None:
    scene = Scene(brief=brief)
    pulse = scene.pulse
    with Crowd(scene.face, settle=scene.ledger, pulse=pulse) as edge, edge.connect() as client, edge.connect() as other:
        assert client.ask("LOCK", "/dav/x").status == 201
        assert pulse.count == 0
        other.request("POST", "/dav/park")
        wait_until(lambda: pulse.count)
        assert scene.ticket.started.wait(PATIENCE_S)
        for number in range(3):
            answered = Ticket()
            pulse.asked.put(answered.started.set)
            assert client.ask("LOCK", f"/dav/{number}").status == 201
            assert answered.started.wait(PATIENCE_S)


def test_a_beat_shares_a_commit_and_its_answers_go_out_after_it() -> None:
    """One request ends what another waits for: the beat that it causes commits and answers in the same turn."""
    scene = Scene()
    ledger, ticket = scene.ledger, scene.ticket

    def grant() -> None:
        assert ledger.holds
        ledger.enter("granted")
        ticket.answer(Response(201, [], b"granted", awaits_sync=True))

    with Crowd(scene.face, settle=ledger, pulse=scene.pulse) as edge, edge.connect() as one, edge.connect() as two:
        two.request("POST", "/dav/park")
        assert ticket.started.wait(PATIENCE_S)
        wait_until(lambda: scene.pulse.count)
        scene.pulse.asked.put(grant)
        assert one.ask("UNLOCK", "/dav/x").status == 201
        assert two.answer().body == b"granted"
    assert ledger.commits == [["/dav/x"], ["granted"]]


def test_a_beat_that_raises_does_not_keep_the_server_from_answering(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()

    def fail() -> None:
        raise ValueError("arrhythmia")

    scene.pulse.asked.put(fail)
    with Edge(scene.face, settle=scene.ledger, pulse=scene.pulse) as edge, edge.connect() as client:
        with edge.connect() as other:
            other.request("POST", "/dav/park")
            wait_until(lambda: "arrhythmia" in caplog.text)
            assert client.ask("LOCK", "/dav/x").status == 201
    assert [record.levelno for record in caplog.records if "by itself" in record.getMessage()] == [logging.ERROR]
