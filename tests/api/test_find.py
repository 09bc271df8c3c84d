"""Finding and describing locks: filters, pages, and who sees what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.core.access import Grant, Role
from holdfast.core.paths import ResourcePath
from tests.api.desk import Desk
from tests.serving import serving


def found(desk: Desk, query: str, who: str = "alice") -> list[str]:
    """The roots of the locks of all pages."""
    locks: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = desk.ask(who, "GET", f"/api/locks?{query}{cursor}").json
        locks.extend(page["locks"])
        assert all("token" not in lock for lock in page["locks"])
        if page["next"] is None:
            return [lock["root"] for lock in locks]
        cursor = f"&cursor={page['next']}"


@pytest.fixture
def tree(desk: Desk, resource: str) -> str:
    """Locks on r (in depth, shared), r/a, r/a/b, r/a%20c, and r-beside."""
    desk.granted("alice", resource, scope="shared", depth="infinity", reason="The Big Move")
    desk.granted("bob", f"{resource}/a", scope="shared", reason="small things")
    desk.granted("bob", f"{resource}/a/b", scope="shared")
    desk.granted("alice", f"{resource}/a%20c", scope="shared")
    desk.granted("alice", f"{resource}-beside")
    return resource


def test_filters(desk: Desk, tree: str) -> None:
    assert found(desk, f"resource={tree}") == [tree]
    assert found(desk, f"resource={tree}/") == [tree]
    assert found(desk, f"resource={tree}/none") == []
    assert found(desk, f"covering={tree}/a") == [tree, f"{tree}/a"]
    assert found(desk, f"covering={tree}/a/x") == [tree]
    assert found(desk, f"under={tree}") == [tree, f"{tree}/a", f"{tree}/a%20c", f"{tree}/a/b"]
    assert found(desk, f"under={tree}/a") == [f"{tree}/a", f"{tree}/a/b"]
    assert found(desk, f"under={tree}&principal=bob") == [f"{tree}/a", f"{tree}/a/b"]
    assert found(desk, f"under={tree}&scope=exclusive") == []
    assert found(desk, f"under={tree}&reason=big%20m") == [tree]
    assert found(desk, f"covering={tree}/a&principal=bob&under={tree}/a") == [f"{tree}/a"]
    assert f"{tree}-beside" in found(desk, "scope=exclusive")


@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_bring_every_lock_once_in_order(desk: Desk, tree: str, size: int) -> None:
    assert found(desk, f"under={tree}&limit={size}") == found(desk, f"under={tree}")
    assert found(desk, f"covering={tree}/a&limit={size}") == [tree, f"{tree}/a"]
    assert found(desk, f"under={tree}&principal=bob&limit={size}") == [f"{tree}/a", f"{tree}/a/b"]


def test_a_page_goes_on_though_the_lock_that_it_ended_with_is_gone(desk: Desk, tree: str) -> None:
    page = desk.ask("alice", "GET", f"/api/locks?under={tree}&limit=2").json
    last = page["locks"][-1]
    assert desk.break_("root", last).status == 200
    rest = desk.ask("alice", "GET", f"/api/locks?under={tree}&limit=2&cursor={page['next']}").json
    assert [lock["root"] for lock in rest["locks"]] == [f"{tree}/a%20c", f"{tree}/a/b"]


def test_expired_locks_are_not_found(desk: Desk, resource: str) -> None:
    desk.granted("alice", resource, ttl=10)
    desk.later(11)
    assert found(desk, f"resource={resource}") == []
    assert found(desk, f"under={resource}") == []


@pytest.mark.parametrize("cursor", ["x", "!", "W10", "e30", "a" * 12_288, ""])
def test_a_cursor_of_no_page_is_400(desk: Desk, cursor: str) -> None:
    assert desk.ask("alice", "GET", f"/api/locks?cursor={cursor}").status == 400


def test_a_description_shows_all_but_the_tokens(desk: Desk, resource: str) -> None:
    lock = desk.granted("alice", resource, reason="why")
    shown = desk.describe("rita", lock).json
    left = shown.pop("expires_in")  # whole seconds, which may pass between two answers
    assert lock["expires_in"] - 5 <= left <= lock["expires_in"]
    secret = {"token", "fencing_token", "ttl"}
    assert shown == {name: value for name, value in lock.items() if name not in {*secret, "expires_in"}}
    assert {name: value for name, value in desk.describe("alice", lock).json.items() if name != "expires_in"} == shown
    assert desk.ask("alice", "GET", "/api/locks/none").status == 404
    assert desk.ask("alice", "HEAD", lock["url"]).answer.body == b""


def test_one_sees_ones_own_locks_and_what_protects_what_one_may_read(tmp_path: Path) -> None:
    team = (Grant(Role.WRITER, ResourcePath("/team")),)
    with serving(tmp_path, users={"alice": Role.WRITER, "tom": team}) as served:
        desk = Desk(served)
        own = desk.granted("tom", "/team/seen", scope="shared")
        alone = desk.granted("alice", "/private", scope="shared")
        above = desk.granted("alice", "/", depth="infinity", scope="shared")
        assert [desk.describe("tom", lock).status for lock in (own, above, alone)] == [200, 200, 404]
        assert found(desk, "", "tom") == ["/", "/team/seen"]
        desk.release("alice", alone)
        assert [desk.describe(who, alone).status for who in ("tom", "alice")] == [404, 410]
        assert desk.break_("tom", alone).status == 404
        events = desk.ask("tom", "GET", "/api/history")["events"]
        assert [event["root"] for event in events] == ["/team/seen", "/"]


def test_without_users_everybody_sees_and_locks(tmp_path: Path) -> None:
    with serving(tmp_path, users=None) as served:
        desk = Desk(served)
        lock = desk.granted("nobody", "/orders/1")
        assert desk.describe("nobody", lock)["holder"]["name"] == "anonymous"
        assert desk.acquire("nobody", "/orders/1").status == 423


def test_a_cap_on_locks_is_507(tmp_path: Path) -> None:
    with serving(tmp_path, max_locks_per_principal=2) as served:
        desk = Desk(served)
        for number in range(2):
            desk.granted("alice", f"/capped/{number}")
        assert desk.acquire("alice", "/capped/2").status == 507
        desk.granted("bob", "/capped/2")


def test_a_long_way_through_locks_that_one_may_not_see_still_ends(tmp_path: Path) -> None:
    """A page may be short, but its cursor leads on."""
    team = (Grant(Role.WRITER, ResourcePath("/z")),)
    with serving(tmp_path, users={"alice": Role.WRITER, "tom": team}) as served:
        desk = Desk(served)
        for number in range(30):
            desk.granted("alice", f"/a/{number}")
        desk.granted("tom", "/z/1")
        assert found(desk, "limit=5", "tom") == ["/z/1"]
