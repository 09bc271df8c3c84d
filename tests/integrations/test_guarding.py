"""The guard: which requests are looked at, and what their paths stand for; and what happens when the locks cannot be asked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.integrations import Locks, RefusalError, Wanted
from holdfast.integrations.asgi import head_of as asgi_head
from holdfast.integrations.backends import resource_of
from holdfast.integrations.guarding import Guard, Head
from holdfast.integrations.wsgi import head_of as wsgi_head
from holdfast.wire.exchange import Headers


@pytest.fixture(name="locks")
def make_locks(tmp_path: Path) -> Iterator[Locks]:
    with Locks(tmp_path / "locks.db", address="/locks") as locks:
        locks.acquire(Wanted(resource=resource_of("/orders/42"), principal="ada"))
        yield locks


def status(guard: Guard, method: str, path: str, *fields: tuple[bytes, bytes], root: str = "") -> int | None:
    answer = guard.judge(Head(method, path, Headers([(b"host", b"shop.example"), *fields]), root=root), lambda: "bob")
    return None if answer is None else answer.status


def test_what_changes_a_locked_resource_is_refused_and_what_reads_it_is_not(locks: Locks) -> None:
    guard = Guard(locks)
    assert [status(guard, method, "/orders/42") for method in ("PUT", "POST", "PATCH", "DELETE", "BREW")] == [423] * 5
    assert [status(guard, method, "/orders/42") for method in ("GET", "HEAD", "OPTIONS")] == [None] * 3
    assert status(guard, "DELETE", "/orders") == 423
    assert status(guard, "PUT", "/orders/42/") == 423
    assert status(guard, "PUT", "/orders/43") is None


def test_a_copy_or_move_is_asked_about_where_it_goes_too(locks: Locks) -> None:
    for place in (b"/orders/42", b"http://shop.example/orders/42", b"http://other.example/orders/42"):
        assert status(Guard(locks), "COPY", "/orders/1", (b"destination", place)) == 423
    assert status(Guard(locks), "COPY", "/orders/1", (b"destination", b"http://other.example/orders/43")) is None
    below = (b"destination", b"http://shop.example/app/orders/42")
    assert status(Guard(locks), "MOVE", "/orders/1", below, root="/app") == 423


def test_only_what_is_guarded_is_looked_at(locks: Locks) -> None:
    guard = Guard(locks, under=["/invoices"], methods=["put"])
    assert status(guard, "PUT", "/orders/42") is None
    locks.acquire(Wanted(resource=resource_of("/invoices/1"), principal="ada"))
    assert status(guard, "PUT", "/invoices/1") == 423
    assert status(guard, "POST", "/invoices/1") is None
    assert status(guard, "PUT", "/invoices-archive/1") is None


def test_a_path_that_could_mean_two_things_is_400_where_it_is_guarded(locks: Locks) -> None:
    guard = Guard(locks, under=["/orders"])
    for path in (
        "/orders//42",
        "//orders/42",
        "/orders/./42",
        "/orders/x/../42",
        "/x/../orders/42",
        "/orders/a\x00b",
        "/orders/\\42",
    ):
        assert status(guard, "PUT", path) == 400, path
    assert status(guard, "PUT", "//other//x") is None


def test_the_routes_of_the_locks_are_not_guarded_themselves(locks: Locks) -> None:
    locks.acquire(Wanted(resource=resource_of("/locks"), principal="ada"))
    assert status(Guard(locks), "POST", "/locks") is None
    assert status(Guard(locks), "DELETE", "/locks/some-id") is None


def test_an_application_may_say_what_a_path_stands_for(locks: Locks) -> None:
    guard = Guard(locks, resource=lambda path: None if path == "/health" else path.removesuffix("/lines"))
    assert status(guard, "POST", "/orders/42/lines") == 423
    assert status(guard, "POST", "/health") is None


def test_fields_that_make_no_sense_are_400(locks: Locks) -> None:
    assert status(Guard(locks), "PUT", "/orders/42", (b"if", b"(")) == 400
    assert status(Guard(locks), "PUT", "/orders/42", (b"lock-token", b"no token")) == 400


def test_nobody_is_asked_who_he_is_for_what_is_not_guarded(locks: Locks) -> None:
    def who() -> str:
        raise AssertionError

    assert Guard(locks).judge(Head("GET", "/orders/42", Headers()), who) is None


def test_a_head_is_read_from_either_interface_in_the_same_words() -> None:
    asgi = asgi_head(
        {
            "type": "http",
            "method": "PUT",
            "path": "/app/caf\u00e9",
            "root_path": "/app",
            "headers": [(b"lock-token", b"<urn:x:y>"), (b"content-type", b"text/plain")],
            "scheme": "https",
        }
    )
    wsgi = wsgi_head(
        {
            "REQUEST_METHOD": "PUT",
            "SCRIPT_NAME": "/app",
            "PATH_INFO": "/caf\u00c3\u00a9",
            "HTTP_LOCK_TOKEN": "<urn:x:y>",
            "CONTENT_TYPE": "text/plain",
            "wsgi.url_scheme": "https",
        }
    )
    for head in (asgi, wsgi):
        assert (head.method, head.path, head.root, head.scheme) == ("PUT", "/caf\u00e9", "/app", "https")
        assert (head.field(b"lock-token"), head.field(b"content-type")) == ("<urn:x:y>", "text/plain")


def test_a_path_that_is_not_utf_8_is_refused(locks: Locks) -> None:
    head = wsgi_head({"REQUEST_METHOD": "PUT", "PATH_INFO": "/orders/\xff"})
    answer = Guard(locks).judge(head, lambda: "bob")
    assert answer is not None
    assert answer.status == 400


@pytest.mark.parametrize(
    "where", ["", "sqlite://", "sqlite:///:memory:", "locks.db", "ftp://host/", "postgresql://host/db"]
)
def test_a_place_that_is_none_is_named_at_once(where: str) -> None:
    with pytest.raises(ValueError, match="Locks needs a place"):
        Locks(where)


def test_while_its_server_does_not_answer_nothing_passes() -> None:
    with Locks("http://127.0.0.1:9", token="t") as locks:
        with pytest.raises(RefusalError) as caught:
            locks.require("/orders/42", "bob")
        assert (caught.value.status, dict(caught.value.headers)) == (503, {"Retry-After": "1"})
        answer = Guard(locks).judge(Head("PUT", "/orders/42", Headers()), lambda: "bob")
        assert answer is not None
        assert answer.status == 503


def test_whom_nobody_knows_has_nothing_by_name(tmp_path: Path) -> None:
    with Locks(tmp_path / "locks.db") as locks:
        lock = locks.acquire(Wanted(resource=resource_of("/a"), principal="anonymous"))
        for attempt in (
            lambda: locks.break_(lock.id, "anonymous", "mine"),
            lambda: locks.take_over(lock.id, "anonymous"),
            lambda: locks.acquire(Wanted(resource=resource_of("/a"), principal="anonymous", break_first="mine")),
        ):
            with pytest.raises(RefusalError, match="Nobody knows who you are"):
                attempt()
        with pytest.raises(RefusalError, match="name its lock"):
            locks.acquire(Wanted(resource=resource_of("/b"), principal="anonymous", lock_id="chosen"))
        locks.release(lock.id, lock.token, "anonymous")


_FORKED = """
import os, sys
from holdfast.integrations import LockedError, Locks, Wanted
from holdfast.integrations.backends import resource_of
locks = Locks(sys.argv[1])
mine = locks.acquire(Wanted(resource=resource_of("/a"), principal="parent"))
child = os.fork()
if not child:
    try:
        locks.acquire(Wanted(resource=resource_of("/a"), principal="child"))
    except LockedError as error:
        locks.acquire(Wanted(resource=resource_of("/b"), principal="child"))
        os._exit(7 if error.answer.locks[0].holder.name == "parent" else 1)
    os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert [lock.holder.name for lock in locks.find("/b")] == ["child"]
locks.release(mine.id, mine.token, "parent")
"""


@pytest.mark.process
def test_a_fork_after_the_first_use_goes_on_with_a_file_of_its_own(tmp_path: Path) -> None:
    where = f"sqlite:///{tmp_path}/locks.db"
    subprocess.run([sys.executable, "-c", _FORKED, where], check=True, timeout=60)
