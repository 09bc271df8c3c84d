"""cadaver, the command line client: a session of work, and a lock that stops the other user."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.conftest import Serving, run

pytestmark = [pytest.mark.process, pytest.mark.tool("cadaver")]


def cadaver(serving: Serving, home: Path, user: str, *commands: str) -> str:
    """One session; cadaver reads the password from ~/.netrc."""
    home.mkdir(exist_ok=True)
    netrc = home / ".netrc"
    netrc.write_text(f"machine {serving.address.split(':')[0]}\nlogin {user}\npassword {user}-secret\n")
    netrc.chmod(0o600)
    script = "\n".join([*commands, "quit", ""])
    return run("cadaver", serving.url, stdin=script, cwd=home, env={"HOME": str(home), "PATH": "/usr/bin:/bin"})


def test_a_session_of_work(serving: Serving, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("one")
    said = cadaver(
        serving, tmp_path / "alice", "alice",
        "mkcol drafts", f"put {text} drafts/plan.txt", "copy drafts/plan.txt drafts/copy.txt",
        "move drafts/copy.txt drafts/moved.txt", "propset drafts/plan.txt colour green", "propget drafts/plan.txt colour",
        "ls drafts", "delete drafts/moved.txt",
    )  # fmt: skip
    assert "failed" not in said, said
    assert "green" in said
    assert (serving.folder / "drafts/plan.txt").read_text() == "one"
    assert [path.name for path in (serving.folder / "drafts").iterdir()] == ["plan.txt"]


def test_a_lock_stops_the_other_user_and_not_its_holder(serving: Serving, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("one")
    two.write_text("two")
    holder = cadaver(
        serving,
        tmp_path / "alice",
        "alice",
        f"put {one} plan.txt",
        "lock plan.txt",
        f"put {one} plan.txt",
        "discover plan.txt",
    )
    assert "failed" not in holder, holder
    other = cadaver(serving, tmp_path / "bob", "bob", f"put {two} plan.txt", "delete plan.txt")
    assert other.count("423 Locked") == 2, other
    assert (serving.folder / "plan.txt").read_text() == "one"
