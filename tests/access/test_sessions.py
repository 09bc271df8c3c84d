"""Sessions: what is signed is believed, for its time and its password, and nothing else is."""

from __future__ import annotations

import os
import stat
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.access.sessions import KEY_NAME, SessionKeyError, Sessions, load_key
from holdfast.access.users_file import UserRecord
from holdfast.clock import Clock
from holdfast.core.access import Grant, Role

ALICE = UserRecord("alice", "$argon2id$one", (Grant(Role.WRITER),))
KEY = bytes(range(32))


class Bench:
    """Sessions of a minute, and a clock that moves when told."""

    def __init__(self, key: bytes = KEY) -> None:
        self.uptime_us = 0
        clock = Clock(read_uptime=lambda: self.uptime_us)
        self.sessions = Sessions(key, clock, 60.0)
        self.issued = self.sessions.issue(ALICE)


def test_a_session_tells_who_logged_in():
    bench = Bench()
    session = bench.sessions.read(bench.issued)
    assert session is not None
    assert session.name == "alice"
    assert bench.sessions.is_of(session, ALICE)


def test_a_session_stands_for_its_time_and_no_longer():
    bench = Bench()
    bench.uptime_us = 59_999_999
    assert bench.sessions.read(bench.issued) is not None
    bench.uptime_us = 60_000_000
    assert bench.sessions.read(bench.issued) is None


def test_a_session_from_the_future_does_not_stand():
    bench = Bench()
    bench.uptime_us = -1
    assert bench.sessions.read(bench.issued) is None


def test_a_session_is_not_of_a_user_with_another_password_or_another_name():
    bench = Bench()
    session = bench.sessions.read(bench.issued)
    assert session is not None
    assert not bench.sessions.is_of(session, UserRecord("alice", "$argon2id$two", ALICE.grants))
    assert not bench.sessions.is_of(session, UserRecord("bob", ALICE.password_hash, ALICE.grants))


def test_other_roles_do_not_end_a_session():
    bench = Bench()
    session = bench.sessions.read(bench.issued)
    assert session is not None
    assert bench.sessions.is_of(session, UserRecord("alice", ALICE.password_hash, ()))


def test_a_session_signed_with_another_key_does_not_stand():
    assert Bench().sessions.read(Bench(bytes(32)).issued) is None


def test_no_sign_of_a_session_can_be_changed():
    bench = Bench()
    for place in range(len(bench.issued)):
        if place in {bench.issued.index(".") - 1, len(bench.issued) - 1}:
            continue  # the last sign of a base64 text has bits that mean nothing
        for other in "AQgw_":
            changed = bench.issued[:place] + other + bench.issued[place + 1 :]
            assert changed == bench.issued or bench.sessions.read(changed) is None, place


@given(st.text(max_size=200))
def test_any_other_text_is_no_session(text: str):
    assert Bench().sessions.read(text) is None
    said, _, signature = Bench().issued.partition(".")
    assert Bench().sessions.read(f"{said}.{text}") is None or text == signature
    assert Bench().sessions.read("x" * 100_000) is None


def test_a_session_holds_neither_the_password_hash_nor_a_role():
    said = Bench().issued.partition(".")[0]
    text = b64decode(said + "==", altchars=b"-_").decode()
    assert text.startswith('["alice",')
    assert ALICE.password_hash not in text
    assert "writer" not in text.lower()


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path):
    path = tmp_path / KEY_NAME
    key = load_key(path)
    assert len(key) == 32
    assert load_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_processes_that_start_at_once_get_the_same_key(tmp_path: Path):
    """Each opens the file for itself, so threads meet as processes do."""
    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(lambda _: load_key(tmp_path / KEY_NAME), range(64)))
    assert len(keys) == 1


def test_a_key_that_others_could_read_is_closed_to_them(tmp_path: Path):
    path = tmp_path / KEY_NAME
    key = load_key(path)
    path.chmod(0o644)
    assert load_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_half_written_key_is_replaced(tmp_path: Path):
    path = tmp_path / KEY_NAME
    path.write_bytes(b"half")
    key = load_key(path)
    assert len(key) == 32
    assert path.read_bytes() == key


def test_a_file_that_is_no_key_is_refused_in_plain_words(tmp_path: Path):
    path = tmp_path / KEY_NAME
    path.write_bytes(b"x" * 33)
    with pytest.raises(SessionKeyError, match="remove it"):
        load_key(path)
    os.replace(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SessionKeyError, match="cannot be read or made"):
        load_key(path)
