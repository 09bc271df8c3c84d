"""The middleware: every refusal about a lock becomes its answer, and so does a locked database.

Owns: where in Django's handling of a request that happens. Must not know: what an answer looks like.

It hears what a view, its template or its transaction (ATOMIC_REQUESTS) raised. What another middleware raises after the view, as when
the session is saved, stays Django's own answer: by then the change was made, and a 423 says that it was not.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from holdfast.integrations.django.answers import as_django, head_of, principal_of, refusal_of
from holdfast.integrations.django.configuration import configured, locks
from holdfast.integrations.guarding import Guard

__all__ = ["LockMiddleware"]


class LockMiddleware(MiddlewareMixin):
    """`holdfast.integrations.django.middleware.LockMiddleware`; for sites under WSGI and under ASGI.

    With HOLDFAST["GUARD"] it refuses every change to a locked path below those paths, whatever view stands there.
    """

    def __init__(self, get_response: Any) -> None:
        """Read the setting once."""
        super().__init__(get_response)
        under = configured().guard
        self._guard = Guard(locks(), under=under) if under else None

    def process_view(self, request: HttpRequest, view: Any, args: Any, values: Any) -> HttpResponse | None:
        """Guard, once the user is known."""
        if self._guard is None:
            return None
        refused = self._guard.judge(head_of(request), lambda: principal_of(request))
        return None if refused is None else as_django(refused)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """An error of a view, or of its template."""
        return refusal_of(request, exception)
