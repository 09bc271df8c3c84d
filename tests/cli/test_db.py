"""`holdfast db`: who, wait, kill and doctor as people and scripts use them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.cli.conftest import command
from tests.databases import servers
from tests.databases.servers import Database
from tests.databases.sessions import eventually, mariadb_holder, postgres_holder, sqlite3_program, sqlite_holder

pytestmark = pytest.mark.process

ROW = "UPDATE orders SET n = n + 1 WHERE id = 1"


@pytest.fixture(name="path")
def make_path(tmp_path: Path) -> Path:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
    return path


@pytest.fixture(scope="module", name="postgres_server")
def make_postgres_server() -> Iterator[Database]:
    with servers.postgres() as server:
        yield server


@pytest.fixture(name="postgres")
def make_postgres(postgres_server: Database) -> Iterator[Database]:
    with servers.postgres_database(postgres_server, "shop") as database:
        with psycopg.connect(host=str(database.folder), user="postgres", dbname="shop", autocommit=True) as connection:
            connection.execute("CREATE TABLE orders (id int PRIMARY KEY, n int)")
            connection.execute("INSERT INTO orders VALUES (1, 0)")
        yield database


def url_of(database: Database) -> str:
    """As people write it, without a driver."""
    return f"postgresql://postgres@/{database.name}?host={database.folder}"


class TestSqlite:
    def test_a_file_that_is_free_is_exit_code_0(self, run, path: Path):
        done = run("db", "who", path)
        assert (done.returncode, done.stdout) == (0, f"Nobody keeps {path} locked.\n")

    def test_the_program_that_holds_it_is_in_a_table_and_exit_code_1(self, run, path: Path):
        with sqlite_holder(path, "BEGIN IMMEDIATE") as process:
            done = run("db", "who", path.name)
        assert done.returncode == 1
        head, row = done.stdout.splitlines()
        columns = ["ID", "USER", "DOES", "PROCESS SINCE", "LAST WRITE", "HOLDS", "HOW", "PROGRAM"]
        assert re.split(r"  +", head) == columns
        assert re.search(r"  \d[.\d]* (s|min|h) ago +\d[.\d]* (s|min|h) ago  ", row)
        assert row.startswith(f"{process.pid}.")
        assert "is writing (RESERVED: readers go on)" in row

    @pytest.mark.tool("sqlite3")
    def test_json_names_the_sqlite3_program(self, run, path: Path):
        with sqlite3_program(path, "BEGIN EXCLUSIVE;") as process:
            done = run("db", "who", "--json", f"sqlite:///{path}")
        assert done.returncode == 1
        told = json.loads(done.stdout)
        [holder] = told["holders"]
        assert told["is_held"]
        assert (holder["pid"], holder["program"]) == (process.pid, f"sqlite3 -batch {path}")
        assert holder["id"].startswith(f"{process.pid}.")

    def test_waiting_ends_when_it_is_free(self, run, path: Path):
        with sqlite_holder(path, "BEGIN IMMEDIATE") as process:
            assert process.stdin is not None
            threading.Timer(0.5, process.stdin.close).start()
            done = run("db", "wait", "--timeout", "30s", path)
        assert (done.returncode, done.stderr) == (0, "")

    def test_waiting_ends_when_the_time_is_over(self, run, path: Path):
        with sqlite_holder(path, "BEGIN IMMEDIATE") as process:
            done = run("db", "wait", "--timeout", "100ms", path)
        assert done.returncode == 1
        assert done.stderr.startswith(f"Still held: {process.pid} (")

    def test_a_kill_needs_a_signal_and_a_yes(self, run, path: Path):
        with sqlite_holder(path, "BEGIN IMMEDIATE") as process:
            unasked = run("db", "kill", path, process.pid, "--reason", "hangs", "--signal", "TERM")
            unsignalled = run("db", "kill", path, process.pid, "--reason", "hangs", "--yes")
            assert [done.returncode for done in (unasked, unsignalled)] == [2, 2]
            assert "say --yes" in unasked.stderr
            assert "say which signal" in unsignalled.stderr
            assert process.poll() is None
            done = run("db", "kill", path, process.pid, "--reason", "hangs", "--signal", "TERM", "--yes")
            assert done.returncode == 0
            # What is recorded has no command line in it, which may have a password in it.
            found = re.fullmatch(r"ended by force: (\d+) \(.*python\): is writing.*; reason: hangs\n", done.stderr)
            assert found is not None
            assert done.stdout.startswith(f"Ended {found[1]} (")
            assert "import sqlite3" in done.stdout
            assert process.wait(20) == -signal.SIGTERM
        gone = run("db", "kill", path, process.pid, "--reason", "hangs", "--signal", "TERM", "--yes")
        assert gone.returncode == 1
        assert "holds nothing" in gone.stderr

    def test_the_doctor(self, run, path: Path):
        done = run("db", "doctor", path)
        assert done.returncode == 0
        assert done.stdout.startswith(f"SQLite: {path}\n")
        assert "warn: journal_mode is delete" in done.stdout
        assert "PRAGMA journal_mode=WAL" in done.stdout
        told = json.loads(run("db", "doctor", "--json", path).stdout)
        assert {one["name"] for one in told["settings"]} >= {"journal_mode", "busy_timeout", "file system"}
        assert told["findings"][0]["level"] == "warn"

    def test_what_is_not_there_or_cannot_be_asked_is_a_mistake(self, run, tmp_path: Path):
        for words, said in (
            (["nosuch.db"], "There is no nosuch.db."),
            (["sqlite:///nosuch.db"], "nosuch.db cannot be looked at: No such file or directory"),
            (["oracle://x/y"], "and not of oracle"),
            (["postgresql://db:port/shop"], "is no URL of a database"),
            ([tmp_path], "is a folder"),
            (["mysql://ada@127.0.0.1:1/shop?nosuch=1"], "unexpected keyword argument 'nosuch'"),
        ):
            done = run("db", "who", *words)
            assert done.returncode == 2, done
            assert said in done.stderr, done
            assert "Traceback" not in done.stderr
        assert not (tmp_path / "nosuch.db").exists()

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://ada:s3cret@127.0.0.1:1/shop",
            "postgresql://ada@127.0.0.1:1/shop?password=s3cret",
            "postgresql://ada:p@s3cret@127.0.0.1:1/shop",
            "postgresql://ada:s3cret@[::1/shop",
            "postgresql://ada:s3cret@127.0.0.1:1/shop?s3cret=1",
            "mysql://ada:s3cret@127.0.0.1:1/shop",
            "mysql://ada:s3cret@127.0.0.1:1/shop?passwd=s3cret",
            "oracle://ada:s3cret@127.0.0.1:1/shop",
        ],
    )
    def test_a_password_is_never_shown(self, run, url: str):
        done = run("db", "doctor", url)
        assert done.returncode == 2
        assert done.stderr.startswith("holdfast: ")
        shown = done.stderr.replace("?s3cret=1", "")  # that one is the name of an option, typed as such
        assert "s3cret" not in done.stdout + shown

    def test_flags_of_servers_are_said_to_mean_nothing_for_a_file(self, run, path: Path):
        done = run("db", "who", path, "--table", "t")
        assert (done.returncode, done.stderr) == (
            0,
            "Note: SQLite locks the whole file: --table, --waiter and --probe mean nothing there.\n",
        )

    def test_whoever_waited_is_told_for_how_long_it_was_seen(self, run, path: Path):
        with sqlite_holder(path, "BEGIN IMMEDIATE"):
            done = run("db", "wait", "--timeout", "300ms", path)
        assert re.search(r"; process since [-0-9: ]+ UTC; .*; seen at every look for 0\.\d s\.\n", done.stderr)

    def test_ctrl_c_ends_the_wait_without_a_word(self, environment, path: Path):
        with sqlite_holder(path, "BEGIN IMMEDIATE"):
            ours, theirs = pty.openpty()
            watched = environment | {"TERM": "xterm"}
            waiting = subprocess.Popen(command("db", "wait", path), env=watched, stdout=theirs, stderr=theirs)
            os.close(theirs)
            said = b""
            while b"waiting for" not in said:
                said += os.read(ours, 1000)
            waiting.send_signal(signal.SIGINT)
            with contextlib.suppress(OSError):  # EIO: the other end is closed
                while more := os.read(ours, 1000):
                    said += more
            assert waiting.wait(30) == 130
            os.close(ours)
        assert b"Traceback" not in said


class TestPostgres:
    def test_a_table_that_is_not_there_is_a_mistake(self, run, postgres: Database):
        done = run("db", "who", url_of(postgres), "--table", "nosuch")
        assert done.returncode == 2
        assert "There is no table nosuch" in done.stderr
        assert run("db", "who", url_of(postgres), "--table", "Public.ORDERS").returncode == 0

    def test_who_and_kill_by_the_id_that_was_shown(self, run, postgres: Database):
        with postgres_holder(postgres, ROW):
            done = run("db", "who", "--json", url_of(postgres))
            assert done.returncode == 1
            [holder] = json.loads(done.stdout)["holders"]
            assert (holder["program"], holder["resource"]) == ("reports", "orders")
            assert "is idle in a transaction" in run("db", "who", "--table", "orders", url_of(postgres)).stdout
            wrong = run("db", "kill", url_of(postgres), f"{holder['pid']}.0000x", "--reason", "test", "--yes")
            assert wrong.returncode == 1
            done = run("db", "kill", url_of(postgres), holder["id"], "--reason", "test", "--yes")
            assert done.returncode == 0
            assert done.stdout.startswith(f"Ended {holder['pid']} (postgres, reports)")
        assert run("db", "wait", "--timeout", "30s", url_of(postgres)).returncode == 0

    def test_somebody_at_a_terminal_is_asked(self, environment, postgres: Database):
        ours, theirs = pty.openpty()
        with postgres_holder(postgres, ROW):
            found = subprocess.run(
                command("db", "who", "--json", url_of(postgres)), capture_output=True, text=True, env=environment
            )
            [holder] = json.loads(found.stdout)["holders"]
            for answer, code in (("n", 2), ("y", 0)):
                os.write(ours, f"{answer}\n".encode())
                done = subprocess.run(
                    command("db", "kill", url_of(postgres), holder["id"], "--reason", "test"),
                    stdin=theirs,
                    capture_output=True,
                    text=True,
                    env=environment,
                    timeout=60,
                )
                assert done.returncode == code, done
                assert "What it has not committed is lost" in done.stdout
        os.close(ours)
        os.close(theirs)

    def test_the_doctor_shows_settings_holders_and_advice(self, run, postgres: Database):
        with postgres_holder(postgres, ROW):
            done = run("db", "doctor", url_of(postgres))
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("PostgreSQL 18")
        for words in ("idle_in_transaction_session_timeout", "warn: lock_timeout is 0", "reports", "info: "):
            assert words in done.stdout

    def test_a_probe_that_is_wrong_is_a_mistake(self, run, postgres: Database):
        done = run("db", "who", url_of(postgres), "--probe", "SELECT 1 FROM nosuch FOR UPDATE")
        assert done.returncode == 2
        assert 'relation "nosuch" does not exist' in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_missing_driver_is_said_with_the_extra_that_brings_it(self, environment, tmp_path: Path):
        """With modules that are not to be found, as where the extra was not installed."""
        script = (
            "import importlib.util as util, sys\n"
            "found = util.find_spec\n"
            "gone = {'psycopg', 'psycopg2', 'pg8000', *sys.argv[1].split()}\n"
            "util.find_spec = lambda name, *more: None if name in gone else found(name, *more)\n"
            "from holdfast.cli.main import main\n"
            "main(['db', 'who', 'postgresql://ada@localhost/shop'])\n"
        )
        for gone, said in (("", "pip install 'holdfast[postgres]'"), ("sqlalchemy", "without SQLAlchemy: pip install")):
            done = subprocess.run(
                [*command()[:1], "-c", script, gone], capture_output=True, text=True, env=environment, cwd=tmp_path
            )
            assert done.returncode == 2, done
            assert said in done.stderr
            assert "Traceback" not in done.stderr


@pytest.mark.tool("mariadbd")
def test_mariadb(run):
    with servers.mariadb() as server, servers.mariadb_database(server, "shop") as database:
        with mariadb_holder(
            database, "CREATE TABLE orders (id int PRIMARY KEY, n int)", "BEGIN", "INSERT INTO orders VALUES (1, 0)"
        ):
            url = f"mysql://root@localhost/shop?unix_socket={database.folder}/socket"
            done = eventually(lambda: found if (found := run("db", "who", url)).returncode == 1 else None)
            assert done is not None
            assert "is idle in a transaction" in done.stdout
            doctor = run("db", "doctor", url)
            assert doctor.stdout.startswith("MariaDB 10.")
