"""The check: may this change be made now? Asked in JSON, or by a gateway for the request that it holds in its hand.

Owns: which request a gateway asks about, and whose word counts for whom. With it a gateway (Caddy, Traefik, nginx)
puts locks before any application. What a method changes is told by `wire.changes`. Must not know how locks are weighed.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UnsetType

from holdfast.core.access import ANONYMOUS, Role
from holdfast.core.decisions import Effect, Reach, Refused
from holdfast.core.paths import ResourcePath
from holdfast.faces.api.bodies import CheckBody, CheckQuery
from holdfast.faces.api.call import Call
from holdfast.faces.api.errors import EXPECTED_ERRORS, RefusalError, as_refusal, render
from holdfast.faces.api.locks import refused
from holdfast.wire.changes import ChangeReader
from holdfast.wire.davxml_write import Condition
from holdfast.wire.exchange import Response
from holdfast.wire.locked import GUARD_LINKS

__all__ = ["check", "check_forwarded"]

_WEBDAV: Final = frozenset({"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK"})
"""Methods of WebDAV, whose clients look for their reasons in XML (RFC 4918 section 16)."""


def check(call: Call) -> Response:
    """POST /api/check."""
    body = call.body(CheckBody)
    resource = call.resource(body.resource, "resource")
    effects: list[Effect] = []
    if isinstance(body.effects, UnsetType):
        effects.append(Effect(resource, Reach.CONTENT))
    else:
        for index, item in enumerate(body.effects):
            named = call.resource(item.resource, f"effects[{index}].resource")
            effects.append(Effect(named, Reach(item.reach)))
    for effect in (Effect(resource, Reach.CONTENT), *effects):
        _demand_reader(call, effect.resource)
    principal = call.principal.name
    if not isinstance(body.principal, UnsetType):
        if body.principal != principal and not _speaks_for_others(call, resource):
            raise RefusalError(403, "Only an administrator may ask for another principal.")
        principal = body.principal
    found = call.site.registry.check(effects, body.tokens, principal)
    return _answered(call, found, effects[0].resource)


def check_forwarded(call: Call) -> Response:
    """GET /api/check: a forward-auth subrequest about the request that X-Forwarded-Method and -Uri tell of."""
    query = call.query(CheckQuery)
    if not isinstance(query.links, UnsetType):
        site = msgspec.structs.replace(call.site, links=GUARD_LINKS[query.links])
        call = Call(site, call.request, call.principal)
    try:
        response = _check_forwarded(call)
    except RefusalError as error:
        response = render(error)
    except EXPECTED_ERRORS as error:
        response = render(as_refusal(error))
    if query.refuse == "always" and response.status == 204:
        # What was in the way when the gateway asked first is gone, but the change was not made: no success may be told.
        sentence = "What stood in the way of your request has ended meanwhile. Nothing was changed: send it again."
        return render(RefusalError(503, sentence, headers=(("Retry-After", "1"),)))
    if query.refuse == "403" and response.status not in {204, 403}:
        response.headers.append(("Holdfast-Status", str(response.status)))
        response.status = 403
    return response


def _check_forwarded(call: Call) -> Response:
    method, uri = _forwarded(call)
    resource = call.site.resolve(uri.partition("?")[0])
    _demand_reader(call, resource)
    reader = ChangeReader(*_origin(call), resolve=call.site.resolve, knows_etags=call.site.is_served)
    change = reader.read(method, resource, call.header)
    if change is None:
        return _answered(call, None, resource)
    principal = _forwarded_principal(call, resource)
    found = call.site.registry.check(change.effects, change.tokens, principal, change.condition)
    return _answered(call, found, resource, prefers_xml=method in _WEBDAV)


def _forwarded(call: Call) -> tuple[str, str]:
    """Method and target of the gateway's request, by the fields of Caddy and Traefik, or those of nginx.

    A gateway sets the one pair and may let a client's other pair through: where both came, both must say the same.
    """
    told: set[tuple[str, str]] = set()
    methods, uris = (b"x-forwarded-method", b"x-original-method"), (b"x-forwarded-uri", b"x-original-uri")
    for method_field, uri_field in zip(methods, uris, strict=True):
        method, uri = call.header(method_field), call.header(uri_field)
        if method or uri:
            told.add((method or "", uri or ""))
    if len(told) != 1 or not all(pair := told.pop()):
        raise RefusalError(
            400,
            "A forwarded request needs the fields X-Forwarded-Method and X-Forwarded-Uri, and nothing that contradicts them.",
        )
    return pair


def _answered(call: Call, found: Refused | None, resource: ResourcePath, *, prefers_xml: bool = False) -> Response:
    if found is None:
        return Response(204, [("Cache-Control", "no-store")])
    return refused(call, found, resource, Condition.LOCK_TOKEN_SUBMITTED, prefers_xml=prefers_xml)


def _origin(call: Call) -> tuple[str, str | None]:
    """Scheme and host that the client sent its request to, as the gateway tells."""
    scheme = call.header(b"x-forwarded-proto") or call.request.scheme
    return scheme, call.header(b"x-forwarded-host") or call.header(b"host")


def _forwarded_principal(call: Call, resource: ResourcePath) -> str:
    """Whom the gateway asks for: itself, or, where it is an administrator, the user whose name it passes on."""
    named = call.header(b"x-forwarded-user")
    return named if named and _speaks_for_others(call, resource) else call.principal.name


def _speaks_for_others(call: Call, resource: ResourcePath) -> bool:
    return call.principal.name != ANONYMOUS.name and call.principal.role_at(resource) >= Role.ADMIN


def _demand_reader(call: Call, resource: ResourcePath) -> None:
    if call.principal.role_at(resource) < Role.READER:
        raise RefusalError(403, f"You may not ask about {resource.text}; it needs the reader role.")
