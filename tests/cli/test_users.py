"""`holdfast users`: the file it keeps, and that no password passes through a command line."""

from __future__ import annotations

import os
import pty
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from holdfast.access.passwords import Passwords
from holdfast.access.users_file import UsersFile
from holdfast.core.access import Grant, Role
from holdfast.core.paths import ResourcePath
from tests.cli.conftest import command

pytestmark = pytest.mark.process


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "team.json"


def test_add_list_grant_passwd_and_remove(run, file: Path):
    assert run("users", "add", "alice", "--users", file, "--password-stdin", stdin="secret word\n").returncode == 0
    added = UsersFile(file).load()["alice"]
    assert added.grants == (Grant(Role.WRITER),)
    assert Passwords().matches(added.password_hash, "secret word")

    assert run("users", "list", "--users", file).stdout == "alice  writer at /\n"

    assert run("users", "grant", "alice", "reader", "admin:/dav/team", "--users", file).returncode == 0
    assert UsersFile(file).load()["alice"].grants == (Grant(Role.READER), Grant(Role.ADMIN, ResourcePath("/dav/team")))

    assert run("users", "passwd", "alice", "--users", file, "--password-stdin", stdin="another word").returncode == 0
    changed = UsersFile(file).load()["alice"]
    assert Passwords().matches(changed.password_hash, "another word")
    assert not Passwords().matches(changed.password_hash, "secret word")

    assert run("users", "remove", "alice", "--users", file).returncode == 0
    assert UsersFile(file).load() == {}


def test_the_file_is_the_owner_s_alone(run, file: Path):
    run("users", "add", "alice", "--users", file, "--password-stdin", stdin="secret word\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_a_named_file_it_is_in_the_configuration_folder(run, environment):
    done = run("users", "add", "alice", "--password-stdin", stdin="secret word\n")
    kept = Path(environment["HOME"], ".config", "holdfast", "users.json")
    assert done.returncode == 0
    assert f"--users {kept}" in done.stdout
    assert "alice" in UsersFile(kept).load()


def test_a_short_password_draws_a_note_and_is_not_shown(run, file: Path):
    done = run("users", "add", "alice", "--users", file, "--password-stdin", stdin="pw1\n")
    assert done.returncode == 0
    assert "short" in done.stderr
    assert "pw1" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (["add", "a:b", "--password-stdin"], "secret word", "none of :"),
        (["add", "bob", "--password-stdin"], "", "must not be empty"),
        (["add", "bob"], "", "no terminal"),
        (["add", "bob", "--grant", "owner", "--password-stdin"], "secret word", "not a role"),
        (["add", "bob", "--grant", "reader:/../x", "--password-stdin"], "secret word", "dot segment"),
        (["add", "alice", "--password-stdin"], "secret word", "already"),
        (["remove", "bob"], "", "no user bob"),
        (["passwd", "bob", "--password-stdin"], "secret word", "no user bob"),
        (["grant", "bob", "reader"], "", "no user bob"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_changes_nothing(run, file: Path, arguments, stdin, sentence):
    run("users", "add", "alice", "--users", file, "--password-stdin", stdin="secret word\n")
    before = file.read_bytes()
    done = run("users", *arguments, "--users", file, stdin=stdin)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["users", "add", "alice", "--password-stdin"], "users passwd alice"),
        (["users", "remove", "bob"], "users list"),
        (["users", "passwd", "bob", "--password-stdin"], "users list"),
        (["tokens", "create", "ci"], "tokens revoke ci"),
        (["tokens", "revoke", "none"], "tokens list"),
    ],
)
def test_a_hint_is_about_the_file_that_was_named(run, tmp_path: Path, arguments, hint):
    file = tmp_path / "our team.json"
    run("users", "add", "alice", "--users", file, "--password-stdin", stdin="secret word\n")
    run("tokens", "create", "ci", "--users", file)
    done = run(*arguments, "--users", "our team.json", stdin="secret word\n")
    assert done.returncode == 2
    assert f"`holdfast {hint} --users '{file}'`" in done.stderr


def test_where_there_is_no_file_every_command_but_add_says_so(run):
    said = run("users", "list").stderr
    assert "does not exist: make it with `holdfast users add NAME --users " in said
    for arguments in (["remove", "bob"], ["passwd", "bob"], ["grant", "bob", "reader"]):
        assert run("users", *arguments).stderr == said


@pytest.mark.parametrize(
    "arguments",
    [["add", "bob", "--password-stdin"], ["add", "b:b", "--password-stdin"], ["add", "bob"], ["remove", "bob"]],
)
def test_what_cannot_be_done_leaves_nothing_behind(run, environment, tmp_path: Path, arguments):
    home = Path(environment["HOME"])
    team = tmp_path / "team"
    team.mkdir()
    assert run("users", *arguments).returncode == 2
    assert run("users", *arguments, "--users", team / "team.json").returncode == 2
    assert list(home.iterdir()) == list(team.iterdir()) == []
    (team / "team.json").write_text("not what Holdfast wrote")
    assert run("users", *arguments, "--users", team / "team.json", stdin="secret word\n").returncode == 2
    assert [path.name for path in team.iterdir()] == ["team.json"]


def type_at_terminal(arguments: list[str], typed: str, environment: dict[str, str]) -> tuple[int, str]:
    """Run with a terminal as standard input and output; returns the exit code and all that was shown."""
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        arguments, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, start_new_session=True
    ) as process:
        os.close(terminal)
        shown = b""
        for line in typed.splitlines(keepends=True):
            while not shown.endswith(b": "):
                shown += os.read(controller, 1)
            os.write(controller, line.encode())
            shown += os.read(controller, 1)
        try:
            while chunk := os.read(controller, 4096):
                shown += chunk
        except OSError:  # Linux tells the end of a terminal by EIO
            pass
        os.close(controller)
    return process.returncode, shown.decode()


def test_the_prompt_asks_twice_and_shows_nothing(file: Path, environment):
    code, shown = type_at_terminal(
        command("users", "add", "alice", "--users", file), "secret word\nsecret word\n", environment
    )
    assert code == 0, shown
    assert "secret" not in shown
    assert Passwords().matches(UsersFile(file).load()["alice"].password_hash, "secret word")


def test_ctrl_c_at_the_prompt_ends_the_line(file: Path, environment):
    """So that the shell's own prompt does not stand behind the question."""
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        command("users", "add", "alice", "--users", file), stdin=terminal, stdout=terminal, stderr=terminal,
        env=environment, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(terminal)
        shown = b""
        while not shown.endswith(b": "):
            shown += os.read(controller, 1)
        process.send_signal(signal.SIGINT)
        shown += os.read(controller, 4096)
        os.close(controller)
    assert process.returncode == 130
    assert shown.endswith(b": \r\n"), shown
    assert not file.exists()


def test_two_different_answers_change_nothing(file: Path, environment):
    code, shown = type_at_terminal(
        command("users", "add", "alice", "--users", file), "secret word\nsecret wird\n", environment
    )
    assert code == 2
    assert "differ" in shown
    assert not file.exists()
