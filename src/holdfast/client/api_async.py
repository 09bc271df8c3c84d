"""AsyncClient: the locks of a Holdfast server, for asyncio.

Owns: the calls of `api` with await. What they say to the server is the same flows. Must not know: WebDAV.

An AsyncClient belongs to the loop that it is used on, and has one task there while it holds locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

from holdfast.client import asking
from holdfast.client.acquiring import Acquisition, Ask, BreakFirst, refresh_many, release
from holdfast.client.api import LockOptions, endpoint_of, mine
from holdfast.client.boottime import boottime
from holdfast.client.drivers import run_async
from holdfast.client.held import AsyncHeld, Grant, HeldLock, OnLost, finish
from holdfast.client.holding import Loss, Outcome
from holdfast.client.keepalive import AsyncKeepAlive
from holdfast.client.lockfeed import LockFeed
from holdfast.client.refusals import UnreachableError
from holdfast.client.sending import AsyncHttpClient, AsyncSender, new_http

if TYPE_CHECKING:
    from holdfast.client.details import LockedDetails
    from holdfast.client.flows import Flow
    from holdfast.client.lockviews import EndedLock, FoundLock, Gap, LockEvent

__all__ = ["AsyncClient", "AsyncPendingLock"]

T = TypeVar("T")


class AsyncClient:
    """The same for asyncio; each call is awaited, but `lock` and `events`, which are entered and iterated with `async`.

    >>> async def rename(client: AsyncClient) -> None:
    ...     async with client.lock("/orders/42", ttl=30, wait=60, reason="rename") as held:
    ...         held.ensure()
    """

    def __init__(
        self,
        url: str = "",
        *,
        auth: tuple[str, str] | None = None,
        token: str = "",
        http: AsyncHttpClient | None = None,
        now: Callable[[], float] = boottime,
    ) -> None:
        """As Client; `http` is an httpx.AsyncClient."""
        self._http: AsyncHttpClient = new_http("AsyncClient") if http is None else http
        self._is_own_http = http is None
        self._endpoint = endpoint_of(url, self._http, token)
        self._send = AsyncSender(self._http, auth)
        self._now = now
        self._keep_alive = AsyncKeepAlive(self._refresh_many, now)

    def lock(
        self,
        resource: str,
        *,
        ttl: float | None = None,
        wait: float = 0.0,
        scope: str = "exclusive",
        depth: str = "0",
        owner: str = "",
        reason: str = "",
        id: str | None = None,  # noqa: A002 - as the API calls it
        keep_alive: bool = True,
        on_lost: OnLost | None = None,
        first_break: BreakFirst | str | None = None,
    ) -> AsyncPendingLock:
        """As `Client.lock`, for `async with`. `on_lost` may be a coroutine function."""
        ask = Ask(
            resource=resource,
            ttl=ttl,
            wait=max(0.0, wait),
            scope=scope,
            depth=depth,
            owner=owner,
            reason=reason,
            id=id,
            first_break=BreakFirst(first_break) if isinstance(first_break, str) else first_break,
        )
        return AsyncPendingLock(self, ask, keep_alive=keep_alive, on_lost=on_lost)

    async def acquire(self, resource: str, **options: Unpack[LockOptions]) -> AsyncHeld:
        """As `Client.acquire`."""
        return await self.lock(resource, **options)._acquire()

    async def refresh(self, held: AsyncHeld) -> None:
        """As `held.refresh()`."""
        await held.refresh()

    async def release(self, held: AsyncHeld) -> None:
        """As `held.release()`."""
        await held.release()

    async def break_lock(self, lock_id: str, reason: str, *, after: float = 0.0) -> FoundLock | EndedLock:
        """As `Client.break_lock`."""
        return await self._run(asking.break_lock(self._endpoint, lock_id, reason, after))

    async def take_over(
        self,
        lock_id: str,
        *,
        ttl: float | None = None,
        owner: str | None = None,
        reason: str | None = None,
        keep_alive: bool = True,
        on_lost: OnLost | None = None,
    ) -> AsyncHeld:
        """As `Client.take_over`."""
        grant = await self._run(asking.take_over(self._endpoint, lock_id, ttl, owner, reason))
        return self._held(grant, keep_alive=keep_alive, on_lost=on_lost)

    async def find(
        self,
        *,
        resource: str | None = None,
        covering: str | None = None,
        under: str | None = None,
        principal: str | None = None,
        scope: str | None = None,
        reason: str | None = None,
        limit: int = 1000,
    ) -> list[FoundLock]:
        """As `Client.find`."""
        filters = {
            "resource": resource,
            "covering": covering,
            "under": under,
            "principal": principal,
            "scope": scope,
            "reason": reason,
        }
        return await self._run(asking.find(self._endpoint, filters, limit))

    async def describe(self, lock_id: str) -> FoundLock | EndedLock | None:
        """As `Client.describe`."""
        return await self._run(asking.describe(self._endpoint, lock_id))

    async def check(
        self, resource: str, *, tokens: Sequence[str] = (), reach: str = "content", principal: str | None = None
    ) -> LockedDetails | None:
        """As `Client.check`."""
        return await self._run(asking.check(self._endpoint, resource, tokens, reach, principal))

    async def history(
        self,
        *,
        under: str | None = None,
        kind: Iterable[str] = (),
        lock: str | None = None,
        principal: str | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> list[LockEvent]:
        """As `Client.history`."""
        filters = {"under": under, "kind": tuple(kind), "lock": lock, "principal": principal}
        return await self._run(asking.history(self._endpoint, filters, after, limit))

    async def events(
        self,
        *,
        under: str | None = None,
        kind: Iterable[str] = (),
        lock: str | None = None,
        principal: str | None = None,
        after: int | None = None,
    ) -> AsyncGenerator[LockEvent | Gap]:
        """As `Client.events`, for `async for`."""
        feed = LockFeed(
            self._endpoint, {"under": under, "kind": tuple(kind), "lock": lock, "principal": principal}, after
        )
        was_open = False
        while True:
            try:
                async with self._send.stream(feed.request()) as response:
                    if feed.opened(response.status_code, response.headers.get("retry-after", "")):
                        was_open = True
                        async for piece in response.aiter_bytes():
                            for event in feed.take(piece):
                                yield event
            except UnreachableError:
                if not was_open:
                    raise
            await asyncio.sleep(feed.pause())

    async def aclose(self) -> None:
        """As `Client.close`."""
        await self._keep_alive.close()
        if self._is_own_http:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncClient({self._endpoint.base!r})"

    async def refresh_one(self, held: HeldLock) -> Outcome:
        """For AsyncHeld: restart the timer of one lock."""
        [outcome] = await self._refresh_many([held], held.holding.try_for(self._now()))
        return outcome

    async def release_one(self, held: HeldLock) -> Loss | None:
        """For AsyncHeld: give one lock back."""
        return await self._run(release(self._endpoint, held.id, held.token, held.holding.release_for(self._now())))

    def forget(self, held: HeldLock) -> None:
        """For AsyncHeld: refresh it no more."""
        self._keep_alive.remove(held)

    async def _refresh_many(self, locks: Sequence[HeldLock], within: float) -> Sequence[Outcome]:
        return await self._run(refresh_many(self._endpoint, mine(locks), within))

    async def _acquired(self, ask: Ask, *, keep_alive: bool, on_lost: OnLost | None) -> AsyncHeld:
        acquisition = Acquisition(self._endpoint, ask)
        try:
            grant = await self._run(acquisition.run())
        except UnreachableError:
            raise
        except BaseException:
            await finish(self._run(acquisition.abandon()))
            raise
        return self._held(grant, keep_alive=keep_alive, on_lost=on_lost)

    def _held(self, grant: Grant, *, keep_alive: bool, on_lost: OnLost | None) -> AsyncHeld:
        held = AsyncHeld(grant, self._now, self, keep_alive=keep_alive, on_lost=on_lost)
        if keep_alive:
            self._keep_alive.add(held)
        return held

    async def _run(self, flow: Flow[T]) -> T:
        return await run_async(flow, self._send, now=self._now)


class AsyncPendingLock:
    """A lock that an `async with` block is about to acquire; made by `AsyncClient.lock`. Each block acquires a lock of its own."""

    def __init__(self, client: AsyncClient, ask: Ask, *, keep_alive: bool, on_lost: OnLost | None) -> None:
        """Send nothing yet."""
        self._client = client
        self._ask = ask
        self._keep_alive = keep_alive
        self._on_lost = on_lost
        self._held: list[AsyncHeld] = []

    async def _acquire(self) -> AsyncHeld:
        return await self._client._acquired(self._ask, keep_alive=self._keep_alive, on_lost=self._on_lost)

    async def __aenter__(self) -> AsyncHeld:
        self._held.append(await self._acquire())
        return self._held[-1]

    async def __aexit__(
        self, kind: type[BaseException] | None, body: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._held.pop().__aexit__(kind, body, traceback)
