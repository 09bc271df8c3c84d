"""Containment: nothing outside the folder, and nothing of the server's state, is reached by any name or link."""

from __future__ import annotations

import os
import threading

import pytest

from holdfast.core.paths import ROOT, ResourcePath
from holdfast.files import (
    AccessRefusedError,
    FilesError,
    Folder,
    ResourceNotFoundError,
)


def at(text: str) -> ResourcePath:
    return ResourcePath.from_text(text)


@pytest.fixture
def secret(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    return outside


def read(folder: Folder, text: str) -> bytes | None:
    opened = folder.open(at(text))
    if opened is None:
        return None
    with opened[0] as file:
        return file.read()


def assert_unreachable(folder: Folder, text: str) -> None:
    path = at(text)
    assert folder.stat(path) is None
    assert folder.open(path) is None
    with pytest.raises(ResourceNotFoundError):
        folder.members(path)
    for change in (folder.detach, folder.stage_copy, lambda p: folder.set_modified(p, 0)):
        with pytest.raises(ResourceNotFoundError):
            change(path)
    with pytest.raises((ResourceNotFoundError, AccessRefusedError)):
        folder.move(path, at("/elsewhere"))


ESCAPES = ["../outside", "{outside}", "in/../../outside", "/etc", "..", "../served/../outside", "/", "/proc/self/root"]


@pytest.mark.parametrize("target", ESCAPES)
def test_a_link_that_leads_outside_is_as_if_it_were_not_there(disk, folder, put, secret, target):
    (disk / "in").mkdir()
    (disk / "door").symlink_to(target.format(outside=secret))
    assert_unreachable(folder, "/door")
    assert read(folder, "/door/secret.txt") is None
    assert [member.path.text for member in folder.members(ROOT)] == ["/in"]
    for text in ("/door", "/door/new"):
        with pytest.raises(FilesError):
            put(text, b"mine")
        with pytest.raises(FilesError):
            folder.make_collection(at(text))
        with pytest.raises(FilesError):
            folder.move(at("/in"), at(text))
    assert os.listdir(secret) == ["secret.txt"]


def test_a_link_to_a_file_outside_is_neither_read_nor_written(disk, folder, put, secret):
    (disk / "leak").symlink_to(secret / "secret.txt")
    assert read(folder, "/leak") is None
    with pytest.raises(AccessRefusedError):
        put("/leak", b"mine")
    assert (secret / "secret.txt").read_text() == "secret"
    assert (disk / "leak").is_symlink()


@pytest.mark.parametrize("absolute", [False, True])
def test_a_link_that_leads_inside_is_followed(disk, folder, absolute):
    (disk / "deep" / "er").mkdir(parents=True)
    (disk / "deep" / "er" / "f.txt").write_text("here")
    base = f"{disk}/" if absolute else ""
    (disk / "one").symlink_to(base + "deep/er")
    (disk / "two").symlink_to(base + "one/f.txt")
    (disk / "deep" / "up").symlink_to(f"{disk}/two" if absolute else "../deep/../two")
    for text in ("/one/f.txt", "/two", "/deep/up"):
        assert read(folder, text) == b"here"
        assert folder.stat(at(text)).size == 4
    assert [member.path.text for member in folder.members(at("/one"))] == ["/one/f.txt"]
    assert [member.path.name for member in folder.members(ROOT)] == ["deep", "one", "two"]


def test_a_folder_that_is_itself_reached_by_a_link_is_served(disk, tmp_path):
    (tmp_path / "way").symlink_to(disk)
    (disk / "f").write_text("x")
    (disk / "l").symlink_to(tmp_path / "way" / "f")
    (disk / "m").symlink_to(disk / "f")
    with Folder(tmp_path / "way", durable=False) as folder:
        assert read(folder, "/l") == b"x"
        assert read(folder, "/m") == b"x"


def test_loops_and_dangling_links_are_not_there(disk, folder):
    (disk / "a").symlink_to("b")
    (disk / "b").symlink_to("a")
    (disk / "self").symlink_to("self/x")
    (disk / "gone").symlink_to("nowhere")
    for name in ("a", "b", "self", "gone"):
        assert_unreachable(folder, f"/{name}")
    assert folder.members(ROOT) == []


def test_a_chain_of_links_that_doubles_at_each_step_ends(disk, folder):
    for number in range(30):
        (disk / f"l{number}").symlink_to(f"l{number + 1}/../l{number + 1}")
    (disk / "l30").mkdir()
    assert folder.stat(at("/l0")) is None or folder.stat(at("/l0")).is_collection


RESERVED = [".holdfast", ".HOLDFAST", ".HoldFast", ".holdfa\u017ft", ".hold\u200bfast", "\uff0eholdfast",
            ".holdfast-" + "0123456789abcdef" * 2]  # fmt: skip


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize("above", ["", "/sub"])
def test_the_state_does_not_exist_through_any_operation(disk, folder, put, name, above):
    state = disk / above[1:] / name
    state.mkdir(parents=True, exist_ok=True)
    (state / "state.db").write_text("secret")
    (disk / "mine").mkdir()
    for text in (f"{above}/{name}", f"{above}/{name}/state.db"):
        assert_unreachable(folder, text)
        with pytest.raises(FilesError):
            put(text, b"mine")
        with pytest.raises(FilesError):
            folder.make_collection(at(text))
        with pytest.raises(AccessRefusedError):
            folder.move(at("/mine"), at(text))
        copy = folder.stage_copy(at("/mine"))
        with pytest.raises(AccessRefusedError):
            folder.place_tree(copy, at(text))
        copy.discard()
    assert name not in [member.path.name for member in folder.members(at(above or "/"))]
    assert (state / "state.db").read_text() == "secret"


@pytest.mark.parametrize(
    "target", [".holdfast", ".holdfast/staging", "x/../.holdfast", "{disk}/.holdfast", ".HOLDFAST"]
)
def test_the_state_is_not_reached_by_a_link(disk, folder, put, target):
    (disk / "x").mkdir()
    (disk / ".HOLDFAST").mkdir()
    (disk / ".holdfast" / "state.db").write_text("secret")
    (disk / "door").symlink_to(target.format(disk=disk))
    (disk / "loop").symlink_to(".")
    assert_unreachable(folder, "/door")
    assert_unreachable(folder, "/loop/.holdfast")
    assert_unreachable(folder, "/loop/door")
    assert [member.path.name for member in folder.members(at("/loop"))] == ["loop", "x"]
    with pytest.raises(FilesError):
        put("/door/state.db", b"mine")
    assert (disk / ".holdfast" / "state.db").read_text() == "secret"


def test_names_that_only_look_reserved_are_served(disk, folder, put):
    for name in (".holdfast.txt", ".holdfasts", "x.holdfast", ".holdfast-notes", "holdfast", ".holdfä"):
        assert put(f"/{name}", b"x")
        assert folder.stat(at(f"/{name}")) is not None


def test_writing_through_a_link_that_leads_inside_keeps_the_link(disk, folder, put):
    (disk / "sub").mkdir()
    (disk / "sub" / "f").write_text("old")
    (disk / "link").symlink_to("sub/f")
    (disk / "fresh").symlink_to("sub/new")
    assert put("/link", b"new") is False
    assert put("/fresh", b"made") is True
    assert (disk / "link").is_symlink()
    assert (disk / "sub" / "f").read_bytes() == b"new"
    assert (disk / "sub" / "new").read_bytes() == b"made"


def test_deleting_a_link_leaves_what_it_points_to(disk, folder):
    (disk / "kept").write_text("x")
    (disk / "link").symlink_to("kept")
    folder.detach(at("/link")).purge()
    assert sorted(os.listdir(disk)) == [".holdfast", "kept"]


def test_a_reader_never_gets_outside_while_links_and_collections_are_swapped(disk, folder, secret):
    """The check is in the call that opens: swapping `d` between a collection and a link out changes nothing."""
    (disk / "real").mkdir()
    (disk / "real" / "secret.txt").write_text("public")
    (disk / "d").symlink_to(secret)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for target in ("real", str(secret)):
                os.symlink(target, disk / "next")
                os.replace(disk / "next", disk / "d")
            os.unlink(disk / "d")
            os.rename(disk / "real", disk / "d")
            os.rename(disk / "d", disk / "real")
            os.symlink(str(secret), disk / "d")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        seen = {read(folder, "/d/secret.txt") for _ in range(3000)}
    finally:
        stop.set()
        swapper.join()
    assert seen <= {b"public", None}


def test_a_writer_never_gets_outside_while_links_are_swapped(disk, folder, put, secret):
    (disk / "real").mkdir()
    (disk / "d").symlink_to("real")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for target in (str(secret), "real"):
                os.symlink(target, disk / "next")
                os.replace(disk / "next", disk / "d")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for number in range(1000):
            try:
                put(f"/d/{number}", b"mine")
            except FilesError:
                continue
    finally:
        stop.set()
        swapper.join()
    assert os.listdir(secret) == ["secret.txt"]


def test_a_link_moves_within_its_collection_and_elsewhere_only_if_it_leads_to_the_same(disk, folder):
    (disk / "f").write_text("x")
    (disk / "c").mkdir()
    (disk / "near").symlink_to("f")
    (disk / "far").symlink_to(disk / "f")
    folder.move(at("/near"), at("/there"))
    folder.move(at("/far"), at("/c/far"))
    with pytest.raises(AccessRefusedError):
        folder.move(at("/there"), at("/c/there"))
    assert read(folder, "/there") == read(folder, "/c/far") == b"x"
