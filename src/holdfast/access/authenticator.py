"""Authenticator: an Authorization field and a peer's address become a Principal, or nobody.

Owns: the cache of checked credentials, the slowing of failed ones, the bound on hashing at once, and taking up
changes of the users file. Must not know: requests, responses, status codes, what a principal may do.

Theory of operation. Argon2 takes about 0.1 s and 64 MiB on purpose, and a WebDAV client sends its password with
every request. So `identify_now`, which does no I/O and no hashing, answers from memory: the key is a BLAKE2b of
the field under a random key of this process, never the password, and an entry lives until the users file changes.
What it cannot answer is NEEDS_WORK: the caller calls `identify_slowly` on a thread. Once a second one such call
looks whether the users file changed. The same field sent many times at once is hashed once; the others wait for it.

Wrong guesses are counted by peer (an IPv6 peer by its /64 network) and by name; past ten, each must wait, a second at
first and a minute at most. An attempt that comes too early is not checked at all: `identify_slowly` answers None and
`retry_after_s` says how long, so that the caller can answer 429 with Retry-After and not 401, on which a client would
throw a right password away. Credentials in the cache are never slowed. A name that has logged in from a peer
before is counted by that pair alone, so nobody can lock others out by guessing at their names. The same wrong
field again (a client with an old password) is refused from memory and not counted as a new guess.

API tokens (the Bearer scheme) need none of this care: a check is one quick hash, nobody can guess one, and nothing of
a right one is remembered, so its end counts at once. Both calls check them on the spot. Wrong ones count against
their peer, whose wrong ones are then answered 429, and which may guess fewer passwords; a right one is never slowed.
"""

from __future__ import annotations

import enum
import ipaddress
import logging
import secrets
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from hashlib import blake2b
from math import ceil
from typing import Final, TypeVar

from holdfast.access.basic import MAX_AUTHORIZATION_CHARACTERS, Credentials, parse_basic
from holdfast.access.passwords import Passwords
from holdfast.access.throttle import Throttle
from holdfast.access.tokens import PRINCIPAL_PREFIX, TokenRecord, is_bearer, parse_bearer, token_id
from holdfast.access.users_file import Admitted, UserRecord, UsersFile, UsersFileError
from holdfast.clock import Clock
from holdfast.core.access import ANONYMOUS, Principal

__all__ = ["NEEDS_WORK", "Authenticator", "NeedsWork"]

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")

_log = logging.getLogger(__name__)

_MAX_KNOWN: Final = 4096
_MAX_WRONG: Final = 4096
_MAX_PAIRS: Final = 4096
_MAX_WAITING: Final = 32
"""Checks that may wait for their turn at hashing; one more is refused at once, so that threads do not run out."""

_LOOK_EVERY_US: Final = 1_000_000


class NeedsWork(enum.Enum):
    """The type of NEEDS_WORK."""

    NEEDS_WORK = enum.auto()


NEEDS_WORK: Final = NeedsWork.NEEDS_WORK
"""The answer takes hashing or a look at the disk: ask `identify_slowly`, on a thread."""


