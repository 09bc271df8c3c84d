"""What is begun anew: a transaction of an engine or a session factory, or a savepoint in one that somebody else has begun.

Owns: how each source opens its unit, and ends it. Must not know: how often, and how long is waited between.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from holdfast.databases.limits import at_work, follow, heeding
from holdfast.databases.patience import Patience
from holdfast.databases.watching import watch

__all__ = ["AsyncUnit", "Unit", "async_unit_of", "unit_of"]

_SYNC: Final = (Engine, sessionmaker, Session, Connection)
_ASYNC: Final = (AsyncEngine, async_sessionmaker, AsyncSession, AsyncConnection)


class Unit:
    """One unit. `whole`: it is a transaction, not a savepoint in one. `engine` is what holders are asked of, where it is known."""

    def __init__(self, source: Engine | sessionmaker[Any] | Session | Connection, *, is_watched: bool) -> None:
        """Look at what the source is, now."""
        self._source = source
        self.whole = not (isinstance(source, Session | Connection) and source.in_transaction())
        self.engine = _engine_of(source)
        _attend(self.engine, is_watched=is_watched)

    @contextmanager
    def opened(self, patience: Patience) -> Generator[Any]:
        """The session or connection; committed at the end of the block, rolled back where it fails."""
        source = self._source
        with at_work(patience):
            if isinstance(source, Session | Connection):
                if not self.whole:
                    with source.begin_nested():
                        yield source
                    return
                with heeding(source, patience), source.begin():
                    yield source
                return
            # What is returned to the caller outlives this session, so it must not want to be read again.
            made = partial(Session, source) if isinstance(source, Engine) else source
            with made(expire_on_commit=False) as session, heeding(session, patience), session.begin():
                yield session


class AsyncUnit:
    """The same, asynchronously."""

    def __init__(
        self, source: AsyncEngine | async_sessionmaker[Any] | AsyncSession | AsyncConnection, *, is_watched: bool
    ) -> None:
        """Look at what the source is, now."""
        self._source = source
        self.whole = not (isinstance(source, AsyncSession | AsyncConnection) and source.in_transaction())
        self.engine = _engine_of(source)
        _attend(self.engine, is_watched=is_watched)

    @asynccontextmanager
    async def opened(self, patience: Patience) -> AsyncGenerator[Any]:
        """The session or connection; committed at the end of the block, rolled back where it fails."""
        source = self._source
        with at_work(patience):
            if isinstance(source, AsyncSession | AsyncConnection):
                if not self.whole:
                    async with source.begin_nested():
                        yield source
                    return
                with heeding(_plain(source), patience):
                    async with source.begin():
                        yield source
                return
            made = partial(AsyncSession, source) if isinstance(source, AsyncEngine) else source
            async with made(expire_on_commit=False) as session:
                with heeding(session.sync_session, patience):
                    async with session.begin():
                        yield session


def _plain(source: AsyncSession | AsyncConnection) -> Session | Connection:
    """Raises what SQLAlchemy does for a connection that was not started."""
    return source.sync_session if isinstance(source, AsyncSession) else source._proxied


def _attend(engine: Engine | None, *, is_watched: bool) -> None:
    """Listen to it: once, whoever comes first. `is_watched`: so that this process is told where it is in its own way."""
    if engine is not None:
        follow(engine)
        if is_watched:
            watch(engine)


def unit_of(source: Any, *, is_watched: bool = False) -> Unit:
    """`is_watched`: remember where transactions of its engine begin (`holdfast.databases.watch`).

    Raises TypeError for what cannot be begun, or is asynchronous.
    """
    given: object = cast("object", source() if isinstance(source, scoped_session) else source)
    if isinstance(given, _SYNC):
        return Unit(cast("Any", given), is_watched=is_watched)
    twin = ": use the asynchronous twin" if isinstance(given, _ASYNC) else ""
    msg = f"an Engine, sessionmaker, Session or Connection is needed, not {type(cast('object', given)).__name__}{twin}"
    raise TypeError(msg)


def async_unit_of(source: Any, *, is_watched: bool = False) -> AsyncUnit:
    """The same, asynchronously.

    Raises TypeError for what cannot be begun, or is not asynchronous.
    """
    if isinstance(source, _ASYNC):
        return AsyncUnit(cast("Any", source), is_watched=is_watched)
    msg = f"an AsyncEngine, async_sessionmaker, AsyncSession or AsyncConnection is needed, not {type(cast('object', source)).__name__}"
    raise TypeError(msg)


def _engine_of(source: Any) -> Engine | None:
    """The plain engine, where the source leads to a single one."""
    if isinstance(source, sessionmaker | async_sessionmaker):
        source = source.kw.get("bind")
    elif isinstance(source, Session | AsyncSession):
        try:
            source = source.get_bind()
        except UnboundExecutionError:
            return None
    if isinstance(source, Connection):
        return source.engine
    if isinstance(source, AsyncConnection):
        return source.engine.sync_engine
    if isinstance(source, AsyncEngine):
        return source.sync_engine
    return source if isinstance(source, Engine) else None
