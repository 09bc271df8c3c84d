"""Begin anew what a lock in the database has refused, until it is done or the deadline is over.

Owns: `retry_locked`, `retrying` and `run_locked`, and their asynchronous twins. Must not know: how long (`patience`), what is begun and
ended (`units`), what the driver waits by itself (`limits`).

Theory of operation: the unit is rolled back first, then waited for, then done again. A transaction is begun anew as a whole, with all
that it read; a savepoint where the transaction around it is somebody else's and has come to no harm (NOWAIT, lock_timeout);
SQLite's busy COMMIT is tried again by itself. Where waiting cannot help, such as for a cursor of one's own, the error is
raised as it came. So whatever the function does outside of the database, it must be able to do twice.

Without a source (an engine, a session factory) the unit is the function or the block itself, which then begins and ends its own transaction:
this works with any driver, without SQLAlchemy.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, Unpack, cast, overload

from holdfast.databases.codes import RetryUnit
from holdfast.databases.patience import Patience, RetryOptions

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker
    from sqlalchemy.orm import Session, scoped_session, sessionmaker

    from holdfast.databases.units import AsyncUnit, Unit

__all__ = ["AsyncAttempt", "Attempt", "retry_locked", "retrying", "retrying_async", "run_locked", "run_locked_async"]

P = ParamSpec("P")
R = TypeVar("R")
G = TypeVar("G")
S = TypeVar("S", bound="Session")
A = TypeVar("A", bound="AsyncSession")
Self_ = TypeVar("Self_")


class _Bare:
    """The unit where there is no source: whatever the caller does."""

    whole = True
    engine = None

    @contextmanager
    def opened(self, patience: Patience) -> Generator[None]:
        del patience
        yield

    @asynccontextmanager
    async def opened_async(self) -> AsyncGenerator[None]:
        yield


def _unit_of(source: object, options: RetryOptions) -> Unit | _Bare:
    if source is None:
        return _Bare()
    from holdfast.databases.units import unit_of

    return unit_of(source, is_watched=options.get("name_holders", True))


def _async_unit_of(source: object, options: RetryOptions) -> AsyncUnit | _Bare:
    if source is None:
        return _Bare()
    from holdfast.databases.units import async_unit_of

    return async_unit_of(source, is_watched=options.get("name_holders", True))


def _opened_async(unit: AsyncUnit | _Bare, patience: Patience) -> AbstractAsyncContextManager[Any]:
    return unit.opened_async() if isinstance(unit, _Bare) else unit.opened(patience)


def _again(unit: Unit | AsyncUnit | _Bare) -> RetryUnit:
    return RetryUnit.TRANSACTION if unit.whole else RetryUnit.SAVEPOINT


@overload
def run_locked(source: Engine, work: Callable[[Session], R], **options: Unpack[RetryOptions]) -> R: ...
@overload
def run_locked(source: Connection, work: Callable[[Connection], R], **options: Unpack[RetryOptions]) -> R: ...
@overload
def run_locked(
    source: sessionmaker[S] | scoped_session[S] | S, work: Callable[[S], R], **options: Unpack[RetryOptions]
) -> R: ...
def run_locked(source: Any, work: Callable[[Any], R], **options: Unpack[RetryOptions]) -> R:
    """What `work` returns, called with a session in a transaction that is committed afterwards; begun anew while it is locked out.

    An Engine gives a new Session on it, a sessionmaker its own; a Session or Connection is used itself: where it is in a
    transaction already, `work` runs in a savepoint. Raises DatabaseLockedError in the end, and whatever else `work` raises.

    >>> from sqlalchemy import create_engine, text
    >>> run_locked(create_engine("sqlite://"), lambda session: session.scalar(text("SELECT 42")), deadline=10)
    42
    """
    return _run(source, work, options)


def _run(source: Any, work: Callable[[Any], R], options: RetryOptions) -> R:
    unit, patience = _unit_of(source, options), Patience(options)
    while True:
        patience.attempts += 1
        try:
            with unit.opened(patience) as given:
                return work(given)
        except Exception as error:
            found = patience.judge(error, whole=unit.whole)
            if found is None:
                raise
            refusal = error
        patience.settle(found, refusal, _again(unit), unit.engine)


@overload
async def run_locked_async(
    source: AsyncEngine, work: Callable[[AsyncSession], Awaitable[R]], **options: Unpack[RetryOptions]
) -> R: ...
@overload
async def run_locked_async(
    source: AsyncConnection, work: Callable[[AsyncConnection], Awaitable[R]], **options: Unpack[RetryOptions]
) -> R: ...
@overload
async def run_locked_async(
    source: async_sessionmaker[A] | A, work: Callable[[A], Awaitable[R]], **options: Unpack[RetryOptions]
) -> R: ...
async def run_locked_async(source: Any, work: Callable[[Any], Awaitable[R]], **options: Unpack[RetryOptions]) -> R:
    """The same with an asynchronous source and coroutine function.

    >>> import asyncio
    >>> from sqlalchemy import text
    >>> from sqlalchemy.ext.asyncio import create_async_engine
    >>> async def program():
    ...     engine = create_async_engine("sqlite+aiosqlite://")
    ...     found = await run_locked_async(engine, lambda session: session.scalar(text("SELECT 42")))
    ...     await engine.dispose()
    ...     return found
    >>> asyncio.run(program())
    42
    """
    return await _run_async(source, work, options)


async def _run_async(source: Any, work: Callable[[Any], Awaitable[R]], options: RetryOptions) -> R:
    unit, patience = _async_unit_of(source, options), Patience(options)
    while True:
        patience.attempts += 1
        try:
            async with _opened_async(unit, patience) as given:
                return await work(given)
        except Exception as error:
            found = patience.judge(error, whole=unit.whole)
            if found is None:
                raise
            refusal = error
        await patience.settle_async(found, refusal, _again(unit), unit.engine)


class Attempt(Generic[G]):
    """One attempt of `retrying`: the block under it is rolled back and begun anew where it is refused as locked."""

    def __init__(self, unit: Unit | _Bare, patience: Patience) -> None:
        """Nothing happens before the block begins."""
        self._unit = unit
        self._patience = patience
        self._opened: AbstractContextManager[Any] | None = None
        self.is_done = False

    def __enter__(self) -> G:
        """Begin. A refusal to begin is waited out here."""
        while True:
            self._patience.attempts += 1
            opened = self._unit.opened(self._patience)
            try:
                given: Any = opened.__enter__()
            except Exception as error:
                found = self._patience.judge(error, whole=self._unit.whole)
                if found is None:
                    raise
                refusal = error
            else:
                self._opened = opened
                return given
            self._patience.settle(found, refusal, _again(self._unit), self._unit.engine)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Commit; or roll back, and True where another attempt follows."""
        assert self._opened is not None
        if error is None:
            self.is_done = True
            try:
                self._opened.__exit__(None, None, None)
            except Exception as refused:
                told = self._patience.given_up(refused)
                if told is refused:
                    raise
                raise told from refused
            return False
        if self._opened.__exit__(kind, error, traceback):
            return True
        found = self._patience.judge(error, whole=self._unit.whole)
        if found is None:
            return False
        self._patience.settle(found, error, _again(self._unit), self._unit.engine)
        return True


