"""The composition root: settings become a store, a served folder, a lock service, faces and an edge.

Owns: who is given to whom, once, at start; and the sweeper's thread. Must not know: any rule of its own.
Each worker process builds all of this for itself; what they share is the folder, the store's file and
the listening sockets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from socket import socket
from typing import Final, Literal

from holdfast.access.authenticator import Authenticator, NeedsWork
from holdfast.access.hosts import OwnHosts
from holdfast.access.identification import Identification
from holdfast.access.sessions import KEY_NAME, Sessions, load_key
from holdfast.access.users_file import UserRecord, UsersFile
from holdfast.clock import Clock
from holdfast.config import DATABASE_NAME, Durability, Settings
from holdfast.core.access import Principal
from holdfast.core.paths import ResourcePath
from holdfast.core.timeouts import TimeoutPolicy
from holdfast.edge.serve import Server, Tls
from holdfast.edge.settings import SLOW, EdgeConfig, Route, Slow, mounted
from holdfast.edge.settings import Limits as EdgeLimits
from holdfast.edge.workers import supervise
from holdfast.faces.api.call import ApiSite
from holdfast.faces.api.events import event_writer
from holdfast.faces.api.face import DOCUMENTS, ApiFace
from holdfast.faces.dashboard.face import DashboardFace
from holdfast.faces.dashboard.pages import ADDRESSES
from holdfast.faces.home import home
from holdfast.faces.inspector.face import API as INSPECTOR
from holdfast.faces.inspector.face import PAGE as INSPECTOR_PAGE
from holdfast.faces.inspector.face import InspectorFace
from holdfast.faces.inspector.inspection import Inspection
from holdfast.faces.operations import OPERATIONS, OperationsFace
from holdfast.faces.simulator.face import MOUNT as SIMULATOR
from holdfast.faces.simulator.face import SimulatorFace, SimulatorLimits
from holdfast.faces.simulator.locks import SimulatedLocks
from holdfast.faces.simulator.pages.face import ADDRESS as SIMULATOR_PAGES
from holdfast.faces.simulator.pages.face import PagesFace
from holdfast.faces.simulator.sequences import SequenceStates
from holdfast.faces.webdav.call import FaceSettings, Site, TextLimits
from holdfast.faces.webdav.face import WebDavFace
from holdfast.files import Folder
from holdfast.inspector.addresses import AddressGuard
from holdfast.listening import base_url, bind
from holdfast.live.feed import Feed
from holdfast.live.line import WaitingLine
from holdfast.live.pulse import LivePulse
from holdfast.logs import RequestLog, set_up_logs
from holdfast.metrics import Metrics, Publisher, begin_shared
from holdfast.observing import observer
from holdfast.readiness import Readiness
from holdfast.registry import LockRegistry
from holdfast.service import Limits, LockService
from holdfast.store.sqlite import SqliteStore
from holdfast.sweeping import Sweeper
from holdfast.turns import LineLimits
from holdfast.wire.davxml import DEFAULT_LIMITS, XmlLimits
from holdfast.wire.exchange import Request

__all__ = ["MOUNT", "Application", "run"]

MOUNT: Final = ResourcePath("/dav")
"""Where the served folder stands in the one namespace."""

_METRICS_NAME: Final = "metrics"
"""The folder in the state folder where workers meet for their metrics."""

_SEQUENCES_NAME: Final = "sequences.db"
"""The file in the state folder where workers meet for the simulator's sequences."""

_SIMULATED_HOLDER: Final = "simulated:"
"""What the names of simulated holders begin with, where there are users: no user's name has a colon."""

_LABELS: Final = {
    MOUNT.name: "webdav",
    "*": "webdav",
    "api": "api",
    **{address[1:]: "api" for address in DOCUMENTS},
    **{address[1:]: "operations" for address in OPERATIONS},
    SIMULATOR_PAGES[1:]: "simulator",
    INSPECTOR_PAGE[1:]: "inspector",
}
"""What the faces are called in the metrics, by the first segment of an address; the others are the dashboard's."""

_logger = logging.getLogger("holdfast.server")


class _Identifier:
    """The Identification, in the edge's words."""

    def __init__(self, identification: Identification) -> None:
        self._identification = identification

    def identify_now(self, head: Request) -> Principal | Slow | None:
        found = self._identification.identify_now(head)
        return SLOW if isinstance(found, NeedsWork) else found

    def identify_slowly(self, head: Request) -> Principal | None:
        return self._identification.identify_slowly(head)


