"""davfs2: the folder mounted as a file system, by two users at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs.conftest import Serving, run

pytestmark = [pytest.mark.process, pytest.mark.tool("mount.davfs")]


def _why_not() -> str | None:
    if not Path("/dev/fuse").exists():
        return "this machine has no /dev/fuse"
    if os.geteuid() != 0:
        return "mounting needs root"
    return None


@contextlib.contextmanager
def mounted(serving: Serving, home: Path, user: str) -> Iterator[Path]:
    """Mount as `user`; without a cache, so that each close is an upload."""
    home.mkdir()
    point, secrets, config = home / "mnt", home / "secrets", home / "davfs2.conf"
    point.mkdir()
    secrets.write_text(f'"{serving.url}" {user} {user}-secret\n')
    secrets.chmod(0o600)
    config.write_text(f"secrets {secrets}\nuse_locks 1\ndelay_upload 0\nask_auth 0\n")
    run("mount.davfs", serving.url, point, "-o", f"conf={config}")
    try:
        yield point
    finally:
        run("umount", point)


# davfs2 uploads after close() has returned, and umount waits for it: so what was saved is looked at after the mount ends.


def test_work_in_a_mounted_folder(serving: Serving, tmp_path: Path) -> None:
    reason = _why_not()
    if reason is not None:
        pytest.skip(f"davfs2: {reason}")
    with mounted(serving, tmp_path / "a", "alice") as alice:
        (alice / "drafts").mkdir()
        (alice / "drafts/plan.txt").write_text("from alice")
        (alice / "drafts/other.txt").write_text("gone soon")
        (alice / "drafts/other.txt").unlink()
    assert (serving.folder / "drafts/plan.txt").read_text() == "from alice"
    with mounted(serving, tmp_path / "b", "bob") as bob:
        assert (bob / "drafts/plan.txt").read_text() == "from alice"
        (bob / "drafts/plan.txt").rename(bob / "drafts/final.txt")
    assert [path.name for path in (serving.folder / "drafts").iterdir()] == ["final.txt"]


def test_an_open_document_is_locked_for_the_other_mount(serving: Serving, tmp_path: Path) -> None:
    reason = _why_not()
    if reason is not None:
        pytest.skip(f"davfs2: {reason}")
    (serving.folder / "plan.txt").write_text("before")
    with mounted(serving, tmp_path / "b", "bob") as bob:
        with mounted(serving, tmp_path / "a", "alice") as alice, (alice / "plan.txt").open("r+") as document:
            document.write("alice!")
            with pytest.raises(PermissionError):
                (bob / "plan.txt").open("r+")
            # The new document of the one is in the way of the other's too.
            with (alice / "new.txt").open("w") as new:
                new.write("x")
                with pytest.raises(OSError, match=r"new\.txt"):
                    (bob / "new.txt").open("x")
        assert (serving.folder / "plan.txt").read_text() == "alice!"
    with mounted(serving, tmp_path / "c", "bob") as bob, (bob / "plan.txt").open("r+") as document:
        document.write("bob's!")
    assert (serving.folder / "plan.txt").read_text() == "bob's!"
