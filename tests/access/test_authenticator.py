"""The authenticator: right credentials are quick, wrong ones are slow, changes count at once."""

from __future__ import annotations

import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import argon2
import pytest

from holdfast.access.authenticator import NEEDS_WORK, Authenticator
from holdfast.access.passwords import Passwords
from holdfast.access.throttle import FREE_FAILURES
from holdfast.access.users_file import UserRecord, UsersFile
from holdfast.clock import Clock
from holdfast.core.access import ANONYMOUS, Grant, Principal, Role

PEER = "192.0.2.7"
OTHER_PEER = "198.51.100.9"
CHEAP = Passwords(argon2.profiles.CHEAPEST)


class CountingPasswords(Passwords):
    """Counts the hashes made for checks, and how many were made at once; can be made to wait for `gate`."""

    def __init__(self) -> None:
        super().__init__(argon2.profiles.CHEAPEST)
        self.checks = 0
        self.most_at_once = 0
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Semaphore(0)
        self._at_once = 0
        self._guard = threading.Lock()

    def matches(self, password_hash: str, password: str) -> bool:
        with self._guard:
            self.checks += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        self.begun.release()
        self.gate.wait(30)
        with self._guard:
            self._at_once -= 1
        return super().matches(password_hash, password)


class Bench:
    """An authenticator with a users file of alice and bob, and a clock that moves when told."""

    def __init__(self, folder: Path) -> None:
        self.uptime_us = 0
        self.file = UsersFile(folder / "users.json")
        self.file.add(record("alice", "secret"))
        self.file.add(record("bob", "hunter2", Role.READER))
        self.passwords = CountingPasswords()
        clock = Clock(read_uptime=lambda: self.uptime_us)
        self.authenticator = Authenticator(self.file, [], clock, passwords=self.passwords)

    def pass_time(self, span: timedelta) -> None:
        self.uptime_us += span // timedelta(microseconds=1)

    def login(self, name: str, password: str, peer: str = PEER) -> Principal | None:
        """As the edge does it: at once where possible, else slowly."""
        answer = self.authenticator.identify_now(field(name, password), peer)
        if answer is NEEDS_WORK:
            return self.authenticator.identify_slowly(field(name, password), peer)
        return answer

    def guess(self, times: int, name: str = "alice", peer: str = PEER) -> None:
        for number in range(times):
            assert self.login(name, f"guess {number}", peer) is None


def record(name: str, password: str, role: Role = Role.WRITER) -> UserRecord:
    return UserRecord(name, CHEAP.hash(password), (Grant(role),))


def field(name: str, password: str) -> str:
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_without_users_everybody_is_anonymous():
    authenticator = Authenticator(None, [], Clock())
    assert authenticator.is_open
    assert authenticator.identify_now(None, PEER) is ANONYMOUS
    assert authenticator.identify_now(field("alice", "x"), PEER) is ANONYMOUS
    assert authenticator.identify_slowly(None, PEER) is ANONYMOUS


def test_with_users_nobody_is_anonymous(bench: Bench):
    assert bench.authenticator.identify_now(None, PEER) is None
    assert bench.authenticator.identify_slowly(None, PEER) is None


def test_right_credentials_give_the_principal_with_its_grants(bench: Bench):
    assert bench.login("bob", "hunter2") == Principal("bob", (Grant(Role.READER),))


@pytest.mark.parametrize(
    ("name", "password"),
    [("alice", "hunter2"), ("alice", ""), ("Alice", "secret"), ("mallory", "secret"), ("", "secret")],
)
def test_wrong_credentials_give_nobody(bench: Bench, name: str, password: str):
    assert bench.login(name, password) is None


@pytest.mark.parametrize("authorization", ["", "Basic", "Bearer x", "Digest y", "Basic ====", "x" * 100_000])
def test_other_fields_give_nobody(bench: Bench, authorization: str):
    assert bench.authenticator.identify_slowly(authorization, PEER) is None
    assert bench.passwords.checks == 0


