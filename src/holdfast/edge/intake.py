"""A request body on its way from the parser to memory or to an upload.

Owns: the bytes that wait between the two, and back-pressure on the socket. Must not know: faces,
responses. Memory is bounded whatever the body's size: one batch being written, one being gathered.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Final

from holdfast.edge.heads import problem
from holdfast.edge.runtime import Runtime
from holdfast.wire.exchange import Response, Upload

__all__ = ["ClientGoneError", "Intake", "RefusedError", "receive", "too_large"]

_BATCH_BYTES: Final = 1024 * 1024
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class ClientGoneError(Exception):
    """The connection ended; there is nobody to answer."""


class RefusedError(Exception):
    """The request ends here, with `response`."""

    def __init__(self, response: Response) -> None:
        """Carry the answer."""
        super().__init__(response.status)
        self.response = response


class Intake:
    """What has arrived and is not yet taken. Used from the loop's thread only."""

    def __init__(
        self, event: asyncio.Event, pause: Callable[[], None], resume: Callable[[], None], gather: int
    ) -> None:
        """Pause the socket once `gather` bytes wait; `event` wakes the one who waits for them."""
        self.event = event
        self.complete = False
        self.dropping = False
        self.total = 0
        self._pause = pause
        self._resume = resume
        self._gather = gather
        self._held = bytearray()
        self._failure: Exception | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes from the parser."""
        self.total += len(data)
        if self.dropping:
            return
        self._held += data
        if len(self._held) > self._gather:
            self._pause()
            self.event.set()

    def finish(self) -> None:
        """The body is complete."""
        self.complete = True
        self.event.set()

    def fail(self, failure: Exception) -> None:
        """No more will come; whoever waits gets `failure`, the first one given."""
        if self._failure is None and not self.complete:
            self._failure = failure
            self.event.set()

    def drop(self) -> None:
        """Forget what waits and all that follows."""
        self.dropping = True
        self._held = bytearray()

    def gather(self, size: int) -> None:
        """Wait for up to `size` bytes at a time from now on."""
        self._gather = size
        if len(self._held) <= size:
            self._resume()

    async def ready(self) -> None:
        """Return once the body is complete or more waits than is gathered; raises what `fail` was given."""
        while True:
            if self._failure is not None:
                raise self._failure
            if self.complete or len(self._held) > self._gather:
                return
            self.event.clear()
            await self.event.wait()

    def take(self) -> bytearray:
        """All that waits; the socket is read again."""
        held, self._held = self._held, bytearray()
        self._resume()
        return held


async def receive(intake: Intake, runtime: Runtime, length: int | None, welcome: Callable[[], None]) -> bytes | Upload:
    """The whole body: bytes when small, else an Upload that now belongs to the caller.

    `length` is what was announced, None for chunked. `welcome` is called once there is room for it.
    Raises ClientGoneError, RefusedError (408, 413, 503, 507) or OSError; then nothing is left behind.
    """
    most = runtime.config.limits.memory_body_bytes
    if length is None or length <= most:
        welcome()
        await intake.ready()
        if intake.total <= most:
            return bytes(intake.take())
    with _upload_slot(runtime):
        welcome()
        try:
            return await _spool(intake, runtime)
        except OSError as error:
            if error.errno in _FULL:
                detail = "There is no room left to store this; nothing was changed."
                raise RefusedError(problem(507, detail)) from error
            raise


@contextlib.contextmanager
def _upload_slot(runtime: Runtime) -> Generator[None]:
    """Count an upload in progress. Raises RefusedError where there are too many."""
    limits = runtime.config.limits
    if runtime.uploads >= limits.uploads:
        wait = ("retry-after", str(limits.retry_after_s))
        raise RefusedError(problem(503, "Too many uploads are in progress; try again shortly.", [wait]))
    runtime.uploads += 1
    try:
        yield
    finally:
        runtime.uploads -= 1


async def _spool(intake: Intake, runtime: Runtime) -> Upload:
    most = runtime.config.limits.body_bytes

    def undo_create(future: Future[Upload]) -> None:
        if not future.cancelled() and future.exception() is None:
            future.result().discard()

    upload = await runtime.run(runtime.config.new_upload, undo_create)
    writing: Future[None] | None = None
    try:
        intake.gather(_BATCH_BYTES)
        while True:
            await intake.ready()
            _check_size(intake.total, most)
            if writing is not None:
                await asyncio.wrap_future(writing)
            last = intake.complete
            writing = runtime.submit(_Write(upload, intake.take()))
            if last:
                await asyncio.wrap_future(writing)
                return upload
    except BaseException:
        if writing is None:
            runtime.submit(upload.discard)
        else:
            writing.add_done_callback(lambda _: upload.discard())
        raise


class _Write:
    """One batch for one upload, to be called on a thread."""

    __slots__ = ("_batch", "_upload")

    def __init__(self, upload: Upload, batch: bytearray) -> None:
        self._upload = upload
        self._batch = batch

    def __call__(self) -> None:
        if self._batch:
            self._upload.write(self._batch)


def _check_size(total: int, most: int | None) -> None:
    if most is not None and total > most:
        raise RefusedError(too_large(most))


def too_large(most: int) -> Response:
    """The answer to a body over the limit."""
    return problem(413, f"The body is larger than {most} bytes, the most that is accepted here.")
