"""What is on disk is what is served: stat, open, members, quota, spelling."""

from __future__ import annotations

import os
import socket
import unicodedata

import pytest

from holdfast.core.paths import ROOT, ResourcePath
from holdfast.files import Folder, FolderUnusableError, ResourceNotFoundError


def at(text: str) -> ResourcePath:
    return ResourcePath.from_text(text)


def names(folder: Folder, text: str = "/") -> list[str]:
    return [member.path.name for member in folder.members(at(text))]


def test_a_file_is_a_resource_with_size_time_tag_and_type(disk, folder):
    (disk / "Report.ODT").write_bytes(b"12345")
    os.utime(disk / "Report.ODT", ns=(1, 1_700_000_000_123_456_789))
    found = folder.stat(at("/Report.ODT"))
    assert found is not None
    assert (found.is_collection, found.size, found.modified_ns) == (False, 5, 1_700_000_000_123_456_789)
    assert found.created_ns <= found.modified_ns
    assert found.media_type == "application/vnd.oasis.opendocument.text"
    assert found.etag == folder.etag_of(at("/Report.ODT"))
    assert found.etag.startswith('"')
    assert found.etag.endswith('"')


def test_a_collection_has_no_tag_and_no_type(disk, folder):
    (disk / "plans.txt").mkdir()
    found = folder.stat(at("/plans.txt"))
    assert found is not None
    assert (found.is_collection, found.size, found.etag, found.media_type) == (True, 0, None, None)
    assert folder.stat(ROOT).is_collection


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("a.txt", "text/plain"), ("a.md", "text/markdown"), ("A.JPG", "image/jpeg"), ("a", "application/octet-stream"),
     ("a.unheard-of", "application/octet-stream"), ("a.tar.gz", "application/gzip"), ("é.html", "text/html")],
)  # fmt: skip
def test_the_media_type_follows_from_the_suffix_and_has_no_charset(disk, folder, name, media_type):
    (disk / name).touch()
    assert folder.stat(at("/" + name)).media_type == media_type


def test_what_is_not_there_is_none_and_has_no_members(disk, folder):
    (disk / "file").touch()
    for text in ("/no", "/no/where", "/file/below", "/" + "x" * 255):
        assert folder.stat(at(text)) is None
        assert folder.open(at(text)) is None
        assert folder.etag_of(at(text)) is None
        with pytest.raises(ResourceNotFoundError):
            folder.members(at(text))
    with pytest.raises(ResourceNotFoundError):
        folder.members(at("/file"))


def test_an_opened_file_and_its_tag_belong_together_though_the_path_is_replaced(disk, folder, put):
    put("/f", b"old")
    file, found = folder.open(at("/f"))
    put("/f", b"newer")
    with file:
        assert file.read() == b"old"
    assert found.size == 3
    assert found.etag != folder.etag_of(at("/f"))


def test_a_collection_is_not_opened(disk, folder):
    (disk / "c").mkdir()
    assert folder.open(at("/c")) is None
    assert folder.open(ROOT) is None


def test_members_come_by_name_with_what_stat_says_of_each(disk, folder):
    (disk / "c").mkdir()
    for name in ("b", "a", "é", "Z", "🎻", "with space", "100%", "#x?"):
        (disk / "c" / name).write_text(name)
    (disk / "c" / "sub").mkdir()
    found = folder.members(at("/c"))
    assert [member.path.name for member in found] == sorted(os.listdir(disk / "c"))
    assert found == [folder.stat(member.path) for member in found]


def test_names_that_no_url_can_spell_are_left_out(disk, folder):
    (disk / "kept").touch()
    for name in (b"\xff\xfe", b"new\nline", b"back\\slash", b"\x7f"):
        os.close(os.open(os.fsencode(disk) + b"/" + name, os.O_CREAT | os.O_WRONLY))
    assert names(folder) == ["kept"]


def test_devices_pipes_and_sockets_are_not_served_and_a_pipe_never_blocks(disk, folder, monkeypatch):
    os.mkfifo(disk / "pipe")
    monkeypatch.chdir(disk)  # a socket's path is limited to 108 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    if os.geteuid() == 0:
        os.mknod(disk / "null", 0o20666, os.makedev(1, 3))
    assert names(folder) == []
    for name in ("pipe", "socket", "null"):
        assert folder.stat(at("/" + name)) is None
        assert folder.open(at("/" + name)) is None


def test_quota_is_the_file_systems(disk, folder):
    available, used = folder.quota()
    found = os.statvfs(disk)
    assert used <= found.f_blocks * found.f_frsize
    assert 0 <= available <= found.f_bfree * found.f_frsize + (1 << 30)


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_a_name_is_found_in_either_normal_form(disk, folder, stored, asked):
    on_disk = unicodedata.normalize(stored, "/Ärger/Übung.txt")
    (disk / on_disk[1:]).parent.mkdir()
    (disk / on_disk[1:]).touch()
    assert folder.spelling(at(unicodedata.normalize(asked, "/Ärger/Übung.txt"))).text == on_disk
    new = folder.spelling(at(unicodedata.normalize(asked, "/Ärger/Näu")))
    assert new.text == on_disk.rsplit("/", 1)[0] + "/" + unicodedata.normalize(asked, "Näu")


def test_both_forms_side_by_side_stay_two_resources(disk, folder):
    for form in ("NFC", "NFD"):
        (disk / unicodedata.normalize(form, "é")).write_text(form)
        assert folder.spelling(at("/" + unicodedata.normalize(form, "é"))).text[1:] == unicodedata.normalize(form, "é")
    assert len(names(folder)) == 2


def test_an_ascii_path_is_returned_as_it_is(folder):
    path = at("/no/such")
    assert folder.spelling(path) is path


def test_a_folder_that_is_missing_or_a_file_is_refused_in_a_plain_sentence(tmp_path):
    (tmp_path / "file").touch()
    for name in ("missing", "file"):
        with pytest.raises(FolderUnusableError, match="cannot be served"):
            Folder(tmp_path / name)


def test_closing_twice_is_harmless_and_leaves_no_descriptor(disk):
    before = len(os.listdir("/proc/self/fd"))
    folder = Folder(disk)
    folder.make_collection(at("/a"))
    folder.detach(at("/a")).purge()
    folder.stage_copy(ROOT).discard()
    assert folder.stat(at("/no/such/thing")) is None
    folder.close()
    folder.close()
    assert len(os.listdir("/proc/self/fd")) == before
