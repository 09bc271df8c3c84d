"""Django REST framework: the exception handler, and a mixin for viewsets.

Owns: those two. Must not know: how locks are kept.

    REST_FRAMEWORK = {"EXCEPTION_HANDLER": "holdfast.integrations.django.rest.exception_handler"}
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from rest_framework import views

from holdfast.core.paths import ResourcePath
from holdfast.integrations.django.answers import head_of, principal_of, refusal_of
from holdfast.integrations.django.guards import changing_all
from holdfast.integrations.django.naming import lock_resource
from holdfast.integrations.guarding import change_of

__all__ = ["LockedWrites", "exception_handler"]


def exception_handler(error: Exception, context: dict[str, Any]) -> Any:
    """The whole 423 for a lock in the way or a locked database, by Accept; for every other error what the framework itself says."""
    answer = refusal_of(context["request"]._request, error)
    if answer is None:
        return views.exception_handler(error, context)
    views.set_rollback()
    return answer


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
        with changing_all(change.effects, principal_of(request), change.tokens, change.condition):
            yield
