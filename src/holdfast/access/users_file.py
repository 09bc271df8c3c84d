"""The users file: who may log in, with which password hash, and what each may do.

Owns: the file's format (JSON, version 1), its mode, and that two writers do not undo each other. Must not
know: HTTP, and any password (it holds hashes alone). Whoever reads gets the old file or the new one, never a
part: a change is written aside, synced, and renamed into place.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

from holdfast.access.passwords import UnusableNameError, check_name
from holdfast.core.access import Grant, Role
from holdfast.core.paths import InvalidPathError, ResourcePath

__all__ = ["GRANTABLE", "UserRecord", "UsersFile", "UsersFileError", "parse_grant"]

MAX_FILE_BYTES: Final = 64 << 20

GRANTABLE: Final[Mapping[str, Role]] = {"reader": Role.READER, "writer": Role.WRITER, "admin": Role.ADMIN}
"""The roles that a grant can give, by the word that stands for each in the file and on the command line."""

_HASH_PREFIX: Final = "$argon2id$"


class UsersFileError(Exception):
    """The users file cannot be read or written, or the change makes no sense; the text is a plain sentence."""


class UserRecord(msgspec.Struct, frozen=True):
    """One user: name, Argon2id hash (a secret all the same), and grants, of which the longest path counts."""

    name: str
    password_hash: str
    grants: tuple[Grant, ...]


class _GrantEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Literal["reader", "writer", "admin"]
    path: str = "/"


class _UserEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    password: str
    grants: tuple[_GrantEntry, ...]


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    users: dict[str, _UserEntry]
    version: Literal[1] = 1


def parse_grant(text: str) -> Grant:
    """Read `ROLE` or `ROLE:PATH`, such as `reader:/dav/archive`. Raises UsersFileError."""
    role, _, path = text.partition(":")
    if role not in GRANTABLE:
        msg = f"{role!r} is not a role: choose one of {', '.join(GRANTABLE)}, and write ROLE or ROLE:/PATH."
        raise UsersFileError(msg)
    try:
        return Grant(GRANTABLE[role], ResourcePath.from_text(path or "/"))
    except InvalidPathError as error:
        msg = f"The path in {text!r} cannot be used: {error}."
        raise UsersFileError(msg) from error


class UsersFile:
    """A users file by its path; every call reads it anew."""

    def __init__(self, path: Path) -> None:
        """Name the file; a link is followed, so that a change replaces what it points to and not the link."""
        self.path = path.resolve()

    def signature(self) -> tuple[int, int, int, int] | None:
        """A value that differs once the file was replaced, written or given other permissions; None where it cannot be looked at."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size

    def load(self) -> dict[str, UserRecord]:
        """All users by name. Raises UsersFileError for a missing, unreadable or malformed file."""
        try:
            with self.path.open("rb") as file:
                raw = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError as error:
            msg = f"The users file {self.path} does not exist: make it with `holdfast users add NAME --users {self.path}`."
            raise UsersFileError(msg) from error
        except OSError as error:
            msg = f"The users file {self.path} cannot be read: {error.strerror}."
            raise UsersFileError(msg) from error
        return self._parse(raw)

    def add(self, record: UserRecord) -> None:
        """Add a user; makes the file (mode 0600) where it is missing. Raises UsersFileError for a name that is taken."""
        with self._changing() as users:
            if record.name in users:
                msg = f"{record.name} is in {self.path} already: change the password with `holdfast users passwd`."
                raise UsersFileError(msg)
            users[record.name] = record

    def remove(self, name: str) -> None:
        """Remove a user. Raises UsersFileError when there is none of this name."""
        with self._changing() as users:
            self._require(users, name)
            del users[name]

    def set_password(self, name: str, password_hash: str) -> None:
        """Replace a user's hash. Raises UsersFileError when there is none of this name."""
        self._replace(name, lambda old: msgspec.structs.replace(old, password_hash=password_hash))

    def set_grants(self, name: str, grants: Sequence[Grant]) -> None:
        """Replace all of a user's grants. Raises UsersFileError when there is none of this name."""
        self._replace(name, lambda old: msgspec.structs.replace(old, grants=tuple(grants)))

    def _replace(self, name: str, change: Callable[[UserRecord], UserRecord]) -> None:
        with self._changing() as users:
            self._require(users, name)
            users[name] = change(users[name])

    def _require(self, users: Mapping[str, UserRecord], name: str) -> None:
        if name not in users:
            msg = f"There is no user {name} in {self.path}: `holdfast users list` shows who is."
            raise UsersFileError(msg)

    def _parse(self, raw: bytes) -> dict[str, UserRecord]:
        if len(raw) > MAX_FILE_BYTES:
            msg = f"The users file {self.path} is larger than {MAX_FILE_BYTES >> 20} MiB."
            raise UsersFileError(msg)
        try:
            document = msgspec.json.decode(raw, type=_Document)
            return {name: _to_record(name, entry) for name, entry in document.users.items()}
        except (msgspec.DecodeError, UnicodeDecodeError, UnusableNameError, InvalidPathError, UsersFileError) as error:
            msg = f"The users file {self.path} is not what `holdfast users` writes: {error}"
            raise UsersFileError(msg) from error

    @contextmanager
    def _changing(self) -> Generator[dict[str, UserRecord]]:
        """The users, to be changed; written when the block ends without an exception. One writer at a time."""
        try:
            guard = os.open(
                self.path.with_name(f".{self.path.name}.lock"),
                os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
                0o600,
            )
        except OSError as error:
            msg = f"The users file {self.path} cannot be written: {error.strerror} ({self.path.parent})."
            raise UsersFileError(msg) from error
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)
            users = self.load() if self.path.exists() else {}
            yield users
            self._write(users)
        finally:
            os.close(guard)

    def _write(self, users: Mapping[str, UserRecord]) -> None:
        document = _Document({name: _to_entry(users[name]) for name in sorted(users)})
        raw = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
        aside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        try:
            handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(handle, "wb") as file:
                self._keep_access(file.fileno())
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self.path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            msg = f"The users file {self.path} cannot be written: {error.strerror}."
            raise UsersFileError(msg) from error

    def _keep_access(self, handle: int) -> None:
        """Give the new file the old one's owner and group, so that a change by root does not lock the server out."""
        if not self.path.exists():
            return
        old = self.path.stat()
        if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(handle, old.st_uid, old.st_gid)
        os.fchmod(handle, 0o600 | (old.st_mode & 0o040))


def _to_record(name: str, entry: _UserEntry) -> UserRecord:
    if check_name(name) != name:
        msg = f"the name {name!r} is not in Unicode's NFC form"
        raise UsersFileError(msg)
    if not entry.password.startswith(_HASH_PREFIX):
        msg = f"the password of {name} is not an Argon2id hash"
        raise UsersFileError(msg)
    grants = tuple(Grant(GRANTABLE[grant.role], ResourcePath.from_text(grant.path)) for grant in entry.grants)
    return UserRecord(name, entry.password, grants)


def _to_entry(record: UserRecord) -> _UserEntry:
    words = {role: word for word, role in GRANTABLE.items()}
    grants = tuple(_GrantEntry(_literal(words[grant.role]), grant.path.text) for grant in record.grants)
    return _UserEntry(record.password_hash, grants)


def _literal(word: str) -> Literal["reader", "writer", "admin"]:
    return msgspec.convert(word, Literal["reader", "writer", "admin"])
