"""A role holds at and below its path; the longest path decides."""

from __future__ import annotations

import pytest

from holdfast.core.access import ANONYMOUS, Grant, Principal, Role
from holdfast.core.paths import ROOT
from tests.core.sample import path

ANN = Principal(
    "ann", (Grant(Role.READER), Grant(Role.WRITER, path("/dav/team")), Grant(Role.NONE, path("/dav/team/secret")))
)


@pytest.mark.parametrize(
    ("resource", "role"),
    [
        ("/", Role.READER),
        ("/dav", Role.READER),
        ("/dav/team", Role.WRITER),
        ("/dav/team/a/b", Role.WRITER),
        ("/dav/teams", Role.READER),
        ("/dav/team/secret", Role.NONE),
        ("/dav/team/secret/plan", Role.NONE),
        ("/dav/team/secrets", Role.WRITER),
    ],
)
def test_the_longest_grant_decides_by_whole_segments(resource: str, role: Role):
    assert ANN.role_at(path(resource)) is role


def test_the_order_of_grants_does_not_matter():
    turned = Principal("ann", tuple(reversed(ANN.grants)))
    for resource in ("/", "/dav/team", "/dav/team/secret/x"):
        assert turned.role_at(path(resource)) is ANN.role_at(path(resource))


def test_without_a_grant_there_is_no_role():
    assert Principal("bob", ()).role_at(ROOT) is Role.NONE
    assert Principal("bob", (Grant(Role.ADMIN, path("/a")),)).role_at(path("/b")) is Role.NONE


def test_each_role_may_do_all_that_the_one_before_may():
    assert Role.NONE < Role.READER < Role.WRITER < Role.ADMIN


def test_a_server_without_users_has_one_principal_who_may_do_all():
    assert ANONYMOUS.role_at(path("/any/thing")) is Role.ADMIN
