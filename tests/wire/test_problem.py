"""Refusals other than 423, in the form that was asked for (RFC 9457, RFC 4918 section 16)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from holdfast.wire.davxml_write import Condition, condition_xml
from holdfast.wire.problem import Problem, encode_problem, render_refusal


@pytest.mark.parametrize(
    "status", [400, 401, 403, 404, 405, 409, 412, 413, 414, 415, 416, 422, 423, 424, 431, 500, 502, 503, 507]
)
@pytest.mark.parametrize("accept", [None, "application/json", "text/html"])
def test_each_refusal_has_a_body_a_title_and_safe_fields(status, accept):
    response = render_refusal(status, "", "Because <of> that.", accept=accept)
    headers = dict(response.headers)
    assert response.status == status
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Vary"] == "Accept"
    assert response.body
    assert b"<of>" not in response.body or accept == "application/json"


def test_the_xml_carries_the_condition_and_the_words():
    condition = condition_xml(Condition.PROPFIND_FINITE_DEPTH)
    response = render_refusal(403, "", "Ask for Depth: 1.", condition)
    root = etree.fromstring(response.body)
    assert [child.tag for child in root] == ["{DAV:}propfind-finite-depth", "{urn:holdfast:dav}problem"]
    assert [child.text for child in root[1]] == ["Forbidden", "Ask for Depth: 1."]


def test_the_json_is_a_problem():
    response = render_refusal(507, "Disk full", "The old version is intact.", None, "*/*", prefers_xml=False)
    assert dict(response.headers)["Content-Type"] == "application/problem+json"
    assert json.loads(response.body) == {"title": "Disk full", "status": 507, "detail": "The old version is intact."}


def test_members_that_say_nothing_are_left_out():
    """RFC 9457 section 4.2.1: no type means about:blank."""
    assert json.loads(encode_problem(Problem(title="x", status=400))) == {"title": "x", "status": 400}


@given(
    st.text(max_size=80), st.text(st.characters(exclude_categories=()), max_size=80), st.none() | st.text(max_size=40)
)
def test_any_words_become_a_body(title, detail, accept):
    """Lone surrogates come from names on disk that are not UTF-8."""
    for form in (accept, None, "text/html", "application/json"):
        assert render_refusal(400, title, detail, accept=form).body
