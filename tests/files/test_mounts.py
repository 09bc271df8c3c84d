"""A full disk, a read-only disk, and file systems mounted inside the folder: real ones."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from holdfast.core.paths import ResourcePath
from holdfast.files import (
    AccessRefusedError,
    FilesError,
    Folder,
    StorageFullError,
)


def at(text: str) -> ResourcePath:
    return ResourcePath.from_text(text)


def write(folder: Folder, text: str, data: bytes) -> None:
    staged = folder.staging.new()
    try:
        staged.write(data)
        folder.place(staged, at(text))
    finally:
        staged.discard()


def left_over(disk) -> list[str]:
    """What is in staging, and reserved names anywhere below."""
    found = [str(path) for path in (disk / ".holdfast" / "staging").glob("*/*")]
    return found + [str(path) for path in disk.rglob(".holdfast-*")]


@pytest.mark.parametrize("durable", [False, True])
def test_a_full_disk_is_an_error_of_its_own_and_leaves_the_old_file(disk, mounted, durable):
    mounted(disk, "size=1m")
    with Folder(disk, durable=durable) as folder:
        write(folder, "/f", b"old" * 100_000)
        with pytest.raises(StorageFullError) as caught:
            write(folder, "/f", b"new" * 300_000)
        assert isinstance(caught.value, OSError)
        assert caught.value.errno == errno.ENOSPC
        assert (disk / "f").read_bytes() == b"old" * 100_000
        folder.make_collection(at("/c"))
        folder.place_tree(folder.stage_copy(at("/f")), at("/c/1"))
        folder.place_tree(folder.stage_copy(at("/f")), at("/c/2"))
        with pytest.raises(StorageFullError):
            folder.stage_copy(at("/c"))
        assert left_over(disk) == []
        folder.detach(at("/c")).purge()
        write(folder, "/f", b"new" * 100_000)


def test_no_more_inodes_is_a_full_disk(disk, mounted):
    mounted(disk, "size=1m,nr_inodes=10")

    def fill(folder: Folder) -> None:
        for number in range(20):
            folder.make_collection(at(f"/{number}"))

    with Folder(disk, durable=False) as folder, pytest.raises(StorageFullError):
        fill(folder)


def test_a_read_only_disk_refuses_every_change_and_is_read(disk, mounted):
    mounted(disk)
    with Folder(disk, durable=False) as folder:
        write(folder, "/f", b"old")
        staged = folder.staging.new()
        staged.seal()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        try:
            for change in (
                folder.staging.new,
                lambda: folder.place(staged, at("/f")),
                lambda: folder.make_collection(at("/c")),
                lambda: folder.detach(at("/f")),
                lambda: folder.move(at("/f"), at("/g")),
                lambda: folder.stage_copy(at("/f")),
                lambda: folder.set_modified(at("/f"), 0),
            ):
                with pytest.raises(AccessRefusedError):
                    change()
            assert (disk / "f").read_bytes() == b"old"
            assert folder.stat(at("/f")).size == 3
        finally:
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


@pytest.fixture(params=[False, True])
def spanning(disk, mounted, request):
    """A folder with another file system mounted at /m."""
    (disk / "m").mkdir()
    mounted(disk / "m")
    with Folder(disk, durable=request.param) as folder:
        yield folder


def test_a_file_is_placed_on_a_mounted_file_system(disk, spanning):
    write(spanning, "/m/f", b"old")
    (disk / "m" / "f").chmod(0o640)
    file, before = spanning.open(at("/m/f"))
    staged = spanning.staging.new()
    staged.write(b"newer")
    created, resource = spanning.place(staged, at("/m/f"))
    with file:
        assert file.read() == b"old"
    assert not created
    assert resource == spanning.stat(at("/m/f"))
    assert resource.etag != before.etag
    assert (disk / "m" / "f").read_bytes() == b"newer"
    assert (disk / "m" / "f").stat().st_mode & 0o777 == 0o640
    assert left_over(disk) == []


def test_a_full_mounted_file_system_leaves_the_old_file_and_nothing_beside_it(disk, spanning):
    write(spanning, "/m/f", b"old" * 100_000)
    with pytest.raises(StorageFullError):
        write(spanning, "/m/f", b"new" * 1_400_000)
    assert (disk / "m" / "f").read_bytes() == b"old" * 100_000
    assert left_over(disk) == []


@pytest.mark.parametrize("verb", ["move", "copy"])
@pytest.mark.parametrize(("source", "destination"), [("/s", "/m/d"), ("/m/s", "/d"), ("/m/s", "/m/d")])
@pytest.mark.parametrize("old", ["nothing", "file", "collection"])
@pytest.mark.parametrize("shape", ["file", "collection"])
def test_moves_and_copies_cross_file_systems(disk, spanning, verb, source, destination, old, shape):
    start, end = disk / source[1:], disk / destination[1:]
    if shape == "file":
        start.write_text("s")
    else:
        (start / "sub").mkdir(parents=True)
        (start / "sub" / "f").write_text("s")
    os.utime(start, ns=(1, 1_600_000_000_000_000_001))
    if old == "file":
        end.write_text("old")
    elif old == "collection":
        end.mkdir()
        (end / "old").touch()
    if verb == "move":
        created, replaced = spanning.move(at(source), at(destination))
    else:
        created, replaced = spanning.place_tree(spanning.stage_copy(at(source)), at(destination))
    if replaced is not None:
        replaced.purge()
    assert created == (old == "nothing")
    assert start.exists() == (verb == "copy")
    assert end.stat().st_mtime_ns == 1_600_000_000_000_000_001
    if shape == "file":
        assert end.read_text() == "s"
    else:
        assert [str(path.relative_to(end)) for path in sorted(end.rglob("*"))] == ["sub", "sub/f"]
    assert left_over(disk) == []


def test_delete_works_on_a_mounted_file_system_and_can_be_undone(disk, spanning):
    (disk / "m" / "c" / "d").mkdir(parents=True)
    (disk / "m" / "c" / "d" / "f").write_text("x")
    detached = spanning.detach(at("/m/c"))
    assert spanning.members(at("/m")) == []
    detached.restore()
    assert (disk / "m" / "c" / "d" / "f").read_text() == "x"
    assert left_over(disk) == []
    spanning.detach(at("/m/c")).purge()
    assert os.listdir(disk / "m") == []
    assert left_over(disk) == []


def test_a_mount_point_is_not_removed_and_a_failed_move_of_it_changes_nothing(disk, spanning):
    (disk / "m" / "f").write_text("x")
    (disk / "d").write_text("old")
    with pytest.raises(AccessRefusedError):
        spanning.detach(at("/m"))
    with pytest.raises(FilesError):
        spanning.move(at("/m"), at("/d"))
    assert (disk / "m" / "f").read_text() == "x"
    assert (disk / "d").read_text() == "old"
    assert left_over(disk) == []


def test_purging_a_tree_does_not_empty_a_file_system_mounted_in_it(disk, mounted):
    (disk / "c" / "m").mkdir(parents=True)
    mounted(disk / "c" / "m")
    (disk / "c" / "m" / "kept").write_text("x")
    (disk / "c" / "f").touch()
    with Folder(disk, durable=False) as folder:
        folder.detach(at("/c")).purge()
        assert folder.stat(at("/c")) is None
        (left,) = (disk / ".holdfast" / "staging").rglob("kept")
        assert left.read_text() == "x"


def test_a_link_into_a_mounted_file_system_is_written_through(disk, spanning):
    (disk / "m" / "f").write_text("old")
    (disk / "link").symlink_to("m/f")
    write(spanning, "/link", b"new")
    assert (disk / "link").is_symlink()
    assert (disk / "m" / "f").read_bytes() == b"new"
    assert left_over(disk) == []
