"""What may be asked about: an engine, a connection, a session, a URL, or the path of a SQLite file; and a connection of one's own to it.

Owns: telling these apart, choosing a driver that is installed, and the connection that questions are asked over: never one of the
application's pool, which may have none left, and whose transaction may have failed already. Must not know: what is asked.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote

from holdfast.databases.codes import Dialect
from holdfast.databases.holders import MissingDriverError, UnreachableDatabaseError, WhoError

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session

__all__ = [
    "Target",
    "dialect_of",
    "engine_of",
    "is_async",
    "own_connection",
    "own_connection_async",
    "shown_url",
    "sqlite_path",
    "target_text",
]

Target: TypeAlias = "Engine | AsyncEngine | Connection | AsyncConnection | Session | AsyncSession | URL | sqlite3.Connection | str | os.PathLike[str]"

_ALIASES: Final = {
    "sqlite": Dialect.SQLITE,
    "postgresql": Dialect.POSTGRESQL,
    "postgres": Dialect.POSTGRESQL,
    "mysql": Dialect.MYSQL,
    "mariadb": Dialect.MYSQL,
}
# Module that must be there -> SQLAlchemy's name of the driver, in the order in which they are tried.
_DRIVERS: Final = {
    Dialect.POSTGRESQL: (("psycopg", "psycopg"), ("psycopg2", "psycopg2"), ("pg8000", "pg8000")),
    Dialect.MYSQL: (("pymysql", "pymysql"), ("MySQLdb", "mysqldb"), ("mysql.connector", "mysqlconnector")),
}
_ASYNC_DRIVERS: Final = frozenset({"asyncpg", "aiomysql", "asyncmy", "aiosqlite", "psycopg_async"})
_ASYNCPG: Final = {
    "ssl": "sslmode",
    "direct_tls": "",
    "timeout": "",
    "command_timeout": "",
    "statement_cache_size": "",
    "max_cached_statement_lifetime": "",
    "max_cacheable_statement_size": "",
    "prepared_statement_cache_size": "",
    "async_fallback": "",
}
"""Its options, by the name that other drivers have for them; empty where they have none."""
_EXTRAS: Final = {
    Dialect.POSTGRESQL: ("PostgreSQL", "postgres"),
    Dialect.MYSQL: ("MySQL and MariaDB", "mysql"),
}
_SECRET: Final = re.compile(r"pass|pwd|secret|token", re.IGNORECASE)
_MANGLED: Final = re.compile(r"@|:/|pass|pwd", re.IGNORECASE)
"""What a file's name hardly has, and a URL or a driver's own text that was mistyped."""
_HARDLY_A_PASSWORD: Final = 3  # as long as what stands in its place
# What drivers raise for options that they do not have, or cannot read.
_MISTAKES: Final = (OSError, TypeError, ValueError, ImportError)
_CONNECT_WITHIN_S: Final = 10
_PATIENCE: Final = {
    "psycopg": "connect_timeout",
    "psycopg2": "connect_timeout",
    "pymysql": "connect_timeout",
    "mysqldb": "connect_timeout",
    "mysqlconnector": "connection_timeout",
}


def dialect_of(target: Target) -> Dialect:
    """Which database it is. Raises WhoError for one that cannot be asked."""
    if isinstance(target, sqlite3.Connection):
        return Dialect.SQLITE
    if isinstance(target, str):
        scheme, colon, _ = target.partition("://")
        name = scheme.partition("+")[0] if colon else "sqlite"
    elif isinstance(target, os.PathLike):
        return Dialect.SQLITE
    else:
        url: Any = _url_of(target)
        name = url.get_backend_name()
    if name not in _ALIASES:
        msg = f"Who holds a database can be told of sqlite, postgresql and mysql (MariaDB), and not of {name}."
        raise WhoError(msg)
    return _ALIASES[name]


def sqlite_path(target: Target) -> Path | None:
    """The database file; None for one in memory, which no other process can hold."""
    if isinstance(target, sqlite3.Connection):
        rows = target.execute("PRAGMA database_list").fetchall()
        return _path(str(rows[0][2] or ""))
    if isinstance(target, os.PathLike):
        return Path(target)
    if isinstance(target, str):
        scheme, colon, rest = target.partition("://")
        if not colon:
            return Path(target)
        del scheme
        raw, _, query = rest.removeprefix("/").partition("?")
        name = unquote(raw)  # as SQLAlchemy 2.1 does; before, it took the name as it is
        if not os.path.exists(name) and os.path.exists(raw):
            name = raw
        return _path(f"{name}?{query}" if name.startswith("file:") and query else name)
    url: Any = _url_of(target)
    query = "&".join(f"{name}={value}" for name, value in url.query.items())
    return _path(f"{url.database or ''}{'?' if query else ''}{query}" if query else url.database or "")


def target_text(target: Target) -> str:
    """What is shown of it, without a password."""
    if isinstance(target, str) and "://" not in target:
        return target if os.path.exists(target) or not _MANGLED.search(target) else "***"
    if isinstance(target, os.PathLike):
        return os.fspath(target)
    if isinstance(target, sqlite3.Connection):
        return str(sqlite_path(target) or ":memory:")
    if dialect_of(target) is Dialect.SQLITE:
        return str(sqlite_path(target) or ":memory:")
    url: Any = _made(target) if isinstance(target, str) else _url_of(target)
    return shown_url(url)


def shown_url(url: URL) -> str:
    """The URL without its passwords, those among its options included."""
    options = {name: "***" if _SECRET.search(name) else value for name, value in url.query.items()}
    return url.set(query=options).render_as_string(hide_password=True)


def engine_of(target: Target) -> Engine | None:
    """The application's own engine, where `target` leads to one."""
    if isinstance(target, str | os.PathLike | sqlite3.Connection):
        return None
    found: Any = _bind_of(target)
    return None if not hasattr(found, "pool") else found


