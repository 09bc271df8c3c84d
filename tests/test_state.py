"""The state folder: one server at a time, no claim that outlives its process, nothing readable by others."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.state import LAYOUT_VERSION, StateError, StateFolder

_HOLD = """
import signal, sys
from pathlib import Path
from holdfast.state import StateFolder
state = StateFolder.claim(Path(sys.argv[1]))
print("claimed", flush=True)
signal.pause()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".holdfast"


def test_a_claim_makes_the_folder_for_its_owner_alone(path: Path):
    with StateFolder.claim(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert (path / "VERSION").read_text() == f"{LAYOUT_VERSION}\n"


def test_a_claimed_folder_cannot_be_claimed_again_and_the_sentence_names_the_process(path: Path):
    with StateFolder.claim(path), pytest.raises(StateError, match=rf"process {os.getpid()}\)"):
        StateFolder.claim(path)


def test_a_released_folder_can_be_claimed_again(path: Path):
    first = StateFolder.claim(path)
    first.release()
    first.release()
    StateFolder.claim(path).release()


@pytest.mark.process
def test_a_killed_process_leaves_no_claim_behind(path: Path):
    with subprocess.Popen([sys.executable, "-c", _HOLD, path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "claimed\n"
        with pytest.raises(StateError, match=f"process {holder.pid}"):
            StateFolder.claim(path)
        holder.send_signal(signal.SIGKILL)
    StateFolder.claim(path).release()


def test_a_newer_layout_is_left_alone(path: Path):
    StateFolder.claim(path).release()
    (path / "VERSION").write_text("99\n")
    with pytest.raises(StateError, match="newer Holdfast"):
        StateFolder.claim(path)
    assert (path / "VERSION").read_text() == "99\n"


@pytest.mark.parametrize("text", ["", "one", "-1", "²"])
def test_a_version_that_nobody_wrote_is_refused(path: Path, text: str):
    StateFolder.claim(path).release()
    (path / "VERSION").write_text(text)
    with pytest.raises(StateError, match="not what Holdfast wrote"):
        StateFolder.claim(path)


def test_a_refused_claim_is_not_held(path: Path):
    StateFolder.claim(path).release()
    (path / "VERSION").write_text("99\n")
    with pytest.raises(StateError):
        StateFolder.claim(path)
    (path / "VERSION").write_text("1\n")
    StateFolder.claim(path).release()


def test_what_is_no_folder_is_refused(path: Path):
    path.write_text("a file")
    with pytest.raises(StateError, match="is not a folder"):
        StateFolder.claim(path)


def test_a_link_laid_in_its_place_is_not_followed(path: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="is not a folder"):
        StateFolder.claim(path)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_link_laid_in_place_of_the_lock_file_is_not_followed(path: Path, tmp_path: Path):
    path.mkdir()
    (tmp_path / "victim").write_text("precious")
    (path / "server.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StateError):
        StateFolder.claim(path)
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_missing_parent_is_a_sentence(tmp_path: Path):
    with pytest.raises(StateError, match="does not exist"):
        StateFolder.claim(tmp_path / "none" / ".holdfast")
