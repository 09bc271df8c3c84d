"""The locks' own routes: `path("locks", include("holdfast.integrations.django.urls"))`, for pages and programs that lock what they edit.

Owns: the one view. Must not know: what the routes take and answer (`holdfast.integrations.routes`).
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import re_path, reverse
from django.views.decorators.csrf import csrf_exempt

from holdfast.core.model import Depth
from holdfast.core.paths import ResourcePath
from holdfast.integrations.answering import RefusalError, answer_refusal
from holdfast.integrations.backends import DEFAULT_PRINCIPAL, Locks
from holdfast.integrations.django.answers import as_django, head_of, user_of
from holdfast.integrations.django.configuration import configured, locks
from holdfast.integrations.django.naming import name_of
from holdfast.integrations.routes import LockRoutes, allow_single

__all__ = ["app_name", "lock_routes", "urlpatterns"]

app_name = "holdfast"


# A body must be application/json, and so cannot come from another site's page without being allowed to: no CSRF token is needed.
@csrf_exempt
def lock_routes(request: HttpRequest, tail: str = "") -> HttpResponse:
    """Any route; who is known may lock single resources and see who has them, who may `holdfast.break_lock` may break them."""
    head = head_of(request)
    try:
        user = user_of(request)
    except RefusalError as error:
        return as_django(answer_refusal(error, head.field(b"accept"), root=head.root))
    is_known, is_user = user is not None, not isinstance(user, str | None)
    rule = configured().may_see

    def may_lock(principal: str, resource: ResourcePath, depth: Depth) -> bool:
        return is_known and allow_single(principal, resource, depth)

    def may_see(_principal: str, resource: ResourcePath) -> bool:
        return is_known if rule is None else rule(request, resource.text)

    def may_break(_principal: str) -> bool:
        return is_user and user.has_perm("holdfast.break_lock")

    # The address below the project: answers add the path at which that is mounted.
    kept = Locks(backend=locks().backend, address=reverse("holdfast:locks").removeprefix(head.root))
    routes = LockRoutes(kept, may_lock=may_lock, may_see=may_see, may_break=may_break)
    query = str(request.META.get("QUERY_STRING", ""))
    principal = name_of(user) if is_known else DEFAULT_PRINCIPAL
    return as_django(routes.answer(head, tail, query, request.body, principal))


urlpatterns = [re_path(r"^(?P<tail>/.*)?$", lock_routes, name="locks")]
