"""The command itself: what it shows, and that every mistake is one plain sentence and exit code 2."""

from __future__ import annotations

import pytest

from holdfast import __version__
from tests.docs.conftest import ROOT

pytestmark = pytest.mark.process

COMMANDS = [
    line.removeprefix("## holdfast ").split()
    for line in (ROOT / "docs" / "commands.md").read_text().splitlines()
    if line.startswith("## holdfast ")
]


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


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_of_each_command_shows_its_examples_whole_on_a_narrow_terminal(run, environment, words):
    """One below the other, none broken where the terminal ends."""
    environment["COLUMNS"] = "80"
    said = run(*words, "--help").stdout.splitlines()
    page = (ROOT / "docs" / "commands.md").read_text().partition(f"## holdfast {' '.join(words)}\n")[2]
    described = page.partition("\n| | |\n")[0].splitlines()[3:]  # after the usage
    examples = [line for line in described if line.startswith("    ")]
    assert examples
    assert [line.rstrip() for line in said if line.startswith("    ")] == examples


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["serve"], "DIR is missing. `holdfast serve --help` shows what can be said."),
        (["users", "add"], "NAME is missing. `holdfast users add --help` shows what can be said."),
        (["serve", ".", "--port", "x"], "--port must be a number, not 'x'. `holdfast serve --help` shows what can be said."),
        (["serve", ".", "--port"], "--port needs a value. `holdfast serve --help` shows what can be said."),
        (["serve", ".", "more"], "'more' is one word too many. `holdfast serve --help` shows what can be said."),
        (["serve", ".", "--frob"], "Unknown option: --frob. `holdfast serve --help` shows what can be said."),
        (["serve", ".", "--user"], "--user needs a value. `holdfast serve --help` shows what can be said."),
        (["break", "http://h/x"], "--reason is missing. `holdfast break --help` shows what can be said."),
        (["break", "http://h/x", "--reason"], "--reason needs a value. `holdfast break --help` shows what can be said."),
        (["serve", ".", "--port", "99999"], "--port must be a number from 0 to 65535, not 99999."),
        (["serve", ".", "--max-locks", "0"], "--max-locks must be a number from 1 to 1000000000, not 0."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_the_help_that_helps(run, arguments, sentence):
    assert run(*arguments).stderr == f"holdfast: {sentence}\n"


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