@contextmanager
def own_connection(target: Target) -> Generator[Connection]:
    """A connection in AUTOCOMMIT, of its own and beside any pool; closed at the end of the block.

    Raises MissingDriverError, UnreachableDatabaseError.
    """
    from sqlalchemy.exc import DBAPIError

    engine = _own_engine(target)
    try:
        try:
            connection = engine.connect()
        except (DBAPIError, *_MISTAKES) as error:
            raise UnreachableDatabaseError(_refusal(target, error)) from error
        with connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")
    finally:
        engine.dispose()


@asynccontextmanager
async def own_connection_async(target: Target) -> AsyncGenerator[AsyncConnection]:
    """The same for an asynchronous engine, or a URL with an asynchronous driver."""
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import AsyncEngine

    engine = AsyncEngine(_own_engine(target, is_async=True))
    try:
        connection = engine.connect()
        try:
            await connection.start()
        except (DBAPIError, *_MISTAKES) as error:
            raise UnreachableDatabaseError(_refusal(target, error)) from error
        try:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")
        finally:
            await connection.close()
    finally:
        await engine.dispose()


def is_async(target: Target) -> bool:
    """Whether an asynchronous driver is meant."""
    if isinstance(target, sqlite3.Connection | os.PathLike):
        return False
    if isinstance(target, str):
        return target.partition("://")[0].partition("+")[2] in _ASYNC_DRIVERS
    found = _bind_of(target)
    if hasattr(found, "dialect"):
        return bool(found.dialect.is_async)
    return _url_of(target).get_driver_name() in _ASYNC_DRIVERS


def _bind_of(target: Any) -> Any:
    """The plain engine below a connection or a session; a URL as it is."""
    if hasattr(target, "get_bind"):  # Session, AsyncSession, scoped_session
        target = target.get_bind()
    if hasattr(target, "sync_engine"):
        return target.sync_engine
    if hasattr(target, "sync_connection") and target.sync_connection is not None:
        return target.sync_connection.engine
    return getattr(target, "engine", target)


def _url_of(target: Any) -> Any:
    found = _bind_of(target)
    return getattr(found, "url", found)


