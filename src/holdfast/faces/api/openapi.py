"""The OpenAPI 3.1 document, made from the route table and the types of the bodies, so that it cannot say anything else.

Owns: that translation. Must not know: what any route does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec

from holdfast.faces.api.bodies import EndedProblem, GapBody
from holdfast.faces.api.routes import ROUTES, Field, Route, Said
from holdfast.wire.exchange import Response
from holdfast.wire.locked import LockedProblem

__all__ = ["COMMON", "Json", "describe", "document", "statuses_of"]

Json = dict[str, Any]

_TEMPLATE: Final = "#/components/schemas/{name}"

COMMON: Final = {
    400: Said("The request cannot be understood; `detail` names what.", EndedProblem),
    401: Said("Nobody is logged in; the server has users.", EndedProblem),
    421: Said("The Host is no name of this server; one without users answers to its own names alone.", EndedProblem),
    431: Said("The request's head is too large.", EndedProblem),
    429: Said("Too many wrong passwords from here.", EndedProblem),
    503: Said(
        "The server cannot use its store, or has too much to do; Retry-After says when to try again.", EndedProblem
    ),
}
"""What every route may answer."""

_TOO_LARGE: Final = Said("The body is too large.", EndedProblem)

_WITHOUT_BODY: Final = {413: _TOO_LARGE, 415: Said("There is a body, and none is taken here.", EndedProblem)}

_WITH_BODY: Final = {
    413: _TOO_LARGE,
    415: Said("The body is not application/json.", EndedProblem),
    422: Said("A member of the body does not fit; `detail` names it.", EndedProblem),
    507: Said("There is no room on the disk; nothing was changed.", EndedProblem),
}

_HEADERS: Final[dict[int, dict[str, str]]] = {
    201: {"Location": "The lock's address."},
    401: {"WWW-Authenticate": "How to log in."},
    423: {"Retry-After": "Seconds.", "Link": "The locks in the way, and what a lock means."},
    429: {"Retry-After": "Seconds."},
    503: {"Retry-After": "Seconds."},
}

_CHANGING: Final = frozenset({"PUT", "PATCH", "DELETE"})
"""Where a 423 would be expected of these and none can come, the document says so (docs/openapi/README.md)."""

_ABOUT: Final = """\
The locks of this server, for any program: the same ones that WebDAV clients take, on the same resources.

A resource is a URL path, percent-encoded: `/dav/...` for a served document, any other path for something of your own
(`/orders/42`). A lock is held by whoever has its token and is the principal that acquired it. Every lock ends by itself;
refresh it before. Errors are problem details (RFC 9457); unknown members and parameters are refused.
"""


def statuses_of(route: Route) -> dict[int, Said]:
    """Every status of a route, in order; what it says itself comes before what all say."""
    found = COMMON | (_WITHOUT_BODY if route.body is None else _WITH_BODY) | dict(route.statuses)
    return dict(sorted(found.items()))


def describe() -> Json:
    """The document as a value."""
    types: list[type] = [EndedProblem, GapBody]
    for route in ROUTES:
        types.extend(kind for kind in (route.body, route.query) if kind is not None)
        types.extend(said.body for said in route.statuses.values() if said.body is not None)
    _, components = msgspec.json.schema_components(list(dict.fromkeys(types)), ref_template=_TEMPLATE)
    paths: dict[str, Json] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, components)
    for path, operations in paths.items():
        if "{id}" in path:
            operations["parameters"] = [_id_parameter()]
    queries = {route.query.__name__ for route in ROUTES if route.query is not None}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Holdfast locks", "version": "1", "description": _ABOUT},
        "servers": [{"url": "/"}],
        "security": [{}, {"password": []}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in components.items() if name not in queries},
            "securitySchemes": {
                "password": {"type": "http", "scheme": "basic"},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
    }


@lru_cache(maxsize=1)
def _encoded() -> bytes:
    return msgspec.json.format(msgspec.json.encode(describe()))


def document() -> Response:
    """GET /openapi.json. Pages of other sites may read it: it is the same on every server."""
    headers = [
        ("Content-Type", "application/json"),
        ("Cache-Control", "no-cache"),
        ("X-Content-Type-Options", "nosniff"),
        ("Access-Control-Allow-Origin", "*"),
    ]
    return Response(200, headers, _encoded())


def _operation(route: Route, components: dict[str, Json]) -> Json:
    operation: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "description": f"{route.description}\n\nNeeds: {route.needs}.",
        "responses": {str(status): _answer(status, said) for status, said in statuses_of(route).items()},
    }
    parameters = [_field(field) for field in route.fields]
    if route.query is not None:
        parameters.extend(_query_parameters(components[route.query.__name__]))
    if parameters:
        operation["parameters"] = parameters
    if route.method in _CHANGING and 423 not in route.statuses:
        operation["x-lockable"] = False
    if route.body is not None:
        operation["requestBody"] = {
            "required": not route.body_is_optional,
            "content": {"application/json": {"schema": _reference(route.body)}},
        }
    return operation


def _answer(status: int, said: Said) -> Json:
    answer: Json = {"description": said.meaning}
    headers = _HEADERS.get(status)
    if headers:
        answer["headers"] = {
            name: {"description": text, "required": True, "schema": {"type": "string"}}
            for name, text in headers.items()
        }
    if said.body is not None:
        is_problem = status >= 400
        kind = "application/problem+json" if is_problem else said.media_type
        answer["content"] = {kind: {"schema": _reference(said.body)}}
        if said.body is LockedProblem or said.is_negotiated:
            answer["content"] |= {other: {"schema": {"type": "string"}} for other in ("application/xml", "text/html")}
    return answer


def _query_parameters(schema: Json) -> list[Json]:
    required: list[str] = schema.get("required", [])
    properties: dict[str, Json] = schema["properties"]
    found: list[Json] = []
    for name, described in properties.items():
        value = dict(described)
        parameter: Json = {"name": name, "in": "query", "required": name in required, "schema": value}
        text = value.pop("description", "")
        if text:
            parameter["description"] = text
        found.append(parameter)
    return found


def _field(field: Field) -> Json:
    return {
        "name": field.name,
        "in": "header",
        "required": field.is_required,
        "description": field.description,
        "schema": {"type": "string"} | ({"format": field.form} if field.form else {}),
    }


def _id_parameter() -> Json:
    return {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The public id of a lock.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    }


def _reference(kind: type) -> Json:
    return {"$ref": _TEMPLATE.format(name=kind.__name__)}
