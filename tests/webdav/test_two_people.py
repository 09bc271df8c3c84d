"""The main promise: two people edit one folder, and neither can overwrite the other by accident."""

from __future__ import annotations

from tests.serving import Client, Served


def test_whoever_holds_the_lock_writes_and_the_other_is_told_who(alice: Client, bob: Client) -> None:
    assert alice.put("/dav/plan.odt", b"one").status == 201
    token = alice.locked("/dav/plan.odt")
    refusal = bob.put("/dav/plan.odt", b"two")
    assert refusal.status == 423
    assert b"alice" in refusal.body
    assert token.encode() not in refusal.body
    assert alice.put("/dav/plan.odt", b"three", if_=f"(<{token}>)").status == 204
    assert bob.get("/dav/plan.odt").body == b"three"
    assert alice.unlock("/dav/plan.odt", token).status == 204
    assert bob.put("/dav/plan.odt", b"four").status == 204


def test_a_lock_ends_when_its_time_is_over_and_not_before(served: Served, alice: Client, bob: Client) -> None:
    alice.locked("/dav/plan.odt", timeout="Second-60")
    served.uptime.advance(59)
    assert bob.put("/dav/plan.odt").status == 423
    served.uptime.advance(2)
    assert bob.put("/dav/plan.odt").status == 204
