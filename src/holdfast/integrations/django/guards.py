"""Locks around views: the question before a change, the change itself, and a lock for as long as a view takes.

Owns: `changing`, `require_lock` and `lock`. Must not know: how locks are kept, but that those of Django's own database can be
held in the transaction of the change.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest

from holdfast.core.conditions import IfHeader
from holdfast.core.decisions import Effect, Reach
from holdfast.core.paths import ResourcePath
from holdfast.integrations.answering import LockedError
from holdfast.integrations.backends import resource_of
from holdfast.integrations.django.answers import head_of, principal_of
from holdfast.integrations.django.configuration import locks
from holdfast.integrations.guarding import change_of
from holdfast.integrations.holding import Terms, held, require, resource_named

__all__ = ["Named", "changing", "changing_all", "lock", "require_lock"]

Named = str | Callable[..., str]
"""Which resource a view is about: a URL path with its arguments in braces, `/orders/{pk}`; a function of the request and the view's
arguments that gives one, percent-encoded; empty for the request's own path."""

View = TypeVar("View", bound=Callable[..., Any])

_REQUEST_TTL_S: Final = 60.0


@contextmanager
def changing(
    resource: str | ResourcePath, principal: str, tokens: Sequence[str] = (), *, reach: Reach = Reach.CONTENT
) -> Generator[None]:
    """The block changes the resource: LockedError where a lock is in the way whose token `principal` does not hold out.

    With locks in Django's own database the block is a transaction, in which that stays so until its commit: nobody can break the
    lock, or be granted another one, in between. Elsewhere the question is asked before the block.
    """
    path = resource if isinstance(resource, ResourcePath) else resource_of(resource)
    with changing_all([Effect(path, reach)], principal, tokens):
        yield


@contextmanager
def changing_all(
    effects: Sequence[Effect], principal: str, tokens: Sequence[str] = (), condition: IfHeader | None = None
) -> Generator[None]:
    """The same for any changes, and with the request's If header."""
    kept = locks()
    holding = getattr(kept.backend, "holding", None)
    if holding is None:
        _allow(effects, principal, tokens, condition)
        yield
        return
    submitted = list(tokens) if condition is None else [*tokens, *(one.token for one in condition.submissions())]
    with holding(submitted):
        _allow(effects, principal, tokens, condition)
        yield


def require_lock(resource: Named = "", *, held_only: bool = False, writes: bool = False) -> Callable[[View], View]:
    """A view that changes a resource answers 423, unless no lock is on it, or its holder sends the lock's token (Lock-Token or If).

    What only reads passes (GET, HEAD, OPTIONS), but with `writes`, for a view whose GET changes something. With `held_only` a change
    to what nobody has locked is refused too, 428 (RFC 6585 section 3).

    >>> @require_lock("/orders/{pk}")
    ... def order(request, pk): ...
    """

    def decorate(view: View) -> View:
        @contextmanager
        def around(request: HttpRequest, values: dict[str, Any]) -> Generator[None]:
            path, principal = _named(resource, request, values), principal_of(request)
            change = change_of(head_of(request), path, writes=writes)
            if change is None:
                yield
                return
            with changing_all(change.effects, principal, change.tokens, change.condition):
                if held_only:
                    require(locks(), head_of(request), path, principal, held_only=True, writes=writes)
                yield

        return _wrapped(view, around)

    return decorate


def lock(
    resource: Named = "", *, ttl: float = _REQUEST_TTL_S, wait: float = 0.0, reason: str = ""
) -> Callable[[View], View]:
    """A view holds a lock of its own while it runs, so that no two of them do: 423 for the second, after `wait` seconds in line.

    `ttl` (seconds) is longer than the view ever takes; it only matters where the process ends in the middle. A request that submits
    the token of its own lock runs under that one.
    """
    terms = Terms(ttl=ttl, wait=wait, reason=reason)

    def decorate(view: View) -> View:
        @contextmanager
        def around(request: HttpRequest, values: dict[str, Any]) -> Generator[None]:
            path = _named(resource, request, values)
            with held(locks(), head_of(request), path, principal_of(request), terms):
                yield

        return _wrapped(view, around)

    return decorate


def _allow(effects: Sequence[Effect], principal: str, tokens: Sequence[str], condition: IfHeader | None) -> None:
    found = locks().check(effects, tokens, principal, condition)
    if found is not None:
        raise LockedError(found)


def _named(resource: Named, request: HttpRequest, values: dict[str, Any]) -> ResourcePath:
    if callable(resource):
        return resource_of(resource(request, **values))
    return resource_named(resource, values, request.path_info)


def _wrapped(view: Any, around: Callable[[HttpRequest, dict[str, Any]], Any]) -> Any:
    """The view with `around` around it. An asynchronous one asks and releases on a thread, where the database may be waited for."""
    if iscoroutinefunction(view):

        @wraps(view)
        async def asynchronous(request: HttpRequest, *args: Any, **values: Any) -> Any:
            block = around(request, values)
            await sync_to_async(block.__enter__)()
            try:
                answer = await view(request, *args, **values)
            except BaseException as error:
                if not await sync_to_async(block.__exit__)(type(error), error, error.__traceback__):
                    raise
                return None
            await sync_to_async(block.__exit__)(None, None, None)
            return answer

        return asynchronous

    @wraps(view)
    def synchronous(request: HttpRequest, *args: Any, **values: Any) -> Any:
        with around(request, values):
            return view(request, *args, **values)

    return synchronous