def test_the_second_request_needs_no_hash(bench: Bench):
    assert bench.authenticator.identify_now(field("alice", "secret"), PEER) is NEEDS_WORK
    alice = bench.login("alice", "secret")
    assert bench.authenticator.identify_now(field("alice", "secret"), OTHER_PEER) == alice
    assert bench.passwords.checks == 1


def test_the_cache_holds_no_password_and_no_field(bench: Bench):
    bench.login("alice", "secret")
    kept = repr(list(bench.authenticator._known))
    assert "secret" not in kept
    assert field("alice", "secret") not in kept


def test_an_unknown_name_costs_one_hash_like_a_known_one(bench: Bench):
    bench.login("mallory", "x")
    assert bench.passwords.checks == 1


def test_the_same_wrong_credentials_again_are_refused_without_a_hash_or_a_count(bench: Bench):
    for _ in range(50):
        assert bench.login("alice", "old password") is None
    assert bench.passwords.checks == 1
    assert bench.authenticator.retry_after_s(field("alice", "old password"), PEER) == 0
    assert bench.login("alice", "secret") is not None


def test_after_ten_wrong_guesses_even_the_right_password_must_wait(bench: Bench):
    bench.guess(FREE_FAILURES)
    assert bench.login("alice", "secret") is None
    assert bench.passwords.checks == FREE_FAILURES
    assert bench.authenticator.retry_after_s(field("alice", "secret"), PEER) == 1
    bench.pass_time(timedelta(seconds=1))
    assert bench.authenticator.retry_after_s(field("alice", "secret"), PEER) == 0
    assert bench.login("alice", "secret") is not None


def test_the_wait_grows_with_each_guess(bench: Bench):
    bench.guess(FREE_FAILURES)
    waits: list[int] = []
    for number in range(8):
        waits.append(bench.authenticator.retry_after_s(field("alice", "secret"), PEER))
        bench.pass_time(timedelta(seconds=waits[-1]))
        bench.login("alice", f"later guess {number}")
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_guessing_at_one_name_from_many_addresses_is_slowed(bench: Bench):
    for number in range(FREE_FAILURES):
        bench.login("alice", f"guess {number}", f"203.0.113.{number}")
    assert bench.authenticator.retry_after_s(field("alice", "secret"), "203.0.113.200") == 1


def test_guessing_at_many_names_from_one_address_is_slowed(bench: Bench):
    for number in range(FREE_FAILURES):
        bench.login(f"name{number}", "secret")
    assert bench.authenticator.retry_after_s(field("alice", "secret"), PEER) == 1
    assert bench.authenticator.retry_after_s(field("alice", "secret"), OTHER_PEER) == 0


def test_an_ipv6_guesser_does_not_escape_by_changing_its_address(bench: Bench):
    for number in range(FREE_FAILURES):
        bench.login(f"name{number}", "secret", f"2001:db8::{number:x}")
    assert bench.authenticator.retry_after_s(field("alice", "secret"), "2001:db8::ffff") == 1
    assert bench.authenticator.retry_after_s(field("alice", "secret"), "2001:db8:0:1::1") == 0


def test_who_is_logged_in_is_not_slowed_by_guesses_of_others(bench: Bench):
    alice = bench.login("alice", "secret")
    bench.guess(FREE_FAILURES + 2, peer=OTHER_PEER)
    assert bench.login("alice", "secret", PEER) == alice
    assert bench.login("alice", "secret", OTHER_PEER) == alice


def test_who_has_logged_in_from_here_before_is_not_locked_out_by_guesses_from_elsewhere(bench: Bench):
    bench.login("alice", "secret")
    bench.guess(FREE_FAILURES, peer=OTHER_PEER)
    bench.file.set_password("alice", CHEAP.hash("new"))
    bench.pass_time(timedelta(seconds=1))
    assert bench.login("alice", "new") is not None


