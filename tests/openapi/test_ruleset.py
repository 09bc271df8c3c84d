"""The Spectral ruleset for a 423: our own document passes, and each thing that is declared wrongly is found by the rule for it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from holdfast.faces.api.openapi import describe
from tests.docs.conftest import ROOT, blocks
from tests.openapi.conftest import RULESET, Findings, Lint

Json = dict[str, Any]
PAGE = ROOT / "docs" / "openapi" / "README.md"

LOCKED: Json = {
    "description": "Somebody else has it open.",
    "headers": {
        "Retry-After": {"required": True, "schema": {"type": "string"}},
        "Cache-Control": {"schema": {"type": "string", "const": "no-store"}},
    },
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "properties": {
                    "title": {"type": "string"},
                    "locked_by": {"type": "string"},
                    "locked_until": {"type": "string", "format": "date-time"},
                },
            }
        },
    },
}
GOOD: Json = {
    "openapi": "3.1.0",
    "info": {"title": "Orders", "version": "1"},
    "paths": {
        "/orders/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {"responses": {"200": {"description": "The order."}}},
            "put": {
                "responses": {
                    "204": {"description": "Done."},
                    "423": {"$ref": "#/components/responses/Locked"},
                }
            },
            "delete": {"x-lockable": False, "responses": {"204": {"description": "Done."}}},
        },
        "/orders/{id}/lock": {
            "post": {
                "responses": {
                    "201": {"description": "Locked."},
                    "423": {"$ref": "#/components/responses/Locked"},
                }
            }
        },
    },
    "components": {"responses": {"Locked": LOCKED}},
}

Change = Callable[[Json], object]


def problem(document: Json) -> Json:
    """The 423's schema."""
    return locked(document)["content"]["application/problem+json"]["schema"]


def locked(document: Json) -> Json:
    return document["components"]["responses"]["Locked"]


def headers(document: Json) -> Json:
    return locked(document)["headers"]


def put(document: Json) -> Json:
    return document["paths"]["/orders/{id}"]["put"]


def lock(document: Json) -> Json:
    return document["paths"]["/orders/{id}/lock"]["post"]


def with_schema(schema: Json) -> Change:
    return lambda document: locked(document)["content"]["application/problem+json"].update(schema=schema)


WHO: Json = {"type": "object", "properties": {"holder": {"type": "object"}}}
UNTIL: Json = {"type": "object", "properties": {"expires_at": {"type": "string"}}}
BOTH: Json = {"type": "object", "properties": WHO["properties"] | UNTIL["properties"]}
OF_LOCKS: Json = {"type": "object", "properties": {"locks": {"type": "array", "items": BOTH}}}

FINE: dict[str, Change] = {
    "as-it-is": lambda _: None,
    "in-upper-case": lambda document: headers(document).update({"RETRY-AFTER": headers(document).pop("Retry-After")}),
    "inline": lambda document: put(document)["responses"].update({"423": copy.deepcopy(LOCKED)}),
    "as-xml": lambda document: locked(document).update(content={"application/xml": {"schema": {"type": "string"}}}),
    "locks-in-a-list": with_schema(OF_LOCKS),
    "composed": with_schema({"allOf": [{"type": "object", "properties": {"title": {}}}, WHO, UNTIL]}),
    "either": with_schema({"oneOf": [BOTH, OF_LOCKS]}),
    "nothing-can-be-locked": lambda document: (
        put(document).update({"x-lockable": False}),
        put(document)["responses"].pop("423"),
    ),
    "head-has-no-content": lambda document: document["paths"]["/orders/{id}"].update(
        head={"responses": {"423": {"description": "Locked."}}}
    ),
    "an-example": lambda document: headers(document).update({"cache-control": {"example": "private, no-store"}}),
}

