"""Client: the locks of a Holdfast server, in a program's hands.

Owns: the public calls. What they say to the server is in `acquiring` and `asking`, what a held lock is in `held`, and who
refreshes it in `keepalive`; `api_async` is the same for asyncio. Must not know: WebDAV.

A Client is safe from any thread, and has one thread of its own while it holds locks, which refreshes all of them together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar, Unpack
from urllib.parse import urlsplit

from holdfast.client import asking
from holdfast.client.acquiring import Acquisition, Ask, BreakFirst, Endpoint, Mine, refresh_many, release
from holdfast.client.boottime import boottime
from holdfast.client.drivers import run_sync
from holdfast.client.held import Grant, Held, HeldLock, OnLost
from holdfast.client.holding import Loss, Outcome
from holdfast.client.keepalive import KeepAlive
from holdfast.client.lockfeed import LockFeed
from holdfast.client.refusals import UnreachableError
from holdfast.client.sending import HttpClient, Sender, new_http

if TYPE_CHECKING:
    from holdfast.client.details import LockedDetails
    from holdfast.client.flows import Flow
    from holdfast.client.lockviews import EndedLock, FoundLock, Gap, LockEvent

__all__ = ["Client", "LockOptions", "PendingLock", "endpoint_of", "mine"]

T = TypeVar("T")


class LockOptions(TypedDict, total=False):
    """The keywords of `lock`, for `acquire`."""

    ttl: float | None
    wait: float
    scope: str
    depth: str
    owner: str
    reason: str
    id: str | None
    keep_alive: bool
    on_lost: OnLost | None
    first_break: BreakFirst | str | None


def endpoint_of(url: str, http: Any, token: str) -> Endpoint:
    """The server at `url`, or at the base_url of an HTTP client. Raises ValueError where neither is one."""
    base = url or str(http.base_url)
    parts = urlsplit(base)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        msg = f"a server's URL is needed, such as http://127.0.0.1:4230, not {base!r}"
        raise ValueError(msg)
    if "@" in parts.netloc:
        msg = "give name and password as auth=(name, password), not in the URL, which gets into logs"
        raise ValueError(msg)
    return Endpoint(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", token)


def mine(locks: Sequence[HeldLock]) -> list[Mine]:
    """What a refresh has to name of these locks."""
    return [Mine(held.id, held.token, held.asked) for held in locks]


class Client:
    """The locks of a Holdfast server.

    `url` is the server's, without a path unless a proxy adds one; `auth` a name and a password, or `token` an API token. An
    httpx.Client of your own goes into `http` (proxies, certificates, its own auth, which stays yours to close); its base_url
    counts where no `url` is given. Its limit of connections must leave room beside requests that wait in line.

    >>> def rename(client: Client) -> None:
    ...     with client.lock("/orders/42", ttl=30, wait=60, reason="rename") as held:
    ...         held.ensure()  # just before the write that must not go wrong
    """

    def __init__(
        self,
        url: str = "",
        *,
        auth: tuple[str, str] | None = None,
        token: str = "",
        http: HttpClient | None = None,
        now: Callable[[], float] = boottime,
    ) -> None:
        """Connect to nothing yet. `now` is the clock of deadlines, in seconds. Raises ValueError for no URL."""
        self._http: HttpClient = new_http("Client") if http is None else http
        self._is_own_http = http is None
        try:
            self._endpoint = endpoint_of(url, self._http, token)
        except ValueError:
            if self._is_own_http:
                self._http.close()
            raise
        self._send = Sender(self._http, auth)
        self._now = now
        self._keep_alive = KeepAlive(self._refresh_many, now)

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
    ) -> PendingLock:
        """A lock for a `with` block: acquired at its start, released at its end.

        `resource` is a URL path. `ttl` is in seconds, None for the server's usual time, infinite for no end (administrators);
        it is refreshed at a third of what is granted unless `keep_alive` is false. `wait` is how many seconds to stand in
        line. `id` names the lock and makes one request of all that have it; without it one is chosen. `on_lost` is called
        once if the lock is lost, with the LockLostError. `first_break`, a reason, breaks what is in the way (administrators).

        The block's start raises LockedError, RefusedError or UnreachableError. Its end raises LockLostError where the lock was
        lost and nobody has heard so yet, and never masks the block's own exception.
        """
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
        return PendingLock(self, ask, keep_alive=keep_alive, on_lost=on_lost)

    def acquire(self, resource: str, **options: Unpack[LockOptions]) -> Held:
        """The same at once, with the keywords of `lock`; to be released with `held.release()`, wherever that is."""
        return self.lock(resource, **options)._acquire()

    def refresh(self, held: Held) -> None:
        """As `held.refresh()`."""
        held.refresh()

    def release(self, held: Held) -> None:
        """As `held.release()`."""
        held.release()

    def break_lock(self, lock_id: str, reason: str, *, after: float = 0.0) -> FoundLock | EndedLock:
        """End somebody's lock by force, at once or `after` seconds of grace; what became of it. Raises RefusedError."""
        return self._run(asking.break_lock(self._endpoint, lock_id, reason, after))

    def take_over(
        self,
        lock_id: str,
        *,
        ttl: float | None = None,
        owner: str | None = None,
        reason: str | None = None,
        keep_alive: bool = True,
        on_lost: OnLost | None = None,
    ) -> Held:
        """Go on with your own lock that another program of yours holds: it has a new token then, and that one has lost it."""
        grant = self._run(asking.take_over(self._endpoint, lock_id, ttl, owner, reason))
        return self._held(grant, keep_alive=keep_alive, on_lost=on_lost)

    def find(
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
        """The locks that fit every filter, by root: locked directly, covering a path, at or below one, by creator, in all."""
        filters = {
            "resource": resource,
            "covering": covering,
            "under": under,
            "principal": principal,
            "scope": scope,
            "reason": reason,
        }
        return self._run(asking.find(self._endpoint, filters, limit))

    def describe(self, lock_id: str) -> FoundLock | EndedLock | None:
        """A lock by its id: held, or how it ended; None where none is known."""
        return self._run(asking.describe(self._endpoint, lock_id))

    def check(
        self, resource: str, *, tokens: Sequence[str] = (), reach: str = "content", principal: str | None = None
    ) -> LockedDetails | None:
        """May this resource be changed now? None for yes, else what is in the way.

        `reach` is `content`, `membership` (it is made or removed) or `tree` (all below goes with it). An administrator may
        ask for another `principal`.
        """
        return self._run(asking.check(self._endpoint, resource, tokens, reach, principal))

    def history(
        self,
        *,
        under: str | None = None,
        kind: Iterable[str] = (),
        lock: str | None = None,
        principal: str | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> list[LockEvent]:
        """What happened to locks, the oldest first: entries of the record behind the seq `after`."""
        filters = {"under": under, "kind": tuple(kind), "lock": lock, "principal": principal}
        return self._run(asking.history(self._endpoint, filters, after, limit))

    def events(
        self,
        *,
        under: str | None = None,
        kind: Iterable[str] = (),
        lock: str | None = None,
        principal: str | None = None,
        after: int | None = None,
    ) -> Generator[LockEvent | Gap]:
        """The same as it happens, for ever: from now on, or behind the seq `after`. Close the generator to end it.

        A stream that breaks is taken up where it broke, so nothing is lost or told twice; a Gap says where that cannot be.
        Raises UnreachableError where the first connection fails, and RefusedError.
        """
        feed = LockFeed(
            self._endpoint, {"under": under, "kind": tuple(kind), "lock": lock, "principal": principal}, after
        )
        was_open = False
        while True:
            try:
                with self._send.stream(feed.request()) as response:
                    if feed.opened(response.status_code, response.headers.get("retry-after", "")):
                        was_open = True
                        for piece in response.iter_bytes():
                            yield from feed.take(piece)
            except UnreachableError:
                if not was_open:
                    raise
            time.sleep(feed.pause())

    def close(self) -> None:
        """Refresh nothing any more, and close the connections. Locks that are still held end by themselves."""
        self._keep_alive.close()
        if self._is_own_http:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._endpoint.base!r})"

    def refresh_one(self, held: HeldLock) -> Outcome:
        """For Held: restart the timer of one lock."""
        [outcome] = self._refresh_many([held], held.holding.try_for(self._now()))
        return outcome

    def release_one(self, held: HeldLock) -> Loss | None:
        """For Held: give one lock back."""
        return self._run(release(self._endpoint, held.id, held.token, held.holding.release_for(self._now())))

    def forget(self, held: HeldLock) -> None:
        """For Held: refresh it no more."""
        self._keep_alive.remove(held)

    def _refresh_many(self, locks: Sequence[HeldLock], within: float) -> Sequence[Outcome]:
        return self._run(refresh_many(self._endpoint, mine(locks), within))

    def _acquired(self, ask: Ask, *, keep_alive: bool, on_lost: OnLost | None) -> Held:
        acquisition = Acquisition(self._endpoint, ask)
        try:
            grant = self._run(acquisition.run())
        except UnreachableError:
            raise
        except BaseException:
            self._run(acquisition.abandon())
            raise
        return self._held(grant, keep_alive=keep_alive, on_lost=on_lost)

    def _held(self, grant: Grant, *, keep_alive: bool, on_lost: OnLost | None) -> Held:
        held = Held(grant, self._now, self, keep_alive=keep_alive, on_lost=on_lost)
        if keep_alive:
            self._keep_alive.add(held)
        return held

    def _run(self, flow: Flow[T]) -> T:
        return run_sync(flow, self._send, now=self._now)


class PendingLock:
    """A lock that a `with` block is about to acquire; made by `Client.lock`. Each block acquires a lock of its own."""

    def __init__(self, client: Client, ask: Ask, *, keep_alive: bool, on_lost: OnLost | None) -> None:
        """Send nothing yet."""
        self._client = client
        self._ask = ask
        self._keep_alive = keep_alive
        self._on_lost = on_lost
        self._held: list[Held] = []

    def _acquire(self) -> Held:
        return self._client._acquired(self._ask, keep_alive=self._keep_alive, on_lost=self._on_lost)

    def __enter__(self) -> Held:
        self._held.append(self._acquire())
        return self._held[-1]

    def __exit__(
        self, kind: type[BaseException] | None, body: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held.pop().__exit__(kind, body, traceback)
