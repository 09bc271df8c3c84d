"""The middleware: every refusal about a lock becomes its answer, and so does a locked database.

Owns: where in Django's handling of a request that happens. Must not know: what an answer looks like.

Put it first in MIDDLEWARE. Then a database that is locked while the session is saved, which Django answers with a 500 further in,
becomes the same 423 as one that is locked in a view.
"""

from __future__ import annotations

from typing import Any

from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from holdfast.integrations.django.answers import as_django, principal_of, refusal_of
from holdfast.integrations.django.configuration import configured, locks
from holdfast.integrations.guarding import Guard

__all__ = ["LockMiddleware"]

_ERROR = "_holdfast_error"


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
        from holdfast.integrations.django.answers import head_of

        if self._guard is None:
            return None
        refused = self._guard.judge(head_of(request), lambda: principal_of(request))
        return None if refused is None else as_django(refused)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """An error of a view, or of its template."""
        return refusal_of(request, exception)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """An error that another middleware met, and that is a 500 by now."""
        error: BaseException | None = getattr(request, _ERROR, None)
        if error is None or response.status_code != 500:
            return response
        return refusal_of(request, error) or response


def _remember(sender: object, request: HttpRequest | None = None, **_: object) -> None:
    import sys

    if request is not None:
        setattr(request, _ERROR, sys.exc_info()[1])


got_request_exception.connect(_remember, dispatch_uid="holdfast.middleware")
