"""The users file: who may log in, with which password hash or API token, and what each may do.

Owns: the file's format (JSON, version 1), its mode, and that two writers do not undo each other. Must not
know: HTTP, and any password or token (it holds hashes alone). A file without tokens is the same as before there
were any. Whoever reads gets the old file or the new one, never a
part: a change is written aside, synced, and renamed into place.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shlex
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from holdfast.access.passwords import UnusableNameError, check_name
from holdfast.access.tokens import HASH_PREFIX, TokenRecord
from holdfast.core.access import Grant, Role
from holdfast.core.paths import InvalidPathError, ResourcePath

__all__ = ["GRANTABLE", "Admitted", "UserRecord", "UsersFile", "UsersFileError", "parse_grant"]

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


class Admitted(msgspec.Struct, frozen=True):
    """All that a users file holds: users by name, tokens by id."""

    users: dict[str, UserRecord]
    tokens: dict[str, TokenRecord]


class _GrantEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Literal["reader", "writer", "admin"]
    path: str = "/"


class _UserEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    password: str
    grants: tuple[_GrantEntry, ...]


class _TokenEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    hash: str
    grants: tuple[_GrantEntry, ...]
    created: datetime
    expires: datetime | None


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    users: dict[str, _UserEntry]
    version: Literal[1] = 1
    tokens: dict[str, _TokenEntry] | msgspec.UnsetType = msgspec.UNSET


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
        return self.load_all().users

    def load_all(self) -> Admitted:
        """All users and tokens, as of one moment. Raises UsersFileError as `load`."""
        try:
            with self.path.open("rb") as file:
                raw = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError as error:
            msg = f"The users file {self.path} does not exist: make it with {self._command('users add NAME')}."
            raise UsersFileError(msg) from error
        except OSError as error:
            msg = f"The users file {self.path} cannot be read: {error.strerror}."
            raise UsersFileError(msg) from error
        return self._parse(raw)

    def add(self, record: UserRecord) -> None:
        """Add a user; makes the file (mode 0600) where it is missing. Raises UsersFileError for a name that is taken."""
        with self._changing(makes_file=True) as kept:
            if record.name in kept.users:
                raise UsersFileError(self.describe_taken(record.name))
            kept.users[record.name] = record

    def remove(self, name: str) -> None:
        """Remove a user. Raises UsersFileError when there is none of this name."""
        with self._changing() as kept:
            self._require(kept.users, name)
            del kept.users[name]

    def set_password(self, name: str, password_hash: str) -> None:
        """Replace a user's hash. Raises UsersFileError when there is none of this name."""
        self._replace(name, lambda old: msgspec.structs.replace(old, password_hash=password_hash))

    def set_grants(self, name: str, grants: Sequence[Grant]) -> None:
        """Replace all of a user's grants. Raises UsersFileError when there is none of this name."""
        self._replace(name, lambda old: msgspec.structs.replace(old, grants=tuple(grants)))

    def add_token(self, record: TokenRecord, now: datetime) -> None:
        """Add a token; makes the file (mode 0600) where it is missing.

        Each name has one token, so that a principal's name says which. One of this name that has expired by `now` gives
        way; UsersFileError where it has not.
        """
        with self._changing(makes_file=True) as kept:
            for old in [token for token in kept.tokens.values() if token.name == record.name]:
                if not old.is_expired_at(now):
                    msg = (
                        f"There is a token {record.name} in {self.path} already: choose another name, "
                        f"or end that one with {self._command('tokens revoke', record.name)}."
                    )
                    raise UsersFileError(msg)
                del kept.tokens[old.id]
            kept.tokens[record.id] = record

    def remove_token(self, name_or_id: str) -> TokenRecord:
        """Remove the token with this name or id, and tell what it was. Raises UsersFileError when there is none."""
        with self._changing() as kept:
            by_name = [token.id for token in kept.tokens.values() if token.name == name_or_id]
            found = by_name[0] if by_name else name_or_id
            if found not in kept.tokens:
                msg = f"There is no token {name_or_id} in {self.path}: {self._command('tokens list')} shows which there are."
                raise UsersFileError(msg)
            return kept.tokens.pop(found)

    def _replace(self, name: str, change: Callable[[UserRecord], UserRecord]) -> None:
        with self._changing() as kept:
            self._require(kept.users, name)
            kept.users[name] = change(kept.users[name])

    def describe_taken(self, name: str) -> str:
        """The sentence for a new user whose name is in the file."""
        return f"{name} is in {self.path} already: change the password with {self._command('users passwd', name)}."

    def describe_missing(self, name: str) -> str:
        """The sentence for a user who is not in the file."""
        return f"There is no user {name} in {self.path}: {self._command('users list')} shows who is."

    def _require(self, users: Mapping[str, UserRecord], name: str) -> None:
        if name not in users:
            raise UsersFileError(self.describe_missing(name))

    def _command(self, words: str, name: str = "") -> str:
        """A command about this very file, as a shell takes it."""
        argument = f" {shlex.quote(name)}" if name else ""
        return f"`holdfast {words}{argument} --users {shlex.quote(str(self.path))}`"

    def _parse(self, raw: bytes) -> Admitted:
        if len(raw) > MAX_FILE_BYTES:
            msg = f"The users file {self.path} is larger than {MAX_FILE_BYTES >> 20} MiB."
            raise UsersFileError(msg)
        try:
            document = msgspec.json.decode(raw, type=_Document)
            tokens = {} if document.tokens is msgspec.UNSET else document.tokens
            return Admitted(
                {name: _to_record(name, entry) for name, entry in document.users.items()},
                {public: _to_token(public, entry) for public, entry in tokens.items()},
            )
        except (msgspec.DecodeError, UnicodeDecodeError, UnusableNameError, InvalidPathError, UsersFileError) as error:
            msg = f"The users file {self.path} is not what `holdfast users` writes: {error}"
            raise UsersFileError(msg) from error

    @contextmanager
    def _changing(self, *, makes_file: bool = False) -> Generator[Admitted]:
        """The users and tokens, to be changed; written when the block ends without an exception. One writer at a time.

        A missing file is an error, unless the change `makes_file`.
        """
        if not makes_file:
            self.load_all()
        with self._guard():
            kept = self.load_all() if self.path.exists() or not makes_file else Admitted({}, {})
            yield kept
            self._write(kept)

    @contextmanager
    def _guard(self) -> Generator[None]:
        """Hold the lock file, which is there as long as somebody does.

        Whoever holds it removes it, so one that was waited for may be gone by then: the next is taken in its place.
        """
        place = self.path.with_name(f".{self.path.name}.lock")
        while True:
            try:
                guard = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                msg = f"The users file {self.path} cannot be written: {error.strerror} ({self.path.parent})."
                raise UsersFileError(msg) from error
            try:
                fcntl.flock(guard, fcntl.LOCK_EX)
                if not _is_same(guard, place):
                    continue
                try:
                    yield
                finally:
                    place.unlink(missing_ok=True)
                return
            finally:
                os.close(guard)

    def _write(self, kept: Admitted) -> None:
        tokens = {public: _to_token_entry(kept.tokens[public]) for public in sorted(kept.tokens)}
        users = {
            name: _to_entry(record) for name, record in kept.users.items()
        }  # in the order in which they were added
        document = _Document(users, tokens=tokens or msgspec.UNSET)
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