WRONG: dict[str, tuple[str, Change]] = {
    "put-says-nothing": ("declared", lambda document: put(document)["responses"].pop("423")),
    "put-says-any-4xx": (
        "declared",
        lambda document: put(document)["responses"].update({"4XX": put(document)["responses"].pop("423")}),
    ),
    "patch-says-nothing": (
        "declared",
        lambda document: document["paths"]["/orders/{id}"].update(patch={"responses": {"204": {"description": ""}}}),
    ),
    "delete-says-nothing": (
        "declared",
        lambda document: document["paths"]["/orders/{id}"]["delete"].pop("x-lockable"),
    ),
    "lock-says-409": (
        "lock-operation",
        lambda document: lock(document)["responses"].update({"409": lock(document)["responses"].pop("423")}),
    ),
    "no-headers": ("retry-after", lambda document: locked(document).pop("headers")),
    "no-retry-after": ("retry-after", lambda document: headers(document).pop("Retry-After")),
    "retry-after-perhaps": (
        "retry-after-required",
        lambda document: headers(document)["Retry-After"].pop("required"),
    ),
    "etag": ("not-cached", lambda document: headers(document).update(etag={"schema": {"type": "string"}})),
    "expires": ("not-cached", lambda document: headers(document).update(Expires={"schema": {"type": "string"}})),
    "kept-by-const": (
        "no-store",
        lambda document: headers(document)["Cache-Control"]["schema"].update(const="max-age=60"),
    ),
    "kept-by-enum": (
        "no-store",
        lambda document: headers(document)["Cache-Control"].update(schema={"enum": ["no-store", "public"]}),
    ),
    "kept-by-example": (
        "no-store",
        lambda document: headers(document)["Cache-Control"].update(example="max-age=3"),
    ),
    "no-content": ("content", lambda document: locked(document).pop("content")),
    "plain-json": (
        "content",
        lambda document: locked(document).update(content={"application/json": {"schema": {"type": "object"}}}),
    ),
    "no-schema": ("schema", with_schema({"type": "object"})),
    "who-alone": ("schema", with_schema(WHO)),
    "until-alone": ("schema", with_schema(UNTIL)),
    "one-of-two": ("schema", with_schema({"oneOf": [BOTH, {"type": "object"}]})),
    "schema-is-missing": (
        "schema",
        lambda document: locked(document)["content"]["application/problem+json"].clear(),
    ),
    "token": ("no-token", lambda document: problem(document)["properties"].update(lock_token={"type": "string"})),
    "token-of-a-lock": (
        "no-token",
        with_schema(
            {
                "type": "object",
                "properties": {
                    "locks": {"items": {"type": "object", "properties": BOTH["properties"] | {"token": {}}}},
                },
            }
        ),
    ),
}


def changed(change: Change) -> Json:
    document = copy.deepcopy(GOOD)
    change(document)
    return document


@pytest.fixture(scope="module")
def found(lint: Lint) -> Findings:
    """Of all documents, in one run."""
    documents = {name: changed(change) for name, change in FINE.items()}
    documents |= {name: changed(change) for name, (_, change) in WRONG.items()}
    documents["of-the-page"] = changed(lambda document: put(document)["responses"].update(_of_the_page()))
    return lint({**documents, "our-own": describe()})


def _of_the_page() -> Json:
    [text] = [block.text for block in blocks(PAGE) if block.language == "yaml"]
    return yaml.safe_load(text)


pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]


def test_our_own_document_and_the_answer_in_the_page_pass(found: Findings) -> None:
    assert (found["our-own"], found["of-the-page"]) == ([], [])


@pytest.mark.parametrize("name", FINE)
def test_what_is_right_passes(found: Findings, name: str) -> None:
    assert found[name] == []


@pytest.mark.parametrize(("name", "rule"), [(name, rule) for name, (rule, _) in WRONG.items()])
def test_what_is_wrong_is_found_by_its_rule_alone(found: Findings, name: str, rule: str) -> None:
    assert set(found[name]) == {f"holdfast-423-{rule}"}


def test_every_rule_is_broken_by_a_document_above_and_told_in_the_page() -> None:
    rules = set(re.findall(r"^  (holdfast-423-[a-z-]+):$", RULESET.read_text(), re.MULTILINE))
    assert rules == {f"holdfast-423-{rule}" for rule, _ in WRONG.values()}
    page = PAGE.read_text()
    assert [rule for rule in rules if f"`{rule}`" not in page] == []
