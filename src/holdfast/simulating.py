"""The simulator alone: composition root of `holdfast simulate`, and of the simulated server that tests start.

Owns: which parts that server has, and its bounds. Must not know: commands, tests. It keeps nothing: locks are in memory, no
folder is served, and nobody logs in, since there is nothing but simulation. So it may be reached from other machines, under
caps; and what a page of another site could have a browser ask here (`access.hosts`), it may ask anyway.

Beside the simulated answers and their pages it has the API of locks, over the same memory: a client is tried against real
locks of its own there, and the links of a 423 lead to what they should.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import msgspec

from holdfast.access.unknown import Lack, UnknownAnswer, answer_unknown
from holdfast.clock import Clock
from holdfast.config import LogFormat
from holdfast.core.access import ANONYMOUS, Grant, Principal, Role
from holdfast.core.paths import ROOT, ResourcePath
from holdfast.core.timeouts import TimeoutPolicy
from holdfast.edge.serve import Server
from holdfast.edge.settings import EdgeConfig, mounted
from holdfast.edge.settings import Limits as EdgeLimits
from holdfast.faces.api.call import ApiSite
from holdfast.faces.api.events import event_writer
from holdfast.faces.api.face import DOCUMENTS, ApiFace
from holdfast.faces.home import home
from holdfast.faces.simulator.face import MOUNT, SimulatorFace, SimulatorLimits
from holdfast.faces.simulator.locks import SimulatedLocks
from holdfast.faces.simulator.pages.face import ADDRESS, PagesFace
from holdfast.faces.simulator.sequences import SequenceStates
from holdfast.listening import base_url, bind
from holdfast.live.feed import Feed
from holdfast.live.line import WaitingLine
from holdfast.live.pulse import LivePulse
from holdfast.logs import set_up_logs
from holdfast.registry import LockRegistry
from holdfast.service import Limits, LockService
from holdfast.store.memory import MemoryStore
from holdfast.sweeping import Sweeper
from holdfast.turns import LineLimits
from holdfast.wire.exchange import Request, Response

__all__ = ["EVERYBODY", "Simulation", "SimulationLimits", "run"]

EVERYBODY: Final = Principal(ANONYMOUS.name, (Grant(Role.WRITER),))
"""Who asks here. No administrator: no lock is without end."""

_KEEP_EVENTS: Final = timedelta(hours=1)
_SWEEP_EVERY_S: Final = 5.0
_GRACEFUL_S: Final = 2.0


class SimulationLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept, and asked for, at once. Sizes in bytes, spans in seconds."""

    connections: int = 1_000
    waiters: int = 1_000
    streams: int = 200
    scripts: int = 256
    sequences: int = 10_000
    simulated_locks: int = 1_000
    locks: int = 10_000
    events: int = 100_000
    """What happened to locks; the oldest is forgotten."""
    wait_s: float = 300.0
    stream_s: float = 3600.0
    answer: SimulatorLimits = SimulatorLimits()


class _Everybody:
    """Satisfies `edge.settings.Identifier`."""

    def identify_now(self, head: Request) -> Principal:
        return EVERYBODY

    def identify_slowly(self, head: Request) -> Principal:
        return EVERYBODY


class _Signpost:
    """The face of addresses that other servers have pages at: `/` leads to the form, the page of a lock to the lock."""

    def admit(self, head: Request) -> Response | None:
        return self(head)

    def is_brief(self, request: Request) -> bool:
        return True

    def __call__(self, request: Request) -> Response:
        place = ADDRESS if request.target == "/" else f"/api{request.target}"
        return Response(307, [("Location", place), ("Cache-Control", "no-cache")])


