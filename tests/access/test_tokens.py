"""API tokens: what one looks like, what is kept of it, and whom it lets in until when."""

from __future__ import annotations

import stat
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import argon2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.access.authenticator import NEEDS_WORK, Authenticator
from holdfast.access.passwords import Passwords, UnusableNameError
from holdfast.access.throttle import FREE_FAILURES
from holdfast.access.tokens import TokenRecord, is_bearer, make_token, parse_bearer, token_id
from holdfast.access.users_file import UserRecord, UsersFile, UsersFileError
from holdfast.clock import Clock
from holdfast.core.access import Grant, Principal, Role
from holdfast.core.paths import ResourcePath

PEER = "192.0.2.7"
OTHER_PEER = "198.51.100.9"
CHEAP = Passwords(argon2.profiles.CHEAPEST)
NOW = datetime(2030, 1, 1, tzinfo=UTC)
GRANTS = (Grant(Role.WRITER, ResourcePath("/dav/builds")),)


def made(name: str = "ci", *, lasts: timedelta | None = timedelta(days=90)) -> tuple[str, TokenRecord]:
    return make_token(name, GRANTS, created_at=NOW, expires_at=None if lasts is None else NOW + lasts)


class TestForm:
    def test_each_token_is_another_with_256_random_bits_behind_its_public_id(self):
        tokens = [made()[0] for _ in range(50)]
        assert len(set(tokens)) == 50
        for token in tokens:
            prefix, _, secret = token.split("_")
            assert prefix == "hf"
            assert len(bytes.fromhex(secret)) == 32

    def test_what_is_kept_holds_no_part_of_the_secret(self):
        token, record = made()
        assert token_id(token) == record.id
        assert token.rpartition("_")[2] not in repr(record)

    def test_a_record_matches_its_token_alone(self):
        token, record = made()
        assert record.matches(token)
        assert not record.matches(made()[0])
        assert not record.matches(token[:-1] + ("0" if token[-1] != "0" else "1"))

    @pytest.mark.parametrize("name", ["", "a:b", "anonymous", "x" * 65, "a\nb"])
    def test_a_token_s_name_is_as_plain_as_a_user_s(self, name: str):
        with pytest.raises(UnusableNameError):
            made(name)

    def test_the_field_is_read_with_any_case_and_space(self):
        token, _ = made()
        for text in (f"Bearer {token}", f"bearer  {token}", f"BEARER {token} "):
            assert parse_bearer(text) == token

    @pytest.mark.parametrize(
        "text", ["", "Bearer", "Bearer ", "Bearer x", "Basic aGY6eA==", "Bearer hf_12_34", "Bearerhf_"]
    )
    def test_other_fields_are_no_token(self, text: str):
        assert parse_bearer(text) is None

    def test_upper_case_or_a_tail_makes_it_another_s(self):
        token, _ = made()
        for spoilt in (token.upper(), token + "0", token + " x", token + "\n", "x" + token):
            assert parse_bearer(f"Bearer {spoilt}") is None

    @given(st.text(max_size=120))
    def test_no_text_makes_the_parser_raise(self, text: str):
        for field in (text, "Bearer " + text, "Bearer hf_" + text):
            assert parse_bearer(field) is None or is_bearer(field)


class TestFile:
    @pytest.fixture
    def file(self, tmp_path: Path) -> UsersFile:
        return UsersFile(tmp_path / "users.json")

    def test_what_is_added_is_there_whole_and_users_stay(self, file: UsersFile):
        alice = UserRecord("alice", CHEAP.hash("secret"), (Grant(Role.WRITER),))
        file.add(alice)
        _, ci = made()
        _, forever = made("cron", lasts=None)
        file.add_token(ci, NOW)
        file.add_token(forever, NOW)
        file.set_grants("alice", alice.grants)
        kept = file.load_all()
        assert kept.tokens == {ci.id: ci, forever.id: forever}
        assert kept.users == {"alice": alice}

    def test_the_file_has_no_token_in_it_and_is_its_owner_s_alone(self, file: UsersFile):
        token, ci = made()
        file.add_token(ci, NOW)
        assert token not in file.path.read_text()
        assert token.rpartition("_")[2] not in file.path.read_text()
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600

    def test_a_file_from_before_tokens_is_read_and_kept_as_it_was(self, file: UsersFile):
        file.path.write_text('{"users": {}, "version": 1}')
        assert file.load_all().tokens == {}
        file.add(UserRecord("alice", CHEAP.hash("secret"), ()))
        assert "tokens" not in file.path.read_text()

    def test_a_name_has_one_token_and_an_expired_one_gives_way(self, file: UsersFile):
        _, old = made()
        file.add_token(old, NOW)
        _, new = made()
        with pytest.raises(UsersFileError, match="already"):
            file.add_token(new, NOW + timedelta(days=89))
        file.add_token(new, NOW + timedelta(days=90))
        assert file.load_all().tokens == {new.id: new}

    @pytest.mark.parametrize("by", ["name", "id"])
    def test_a_token_is_revoked_by_name_or_id(self, file: UsersFile, by: str):
        _, ci = made()
        file.add_token(ci, NOW)
        assert file.remove_token(getattr(ci, by)) == ci
        assert file.load_all().tokens == {}
        with pytest.raises(UsersFileError, match="no token"):
            file.remove_token("ci")

    @pytest.mark.parametrize(
        "spoil",
        [
            ('"hash": "blake2b:', '"hash": "plain:'),
            ('"name": "ci"', '"name": "c:i"'),
            ('"created": "2030-01-01T00:00:00Z"', '"created": "2030-01-01T00:00:00"'),
            ('"role": "writer"', '"role": "owner"'),
        ],
    )
    def test_a_token_of_another_make_is_refused_with_the_file(self, file: UsersFile, spoil: tuple[str, str]):
        _, ci = made()
        file.add_token(ci, NOW)
        text = file.path.read_text()
        assert spoil[0] in text
        file.path.write_text(text.replace(*spoil))
        with pytest.raises(UsersFileError, match="is not what"):
            file.load()


