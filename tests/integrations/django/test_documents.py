"""docs/frameworks/django.md and the example's README keep their word."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.django.desk import EXAMPLE, Desk

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "frameworks" / "django.md"


def blocks(language: str) -> list[str]:
    return [part.partition("```")[0] for part in PAGE.read_text().split(f"```{language}\n")[1:]]


def test_the_settings_of_the_page_are_all_there_are_with_their_defaults(django_database: None) -> None:
    from django.test import override_settings

    from holdfast.integrations.django.configuration import _KEYS, configured

    [block] = [block for block in blocks("python") if block.startswith("HOLDFAST = ")]
    said = ast.literal_eval(block.partition("= ")[2])
    assert tuple(said) == _KEYS
    with override_settings(HOLDFAST={}):
        usual = configured()
    with override_settings(HOLDFAST=said):
        assert configured() == usual


def test_the_newcomer_types_fewer_than_ten_lines() -> None:
    lines = [line for line in blocks("python")[0].splitlines() if line and not line.startswith(("#", "def "))]
    assert len(lines) < 10


def test_what_the_page_does_with_an_object_can_be_done(desk: Desk) -> None:
    [block] = [block for block in blocks("python") if "lock_for" in block]
    steps = block[block.index("lock = ") :]
    script = f"""
import django
django.setup()
from types import SimpleNamespace
from django.contrib.auth.models import User
from articles.models import Article
from holdfast.integrations.django import LockedError
article = Article.objects.get(pk=1)
request = SimpleNamespace(user=User.objects.get(username="alice"))
{steps}
assert article.lock_state.holder.name == "alice" and article.lock_state.root == "/articles/article/1"
try:
    article.lock_for("bob")
except LockedError as error:
    print(error)
try:
    with article.changed_by("bob"):
        raise AssertionError
except LockedError:
    pass
assert article.break_lock("root", "the end").by == "root"
assert article.break_lock("root", "the end") is None
with article.changed_by("bob"):
    article.save()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=desk.folder,
        env=dict(desk.environment),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "alice has locked /articles/article/1" in done.stdout


@pytest.mark.process
def test_the_commands_of_the_example_do_what_they_say(tmp_path: Path) -> None:
    readme = (EXAMPLE / "README.md").read_text()
    commands = [line.strip() for line in readme.splitlines() if line.startswith("    python manage.py")]
    assert len(commands) == 3
    environment = os.environ | {"DATABASE": str(tmp_path / "desk.sqlite3"), "DJANGO_SUPERUSER_PASSWORD": "secret"}
    for command in commands:
        words = [sys.executable, *command.split()[1:], *(["--noinput"] if "createsuperuser" in command else [])]
        done = subprocess.run(words, cwd=EXAMPLE, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
