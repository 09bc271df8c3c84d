"""`holdfast db` and what is typed for a database: no password is shown again, and what is no database is not said to be free."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    "typed",
    [
        "postgresql:/ada:hunter2@127.0.0.1/shop",
        "postgresql//ada:hunter2@127.0.0.1/shop",
        "ada:hunter2@127.0.0.1/shop",
        "host=127.0.0.1 password=hunter2",
        "mysql://root@127.0.0.1:1/shop?pwd=hunter2",
        "postgresql://127.0.0.1:1/shop?user=ada&password=hunter2",
    ],
)
def test_a_password_is_not_shown_wherever_it_stands_in_what_was_typed(run, typed: str):
    done = run("db", "who", typed)
    assert done.returncode == 2
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_path_that_is_not_there_is_named(run, tmp_path: Path):
    done = run("db", "who", f"{tmp_path}/app.db")
    assert done.returncode == 2
    assert f"There is no {tmp_path}/app.db" in " ".join(done.stderr.split())


def test_an_option_of_asyncpg_is_understood_by_the_driver_that_asks(run):
    done = run("db", "who", "postgresql+asyncpg://ada@127.0.0.1:1/shop?ssl=require&command_timeout=5")
    assert done.returncode == 2
    assert "sslmode=require" in done.stderr or "refused" in done.stderr
    assert "invalid connection option" not in done.stderr


def test_a_device_is_no_database(run):
    done = run("db", "who", "/dev/null")
    assert done.returncode == 2
    assert "no SQLite file" in done.stderr


def test_a_file_that_is_no_database_is_told_from_one_that_is_free(run, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("Buy milk, and a good deal of it.")
    done = run("db", "who", f"{tmp_path}/notes.txt")
    assert "does not begin as a SQLite file does" in " ".join(done.stderr.split())
    (tmp_path / "new.db").touch()
    assert run("db", "who", f"{tmp_path}/new.db").stderr == ""
