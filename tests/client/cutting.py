"""A TCP proxy that cuts connections when it is told to: what a bad network does to a client.

Owns: `Cutter`, between one client and one server on loopback. It knows no HTTP: an answer is what the server sends.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Generator

__all__ = ["Cutter", "cutting"]


class Cutter:
    """Passes everything on, until `drop_answers` is above zero: then the next so many answers are lost, and their connections."""

    def __init__(self, port: int) -> None:
        self.target = ("127.0.0.1", port)
        self.drop_answers = 0
        self.dropped = 0
        self.refuses = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._mutex = threading.Lock()
        self._is_over = False
        self._acceptor = threading.Thread(target=self._accept, name="cutter")
        self._acceptor.start()

    @property
    def url(self) -> str:
        """Where to connect."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Reset all connections that are open now."""
        with self._mutex:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End everything."""
        self._is_over = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(20)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(20)

    def _accept(self) -> None:
        while not self._is_over:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuses:
                _reset(client)
                continue
            thread = threading.Thread(target=self._carry, args=(client,), name="cutter-connection")
            self._threads.append(thread)
            thread.start()

    def _carry(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self.target, timeout=20)
        except OSError:
            _reset(client)
            return
        with self._mutex:
            self._open |= {client, server}
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            with contextlib.suppress(OSError):
                while self._pass_on(ready, server):
                    pass
        with self._mutex:
            self._open -= {client, server}
        _reset(client)
        server.close()

    def _pass_on(self, ready: selectors.BaseSelector, server: socket.socket) -> bool:
        for key, _ in ready.select(20):
            source, sink = key.fileobj, key.data
            assert isinstance(source, socket.socket)
            data = source.recv(65_536)
            if not data:
                return False
            if source is server and self.drop_answers:
                self.drop_answers -= 1
                self.dropped += 1
                return False
            sink.sendall(data)
        return True


def _reset(sock: socket.socket) -> None:
    """Close as a broken network does: with a reset, not with an orderly end."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@contextlib.contextmanager
def cutting(port: int) -> Generator[Cutter]:
    """A Cutter before the server on this port, until the end of the block."""
    cutter = Cutter(port)
    try:
        yield cutter
    finally:
        cutter.close()
