"""The settings about people: who sends a request, and who may see who has what; and where the locks' addresses lead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest


class Project:
    """A project's urls."""

    @property
    def urlpatterns(self) -> list[Any]:
        from django.urls import include, path

        return [path("locks", include("holdfast.integrations.django.urls"))]


PROJECT = Project()


@pytest.fixture(autouse=True)
def project(django_database: None) -> Iterator[None]:
    from django.test import override_settings

    from holdfast.integrations.django.models import Lock

    Lock.objects.all().delete()
    with override_settings(ROOT_URLCONF=PROJECT):
        yield


def user(name: str = "ada") -> Any:
    return SimpleNamespace(is_authenticated=bool(name), get_username=lambda: name, has_perm=lambda _permission: False)


def asked(method: str, path: str, sender: Any, body: object = None, **environ: str) -> tuple[int, Any]:
    from django.test import RequestFactory
    from django.urls import resolve

    sent: dict[str, Any] = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    request = RequestFactory(**environ).generic(method, path, **sent)
    request.user = sender
    view, arguments, named = resolve(path.partition("?")[0])
    answer = view(request, *arguments, **named)
    return answer.status_code, json.loads(answer.content)


def test_without_a_rule_who_has_what_is_told_to_those_who_are_logged_in() -> None:
    status, lock = asked("POST", "/locks", user(), {"resource": "/a", "ttl": 60})
    assert status == 201
    for path in ("/locks?resource=/a", f"/locks/{lock['id']}"):
        assert asked("GET", path, user("bob"))[0] == 200
        status, problem = asked("GET", path, user(""))
        assert status == 403
        assert "ada" not in json.dumps(problem)


def test_the_projects_rule_is_given_the_request_and_the_path() -> None:
    from django.test import override_settings

    def rule(request: Any, path: str) -> bool:
        return path == f"/{request.headers['X-Team']}/a b"

    asked("POST", "/locks", user(), {"resource": "/red/a%20b", "ttl": 60})
    with override_settings(HOLDFAST={"MAY_SEE": rule}):
        assert asked("GET", "/locks?resource=/red/a%2520b", user(""), HTTP_X_TEAM="red")[0] == 200
        assert asked("GET", "/locks?resource=/red/a%2520b", user(), HTTP_X_TEAM="blue")[0] == 403


@pytest.mark.parametrize("found", ["machine", user("machine")])
def test_the_projects_own_rule_tells_who_it_is_by_name_or_as_a_user(found: Any) -> None:
    from django.test import override_settings

    with override_settings(HOLDFAST={"PRINCIPAL": lambda request: found if "X-Key" in request.headers else None}):
        assert asked("POST", "/locks", user(), {"resource": "/a", "ttl": 60})[0] == 403
        status, lock = asked("POST", "/locks", user(""), {"resource": "/a", "ttl": 60}, HTTP_X_KEY="1")
        assert (status, lock["holder"]["name"]) == (201, "machine")
        broken = asked("POST", f"/locks/{lock['id']}/break", user(), {"reason": "mine"})
        assert broken[0] == 403


@pytest.mark.parametrize("key", ["PRINCIPAL", "MAY_SEE"])
def test_a_rule_that_is_none_is_named(key: str) -> None:
    from django.test import override_settings

    from holdfast.integrations.django.configuration import configured

    with override_settings(HOLDFAST={key: 5}), pytest.raises(ValueError, match=key):
        configured()


def test_below_a_prefix_the_addresses_have_it_once() -> None:
    from django.urls import set_script_prefix

    set_script_prefix("/shop/")
    try:
        status, lock = asked("POST", "/locks", user(), {"resource": "/a", "ttl": 60}, SCRIPT_NAME="/shop")
    finally:
        set_script_prefix("/")
    assert status == 201
    assert lock["url"] == f"/shop/locks/{lock['id']}"
