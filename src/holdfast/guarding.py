"""The guard's composition root: locks, or a server that has them, before an application that knows nothing of them.

Owns: who is given to whom, once, at start: the relay to the application, its gate, and, where the locks are in this process,
their store and API. Must not know: any rule of its own. Several guards may share one file of locks.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Final

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
from holdfast.edge.forwarding import ForwardingRules
from holdfast.edge.gates import FaceGate, Gate, Scope, ServerGate
from holdfast.edge.relaying import Relay
from holdfast.edge.serve import Server, Tls
from holdfast.edge.settings import SLOW, EdgeConfig, Identifier, Route, Slow, Still
from holdfast.edge.upgrading import WEBSOCKET, Upgrades
from holdfast.edge.upstream import Pool, Upstream
from holdfast.faces.api.call import ApiSite
from holdfast.faces.api.events import event_writer
from holdfast.faces.api.face import ApiFace
from holdfast.faces.home import home
from holdfast.listening import base_url, bind
from holdfast.live.feed import Feed
from holdfast.live.line import WaitingLine
from holdfast.live.pulse import LivePulse
from holdfast.logs import RequestLog, set_up_logs
from holdfast.registry import LockRegistry
from holdfast.service import LockService
from holdfast.store.sqlite import SqliteStore
from holdfast.sweeping import Sweeper
from holdfast.wire.exchange import Face, Request, Response
from holdfast.wire.locked import LockLinks

__all__ = ["ADDRESSES", "EXPLANATIONS", "Guard", "GuardSettings", "run"]

ADDRESSES: Final = ("/api/locks", "/api/check", "/api/events", "/api/history", "/api/session")
"""Holdfast's own addresses before the application, each with all below it."""

EXPLANATIONS: Final = "/problems/locked"
"""Where a 423 leads to for an explanation."""

_LINKS: Final = LockLinks(page=f"{ADDRESSES[0]}/")
"""A guard has no page of a lock; what its API says of it is all that there is."""

_NO_LINKS: Final = LockLinks("", "", "")

_KEPT_S: Final = 30 * 86_400.0
_SWEEP_S: Final = 60.0
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
        clock: Clock | None,
    ) -> None:
        """Raises StoreError or UsersFileError in plain words."""
        self.store = store = SqliteStore(path, clock=clock, durability=settings.durability)
        service = LockService(store, etag_of=_no_etag, timeouts=TimeoutPolicy())
        line = WaitingLine(service, store.now, longest=timedelta(seconds=_MAX_WAIT_S))
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
                links=_LINKS if settings.shows_locks else _NO_LINKS,
            ),
            unknown=unknown,
        )
        self.pulse = LivePulse(store, feed, line)
        self.sweeper = Sweeper(service, every_s=_SWEEP_S, keep_events=timedelta(seconds=_KEPT_S))


class Guard:
    """All parts of one guard, made and closed together."""

    def __init__(
        self, settings: GuardSettings, users: tuple[UserRecord, ...] = (), *, clock: Clock | None = None
    ) -> None:
        """Open the locks; raises StoreError or UsersFileError in plain words. `clock` is for tests that move it."""
        rules = ForwardingRules(
            host=settings.upstream_host.encode("ascii"),
            user_field=settings.user_field.encode("ascii"),
            trusted=settings.trusted,
        )
        application = Pool(settings.upstream)
        pools = [application]
        self._locks: _Locks | None = None
        own: Face | Relay | None = None
        if settings.server is not None:
            server = Pool(settings.server)
            pools.append(server)
            gate: Gate = ServerGate(server, Scope(settings.prefixes, reads=False), rules, token=settings.token)
            own = Relay(pool=server, rules=rules, gate=None, answer_s=_MAX_WAIT_S + settings.answer_s)
            explains: Relay | None = own
        else:
            assert settings.locks is not None
            self._locks = _Locks(settings.locks, settings, users, rules, clock)
            gate = FaceGate(self._locks.face, Scope(settings.prefixes, reads=self._locks.has_users), rules)
            own, explains = self._locks.face, None
        relay = Relay(pool=application, rules=rules, gate=gate, answer_s=settings.answer_s, upgrades=settings.upgrades)

        def close_pools() -> None:
            for pool in pools:
                pool.close()

        locks = self._locks
        log = RequestLog(writes_all=True) if settings.access_log else None
        self.home = home(is_server=False)
        self.edge = EdgeConfig(
            route=_route(relay, own, explains) if settings.shows_locks else _everything(relay),
            identifier=_Everybody() if locks is None else locks.identifier,
            settle=_Nothing() if locks is None else locks.store,
            new_upload=_Unwanted,
            pulse=Still() if locks is None else locks.pulse,
            is_own_host=OwnHosts([settings.host, *settings.host_names])
            if locks is not None and locks.is_open
            else None,
            at_end=close_pools,
            observe=None if log is None else _noting(log),
            observe_relayed=None if log is None else _noting(log),
        )

    def start(self) -> None:
        """Begin the upkeep; the edge is started by its server."""
        if self._locks is not None:
            self._locks.sweeper.start()

    def close(self) -> None:
        """Stop the upkeep and release every file."""
        if self._locks is not None:
            self._locks.sweeper.stop()
            self._locks.store.close()


def run(settings: GuardSettings, *, users: tuple[UserRecord, ...], on_ready: Callable[[str], None]) -> None:
    """Guard until SIGINT or SIGTERM. `on_ready` is given the base URL once requests are answered.

    Raises ListeningError, StoreError or UsersFileError, each in plain words.
    """
    set_up_logs(settings.log_format)
    sockets = bind(settings.host, settings.port)
    url = base_url("http" if settings.tls_cert is None else "https", settings.host, sockets)
    try:
        guard = Guard(settings, users)
        try:
            guard.start()
            tls = None
            if settings.tls_cert is not None and settings.tls_key is not None:
                tls = Tls(settings.tls_cert, settings.tls_key)
            Server(
                guard.home,
                guard.edge,
                tls=tls,
                graceful_s=settings.stop_s,
                lifespan="off",
                on_ready=lambda: on_ready(url),
            ).run(sockets)
        finally:
            guard.close()
    finally:
        for sock in sockets:
            sock.close()


def _route(relay: Relay, own: Face | Relay, explains: Relay | None) -> Route:
    """Holdfast's own addresses go to `own`, their explanation to `explains` (None: the application of `home`), the rest on."""

    def route(_method: str, target: str) -> Face | Relay | None:
        if target.startswith("/api/"):
            for address in ADDRESSES:
                if target == address or target.startswith(f"{address}/"):
                    return own
        return explains if target == EXPLANATIONS else relay

    return route


def _everything(relay: Relay) -> Route:
    return lambda _method, _target: relay


def _noting(log: RequestLog) -> Callable[[Request, Response], None]:
    from time import perf_counter

    def observe(request: Request, response: Response) -> None:
        log.note(request, response, perf_counter() - request.started if request.started else None)

    return observe


def _always(principal: Principal) -> Callable[[], Principal | None]:
    return lambda: principal


def _unnamed(_head: Request) -> UnknownAnswer:
    return answer_unknown(Lack.NOTHING_SENT)


def _no_etag(_resource: ResourcePath) -> str | None:
    return None


def _is_never_served(_resource: ResourcePath) -> bool:
    return False
