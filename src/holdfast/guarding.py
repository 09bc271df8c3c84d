"""The guard's composition root: locks, or a server that has them, before an application that knows nothing of them.

Owns: who is given to whom, once, at start: the relay to the application, its gate, what is counted, and, where the locks are in
this process, their store and API. Must not know: any rule of its own. Several guards may share one file of locks, and so
do the worker processes of one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final, Literal, get_args

import msgspec

from holdfast.access.authenticator import Authenticator, NeedsWork
from holdfast.access.hosts import OwnHosts
from holdfast.access.identification import Identification
from holdfast.access.passwords import UnusableNameError, check_name
from holdfast.access.unknown import Lack, UnknownAnswer, answer_unknown
from holdfast.access.users_file import UserRecord, UsersFile
from holdfast.clock import Clock
from holdfast.config import Durability, LogFormat
from holdfast.core.access import ANONYMOUS, Grant, Principal, Role
from holdfast.core.paths import ROOT, ResourcePath
from holdfast.core.timeouts import TimeoutPolicy
from holdfast.edge.forwarding import ForwardingRules, new_pseudonym
from holdfast.edge.gates import FaceGate, Gate, NamedGate, Scope, ServerGate
from holdfast.edge.relaying import Failure, Relay
from holdfast.edge.serve import Server, Tls
from holdfast.edge.settings import SLOW, EdgeConfig, Identifier, Route, Slow, Still
from holdfast.edge.upgrading import WEBSOCKET, Upgrades
from holdfast.edge.upstream import Pool, Upstream
from holdfast.edge.workers import supervise
from holdfast.faces.api.call import ApiSite
from holdfast.faces.api.events import event_writer
from holdfast.faces.api.face import ApiFace
from holdfast.faces.home import EXPLANATION, home
from holdfast.faces.operations import MetricsFace
from holdfast.listening import base_url, bind
from holdfast.live.feed import Feed
from holdfast.live.line import WaitingLine
from holdfast.live.pulse import LivePulse
from holdfast.logs import RequestLog, set_up_logs
from holdfast.metrics import Metrics, Publisher, begin_shared
from holdfast.registry import LockRegistry
from holdfast.service import LockService
from holdfast.store.sqlite import SqliteStore
from holdfast.sweeping import Sweeper
from holdfast.wire.exchange import Face, Request, Response
from holdfast.wire.locked import GUARD_LINKS

__all__ = ["ADDRESSES", "METRICS", "RESERVED", "Crew", "Guard", "GuardSettings", "run"]

ADDRESSES: Final = ("/api/locks", "/api/check", "/api/events", "/api/history", "/api/session")
"""Holdfast's own addresses before the application, each with all below it; with `--guard-only` they are the application's."""

RESERVED: Final = "/.holdfast"
"""The address that is never the application's, nor is anything below it."""

METRICS: Final = f"{RESERVED}/metrics"

_KEPT_S: Final = 30 * 86_400.0
_SWEEP_S: Final = 60.0
_BUSY_S: Final = 1.0
"""For how long another process may keep the file of locks: all that passes waits for it meanwhile; then it is a 503."""
_STREAMS: Final = 2000
_STREAM_S: Final = 3600.0
_MAX_WAIT_S: Final = 300.0


class GuardSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a guard is to do. Exactly one of `locks`, a file, and `server` says where the locks are; spans in seconds.

    `user_field` (lower case) names the person on requests of `trusted` peers; `admins` are those who may break locks. `token`
    is what the server is asked with. `upstream_host` replaces the Host field. With `shows_locks` Holdfast's own addresses
    are answered here.
    """

    upstream: Upstream
    locks: Path | None = None
    server: Upstream | None = None
    token: str = ""
    prefixes: tuple[ResourcePath, ...] = (ROOT,)
    shows_locks: bool = True
    host: str = "127.0.0.1"
    port: int = 0
    host_names: tuple[str, ...] = ()
    workers: int = 1
    user_field: str = ""
    admins: frozenset[str] = frozenset()
    trusted: frozenset[str] = frozenset({"127.0.0.1", "::1"})
    upstream_host: str = ""
    answer_s: float = 60.0
    upgrades: Upgrades = Upgrades(protocols=frozenset({WEBSOCKET}))
    users_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    durability: Durability = Durability.POWER
    stop_s: float = 10.0
    log_format: LogFormat = LogFormat.TEXT
    access_log: bool = False


class Crew(msgspec.Struct, frozen=True):
    """What the worker processes of one guard have in common: its name in Via, and the folder where they meet, if there are several."""

    pseudonym: bytes = msgspec.field(default_factory=new_pseudonym)
    meeting: Path | None = None


class _Everybody:
    """Nobody is known here: whoever asks is judged by the server that has the locks."""

    def identify_now(self, head: Request) -> Principal | Slow | None:
        return ANONYMOUS

    def identify_slowly(self, head: Request) -> Principal | None:
        return ANONYMOUS


class _ByUsers:
    """The Identification, in the edge's words."""

    def __init__(self, identification: Identification) -> None:
        self._identification = identification

    def identify_now(self, head: Request) -> Principal | Slow | None:
        found = self._identification.identify_now(head)
        return SLOW if isinstance(found, NeedsWork) else found

    def identify_slowly(self, head: Request) -> Principal | None:
        return self._identification.identify_slowly(head)


