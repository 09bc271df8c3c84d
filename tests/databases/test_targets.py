"""What is asked about is the database that the application has open, however it is named, and whichever of its engines is given."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url, text

from holdfast.databases import begin_immediate, is_immediate, who
from holdfast.databases.codes import Dialect
from holdfast.databases.connecting import _with_driver, shown_url, sqlite_path, target_text
from tests.databases.conftest import MakeEngine


@pytest.mark.parametrize("name", ["100%25.db", "100%.db", "a b.db", "a%20b.db"])
def test_a_name_with_a_percent_sign_is_found_whether_or_not_it_was_quoted(tmp_path: Path, name: str):
    """SQLAlchemy 2.0 takes the name of a SQLite file as it is, 2.1 decodes it."""
    (tmp_path / name).touch()
    assert sqlite_path(f"sqlite:///{tmp_path}/{name}") == tmp_path / name


def test_where_both_names_are_there_it_is_the_one_that_was_quoted(tmp_path: Path):
    for name in ("100%25.db", "100%.db"):
        (tmp_path / name).touch()
    assert sqlite_path(f"sqlite:///{tmp_path}/100%25.db") == tmp_path / "100%.db"


@pytest.mark.process
def test_its_own_transaction_is_found_with_its_place(tmp_path: Path, engine_for: MakeEngine):
    sqlite3.connect(tmp_path / "100%.db").close()
    engine = engine_for(f"sqlite:///{tmp_path}/100%25.db")
    begin_immediate(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a)"))
        [holder] = who(engine)
    assert "test_targets.py" in holder.began_at


def test_the_options_of_asyncpg_are_those_of_the_driver_that_asks():
    url = make_url("postgresql+asyncpg://h/x?ssl=require&prepared_statement_cache_size=0&application_name=me")
    assert dict(_with_driver(url, Dialect.POSTGRESQL).query) == {"sslmode": "require", "application_name": "me"}
    plain = make_url("postgresql+psycopg://h/x?sslmode=require")
    assert dict(_with_driver(plain, Dialect.POSTGRESQL).query) == {"sslmode": "require"}


@pytest.mark.parametrize("option", ["password", "PASSWD", "pwd", "sslpassword", "client_secret", "token"])
def test_no_option_that_may_be_a_password_is_shown(option: str):
    assert "hunter2" not in shown_url(make_url(f"mysql://h/x?{option}=hunter2&charset=utf8"))


def test_a_url_that_is_none_is_not_shown():
    assert "hunter2" not in target_text("postgresql:/ada:hunter2@h/x")
    assert target_text("data/app.db") == "data/app.db"


@pytest.fixture(name="engine")
def make_engine(tmp_path: Path, engine_for: MakeEngine) -> Engine:
    return engine_for(f"sqlite:///{tmp_path}/app.db", connect_args={"timeout": 0})


@pytest.mark.parametrize("given", ["engine", "part"])
def test_begin_immediate_is_for_an_engine_and_its_parts_together(engine: Engine, tmp_path: Path, given: str):
    part = engine.execution_options(a=1).execution_options(b=2)
    begin_immediate(engine if given == "engine" else part)
    begin_immediate(part)
    begin_immediate(engine)
    other = sqlite3.connect(tmp_path / "app.db", timeout=0, isolation_level=None)
    for one in (engine, part):
        assert is_immediate(one)
        with one.begin() as connection:
            connection.execute(text("SELECT 1"))
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
    other.close()
