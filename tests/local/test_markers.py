"""The lock files of programs, made as those programs make them, and made to deceive."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from holdfast.local import HolderKind, LocalHolder, holders


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "Quarterly.docx"
    path.write_bytes(b"PK")
    return path


def only(path: Path) -> LocalHolder:
    [holder] = [one for one in holders(path) if one.kind is HolderKind.LOCK_FILE]
    return holder


def office_file(name: str, *, word: bool) -> bytes:
    """162 bytes by Word, 165 by Excel and PowerPoint: the name in one-byte letters, and in UTF-16 at 54 or 55."""
    size, at, filler = (162, 54, b"\0") if word else (165, 55, b" ")
    letters = name.encode("cp1252", "replace")
    head = (bytes([len(name)]) + letters).ljust(at, filler)
    return (head + len(name).to_bytes(2, "little") + name.encode("utf-16-le")).ljust(size, filler)


def vim_file(pid: int, user: str, host: str) -> bytes:
    head = b"b0VIM 9.0\0\0\0" + b"\0" * 12 + pid.to_bytes(4, "little")
    return (head + user.encode().ljust(40, b"\0") + host.encode().ljust(40, b"\0")).ljust(4096, b"\0")


class TestLibreOffice:
    def test_the_name_of_its_settings_the_host_and_the_time_are_told(self, document: Path):
        text = "Ada Lovelace,ada,laptop,22.11.2026 10:15,file:///home/ada/.config/libreoffice/4;"
        (document.parent / ".~lock.Quarterly.docx#").write_text(text)
        holder = only(document)
        assert (holder.name, holder.host) == ("Ada Lovelace", "laptop")
        assert holder.doing == "has it open in LibreOffice"
        assert holder.is_in_the_way
        assert holder.since is not None
        assert f"{holder.since.astimezone():%Y-%m-%d %H:%M}" == "2026-11-22 10:15"

    def test_without_a_name_in_its_settings_it_is_the_account(self, document: Path):
        (document.parent / ".~lock.Quarterly.docx#").write_text(",ada,laptop,22.11.2026 10:15,file:///x;")
        assert only(document).name == "ada"

    def test_separators_in_a_name_are_part_of_it(self, document: Path):
        (document.parent / ".~lock.Quarterly.docx#").write_text(
            "Love\\, lace\\;\\\\,ada,laptop,22.11.2026 10:15,file:///x;"
        )
        assert only(document).name == "Love, lace;\\"

    @pytest.mark.parametrize("text", ["", "garbage", ",,", "\0" * 5000, "a,b,c,not a date,e;"])
    def test_one_that_cannot_be_read_makes_no_error(self, document: Path, text: str):
        (document.parent / ".~lock.Quarterly.docx#").write_text(text)
        holders(document)


class TestOffice:
    @pytest.mark.parametrize(
        ("name", "lock_name"),
        [
            ("Quarterly.docx", "~$arterly.docx"),
            ("Reports.docx", "~$eports.docx"),
            ("Report.docx", "~$Report.docx"),
            ("Quarterly.xlsx", "~$Quarterly.xlsx"),
            ("Quarterly.pptx", "~$Quarterly.pptx"),
        ],
    )
    @pytest.mark.parametrize("user", ["Ada Lovelace", "Zoë Łukasz", "阿达"])
    def test_the_owner_file_tells_the_user(self, tmp_path: Path, name: str, lock_name: str, user: str):
        (tmp_path / name).write_bytes(b"PK")
        (tmp_path / lock_name).write_bytes(office_file(user, word=name.endswith("docx")))
        holder = only(tmp_path / name)
        assert (holder.name, holder.doing) == (user, "has it open in Microsoft Office")

    @pytest.mark.parametrize("content", [b"", b"\xff" * 162, b"\0" * 165, b"\x05" * 54, b"\x34" * 2000])
    def test_one_that_cannot_be_read_makes_no_error(self, document: Path, content: bytes):
        (document.parent / "~$arterly.docx").write_bytes(content)
        holders(document)


class TestEditors:
    def test_emacs_tells_the_process_which_is_looked_up(self, document: Path):
        (document.parent / ".#Quarterly.docx").symlink_to(f"ada@{socket.gethostname()}.{os.getpid()}:1700000000")
        holder = only(document)
        assert (holder.user, holder.is_stale) == ("ada", False)
        assert holder.process is not None
        assert holder.process.pid == os.getpid()

    def test_one_that_a_dead_process_left_is_in_nobodys_way(self, document: Path):
        (document.parent / ".#Quarterly.docx").symlink_to(f"ada@{socket.gethostname()}.{2**22 + 1}:1")
        holder = only(document)
        assert holder.is_stale
        assert not holder.is_in_the_way
        assert "left over" in holder.doing

    def test_on_another_machine_the_process_is_told_and_not_looked_up(self, document: Path):
        (document.parent / ".#Quarterly.docx").symlink_to(f"ada@elsewhere.example.{os.getpid()}:1")
        holder = only(document)
        assert (holder.host, holder.process, holder.is_stale) == ("elsewhere.example", None, False)
        assert str(os.getpid()) in holder.note

    @pytest.mark.parametrize("name", [".Quarterly.docx.swp", ".Quarterly.docx.swo"])
    def test_vims_swap_file_tells_user_host_and_process(self, document: Path, name: str):
        (document.parent / name).write_bytes(vim_file(os.getpid(), "ada", socket.gethostname()))
        holder = only(document)
        assert (holder.name, holder.doing) == ("ada", "has it open in Vim")
        assert holder.process is not None

    def test_neovim_keeps_its_swap_files_in_one_folder(self, document: Path, tmp_path: Path):
        folder = tmp_path / "state" / "nvim" / "swap"
        folder.mkdir(parents=True)
        name = str(document.resolve()).replace("/", "%")
        (folder / f"{name}.swp").write_bytes(vim_file(os.getpid(), "ada", socket.gethostname()))
        assert only(document).doing == "has it open in Neovim"


class TestDeceit:
    def test_what_is_no_plain_file_is_not_opened(self, document: Path):
        """A named pipe would keep whoever reads it waiting for ever."""
        os.mkfifo(document.parent / ".~lock.Quarterly.docx#")
        (document.parent / "~$arterly.docx").symlink_to("/dev/zero")
        os.mkfifo(document.parent / ".Quarterly.docx.swp")
        assert holders(document) == []

    def test_names_cannot_turn_the_line_or_break_it(self, document: Path):
        (document.parent / ".~lock.Quarterly.docx#").write_text("Ada\u202eevil\n\x1b[31m,a,b\nc,22.11.2026 10:15,x;")
        holder = only(document)
        assert holder.name.isprintable()
        assert holder.host == "b c"
