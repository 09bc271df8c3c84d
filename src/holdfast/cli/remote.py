"""What the commands do with a URL: a connection to its server, and who has locked what is there.

Owns: telling a Holdfast server from any other WebDAV server, and the sentences for what goes wrong between here and there. Must not know: any command.
What is sent, and what the answers mean, is `holdfast.client`'s. Its HTTP library is loaded here alone, and only when a URL is given.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from holdfast.cli.contenders import Contender, of_found, of_known
from holdfast.cli.credentials import credentials_for, split_url
from holdfast.cli.http_library import new_client
from holdfast.cli.terminal import CommandError
from holdfast.client.acquiring import Endpoint
from holdfast.client.asking import find
from holdfast.client.boottime import boottime
from holdfast.client.drivers import run_sync
from holdfast.client.errors import ClientError
from holdfast.client.exchange import ClientRequest, ClientResponse
from holdfast.client.flows import EventStream, Flow
from holdfast.client.lockviews import FoundLock
from holdfast.client.policy import WaitPolicy
from holdfast.client.probing import Watch, discover, watch
from holdfast.client.refusals import RefusedError, UnreachableError
from holdfast.client.sending import Sender, TimedRequest

__all__ = ["Remote", "RemoteLook", "connected", "plain_errors"]

T = TypeVar("T")

_MOST_LOCKS: Final = 100_000
_CONNECT_S: Final = 5.0
_NOTHING_THERE: Final = frozenset({404, 410})
_UNTOLD: Final = frozenset({401, 403, 429})
"""What keeps a server from telling who has locked what."""


class RemoteLook(msgspec.Struct, frozen=True, kw_only=True):
    """What a server tells of a URL. `address` is where the lock that ends last can be followed; the URL itself otherwise."""

    is_holdfast: bool
    is_missing: bool = False
    """True where nothing is at the URL."""
    contenders: tuple[Contender, ...] = ()
    address: str


class Remote:
    """A server, as somebody; `url` is what the command is about."""

    def __init__(self, url: str, user: str | None) -> None:
        """Connect to nothing yet. Raises CommandError for no URL, or without an HTTP library."""
        self.url, named = split_url(url)
        parts = urlsplit(self.url)
        self.base = f"{parts.scheme}://{parts.netloc}"
        self.path = parts.path
        credentials = credentials_for(self.url, user or named)
        self.user = "" if credentials.auth is None else credentials.auth[0]
        try:
            self.http: Any = new_client()
        except ImportError as error:
            msg = "For URLs an HTTP library is needed: pip install httpx."
            raise CommandError(msg) from error
        if credentials.token:
            self.http.headers["Authorization"] = f"Bearer {credentials.token}"
        if credentials.auth is not None:
            self.http.auth = credentials.auth
        self.sender = Sender(self.http, None)
        self.endpoint = Endpoint(self.base, credentials.token)
        self._last: ClientResponse | None = None

    def run(self, flow: Flow[T]) -> T:
        """Run a conversation of the client's."""
        return run_sync(flow, self._send, now=boottime, listen=self._listen)

    def look(self) -> RemoteLook:
        """Who has locked the URL. Raises ClientError, and CommandError where the server tells nothing of locks."""
        seen = self.run(discover(self._request(), self.url))
        answer = self._last
        assert answer is not None
        is_holdfast = answer.headers.get("server", "").lower().startswith("holdfast")
        if is_holdfast or seen.held is None or answer.status in _NOTHING_THERE:
            found = self._found(is_holdfast=is_holdfast)
            if found is not None:
                return self._of_found(found)
        if seen.held is None:
            raise CommandError(self._nothing_told(answer.status, answer.headers.get("location", "another place")))
        return RemoteLook(
            is_holdfast=False,
            is_missing=answer.status in _NOTHING_THERE,
            contenders=tuple(of_known(lock, self.path) for lock in seen.locks),
            address=self.url,
        )

    def watch(self, look: RemoteLook, seconds: float) -> Watch:
        """Wait until what `look` saw is free, at most so many seconds."""
        policy = WaitPolicy(deadline=seconds, wait_for_endless=True)
        return self.run(watch(self._request(), look.address, policy, boottime() + seconds, random.random))

    def find(self, **filters: str) -> list[FoundLock]:
        """Locks by the filters of a Holdfast server's API. Raises ClientError."""
        return self.run(find(self.endpoint, filters, _MOST_LOCKS))

    def waiting_http(self, policy: WaitPolicy, within: float) -> Any:
        """An HTTP client for a `with` block, as the same user, that waits out a refusal as locked; `within` is in seconds."""
        from holdfast.client.transport_httpx import WaitTransport

        timeout = self._library.Timeout(within, connect=_CONNECT_S)
        http = self._library.Client(transport=WaitTransport(policy), timeout=timeout, auth=self.http.auth)
        if self.endpoint.bearer:
            http.headers["Authorization"] = f"Bearer {self.endpoint.bearer}"
        return http

    @property
    def network_errors(self) -> tuple[type[Exception], ...]:
        """What such a client raises where no answer comes."""
        return (self._library.TransportError, self._library.DecodingError)

    @property
    def _library(self) -> Any:
        return importlib.import_module(type(self.http).__module__.partition(".")[0])

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def _found(self, *, is_holdfast: bool) -> list[FoundLock] | None:
        """What the lock API tells; None where there is none. A Holdfast server that keeps silent has not said "free"."""
        try:
            return self.find(covering=self.path)
        except RefusedError as error:
            if is_holdfast and (error.status in _UNTOLD or error.status >= 500):
                raise CommandError(self._nothing_told(error.status)) from error
            return None

    def _of_found(self, found: list[FoundLock]) -> RemoteLook:
        last = max(found, key=lambda lock: float("inf") if lock.expires_in is None else lock.expires_in, default=None)
        address = self.url if last is None else f"{self.base}/api/locks/{last.id}"
        contenders = tuple(of_found(lock, self.path) for lock in found)
        return RemoteLook(is_holdfast=True, contenders=contenders, address=address)

    def _nothing_told(self, status: int, location: str = "") -> str:
        server = f"{self.base}/"
        if status == 401:
            if self._is_known:
                return f"{server} does not accept this name and password, or this token."
            return f"{server} wants to know who you are: --user NAME, or HOLDFAST_TOKEN."
        if status == 429:
            return f"{server} has heard too many wrong passwords or tokens from here: try again in a minute."
        if status == 403:
            return f"{server} does not let you see {self.path}."
        if 300 <= status < 400:
            return f"{self.url} has moved to {location}: ask about that URL."
        if status >= 500:
            return f"{server} is in trouble: it answered {status}."
        return f"{server} tells nothing of locks: it is no WebDAV server there, and no Holdfast (PROPFIND was answered with {status})."

    @property
    def _is_known(self) -> bool:
        return self.user != "" or self.endpoint.bearer != ""

    def _request(self) -> ClientRequest:
        return ClientRequest(method="GET", url=self.url)

    def _send(self, request: ClientRequest) -> ClientResponse:
        self._last = self.sender(request)
        return self._last

    def _listen(self, request: ClientRequest, patience: float) -> EventStream:
        timed = TimedRequest(
            method=request.method,
            url=request.url,
            headers=request.headers,
            body=request.body,
            within=max(1.0, patience),
        )
        return _Stream(self.sender, timed)