class AsyncAttempt(Generic[G]):
    """One attempt of `retrying_async`."""

    def __init__(self, unit: AsyncUnit | _Bare, patience: Patience) -> None:
        """Nothing happens before the block begins."""
        self._unit = unit
        self._patience = patience
        self._opened: AbstractAsyncContextManager[Any] | None = None
        self.is_done = False

    async def __aenter__(self) -> G:
        """Begin. A refusal to begin is waited out here."""
        while True:
            self._patience.attempts += 1
            opened = _opened_async(self._unit, self._patience)
            try:
                given: Any = await opened.__aenter__()
            except Exception as error:
                found = self._patience.judge(error, whole=self._unit.whole)
                if found is None:
                    raise
                refusal = error
            else:
                self._opened = opened
                return given
            await self._patience.settle_async(found, refusal, _again(self._unit), self._unit.engine)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Commit; or roll back, and True where another attempt follows."""
        assert self._opened is not None
        if error is None:
            self.is_done = True
            try:
                await self._opened.__aexit__(None, None, None)
            except Exception as refused:
                told = self._patience.given_up(refused)
                if told is refused:
                    raise
                raise told from refused
            return False
        if await self._opened.__aexit__(kind, error, traceback):
            return True
        found = self._patience.judge(error, whole=self._unit.whole)
        if found is None:
            return False
        await self._patience.settle_async(found, error, _again(self._unit), self._unit.engine)
        return True


@overload
def retrying(source: None = None, **options: Unpack[RetryOptions]) -> Iterator[Attempt[None]]: ...
@overload
def retrying(source: Engine, **options: Unpack[RetryOptions]) -> Iterator[Attempt[Session]]: ...
@overload
def retrying(source: Connection, **options: Unpack[RetryOptions]) -> Iterator[Attempt[Connection]]: ...
@overload
def retrying(
    source: sessionmaker[S] | scoped_session[S] | S, **options: Unpack[RetryOptions]
) -> Iterator[Attempt[S]]: ...
def retrying(source: Any = None, **options: Unpack[RetryOptions]) -> Iterator[Attempt[Any]]:
    """The attempts, each a context manager that gives the session; sources and errors are those of `run_locked`.

    for attempt in retrying(engine):
        with attempt as session:
            ...

    `return` and `break` in the block commit, too. As nothing can begin the block anew once it has ended, a refusal of the COMMIT that
    wants the whole transaction again (PostgreSQL's serialization failure) is a DatabaseLockedError here: use `run_locked` for
    such transactions.

    >>> import sqlite3
    >>> database = sqlite3.connect(":memory:", isolation_level=None)
    >>> for attempt in retrying(deadline=10):
    ...     with attempt, database:
    ...         found = database.execute("SELECT 42").fetchone()
    >>> found
    (42,)
    """
    unit, patience = _unit_of(source, options), Patience(options)
    return _attempts(lambda: Attempt[Any](unit, patience))


def _attempts(made: Callable[[], Attempt[Any]]) -> Iterator[Attempt[Any]]:
    attempt = made()
    yield attempt
    while not attempt.is_done:
        attempt = made()
        yield attempt


@overload
def retrying_async(source: None = None, **options: Unpack[RetryOptions]) -> AsyncIterator[AsyncAttempt[None]]: ...
@overload
def retrying_async(
    source: AsyncEngine, **options: Unpack[RetryOptions]
) -> AsyncIterator[AsyncAttempt[AsyncSession]]: ...
@overload
def retrying_async(
    source: AsyncConnection, **options: Unpack[RetryOptions]
) -> AsyncIterator[AsyncAttempt[AsyncConnection]]: ...
@overload
def retrying_async(
    source: async_sessionmaker[A] | A, **options: Unpack[RetryOptions]
) -> AsyncIterator[AsyncAttempt[A]]: ...
def retrying_async(source: Any = None, **options: Unpack[RetryOptions]) -> AsyncIterator[AsyncAttempt[Any]]:
    """The same for `async for` and `async with`.

    async for attempt in retrying_async(engine):
        async with attempt as session:
            ...
    """
    unit, patience = _async_unit_of(source, options), Patience(options)
    return _async_attempts(lambda: AsyncAttempt[Any](unit, patience))


async def _async_attempts(made: Callable[[], AsyncAttempt[Any]]) -> AsyncIterator[AsyncAttempt[Any]]:
    attempt = made()
    yield attempt
    while not attempt.is_done:
        attempt = made()
        yield attempt


class _Decorator:
    """What `retry_locked()` without a source is: it takes any function as it is."""

    def __init__(self, options: RetryOptions) -> None:
        self._options = options

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        return cast("Callable[P, R]", _decorated(None, self._options, function))


class _SessionDecorator(Generic[S]):
    """What it is with a source: the function, or the method after its own object, has the session as its first parameter."""

    def __init__(self, source: object, options: RetryOptions) -> None:
        self._source = source
        self._options = options

    @overload
    def __call__(self, function: Callable[Concatenate[S, P], R]) -> Callable[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Self_, S, P], R]) -> Callable[Concatenate[Self_, P], R]: ...
    def __call__(self, function: Any) -> Any:
        return _decorated(self._source, self._options, function)


class _AsyncSessionDecorator(Generic[A]):
    """The same for coroutine functions."""

    def __init__(self, source: object, options: RetryOptions) -> None:
        self._source = source
        self._options = options

    @overload
    def __call__(self, function: Callable[Concatenate[A, P], Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Self_, A, P], Awaitable[R]]
    ) -> Callable[Concatenate[Self_, P], Coroutine[Any, Any, R]]: ...
    def __call__(self, function: Any) -> Any:
        return _decorated(self._source, self._options, function)


@overload
def retry_locked(source: None = None, **options: Unpack[RetryOptions]) -> _Decorator: ...
@overload
def retry_locked(source: Engine, **options: Unpack[RetryOptions]) -> _SessionDecorator[Session]: ...
@overload
def retry_locked(
    source: sessionmaker[S] | scoped_session[S], **options: Unpack[RetryOptions]
) -> _SessionDecorator[S]: ...
@overload
def retry_locked(source: AsyncEngine, **options: Unpack[RetryOptions]) -> _AsyncSessionDecorator[AsyncSession]: ...
@overload
def retry_locked(source: async_sessionmaker[A], **options: Unpack[RetryOptions]) -> _AsyncSessionDecorator[A]: ...
def retry_locked(source: Any = None, **options: Unpack[RetryOptions]) -> Any:
    """A decorator: the function gets a session as its first argument, in a transaction that is begun anew while it is locked out.

    A method, whose own first parameter is called `self` or `cls`, gets it as the second. Coroutine functions take an asynchronous source.
    Without a source, the function is called with its own arguments alone, and begins and ends its transaction itself. Sources and
    errors are those of `run_locked`. Raises TypeError for what cannot be called twice, such as a generator function, and for a source
    of the other colour.

    >>> from sqlalchemy import create_engine, text
    >>> @retry_locked(create_engine("sqlite://"), deadline=10)
    ... def doubled(session, number):
    ...     return session.scalar(text("SELECT 2 * :number"), {"number": number})
    >>> doubled(21)
    42
    """
    Patience(options)  # a slip of the pen is found where it was made
    if source is None:
        return _Decorator(options)
    if inspect.isfunction(source):
        msg = "write @retry_locked() with parentheses, or name an engine in them"
        raise TypeError(msg)
    return _SessionDecorator[Any](source, options)


def _decorated(source: Any, options: RetryOptions, function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        msg = f"{function.__qualname__} is a generator: what it has given away cannot be begun anew"
        raise TypeError(msg)
    place = 1 if _is_method(function) else 0
    if inspect.iscoroutinefunction(function):
        if source is not None:
            _async_unit_of(source, options)

        @functools.wraps(function)
        async def tried_async(*args: Any, **kwargs: Any) -> Any:
            return await _run_async(
                source, lambda given: function(*_with(source, given, args, place), **kwargs), options
            )

        return tried_async
    if source is not None:
        _unit_of(source, options)

    @functools.wraps(function)
    def tried(*args: Any, **kwargs: Any) -> Any:
        return _run(source, lambda given: function(*_with(source, given, args, place), **kwargs), options)

    return tried


def _is_method(function: Callable[..., Any]) -> bool:
    """By its own first parameter: while a class is being made, its methods are functions like any others."""
    try:
        names = iter(inspect.signature(function).parameters)
    except ValueError:  # not written in Python
        return False
    return next(names, "") in {"self", "cls"}


def _with(source: object, given: object, args: tuple[Any, ...], place: int) -> tuple[Any, ...]:
    return args if source is None else (*args[:place], given, *args[place:])
