"""Locks in Django's own database keep what every backend promises."""

from __future__ import annotations

import json

import pytest

from holdfast.integrations.backends import Wanted, resource_of
from tests.integrations.conftest import Kept
from tests.integrations.test_backends import *  # noqa: F403 - the one suite, over this backend


def test_the_setting_is_checked_before_a_request_meets_it(django_database: None) -> None:
    from django.core.checks import run_checks
    from django.test import override_settings

    from holdfast.integrations.django import edit_locks

    wrong = ({"LOCK": "database"}, {"EDIT_TTL": 5}, {"EDIT_TTL": 60, "EDIT_HEARTBEAT": 40})
    for setting in wrong:
        with override_settings(HOLDFAST=setting):
            assert [error.id for error in run_checks()] == ["holdfast.E001"], setting
    with override_settings(HOLDFAST={"EDIT_TTL": 60}):
        assert run_checks() == []
        assert edit_locks().ttl == 60
    assert edit_locks().ttl == 300


def test_one_setting_leads_to_another_place(django_database: None, tmp_path) -> None:
    from django.test import override_settings

    from holdfast.integrations.django import locks

    with override_settings(HOLDFAST={"LOCKS": f"sqlite:///{tmp_path}/locks.db"}):
        lock = locks().acquire(Wanted(resource=resource_of("/elsewhere/1"), principal="alice", ttl=60))
        assert [one.id for one in locks().find("/elsewhere/1")] == [lock.id]
        assert (tmp_path / "locks.db").exists()
    assert locks().find("/elsewhere/1") == []


def test_paths_that_differ_in_case_are_two(kept: Kept) -> None:
    kept.locks.acquire(Wanted(resource=resource_of("/Orders/A"), principal="alice"))
    kept.locks.acquire(Wanted(resource=resource_of("/orders/a"), principal="bob"))


def test_fencing_tokens_rise_also_when_the_table_was_emptied(kept: Kept) -> None:
    from holdfast.integrations.django.models import LockCounter

    wanted = Wanted(resource=resource_of("/orders/1"), principal="alice")
    first = kept.locks.acquire(wanted)
    LockCounter.objects.all().delete()
    second = kept.locks.acquire(Wanted(resource=resource_of("/orders/2"), principal="alice"))
    assert second.fencing_token > first.fencing_token


@pytest.mark.parametrize("key", ["42", "a b", "a/b", "%2F", ".", "..", "\\", "ä", "a\x00b"])
def test_every_key_of_an_object_has_a_path_of_its_own(django_database: None, key: str) -> None:
    from holdfast.integrations.django import lock_resource
    from holdfast.integrations.django.models import Lock

    path = resource_of(lock_resource(Lock(id=key)))
    assert path.segments[:2] == ("holdfast", "lock")
    assert len(path.segments) == 3
    assert path != resource_of(lock_resource(Lock(id=json.dumps(key))))
