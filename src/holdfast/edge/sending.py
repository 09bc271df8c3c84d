"""Bodies on their way to the client: bytes, regions of files, iterators.

Owns: the ways to send, their back-pressure, and the closing of every file and iterator, whatever
happens. Must not know: requests, faces, keep-alive.

Theory of operation: on plain TCP a file goes from the page cache to the socket by sendfile(2). The
event loop does not allow a second watcher on its own descriptor, so a duplicate is used, and only
while the transport itself holds no bytes: then nothing can overtake anything. Where a file is
not in the page cache, it is read ahead on a thread first, so that a slow disk does not stop the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from uvicorn.protocols.http.flow_control import FlowControl

from holdfast.edge.intake import ClientGoneError
from holdfast.edge.runtime import Runtime
from holdfast.wire.exchange import Body, FileRegion

__all__ = ["SMALL_BYTES", "Outlet", "TruncatedError", "close_body", "read_small"]

SMALL_BYTES: Final = 64 * 1024
"""Parts up to this size in all are read and sent together with the head, in one write."""

_READ_BYTES: Final = 256 * 1024
_SENDFILE_BYTES: Final = 512 * 1024
_TURN_BYTES: Final = 4 * 1024 * 1024
_HAS_SENDFILE: Final = hasattr(os, "sendfile")
_MSG_MORE: Final = getattr(socket, "MSG_MORE", 0)
_AT_ONCE: Final = struct.pack("ii", 1, 0)
"""A socket with this SO_LINGER is reset when it is closed."""
_RESET_LOOK_S: Final = 0.01
_RESET_LOOKS: Final = 200
_NOWAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)


class TruncatedError(Exception):
    """A file became shorter while it was being sent; the answer cannot be completed."""


def close_body(body: Body) -> None:
    """Close all files of a body and its iterator; errors are dropped, since nobody could act on them."""
    if isinstance(body, bytes):
        return
    closing = [part.file for part in body if isinstance(part, FileRegion)] if isinstance(body, list) else [body]
    for one in closing:
        close = getattr(one, "close", None)
        if close is not None:
            with contextlib.suppress(Exception):
                close()


def read_small(parts: list[bytes | FileRegion]) -> bytes:
    """All parts as bytes, files read and closed. Raises TruncatedError or OSError."""
    try:
        return b"".join(
            [part if isinstance(part, bytes) else _read(part.file.fileno(), part.offset, part.length) for part in parts]
        )
    finally:
        close_body(parts)


def _read(fd: int, offset: int, length: int) -> bytes:
    """Exactly `length` bytes. Raises TruncatedError."""
    data = os.pread(fd, length, offset)
    while len(data) < length:
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            raise TruncatedError
        data += more
    return data


class _Pull:
    """An iterator that is pulled and closed on threads, never by two at once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._lock = threading.Lock()
        self._closed = False

    def __call__(self) -> bytes | None:
        """The next chunk that is not empty; None at the end."""
        with self._lock:
            while not self._closed:
                chunk = next(self._chunks, None)
                if chunk is None or chunk:
                    return chunk
            return None

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                close_body(self._chunks)


