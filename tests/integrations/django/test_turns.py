"""A change in Django's own database, and who asks for a lock meanwhile: nobody gets one on what is being changed, whatever token came with it."""

from __future__ import annotations

import select

import pytest

from tests.integrations.django.test_line import Application, Process, application

__all__ = ["application"]

pytestmark = pytest.mark.process
MADE_UP = "urn:uuid:00000000-0000-4000-8000-000000000000"


def is_waiting(process: Process) -> bool:
    assert process.popen.stdout is not None
    return not select.select([process.popen.stdout], [], [], 0.3)[0]


@pytest.fixture(name="people")
def make_people(application: Application) -> tuple[Process, Process, Process]:
    application.worker = "tests.integrations.django.changing_worker"
    ada, bob, cyd = (application.process(name) for name in ("ada", "bob", "cyd"))
    assert ada.ask("migrate") == "migrated"
    return ada, bob, cyd


def test_nobody_is_granted_a_lock_on_what_is_being_changed(application: Application, people: tuple):
    """Without a token, with one that is made up, one of another resource, one that has expired, one that covers a part of the change."""
    ada, bob, _ = people
    _, _, elsewhere = ada.ask("acquire /elsewhere 60 0")
    _, _, above = ada.ask("acquire /tree 60 0")
    _, _, expired = ada.ask("acquire /gone 60 0")
    changes = [
        ("content /a", "", "/a"),
        ("content /b", MADE_UP, "/b"),
        ("content /c", elsewhere, "/c"),
        ("tree /tree", above, "/tree/d"),
    ]
    for change, token, wanted in changes:
        assert ada.ask(f"change {change} {token}") == "changing"
        bob.tell(f"acquire {wanted} 60 0")
        assert is_waiting(bob), change
        assert ada.ask("commit") == "committed"
        assert len(bob.heard()) == 3
    for one in (ada, bob):
        assert one.ask("later 3600") == "later"
    assert ada.ask(f"change content /gone {expired}") == "changing"
    bob.tell("acquire /gone 60 0")
    assert is_waiting(bob)
    assert ada.ask("commit") == "committed"
    assert len(bob.heard()) == 3


def test_the_holders_change_keeps_its_lock_until_the_commit_and_nobody_else_waiting(
    application: Application, people: tuple
):
    """Also where its time runs out meanwhile, or a break with a grace comes due."""
    ada, bob, cyd = people
    is_sqlite = "sqlite" in application.database
    for resource, depth, ending in (("/a", "0", "expiry"), ("/b", "infinity", "break"), ("/c", "0", "forced")):
        _, lock_id, token = ada.ask(f"acquire {resource} 600 {depth}")
        if ending == "break":
            assert cyd.ask(f"break {lock_id} 60") == "broken"
        assert ada.ask(f"change content {resource} {token}") == "changing"
        if not is_sqlite:
            assert "ada has locked" in bob.ask(f"acquire {resource} 60 0")[0]
        if ending != "forced":
            assert bob.ask("later 3600") == "later"
        bob.tell(f"acquire {resource} 7200 0" + (" by force" if ending == "forced" else ""))
        assert is_waiting(bob)
        if not is_sqlite:
            assert len(cyd.ask(f"acquire {resource}x 60 0")) == 3
            assert is_waiting(bob)
        assert ada.ask("commit") == "committed"
        assert len(bob.heard()) == 3
        if ending != "forced":
            assert ada.ask("later 3600") == "later"
        assert ada.ask(f"change content {resource} {token}") == "refused"
        assert ada.ask("commit") == "committed"
        for one in (ada, bob):
            assert one.ask("later 0") == "later"