def _path(name: str) -> Path | None:
    """The file that SQLite's name means, a plain one or a URI."""
    if name.startswith("file:"):
        place, _, query = name.removeprefix("file:").partition("?")
        place = unquote(place)
        if place.startswith("//"):
            place = "/" + place[2:].partition("/")[2]
        name = "" if "mode=memory" in query else place
    else:
        name = name.partition("?")[0] if not os.path.exists(name) else name
    return None if name in {"", ":memory:"} else Path(name)


def _own_engine(target: Target, *, is_async: bool = False) -> Engine:
    """An engine for one connection. The application's own way of connecting is kept, where its driver can be used for this."""
    _need_sqlalchemy()
    from sqlalchemy import Engine, create_engine
    from sqlalchemy.pool import NullPool

    known = engine_of(target)
    if known is not None and known.dialect.is_async == is_async:
        return Engine(known.pool.recreate(), known.dialect, known.url)
    url = _url_of(target) if not isinstance(target, str) else _made(target)
    if not is_async:
        url = _with_driver(url, dialect_of(target))
    elif url.get_driver_name() not in _ASYNC_DRIVERS and url.get_driver_name() != "psycopg":
        msg = f"{url.get_driver_name()} is no asynchronous driver: use who() in a thread, or a URL with asyncpg or aiomysql."
        raise WhoError(msg)
    patience = _PATIENCE.get(url.get_driver_name())
    arguments = {} if patience is None or patience in url.query else {patience: _CONNECT_WITHIN_S}
    if is_async:
        from sqlalchemy.ext.asyncio import create_async_engine

        return create_async_engine(url, poolclass=NullPool, connect_args=arguments).sync_engine
    return create_engine(url, poolclass=NullPool, connect_args=arguments)


def _made(text: str) -> URL:
    _need_sqlalchemy()
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    scheme, _, rest = text.partition("://")
    backend, plus, driver = scheme.partition("+")
    backend = {"postgres": "postgresql"}.get(backend, backend)
    try:
        url = make_url(f"{backend}{plus}{driver}://{rest}")
    except (ArgumentError, ValueError) as error:
        msg = f"{scheme}://... is no URL of a database: write postgresql://USER@HOST/NAME, mysql://USER@HOST/NAME, or the path of a SQLite file."
        raise WhoError(msg) from error
    if "@" in (url.host or ""):  # the part of a password that would be taken for the host, and be shown
        msg = f"{scheme}://...: an @ in the name or the password is written %40 there."
        raise WhoError(msg)
    return url


def _with_driver(url: URL, dialect: Dialect) -> URL:
    """The URL with a synchronous driver that is installed: the one that it names, if possible."""
    backend, _, named = url.drivername.partition("+")
    choices = _DRIVERS.get(dialect, ())
    for module, driver in sorted(choices, key=lambda choice: choice[1] != named):
        if find_spec(module.partition(".")[0]) is not None:
            return _translated(url, named).set(drivername=f"{backend}+{driver}")
    name, extra = _EXTRAS[dialect]
    msg = f"{name} cannot be asked without a driver: pip install 'holdfast[{extra}]'"
    raise MissingDriverError(msg)


def _translated(url: URL, named: str) -> URL:
    """Its options as other drivers have them: asyncpg calls `ssl` what all others call sslmode, and has some for itself."""
    if named != "asyncpg":
        return url
    options = {_ASYNCPG.get(name, name): value for name, value in url.query.items()}
    return url.set(query={name: value for name, value in options.items() if name})


def _need_sqlalchemy() -> None:
    if find_spec("sqlalchemy") is None:
        msg = "A database server cannot be asked without SQLAlchemy: pip install 'holdfast[postgres]' or 'holdfast[mysql]'"
        raise MissingDriverError(msg)


def _refusal(target: Target, error: BaseException) -> str:
    lines = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    said = " ".join(line.strip() for line in lines)
    url: Any = _made(target) if isinstance(target, str) else _url_of(target)
    if url.password and len(str(url.password)) > _HARDLY_A_PASSWORD:
        said = said.replace(str(url.password), "***")
    return f"{target_text(target)} cannot be reached: {said[:400]}"
