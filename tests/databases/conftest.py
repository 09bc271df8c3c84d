"""Databases for the tests: real servers, started when the first test wants one, and an empty database for each test.

Each process of pytest-xdist has servers of its own, so whoever is seen in one is of the test that runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, create_engine

from tests.databases import servers
from tests.databases.servers import Database

_NUMBERS = itertools.count(1)

MakeEngine = Callable[..., Engine]


@pytest.fixture(scope="session", name="postgres_server")
def make_postgres_server() -> Iterator[Database]:
    with servers.postgres() as server:
        yield server


@pytest.fixture(scope="session", name="mariadb_server")
def make_mariadb_server() -> Iterator[Database]:
    with servers.mariadb() as server:
        yield server


@pytest.fixture(scope="session", name="mysql_server")
def make_mysql_server() -> Iterator[Database]:
    with servers.mysql() as server:
        yield server


@pytest.fixture(name="postgres")
def make_postgres(postgres_server: Database) -> Iterator[Database]:
    """An empty database in a real PostgreSQL."""
    with servers.postgres_database(postgres_server, f"test{next(_NUMBERS)}") as database:
        yield database


@pytest.fixture(name="mariadb")
def make_mariadb(mariadb_server: Database) -> Iterator[Database]:
    """An empty database in a real MariaDB; the test must be marked `tool("mariadbd")`."""
    with servers.mariadb_database(mariadb_server, f"test{next(_NUMBERS)}") as database:
        yield database


@pytest.fixture(name="mysql")
def make_mysql(mysql_server: Database) -> Iterator[Database]:
    """An empty database in a real MySQL; the test must be marked `tool("mysqld")`."""
    with servers.mysql_database(mysql_server, f"test{next(_NUMBERS)}") as database:
        yield database


@pytest.fixture(name="engine_for")
def make_engine_for() -> Iterator[MakeEngine]:
    """`create_engine` whose engines are disposed of when the test ends (before its database is dropped: ask for it after that)."""
    engines: list[Engine] = []

    def engine_for(url: object, **options: object) -> Engine:
        engine = create_engine(url, **options)  # pyright: ignore[reportArgumentType, reportCallIssue]
        engines.append(engine)
        return engine

    yield engine_for
    for engine in engines:
        engine.dispose()


@pytest.fixture(name="postgres_engine")
def make_postgres_engine(postgres: Database, engine_for: MakeEngine) -> Engine:
    return engine_for(postgres.postgres())


@pytest.fixture(name="mariadb_engine")
def make_mariadb_engine(mariadb: Database, engine_for: MakeEngine) -> Engine:
    return engine_for(mariadb.mariadb())


@pytest.fixture(name="mysql_engine")
def make_mysql_engine(mysql: Database, engine_for: MakeEngine) -> Engine:
    return engine_for(mysql.mysql())