def _is_same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _to_record(name: str, entry: _UserEntry) -> UserRecord:
    if check_name(name) != name:
        msg = f"the name {name!r} is not in Unicode's NFC form"
        raise UsersFileError(msg)
    if not entry.password.startswith(_HASH_PREFIX):
        msg = f"the password of {name} is not an Argon2id hash"
        raise UsersFileError(msg)
    return UserRecord(name, entry.password, _to_grants(entry.grants))


def _to_entry(record: UserRecord) -> _UserEntry:
    return _UserEntry(record.password_hash, _to_grant_entries(record.grants))


def _to_token(public: str, entry: _TokenEntry) -> TokenRecord:
    if check_name(entry.name) != entry.name:
        msg = f"the name {entry.name!r} is not in Unicode's NFC form"
        raise UsersFileError(msg)
    if not entry.hash.startswith(HASH_PREFIX):
        msg = f"the hash of the token {entry.name} is not a BLAKE2b one"
        raise UsersFileError(msg)
    for instant in (entry.created, entry.expires):
        if instant is not None and instant.tzinfo is None:
            msg = f"a time of the token {entry.name} does not say its time zone"
            raise UsersFileError(msg)
    expires_at = None if entry.expires is None else entry.expires.astimezone(UTC)
    return TokenRecord(
        public, entry.name, entry.hash, _to_grants(entry.grants), entry.created.astimezone(UTC), expires_at
    )


def _to_token_entry(record: TokenRecord) -> _TokenEntry:
    grants = _to_grant_entries(record.grants)
    return _TokenEntry(record.name, record.token_hash, grants, record.created_at, record.expires_at)


def _to_grants(entries: Sequence[_GrantEntry]) -> tuple[Grant, ...]:
    return tuple(Grant(GRANTABLE[grant.role], ResourcePath.from_text(grant.path)) for grant in entries)


def _to_grant_entries(grants: Sequence[Grant]) -> tuple[_GrantEntry, ...]:
    words = {role: word for word, role in GRANTABLE.items()}
    return tuple(_GrantEntry(_literal(words[grant.role]), grant.path.text) for grant in grants)


def _literal(word: str) -> Literal["reader", "writer", "admin"]:
    return msgspec.convert(word, Literal["reader", "writer", "admin"])
