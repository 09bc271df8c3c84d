"""A web page whose own name leads to this machine cannot use a server that has no passwords (DNS rebinding)."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.access.hosts import OwnHosts
from tests.serving import serving


@pytest.mark.parametrize("target", ["/", "/dav/", "/api/locks", "/healthz", "/no-such-address"])
def test_a_server_without_users_does_not_answer_to_a_name_of_somebody_else(tmp_path: Path, target: str):
    with serving(tmp_path, users=None) as served:
        answer = served.anonymous.request("GET", target, host="evil.example.org")
        assert answer.status == 421
        assert b"--host-name" in answer.body


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:4230", "127.0.0.1:1", "[::1]:4230", "app.localhost", "192.0.2.7"]
)
def test_it_answers_to_localhost_and_to_addresses(tmp_path: Path, host: str):
    with serving(tmp_path, users=None) as served:
        assert served.anonymous.request("PROPFIND", "/dav/", depth="0", host=host).status == 207


def test_it_answers_to_the_names_that_it_was_given(tmp_path: Path):
    with serving(tmp_path, users=None, host_names=("files.example.org",)) as served:
        assert served.anonymous.request("GET", "/dav/", host="Files.example.org").status == 200
        assert served.anonymous.request("GET", "/dav/", host="other.example.org").status == 421


def test_where_people_log_in_any_name_is_answered(tmp_path: Path):
    with serving(tmp_path) as served:
        assert served.as_("alice").request("GET", "/dav/", host="files.example.org").status == 200


@pytest.mark.parametrize(
    "host", ["localhost.evil.example.org", "127.0.0.1.evil.example.org", "[evil]", "", "evillocalhost"]
)
def test_a_name_that_only_looks_like_one_of_its_own_is_not(host: str):
    assert not OwnHosts()(host.encode())
