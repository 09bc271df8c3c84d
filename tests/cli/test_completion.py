"""`holdfast completion`: scripts that the shells accept, with every command in them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from holdfast.cli.completion import completion_script
from holdfast.cli.main import app

COMMANDS = [word for word in app if not word.startswith("-")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_is_in_it(shell):
    script = completion_script(app, shell)
    assert [word for word in COMMANDS if word not in script] == []
    assert {"who", "wait", "lock", "get", "completion"} <= set(COMMANDS)


@pytest.mark.process
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("holdfast", "wh"), ["who"]),
        (("holdfast", "who", "--j"), ["--json"]),
        (("holdfast", "tokens", "cr"), ["create"]),
    ],
)
def test_bash_completes_commands_and_flags(typed: tuple[str, ...], offered: list[str]):
    words = " ".join(f"'{word}'" for word in typed)
    script = f'{completion_script(app, "bash")}\nCOMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; _holdfast; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == offered
    assert done.stderr == ""


def test_files_are_completed_where_a_file_or_a_url_is_meant():
    assert "complete -o default -F _holdfast holdfast" in completion_script(app, "bash")
    described = next(line for line in completion_script(app, "zsh").splitlines() if "'1:A file of this machine" in line)
    assert described.strip().startswith("'1:A file of this machine")
    assert ":_files'" in described


@pytest.mark.process
@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", ".local/share/bash-completion/completions/holdfast"),
        ("zsh", ".local/share/zsh/site-functions/_holdfast"),
        ("fish", ".config/fish/completions/holdfast.fish"),
    ],
)
def test_it_is_put_where_the_shell_looks_for_it(run, environment, shell: str, place: str):
    done = run("completion", shell, "--install")
    assert done.returncode == 0
    file = Path(environment["HOME"], place)
    assert done.stdout == f"Wrote {file}.\n"
    assert file.read_text() == run("completion", shell).stdout


@pytest.mark.process
def test_an_unknown_shell_is_a_plain_sentence(run, tmp_path: Path):
    done = run("completion", "tcsh")
    assert done.returncode == 2
    assert "bash" in done.stderr
