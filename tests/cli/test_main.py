"""The command itself: what it shows, and that every mistake is one plain sentence and exit code 2."""

from __future__ import annotations

import pytest

from holdfast import __version__

pytestmark = pytest.mark.process


def test_the_version_is_the_package_s(run):
    done = run("--version")
    assert (done.returncode, done.stdout.strip()) == (0, __version__)


def test_without_arguments_it_says_how_to_begin(run):
    done = run()
    assert done.returncode == 0
    assert "holdfast serve DIR" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "example"),
    [
        (["serve"], "holdfast serve ~/Documents --user alice:secret"),
        (["users", "add"], "holdfast users add bob --grant reader --grant writer:/dav/team"),
        (["users", "grant"], "holdfast users grant alice admin"),
        (["users", "list"], "holdfast users list --users team.json"),
        (["users", "passwd"], "holdfast users passwd alice"),
        (["users", "remove"], "holdfast users remove alice"),
    ],
)
def test_the_help_of_each_command_has_an_example(run, arguments, example):
    done = run(*arguments, "--help")
    assert done.returncode == 0
    assert example in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [["nosuch"], ["serve"], ["serve", "--frob"], ["serve", ".", "extra"], ["serve", ".", "--port", "x"],
     ["serve", ".", "--durability", "none"], ["users", "add"], ["users", "nosuch"]],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_no_traceback(run, arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("holdfast: ")
    assert done.stderr.count("\n") == 1
