"""Faults happen on the wire as they are called, and the server goes on."""

from __future__ import annotations

import httpx
import pytest


def test_before_headers_nothing_comes(asked):
    seen = asked("/api/status/200?fault=before-headers")
    assert seen.final is None
    assert seen.was_reset


def test_after_headers_the_head_alone_comes(asked):
    seen = asked("/api/status/423?fault=after-headers")
    assert seen.head.status == 423
    assert seen.body == b""
    assert int(seen.head["Content-Length"]) > 100
    assert seen.was_reset


def test_mid_body_half_of_it_comes(asked):
    seen = asked("/api/status/423?fault=mid-body")
    assert 0 < len(seen.body) < int(seen.head["Content-Length"])
    assert seen.was_reset


def test_a_malformed_chunk_has_no_size(asked):
    seen = asked("/api/status/200?fault=malformed-chunk")
    assert seen.head["Transfer-Encoding"] == "chunked"
    assert b"malformed" in seen.body
    assert not seen.body.endswith(b"0\r\n\r\n")


def test_a_wrong_length_promises_more_than_comes(asked):
    seen = asked("/api/status/200?fault=wrong-length")
    assert len(seen.body) < int(seen.head["Content-Length"])
    assert not seen.was_reset


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("before-headers", httpx.ReadError),
        ("after-headers", httpx.ReadError),
        ("mid-body", httpx.ReadError),
        ("malformed-chunk", httpx.RemoteProtocolError),
        ("wrong-length", httpx.RemoteProtocolError),
    ],
)
def test_a_client_library_notices(open_server, fault, error):
    with httpx.Client(trust_env=False) as client, pytest.raises(error):
        client.put(f"{open_server.url}/api/status/423?fault={fault}&delay=10ms", content=b"x")


@pytest.mark.parametrize("code", [103, 204, 205, 206, 304, 408])
@pytest.mark.parametrize("fault", ["before-headers", "after-headers", "mid-body", "malformed-chunk", "wrong-length"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_fault_with_any_status_and_method_harms_nobody_else(asked, code, fault, method):
    seen = asked(f"/api/status/{code}?fault={fault}&dribble=10ms", method)
    assert seen.final is None or seen.head.status == max(code, 200)
    assert asked("/healthz").head.status == 200


def test_a_fault_of_a_body_that_is_none_is_missed_all_the_same(asked):
    seen = asked("/api/status/200?fault=mid-body&body=none")
    assert seen.was_reset
    assert seen.head["Content-Length"] == "1"