class Bench:
    """An authenticator with a user and a token for a day, and a clock that moves when told."""

    def __init__(self, folder: Path) -> None:
        self.uptime_us = 0
        self.clock = Clock(read_uptime=lambda: self.uptime_us)
        self.file = UsersFile(folder / "users.json")
        self.file.add(UserRecord("alice", CHEAP.hash("secret"), (Grant(Role.WRITER),)))
        now = self.clock.now()
        self.token, record = make_token("ci", GRANTS, created_at=now, expires_at=now + timedelta(days=1))
        self.record = record
        self.file.add_token(record, now)
        self.authenticator = Authenticator(self.file, [], self.clock, passwords=CHEAP)

    def pass_time(self, span: timedelta) -> None:
        self.uptime_us += span // timedelta(microseconds=1)

    def send(self, field: str, peer: str = PEER) -> Principal | None:
        answer = self.authenticator.identify_now(field, peer)
        return self.authenticator.identify_slowly(field, peer) if answer is NEEDS_WORK else answer

    def bear(self, token: str, peer: str = PEER) -> Principal | None:
        return self.send(f"Bearer {token}", peer)

    def guess(self, times: int, peer: str = PEER) -> None:
        for _ in range(times):
            assert self.bear(made()[0], peer) is None


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_token_lets_in_at_once_without_a_thread_with_its_grants(bench: Bench):
    answer = bench.authenticator.identify_now(f"Bearer {bench.token}", PEER)
    assert answer == Principal("token:ci", GRANTS)
    assert bench.authenticator.identify_slowly(f"Bearer {bench.token}", PEER) == answer


def test_a_token_s_principal_is_no_user_s(bench: Bench):
    assert bench.send("Basic " + b64encode(f"token:ci:{bench.token}".encode()).decode()) is None
    assert bench.send("Basic " + b64encode(f"ci:{bench.token}".encode()).decode()) is None


def test_a_token_ends_at_its_time_however_often_it_was_used(bench: Bench):
    bench.pass_time(timedelta(hours=23, minutes=59))
    assert bench.bear(bench.token) is not None
    bench.pass_time(timedelta(minutes=1))
    assert bench.bear(bench.token) is None
    assert bench.authenticator.retry_after_s(f"Bearer {bench.token}", PEER) == 0


def test_a_revoked_token_ends_within_a_second_and_a_new_one_begins(bench: Bench):
    assert bench.bear(bench.token) is not None
    bench.file.remove_token("ci")
    token, record = make_token("ci", GRANTS, created_at=bench.clock.now(), expires_at=None)
    bench.file.add_token(record, bench.clock.now())
    bench.pass_time(timedelta(seconds=1))
    assert bench.bear(bench.token) is None
    assert bench.bear(token) == Principal("token:ci", GRANTS)


def test_another_s_id_before_a_secret_lets_nobody_in(bench: Bench):
    _, _, secret = bench.token.split("_")
    assert bench.bear(f"hf_{made()[1].id}_{secret}") is None
    assert bench.bear(f"hf_{bench.record.id}_{made()[0].split('_')[2]}") is None


def test_wrong_tokens_are_slowed_and_slow_their_peer_s_passwords_too(bench: Bench):
    bench.guess(FREE_FAILURES)
    assert bench.authenticator.retry_after_s(f"Bearer {made()[0]}", PEER) == 1
    basic = "Basic " + b64encode(b"alice:secret").decode()
    assert bench.send(basic) is None
    assert bench.authenticator.retry_after_s(basic, PEER) == 1
    assert bench.authenticator.retry_after_s(f"Bearer {made()[0]}", OTHER_PEER) == 0


def test_a_right_token_is_never_slowed(bench: Bench):
    bench.guess(FREE_FAILURES + 5)
    assert bench.bear(bench.token) == Principal("token:ci", GRANTS)


def test_a_program_with_a_revoked_token_that_keeps_asking_counts_once(bench: Bench):
    bench.file.remove_token("ci")
    bench.pass_time(timedelta(seconds=1))
    for _ in range(50):
        assert bench.bear(bench.token) is None
    assert bench.authenticator.retry_after_s(f"Bearer {bench.token}", PEER) == 0
    assert bench.send("Basic " + b64encode(b"alice:secret").decode()) is not None


def test_another_program_s_token_is_refused_and_not_counted(bench: Bench):
    for number in range(FREE_FAILURES + 1):
        assert bench.bear(f"ghp_{number}") is None
    assert bench.send("Basic " + b64encode(b"alice:secret").decode()) is not None


def test_a_failed_token_is_logged_by_its_id_alone(bench: Bench, caplog: pytest.LogCaptureFixture):
    wrong = f"hf_{bench.record.id}_{made()[0].split('_')[2]}"
    bench.bear(wrong)
    bench.pass_time(timedelta(days=1))
    bench.bear(bench.token)
    assert bench.record.id in caplog.text
    assert PEER in caplog.text
    assert "expired" in caplog.text
    for token in (wrong, bench.token):
        assert token.split("_")[2] not in caplog.text