class _ByField:
    """Whom a trusted proxy names. Whoever is not named sees locks, and takes none."""

    def __init__(self, rules: ForwardingRules, admins: frozenset[str]) -> None:
        self._rules = rules
        self._admins = admins

    def identify_now(self, head: Request) -> Principal | Slow | None:
        raw = head.headers.fields.get(self._rules.user_field)
        if not raw or not self._rules.trusts(head.client):
            return _UNNAMED
        try:
            name = check_name(raw.decode("utf-8"))
        except (UnicodeDecodeError, UnusableNameError):
            return _UNNAMED
        return Principal(name, (Grant(Role.ADMIN if name in self._admins else Role.WRITER),))

    def identify_slowly(self, head: Request) -> Principal | None:
        return None


_UNNAMED: Final = Principal(ANONYMOUS.name, (Grant(Role.READER),))


class _Nothing:
    """Nothing is stored here, so nothing is ever held or to be made safe."""

    has_held = False
    has_unsynced = False

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()

    def commit_held(self) -> None:
        """Nothing to do."""

    def sync(self) -> None:
        """Nothing to do."""


class _Unwanted:
    """A body that no address of the API takes: it is counted, so that it can be refused, and not kept."""

    def __init__(self) -> None:
        self.length = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.length += len(data)

    def discard(self) -> None:
        """Nothing is kept."""


class _Locks:
    """Locks in this process: their store, and the face that answers for them."""

    def __init__(
        self,
        path: Path,
        settings: GuardSettings,
        users: tuple[UserRecord, ...],
        rules: ForwardingRules,
        meeting: Path | None,
        clock: Clock | None,
    ) -> None:
        """Raises StoreError or UsersFileError in plain words."""
        self.store = store = SqliteStore(
            path,
            clock=clock,
            durability=settings.durability,
            busy_limit_s=_BUSY_S,
            observe=self._note_store_work,
        )
        self.metrics = metrics = Metrics(store, meeting, failures=get_args(Failure))
        service = LockService(store, etag_of=_no_etag, timeouts=TimeoutPolicy())
        line = WaitingLine(service, store.now, longest=timedelta(seconds=_MAX_WAIT_S), observer=metrics)
        users_file = None if settings.users_file is None else UsersFile(settings.users_file)
        identification = Identification(Authenticator(users_file, users, store.clock), None)
        self.identifier: Identifier = _ByUsers(identification)
        self.is_open = identification.is_open and not settings.user_field
        self.has_users = not identification.is_open
        follow: Callable[[Principal], Callable[[], Principal | None]] = identification.follow
        unknown: Callable[[Request], UnknownAnswer] = identification.answer_unknown
        if settings.user_field:
            self.identifier = _ByField(rules, settings.admins)
            follow, unknown = _always, _unnamed
        feed = Feed(store, event_writer(store.clock), most_readers=_STREAMS, longest=timedelta(seconds=_STREAM_S))
        self.face: Face = ApiFace(
            ApiSite(
                registry=LockRegistry(service, store),
                feed=feed,
                line=line,
                clock=store.clock,
                resolve=ResourcePath.from_target,
                is_served=_is_never_served,
                mount=ROOT,
                is_open=self.is_open,
                follow=follow,
                links=GUARD_LINKS[_links(settings)],
            ),
            unknown=unknown,
        )
        self.pulse = LivePulse(store, feed, line, passed_on=metrics.passed_on)
        self.sweeper = Sweeper(service, every_s=_SWEEP_S, keep_events=timedelta(seconds=_KEPT_S))

    def _note_store_work(self, work: Literal["commit", "sync"], seconds: float) -> None:
        self.metrics.stored(work, seconds)