class Application:
    """All parts of one process, made and closed together."""

    def __init__(
        self, settings: Settings, listed_users: Sequence[UserRecord] = (), *, clock: Clock | None = None
    ) -> None:
        """Open the store and the folder; raises StoreError, FolderUnusableError, UsersFileError or SessionKeyError in plain words.

        `clock` is the source of time, for tests that move it.
        """
        state = settings.state_folder
        self.store = SqliteStore(
            state / DATABASE_NAME, clock=clock, durability=settings.durability, observe=self._note_store_work
        )
        self.metrics = Metrics(self.store, state / _METRICS_NAME if settings.workers > 1 else None)
        self.folder = Folder(settings.folder, state=state, durable=_syncs_files(settings))
        self.service = LockService(
            self.store, etag_of=self._etag_of, timeouts=_timeouts(settings), limits=_lock_limits(settings)
        )
        self.line = WaitingLine(
            self.service, self.store.now, longest=timedelta(seconds=settings.max_wait_s), observer=self.metrics
        )
        self.feed = Feed(
            self.store,
            event_writer(self.store.clock),
            most_readers=settings.max_streams,
            longest=timedelta(seconds=settings.max_stream_s),
        )
        self.sequences = SequenceStates(
            state / _SEQUENCES_NAME if settings.workers > 1 else None, most=settings.simulator_max_sequences
        )
        identification = _identification(settings, listed_users, self.store.clock)
        self.site = self._make_site(settings, identification)
        self.edge = EdgeConfig(
            route=self._make_route(settings, identification),
            identifier=_Identifier(identification),
            settle=self.store,
            new_upload=self.folder.staging.new,
            pulse=LivePulse(self.store, self.feed, self.line, passed_on=self.metrics.passed_on),
            is_own_host=OwnHosts([settings.host, *settings.host_names]) if identification.is_open else None,
            limits=_edge_limits(settings),
            threads=settings.threads,
            observe=observer(
                self.metrics,
                RequestLog(writes_all=settings.access_log),
                labels=_LABELS,
                otherwise="dashboard",
                notes_all=settings.access_log,
                simulated=SIMULATOR,
            ),
        )
        self.home = home()
        self._publisher = Publisher(self.metrics) if settings.workers > 1 else None
        self._sweeper = Sweeper(
            self.service, every_s=settings.sweep_every_s, keep_events=timedelta(seconds=settings.events_kept_s)
        )

    def start(self) -> None:
        """Begin the upkeep; the edge is started by its server."""
        self._sweeper.start()
        if self._publisher is not None:
            self._publisher.start()

    def close(self) -> None:
        """Stop the upkeep and release every file."""
        self._sweeper.stop()
        if self._publisher is not None:
            self._publisher.stop()
        self.sequences.close()
        self.store.close()
        self.folder.close()

    def _make_site(self, settings: Settings, identification: Identification) -> Site:
        return Site(
            mount=MOUNT,
            folder=self.folder,
            service=self.service,
            line=self.line,
            store=self.store,
            clock=self.store.clock,
            settings=FaceSettings(
                texts=_text_limits(settings),
                xml=_xml_limits(settings),
                propfind_infinity=settings.propfind_infinity,
                syncs_files=_syncs_files(settings),
            ),
            follow=identification.follow,
        )

    def _make_route(self, settings: Settings, identification: Identification) -> Route:
        """Which face answers which address: the first that fits."""
        webdav = WebDavFace(self.site, unknown=identification.answer_unknown)
        registry = LockRegistry(self.service, self.store)
        api = self._make_api(registry, identification)
        dashboard = DashboardFace(identification)
        simulator = self._make_simulator(registry, settings, identification)
        allowed = AddressGuard(frozenset(settings.inspect_ports), settings.inspect_denied)
        guard = allowed if settings.inspect_urls else None
        inspector = InspectorFace(Inspection(guard), unknown=identification.answer_unknown)
        operations = OperationsFace(
            Readiness(self.store, self.folder, settings.folder),
            self.metrics,
            is_public=settings.metrics_public,
            unknown=identification.answer_unknown,
        )
        return mounted(
            {
                MOUNT.text: webdav,
                **({SIMULATOR: simulator} if settings.simulator else {}),
                # Without the simulator, too: what is written about each code is of use by itself.
                SIMULATOR_PAGES: PagesFace(beside_dashboard=True),
                **dict.fromkeys((INSPECTOR, INSPECTOR_PAGE), inspector),
                "/api": api,
                **dict.fromkeys(DOCUMENTS, api),
                **dict.fromkeys(ADDRESSES, dashboard),
                **dict.fromkeys(OPERATIONS, operations),
            },
            star=webdav,
            front=dashboard,
        )

    def _make_api(self, registry: LockRegistry, identification: Identification) -> ApiFace:
        return ApiFace(
            ApiSite(
                registry=registry,
                feed=self.feed,
                line=self.line,
                clock=self.store.clock,
                resolve=self.site.resolve,
                is_served=lambda resource: resource.is_at_or_below(MOUNT),
                mount=MOUNT,
                is_open=identification.is_open,
                follow=identification.follow,
            ),
            unknown=identification.answer_unknown,
        )

    def _make_simulator(
        self, registry: LockRegistry, settings: Settings, identification: Identification
    ) -> SimulatorFace:
        return SimulatorFace(
            self.sequences,
            limits=_simulator_limits(settings),
            clock=self.store.clock,
            unknown=identification.answer_unknown,
            locks=SimulatedLocks(
                registry,
                self.line,
                self.store,
                self.store.clock,
                most=settings.simulator_max_locks,
                prefix="" if identification.is_open else _SIMULATED_HOLDER,
            ),
        )

    def _etag_of(self, resource: ResourcePath) -> str | None:
        return self.site.etag_of(resource)

    def _note_store_work(self, work: Literal["commit", "sync"], seconds: float) -> None:
        self.metrics.stored(work, seconds)


