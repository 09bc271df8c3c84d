"""A simulated server for the tests of a client: any status on demand, and 423s that real locks stand behind.

A pytest plugin, found by itself where Holdfast is installed, with one fixture:

    def test_my_client_waits(simulated_server):
        url = simulated_server.url(423, seq="423x2,200")
        assert my_client.put(url).tries == 3

`simulating()` is the same for whoever does not use pytest. Owns: the server's thread, and short words for what tests ask of it.
Must not know: what is simulated, or how. It imports next to nothing until a server is asked for.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Generator, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

import pytest

if TYPE_CHECKING:
    from holdfast.simulating import Simulation

__all__ = ["SimulatedServer", "simulated_server", "simulating"]

_READY_S: Final = 20.0
_CONNECTIONS: Final = 200
_STATUS: Final = "/api/status"


class _Time:
    """Real time, and what a test adds to it, in microseconds."""

    def __init__(self) -> None:
        self.added_us = 0

    def __call__(self) -> int:
        return time.monotonic_ns() // 1000 + self.added_us


class SimulatedServer:
    """A running simulated server. `base_url` has no slash at its end. Safe from any thread."""

    def __init__(self, base_url: str, simulation: Simulation, passing: _Time) -> None:
        """Made by `simulating`."""
        self.base_url = base_url
        self._simulation = simulation
        self._time = passing
        self._numbers = itertools.count(1)

    def url(self, code: int = 200, *, key: str | None = None, **options: str | float | Iterable[str]) -> str:
        """The URL that answers with `code`, as the options ask: `seq="423x2,200"`, `retry_after=3`, `header=["X-A: b"]`.

        They are those of the simulator; `for_` stands for `for`. A sequence without a key has one of its own for each
        call, so that no test goes on where another has left it.
        """
        asked = {name.rstrip("_"): value for name, value in options.items()}
        if key is None and ("seq" in asked or "seed" in asked):
            key = self._new_name("test")
        if key is not None:
            asked["key"] = key
        pairs = [
            (
                name,
                value if isinstance(value, str) else f"{value:.10g}" if isinstance(value, int | float) else list(value),
            )
            for name, value in asked.items()
        ]
        query = urlencode(pairs, doseq=True, quote_via=quote, safe=",:/")
        return f"{self.base_url}{_STATUS}/{code}{'?' if query else ''}{query}"

    def locked(self, key: str | None = None, *, for_: str | float = 10, holder: str = "Ada", reason: str = "") -> str:
        """The URL of a lock that is held from now on: 423, and 200 once it has ended, however that comes.

        `for_` is in seconds, or a text such as `1.5m`. Without a `key` it is a lock of its own. What is held under this key already
        ends. Raises ValueError, with a sentence, for what cannot be.
        """
        key = key or self._new_name("lock")
        place = f"{_STATUS}/locks/{quote(key, safe='')}"
        self._ask("DELETE", place, may_miss=True)
        span = for_ if isinstance(for_, str) else f"{for_:.6f}"
        self._ask("PUT", place, urlencode({"for": span, "holder": holder, "reason": reason}))
        return f"{self.base_url}{_STATUS}/423?lock={key}"

    def release(self, url: str) -> None:
        """End the lock of this URL, which `locked` gave. Harmless when repeated."""
        self._ask("DELETE", _managed(url))

    def refresh(self, url: str, *, for_: str | float = 10) -> None:
        """Its time begins anew."""
        self._ask("PUT", _managed(url), urlencode({"for": for_ if isinstance(for_, str) else f"{for_:.6f}"}))

    def break_lock(self, url: str, reason: str = "") -> None:
        """End it by force."""
        self._ask("POST", f"{_managed(url)}/break", urlencode({"reason": reason}))

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass for every lock, at once: nobody need sleep until one ends."""
        self._time.added_us += int(seconds * 1_000_000)

    def reset(self) -> None:
        """Forget all sequences and all locks, as if the server had just been started."""
        from holdfast.registry import Filter
        from holdfast.simulating import EVERYBODY

        simulation = self._simulation
        simulation.sequences.forget(EVERYBODY.name)
        while held := simulation.registry.find(Filter(), lambda _: True, None, 1000).found:
            for found in held:
                simulation.registry.release(found.lock.id, found.lock.token, found.lock.principal)
        while simulation.service.sweep():
            pass
        # Ends are in the record: what has just happened is forgotten, too.
        simulation.service.trim(timedelta(seconds=-1))

    def _ask(self, method: str, target: str, query: str = "", *, may_miss: bool = False) -> None:
        """Ask the simulator itself: no socket, so that a test may have replaced those."""
        from holdfast.simulating import EVERYBODY
        from holdfast.wire.exchange import Headers, Request

        response = self._simulation.simulator(Request(method, target, Headers(), EVERYBODY, b"", query))
        if response.status >= 400 and not (may_miss and response.status == 404):
            raise ValueError(_detail(response.body))

    def _new_name(self, prefix: str) -> str:
        return f"{prefix}-{next(self._numbers)}"


@contextlib.contextmanager
def simulating() -> Generator[SimulatedServer]:
    """A simulated server in a thread of this process, on a free port of 127.0.0.1, until the end of the block."""
    from holdfast.clock import Clock
    from holdfast.edge.serve import Server
    from holdfast.listening import base_url, bind
    from holdfast.simulating import Simulation, SimulationLimits

    passing = _Time()
    simulation = Simulation(clock=Clock(read_uptime=passing), limits=SimulationLimits(connections=_CONNECTIONS))
    sockets = bind("127.0.0.1", 0)
    ready = threading.Event()
    server = Server(simulation.home, simulation.edge, graceful_s=0.5, lifespan="off", on_ready=ready.set)
    thread = threading.Thread(target=server.run, args=(sockets,), name="holdfast-simulated", daemon=True)
    simulation.start()
    thread.start()
    try:
        if not ready.wait(_READY_S):
            msg = f"The simulated server did not start within {_READY_S:g} s."
            raise RuntimeError(msg)
        yield SimulatedServer(base_url("http", "127.0.0.1", sockets).rstrip("/"), simulation, passing)
    finally:
        server.stop()
        thread.join()
        simulation.close()
        for sock in sockets:
            sock.close()


@pytest.fixture(scope="session")
def simulated_server() -> Generator[SimulatedServer]:
    """A SimulatedServer for all tests of the session: any status on demand, and 423s that real locks stand behind."""
    with simulating() as server:
        yield server


def _managed(url: str) -> str:
    """Where the lock of a URL is managed."""
    return f"{_STATUS}/locks/{url.rpartition('?lock=')[2].partition('&')[0]}"


def _detail(body: object) -> str:
    from msgspec import json

    from holdfast.wire.problem_json import Problem

    assert isinstance(body, bytes)
    return json.decode(body, type=Problem).detail
