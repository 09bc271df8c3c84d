"""Django REST framework: the exception handler, a mixin for viewsets, and who sends a request that the framework authenticates.

Owns: those three. Must not know: how locks are kept.

    REST_FRAMEWORK = {"EXCEPTION_HANDLER": "holdfast.integrations.django.rest.exception_handler"}
    HOLDFAST = {"PRINCIPAL": "holdfast.integrations.django.rest.authenticated"}
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from django.http import HttpRequest
from rest_framework import views
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.settings import api_settings

from holdfast.core.paths import ResourcePath
from holdfast.integrations.answering import RefusalError
from holdfast.integrations.django.answers import head_of, principal_of, refusal_of
from holdfast.integrations.django.guards import changing_all
from holdfast.integrations.django.naming import lock_resource
from holdfast.integrations.guarding import change_of

__all__ = ["LockedWrites", "authenticated", "exception_handler"]

_FOUND: Final = "_holdfast_found"


def exception_handler(error: Exception, context: dict[str, Any]) -> Any:
    """The whole 423 for a lock in the way or a locked database, by Accept; for every other error what the framework itself says."""
    answer = refusal_of(context["request"]._request, error)
    if answer is None:
        return views.exception_handler(error, context)
    views.set_rollback()
    return answer


def authenticated(request: HttpRequest) -> Any:
    """Who is logged in, or whom DEFAULT_AUTHENTICATION_CLASSES find; None where nobody is. RefusalError 401 for wrong credentials.

    For the setting PRINCIPAL: the locks' own routes and GUARD are asked before the framework's views find out who it is.
    """
    user: Any = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return user
    if not hasattr(request, _FOUND):
        setattr(request, _FOUND, _found(request))
    return getattr(request, _FOUND)


def _found(request: HttpRequest) -> Any:
    asked = Request(request)
    for kind in api_settings.DEFAULT_AUTHENTICATION_CLASSES:
        authenticator = kind()
        try:
            # Whoever has a session was found by Django already.
            found = None if isinstance(authenticator, SessionAuthentication) else authenticator.authenticate(asked)
        except APIException as error:
            scheme = authenticator.authenticate_header(asked)
            fields = (("WWW-Authenticate", scheme),) if scheme else ()
            raise RefusalError(401 if scheme else 403, str(error.detail), headers=fields) from error
        if found is not None:
            return found[0]
    return None


class LockedWrites:
    """A mixin, before the viewset class: update and destroy answer 423 while somebody else has the object locked.

    The object is Lockable, or any model's; its lock's token comes in the Lock-Token or If field.
    """

    def perform_update(self, serializer: Any) -> None:
        """Save under the lock."""
        with self._changing(serializer.instance):
            super().perform_update(serializer)

    def perform_destroy(self, instance: Any) -> None:
        """Delete under the lock."""
        with self._changing(instance):
            super().perform_destroy(instance)

    @contextmanager
    def _changing(self, instance: Any) -> Generator[None]:
        request: Any = self.request
        resource = ResourcePath.from_target(lock_resource(instance))
        change = change_of(head_of(request._request), resource)
        if change is None:
            yield
            return
        with changing_all(change.effects, principal_of(request._request), change.tokens, change.condition):
            yield
