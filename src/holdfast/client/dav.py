"""DavLock and AsyncDavLock: a lock on a resource of any WebDAV server (RFC 4918).

Owns: the public calls. What they say to the server is in `dav_acquiring`, which tokens a request has to carry in `tokens`,
what a held lock is in `held`. Must not know: Holdfast's own lock API.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, TypeVar
from urllib.parse import urljoin

from holdfast.client.boottime import boottime
from holdfast.client.dav_acquiring import DavAcquisition, DavAsk, refresh_dav, release_dav
from holdfast.client.drivers import run_async, run_sync
from holdfast.client.errors import LockedError
from holdfast.client.exchange import Body, ClientResponse, Headers
from holdfast.client.flows import Flow
from holdfast.client.held import AsyncHeld, AsyncWarden, Grant, Held, HeldLock, OnLost, Warden, finish
from holdfast.client.holding import Loss, Outcome
from holdfast.client.keepalive import AsyncKeepAlive, KeepAlive
from holdfast.client.policy import WaitPolicy
from holdfast.client.reading import read_locked
from holdfast.client.refusals import UnreachableError, refusal
from holdfast.client.sending import AsyncHttpClient, AsyncSender, HttpClient, Sender, TimedRequest, new_http
from holdfast.client.tokens import LockTokens, plain_url

__all__ = ["AsyncDavHeld", "AsyncDavLock", "DavHeld", "DavLock"]

T = TypeVar("T")

_UPLOAD_S = 60.0


class Outgoing(Protocol):
    """A request of httpx or httpx2 that is about to be sent, as far as it is signed here."""

    method: str

    @property
    def url(self) -> Any:
        """Where it goes."""
        ...

    @property
    def headers(self) -> Any:
        """Its fields."""
        ...


class _Signing:
    """Which fields a request under the lock has to carry; of both kinds of held lock."""

    _tokens: LockTokens

    def __init__(self, held: HeldLock) -> None:
        self._held = held

    def fields(self, tokens: LockTokens, method: str, url: str | None, destination: str | None) -> dict[str, str]:
        target = self._held.resource if url is None else urljoin(self._held.resource, url)
        found = tokens.headers_for(method, target, destination)
        if found:
            self._held.ensure()
        return found

    def sign(self, tokens: LockTokens, request: Outgoing) -> None:
        if "if" not in request.headers:
            for name, value in self.fields(
                tokens, request.method, str(request.url), request.headers.get("destination")
            ).items():
                request.headers[name] = value

    def upload(self, tokens: LockTokens, content: Body, if_match: str | None, content_type: str | None) -> TimedRequest:
        self._held.ensure()
        fields = self.fields(tokens, "PUT", None, None)
        fields |= {"If-Match": if_match} if if_match else {}
        fields |= {"Content-Type": content_type} if content_type else {}
        return TimedRequest(
            method="PUT", url=self._held.resource, headers=Headers(fields.items()), body=content, within=_UPLOAD_S
        )


def _stored(response: ClientResponse) -> str | None:
    """The new entity tag, where the server tells it. Raises LockedError, RefusedError."""
    if 200 <= response.status < 300:
        return response.headers.get("etag")
    details = read_locked(response)
    raise refusal(response) if details is None else LockedError(details, response)


class DavHeld(Held):
    """A held WebDAV lock: a Held whose token is sent along with what it protects. Made by DavLock.

    >>> issubclass(DavHeld, Held)
    True
    """

    def __init__(
        self,
        grant: Grant,
        now: Callable[[], float],
        warden: Warden,
        sender: Sender,
        tokens: LockTokens,
        *,
        keep_alive: bool,
        on_lost: OnLost | None,
    ) -> None:
        """As Held; `tokens` are all that may be sent."""
        super().__init__(grant, now, warden, keep_alive=keep_alive, on_lost=on_lost)
        self._sender = sender
        self._tokens = tokens
        self._signing = _Signing(self)

    @property
    def url(self) -> str:
        """The URL that is locked."""
        return self.resource

    def headers_for(self, method: str, url: str | None = None, destination: str | None = None) -> dict[str, str]:
        """The If header for a request, where it changes what the lock protects; else nothing.

        `url` is the locked one where it is left out. Raises LockLostError where the lock is needed and lost.
        """
        return self._signing.fields(self._tokens, method, url, destination)

    def sign(self, request: Outgoing) -> None:
        """Add that to a request that is about to be sent; fits httpx's event hooks: `event_hooks={"request": [held.sign]}`.

        A request with an If header of its own is left as it is.
        """
        self._signing.sign(self._tokens, request)

    def put(self, content: Body, *, if_match: str | None = None, content_type: str | None = None) -> str | None:
        """Write the locked resource, if the lock is surely held; the new entity tag, where the server tells it.

        `if_match` is the entity tag of the version that was read. Raises LockLostError, LockedError, RefusedError (412: it
        has changed), UnreachableError.
        """
        return _stored(self._sender(self._signing.upload(self._tokens, content, if_match, content_type)))


class AsyncDavHeld(AsyncHeld):
    """The same for asyncio. Made by AsyncDavLock.

    >>> issubclass(AsyncDavHeld, AsyncHeld)
    True
    """

    def __init__(
        self,
        grant: Grant,
        now: Callable[[], float],
        warden: AsyncWarden,
        sender: AsyncSender,
        tokens: LockTokens,
        *,
        keep_alive: bool,
        on_lost: OnLost | None,
    ) -> None:
        """As AsyncHeld; `tokens` are all that may be sent."""
        super().__init__(grant, now, warden, keep_alive=keep_alive, on_lost=on_lost)
        self._sender = sender
        self._tokens = tokens
        self._signing = _Signing(self)

    @property
    def url(self) -> str:
        """The URL that is locked."""
        return self.resource

    def headers_for(self, method: str, url: str | None = None, destination: str | None = None) -> dict[str, str]:
        """As `DavHeld.headers_for`."""
        return self._signing.fields(self._tokens, method, url, destination)

    async def sign(self, request: Outgoing) -> None:
        """As `DavHeld.sign`, for the event hooks of an httpx.AsyncClient."""
        self._signing.sign(self._tokens, request)

    async def put(self, content: Body, *, if_match: str | None = None, content_type: str | None = None) -> str | None:
        """As `DavHeld.put`."""
        return _stored(await self._sender(self._signing.upload(self._tokens, content, if_match, content_type)))


class _DavLockOptions:
    """What is asked for, and how; of both kinds of lock."""

    def __init__(
        self,
        server: Any,
        url: str,
        *,
        ttl: float,
        wait: float,
        scope: str,
        depth: str,
        owner: str,
        tokens: LockTokens | None,
    ) -> None:
        base = server if isinstance(server, str) else str(getattr(server, "base_url", ""))
        target = urljoin(base, url) if base else url
        self.http = None if isinstance(server, str) else server
        self.tokens = LockTokens() if tokens is None else tokens
        self.ask = DavAsk(url=plain_url(target), ttl=ttl, wait=max(0.0, wait), scope=scope, depth=depth, owner=owner)
        # Raises ValueError now, not once something was locked, for a URL that cannot be locked.
        LockTokens().add(self.ask.url, "none")

    def asked(self) -> DavAsk:
        """With the If header that locks which are held already make necessary."""
        ask = self.ask
        condition = self.tokens.headers_for("LOCK", ask.url).get("If", "")
        return DavAsk(
            url=ask.url,
            ttl=ask.ttl,
            wait=ask.wait,
            scope=ask.scope,
            depth=ask.depth,
            owner=ask.owner,
            condition=condition,
        )


class DavLock:
    """A lock on the resource at `url`, for a `with` block, on any server that knows LOCK.

    `server` is an httpx.Client of your own, with its auth, or the URL alone, with `auth` for a name and a password. `ttl` is the
    time in seconds that is asked for, infinite for no end; what the server grants is refreshed at a third of it unless
    `keep_alive` is false. `wait` is how many seconds to wait for a lock that is not free: in line where the server holds one,
    else asking as `policy` says. `owner` is shown to others. Give several locks the same `tokens` where one request needs them
    all (a MOVE between two locked collections).

    >>> def correct(http: HttpClient, url: str, read: str) -> None:
    ...     with DavLock(http, url, ttl=300, wait=60, owner="Ada") as held:
    ...         held.put(b"corrected", if_match=read)
    """

    def __init__(
        self,
        server: HttpClient | str,
        url: str = "",
        *,
        auth: tuple[str, str] | None = None,
        ttl: float = 300.0,
        wait: float = 0.0,
        scope: str = "exclusive",
        depth: str = "0",
        owner: str = "",
        keep_alive: bool = True,
        on_lost: OnLost | None = None,
        policy: WaitPolicy | None = None,
        tokens: LockTokens | None = None,
        now: Callable[[], float] = boottime,
    ) -> None:
        """Send nothing yet. Raises ValueError for a URL that names no resource of a server."""
        self._options = _DavLockOptions(
            server, url, ttl=ttl, wait=wait, scope=scope, depth=depth, owner=owner, tokens=tokens
        )
        self._auth = auth
        self._keeps_alive = keep_alive
        self._on_lost = on_lost
        self._policy = policy
        self._now = now
        self._http: HttpClient | None = self._options.http
        self._send: Sender | None = None
        self._keep_alive = KeepAlive(self._refresh_many, now)
        self._held: DavHeld | None = None

    def acquire(self) -> DavHeld:
        """Acquire the lock at once. Raises LockedError, RefusedError, UnreachableError; RuntimeError where it is held already.

        End it with `close`, which releases it too.
        """
        if self._held is not None:
            msg = "a DavLock is one lock; make another one for another"
            raise RuntimeError(msg)
        if self._http is None:
            self._http = new_http("Client")
        self._send = Sender(self._http, self._auth)
        acquisition = DavAcquisition(self._options.asked(), self._policy)
        try:
            grant = self._run(acquisition.run())
        except UnreachableError:
            self._close_http()
            raise
        except BaseException:
            self._run(acquisition.abandon())
            self._close_http()
            raise
        tokens = self._options.tokens
        tokens.add(self._options.ask.url, grant.token, grant.depth)
        held = self._held = DavHeld(
            grant, self._now, self, self._send, tokens, keep_alive=self._keeps_alive, on_lost=self._on_lost
        )
        if self._keeps_alive:
            self._keep_alive.add(held)
        return held

    def close(self) -> None:
        """Release the lock, if it is held, and close what was opened for it. Raises as the end of a `with` block does."""
        with self._closing():
            if self._held is not None:
                self._held.__exit__(None, None, None)

    def __enter__(self) -> DavHeld:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, body: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release the lock. The body's own exception is never masked; without one, raises LockLostError where it was lost."""
        with self._closing():
            if self._held is not None:
                self._held.__exit__(kind, body, traceback)

    def refresh_one(self, held: HeldLock) -> Outcome:
        """For Held: restart the timer."""
        return self._refresh(held, held.holding.try_for(self._now()))

    def release_one(self, held: HeldLock) -> Loss | None:
        """For Held: give the lock back."""
        return self._run(release_dav(self._options.ask, held.token, held.holding.release_for(self._now())))

    def forget(self, held: HeldLock) -> None:
        """For Held: refresh it no more, and send its token no more."""
        self._keep_alive.remove(held)
        self._options.tokens.remove(held.token)

    def _refresh(self, held: HeldLock, within: float) -> Outcome:
        return self._run(refresh_dav(self._options.ask, held.token, within))

    def _refresh_many(self, locks: Sequence[HeldLock], within: float) -> Sequence[Outcome]:
        return [self._refresh(held, within) for held in locks]

    @contextmanager
    def _closing(self) -> Generator[None]:
        try:
            yield
        finally:
            self._held = None
            self._keep_alive.close()
            self._close_http()

    def _close_http(self) -> None:
        if self._options.http is None and self._http is not None:
            self._http.close()
            self._http = None

    def _run(self, flow: Flow[T]) -> T:
        assert self._send is not None
        return run_sync(flow, self._send, now=self._now)