class _Stream:
    """A stream of events, open until it is closed."""

    def __init__(self, sender: Sender, request: TimedRequest) -> None:
        self._open = ExitStack()
        response = self._open.enter_context(sender.stream(request))
        self.status: int = response.status_code
        self._pieces = response.iter_bytes()

    def read(self) -> bytes:
        return next((piece for piece in self._pieces if piece), b"")

    def close(self) -> None:
        self._open.close()


@contextmanager
def connected(url: str, user: str | None) -> Generator[Remote]:
    """A Remote for the block; what the client raises in it becomes a plain sentence (CommandError)."""
    remote = Remote(url, user)
    try:
        with plain_errors():
            yield remote
    finally:
        remote.close()


@contextmanager
def plain_errors() -> Generator[None]:
    """Turn the client's errors into CommandError."""
    try:
        yield
    except UnreachableError as error:
        msg = f"{error.url} gave no answer: {error.why}."
        raise CommandError(msg) from error
    except RefusedError as error:
        text = error.detail.rstrip(".")
        hint = " Who are you? --user NAME, or HOLDFAST_TOKEN." if error.status == 401 else ""
        msg = f"The server refused: {text}.{hint}"
        raise CommandError(msg) from error
    except ClientError as error:
        msg = f"{str(error).rstrip('.')}."
        raise CommandError(msg) from error
