"""The tables of a LockTable are an application's own: Alembic finds them, makes them, and sees no difference afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Engine, Integer, MetaData, Table

from holdfast.databases import LockTable
from tests.databases.conftest import MakeEngine


@pytest.fixture(
    name="engine",
    params=[
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.process),
        pytest.param("mariadb", marks=[pytest.mark.process, pytest.mark.tool("mariadbd")]),
        pytest.param("mysql", marks=[pytest.mark.process, pytest.mark.tool("mysqld")]),
    ],
)
def make_engine(request: pytest.FixtureRequest, tmp_path: Path, engine_for: MakeEngine) -> Iterator[Engine]:
    if request.param == "sqlite":
        yield engine_for(f"sqlite:///{tmp_path / 'app.db'}")
    else:
        server = request.getfixturevalue(request.param)
        yield engine_for(server.postgres() if request.param == "postgres" else server.mariadb())


def test_autogenerate_writes_a_migration_that_makes_them(engine: Engine):
    metadata = MetaData()
    Table("orders", metadata, Column("id", Integer, primary_key=True))
    locks = LockTable(metadata)
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": metadata})
        script = produce_migrations(context, metadata)
        assert script.upgrade_ops is not None
        imports: set[str] = set()
        code = render_python_code(script.upgrade_ops, imports=imports, migration_context=context)
        assert "create_table('holdfast_locks'," in code
        assert "create_table('holdfast_locks_counter'," in code
        assert "create_table('holdfast_locks_places'," in code
        names: dict[str, object] = {"op": Operations(context)}
        exec("import sqlalchemy as sa\n" + "\n".join(imports), names)
        exec("def upgrade():\n" + code, names)
        names["upgrade"]()  # type: ignore[operator]
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert locks.bind(engine).acquire("/orders/42", "ada").fencing_token == 1


def test_a_database_with_an_older_versions_tables_gets_what_is_missing_and_no_more(engine: Engine):
    metadata = MetaData()
    locks = LockTable(metadata).bind(engine)
    metadata.create_all(engine, tables=[locks.rows.table, locks.rows.counter])
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)
    assert {(one[0], getattr(one[1], "table", one[1]).name) for one in differences} == {
        ("add_table", "holdfast_locks_places"),
        ("add_index", "holdfast_locks_places"),
    }
    locks.create()
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_table_under_another_name_has_locks_of_its_own(engine: Engine):
    for name in ("edits", "jobs"):
        locks = LockTable(engine, name)
        locks.create()
        assert locks.acquire("/a", "ada").fencing_token == 1