class AsyncDavLock:
    """The same for asyncio, for an `async with` block; `server` is an httpx.AsyncClient or a URL.

    >>> async def correct(http: AsyncHttpClient, url: str, read: str) -> None:
    ...     async with AsyncDavLock(http, url, ttl=300, wait=60, owner="Ada") as held:
    ...         await held.put(b"corrected", if_match=read)
    """

    def __init__(
        self,
        server: AsyncHttpClient | str,
        url: str = "",
        *,
        auth: tuple[str, str] | None = None,
        ttl: float = 300.0,
        wait: float = 0.0,
        scope: str = "exclusive",
        depth: str = "0",
        owner: str = "",
        keep_alive: bool = True,
        on_lost: OnLost | None = None,
        policy: WaitPolicy | None = None,
        tokens: LockTokens | None = None,
        now: Callable[[], float] = boottime,
    ) -> None:
        """Send nothing yet. Raises ValueError for a URL that names no resource of a server."""
        self._options = _DavLockOptions(
            server, url, ttl=ttl, wait=wait, scope=scope, depth=depth, owner=owner, tokens=tokens
        )
        self._auth = auth
        self._keeps_alive = keep_alive
        self._on_lost = on_lost
        self._policy = policy
        self._now = now
        self._http: AsyncHttpClient | None = self._options.http
        self._send: AsyncSender | None = None
        self._keep_alive: AsyncKeepAlive | None = None
        self._held: AsyncDavHeld | None = None

    async def acquire(self) -> AsyncDavHeld:
        """As `DavLock.acquire`."""
        if self._held is not None:
            msg = "an AsyncDavLock is one lock; make another one for another"
            raise RuntimeError(msg)
        if self._http is None:
            self._http = new_http("AsyncClient")
        self._send = AsyncSender(self._http, self._auth)
        acquisition = DavAcquisition(self._options.asked(), self._policy)
        try:
            grant = await self._run(acquisition.run())
        except UnreachableError:
            await self._close_http()
            raise
        except BaseException:
            await finish(self._run(acquisition.abandon()))
            await self._close_http()
            raise
        tokens = self._options.tokens
        tokens.add(self._options.ask.url, grant.token, grant.depth)
        held = self._held = AsyncDavHeld(
            grant, self._now, self, self._send, tokens, keep_alive=self._keeps_alive, on_lost=self._on_lost
        )
        if self._keeps_alive:
            self._keep_alive = AsyncKeepAlive(self._refresh_many, self._now)
            self._keep_alive.add(held)
        return held

    async def aclose(self) -> None:
        """As `DavLock.close`."""
        await self.__aexit__(None, None, None)

    async def __aenter__(self) -> AsyncDavHeld:
        return await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, body: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `DavLock.__exit__`."""
        try:
            if self._held is not None:
                await self._held.__aexit__(kind, body, traceback)
        finally:
            self._held = None
            if self._keep_alive is not None:
                await self._keep_alive.close()
            await self._close_http()

    async def refresh_one(self, held: HeldLock) -> Outcome:
        """For AsyncHeld: restart the timer."""
        return await self._run(refresh_dav(self._options.ask, held.token, held.holding.try_for(self._now())))

    async def release_one(self, held: HeldLock) -> Loss | None:
        """For AsyncHeld: give the lock back."""
        return await self._run(release_dav(self._options.ask, held.token, held.holding.release_for(self._now())))

    def forget(self, held: HeldLock) -> None:
        """For AsyncHeld: refresh it no more, and send its token no more."""
        if self._keep_alive is not None:
            self._keep_alive.remove(held)
        self._options.tokens.remove(held.token)

    async def _refresh_many(self, locks: Sequence[HeldLock], within: float) -> Sequence[Outcome]:
        return [await self._run(refresh_dav(self._options.ask, held.token, within)) for held in locks]

    async def _close_http(self) -> None:
        if self._options.http is None and self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _run(self, flow: Flow[T]) -> T:
        assert self._send is not None
        return await run_async(flow, self._send, now=self._now)