class _Files:
    """The files of one answer: read on threads, and not closed while a thread reads."""

    def __init__(self, parts: list[bytes | FileRegion]) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._closed = False

    def read(self, part: FileRegion, offset: int, length: int) -> bytes:
        with self._lock:
            if self._closed:
                raise TruncatedError
            return _read(part.file.fileno(), offset, length)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            close_body(self._parts)

    def close_or(self, later: Callable[[Callable[[], None]], object]) -> None:
        """Close now, or hand the closing to `later` while a thread still reads."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
            self.close()
        else:
            later(self.close)


class Outlet:
    """The sending side of one connection. Used from the loop's thread only."""

    def __init__(
        self,
        transport: asyncio.Transport,
        flow: FlowControl,
        loop: asyncio.AbstractEventLoop,
        runtime: Runtime,
        *,
        tls: bool,
    ) -> None:
        """Send over `transport`, whose pauses `flow` knows."""
        self._transport = transport
        self._flow = flow
        self._loop = loop
        self._runtime = runtime
        self._tls = tls
        self._waiter: asyncio.Future[None] | None = None
        self._sent = 0

    @property
    def progress(self) -> tuple[int, int] | None:
        """Something that changes whenever the client takes bytes; None while it owes nothing."""
        waiting = self._transport.get_write_buffer_size()
        if waiting == 0 and self._waiter is None:
            return None
        return waiting, self._sent

    def connection_lost(self) -> None:
        """Wake whoever waits for the client."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def drained(self) -> None:
        """Return once the client has taken most of the earlier answers. Raises ClientGoneError."""
        if self._flow.write_paused:
            await self._flow.drain()
        if self._transport.is_closing():
            raise ClientGoneError

    async def send_parts(
        self, head: bytes, parts: list[bytes | FileRegion], length: int, starts: Callable[[], None]
    ) -> None:
        """Send `head` and `parts`, `length` bytes in all; the files are closed.

        `starts` is called before the first byte goes. Raises ClientGoneError, TruncatedError, OSError.
        """
        if length <= SMALL_BYTES:
            data = head + read_small(parts)
            starts()
            await self.write(data)
            return
        starts()
        files = _Files(parts)
        try:
            if self._tls or not _HAS_SENDFILE:
                await self._send_copied(head, parts, files)
            else:
                await self._send_direct(head, parts, files)
        finally:
            files.close_or(self._runtime.submit)

    async def send_chunks(
        self, head: bytes, chunks: Iterator[bytes], starts: Callable[[], None], *, chunked: bool
    ) -> None:
        """Send `head` and what the iterator gives, as it comes; the iterator is closed.

        One chunk per turn on a thread, so chunks should be of some KiB. `starts` is called before the
        first byte goes. Raises ClientGoneError, and whatever the iterator raises.
        """
        pull = _Pull(chunks)
        try:
            chunk = await self._runtime.run(pull)
            starts()
            while chunk is not None:
                await self.write(head + (b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk))
                head = b""
                chunk = await self._runtime.run(pull)
            if head:
                await self.write(head)
            if chunked:
                await self.write(b"0\r\n\r\n")
        finally:
            self._runtime.submit(pull.close)

    async def write(self, data: bytes) -> None:
        """Hand over to the transport, then wait while it holds too much. Raises ClientGoneError."""
        if self._transport.is_closing():
            raise ClientGoneError
        self._transport.write(data)
        if self._flow.write_paused:
            await self.drained()

    async def reset(self) -> None:
        """Reset the connection (TCP RST) once the client's system has what was sent, or takes no more of it for a while.

        Raises ClientGoneError.
        """
        await self._emptied()
        direct = self._transport.get_extra_info("socket")
        for _ in range(_RESET_LOOKS):
            if self._transport.is_closing():
                raise ClientGoneError
            if not _unsent(direct.fileno()):
                break
            await asyncio.sleep(_RESET_LOOK_S)
        with socket.socket(direct.family, direct.type, direct.proto, fileno=os.dup(direct.fileno())) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._transport.abort()

    async def _send_copied(self, head: bytes, parts: list[bytes | FileRegion], files: _Files) -> None:
        waiting = head
        for part in parts:
            if isinstance(part, bytes):
                waiting += part
                continue
            offset, end = part.offset, part.offset + part.length
            while offset < end:
                size = min(_READ_BYTES, end - offset)
                data = await self._runtime.run(partial(files.read, part, offset, size))
                offset += size
                await self.write(waiting + data)
                waiting = b""
        if waiting:
            await self.write(waiting)

    async def _send_direct(self, head: bytes, parts: list[bytes | FileRegion], files: _Files) -> None:
        await self._emptied()
        direct = self._transport.get_extra_info("socket")
        sock = socket.socket(direct.family, direct.type, direct.proto, fileno=os.dup(direct.fileno()))
        try:
            await self._send_bytes(sock, head)
            for part in parts:
                if isinstance(part, bytes):
                    await self._send_bytes(sock, part)
                else:
                    await self._send_file(sock.fileno(), part, files)
        finally:
            sock.close()

    async def _emptied(self) -> None:
        """Wait until the transport holds no bytes of earlier answers."""
        if self._transport.get_write_buffer_size() == 0:
            return
        low, high = self._transport.get_write_buffer_limits()
        self._transport.set_write_buffer_limits(0)
        try:
            self._transport.write(b"")
            while self._transport.get_write_buffer_size() and not self._transport.is_closing():
                await (self._flow.drain() if self._flow.write_paused else asyncio.sleep(0))
        finally:
            self._transport.set_write_buffer_limits(high, low)
        if self._transport.is_closing():
            raise ClientGoneError

    async def _writable(self, fd: int) -> None:
        """Wait until the socket takes bytes again. Raises ClientGoneError."""
        waiter = self._waiter = self._loop.create_future()
        self._loop.add_writer(fd, _wake, waiter)
        try:
            await waiter
        finally:
            self._loop.remove_writer(fd)
            self._waiter = None
        if self._transport.is_closing():
            raise ClientGoneError

    async def _send_bytes(self, sock: socket.socket, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self._transport.is_closing():
                raise ClientGoneError
            try:
                sent = sock.send(view, _MSG_MORE)
            except BlockingIOError:
                await self._writable(sock.fileno())
                continue
            except ConnectionError as error:
                raise ClientGoneError from error
            self._sent += sent
            view = view[sent:]

    async def _send_file(self, out: int, part: FileRegion, files: _Files) -> None:
        source = part.file.fileno()
        offset, end = part.offset, part.offset + part.length
        checked = offset
        turn = 0
        while offset < end:
            if self._transport.is_closing():
                raise ClientGoneError
            size = min(_SENDFILE_BYTES, end - offset)
            if checked < offset + size:
                checked = offset + size
                if not _is_cached(source, checked - 1):
                    await self._runtime.run(partial(files.read, part, offset, size))
            try:
                sent = os.sendfile(out, source, offset, size)
            except BlockingIOError:
                await self._writable(out)
                continue
            except ConnectionError as error:
                raise ClientGoneError from error
            if sent == 0:
                raise TruncatedError
            offset += sent
            self._sent += sent
            turn += sent
            if turn >= _TURN_BYTES:
                turn = 0
                await asyncio.sleep(0)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _unsent(fd: int) -> int:
    """Bytes that a socket's peer has not acknowledged, which a reset would drop; 0 where the system cannot say."""
    try:
        return struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))[0]
    except OSError:
        return 0


def _is_cached(fd: int, offset: int) -> bool:
    """False where reading the byte at `offset` would wait for the disk; True where that cannot be known."""
    if not _NOWAIT:
        return True
    try:
        os.preadv(fd, [bytearray(1)], offset, _NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True  # the file system cannot say
    return True
