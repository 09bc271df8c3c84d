"""The locks' own routes: `path("locks", include("holdfast.integrations.django.urls"))`, for pages and programs that lock what they edit.

Owns: the one view. Must not know: what the routes take and answer (`holdfast.integrations.routes`).
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import re_path, reverse
from django.views.decorators.csrf import csrf_exempt

from holdfast.core.model import Depth
from holdfast.core.paths import ResourcePath
from holdfast.integrations.backends import Locks
from holdfast.integrations.django.answers import as_django, head_of, principal_of
from holdfast.integrations.django.configuration import locks
from holdfast.integrations.routes import LockRoutes, allow_single

__all__ = ["app_name", "lock_routes", "urlpatterns"]

app_name = "holdfast"


# A body must be application/json, and so cannot come from another site's page without being allowed to: no CSRF token is needed.
@csrf_exempt
def lock_routes(request: HttpRequest, tail: str = "") -> HttpResponse:
    """Any route; who is logged in may lock single resources, who may `holdfast.break_lock` may break them."""
    user: Any = getattr(request, "user", None)
    is_known = user is not None and user.is_authenticated

    def may_lock(principal: str, resource: ResourcePath, depth: Depth) -> bool:
        return is_known and allow_single(principal, resource, depth)

    address = reverse("holdfast:locks")
    kept = Locks(backend=locks().backend, address=address)
    routes = LockRoutes(kept, may_lock=may_lock, may_break=lambda _: is_known and user.has_perm("holdfast.break_lock"))
    head = head_of(request)
    query = str(request.META.get("QUERY_STRING", ""))
    return as_django(routes.answer(head, tail, query, request.body, principal_of(request)))


urlpatterns = [re_path(r"^(?P<tail>/.*)?$", lock_routes, name="locks")]
