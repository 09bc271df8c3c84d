"""The API and WebDAV hold the same locks: what one takes stops the other, and who loses a lock hears it on either."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree as ET

import pytest

from tests.api.desk import Desk

_numbers = itertools.count(1)


@pytest.fixture
def document(desk: Desk) -> str:
    """A document in the served folder."""
    path = f"/dav/document-{next(_numbers)}.txt"
    assert desk.client("alice").put(path).status == 201
    return path


def test_a_lock_of_webdav_stops_the_api_and_the_check(desk: Desk, document: str) -> None:
    token = desk.client("alice").locked(document)
    refused = desk.acquire("bob", document)
    assert refused.status == 423
    assert refused["locks"][0]["holder"]["name"] == "alice"
    assert desk.ask("bob", "POST", "/api/check", {"resource": document}).status == 423
    told = {"X-Forwarded-Method": "PUT", "X-Forwarded-Uri": document}
    assert desk.ask("bob", "GET", "/api/check", headers=told).status == 423
    assert desk.ask("alice", "POST", "/api/check", {"resource": document, "tokens": [token]}).status == 204


def test_a_lock_of_the_api_stops_webdav_and_its_token_opens_it(desk: Desk, document: str) -> None:
    lock = desk.granted("alice", document, reason="report")
    bob = desk.client("bob")
    answers = [bob.put(document), bob.lock(document), bob.request("DELETE", document)]
    assert [answer.status for answer in answers] == [423] * 3
    assert b"report" in answers[0].body
    assert desk.client("alice").put(document).status == 423
    assert desk.client("alice").put(document, if_=f"(<{lock['token']}>)").status == 204


def test_a_lock_of_the_api_stops_the_check_however_it_is_asked(desk: Desk, document: str) -> None:
    lock = desk.granted("alice", document)
    told = {"X-Forwarded-Method": "PUT", "X-Forwarded-Uri": document}
    for name in ("alice", "bob"):
        assert desk.ask(name, "POST", "/api/check", {"resource": document}).status == 423
        assert desk.ask(name, "GET", "/api/check", headers=told).status == 423
    opened = told | {"If": f"(<{lock['token']}>)"}
    assert desk.ask("alice", "GET", "/api/check", headers=opened).status == 204
    assert desk.ask("bob", "GET", "/api/check", headers=opened).status == 423
    assert desk.release("alice", lock).status == 204
    assert desk.ask("bob", "GET", "/api/check", headers=told).status == 204


def test_a_collection_locked_over_webdav_stops_the_api_at_all_in_it(desk: Desk) -> None:
    folder = f"/dav/folder-{next(_numbers)}"
    alice = desk.client("alice")
    assert alice.request("MKCOL", folder).status == 201
    token = alice.locked(folder, depth="infinity")
    for resource in (folder, f"{folder}/a/b"):
        assert desk.acquire("bob", resource).status == 423
        assert desk.ask("bob", "POST", "/api/check", {"resource": resource}).status == 423
    assert alice.unlock(folder, token).status == 204
    for resource in (folder, f"{folder}/a/b"):
        assert desk.acquire("bob", resource).status == 201


def test_a_tree_locked_by_the_api_stops_webdav_at_all_in_it(desk: Desk) -> None:
    """Making, changing, locking, moving away and removing: nothing passes, and each 423 or 207 names the lock's root."""
    folder = f"/dav/folder-{next(_numbers)}"
    bob = desk.client("bob")
    assert bob.request("MKCOL", folder).status == 201
    assert bob.put(f"{folder}/a.txt").status == 201
    lock = desk.granted("alice", folder, depth="infinity")
    for answer in (
        bob.put(f"{folder}/a.txt"),
        bob.put(f"{folder}/new.txt"),
        bob.lock(f"{folder}/a.txt"),
        bob.request("MKCOL", f"{folder}/in"),
        bob.request("MOVE", f"{folder}/a.txt", destination=f"{folder}.txt"),
        bob.request("DELETE", folder),
    ):
        assert answer.status == 423
        assert folder in [href.rstrip("/") for href in answer.hrefs()]
    assert desk.release("alice", lock).status == 204
    assert bob.request("DELETE", folder).status == 204


def test_shared_locks_of_both_stand_together_and_stop_an_exclusive_one_of_either(desk: Desk, document: str) -> None:
    desk.client("alice").locked(document, "shared")
    lock = desk.granted("bob", document, scope="shared")
    assert desk.acquire("root", document).status == 423
    assert desk.client("root").lock(document).status == 423
    assert desk.client("rita").propfind(document, "lockdiscovery").body.count(b"<D:shared/>") == 2
    assert desk.client("bob").put(document).status == 423
    assert desk.client("bob").put(document, if_=f"(<{lock['token']}>)").status == 204


def test_the_link_of_each_423_leads_to_the_lock(desk: Desk, document: str) -> None:
    desk.client("alice").locked(document)
    link = desk.client("bob").put(document)["Link"]
    url = link.partition("<")[2].partition(">")[0]
    assert url.startswith("/api/locks/")
    shown = desk.ask("bob", "GET", url)
    assert (shown.status, shown["face"], shown["root"]) == (200, "webdav", document)
    [found] = desk.ask("bob", "GET", f"/api/locks?resource={document}")["locks"]
    assert found == shown.json


def test_a_lock_of_one_is_refreshed_and_released_by_the_other(desk: Desk, document: str) -> None:
    lock = desk.granted("alice", document, ttl=60)
    alice = desk.client("alice")
    assert alice.request("LOCK", document, timeout="Second-300", if_=f"(<{lock['token']}>)").status == 200
    assert desk.describe("alice", lock)["expires_in"] == 300
    assert alice.unlock(document, lock["token"]).status == 204
    token = alice.locked(document)
    [found] = desk.ask("alice", "GET", f"/api/locks?resource={document}")["locks"]
    assert desk.release("alice", {"id": found["id"], "token": token}).status == 204
    assert desk.client("bob").put(document).status == 204