def _identification(settings: Settings, listed_users: Sequence[UserRecord], clock: Clock) -> Identification:
    users_file = None if settings.users_file is None else UsersFile(settings.users_file)
    authenticator = Authenticator(users_file, listed_users, clock, max_checks=settings.max_password_checks)
    sessions = (
        None
        if authenticator.is_open
        else Sessions(load_key(settings.state_folder / KEY_NAME), clock, settings.session_s)
    )
    return Identification(authenticator, sessions)


def _syncs_files(settings: Settings) -> bool:
    return settings.durability is Durability.POWER


def run(settings: Settings, *, users: Sequence[UserRecord], on_ready: Callable[[str], None]) -> bool:
    """Serve until SIGINT or SIGTERM; False when workers kept failing, or had to be killed at the end.

    `on_ready` is given the base URL once requests are answered.

    The state folder must be claimed by the caller. Raises ListeningError, StoreError,
    FolderUnusableError, UsersFileError or SessionKeyError, each in plain words.
    """
    set_up_logs(settings.log_format)
    sockets = bind(settings.host, settings.port)
    url = base_url(settings.scheme, settings.host, sockets)
    try:
        if settings.workers == 1:
            _serve((settings, tuple(users)), sockets, lambda: on_ready(url), is_first=True)
            return True
        else:
            SequenceStates.begin(settings.state_folder / _SEQUENCES_NAME)
            # Opened once here first, so that what is wrong with it is said once and before any worker starts.
            first = Application(settings, users)
            try:
                _begin(first)
                begin_shared(settings.state_folder / _METRICS_NAME, first.store)
            finally:
                first.close()
            work = (settings, tuple(users))
            code = supervise(
                _serve,
                work,
                sockets,
                settings.workers,
                stop_s=2 * settings.stop_timeout_s,
                on_ready=lambda: on_ready(url),
            )
            return code == 0
    finally:
        for sock in sockets:
            sock.close()


def _begin(first: Application) -> None:
    """What is done once, by the process that has claimed the state folder, before any serves."""
    given_up = first.service.give_up_parked()
    if given_up:
        _logger.warning("%d requests waited in line when an earlier server ended; their places were given up", given_up)


def _serve(
    work: tuple[Settings, tuple[UserRecord, ...]],
    sockets: list[socket],
    on_ready: Callable[[], None],
    *,
    is_first: bool = False,
) -> None:
    settings, users = work
    set_up_logs(settings.log_format)  # a worker is a process of its own
    application = Application(settings, users)
    try:
        if is_first:
            _begin(application)
        application.start()
        tls = None
        if settings.tls_cert is not None and settings.tls_key is not None:
            tls = Tls(settings.tls_cert, settings.tls_key)
        server = Server(
            application.home,
            application.edge,
            tls=tls,
            graceful_s=int(settings.stop_timeout_s),
            lifespan="off",
            on_ready=on_ready,
        )
        server.run(sockets)
    finally:
        application.close()


def _timeouts(settings: Settings) -> TimeoutPolicy:
    return TimeoutPolicy(
        shortest=timedelta(seconds=settings.min_timeout_s),
        longest=timedelta(seconds=settings.max_timeout_s),
        default=timedelta(seconds=settings.default_timeout_s),
    )


def _lock_limits(settings: Settings) -> Limits:
    line = LineLimits(settings.max_waiters, timedelta(seconds=settings.place_kept_s))
    return Limits(settings.max_locks_per_principal, settings.max_locks, line)


def _xml_limits(settings: Settings) -> XmlLimits:
    limits = XmlLimits(settings.max_xml_bytes, settings.max_xml_depth, settings.max_xml_elements)
    return DEFAULT_LIMITS if limits == DEFAULT_LIMITS else limits


def _text_limits(settings: Settings) -> TextLimits:
    return TextLimits(
        path_bytes=settings.max_path_bytes,
        if_bytes=settings.max_if_bytes,
        timeout_bytes=settings.max_timeout_bytes,
        destination_bytes=settings.max_destination_bytes,
        owner_bytes=settings.max_owner_bytes,
        property_bytes=settings.max_property_bytes,
        properties=settings.max_properties,
    )


def _simulator_limits(settings: Settings) -> SimulatorLimits:
    return SimulatorLimits(
        delay_s=settings.simulator_max_delay_s,
        size_bytes=settings.simulator_max_size_bytes,
        body_bytes=settings.simulator_max_body_bytes,
    )


def _edge_limits(settings: Settings) -> EdgeLimits:
    return EdgeLimits(
        head_bytes=settings.max_header_bytes,
        head_s=settings.head_timeout_s,
        body_bytes=settings.max_upload_bytes,
        body_window_s=settings.stall_timeout_s,
        idle_s=settings.idle_timeout_s,
        stall_s=settings.stall_timeout_s,
        connections=settings.max_connections,
        uploads=settings.max_uploads,
        scripts=settings.simulator_max_at_work,
    )
