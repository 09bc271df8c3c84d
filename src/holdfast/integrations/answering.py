"""What an application answers when something is locked: status, fields and body, and the schema that describes them.

Owns: the exception that carries a 423 through a framework, and its schema for OpenAPI documents. Must not know: frameworks, backends.
The 423 itself is rendered by `wire.locked`, every other refusal by `faces.api.errors`, as the server's own are.
"""

from __future__ import annotations

import logging
from typing import Any, Final, cast

import msgspec

from holdfast.core.paths import InvalidPathError
from holdfast.faces.api.errors import EXPECTED_ERRORS, RefusalError, as_refusal, render
from holdfast.wire.exchange import Response
from holdfast.wire.locked import LockedAnswer, LockedProblem, LockLinks, locked_response

__all__ = [
    "LINKS_LEFT_OUT",
    "REFUSALS",
    "LockedError",
    "RefusalError",
    "answer_locked",
    "answer_refusal",
    "body_of",
    "links_below",
    "locked_schema",
    "openapi_responses",
]

_logger = logging.getLogger("holdfast.integrations")

LINKS_LEFT_OUT: Final = LockLinks(lock="", page="", help="")
"""The links of an application in which no lock has an address."""

_REFERENCE: Final = "#/components/schemas/"


class LockedError(Exception):
    """The request is refused, because `answer` tells of locks in the way: a 423. `str()` is a sentence for a person."""

    def __init__(self, answer: LockedAnswer) -> None:
        """Keep what is to be said."""
        super().__init__(answer)
        self.answer = answer

    def __str__(self) -> str:
        from holdfast.wire.locked import locked_detail

        return locked_detail(self.answer)


REFUSALS: Final[tuple[type[Exception], ...]] = (LockedError, RefusalError, *EXPECTED_ERRORS)
"""What a framework has to turn into an answer, with `answer_refusal`."""


def answer_locked(answer: LockedAnswer, accept: str | None = None, *, root: str = "") -> Response:
    """The 423, in the form that the Accept field asks for: problem+json, a page, or XML.

    `root` is the path that the application is mounted at, which its links begin with.
    """
    if root and answer.links != LINKS_LEFT_OUT:
        below = LockLinks(*[f"{root}{link}" if link else "" for link in msgspec.structs.astuple(answer.links)])
        answer = msgspec.structs.replace(answer, links=below)
    return locked_response(answer, accept, prefers_xml=False)


def answer_refusal(error: Exception, accept: str | None = None, *, root: str = "") -> Response:
    """The answer that one of REFUSALS becomes. Raises the error itself where it is none of them."""
    if isinstance(error, LockedError):
        return answer_locked(error.answer, accept, root=root)
    if isinstance(error, RefusalError):
        return render(error)
    if isinstance(error, InvalidPathError):
        return render(RefusalError(400, f"The path cannot name a resource: {error}."))
    return render(as_refusal(error))


def body_of(response: Response) -> bytes:
    """The body of an answer that is made here: it is always whole."""
    assert isinstance(response.body, bytes)
    return response.body


def links_below(address: str) -> LockLinks:
    """The links where the locks' routes stand at `address` (a URL path without a slash at its end); none where it is empty."""
    return LockLinks(lock=f"{address}/", page="", help=f"{address}/help") if address else LINKS_LEFT_OUT


def locked_schema() -> dict[str, Any]:
    """The JSON Schema of a 423's problem+json, complete in itself."""
    (reference,), components = msgspec.json.schema_components([LockedProblem], ref_template=f"{_REFERENCE}{{name}}")
    return cast("dict[str, Any]", _inlined(reference, components))


def openapi_responses() -> dict[int | str, dict[str, Any]]:
    """The 423 for an operation of an OpenAPI 3.1 document: its meaning, fields and three forms."""
    return {
        423: {
            "description": "Locked by somebody else; the body says by whom, since when and until when.",
            "headers": {
                "Retry-After": {
                    "description": "Seconds until trying again can help.",
                    "required": True,
                    "schema": {"type": "string"},
                },
            },
            "content": {
                "application/problem+json": {"schema": locked_schema()},
                "application/xml": {"schema": {"type": "string"}},
                "text/html": {"schema": {"type": "string"}},
            },
        }
    }


def _inlined(value: object, components: dict[str, Any]) -> object:
    """The schema with every reference replaced by what it names; none of them leads back to itself."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        name = members.get("$ref")
        if isinstance(name, str):
            return _inlined(components[name.removeprefix(_REFERENCE)], components)
        return {key: _inlined(item, components) for key, item in members.items()}
    if isinstance(value, list):
        return [_inlined(item, components) for item in cast("list[object]", value)]
    return value
