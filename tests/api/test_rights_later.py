"""What becomes of those who wait or listen when the users file changes under them: each is looked at again in time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import argon2
import pytest

from holdfast.access.passwords import Passwords
from holdfast.access.tokens import make_token
from holdfast.access.users_file import UserRecord, UsersFile
from holdfast.core.access import Grant, Role
from holdfast.core.paths import ResourcePath
from tests.api.desk import Desk, Reply, new_resource
from tests.api.listening import listening
from tests.api.queueing import until
from tests.serving import Client, serving

CHEAP = Passwords(argon2.profiles.CHEAPEST)
A_LOOK = 1.1
"""Seconds after which the server looks at the users file again."""

_numbers = itertools.count(1)


@dataclass
class Office:
    """A server and its users file, in which alice and root stay as they are."""

    desk: Desk
    file: UsersFile
    threads: ThreadPoolExecutor

    def add(self, *grants: Grant) -> str:
        """A new user, whom the server knows when this returns."""
        name = f"user-{next(_numbers)}"
        self.file.add(UserRecord(name, CHEAP.hash(f"{name}-secret"), grants))
        self.desk.later(A_LOOK)
        return name

    def bearer(self, *grants: Grant, lasting: timedelta | None = None) -> tuple[str, Client]:
        """The name of a new token, and a client with it."""
        name = f"program-{next(_numbers)}"
        now = self.now
        text, record = make_token(name, grants, created_at=now, expires_at=None if lasting is None else now + lasting)
        self.file.add_token(record, now)
        self.desk.later(A_LOOK)
        return name, replace(self.desk.served.anonymous, authorization=f"Bearer {text}")

    @property
    def now(self) -> datetime:
        return self.desk.served.application.store.now()

    def park(self, client: Client, resource: str, body: str = "") -> Future[Reply]:
        """Ask for a lock that is not free; it waits when this returns."""
        line = self.desk.served.application.line
        before = len(line)
        text = f'{{"resource": "{resource}", "wait": 60{body}}}'.encode()
        fields = {"Content-Type": "application/json"}
        future = self.threads.submit(lambda: Reply(client.request("POST", "/api/locks", text, fields)))
        until(lambda: len(line) > before or future.done())
        assert not future.done(), future.result().answer.body
        return future

    def change(self, how: Callable[[UsersFile, str], object], name: str) -> None:
        """Change the file; a moment later it counts."""
        how(self.file, name)
        self.desk.later(A_LOOK)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    file = UsersFile(folder / "users.json")
    for name, role in (("alice", Role.WRITER), ("root", Role.ADMIN)):
        file.add(UserRecord(name, CHEAP.hash(f"{name}-secret"), (Grant(role),)))
    served_folder = folder / "served"
    served_folder.mkdir()
    with serving(served_folder, users=None, users_file=file.path) as served, ThreadPoolExecutor(4) as threads:
        yield Office(Desk(served), file, threads)
        assert served.application.line.is_empty


def remove(file: UsersFile, name: str) -> None:
    file.remove(name)


def make_reader(file: UsersFile, name: str) -> None:
    file.set_grants(name, [Grant(Role.READER)])


def change_password(file: UsersFile, name: str) -> None:
    file.set_password(name, CHEAP.hash("another"))


def rename_another(file: UsersFile, name: str) -> None:
    """A change that is none for this one."""
    file.add(UserRecord(f"{name}-other", CHEAP.hash("x"), ()))


def narrow(file: UsersFile, name: str) -> None:
    """A writer at each collection, but not at all that is in it."""
    below = [Grant(Role.READER, ResourcePath(f"/dav/collection-{number}/x")) for number in range(99)]
    file.set_grants(name, [Grant(Role.WRITER), *below])


LOSSES = [remove, make_reader, change_password]


class TestWaiting:
    @pytest.mark.parametrize("loss", LOSSES)
    def test_who_may_not_lock_any_more_is_refused_at_its_turn_and_the_next_has_it(
        self, office: Office, loss: Callable[[UsersFile, str], object]
    ) -> None:
        desk, resource = office.desk, new_resource()
        name = office.add(Grant(Role.WRITER))
        lock = desk.granted("alice", resource)
        first = office.park(desk.client(name), resource)
        second = office.park(desk.client("root"), resource)
        office.change(loss, name)
        assert desk.release("alice", lock).status == 204
        refused = first.result(20)
        assert refused.status == 403
        assert resource in refused.problem["detail"]
        assert second.result(20).status == 201
        kinds = [event["kind"] for event in desk.ask("root", "GET", f"/api/history?under={resource}")["events"]]
        assert kinds.count("left") == 1

    def test_it_is_noticed_without_any_other_request(self, office: Office) -> None:
        """The lock expires: nobody logs in meanwhile, upon which the file would be looked at."""
        desk, resource = office.desk, new_resource()
        name = office.add(Grant(Role.WRITER))
        desk.granted("alice", resource, ttl=30)
        future = office.park(desk.client(name), resource)
        office.change(remove, name)
        desk.later(30)
        assert future.result(20).status == 403

    def test_it_is_told_when_the_wait_is_over(self, office: Office) -> None:
        desk, resource = office.desk, new_resource()
        name = office.add(Grant(Role.WRITER))
        desk.granted("alice", resource)
        future = office.park(desk.client(name), resource)
        office.change(remove, name)
        desk.later(60)
        assert future.result(20).status == 403

    def test_a_change_for_others_is_none_for_it(self, office: Office) -> None:
        desk, resource = office.desk, new_resource()
        name = office.add(Grant(Role.WRITER))
        lock = desk.granted("alice", resource)
        future = office.park(desk.client(name), resource)
        office.change(rename_another, name)
        desk.release("alice", lock)
        assert future.result(20).status == 201

    def test_a_token_that_was_revoked_or_has_expired_gets_nothing(self, office: Office) -> None:
        desk = office.desk
        name, revoked = office.bearer(Grant(Role.WRITER))
        _, expiring = office.bearer(Grant(Role.WRITER), lasting=timedelta(seconds=20))
        _, standing = office.bearer(Grant(Role.WRITER))
        resources = [new_resource() for _ in range(3)]
        locks = [desk.granted("alice", resource) for resource in resources]
        futures = [
            office.park(client, resource)
            for client, resource in zip([revoked, expiring, standing], resources, strict=True)
        ]
        office.file.remove_token(name)
        # One of the same name is another token.
        _, record = make_token(name, (Grant(Role.WRITER),), created_at=office.now, expires_at=None)
        office.file.add_token(record, office.now)
        desk.later(20)
        for lock in locks:
            desk.release("alice", lock)
        assert [future.result(20).status for future in futures] == [403, 403, 201]

    def test_a_lock_without_end_takes_an_administrator_at_its_turn_too(self, office: Office) -> None:
        desk, resource = office.desk, new_resource()
        name = office.add(Grant(Role.ADMIN))
        lock = desk.granted("alice", resource)
        future = office.park(desk.client(name), resource, ', "ttl": null')
        office.change(lambda file, name: file.set_grants(name, [Grant(Role.WRITER)]), name)
        desk.release("alice", lock)
        assert future.result(20).status == 403

    @pytest.mark.parametrize("loss", [*LOSSES, narrow])
    def test_a_lock_over_webdav_is_refused_alike(
        self, office: Office, loss: Callable[[UsersFile, str], object]
    ) -> None:
        desk, client = office.desk, office.desk.client("alice")
        collection = f"/dav/collection-{next(_numbers)}"
        assert client.request("MKCOL", collection).status == 201
        name = office.add(Grant(Role.WRITER))
        token = client.locked(collection)
        line = desk.served.application.line
        future = office.threads.submit(desk.client(name).lock, collection, depth="infinity", prefer="wait=60")
        until(lambda: len(line) == 1 or future.done())
        office.change(loss, name)
        client.unlock(collection, token)
        answer = future.result(20)
        assert (answer.status, answer.headers["Lock-Token"]) == (403, None)


class TestListening:
    @pytest.mark.parametrize("loss", [remove, change_password])
    def test_a_stream_ends_once_its_principal_is_nobody(
        self, office: Office, loss: Callable[[UsersFile, str], object]
    ) -> None:
        name = office.add(Grant(Role.READER))
        with listening(office.desk.client(name)) as stream:
            office.change(loss, name)
            office.desk.later(15)
            assert list(stream) == []  # the end comes as it should, or this raises
        assert office.desk.ask(name, "GET", "/api/events").status == 401

    def test_a_stream_of_a_token_ends_once_it_is_revoked(self, office: Office) -> None:
        name, client = office.bearer(Grant(Role.READER))
        with listening(client) as stream:
            office.file.remove_token(name)
            office.desk.later(15)
            assert list(stream) == []

    def test_a_stream_goes_on_with_the_grants_of_the_moment(self, office: Office) -> None:
        """What is not to be seen any more is not told, and what is to be seen now is."""
        desk, hidden, open_ = office.desk, new_resource(), new_resource()
        name = office.add(Grant(Role.READER, ResourcePath(hidden)))
        with listening(desk.client(name)) as stream:
            desk.granted("alice", hidden)
            assert [entry["data"]["root"] for entry in stream.take(1)] == [hidden]
            office.change(lambda file, name: file.set_grants(name, [Grant(Role.READER, ResourcePath(open_))]), name)
            desk.later(15)
            assert stream.response.readline() == b":\n"
            desk.granted("alice", f"{hidden}/below")
            desk.granted("alice", f"{open_}/below")
            assert [entry["data"]["root"] for entry in stream.take(1)] == [f"{open_}/below"]
