"""Staged files: whole or not at all, nothing left behind, entity tags of their own."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys

import pytest

from holdfast.core.paths import ResourcePath
from holdfast.files import Folder, FolderUnusableError, LengthMismatchError, StorageFailedError
from holdfast.wire.exchange import Upload


def staged_names(disk) -> list[str]:
    return sorted(str(path.relative_to(disk)) for path in (disk / ".holdfast" / "staging").glob("*/*"))


def test_a_staged_file_is_an_upload(folder):
    upload: Upload = folder.staging.new()
    for piece in (b"bytes", bytearray(b"array"), memoryview(b"view")):
        upload.write(piece)
    assert upload.length == 14
    upload.discard()
    upload.discard()


def test_a_length_that_was_not_reached_keeps_nothing(disk, folder):
    for sent in (b"shor", b"longer"):
        staged = folder.staging.new()
        staged.write(sent)
        with pytest.raises(LengthMismatchError):
            staged.seal(5)
    assert staged_names(disk) == []


def test_a_discarded_or_placed_file_cannot_be_placed_again(disk, folder):
    path = ResourcePath("/f")
    for use in (lambda s: s.discard(), lambda s: folder.place(s, path)):
        staged = folder.staging.new()
        staged.write(b"x")
        staged.seal()
        use(staged)
        with pytest.raises(ValueError, match="placed or discarded"):
            folder.place(staged, path)
    assert staged_names(disk) == []


def test_each_put_has_an_entity_tag_of_its_own_within_one_tick_of_the_clock(folder, put):
    """A freed inode number comes back at once, the size is the same, and the kernel's clock ticks every 4 ms."""
    tags = set()
    for _ in range(500):
        put("/f", b"same size")
        tags.add(folder.etag_of(ResourcePath("/f")))
    assert len(tags) == 500


def test_each_put_has_an_entity_tag_of_its_own_though_the_client_sets_one_whole_second(folder):
    tags = set()
    for _ in range(200):
        staged = folder.staging.new()
        staged.write(b"same size")
        staged.seal(modified_ns=1_700_000_000_000_000_000)
        _, resource = folder.place(staged, ResourcePath("/f"))
        assert resource.modified_ns // 1_000_000_000 == 1_700_000_000
        assert resource == folder.stat(ResourcePath("/f"))
        tags.add(resource.etag)
    assert len(tags) == 200


def test_a_time_finer_than_seconds_is_kept_and_a_mad_one_is_bounded(folder, put):
    put("/f", b"")
    path = ResourcePath("/f")
    assert folder.set_modified(path, 1_700_000_000_123_456_789).modified_ns == 1_700_000_000_123_456_789
    assert folder.set_modified(path, -(10**30)).modified_ns < 1_000_000_000
    assert folder.set_modified(path, 10**30) == folder.stat(path)


def test_the_umask_holds_for_new_files_and_the_replaced_ones_mode_is_kept(disk, folder, put):
    umask = os.umask(0)
    os.umask(umask)
    put("/f", b"1")
    assert (disk / "f").stat().st_mode & 0o777 == 0o666 & ~umask
    (disk / "f").chmod(0o640)
    put("/f", b"2")
    assert (disk / "f").stat().st_mode & 0o7777 == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_owner_and_group_of_the_replaced_file_are_kept_and_a_setgid_collection_gives_its_group(disk, folder, put):
    put("/f", b"1")
    os.chown(disk / "f", 1234, 2345)
    put("/f", b"2")
    assert ((disk / "f").stat().st_uid, (disk / "f").stat().st_gid) == (1234, 2345)
    (disk / "team").mkdir()
    os.chown(disk / "team", -1, 3456)
    (disk / "team").chmod(0o2775)
    put("/team/new", b"")
    assert (disk / "team" / "new").stat().st_gid == 3456


def test_the_state_folder_may_lie_elsewhere_on_the_same_file_system(disk, tmp_path):
    with Folder(disk, state=tmp_path / "state", durable=False) as folder:
        staged = folder.staging.new()
        assert len(list((tmp_path / "state" / "staging").glob("*/*"))) == 1
        folder.place(staged, ResourcePath("/f"))
    assert os.listdir(disk) == ["f"]


def test_a_state_folder_on_another_file_system_is_not_staged_in(disk, tmp_path, mounted):
    (tmp_path / "state").mkdir()
    mounted(tmp_path / "state", "size=1m")
    with Folder(disk, state=tmp_path / "state", durable=False) as folder:
        folder.place(folder.staging.new(), ResourcePath("/f"))
        assert (disk / ".holdfast" / "staging").is_dir()
    assert os.listdir(tmp_path / "state") == []


def test_a_state_folder_that_is_a_file_is_refused(disk):
    (disk / ".holdfast").touch()
    with pytest.raises(FolderUnusableError, match="no place to stage"):
        Folder(disk)


def test_what_a_dead_process_left_is_removed_and_what_a_live_one_uses_is_kept(disk, folder):
    living = folder.staging.new()
    living.write(b"mine")
    script = (
        "import os, sys; from pathlib import Path; from holdfast.files import Folder\n"
        "folder = Folder(Path(sys.argv[1])); folder.staging.new().write(b'x'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(disk)], check=False)
    assert done.returncode == -9
    assert len(staged_names(disk)) == 2
    with Folder(disk):
        assert len(staged_names(disk)) == 1
    living.seal(4)
    assert folder.place(living, ResourcePath("/f"))[0]
    assert (disk / "f").read_bytes() == b"mine"


def test_a_staging_subfolder_is_held_by_a_lock(disk, folder):
    (own,) = [path for path in (disk / ".holdfast" / "staging").iterdir() if path.is_dir()]
    descriptor = os.open(own, os.O_RDONLY)
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def test_the_state_is_readable_by_its_owner_only(disk, folder):
    assert (disk / ".holdfast").stat().st_mode & 0o777 == 0o700


def test_a_staging_folder_that_was_taken_away_is_named(disk, folder):
    shutil.rmtree(disk / ".holdfast")
    with pytest.raises(StorageFailedError, match="staging folder is gone"):
        folder.staging.new()