def test_another_spelling_is_the_same_resource(desk: Desk, document: str) -> None:
    desk.granted("alice", document.replace("document", "%64ocument") + "/")
    assert desk.client("bob").put(document).status == 423


def test_a_closed_tree_stops_everything_below_until_it_is_opened(desk: Desk, document: str, resource: str) -> None:
    root, bob = desk.client("root"), desk.client("bob")
    closing = {"depth": "infinity", "ttl": None, "reason": "upgrade", "break": {"reason": "upgrade"}}
    lock = desk.granted("root", "/", **closing)
    try:
        for answer in (bob.put(document), bob.put(document + ".new"), bob.lock(document), root.put(document)):
            assert answer.status == 423
            assert b"upgrade" in answer.body
        assert desk.acquire("bob", resource).status == 423
        assert desk.ask("bob", "POST", "/api/check", {"resource": resource}).status == 423
        assert bob.get(document).status == 200
        assert root.put(document, if_=f"</> (<{lock['token']}>)").status == 204
        assert root.request("LOCK", document, if_=f"</> (<{lock['token']}>)").status == 200
        assert desk.describe("root", lock)["expires_at"] is None
    finally:
        assert desk.release("root", lock).status == 204
    assert bob.put(document).status == 204


class TestBroken:
    """The former holder's next refresh, write or release says who broke the lock, when and why."""

    @pytest.fixture
    def lost(self, desk: Desk, document: str) -> str:
        """The token of alice's lock, which is broken."""
        token = desk.client("alice").locked(document)
        [found] = desk.ask("alice", "GET", f"/api/locks?resource={document}")["locks"]
        assert desk.break_("root", found, "left open over night").status == 200
        return token

    def heard(self, body: bytes) -> bool:
        text = " ".join(ET.fromstring(body).itertext())
        return "Your lock was broken by root at " in text and "left open over night" in text

    def test_on_refresh(self, desk: Desk, document: str, lost: str) -> None:
        answer = desk.client("alice").request("LOCK", document, if_=f"(<{lost}>)")
        assert answer.status == 412
        assert self.heard(answer.body)

    def test_on_write(self, desk: Desk, document: str, lost: str) -> None:
        answer = desk.client("alice").put(document, if_=f"(<{lost}>)")
        assert answer.status == 412
        assert self.heard(answer.body)

    def test_on_write_where_somebody_else_has_it_now(self, desk: Desk, document: str, lost: str) -> None:
        desk.client("bob").locked(document)
        for held_out in ({"lock_token": f"<{lost}>"}, {"if_": f"(<{lost}>) (Not <DAV:no-lock>)"}):
            answer = desk.client("alice").put(document, **held_out)
            assert answer.status == 423
            assert self.heard(answer.body)

    @pytest.mark.parametrize("method", ["DELETE", "MOVE", "COPY"])
    def test_on_changing_a_tree_in_which_others_hold_locks(self, desk: Desk, method: str) -> None:
        """207 (RFC 4918 sections 9.6.1, 9.9.2, 9.8.5): it is told where the 423 of each member is."""
        alice, bob = desk.client("alice"), desk.client("bob")
        tree, source = f"/dav/tree-{next(_numbers)}", f"/dav/source-{next(_numbers)}"
        for path in (tree, source):
            assert alice.request("MKCOL", path).status == 201
        for name in ("a", "b"):
            assert alice.put(f"{tree}/{name}").status == 201
        lost = alice.locked(tree)
        [found] = desk.ask("alice", "GET", f"/api/locks?resource={tree}")["locks"]
        assert desk.break_("root", found, "left open over night").status == 200
        for name in ("a", "b"):
            bob.locked(f"{tree}/{name}")
        at = source if method == "COPY" else tree
        fields = {"destination": tree if method == "COPY" else f"{tree}-moved"} if method != "DELETE" else {}
        for held_out in ({"Lock-Token": f"<{lost}>"}, {}):
            answer = alice.request(method, at, headers={**fields, **held_out})
            locked = [item for item in answer.xml if " 423 " in (item.findtext("{DAV:}status") or "")]
            assert (answer.status, len(locked)) == (207, 2)
            assert [self.heard(ET.tostring(item)) for item in locked] == [bool(held_out)] * 2

    def test_on_release(self, desk: Desk, document: str, lost: str) -> None:
        answer = desk.client("alice").unlock(document, lost)
        assert answer.status == 409
        assert self.heard(answer.body)

    def test_nobody_else_hears_it(self, desk: Desk, document: str, lost: str) -> None:
        desk.client("alice").locked(document)
        assert not self.heard(desk.client("bob").put(document).body)

    def test_a_break_after_a_grace_ends_a_lock_of_webdav_however_it_is_refreshed(
        self, desk: Desk, document: str
    ) -> None:
        alice = desk.client("alice")
        token = alice.locked(document, timeout="Second-600")
        [found] = desk.ask("alice", "GET", f"/api/locks?resource={document}")["locks"]
        assert desk.break_("root", found, "left open over night", after=60).status == 202
        assert b"Second-60<" in alice.request("LOCK", document, timeout="Second-600", if_=f"(<{token}>)").body
        desk.later(61)
        answer = alice.put(document, if_=f"(<{token}>)")
        assert answer.status == 412
        assert self.heard(answer.body)
        desk.served.application.service.sweep()
        assert desk.describe("alice", found).problem["ended"]["how"] == "broken"
