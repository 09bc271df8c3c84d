"""`holdfast run` on a terminal, under a real shell with job control: keys go to the command, and a stopped job comes back."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.cli.test_run import break_lock, held, surroundings, until
from tests.serving import Served, serving

pytestmark = pytest.mark.process

RUN = f"{sys.executable} -m holdfast run"
READER = "trap 'echo interrupted; exit 9' INT; echo up; while read -r line; do echo \"got <$line>\"; done"


class Shell:
    """An interactive bash on a pseudo-terminal."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execvpe(
                "bash", ["bash", "--norc", "--noprofile", "-i"], environment | {"PS1": "READY> ", "TERM": "dumb"}
            )
        self._seen = ""

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def see(self, pattern: str) -> re.Match[str]:
        """Read until the pattern is there, and forget what came before its end."""
        end = time.monotonic() + 40
        while not (found := re.search(pattern, self._seen)):
            assert time.monotonic() < end, f"{pattern!r} does not come; there is {self._seen!r}"
            if select.select([self._fd], [], [], 1)[0]:
                self._seen += os.read(self._fd, 4096).decode(errors="replace")
        self._seen = self._seen[found.end() :]
        return found

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._fd)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served", users=None) as server:
        yield server


@pytest.fixture
def shell(served: Served, tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "reader").write_text(READER)
    with closing_shell(surroundings(served, tmp_path, READER=str(tmp_path / "reader"))) as bash:
        yield bash


@contextmanager
def closing_shell(environment: dict[str, str]) -> Iterator[Shell]:
    bash = Shell(environment)
    try:
        bash.see("READY> ")
        yield bash
    finally:
        bash.end()


def test_the_command_reads_from_the_terminal_and_ctrl_c_is_its_own(shell):
    shell.type(f"{RUN} a -- sh $READER\n")
    shell.see(r"\nup")
    shell.type("one\n")
    shell.see("got <one>")
    shell.type("\x03")
    shell.see("interrupted")
    shell.see("READY> ")
    shell.type("echo code $?\n")
    shell.see(r"\ncode 9")


def test_ctrl_z_stops_it_and_gives_the_prompt_and_fg_brings_it_back(shell):
    shell.type(f"{RUN} a -- sh $READER\n")
    shell.see(r"\nup")
    for word in ("one", "two"):
        shell.type("\x1a")
        shell.see("the command is ended")
        shell.see(r"\[1\]\+ +Stopped[\s\S]*READY> ")
        shell.type("fg\n")
        shell.see(r"fg\s[\s\S]*\$READER")
        shell.type(f"{word}\n")
        shell.see(f"got <{word}>")
    shell.type("\x04")
    shell.see("READY> ")
    shell.type("echo code $?\n")
    shell.see(r"\ncode 0")


def test_a_command_that_read_before_it_had_the_terminal_goes_on_as_soon_as_it_has_it(shell):
    """Its SIGTTIN may be heard of when the terminal is its own again; that is no reason for a prompt."""
    shell.type(f"{RUN} a -- sh -c 'echo up; kill -TTIN $$; read -r line; echo \"got <$line>\"'\n")
    shell.see(r"\nup")
    shell.type("five\n")
    shell.see("got <five>")
    shell.see("READY> ")
    shell.type("echo code $?\n")
    shell.see(r"\ncode 0")


def test_a_command_that_stops_itself_gives_the_prompt_and_fg_brings_it_back(shell):
    """Also by SIGSTOP, which no program can catch or send in another's place."""
    shell.type(f"{RUN} a -- sh -c 'echo up; kill -STOP $$; read -r line; echo \"got <$line>\"'\n")
    shell.see(r"\nup")
    shell.see(r"\[1\]\+ +Stopped[\s\S]*READY> ")
    shell.type("fg\n")
    shell.see(r"fg\s[\s\S]*line>")
    shell.type("six\n")
    shell.see("got <six>")
    shell.see("READY> ")
    shell.type("echo code $?\n")
    shell.see(r"\ncode 0")


def test_a_command_in_the_background_stops_when_it_reads_and_fg_gives_it_the_terminal(shell):
    shell.type(f"{RUN} a -- sh $READER &\n")
    shell.see(r"\bup\b")
    shell.see("the command is ended")
    shell.type("sleep 0.1; jobs\n")
    shell.see(r"\[1\]\+ +Stopped[\s\S]*READY> ")
    shell.type("fg\n")
    shell.see(r"fg\s[\s\S]*\$READER")
    shell.type("three\n")
    shell.see("got <three>")
    shell.type("\x04")
    shell.see("READY> ")


def test_a_reader_behind_a_pipe_keeps_the_terminal(shell):
    """holdfast run NAME -- COMMAND | less"""
    shell.type(f'{RUN} a -- echo piped | (cat; read -r line </dev/tty; echo "read <$line>")\n')
    shell.see(r"\npiped")
    shell.type("four\n")
    shell.see("read <four>")
    shell.see("READY> ")


def test_in_a_script_ctrl_c_ends_the_command_and_the_script(shell, tmp_path):
    """They are one job to the shell that the person types into."""
    script = tmp_path / "script"
    script.write_text(f"{RUN} a -- sh -c 'echo up; exec sleep 60'\necho went on\n")
    shell.type(f"bash {script}; echo code $?\n")
    shell.see(r"\nup")
    shell.type("\x03")
    shell.see("READY> ")
    shell.type("echo the rest\n")
    assert "went on" not in shell.see(r"[\s\S]*\nthe rest")[0]


WAITS = {
    "run": f"{RUN} place -- echo it is mine",
    "lock": f"{sys.executable} -m holdfast lock --wait 1m $HOLDFAST_URL/jobs/place",
}


def ask(served: Served, lock_id: str, wait: float) -> int:
    """Ask for the lock that the test is about."""
    body = msgspec.json.encode({"resource": "/jobs/place", "id": lock_id, "wait": wait, "ttl": 60})
    return served.anonymous.request("POST", "/api/locks", body, content_type="application/json").status


@pytest.mark.parametrize("command", WAITS)
def test_the_place_in_line_is_shown_and_changes_as_others_leave(shell, served, command):
    assert ask(served, "holder", 0) == 201
    other = threading.Thread(target=ask, args=(served, "other", 60))
    other.start()
    try:
        until(lambda: b"other" in served.anonymous.get("/api/history").body)
        shell.type(f"COLUMNS=300 TERM=xterm {WAITS[command]}\n")
        shell.see("number 2 of 2 in line")
    finally:
        assert served.anonymous.request("DELETE", "/api/locks/other").status == 204
        other.join()
    shell.see("number 1 of 1 in line")
    [lock] = held(served)
    break_lock(served, lock, "the next one")
    shell.see("it is mine|Locked")
    shell.see("READY> ")


def test_wait_shows_how_many_stand_in_line(shell, served):
    assert ask(served, "holder", 0) == 201
    other = threading.Thread(target=ask, args=(served, "other", 60))
    shell.type(f"COLUMNS=300 TERM=xterm {sys.executable} -m holdfast wait $HOLDFAST_URL/jobs/place\n")
    shell.see("has locked it")
    other.start()
    try:
        shell.see("1 in line")
    finally:
        assert served.anonymous.request("DELETE", "/api/locks/other").status == 204
        other.join()
        shell.type("\x03")
        shell.see("READY> ")
