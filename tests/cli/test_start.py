"""How a command starts: it loads what it uses, and nothing of what the other commands are made of. No test here measures time."""

from __future__ import annotations

import inspect
import io
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from cyclopts import App
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.errors import MarkupError
from rich.markup import escape as rich_escape

from holdfast.cli import terminal
from holdfast.cli.main import COMMANDS

FOR_A_SERVER = frozenset(
    {"argon2", "httptools", "jinja2", "prometheus_client", "sqlite3", "starlette", "uvicorn", "uvloop"}
)
FOR_DATABASES = frozenset({"psycopg", "psycopg2", "pymysql", "sqlalchemy"})
LOOPS = frozenset({"anyio", "asyncio", "trio"})
HTTP = frozenset({"h2", "httpcore", "httpcore2", "httpx", "httpx2", "requests", "ssl"})
ALWAYS = FOR_A_SERVER | FOR_DATABASES | LOOPS | {"httplint", "pygments"}
NOWHERE = "http://127.0.0.1:1/plan.odt"  # tcpmux: nothing listens there


WITH_A_URL = ALWAYS | {"h2", "httpx._main", "httpx2._main", "requests", "rich"}

PROGRAM = """
import sys
from holdfast.cli.main import main
try:
    main()
finally:
    with open("loaded", "w") as report:
        report.write("\\n".join(name for name, module in sys.modules.items() if module is not None))
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "code", "unwanted"),
    [
        (["--version"], 0, ALWAYS | HTTP | {"rich"}),
        (["--help"], 0, ALWAYS | HTTP),
        (["who", "--help"], 0, ALWAYS | HTTP),
        (["serve", "--help"], 0, (ALWAYS | HTTP) - {"ssl"}),
        (["db", "who", "--help"], 0, ALWAYS | HTTP),
        (["run", "--help"], 0, ALWAYS | HTTP),
        (["lock", "--help"], 0, ALWAYS | HTTP | {"holdfast.client"}),
        (["users", "list", "--help"], 0, ALWAYS | HTTP),
        (["inspect", "--help"], 0, ALWAYS | HTTP),
        (["who", "a.txt"], 1, ALWAYS | HTTP | {"rich", "holdfast.client"}),
        (["wait", "a.txt"], 0, ALWAYS | HTTP | {"rich", "holdfast.client"}),
        (["who", NOWHERE], 2, WITH_A_URL),
        (["lock", NOWHERE], 2, WITH_A_URL),
        (["get", NOWHERE], 2, WITH_A_URL),
        (["run", "--server", "http://127.0.0.1:1", "job", "--", "true"], 69, WITH_A_URL),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_loads_no_module_that_only_others_need(environment, tmp_path, arguments, code, unwanted):
    assert loaded_by(PROGRAM, arguments, code, environment, tmp_path) & unwanted == frozenset()


@pytest.mark.process
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_of_the_http_library_only_what_is_used_is_loaded(environment, tmp_path, library):
    other = "httpx" if library == "httpx2" else "httpx2"
    program = f"import sys\nsys.modules[{other!r}] = None\n{PROGRAM}"
    loaded = loaded_by(program, ["who", NOWHERE], 2, environment, tmp_path)
    assert library in loaded
    assert loaded & WITH_A_URL == frozenset()


def loaded_by(
    program: str, arguments: list[str], code: int, environment: dict[str, str], tmp_path: Path
) -> frozenset[str]:
    """The modules that are there when the command has ended with `code`."""
    (tmp_path / "a.txt").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == code, done.stderr
    loaded = frozenset((tmp_path / "loaded").read_text().split())
    assert "holdfast.cli.main" in loaded
    return loaded


@pytest.mark.process
def test_the_http_library_is_left_whole_where_a_loop_may_run_on_it():
    """In a process that has asyncio loaded, the asynchronous half of httpx works as ever."""
    program = (
        "import asyncio\n"
        "from holdfast.cli.http_library import new_client\n"
        "new_client().close()\n"
        "import httpx\n"
        "async def ask():\n"
        "    async with httpx.AsyncClient() as http:\n"
        "        try:\n"
        "            await http.get('http://127.0.0.1:1/')\n"
        "        except httpx.ConnectError:\n"
        "            print('asked')\n"
        "asyncio.run(ask())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "asked\n", done.stderr


@pytest.mark.process
def test_what_was_left_out_of_the_http_library_can_be_imported_afterwards():
    program = (
        "from holdfast.cli.http_library import new_client\nnew_client().close()\nimport anyio\nprint(anyio.__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "anyio\n", done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_the_help_of_each_begins_with(name):
    place, summary = COMMANDS[name]
    module, _, attribute = place.partition(":")
    command = getattr(import_module(f"holdfast.cli.{module}"), attribute)
    text = command.help if isinstance(command, App) else inspect.getdoc(command)
    assert text.partition("\n\n")[0].replace("\n", " ") == summary


TEXTS = st.text(st.sampled_from("ab [](){}\\/#@:1Bé=\n"), max_size=20)


@given(TEXTS, TEXTS, TEXTS)
def test_a_pipe_is_sent_what_rich_would_send_it(before, within, after):
    assert terminal.escape(within) == rich_escape(within)
    line = f"{terminal.escape(before)} [bold]{terminal.escape(within)} [/bold]{terminal.escape(after)}"
    expected = io.StringIO()
    try:
        Console(file=expected, highlight=False, soft_wrap=True, emoji=False).print(line)
    except MarkupError:  # three backslashes before a tag; rich's own escape does not know better
        return
    assert f"{terminal._without_markup(line)}\n" == expected.getvalue()


@pytest.mark.parametrize("text", ["a\tb", "a\rb", "bell\a"])
def test_a_line_with_tabs_or_control_characters_is_left_to_rich(capsys, text):
    terminal.say(text)
    expected = io.StringIO()
    Console(file=expected, highlight=False, soft_wrap=True).print(text)
    assert capsys.readouterr().out == expected.getvalue()


@pytest.mark.parametrize("decided_by_rich", [False, True])
def test_a_path_with_colons_is_shown_as_it_is(capsys, monkeypatch, decided_by_rich):
    """`:lock:` is the name of a picture to rich."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    if decided_by_rich:
        monkeypatch.setenv("TTY_COMPATIBLE", "0")
    terminal.say("/srv/:lock:/plan.odt")
    terminal.warn("/srv/:lock:/plan.odt")
    shown = capsys.readouterr()
    assert shown.out == "/srv/:lock:/plan.odt\n"
    assert "/srv/:lock:/plan.odt\n" in shown.err


@pytest.mark.process
def test_a_reader_that_has_seen_enough_gets_no_complaint(environment, tmp_path: Path):
    """As `holdfast ... | head`: the pipe is closed before the command writes."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "holdfast", "--version"],
            stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, env=environment, cwd=tmp_path,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
