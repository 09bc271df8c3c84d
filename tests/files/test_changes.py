"""Changes: what each does, what each refuses, and that nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from holdfast.core.paths import ROOT, ResourcePath
from holdfast.files import (
    AccessRefusedError,
    AlreadyExistsError,
    Folder,
    InsideItselfError,
    IsCollectionError,
    NameRefusedError,
    ParentMissingError,
    ResourceNotFoundError,
)


def at(text: str) -> ResourcePath:
    return ResourcePath.from_text(text)


def tree(disk, below: str = ".") -> dict[str, str | None]:
    """Every path below, with its text, or None for a collection."""
    found = {}
    for path in sorted((disk / below).rglob("*")):
        if ".holdfast" not in path.parts:
            found[str(path.relative_to(disk / below))] = path.read_text() if path.is_file() else None
    return found


def left_over(disk) -> list[str]:
    return [str(path) for path in (disk / ".holdfast" / "staging").glob("*/*")]


@pytest.fixture(params=["crash", "power"])
def folder(disk, request):
    """Both durabilities, in place of both ways to resolve."""
    with Folder(disk, durable=request.param == "power") as served:
        yield served


def test_place_says_whether_it_is_new_and_what_stat_says(disk, folder, put):
    staged = folder.staging.new()
    staged.write(b"1")
    created, resource = folder.place(staged, at("/f"))
    assert created
    assert resource == folder.stat(at("/f"))
    assert put("/f", b"22") is False
    assert tree(disk) == {"f": "22"}
    assert left_over(disk) == []


def test_place_refuses_a_collection_a_missing_parent_a_parent_that_is_a_file_and_the_root(disk, folder, put):
    (disk / "c").mkdir()
    (disk / "f").write_text("old")
    for text, error in [("/c", IsCollectionError), ("/", IsCollectionError), ("/no/f", ParentMissingError),
                        ("/f/g", ParentMissingError), ("/c/no/f", ParentMissingError)]:  # fmt: skip
        with pytest.raises(error):
            put(text, b"new")
    assert tree(disk) == {"c": None, "f": "old"}


def test_a_refused_file_can_still_be_discarded(disk, folder):
    staged = folder.staging.new()
    with pytest.raises(ParentMissingError):
        folder.place(staged, at("/no/f"))
    staged.discard()
    assert left_over(disk) == []


def test_place_does_not_replace_a_pipe(disk, folder, put):
    os.mkfifo(disk / "pipe")
    with pytest.raises(AccessRefusedError):
        put("/pipe", b"x")
    assert (disk / "pipe").is_fifo()


def test_a_name_that_the_file_system_refuses_has_an_error_of_its_own(folder, put):
    path = ResourcePath("/" + "é" * 200)  # 400 bytes; a name from a request is refused before
    with pytest.raises(NameRefusedError):
        folder.make_collection(path)
    with pytest.raises(NameRefusedError):
        folder.place(folder.staging.new(), path)
    assert folder.stat(path) is None


def test_make_collection_makes_one_and_refuses_what_is_there_or_has_no_parent(disk, folder):
    folder.make_collection(at("/c"))
    folder.make_collection(at("/c/d"))
    for text, error in [("/c", AlreadyExistsError), ("/", AlreadyExistsError), ("/no/d", ParentMissingError)]:
        with pytest.raises(error):
            folder.make_collection(at(text))
    assert tree(disk) == {"c": None, "c/d": None}


def test_detach_takes_a_tree_out_at_once_and_purge_removes_it(disk, folder):
    (disk / "c" / "d").mkdir(parents=True)
    (disk / "c" / "d" / "f").write_text("x")
    detached = folder.detach(at("/c"))
    assert tree(disk) == {}
    detached.purge()
    detached.purge()
    assert left_over(disk) == []
    with pytest.raises(ResourceNotFoundError):
        folder.detach(at("/c"))
    with pytest.raises(AccessRefusedError):
        folder.detach(ROOT)


def test_a_detached_tree_can_be_put_back_unless_its_name_is_taken(disk, folder, put):
    put("/f", b"old")
    folder.detach(at("/f")).restore()
    assert tree(disk) == {"f": "old"}
    detached = folder.detach(at("/f"))
    put("/f", b"new")
    with pytest.raises(AlreadyExistsError):
        detached.restore()
    detached.purge()
    assert tree(disk) == {"f": "new"}
    assert left_over(disk) == []


def test_a_tree_deeper_than_any_stack_and_longer_than_any_path_is_copied_as_far_as_paths_go_and_removed(disk, folder):
    at_fd = os.open(disk, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=at_fd)
        below = os.open("deep", os.O_RDONLY, dir_fd=at_fd)
        os.close(at_fd)
        at_fd = below
    os.close(at_fd)
    with pytest.raises(NameRefusedError):
        folder.stage_copy(at("/deep"))
    folder.detach(at("/deep")).purge()
    assert tree(disk) == {}
    assert left_over(disk) == []


def build(disk, *texts: str) -> None:
    for text in texts:
        path = disk / text
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.endswith("/"):
            path.mkdir()
        else:
            path.write_text(text)


SHAPES = {"file": ["s"], "collection": ["s/a", "s/b/c", "s/e/"]}
OLD_SHAPES = {"nothing": [], "file": ["d"], "collection": ["d/old", "d/b/old"], "empty": ["d/"]}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("old", OLD_SHAPES)
@pytest.mark.parametrize("verb", ["move", "copy"])
def test_move_and_copy_replace_the_destination_as_a_whole(disk, folder, shape, old, verb):
    build(disk, *SHAPES[shape], *OLD_SHAPES[old])
    before = tree(disk, "s") if shape == "collection" else (disk / "s").read_text()
    if verb == "move":
        created, replaced = folder.move(at("/s"), at("/d"))
    else:
        created, replaced = folder.place_tree(folder.stage_copy(at("/s")), at("/d"))
    assert created == (old == "nothing")
    assert (disk / "s").exists() == (verb == "copy")
    assert before == (tree(disk, "d") if shape == "collection" else (disk / "d").read_text())
    if replaced is not None:
        replaced.purge()
    assert left_over(disk) == []


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("old", ["file", "collection", "empty"])
def test_without_overwrite_what_is_there_stays(disk, folder, shape, old):
    build(disk, *SHAPES[shape], *OLD_SHAPES[old])
    before = tree(disk)
    with pytest.raises(AlreadyExistsError):
        folder.move(at("/s"), at("/d"), overwrite=False)
    copy = folder.stage_copy(at("/s"))
    with pytest.raises(AlreadyExistsError):
        folder.place_tree(copy, at("/d"), overwrite=False)
    copy.discard()
    copy.discard()
    assert tree(disk) == before
    assert left_over(disk) == []


def test_without_overwrite_a_free_name_is_taken(disk, folder):
    build(disk, "s")
    assert folder.move(at("/s"), at("/d"), overwrite=False) == (True, None)
    assert folder.place_tree(folder.stage_copy(at("/d")), at("/e"), overwrite=False) == (True, None)
    assert tree(disk) == {"d": "s", "e": "s"}


@pytest.mark.parametrize(("source", "destination"), [("/c", "/c"), ("/c", "/c/d"), ("/c", "/c/e/f"), ("/c/d", "/c")])
def test_nothing_moves_into_over_or_onto_itself(disk, folder, source, destination):
    build(disk, "c/d/f", "c/e/g")
    before = tree(disk)
    with pytest.raises(InsideItselfError):
        folder.move(at(source), at(destination))
    assert tree(disk) == before


def test_a_collection_is_not_moved_into_itself_by_way_of_a_link(disk, folder):
    build(disk, "c/d/f")
    (disk / "l").symlink_to("c/d")
    with pytest.raises(InsideItselfError):
        folder.move(at("/c"), at("/l/x"))
    assert tree(disk, "c") == {"d": None, "d/f": "c/d/f"}


@pytest.mark.parametrize("destination", ["/c", "/c/d"])
def test_a_collection_is_not_copied_onto_or_into_itself(disk, folder, destination):
    build(disk, "c/f")
    copy = folder.stage_copy(at("/c"))
    with pytest.raises(InsideItselfError):
        folder.place_tree(copy, at(destination))
    copy.discard()
    assert tree(disk) == {"c": None, "c/f": "c/f"}


def test_the_root_is_neither_moved_nor_replaced(disk, folder):
    build(disk, "c/f")
    for source, destination in [("/", "/d"), ("/c", "/")]:
        with pytest.raises(AccessRefusedError):
            folder.move(at(source), at(destination))
    with pytest.raises(AccessRefusedError):
        folder.place_tree(folder.stage_copy(at("/c")), ROOT)


def test_move_and_copy_name_what_is_missing(disk, folder):
    build(disk, "s")
    with pytest.raises(ResourceNotFoundError):
        folder.move(at("/no"), at("/d"))
    with pytest.raises(ResourceNotFoundError):
        folder.move(at("/no/where"), at("/d"))
    with pytest.raises(ParentMissingError):
        folder.move(at("/s"), at("/no/d"))
    with pytest.raises(ResourceNotFoundError):
        folder.stage_copy(at("/no"))
    with pytest.raises(ParentMissingError):
        folder.place_tree(folder.stage_copy(at("/s")), at("/no/d"))


def test_a_move_keeps_the_entity_tag_and_a_copy_has_another(disk, folder, put):
    put("/s", b"x")
    tag = folder.etag_of(at("/s"))
    folder.move(at("/s"), at("/d"))
    assert folder.etag_of(at("/d")) == tag
    folder.place_tree(folder.stage_copy(at("/d")), at("/e"))
    assert folder.etag_of(at("/e")) != tag


def test_one_hard_link_moved_over_the_other_leaves_the_destination_only(disk, folder):
    build(disk, "s")
    os.link(disk / "s", disk / "d")
    folder.move(at("/s"), at("/d"))
    assert tree(disk) == {"d": "s"}


def test_a_copy_keeps_times_and_modes_and_takes_links_for_what_they_point_to(disk, folder, tmp_path):
    build(disk, "s/a", "s/b/c", "kept/x", "s/e/")
    (tmp_path / "secret").write_text("secret")
    (disk / "s" / "in").symlink_to("../kept")
    (disk / "s" / "f").symlink_to("a")
    (disk / "s" / "out").symlink_to(tmp_path / "secret")
    (disk / "s" / "gone").symlink_to("nowhere")
    (disk / "s" / "b" / "loop").symlink_to("..")
    os.mkfifo(disk / "s" / "pipe")
    (disk / "s" / "a").chmod(0o751)
    (disk / "s" / "e").chmod(0o750)
    for name in ("s/a", "s/b", "s"):
        os.utime(disk / name, ns=(1, 1_600_000_000_987_654_321))
    folder.place_tree(folder.stage_copy(at("/s")), at("/d"))
    assert tree(disk, "d") == {
        "a": "s/a",
        "b": None,
        "b/c": "s/b/c",
        "e": None,
        "f": "s/a",
        "in": None,
        "in/x": "kept/x",
    }
    assert not any(path.is_symlink() for path in (disk / "d").rglob("*"))
    for name in ("d/a", "d/b", "d"):
        assert (disk / name).stat().st_mtime_ns == 1_600_000_000_987_654_321
    assert (disk / "d" / "a").stat().st_mode & 0o777 == 0o751
    assert (disk / "d" / "e").stat().st_mode & 0o777 == 0o750


def test_depth_0_copies_a_collection_without_its_members(disk, folder):
    build(disk, "s/a", "d/old")
    folder.place_tree(folder.stage_copy(at("/s"), depth_infinity=False), at("/d"))
    assert tree(disk, "d") == {}
    folder.place_tree(folder.stage_copy(ROOT, depth_infinity=False), at("/r"))
    assert tree(disk, "r") == {}


def test_a_copy_of_the_root_leaves_the_state_out(disk, folder):
    build(disk, "s/a", "s/.holdfast/secret")
    copy = folder.stage_copy(ROOT)
    base = disk / ".holdfast" / "staging"
    (staged,) = base.glob("*/" + copy.place[1])
    assert sorted(str(path.relative_to(staged)) for path in staged.rglob("*")) == ["s", "s/a"]
    copy.discard()


def test_large_files_are_copied_whole(disk, folder):
    data = os.urandom(5_000_000)
    (disk / "s").write_bytes(data)
    folder.place_tree(folder.stage_copy(at("/s")), at("/d"))
    assert (disk / "d").read_bytes() == data


def test_a_tree_of_many_files_is_copied(disk, folder):
    build(disk, *[f"s/{number % 7}/{number}" for number in range(60)])
    folder.place_tree(folder.stage_copy(at("/s")), at("/d"))
    assert tree(disk, "d") == tree(disk, "s")


def test_an_onlooker_always_finds_the_destination_whole(disk, folder):
    """Old or new, never missing, never mixed, while moves replace collections."""
    build(disk, "d/gen", "d/more/gen")
    for name in ("d/gen", "d/more/gen"):
        (disk / name).write_text("start")
    stop = threading.Event()
    wrong: list[str] = []

    def watch() -> None:
        while not stop.is_set():
            if folder.stat(at("/d")) is None:
                wrong.append("missing")
            inner = os.open(disk / "d", os.O_RDONLY)
            try:
                if sorted(os.listdir(inner)) not in (["gen", "more"], []):  # [] once it was purged
                    wrong.append("mixed")
            finally:
                os.close(inner)

    # A purge empties what an onlooker may still hold open, so it waits until nobody looks.
    leftovers = []
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for number in range(200):
            build(disk, "n/gen", "n/more/gen")
            if number % 2:
                leftovers.append(folder.move(at("/n"), at("/d"))[1])
            else:
                leftovers.append(folder.place_tree(folder.stage_copy(at("/n")), at("/d"))[1])
                folder.detach(at("/n")).purge()
    finally:
        stop.set()
        watcher.join()
    for detached in leftovers:
        detached.purge()
    assert wrong == []
    assert left_over(disk) == []


def test_writers_on_many_threads_leave_one_whole_document(disk, folder, put):
    contents = [bytes([65 + number]) * 20_000 for number in range(8)]
    bad: list[object] = []

    def write(data: bytes) -> None:
        for _ in range(40):
            put("/f", data)
            file, resource = folder.open(at("/f"))
            with file:
                read = file.read()
            if read not in contents or resource.size != len(read):
                bad.append(read[:10])

    threads = [threading.Thread(target=write, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bad == []
    assert left_over(disk) == []


def test_two_collections_made_at_once_have_one_maker(disk, folder):
    made: list[int] = []

    def make(number: int) -> None:
        for name in range(50):
            try:
                folder.make_collection(at(f"/{name}"))
            except AlreadyExistsError:
                continue
            made.append(name)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == list(range(50))


def test_a_change_may_be_synced_later_and_a_collection_that_is_gone_needs_none(disk, folder):
    staged = folder.staging.new()
    folder.make_collection(at("/c"), sync=False)
    folder.place(staged, at("/c/f"), sync=False)
    folder.move(at("/c"), at("/d"), sync=False)
    folder.place_tree(folder.stage_copy(at("/d")), at("/e"), sync=False)
    folder.detach(at("/e"), sync=False).purge()
    folder.sync(at("/c/f"), at("/d"), at("/e"), ROOT)
    assert tree(disk) == {"d": None, "d/f": ""}


@pytest.mark.process
@pytest.mark.tool("strace")
@pytest.mark.parametrize("durable", [True, False])
def test_durable_means_that_file_and_collection_are_synced_before_place_returns(disk, durable):
    script = (
        "import sys; from pathlib import Path; from holdfast.files import Folder\n"
        "from holdfast.core.paths import ResourcePath\n"
        f"folder = Folder(Path(sys.argv[1]), durable={durable}); staged = folder.staging.new(); staged.write(b'x')\n"
        "folder.place(staged, ResourcePath('/f')); import os; os._exit(0)"
    )
    run = ["strace", "-qq", "-e", "trace=fsync,renameat", sys.executable, "-c", script, str(disk)]
    done = subprocess.run(run, capture_output=True, text=True)
    if "ptrace" in done.stderr:
        pytest.skip(f"tracing is not permitted here: {done.stderr.strip()}")
    calls = [line.split("(")[0] for line in done.stderr.splitlines() if "(" in line]
    assert calls == (["fsync", "renameat", "fsync"] if durable else ["renameat"])
