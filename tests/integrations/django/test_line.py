"""Django's own database as the place of a line: processes are served in order in each of them, and who was killed blocks nobody for long."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.databases import servers

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60


@dataclass
class Process:
    """A process of the application."""

    popen: subprocess.Popen[str]

    def tell(self, words: str) -> None:
        """Let it begin with something."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(words + "\n")
        self.popen.stdin.flush()

    def heard(self) -> Any:
        """What it has to say then."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        assert line, self.popen.wait()
        return json.loads(line) if line[0] in '"[0123456789' else line.strip()

    def ask(self, words: str) -> Any:
        """Both."""
        self.tell(words)
        return self.heard()


class Application:
    """Processes over one database."""

    worker = "tests.integrations.django.waiting_worker"

    def __init__(self, database: dict[str, Any]) -> None:
        self.database = json.dumps(database)
        self.processes: list[subprocess.Popen[str]] = []

    def process(self, name: str) -> Process:
        """One more, ready."""
        popen = subprocess.Popen(
            [sys.executable, "-m", self.worker, self.database, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.processes.append(popen)
        found = Process(popen)
        assert found.heard() == "ready"
        return found

    def close(self) -> None:
        """End them all."""
        for popen in self.processes:
            popen.kill()
            popen.communicate()


@pytest.fixture(
    params=[
        "sqlite",
        "postgres",
        pytest.param("mariadb", marks=pytest.mark.tool("mariadbd")),
        pytest.param("mysql", marks=pytest.mark.tool("mysqld")),
    ]
)
def application(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Application]:
    with ExitStack() as stack:
        database: dict[str, Any] = {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(tmp_path / "app.db"),
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": PATIENCE_S},
        }
        if request.param == "postgres":
            found = stack.enter_context(servers.postgres_database(stack.enter_context(servers.postgres()), "line"))
            place = {"NAME": found.name, "USER": "postgres", "HOST": str(found.folder)}
            database = {"ENGINE": "django.db.backends.postgresql", **place}
        elif request.param in ("mariadb", "mysql"):
            server = stack.enter_context(getattr(servers, request.param)())
            found = stack.enter_context(servers.mariadb_database(server, "line"))
            place = {"NAME": found.name, "USER": "root", "HOST": str(found.folder / "socket")}
            database = {"ENGINE": "django.db.backends.mysql", **place}
        found_application = Application(database)
        stack.callback(found_application.close)
        yield found_application


def until_line(process: Process, names: list[str]) -> None:
    ends_at = time.monotonic() + PATIENCE_S
    while process.ask("line") != names:
        assert time.monotonic() < ends_at
        time.sleep(0.01)


@pytest.mark.process
def test_the_line_in_every_database(application: Application) -> None:
    """First come, first served; a newcomer passes nobody; a timeout leaves no place; a killed waiter's place lapses."""
    ada, *others = [application.process(name) for name in ("ada", "bob", "cyd", "dee")]
    assert ada.ask("migrate") == "migrated"
    assert ada.ask("acquire 0") == 1
    for number, one in enumerate(others):
        one.tell("acquire 60")
        until_line(ada, ["bob", "cyd", "dee"][: number + 1])
    assert "3 requests wait in the line" in ada.ask("acquire 0")
    assert "You are number 4 in the line" in ada.ask("acquire 0.01")
    until_line(ada, ["bob", "cyd", "dee"])
    assert ada.ask("release") == "released"
    bob, cyd, dee = others
    assert bob.heard() == 2
    until_line(ada, ["cyd", "dee"])

    cyd.popen.kill()
    bob.ask("release")
    assert "cyd is next in line" in bob.ask("acquire 0")
    # In a transaction of the application's own nobody would see a place: it takes none, and passes nobody.
    assert "cyd is next in line" in bob.ask("acquire-atomic 0.3")
    until_line(ada, ["cyd", "dee"])
    assert ada.ask("lapse") == "lapsed"
    assert dee.heard() == 3
    assert dee.ask("release") == "released"
    assert ada.ask("acquire 10") == 4
    assert "ada has locked /a" in bob.ask("acquire 0.01")  # it takes a place, and so removes what was left behind
    until_line(ada, [])
