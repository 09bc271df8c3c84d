"""Metrics: what a server counts and measures, and the text that Prometheus reads.

Owns: the names and meaning of all series, and that one scrape tells of all worker processes, whichever answers it. Must
not know: HTTP, faces, where a measurement is taken. A label never holds a path or a principal.

Theory of operation. Each process counts in dicts of its own, without a lock: each series is fed by one thread at a time,
and a reader sees each number as of some moment. Where several workers share a state folder, each writes its numbers to a
file of its own there, once a second and before it answers a scrape; an answer adds up those of all. So numbers
never fall from one scrape to the next, whoever answers, and those of a worker that has died still count. What is in
the store is read at the scrape: the locks, who waits, and how many events of each kind there were since the start.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from holdfast import __version__
from holdfast.core.model import EventKind
from holdfast.store.protocol import Store

__all__ = ["CONTENT_TYPE", "Answers", "Metrics", "Publisher", "begin_shared"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_QUICK_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_WAITS_S: Final = (0.01, 0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

_METHODS: Final = frozenset(
    {
        *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"),
        *("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK"),
    }
)
"""Counted by their own names. Any token is a method, so without a list of them whoever asks could make series without end."""
_OTHER_METHOD: Final = "other"

_TALLY_NAME: Final = "events"
_SUFFIX: Final = ".json"
_PAGE: Final = 1000
_PUBLISH_EVERY_S: Final = 1.0

_EVENTS: Final = {
    EventKind.GRANTED: ("holdfast_grants", "Locks granted."),
    EventKind.RELEASED: ("holdfast_releases", "Locks released by their holders."),
    EventKind.EXPIRED: ("holdfast_expiries", "Locks whose time ran out, counted when that is noticed."),
    EventKind.BREAKING: ("holdfast_set_breaks", "Breaks set for later, after a grace."),
    EventKind.BROKEN: ("holdfast_breaks", "Locks ended by force."),
    EventKind.DESTROYED: ("holdfast_destroyed_locks", "Locks that ended with their resource."),
    EventKind.QUEUED: ("holdfast_queued_requests", "Requests that took a place in the waiting line."),
    EventKind.LEFT: ("holdfast_left_requests", "Requests that left the waiting line without a lock."),
}


class _Series:
    """Histograms by label values: for each, the count of each bucket (the last one is the rest), and the sum."""

    __slots__ = ("bounds", "cells", "size")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.size = len(bounds) + 2
        self.cells: dict[str, list[float]] = {}

    def observe(self, key: str, seconds: float) -> None:
        """`key` is the label values, joined by spaces."""
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = [0.0] * self.size
        cell[bisect_left(self.bounds, seconds)] += 1
        cell[-1] += seconds


class Answers:
    """How one face answers: histograms by method and status, and how many requests of each had been parked."""

    __slots__ = ("by_class", "cells", "parked")

    def __init__(self) -> None:
        """Nothing was answered yet; set `by_class` where a status is to count as its class, `4xx`."""
        self.by_class = False
        self.cells: dict[tuple[str, int | str], list[float]] = {}
        self.parked: dict[tuple[str, int | str], int] = {}

    def add(self, method: str, status: int, seconds: float | None) -> None:
        """A request was answered, `seconds` after its head had come; None where it had been parked. Loop's thread only."""
        key = (method if method in _METHODS else _OTHER_METHOD, f"{status // 100}xx" if self.by_class else status)
        if seconds is None:
            self.parked[key] = self.parked.get(key, 0) + 1
            return
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = [0.0] * (len(_QUICK_S) + 2)
        cell[bisect_left(_QUICK_S, seconds)] += 1
        cell[-1] += seconds


class _Tally(msgspec.Struct):
    """How many events of each kind there were, up to `seq`."""

    seq: int
    counts: dict[str, int]


class _Snapshot(msgspec.Struct):
    """All numbers of one process: cells by series and key, plain counts by key."""

    series: dict[str, dict[str, list[float]]]
    parked: dict[str, int]
    failures: dict[str, int] = {}