def test_having_logged_in_before_does_not_make_guessing_free(bench: Bench):
    bench.login("alice", "secret")
    bench.guess(FREE_FAILURES)
    assert bench.authenticator.retry_after_s(field("alice", "another"), PEER) == 1


def test_a_new_password_counts_within_a_second_and_the_old_one_ends(bench: Bench):
    bench.login("alice", "secret")
    bench.file.set_password("alice", CHEAP.hash("new"))
    bench.pass_time(timedelta(seconds=1))
    assert bench.login("alice", "secret") is None
    assert bench.login("alice", "new") is not None


def test_a_removed_user_and_changed_grants_count_within_a_second(bench: Bench):
    bench.login("alice", "secret")
    bench.login("bob", "hunter2")
    bench.file.remove("alice")
    bench.file.set_grants("bob", [Grant(Role.ADMIN)])
    bench.pass_time(timedelta(seconds=1))
    assert bench.login("alice", "secret") is None
    assert bench.login("bob", "hunter2") == Principal("bob", (Grant(Role.ADMIN),))


def test_an_unchanged_file_does_not_empty_the_cache(bench: Bench):
    bench.login("alice", "secret")
    bench.pass_time(timedelta(seconds=5))
    assert bench.authenticator.identify_now(field("alice", "secret"), PEER) is NEEDS_WORK
    bench.login("alice", "secret")
    assert bench.passwords.checks == 1


@pytest.mark.parametrize("spoil", [lambda path: path.write_text("{"), lambda path: path.unlink()])
def test_a_spoilt_or_vanished_file_lets_nobody_in_who_was_not_before(bench: Bench, spoil):
    bench.login("alice", "secret")
    spoil(bench.file.path)
    bench.pass_time(timedelta(seconds=1))
    assert bench.login("mallory", "x") is None
    assert bench.login("alice", "secret") is not None


def test_an_emptied_file_does_not_open_the_server(bench: Bench):
    bench.file.remove("alice")
    bench.file.remove("bob")
    bench.pass_time(timedelta(seconds=1))
    assert bench.login("alice", "secret") is None
    assert bench.authenticator.identify_slowly(None, PEER) is None


def test_a_listed_user_needs_no_file_and_goes_before_one(bench: Bench):
    authenticator = Authenticator(bench.file, [record("alice", "listed", Role.ADMIN)], Clock(), passwords=CHEAP)
    assert authenticator.identify_slowly(field("alice", "secret"), PEER) is None
    assert authenticator.identify_slowly(field("alice", "listed"), PEER) == Principal("alice", (Grant(Role.ADMIN),))
    assert not Authenticator(None, [record("alice", "listed")], Clock()).is_open


def test_the_same_credentials_sent_many_times_at_once_are_hashed_once(bench: Bench):
    bench.passwords.gate.clear()
    with ThreadPoolExecutor(20) as threads:
        answers = [
            threads.submit(bench.authenticator.identify_slowly, field("alice", "secret"), PEER) for _ in range(20)
        ]
        assert bench.passwords.begun.acquire(timeout=30)
        bench.passwords.gate.set()
        assert {answer.result().name for answer in answers} == {"alice"}
    assert bench.passwords.checks == 1


def test_a_hundred_bad_logins_at_once_hash_two_at_a_time_and_most_are_refused_at_once(bench: Bench):
    bench.passwords.gate.clear()
    with ThreadPoolExecutor(100) as threads:
        answers = [
            threads.submit(bench.authenticator.identify_slowly, field(f"name{number}", "x"), f"203.0.113.{number}")
            for number in range(100)
        ]
        for _ in range(2):
            assert bench.passwords.begun.acquire(timeout=30)
        bench.passwords.gate.set()
        assert [answer.result() for answer in answers] == [None] * 100
    assert bench.passwords.most_at_once <= 2
    assert bench.passwords.checks <= 100


