"""A user's program, as type checkers see it: every public way of the client in a few lines. It is checked, not run."""

from __future__ import annotations

from datetime import datetime

import httpx
import requests

from holdfast.client import (
    AsyncClient,
    AsyncDavLock,
    AsyncWaitTransport,
    Budget,
    Client,
    DavLock,
    FencingGuard,
    LockedError,
    LockLostError,
    Stale,
    WaitAdapter,
    Waiting,
    WaitPolicy,
    WaitTransport,
    raise_for_locked,
    read_locked,
)


def tell(waiting: Waiting) -> None:
    print(waiting.details.holder)


def lost(error: LockLostError) -> None:
    print(error.reason)


def wait_with_httpx(url: str) -> int:
    policy = WaitPolicy(deadline=30, on_wait=tell, budget=Budget(), stale=Stale.OVERWRITE)
    with httpx.Client(transport=WaitTransport(policy)) as http:
        return http.put(url, content=b"text").status_code


async def wait_with_asyncio(url: str) -> int:
    async with httpx.AsyncClient(transport=AsyncWaitTransport(WaitPolicy())) as http:
        return (await http.get(url)).status_code


def wait_with_requests(url: str) -> int:
    adapter = WaitAdapter(WaitPolicy(deadline=60))
    with requests.Session() as session:
        session.mount("https://", adapter)
        with adapter.using(version='"v1"'):
            return session.put(url, data=b"text").status_code


def until(response: httpx.Response) -> datetime | None:
    details = read_locked(response)
    try:
        raise_for_locked(response)
    except LockedError as error:
        holder: str | None = error.holder
        print(holder, error.waited, error.attempts, error.kind.value)
        return error.until
    return None if details is None else details.until


def hold(client: Client) -> int:
    with client.lock("/orders/42", ttl=30, wait=60, reason="import", on_lost=lost) as held:
        held.ensure()
        FencingGuard().check("/orders/42", held.fencing_token)
        return held.fencing_token


async def hold_with_asyncio(client: AsyncClient) -> bool:
    async with client.lock("/orders/42", ttl=30) as held:
        return bool(held.token)


def edit(url: str) -> None:
    with DavLock(url, auth=("ada", "secret"), ttl=300, wait=60, owner="Ada") as held:
        held.put(b"text", if_match='"v1"')


async def edit_with_asyncio(url: str) -> None:
    async with AsyncDavLock(url, auth=("ada", "secret")) as held:
        await held.put(b"text")
