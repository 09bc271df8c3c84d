"""The page behind /docs: the API for people, made from the same document as /openapi.json.

Owns: the template in `pages/` and the policy that lets a browser load nothing but its own style. It names no
other host and has no script, so it works without the internet.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, cast

import jinja2
import msgspec
from markupsafe import Markup

from holdfast.faces.api.openapi import Json, describe
from holdfast.faces.api.routes import ROUTES, Route
from holdfast.wire.exchange import Response

__all__ = ["document"]

_PAGES: Final = Path(__file__).parent / "pages"
_CODE: Final = re.compile(r"`([^`]+)`")
_EXAMPLE: Final = """\
curl -X POST http://127.0.0.1:4230/api/locks \\
     -H 'Content-Type: application/json' \\
     -d '{"resource": "/orders/42", "ttl": 60, "reason": "invoice run"}'"""


class _Shown(msgspec.Struct, frozen=True):
    """One route as the page shows it; each table is a title and rows of cells."""

    name: str
    method: str
    path: str
    summary: str
    description: str
    needs: str
    tables: list[tuple[str, list[tuple[str, ...]]]]


@lru_cache(maxsize=1)
def _rendered() -> tuple[bytes, str]:
    """The page, and its Content-Security-Policy."""
    style = (_PAGES / "docs.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    whole = describe()
    about = [part.replace("\n", " ") for part in str(whole["info"]["description"]).split("\n\n")]
    text = environment.get_template("docs.html").render(
        style=style, words=_words, about=about, example=_EXAMPLE, routes=[_shown(route, whole) for route in ROUTES]
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return text.encode(), policy


def document() -> Response:
    """GET /docs."""
    body, policy = _rendered()
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-cache"),
    ]
    return Response(200, headers, body)


def _shown(route: Route, whole: Json) -> _Shown:
    schemas = cast("dict[str, Json]", whole["components"]["schemas"])
    operation = whole["paths"][route.path][route.method.lower()]
    tables: list[tuple[str, list[tuple[str, ...]]]] = []
    if route.body is not None:
        tables.append(("Body", _members(schemas[route.body.__name__], schemas)))
    for title, place in (("Query", "query"), ("Fields", "header")):
        rows = [
            (str(item["name"]), _type(item["schema"], schemas), _text(item, is_required=bool(item["required"])))
            for item in cast("list[Json]", operation.get("parameters", []))
            if item["in"] == place
        ]
        if rows:
            tables.append((title, rows))
    answers = cast("dict[str, Json]", operation["responses"])
    tables.append(("Answers", [(status, str(said["description"])) for status, said in answers.items()]))
    return _Shown(route.name, route.method, route.path, route.summary, route.description, route.needs, tables)


def _members(schema: Json, schemas: dict[str, Json]) -> list[tuple[str, ...]]:
    required = cast("list[str]", schema.get("required", []))
    properties = cast("dict[str, Json]", schema["properties"])
    return [
        (name, _type(described, schemas), _text(described, is_required=name in required))
        for name, described in properties.items()
    ]


def _text(described: Json, *, is_required: bool) -> str:
    text = str(described.get("description", ""))
    default: Any = described.get("default", described.get("schema", {}).get("default"))
    if is_required:
        return f"Required. {text}"
    return f"{text} Default: `{default}`." if default not in (None, "", []) else text


def _type(schema: Json, schemas: dict[str, Json]) -> str:
    """A type in a few words."""
    reference = cast("str | None", schema.get("$ref"))
    if reference is not None:
        schema = schemas[reference.rpartition("/")[2]]
        if "properties" in schema:
            inner = ", ".join(f"{name}: {_type(item, schemas)}" for name, item in schema["properties"].items())
            return f"{{{inner}}}"
    if "enum" in schema:
        return " | ".join(f"`{value}`" for value in cast("list[object]", schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(_type(item, schemas) for item in cast("list[Json]", schema["anyOf"]))
    if "items" in schema:
        return f"list of {_type(schema['items'], schemas)}"
    return str(schema.get("type", "any"))


def _words(text: str) -> Markup:
    """Text with its `code` marked; everything else is escaped."""
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else part for index, part in enumerate(_CODE.split(text))
    )
