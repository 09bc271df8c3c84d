"""Every status that a route declares comes about on a real server, and its answer is what the document says of it.

The cases are in `cases_everywhere` and `cases_by_route`. A status that is declared and has no case, or the other way round, fails.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import jsonschema
import pytest

from holdfast.faces.api.openapi import describe, statuses_of
from holdfast.faces.api.routes import ROUTES
from tests.api import cases_by_route, cases_everywhere  # noqa: F401 - they fill the table
from tests.api.cases import CASES, ROUTE
from tests.api.desk import new_resource
from tests.api.stage import PARTS, Stage

DOCUMENT = describe()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("statuses"))
    with contextlib.closing(made):
        yield made


def test_every_status_that_a_route_declares_has_its_case_and_no_other() -> None:
    declared = {(route.name, status) for route in ROUTES for status in statuses_of(route)}
    assert set(CASES) == declared


@pytest.mark.parametrize(("name", "status"), sorted(CASES), ids=str)
def test_a_declared_status_comes_about_and_fits_the_document(stage: Stage, name: str, status: int) -> None:
    answer = CASES[name, status](stage).answer
    assert answer.status == status, answer.body
    route = ROUTE[name]
    said = DOCUMENT["paths"][route.path][route.method.lower()]["responses"][str(status)]
    for field in said.get("headers", {}):
        assert answer[field], field
    if "content" not in said:
        assert answer.body == b""
        return
    kind = answer["Content-Type"].partition(";")[0]
    assert kind in said["content"]
    assert "no-store" in answer["Cache-Control"]
    if kind == "text/event-stream":
        return
    body = json.loads(answer.body)
    schema = {**said["content"][kind]["schema"], "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(schema).validate(body)
    if status >= 400:
        assert kind == "application/problem+json"
        assert (body["status"], bool(body["title"]), bool(body["detail"])) == (status, True, True)


def test_a_gateway_that_asks_for_the_real_answer_never_hears_of_a_success(stage: Stage) -> None:
    """The other way to a 503 of this route, and the other 403."""
    fields = PARTS["checkForwarded"].fields
    free = stage.desk.ask("alice", "GET", "/api/check?refuse=always", headers=fields)
    assert (free.problem["status"], int(free.answer["Retry-After"]) > 0) == (503, True)
    held = stage.desk.granted("alice", new_resource())
    fields = {**fields, "X-Forwarded-Uri": held["root"]}
    refused = stage.desk.ask("bob", "GET", "/api/check?refuse=403", headers=fields).answer
    assert (refused.status, refused["Holdfast-Status"]) == (403, "423")
