"""The users file: what it holds, who may read it, and that no change is lost or half made."""

from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

import argon2
import pytest

from holdfast.access.passwords import Passwords
from holdfast.access.users_file import UserRecord, UsersFile, UsersFileError, parse_grant
from holdfast.core.access import Grant, Role
from holdfast.core.paths import ROOT, ResourcePath

HASH = Passwords(argon2.profiles.CHEAPEST).hash("secret")


def record(name: str, *grants: Grant) -> UserRecord:
    return UserRecord(name, HASH, grants or (Grant(Role.WRITER),))


@pytest.fixture
def users(tmp_path: Path) -> UsersFile:
    return UsersFile(tmp_path / "users.json")


def test_what_is_added_is_there_with_all_its_grants(users: UsersFile):
    alice = record("alice", Grant(Role.READER), Grant(Role.ADMIN, ResourcePath("/dav/team")))
    users.add(alice)
    users.add(record("bob"))
    assert users.load() == {"alice": alice, "bob": record("bob")}


def test_only_its_owner_may_read_it(users: UsersFile):
    users.add(record("alice"))
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600


def test_a_group_that_was_allowed_to_read_it_still_may_after_a_change(users: UsersFile):
    users.add(record("alice"))
    users.path.chmod(0o644)
    users.add(record("bob"))
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o640


def test_a_change_through_a_link_keeps_the_link(users: UsersFile, tmp_path: Path):
    users.add(record("alice"))
    link = tmp_path / "link.json"
    link.symlink_to(users.path)
    UsersFile(link).add(record("bob"))
    assert link.is_symlink()
    assert set(users.load()) == {"alice", "bob"}


def test_a_name_is_added_once(users: UsersFile):
    users.add(record("alice"))
    with pytest.raises(UsersFileError, match="already"):
        users.add(record("alice", Grant(Role.ADMIN)))
    assert users.load()["alice"] == record("alice")


def test_passwords_and_grants_are_replaced(users: UsersFile):
    users.add(record("alice"))
    other = Passwords(argon2.profiles.CHEAPEST).hash("other")
    users.set_password("alice", other)
    users.set_grants("alice", [Grant(Role.READER)])
    assert users.load()["alice"] == UserRecord("alice", other, (Grant(Role.READER),))


def test_a_removed_user_is_gone(users: UsersFile):
    users.add(record("alice"))
    users.remove("alice")
    assert users.load() == {}


def test_a_change_to_nobody_is_refused(users: UsersFile):
    users.add(record("alice"))
    for change in (users.remove, lambda name: users.set_password(name, HASH), lambda name: users.set_grants(name, [])):
        with pytest.raises(UsersFileError, match="no user bob"):
            change("bob")


def test_each_change_gives_the_file_another_signature(users: UsersFile):
    seen = [users.signature()]
    users.add(record("alice"))
    seen.append(users.signature())
    users.set_grants("alice", [Grant(Role.READER)])
    seen.append(users.signature())
    assert seen[0] is None
    assert len(set(seen)) == 3


def test_nothing_but_the_file_is_left_behind(users: UsersFile):
    users.add(record("alice"))
    users.remove("alice")
    assert {path.name for path in users.path.parent.iterdir()} == {"users.json"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b'{"version": 2, "users": {}}',
        b'{"users": {"a:b": {"password": "$argon2id$x", "grants": []}}}',
        b'{"users": {"a": {"password": "plain", "grants": []}}}',
        b'{"users": {"a": {"password": "$argon2id$x", "grants": [{"role": "owner"}]}}}',
        b'{"users": {"a": {"password": "$argon2id$x", "grants": [{"role": "reader", "path": "/../x"}]}}}',
        b'{"users": {"a": {"password": "$argon2id$x", "grants": [], "more": 1}}}',
        b"\xff\xfe",
    ],
)
def test_a_file_of_another_make_is_refused_whole(users: UsersFile, raw: bytes):
    users.path.write_bytes(raw)
    with pytest.raises(UsersFileError, match="is not what `holdfast users` writes"):
        users.load()


def test_a_missing_file_is_said_to_be_missing(users: UsersFile):
    with pytest.raises(UsersFileError, match="does not exist"):
        users.load()


def test_a_missing_folder_is_a_sentence_too(tmp_path: Path):
    with pytest.raises(UsersFileError, match="cannot be written"):
        UsersFile(tmp_path / "none" / "users.json").add(record("alice"))


@pytest.mark.parametrize(
    ("text", "grant"),
    [
        ("reader", Grant(Role.READER, ROOT)),
        ("admin:/", Grant(Role.ADMIN, ROOT)),
        ("writer:/dav/team folder/", Grant(Role.WRITER, ResourcePath("/dav/team folder"))),
        ("reader:/a:b", Grant(Role.READER, ResourcePath("/a:b"))),
    ],
)
def test_a_grant_is_a_role_and_a_path(text: str, grant: Grant):
    assert parse_grant(text) == grant


@pytest.mark.parametrize("text", ["", "owner", "none", "reader:dav", "reader:/a/../b", "Reader"])
def test_a_grant_that_makes_no_sense_is_refused(text: str):
    with pytest.raises(UsersFileError):
        parse_grant(text)


def _add_ten(path: str, first: str) -> None:
    for number in range(10):
        UsersFile(Path(path)).add(record(f"{first}{number}"))


@pytest.mark.process
def test_writers_in_several_processes_do_not_undo_each_other(users: UsersFile):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add_ten, args=(str(users.path), first)) for first in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(users.load()) == 30
