"""LockableAdmin: an admin whose change form takes the edit lock, shows who else has it, and asks before it breaks.

Owns: what happens when a form opens, is saved, is left, or is taken over. Must not know: how locks are kept. The script beside it
(`static/holdfast/edit_lock.js`) keeps the lock alive while the form is open; without it the lock ends EDIT_TTL seconds after opening.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.contrib.admin.options import TO_FIELD_VAR
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.views.decorators.http import require_http_methods

from holdfast.core.decisions import Effect, Reach
from holdfast.integrations.answering import LockedError, RefusalError, answer_refusal
from holdfast.integrations.django.answers import as_django, principal_of
from holdfast.integrations.django.configuration import configured, edit_locks, locks
from holdfast.integrations.django.editing import Editing, begin_editing, is_wish, path_of, seize
from holdfast.integrations.django.guards import changing, changing_all
from holdfast.integrations.django.models import Lock
from holdfast.wire.locked import headers_423, locked_detail
from holdfast.wire.problem import Representation

__all__ = ["LockAdmin", "LockableAdmin"]

_EDITING: Final = "_holdfast_editing"
_ID: Final = "_holdfast_id"
_TOKEN: Final = "_holdfast_token"  # noqa: S105 - the name of a field
_PROBLEM: Final = "application/problem+json"
# What of a refused form is no answer of the person's: buttons, our own fields, the counts of inline forms, passwords.
_NOT_SHOWN: Final = re.compile(
    r"^_|^csrfmiddlewaretoken$|-(?:TOTAL|INITIAL|MIN_NUM|MAX_NUM)_FORMS$|^initial-|passw", re.IGNORECASE
)


class LockableAdmin(admin.ModelAdmin):
    """Use it in the place of ModelAdmin. The model may be any; `Lockable` only adds the same for your own code.

    Whoever has the permission `holdfast.break_lock` may take a form over from somebody else; everybody may from himself.
    With a `change_form_template` of your own, put `{% include "holdfast/edit_lock.html" %}` into its block `form_top`.
    """

    change_form_template: ClassVar[Any] = "holdfast/change_form.html"

    class Media:
        """Files alone, so that a Content-Security-Policy needs no exception."""

        css: ClassVar[dict[str, Sequence[str]]] = {"all": ("holdfast/edit_lock.css",)}
        js: ClassVar[Sequence[str]] = ("holdfast/edit_lock.js",)

    # -- who may ------------------------------------------------------------------------------------

    def has_break_lock_permission(self, request: HttpRequest, obj: Any) -> bool:
        """May this user break the locks of others on `obj`? Override it with a rule of your own."""
        user: Any = request.user
        return bool(user.has_perm("holdfast.break_lock"))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Not while somebody else has the form: it is shown, and cannot be changed."""
        return super().has_change_permission(request, obj) and not _is_read_only(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The same."""
        return super().has_delete_permission(request, obj) and not _is_read_only(request, obj)

    # -- the form -----------------------------------------------------------------------------------

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Open the form with its lock, or save it under that."""
        obj = None if object_id is None else self._object(request, object_id)
        if obj is None or not self.has_change_permission(request, obj):
            return super().changeform_view(request, object_id, form_url, extra_context)
        if request.method == "POST":
            return self._save(request, object_id or "", obj, form_url, extra_context)
        if request.method != "GET":
            return super().changeform_view(request, object_id, form_url, extra_context)
        if not is_wish(request):
            return _not_now()
        return self._shown(request, object_id or "", obj, begin_editing(request, obj), form_url, extra_context)

    def _shown(
        self,
        request: HttpRequest,
        object_id: str,
        obj: Any,
        editing: Editing,
        form_url: str,
        extra: dict[str, Any] | None,
    ) -> HttpResponse:
        setattr(request, _EDITING, (obj.pk, editing))
        context = {**(extra or {}), "holdfast": self._told(request, obj, editing)}
        return super().changeform_view(request, object_id, form_url, context)

    def _save(
        self, request: HttpRequest, object_id: str, obj: Any, form_url: str, extra: dict[str, Any] | None
    ) -> HttpResponse:
        if "_saveasnew" in request.POST:
            return super().changeform_view(request, object_id, form_url, extra)
        resource, principal = path_of(obj), principal_of(request)
        lock_id, token = request.POST.get(_ID, ""), request.POST.get(_TOKEN, "")
        refusal: LockedError | RefusalError | None = None
        response: HttpResponse | None = None
        with ExitStack() as stack:
            try:
                stack.enter_context(changing(resource, principal, [token] if token else []))
                lock = locks().refresh(lock_id, token, principal, edit_locks().ttl)
            except (LockedError, RefusalError) as error:
                refusal = error
            else:
                response = self._shown(request, object_id, obj, Editing(resource, lock=lock), form_url, extra)
        if response is None:
            assert refusal is not None
            return self._refused(request, obj, refusal)
        if isinstance(response, HttpResponseRedirect):
            _release(lock_id, token, principal)
        return response

    def _refused(self, request: HttpRequest, obj: Any, error: LockedError | RefusalError) -> HttpResponse:
        """The form was not saved: who has it now, and what was typed, so that nothing is lost. 423; 409 where nobody has it."""
        answer = error.answer if isinstance(error, LockedError) else None
        context = {
            **self.admin_site.each_context(request),
            "title": "Not saved: the edit lock was lost",
            "opts": self.opts,
            "original": obj,
            "detail": locked_detail(answer) if answer else str(error),
            "is_locked": answer is not None,
            "typed": self._typed(request),
            "form_url": self._url("change", obj),
        }
        response = TemplateResponse(request, "holdfast/lock_lost.html", context, status=409 if answer is None else 423)
        if answer is not None:
            for name, value in headers_423(answer, Representation.HTML):
                if name != "Content-Security-Policy":  # the admin's pages have the site's own
                    response[name] = value
        return response

    def _typed(self, request: HttpRequest) -> list[tuple[str, str]]:
        labels = {field.name: str(field.verbose_name) for field in self.opts.fields}
        return [
            (labels.get(name, name), "\n".join(values))
            for name, values in request.POST.lists()
            if any(values) and not _NOT_SHOWN.search(name)
        ]

    # -- changes beside the form --------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """A row of an editable list is saved only where nobody has it open."""
        if not change or _editing_of(request, obj) is not None:
            super().save_model(request, obj, form, change)
            return
        with changing(path_of(obj), principal_of(request)):
            super().save_model(request, obj, form, change)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Delete under a lock of one's own; LockedError where somebody else has the form open."""
        obj = self._object(request, object_id)
        if request.method != "POST" or obj is None or not self.has_delete_permission(request, obj):
            return super().delete_view(request, object_id, extra_context)
        editing, principal = begin_editing(request, obj), principal_of(request)
        if editing.lock is None:
            assert editing.answer is not None
            raise LockedError(editing.answer)
        try:
            with changing(editing.resource, principal, [editing.lock.token], reach=Reach.TREE):
                return super().delete_view(request, object_id, extra_context)
        finally:
            _release(editing.lock.id, editing.lock.token, principal)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """The action "delete selected": all of them, or none."""
        effects = [Effect(path_of(obj), Reach.TREE) for obj in queryset]
        if not effects:
            return
        with changing_all(effects, principal_of(request)):
            super().delete_queryset(request, queryset)

    # -- the lock's own addresses -------------------------------------------------------------------

    def get_urls(self) -> list[Any]:
        """`<object>/lock/` for the script, `<object>/lock/take-over/` for people."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        wrap = self.admin_site.admin_view
        heartbeat: Any = require_http_methods(["GET", "HEAD", "POST"])(self.lock_view)
        return [
            path("<path:object_id>/lock/take-over/", wrap(self.take_over_view), name=f"{name}_take_over"),
            path("<path:object_id>/lock/", wrap(heartbeat), name=f"{name}_lock"),
            *super().get_urls(),
        ]

    def lock_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """For the script: POST `action=refresh` or `release` with the form's id and token; GET says whether anybody has it."""
        obj = self._changeable(request, object_id)
        resource, principal = path_of(obj), principal_of(request)
        lock_id, token = request.POST.get("id", ""), request.POST.get("token", "")
        try:
            if request.method != "POST":
                found = locks().find(resource)
                return _json({"holder": found[-1].holder.name if found else None})
            if request.POST.get("action") == "release":
                locks().release(lock_id, token, principal)
                return _json({"holder": None})
            lock = locks().refresh(lock_id, token, principal, edit_locks().ttl)
            return _json({"holder": principal, "expires_in": lock.expires_in})
        except (LockedError, RefusalError) as error:
            return as_django(answer_refusal(error, _PROBLEM))

    def take_over_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether to break the lock, and why; break it, and open the form."""
        obj = self._changeable(request, object_id)
        if not is_wish(request):
            return _not_now()
        may_break = self.has_break_lock_permission(request, obj)
        reason = " ".join(request.POST.get("reason", "").split())[:200]
        state = begin_editing(request, obj)  # where it has become free, the form just opens
        if state.lock is not None:
            return HttpResponseRedirect(self._url("change", obj))
        assert state.in_the_way is not None
        is_own = state.in_the_way.is_own
        if not is_own and not may_break:
            raise PermissionDenied
        if request.method == "POST" and (reason or is_own):
            taken = seize(request, obj, reason, may_break=may_break)
            if taken.lock is not None:
                self.log_change(
                    request, obj, f"Took the edit lock over from {state.in_the_way.holder}: {reason or 'own'}"
                )
                return HttpResponseRedirect(self._url("change", obj))
        context = {
            **self.admin_site.each_context(request),
            "title": "Continue here?" if is_own else "Take over?",
            "opts": self.opts,
            "original": obj,
            "way": state.in_the_way,
            "needs_reason": request.method == "POST",
            "form_url": self._url("change", obj),
        }
        return TemplateResponse(request, "holdfast/take_over.html", context)

    # -- what they share ----------------------------------------------------------------------------

    def _object(self, request: HttpRequest, object_id: str) -> Any:
        field = request.POST.get(TO_FIELD_VAR, request.GET.get(TO_FIELD_VAR))
        return self.get_object(request, unquote(object_id), field)

    def _changeable(self, request: HttpRequest, object_id: str) -> Any:
        obj = self.get_object(request, unquote(object_id))
        if obj is None:
            raise Http404
        if not self.has_change_permission(request, obj):
            raise PermissionDenied
        return obj

    def _url(self, view: str, obj: Any) -> str:
        name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{view}"
        return reverse(name, args=[quote(str(obj.pk))])

    def _told(self, request: HttpRequest, obj: Any, editing: Editing) -> dict[str, Any]:
        """What the template says."""
        usual, way = edit_locks(), editing.in_the_way
        may = way is not None and (way.is_own or self.has_break_lock_permission(request, obj))
        return {
            "lock": editing.lock,
            "way": way,
            "url": self._url("lock", obj),
            "take_over_url": self._url("take_over", obj) if may else "",
            "ttl": usual.ttl,
            "heartbeat": usual.heartbeat,
            "idle": usual.idle,
        }


class LockAdmin(admin.ModelAdmin):
    """The locks of Django's own database, to look at."""

    list_display = ("root", "holder", "since", "expires_at", "reason", "fencing_token")
    search_fields = ("root", "holder", "reason")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Those that are held, wherever HOLDFAST keeps them."""
        from holdfast.integrations.django.rows import held_rows

        return held_rows(configured().database)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Locks are granted to whoever edits."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing about a lock is changed by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A lock is broken, with a reason, where it is in the way; its row stays, so that its holder is told."""
        return False


admin.site.register(Lock, LockAdmin)


def _editing_of(request: HttpRequest, obj: Any) -> Editing | None:
    """How the form of this very object stands in this request."""
    found = getattr(request, _EDITING, None)
    return found[1] if found is not None and obj is not None and found[0] == obj.pk else None


def _is_read_only(request: HttpRequest, obj: Any) -> bool:
    editing = _editing_of(request, obj)
    return editing is not None and editing.lock is None


def _release(lock_id: str, token: str, principal: str) -> None:
    try:
        locks().release(lock_id, token, principal)
    except RefusalError as error:
        if error.status not in {403, 404, 410}:  # it has ended meanwhile, which was the aim
            raise


def _not_now() -> HttpResponse:
    """To a browser that nobody has asked for the form, it answers what lets a browser drop a page and load it anew when it is wanted."""
    text = "A form is opened, and its edit lock taken, once somebody asks for it."
    return HttpResponse(text, status=503, content_type="text/plain")


def _json(members: dict[str, Any]) -> HttpResponse:
    return JsonResponse(members, headers={"Cache-Control": "no-store"})
