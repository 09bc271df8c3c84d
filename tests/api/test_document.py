"""The OpenAPI document and the page of the API say what the API does."""

from __future__ import annotations

import itertools
import json
import re
from base64 import urlsafe_b64encode
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from holdfast.config import DEFAULT_PORT
from holdfast.faces.api.openapi import describe, statuses_of
from holdfast.faces.api.routes import ROUTES
from tests.api.desk import Desk
from tests.docs.conftest import ROOT
from tests.serving import serving

DOCUMENT = describe()

SEGMENT = st.text(st.characters(exclude_categories=["C"], exclude_characters="/\\"), min_size=1, max_size=9)
PATHS = st.lists(SEGMENT.filter(lambda text: text not in {".", ".."}), max_size=4).map(
    lambda names: "/" + "/".join(quote(name, safe="") for name in names)
)
TOKENS = st.uuids().map(lambda uuid: f"urn:uuid:{uuid}")
FORMS: dict[str, st.SearchStrategy[str]] = {
    "resource-path": PATHS,
    "page-cursor": PATHS.map(lambda path: urlsafe_b64encode(json.dumps([path, "x"]).encode()).decode().rstrip("=")),
    "lock-token": TOKENS.map(lambda token: f"<{token}>"),
    "if": TOKENS.map(lambda token: f"(Not <{token}>)"),
    "idempotency-key": st.just('"key"'),
    "event-id": st.integers(0, 2**63 - 1).map(str),
    "method": st.sampled_from(["GET", "PUT", "POST", "DELETE", "MOVE", "COPY", "MKCOL", "PROPFIND"]),
}
"""What the document cannot say of a text but by the name of its syntax."""

KEYS = itertools.count()

for name, strategy in FORMS.items():
    schemathesis.openapi.format(name, strategy)

ACCEPTED = ["2xx", "401", "403", "404", "409", "410", "412", "423"]
"""Answers to a request that fits the document: it may still be about a lock that is held, or has ended."""
REFUSED = ["400", "401", "403", "404", "405", "409", "413", "415", "422", "429", "431"]
CHECKS = {
    "positive_data_acceptance": {"expected-statuses": ACCEPTED},
    "negative_data_rejection": {"expected-statuses": REFUSED},
}
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT, config=schemathesis.Config.from_dict({"checks": CHECKS}))


def test_it_is_valid_and_served_to_everybody(desk: Desk) -> None:
    reply = desk.ask("nobody", "GET", "/openapi.json")
    validate(reply.json)
    assert reply.json == DOCUMENT
    assert reply["openapi"].startswith("3.1")


def test_every_route_has_a_name_of_its_own_and_is_in_the_pages() -> None:
    names = [route.name for route in ROUTES]
    assert len(names) == len(set(names))
    page = (ROOT / "docs" / "api.md").read_text()
    assert [route for route in ROUTES if f"`{route.method} {route.path}`" not in page] == []


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_status_of_a_route_has_its_meaning_and_its_body(route: Any) -> None:
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    assert set(operation["responses"]) == {str(status) for status in statuses_of(route)}
    for status, answer in operation["responses"].items():
        assert answer["description"]
        assert ("content" in answer) == (status != "204")


class _Page(HTMLParser):
    """What a page loads, and what it has."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.links.extend(value for name, value in attrs if name in {"href", "src"} and value)
        self.ids.add(values.get("id") or "")


def test_the_page_works_without_the_internet_and_runs_nothing(desk: Desk) -> None:
    answer = desk.client("nobody").get("/docs")
    page = _Page()
    page.feed(answer.body.decode())
    assert answer.status == 200
    assert answer["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "script" not in page.tags
    assert all(link.startswith(("/", "#", "data:")) for link in page.links)
    assert {f"#{route.name}" for route in ROUTES} <= set(page.links)
    assert {route.name for route in ROUTES} <= page.ids
    assert re.search(rf":{DEFAULT_PORT}/api/locks", answer.body.decode())


@pytest.fixture(scope="module")
def open_url(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server without users, which takes every well-formed request; its streams and its line end soon."""
    with serving(tmp_path_factory.mktemp("fuzzed"), users=None, max_stream_s=0.05, max_wait_s=1) as served:
        yield served.url


def test_a_gateways_403_may_be_the_423_in_any_of_its_forms() -> None:
    said = DOCUMENT["paths"]["/api/check"]["get"]["responses"]
    assert set(said["403"]["content"]) == set(said["423"]["content"])
    assert "application/xml" in said["403"]["content"]


@SCHEMA.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_finds_the_document_wrong(case: Any, open_url: str) -> None:
    """Schemathesis makes requests from the document, good and bad, and checks each answer against it."""
    if "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = f'"{next(KEYS)}"'  # one that is used again is refused, as it must be
    case.call_and_validate(base_url=open_url, excluded_checks=_beyond_the_document(case))


def _beyond_the_document(case: Any) -> list[Any]:
    """The checks that do not fit a request, where OpenAPI cannot say what the API's pages say."""
    if (case.query or {}).get("refuse") == "always":
        # A gateway asks so only once it was refused; where nothing is in the way any more, 503 says "again", by intent.
        return [not_a_server_error, positive_data_acceptance]
    has_body = isinstance(case.body, dict) and bool(
        case.body
    )  # neither where there is none, which schemathesis marks by a value
    if case.method == "DELETE" and ("Lock-Token" in (case.headers or {})) == has_body:
        return [positive_data_acceptance]  # the token is in the field or in the body: not in neither, nor two in both
    return []