def test_a_burst_of_guesses_at_once_gets_no_more_tries_than_one_after_the_other(bench: Bench):
    bench.passwords.gate.clear()
    with ThreadPoolExecutor(40) as threads:
        answers = [
            threads.submit(bench.authenticator.identify_slowly, field("alice", f"guess {number}"), PEER)
            for number in range(40)
        ]
        for _ in range(2):
            assert bench.passwords.begun.acquire(timeout=30)
        bench.passwords.gate.set()
        assert [answer.result() for answer in answers] == [None] * 40
    assert bench.passwords.checks <= FREE_FAILURES


def test_a_password_changed_while_it_is_checked_does_not_stay_in_the_cache(bench: Bench):
    bench.passwords.gate.clear()
    with ThreadPoolExecutor(2) as threads:
        answer = threads.submit(bench.authenticator.identify_slowly, field("alice", "secret"), PEER)
        assert bench.passwords.begun.acquire(timeout=30)
        bench.file.set_password("alice", CHEAP.hash("new"))
        bench.pass_time(timedelta(seconds=1))
        assert bench.authenticator.identify_slowly(None, PEER) is None
        bench.passwords.gate.set()
        assert answer.result() is None
    assert bench.login("alice", "secret") is None


def test_a_failure_while_checking_leaves_nobody_waiting(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    def fail(_hash: str, _password: str) -> bool:
        raise MemoryError

    monkeypatch.setattr(bench.passwords, "matches", fail)
    with pytest.raises(MemoryError):
        bench.authenticator.identify_slowly(field("alice", "secret"), PEER)
    monkeypatch.undo()
    assert bench.login("alice", "secret") is not None


def test_a_failed_login_is_logged_without_the_password(bench: Bench, caplog: pytest.LogCaptureFixture):
    bench.login("alice", "s3cr3t-guess")
    assert "alice" in caplog.text
    assert PEER in caplog.text
    assert "s3cr3t-guess" not in caplog.text


class TestFollowing:
    """What goes on long after its request is told what its principal may do by then."""

    def test_other_grants_count_within_a_second_or_so(self, bench: Bench):
        principal = bench.login("bob", "hunter2")
        assert principal is not None
        current = bench.authenticator.follow(principal)
        assert current() == principal
        bench.file.set_grants("bob", [Grant(Role.WRITER)])
        bench.pass_time(timedelta(seconds=1))
        assert current() == Principal("bob", (Grant(Role.WRITER),))
        assert bench.passwords.checks == 1

    @pytest.mark.parametrize(
        "change", [lambda file: file.remove("bob"), lambda file: file.set_password("bob", CHEAP.hash("other"))]
    )
    def test_a_user_who_is_removed_or_has_another_password_is_nobody(self, bench: Bench, change):
        principal = bench.login("bob", "hunter2")
        assert principal is not None
        current = bench.authenticator.follow(principal)
        change(bench.file)
        bench.pass_time(timedelta(seconds=1))
        assert current() is None

    def test_a_user_of_the_same_name_is_another(self, bench: Bench):
        principal = bench.login("bob", "hunter2")
        assert principal is not None
        current = bench.authenticator.follow(principal)
        bench.file.remove("bob")
        bench.file.add(record("bob", "another", Role.ADMIN))
        bench.pass_time(timedelta(seconds=1))
        assert current() is None

    def test_a_file_that_cannot_be_read_changes_nothing(self, bench: Bench):
        principal = bench.login("bob", "hunter2")
        assert principal is not None
        current = bench.authenticator.follow(principal)
        bench.file.path.write_text("{")
        bench.pass_time(timedelta(seconds=1))
        assert current() == principal

    def test_without_users_everybody_stays_anonymous(self):
        authenticator = Authenticator(None, [], Clock())
        assert authenticator.follow(ANONYMOUS)() is ANONYMOUS
