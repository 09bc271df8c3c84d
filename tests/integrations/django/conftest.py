"""The example project under gunicorn, on SQLite and on PostgreSQL, each started once; and Django in this process, for its backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.integrations.backends import Locks
from tests.dashboard.conftest import browser
from tests.databases import servers
from tests.integrations.conftest import Kept
from tests.integrations.django.desk import Desk, open_desk

__all__ = ["browser"]


@pytest.fixture(scope="session", name="sqlite_desk")
def make_sqlite_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(tmp_path_factory.mktemp("desk")) as desk:
        yield desk


@pytest.fixture(scope="session", name="postgres_desk")
def make_postgres_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with servers.postgres() as server, servers.postgres_database(server, "desk") as database:
        named = {"PGHOST": str(database.folder), "PGDATABASE": database.name, "PGUSER": "postgres"}
        with open_desk(tmp_path_factory.mktemp("pgdesk"), **named) as desk:
            yield desk


@pytest.fixture
def desk(sqlite_desk: Desk) -> Desk:
    """On SQLite, with no lock held."""
    sqlite_desk.clear()
    return sqlite_desk


@pytest.fixture(params=["sqlite", "postgres"])
def any_desk(request: pytest.FixtureRequest) -> Desk:
    """On each database, with no lock held."""
    found: Desk = request.getfixturevalue(f"{request.param}_desk")
    found.clear()
    return found


@pytest.fixture(scope="session", name="django_database")
def make_django_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Django in this very process, with a SQLite file."""
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connections

    options = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL;"}
    name = str(tmp_path_factory.mktemp("django") / "locks.sqlite3")
    settings.configure(
        INSTALLED_APPS=["holdfast.integrations.django"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        SECRET_KEY="for the tests alone",
        USE_TZ=True,
        ROOT_URLCONF="holdfast.integrations.django.urls",
    )
    django.setup()
    call_command("migrate", verbosity=0)
    yield
    connections.close_all()


@pytest.fixture
def kept(django_database: None) -> Iterator[Kept]:
    """The backend over Django's ORM, with a clock that the test moves."""
    from holdfast.integrations.django.database import DjangoBackend
    from holdfast.integrations.django.models import Lock, LockPlace
    from holdfast.integrations.django.rows import NowMs

    class Moved(NowMs):
        added_ms = 0

        def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
            said, values = super().as_sqlite(compiler, connection, **more)
            return f"({said} + {Moved.added_ms})", values

    def advance(seconds: float) -> None:
        Moved.added_ms += round(seconds * 1000)

    Lock.objects.all().delete()
    LockPlace.objects.all().delete()
    with Locks(backend=DjangoBackend(now=Moved())) as locks:
        yield Kept(locks, advance)
