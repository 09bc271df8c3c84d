"""rclone: copy, sync and check a tree, with the modification times kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.programs.conftest import Serving, run

pytestmark = [pytest.mark.process, pytest.mark.tool("rclone")]


def rclone(serving: Serving, *arguments: object, user: str = "alice", ok: bool = True) -> str:
    obscured = run("rclone", "obscure", f"{user}-secret").strip()
    environment = os.environ | {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_HOLDFAST_TYPE": "webdav",
        "RCLONE_CONFIG_HOLDFAST_URL": serving.url,
        "RCLONE_CONFIG_HOLDFAST_VENDOR": "owncloud",
        "RCLONE_CONFIG_HOLDFAST_USER": user,
        "RCLONE_CONFIG_HOLDFAST_PASS": obscured,
    }
    return run("rclone", "--retries", "1", "--low-level-retries", "1", *arguments, env=environment, ok=ok)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    for name in ("a.txt", "deep/er/b.txt", "ümläut & 100%/c #1.txt", "empty.txt"):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if name.startswith("empty") else name * 100)
        os.utime(path, (1_583_236_800, 1_583_236_800))
    return top


def test_copy_check_sync_and_back(serving: Serving, tree: Path, tmp_path: Path) -> None:
    rclone(serving, "copy", tree, "holdfast:tree")
    assert "0 differences found" in rclone(serving, "check", tree, "holdfast:tree", "--download")
    assert (serving.folder / "tree/a.txt").stat().st_mtime_ns // 10**9 == 1_583_236_800
    # Times are kept, so a second copy finds nothing to do.
    assert "There was nothing to transfer" in rclone(serving, "copy", "-v", tree, "holdfast:tree")
    (tree / "a.txt").unlink()
    (tree / "new.txt").write_text("new")
    rclone(serving, "sync", tree, "holdfast:tree")
    back = tmp_path / "back"
    rclone(serving, "copy", "holdfast:tree", back)
    assert {path.relative_to(back) for path in back.rglob("*")} == {path.relative_to(tree) for path in tree.rglob("*")}
    assert (back / "deep/er/b.txt").stat().st_mtime_ns // 10**9 == 1_583_236_800