class Guard:
    """All parts of one process of a guard, made and closed together."""

    def __init__(
        self,
        settings: GuardSettings,
        users: tuple[UserRecord, ...] = (),
        crew: Crew | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        """Open the locks; raises StoreError or UsersFileError in plain words. `clock` is for tests that move it.

        `crew` where there are several processes.
        """
        crew = crew or Crew()
        rules = ForwardingRules(
            host=settings.upstream_host.encode("ascii"),
            user_field=settings.user_field.encode("ascii"),
            trusted=settings.trusted,
            pseudonym=crew.pseudonym,
        )
        self._pools: list[Pool] = []
        self._locks = locks = (
            None
            if settings.locks is None
            else _Locks(settings.locks, settings, users, rules, meeting=crew.meeting, clock=clock)
        )
        self.metrics = Metrics(None, crew.meeting, failures=get_args(Failure)) if locks is None else locks.metrics
        self._publisher = None if crew.meeting is None else Publisher(self.metrics)
        self.home = home(is_server=False, explains_at=(EXPLANATION, GUARD_LINKS["guard-only"].help))
        note = RequestLog(writes_all=True).note if settings.access_log else None
        self.edge = EdgeConfig(
            route=self._make_route(settings, rules),
            identifier=_Everybody() if locks is None else locks.identifier,
            settle=_Nothing() if locks is None else locks.store,
            new_upload=_Unwanted,
            pulse=Still() if locks is None else locks.pulse,
            is_own_host=OwnHosts([settings.host, *settings.host_names])
            if locks is not None and locks.is_open
            else None,
            at_end=self._close_pools,
            observe=_observer(self.metrics, note, shows_locks=settings.shows_locks, otherwise="guard"),
            observe_relayed=_observer(self.metrics, note, shows_locks=settings.shows_locks, otherwise="application"),
        )

    def _make_route(self, settings: GuardSettings, rules: ForwardingRules) -> Route:
        """Which address is whose."""
        application = self._pool(settings.upstream)
        locks = self._locks
        everywhere = (ROOT,)
        own: Face | Relay
        if locks is None:
            assert settings.server is not None
            server = self._pool(settings.server)

            def gate_of(prefixes: tuple[ResourcePath, ...], *, reads: bool) -> Gate:
                scope = Scope(prefixes, reads=reads)
                return ServerGate(server, scope, rules, links=_links(settings), token=settings.token)

            as_sent = replace(rules, host=b"")  # --upstream-host is the application's name, not the server's
            own = Relay(pool=server, rules=as_sent, gate=None, answer_s=_MAX_WAIT_S + settings.answer_s)
            explains: Relay | None = own
            gate = gate_of(settings.prefixes, reads=False)
        else:

            def gate_of(prefixes: tuple[ResourcePath, ...], *, reads: bool) -> Gate:
                return FaceGate(locks.face, Scope(prefixes, reads=reads), rules, has_users=locks.has_users)

            own, explains = locks.face, None
            gate = gate_of(settings.prefixes, reads=locks.has_users)
        relay = Relay(
            pool=application,
            rules=rules,
            gate=gate,
            answer_s=settings.answer_s,
            upgrades=settings.upgrades,
            on_failure=self.metrics.upstream_failed,
        )
        readers = gate_of(everywhere, reads=True)
        counted = Relay(
            pool=application,
            rules=rules,
            gate=NamedGate(readers, rules) if settings.user_field else readers,
            own=MetricsFace(self.metrics),
        )
        return _route(relay, counted, own, explains) if settings.shows_locks else _route(relay, counted)

    def _pool(self, upstream: Upstream) -> Pool:
        pool = Pool(upstream)
        self._pools.append(pool)
        return pool

    def _close_pools(self) -> None:
        for pool in self._pools:
            pool.close()

    @property
    def store(self) -> SqliteStore | None:
        """Where the locks are; None where a server has them."""
        return None if self._locks is None else self._locks.store

    def start(self) -> None:
        """Begin the upkeep; the edge is started by its server."""
        if self._locks is not None:
            self._locks.sweeper.start()
        if self._publisher is not None:
            self._publisher.start()

    def close(self) -> None:
        """Stop the upkeep and release every file."""
        if self._locks is not None:
            self._locks.sweeper.stop()
        if self._publisher is not None:
            self._publisher.stop()
        if self._locks is not None:
            self._locks.store.close()


def run(settings: GuardSettings, *, users: tuple[UserRecord, ...], on_ready: Callable[[str], None]) -> bool:
    """Guard until SIGINT or SIGTERM; False when workers kept failing, or had to be killed at the end.

    `on_ready` is given the base URL once requests are answered. Raises ListeningError, StoreError or UsersFileError, each in
    plain words.
    """
    set_up_logs(settings.log_format)
    sockets = bind(settings.host, settings.port)
    url = base_url("http" if settings.tls_cert is None else "https", settings.host, sockets)
    try:
        if settings.workers == 1:
            _guard((settings, users, Crew()), sockets, lambda: on_ready(url))
            return True
        with TemporaryDirectory(prefix="holdfast-guard-") as folder:
            crew = Crew(meeting=Path(folder))
            # Opened once here first, so that what is wrong is said once and before any worker starts.
            first = Guard(settings, users, crew)
            try:
                begin_shared(Path(folder), first.store)
            finally:
                first.close()
            code = supervise(
                _guard,
                (settings, users, crew),
                sockets,
                settings.workers,
                stop_s=2 * settings.stop_s,
                on_ready=lambda: on_ready(url),
            )
            return code == 0
    finally:
        for sock in sockets:
            sock.close()


def _guard(
    work: tuple[GuardSettings, tuple[UserRecord, ...], Crew], sockets: list[socket], on_ready: Callable[[], None]
) -> None:
    settings, users, crew = work
    set_up_logs(settings.log_format)  # a worker is a process of its own
    guard = Guard(settings, users, crew)
    try:
        guard.start()
        tls = None
        if settings.tls_cert is not None and settings.tls_key is not None:
            tls = Tls(settings.tls_cert, settings.tls_key)
        server = Server(guard.home, guard.edge, tls=tls, graceful_s=settings.stop_s, lifespan="off", on_ready=on_ready)
        server.run(sockets)
    finally:
        guard.close()


def _route(relay: Relay, counted: Relay, own: Face | Relay | None = None, explains: Relay | None = None) -> Route:
    """Holdfast's addresses go to `own`, their explanation to `explains` (None: the application of `home`), `counted` tells the metrics,

    and the rest goes on by `relay`. Without `own` nothing but what is RESERVED stays here.
    """

    def route(_method: str, target: str) -> Face | Relay | None:
        if target.startswith(RESERVED) and (target == RESERVED or target[len(RESERVED)] == "/"):
            return counted if target == METRICS else None
        if own is None:
            return relay
        if target.startswith("/api/") and _is_own(target):
            return own
        return explains if target == EXPLANATION else relay

    return route


def _is_own(target: str) -> bool:
    return any(target == address or target.startswith(f"{address}/") for address in ADDRESSES)


def _links(settings: GuardSettings) -> Literal["guard", "guard-only"]:
    return "guard" if settings.shows_locks else "guard-only"


def _observer(
    metrics: Metrics,
    note: Callable[[Request, Response, float | None], None] | None,
    *,
    shows_locks: bool,
    otherwise: str,
) -> Callable[[Request, Response], None]:
    """What the edge tells of every answer: counted as the API's, as the metrics', or as `otherwise`; and noted, where that is wanted."""
    api, operations, others = (metrics.answers_of(name) for name in ("api", "operations", otherwise))

    def observe(request: Request, response: Response) -> None:
        target = request.target
        seconds = perf_counter() - request.started if request.started else None
        if shows_locks and target.startswith("/api/") and _is_own(target):
            answers = api
        else:
            answers = operations if target == METRICS else others
        answers.add(request.method, response.status, seconds)
        if note is not None:
            note(request, response, seconds)

    return observe


def _always(principal: Principal) -> Callable[[], Principal | None]:
    return lambda: principal


def _unnamed(_head: Request) -> UnknownAnswer:
    return answer_unknown(Lack.NOTHING_SENT)


def _no_etag(_resource: ResourcePath) -> str | None:
    return None


def _is_never_served(_resource: ResourcePath) -> bool:
    return False