class _Body:
    """Satisfies `wire.exchange.Upload`, in memory: the edge bounds its size."""

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def length(self) -> int:
        return len(self._data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._data += data

    def read(self) -> bytes:
        return bytes(self._data)

    def discard(self) -> None:
        self._data = bytearray()


class _Bounded:
    """What the sweeper tidies: beside what is old, the record beyond `most` events."""

    def __init__(self, service: LockService, store: MemoryStore, most: int) -> None:
        self._service = service
        self._store = store
        self._most = most

    def sweep(self) -> int:
        return self._service.sweep()

    def trim(self, keep: timedelta) -> int:
        with self._store.read() as tx:
            oldest = tx.events_after(max(0, tx.latest_seq() - self._most), 1)
            if oldest and tx.latest_seq() > self._most:
                keep = min(keep, tx.now - oldest[0].at)
        return self._service.trim(keep)


class Simulation:
    """All parts of one simulated server. `edge` and `home` are for a Server."""

    def __init__(self, *, clock: Clock | None = None, limits: SimulationLimits | None = None) -> None:
        """Keep nothing yet. `clock` is the source of time, for tests that move it."""
        limits = limits or SimulationLimits()
        self.store = MemoryStore(clock)
        self.service = LockService(
            self.store,
            etag_of=_no_etag,
            timeouts=TimeoutPolicy(),
            limits=Limits(limits.locks, limits.locks, LineLimits(limits.waiters)),
        )
        self.registry = LockRegistry(self.service, self.store)
        self.sequences = SequenceStates(None, most=limits.sequences)
        line = WaitingLine(self.service, self.store.now, longest=timedelta(seconds=limits.wait_s))
        feed = Feed(
            self.store,
            event_writer(self.store.clock),
            most_readers=limits.streams,
            longest=timedelta(seconds=limits.stream_s),
        )
        locks = SimulatedLocks(
            self.registry,
            line,
            self.store,
            self.store.clock,
            most=limits.simulated_locks,
            is_open_to_pages=True,
        )
        self.simulator = SimulatorFace(
            self.sequences, limits=limits.answer, clock=self.store.clock, unknown=_unknown, locks=locks
        )
        site = ApiSite(
            registry=self.registry,
            feed=feed,
            line=line,
            clock=self.store.clock,
            resolve=ResourcePath.from_target,
            is_served=_serves_nothing,
            mount=ROOT,
            is_open=True,
            follow=_follow,
        )
        api = ApiFace(site, unknown=_unknown)
        self.edge = EdgeConfig(
            route=mounted(
                {
                    MOUNT: self.simulator,
                    ADDRESS: PagesFace(beside_dashboard=False),
                    "/api": api,
                    "/locks": _Signpost(),
                    **dict.fromkeys(DOCUMENTS, api),
                },
                front=_Signpost(),
            ),
            identifier=_Everybody(),
            settle=self.store,
            new_upload=_Body,
            pulse=LivePulse(self.store, feed, line),
            limits=EdgeLimits(
                connections=limits.connections, scripts=limits.scripts, body_bytes=limits.answer.body_bytes
            ),
        )
        self.home = home()
        self._sweeper = Sweeper(
            _Bounded(self.service, self.store, limits.events), every_s=_SWEEP_EVERY_S, keep_events=_KEEP_EVENTS
        )

    def start(self) -> None:
        """Begin the upkeep; the edge is started by its server."""
        self._sweeper.start()

    def close(self) -> None:
        """Stop the upkeep and forget everything."""
        self._sweeper.stop()
        self.sequences.close()
        self.store.close()


def run(host: str, port: int, *, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. `on_ready` is given the base URL once requests are answered.

    Raises ListeningError, in plain words.
    """
    set_up_logs(LogFormat.TEXT)
    sockets = bind(host, port)
    simulation = Simulation()
    try:
        simulation.start()
        url = base_url("http", host, sockets)
        server = Server(
            simulation.home,
            simulation.edge,
            graceful_s=_GRACEFUL_S,
            lifespan="off",
            on_ready=lambda: on_ready(url),
        )
        server.run(sockets)
    finally:
        simulation.close()
        for sock in sockets:
            sock.close()


def _no_etag(_resource: ResourcePath) -> None:
    return None


def _serves_nothing(_resource: ResourcePath) -> bool:
    return False


def _follow(principal: Principal) -> Callable[[], Principal | None]:
    return lambda: principal


def _unknown(_head: Request) -> UnknownAnswer:
    """Never asked: everybody is known here."""
    return answer_unknown(Lack.NOTHING_SENT)