class Metrics:
    """What one process counts; `folder` is where it meets the other workers, None where there are none.

    `store` is None where the locks are another server's, which tells of them. `failures` are the kinds of failure of an
    application behind this process, for one that stands before an application.
    """

    def __init__(self, store: Store | None, folder: Path | None = None, *, failures: Sequence[str] = ()) -> None:
        """Count from now on."""
        self._store = store
        self._failures = dict.fromkeys(failures, 0)
        self._folder = folder
        self._own = f"{os.getpid()}-{time.monotonic_ns()}{_SUFFIX}"
        self._turn = threading.Lock()
        self._written: bytes = b""
        self._answers: dict[str, Answers] = {}
        self._waits = _Series(_WAITS_S)
        self._handovers = _Series(_QUICK_S)
        self._store_work = _Series(_QUICK_S)
        self._event_delays = _Series(_QUICK_S)
        self._tally = _Tally(0, {}) if folder is not None or store is None else _begin_tally(store)

    # -- what happens; each is brief ------------------------------------------------------------------

    def answers_of(self, face: str, *, by_class: bool = False) -> Answers:
        """What counts the answers of a face. With `by_class` from now on by class, for a face that answers any status."""
        answers = self._answers.setdefault(face, Answers())
        answers.by_class = answers.by_class or by_class
        return answers

    def waited(self, seconds: float, *, granted: bool) -> None:
        """A request has stood in the line for so long."""
        self._waits.observe("granted" if granted else "refused", seconds)

    def handed_over(self, seconds: float) -> None:
        """From the event that freed a lock to the grant to who waited for it."""
        self._handovers.observe("", seconds)

    def stored(self, work: str, seconds: float) -> None:
        """A `commit` or a `sync` of the store took so long; each kind from one thread at a time."""
        self._store_work.observe(work, seconds)

    def passed_on(self, seconds: float) -> None:
        """From an event to its being passed on to this process's listeners and waiters."""
        self._event_delays.observe("", seconds)

    def upstream_failed(self, kind: str) -> None:
        """The application failed in one of the ways that were named at the start. Loop's thread only."""
        self._failures[kind] += 1

    # -- other workers --------------------------------------------------------------------------------

    def publish(self) -> None:
        """Let the other workers know this one's numbers; raises OSError."""
        self._publish(self._snapshot())

    def _publish(self, snapshot: _Snapshot) -> None:
        if self._folder is None:
            return
        data = msgspec.json.encode(snapshot)
        if data != self._written:
            _replace(self._folder / self._own, data)
            self._written = data

    def _snapshot(self) -> _Snapshot:
        series = {
            "waits": self._waits,
            "handovers": self._handovers,
            "store": self._store_work,
            "delays": self._event_delays,
        }
        # Copied one by one: a dict that grows meanwhile must not be walked.
        cells = {name: {key: list(cell) for key, cell in list(one.cells.items())} for name, one in series.items()}
        requests: dict[str, list[float]] = {}
        parked: dict[str, int] = {}
        for face, answers in self._answers.items():
            for (method, status), cell in list(answers.cells.items()):
                requests[f"{face} {method} {status}"] = list(cell)
            for (method, status), count in list(answers.parked.items()):
                parked[f"{face} {method} {status}"] = count
        return _Snapshot({"requests": requests, **cells}, parked, dict(self._failures))

    def _all(self) -> _Snapshot:
        """The sum over all workers, those that have ended included."""
        total = self._snapshot()
        if self._folder is None:
            return total
        # Just what is told here is published first: whoever answers next must not tell of less.
        with contextlib.suppress(OSError):
            self._publish(total)
        for path in sorted(self._folder.glob(f"*-*{_SUFFIX}")):
            if path.name != self._own:
                # Of a file that another version of the program wrote, or a disk spoiled, nothing counts.
                with contextlib.suppress(OSError, msgspec.MsgspecError):
                    _add(total, msgspec.json.decode(path.read_bytes(), type=_Snapshot))
        return total

    def _count_events(self, store: Store) -> Mapping[str, int]:
        """How many events of each kind there were since the start; the same for all workers."""
        tally = self._tally
        shared = None if self._folder is None else self._folder / f"{_TALLY_NAME}{_SUFFIX}"
        if shared is not None:
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                found = msgspec.json.decode(shared.read_bytes(), type=_Tally)
                tally = found if found.seq > tally.seq else tally
        counts = dict(tally.counts)
        seq = tally.seq
        while True:
            with store.read() as tx:
                page = tx.events_after(seq, _PAGE)
            for event in page:
                counts[event.kind] = counts.get(event.kind, 0) + 1
            if page:
                seq = page[-1].seq
            if len(page) < _PAGE:
                break
        if seq != tally.seq and shared is not None:
            with contextlib.suppress(OSError):
                _replace(shared, msgspec.json.encode(_Tally(seq, counts)))
        self._tally = _Tally(seq, counts)
        return counts

    # -- the scrape -----------------------------------------------------------------------------------

    def render(self) -> bytes:
        """All series, in Prometheus' text format. Raises StoreError. Safe from any thread; scrapes take turns."""
        with self._turn:
            registry = CollectorRegistry(auto_describe=False)
            registry.register(_Collected([*self._of_store(), *_of_processes(self._all())]))
            return generate_latest(registry)

    def _of_store(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("holdfast_info", "Always 1; the label tells the version.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        if self._store is None:
            return
        with self._store.read() as tx:
            locks, waiters, latest = tx.count_locks(), tx.count_waiters(), tx.latest_seq()
        yield GaugeMetricFamily(
            "holdfast_locks", "Locks kept, expired ones that are not yet tidied away included.", locks
        )
        yield GaugeMetricFamily("holdfast_waiters", "Requests in the waiting line.", waiters)
        yield GaugeMetricFamily("holdfast_latest_event", "The number of the newest event.", latest)
        counts = self._count_events(self._store)
        for kind, (name, text) in _EVENTS.items():
            yield CounterMetricFamily(name, text, counts.get(kind, 0))


class Publisher:
    """A thread that publishes this worker's numbers once a second."""

    def __init__(self, metrics: Metrics) -> None:
        """Start with `start`."""
        self._metrics = metrics
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="holdfast-metrics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Publish once more, and end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._stopping.wait(_PUBLISH_EVERY_S)
            # A full disk is told of by whoever needs it more.
            with contextlib.suppress(OSError):
                self._metrics.publish()


def begin_shared(folder: Path, store: Store | None) -> None:
    """Make the folder where workers meet ready for a start: nothing is counted yet. Raises OSError."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for path in folder.glob(f"*{_SUFFIX}*"):
        path.unlink()
    if store is not None:
        _replace(folder / f"{_TALLY_NAME}{_SUFFIX}", msgspec.json.encode(_begin_tally(store)))


class _Collected(Collector):
    """Gives what was collected."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        yield from self._found


def _begin_tally(store: Store) -> _Tally:
    with store.read() as tx:
        return _Tally(tx.latest_seq(), {})


def _replace(path: Path, data: bytes) -> None:
    aside = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    aside.write_bytes(data)
    aside.replace(path)


def _add(total: _Snapshot, other: _Snapshot) -> None:
    for name, cells in other.series.items():
        mine = total.series.setdefault(name, {})
        for key, cell in cells.items():
            before = mine.get(key)
            mine[key] = cell if before is None else [one + two for one, two in zip(before, cell, strict=True)]
    for counts, more in ((total.parked, other.parked), (total.failures, other.failures)):
        for key, count in more.items():
            counts[key] = counts.get(key, 0) + count


def _of_processes(total: _Snapshot) -> Iterator[Metric]:
    requests = CounterMetricFamily("holdfast_requests", "Requests answered.", labels=["face", "method", "status"])
    taken: dict[str, list[float]] = {}
    counts: dict[str, float] = dict(total.parked)
    for key, cell in total.series["requests"].items():
        counts[key] = counts.get(key, 0) + sum(cell[:-1])
        short = key.rpartition(" ")[0]
        before = taken.get(short)
        taken[short] = cell if before is None else [one + two for one, two in zip(before, cell, strict=True)]
    for key, count in sorted(counts.items()):
        requests.add_metric(key.split(" "), count)
    yield requests
    if total.failures:
        failures = CounterMetricFamily(
            "holdfast_upstream_failures", "Requests that the application behind failed.", labels=["kind"]
        )
        for key, count in sorted(total.failures.items()):
            failures.add_metric([key], count)
        yield failures
    yield _histogram(
        "holdfast_request_seconds",
        "From a request's complete head to its answer; not of requests that waited in line.",
        ["face", "method"],
        _QUICK_S,
        taken,
    )
    yield _histogram(
        "holdfast_wait_seconds", "How long requests waited in line.", ["outcome"], _WAITS_S, total.series["waits"]
    )
    yield _histogram(
        "holdfast_handover_seconds",
        "From what freed a lock to the grant to who waited for it.",
        [],
        _QUICK_S,
        total.series["handovers"],
    )
    yield _histogram(
        "holdfast_store_seconds",
        "What the store took for a commit, which many changes may share, and for an fsync.",
        ["work"],
        _QUICK_S,
        total.series["store"],
    )
    yield _histogram(
        "holdfast_event_delay_seconds",
        "From an event to its being passed on to a process's listeners and waiters.",
        [],
        _QUICK_S,
        total.series["delays"],
    )


def _histogram(
    name: str, text: str, labels: list[str], bounds: tuple[float, ...], cells: Mapping[str, list[float]]
) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for key, cell in sorted(cells.items()):
        buckets: list[tuple[str, float]] = []
        count = 0.0
        for bound, more in zip((*[str(one) for one in bounds], "+Inf"), cell[:-1], strict=True):
            count += more
            buckets.append((bound, count))
        family.add_metric(key.split(" ") if labels else [], buckets, cell[-1])
    return family