class Authenticator:
    """Safe for threads. Without a file and without listed users everybody is ANONYMOUS."""

    def __init__(
        self,
        users_file: UsersFile | None,
        listed: Iterable[UserRecord],
        clock: Clock,
        *,
        max_checks: int = 2,
        passwords: Passwords | None = None,
    ) -> None:
        """Take users and tokens from a file, users from a list, or both (the list wins); hash at most `max_checks` passwords at once.

        Raises UsersFileError where the file cannot be read. A file that is emptied later lets nobody in.
        """
        self._file = users_file
        self._listed = {record.name: record for record in listed}
        self._clock = clock
        self._passwords = passwords or Passwords()
        self._key = secrets.token_bytes(32)
        self._slots = threading.BoundedSemaphore(max_checks)
        self._looking = threading.Lock()
        self._guard = threading.Lock()
        # All below is under _guard; _users and _tokens are replaced whole, never changed.
        self._waiting = 0
        self._known: OrderedDict[bytes, Principal] = OrderedDict()
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._pending: dict[bytes, Future[Principal | None]] = {}
        self._pairs: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._throttle = Throttle()
        self._signature = None if users_file is None else users_file.signature()
        admitted = Admitted({}, {}) if users_file is None else users_file.load_all()
        self._users: dict[str, UserRecord] = admitted.users | self._listed
        self._tokens: dict[str, TokenRecord] = admitted.tokens
        self._look_at_us = 0 if users_file is None else clock.now_us() + _LOOK_EVERY_US

    @property
    def is_open(self) -> bool:
        """True for a server without users, on which everybody is ANONYMOUS."""
        return self._file is None and not self._listed

    def identify_now(self, authorization: str | None, client: str) -> Principal | NeedsWork | None:
        """The principal, None for missing or wrong credentials, or NEEDS_WORK. No I/O, no hashing, microseconds.

        `client` is the peer's address, against which a wrong token counts.
        """
        if self.is_open:
            return ANONYMOUS
        if authorization is None or len(authorization) > MAX_AUTHORIZATION_CHARACTERS:
            return None
        if self._file is not None and self._clock.now_us() >= self._look_at_us:
            return NEEDS_WORK
        digest = self._digest(authorization)
        recalled = self._recall(digest)
        if recalled is NEEDS_WORK and is_bearer(authorization):
            return self._verify_token(digest, authorization, client)
        return recalled

    def identify_slowly(self, authorization: str | None, client: str) -> Principal | None:
        """The principal, or None for missing, wrong or too frequent credentials. May hash, read the disk and wait."""
        self._look_for_changes()
        if self.is_open:
            return ANONYMOUS
        if authorization is None or len(authorization) > MAX_AUTHORIZATION_CHARACTERS:
            return None
        digest = self._digest(authorization)
        if is_bearer(authorization):
            recalled = self._recall(digest)
            return self._verify_token(digest, authorization, client) if isinstance(recalled, NeedsWork) else recalled
        with self._guard:
            pending = self._pending.get(digest)
            mine: Future[Principal | None] = Future()
            if pending is None:
                recalled = self._recall_guarded(digest)
                if recalled is not NEEDS_WORK:
                    return recalled
                self._pending[digest] = mine
        if pending is not None:
            return pending.result()
        return self._settle(mine, digest, authorization, client)

    def find_now(self, name: str) -> UserRecord | NeedsWork | None:
        """The user of this name as the users file has them now; None without one, NEEDS_WORK for `find_slowly`. No I/O."""
        if self._file is not None and self._clock.now_us() >= self._look_at_us:
            return NEEDS_WORK
        return self._users.get(name)

    def find_slowly(self, name: str) -> UserRecord | None:
        """The same at any cost: the users file is looked at where a second has passed since it was."""
        self._look_for_changes()
        return self._users.get(unicodedata.normalize("NFC", name))

    def follow(self, principal: Principal) -> Callable[[], Principal | None]:
        """What tells, whenever it is asked, what a principal that was just identified may do by then; None once it is nobody.

        That is a user who was removed or given another password, and a token that was revoked or has expired. For what
        goes on long after its request. The users file is looked at where a second has passed since it was; no hashing.
        """
        if self.is_open:
            return lambda: principal
        user = self._users.get(principal.name)
        if user is not None:
            return lambda: self._user_now(user)
        tokens = [one for one in self._tokens.values() if PRINCIPAL_PREFIX + one.name == principal.name]
        return lambda: next((found for one in tokens if (found := self._token_now(one)) is not None), None)

    def retry_after_s(self, authorization: str | None, client: str) -> int:
        """Whole seconds until credentials like these would be looked at again; 0 when at once. No I/O.

        For the answer to None: above 0 it is 429 with Retry-After, else 401.
        """
        if authorization is None or self.is_open:
            return 0
        credentials = parse_basic(authorization)
        if credentials is None and parse_bearer(authorization) is None:
            return 0
        with self._guard:
            if self._digest(authorization) in self._wrong:
                return 0
            if credentials is None:
                return ceil(self._throttle.wait_s((("peer", _network(client)),), self._now_s()))
            if self._waiting >= _MAX_WAITING:
                return 1
            return ceil(self._throttle.wait_s(self._keys(credentials.name, client), self._now_s()))

    def _settle(
        self, mine: Future[Principal | None], digest: bytes, authorization: str, client: str
    ) -> Principal | None:
        """Verify, and hand the answer to all who wait for the same field, whatever happens."""
        principal: Principal | None = None
        try:
            principal = self._verify(digest, authorization, client)
        finally:
            with self._guard:
                del self._pending[digest]
            mine.set_result(principal)
        return principal

    def _verify(self, digest: bytes, authorization: str, client: str) -> Principal | None:
        credentials = parse_basic(authorization)
        if credentials is None:
            return None
        with self._guard:
            keys = self._keys(credentials.name, client)
            now_s = self._now_s()
            if self._waiting >= _MAX_WAITING or self._throttle.wait_s(keys, now_s) > 0:
                return None
            self._throttle.count(keys, now_s)
            self._waiting += 1
            users = self._users
        with self._slots:
            with self._guard:
                self._waiting -= 1
            record = self._matching_record(users, credentials)
        with self._guard:
            if record is not None:
                self._throttle.take_back(keys)
                _remember(self._pairs, (credentials.name, _network(client)), None, _MAX_PAIRS)
            if users is not self._users:
                # The file changed while we hashed: this answer stands for this once and is not remembered.
                return None if record is None else self._principal_now(record)
            if record is None:
                _remember(self._wrong, digest, None, _MAX_WRONG)
            else:
                _remember(self._known, digest, Principal(record.name, record.grants), _MAX_KNOWN)
        if record is None:
            _log.warning("wrong name or password: name %r, from %s", credentials.name[:64], client)
            return None
        return Principal(record.name, record.grants)

    def _verify_token(self, digest: bytes, authorization: str, client: str) -> Principal | None:
        """The principal of an API token that stands; one quick hash, no I/O."""
        token = parse_bearer(authorization)
        if token is None:
            return None
        public = token_id(token)
        with self._guard:
            record = self._tokens.get(public)
            if record is not None and not record.matches(token):
                record = None
            if record is not None and not record.is_expired_at(self._clock.now()):
                return record.principal
            keys = (("peer", _network(client)),)
            now_s = self._now_s()
            if self._throttle.wait_s(keys, now_s) > 0:
                return None
            self._throttle.count(keys, now_s)
            _remember(self._wrong, digest, None, _MAX_WRONG)
        if record is None:
            _log.warning("wrong or revoked token: id %s, from %s", public, client)
        else:
            _log.warning("expired token: name %r, id %s, from %s", record.name, public, client)
        return None

    def _matching_record(self, users: dict[str, UserRecord], credentials: Credentials) -> UserRecord | None:
        """The record whose password this is. An unknown name costs one hash too, and so cannot be told by the clock."""
        record = users.get(credentials.name)
        decoy = record or next(iter(users.values()), None)
        matches = decoy is not None and self._passwords.matches(decoy.password_hash, credentials.password)
        return record if matches else None

    def _principal_now(self, record: UserRecord) -> Principal | None:
        """The principal for a record that was just verified, if it still stands with the same password."""
        current = self._users.get(record.name)
        if current is None or current.password_hash != record.password_hash:
            return None
        return Principal(current.name, current.grants)

    def _user_now(self, user: UserRecord) -> Principal | None:
        self._look_for_changes()
        with self._guard:
            return self._principal_now(user)

    def _token_now(self, token: TokenRecord) -> Principal | None:
        self._look_for_changes()
        current = self._tokens.get(token.id)
        if current is None or current.token_hash != token.token_hash or current.is_expired_at(self._clock.now()):
            return None
        return current.principal

    def _look_for_changes(self) -> None:
        """Take up a changed users file, at most one look a second; a file that cannot be read changes nothing."""
        if self._file is None or self._clock.now_us() < self._look_at_us or not self._looking.acquire(blocking=False):
            return
        try:
            signature = self._file.signature()
            if signature != self._signature:
                self._signature = signature
                self._take_up(self._file)
            self._look_at_us = self._clock.now_us() + _LOOK_EVERY_US
        finally:
            self._looking.release()

    def _take_up(self, file: UsersFile) -> None:
        try:
            admitted = file.load_all()
        except UsersFileError as error:
            _log.error("the users known so far stay in force: %s", error)
            return
        with self._guard:
            self._users = admitted.users | self._listed
            self._tokens = admitted.tokens
            self._known.clear()
            self._wrong.clear()
        _log.info("the users file has changed: %d users, %d tokens", len(admitted.users), len(admitted.tokens))

    def _recall(self, digest: bytes) -> Principal | NeedsWork | None:
        with self._guard:
            return self._recall_guarded(digest)

    def _recall_guarded(self, digest: bytes) -> Principal | NeedsWork | None:
        principal = self._known.get(digest)
        if principal is not None:
            self._known.move_to_end(digest)
            return principal
        return None if digest in self._wrong else NEEDS_WORK

    def _keys(self, name: str, client: str) -> tuple[Hashable, ...]:
        network = _network(client)
        if (name, network) in self._pairs:
            return (("pair", name, network),)
        return (("peer", network), ("name", name))

    def _digest(self, authorization: str) -> bytes:
        return blake2b(authorization.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32).digest()

    def _now_s(self) -> float:
        return self._clock.now_us() / 1_000_000


def _network(client: str) -> str:
    """The peer's address; of an IPv6 one its /64 network, since whoever has one address has that many."""
    if ":" not in client:
        return client
    try:
        address = ipaddress.IPv6Address(client.partition("%")[0])
    except ValueError:
        return client
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


def _remember(memory: OrderedDict[_K, _V], key: _K, value: _V, most: int) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > most:
        memory.popitem(last=False)
