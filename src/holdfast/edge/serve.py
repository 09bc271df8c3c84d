"""One server process: uvicorn with uvloop, our protocol, given sockets; and its end.

Owns: uvicorn's configuration and the start and stop of a server. Must not know: what is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import uvicorn

from holdfast.edge.protocol import protocol_class
from holdfast.edge.runtime import Runtime
from holdfast.edge.settings import EdgeConfig

__all__ = ["Server", "Tls", "serve"]


_FILES_PER_CONNECTION: Final = 3
"""Its socket, the duplicate that a file is sent through, and that file or an upload."""
_FILES_BESIDE: Final = 256

logger = logging.getLogger("holdfast.edge")


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of the certificate chain and its private key."""

    certificate: Path
    key: Path


class _Uvicorn(uvicorn.Server):
    """Says when it accepts connections, and what its end waits for."""

    def __init__(
        self, config: uvicorn.Config, on_ready: Callable[[], None] | None, at_end: Callable[[], None] | None
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._at_end = at_end

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self.on_tick(0)  # the Date field, before the first answer
        if self._on_ready is not None:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Called once uvicorn, below, has asked every connection to end.
        asyncio.get_running_loop().call_soon(self._say_what_is_under_way)
        await super().shutdown(sockets)
        if self._at_end is not None:
            self._at_end()

    def _say_what_is_under_way(self) -> None:
        connections = cast("set[asyncio.Protocol]", self.server_state.connections)
        count = sum(not cast("Any", connection).transport.is_closing() for connection in connections)
        if count and not self.force_exit:
            logger.warning(
                "Waiting up to %g s for %s under way; Ctrl-C again stops now.",
                self.config.timeout_graceful_shutdown,
                "1 request" if count == 1 else f"{count} requests",
            )


class Server:
    """One edge on given sockets. `run` blocks; `stop` may be called from any thread or a signal handler."""

    def __init__(
        self,
        app: Any,
        config: EdgeConfig,
        *,
        tls: Tls | None = None,
        graceful_s: float = 10.0,
        lifespan: str = "auto",
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        """Requests that no face takes go to the ASGI `app`. What is in flight may take `graceful_s` to end."""
        logging.getLogger("uvicorn.error").addFilter(_is_not_about_the_end)  # added once, however often it is asked
        self._runtime = Runtime(config)
        self._connections = config.limits.connections
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=protocol_class(self._runtime),
                ws="none",
                lifespan=lifespan,  # type: ignore[arg-type]
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                headers=[("server", "holdfast")],
                timeout_graceful_shutdown=cast("int", graceful_s),  # uvicorn takes parts of a second too
                ssl_certfile=str(tls.certificate) if tls else None,
                ssl_keyfile=str(tls.key) if tls else None,
            ),
            on_ready,
            config.at_end,
        )

    def run(self, sockets: Sequence[socket.socket]) -> None:
        """Serve until `stop`, SIGINT or SIGTERM; returns after the graceful end. The sockets are closed.

        The process may afterwards open as many files as its connections need, where the system lets it.
        """
        _allow_open_files(self._connections * _FILES_PER_CONNECTION + _FILES_BESIDE)
        try:
            with self._signals():
                self._uvicorn.run(sockets=list(sockets))
        finally:
            self._runtime.close()

    def stop(self) -> None:
        """Begin the graceful end."""
        self._uvicorn.should_exit = True

    @contextlib.contextmanager
    def _signals(self) -> Generator[None]:
        """Stop on signals that come before uvicorn listens for them, and when it raises those that ended it once more."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(_number: int, _frame: object) -> None:
            self.stop()

        former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


def _is_not_about_the_end(record: logging.LogRecord) -> bool:
    """Drop uvicorn's own line about requests that did not end in time; what the end waits for has been said."""
    return not str(record.msg).startswith("Cancel ")


def _allow_open_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft not in {resource.RLIM_INFINITY, hard} and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def serve(
    app: Any,
    config: EdgeConfig,
    sockets: Sequence[socket.socket],
    *,
    tls: Tls | None = None,
    graceful_s: float = 10.0,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Run one server on listening `sockets` until SIGINT or SIGTERM; `on_ready` is called once it accepts."""
    Server(app, config, tls=tls, graceful_s=graceful_s, on_ready=on_ready).run(sockets)
