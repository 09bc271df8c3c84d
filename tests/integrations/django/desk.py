"""The example project in a folder of its own, served by gunicorn with several workers, and people who use it.

The project is `examples/django`, as it is; a few settings are laid over it: quick password hashes, REST framework, and the strictest
Content-Security-Policy. Time is moved by moving the locks: nobody sleeps.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

__all__ = ["EXAMPLE", "Desk", "open_desk"]

EXAMPLE = Path(__file__).parents[3] / "examples" / "django"
WORKERS = 3
_PATIENCE_S = 60

_SETTINGS = """
import os
from desk.settings import *
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
INSTALLED_APPS = [*INSTALLED_APPS, "rest_framework"]
MIDDLEWARE = [*MIDDLEWARE, "site_overlay.strict_policy"]
ROOT_URLCONF = "site_overlay"
HOLDFAST = {**HOLDFAST, "EDIT_HEARTBEAT": 1, "GUARD": ["/guarded/", "/basic/"]}
HOLDFAST["PRINCIPAL"] = "holdfast.integrations.django.rest.authenticated"
HOLDFAST["MAY_SEE"] = "site_overlay.may_see"
if "LOCKS_AUTH" in os.environ:
    HOLDFAST["AUTH"] = os.environ["LOCKS_AUTH"].split(":")
REST_FRAMEWORK = {"EXCEPTION_HANDLER": "holdfast.integrations.django.rest.exception_handler"}
DATABASES["default"].setdefault("OPTIONS", {})
if "sqlite3" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["OPTIONS"]["timeout"] = 1
else:
    DATABASES["default"]["OPTIONS"]["options"] = "-c lock_timeout=1s"
"""

_OVERLAY = """
import os
from asgiref.sync import sync_to_async
from articles.models import Article
from desk.urls import urlpatterns as usual
from django.db import connection
from django.http import JsonResponse
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework import routers, serializers, viewsets
from rest_framework.authentication import BasicAuthentication
from rest_framework.permissions import IsAuthenticated
from holdfast.integrations.django import lock
from holdfast.integrations.django.configuration import locks
from holdfast.integrations.django.rest import LockedWrites

def may_see(request, resource):
    return request.user.is_authenticated or resource.startswith("/public/")

def strict_policy(get_response):
    def middleware(request):
        response = get_response(request)
        response.setdefault("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
        return response
    return middleware

class ArticleSerializer(serializers.ModelSerializer):
    class Meta:
        model = Article
        fields = ["title", "text"]

class Articles(LockedWrites, viewsets.ModelViewSet):
    queryset = Article.objects.all()
    serializer_class = ArticleSerializer
    authentication_classes = []

class KnownArticles(Articles):
    authentication_classes = [BasicAuthentication]
    permission_classes = [IsAuthenticated]

router = routers.DefaultRouter()
router.register("articles", Articles)
known = routers.DefaultRouter()
known.register("articles", KnownArticles)

@csrf_exempt
def write(request):
    Article.objects.update(text="written")
    return JsonResponse({"worker": os.getpid()})

@csrf_exempt
@lock("/jobs/{name}")
def job(request, name):
    with connection.cursor() as cursor:  # what another one has locked is waited for here, with the lock in hand
        cursor.execute("UPDATE articles_article SET text = 'done'")
    return JsonResponse({})

@csrf_exempt
async def job_async(request, name):
    return JsonResponse({"ran": name})

@method_decorator(csrf_exempt, name="dispatch")
class Holders(View):
    async def post(self, request, name):
        found = await sync_to_async(locks().find)("/jobs/" + name)
        return JsonResponse({"holders": [one.holder.name for one in found]})

urlpatterns = [
    path("rest/", include(router.urls)),
    path("basic/", include(known.urls)),
    path("held-by/<name>", lock("/jobs/{name}")(Holders.as_view())),
    path("write", write),
    path("jobs/<name>", job),
    path("async-jobs/<name>", lock("/jobs/{name}")(job_async)),
    path("guarded/<name>", csrf_exempt(lambda request, name: write(request))),
    *usual,
]
"""

_SETUP = """
import json, django
django.setup()
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client
from articles.models import Article
call_command("migrate", verbosity=0)
cookies = {}
for name in ("alice", "bob", "root"):
    user = User.objects.create_user(name, password=name, is_staff=True, is_superuser=name == "root")
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="articles"))
    for browser in ("", "2"):
        client = Client()
        client.force_login(user)
        cookies[name + browser] = client.cookies["sessionid"].value
Article.objects.create(title="Spring issue", text="A first draft.")
Article.objects.create(title="Summer issue", text="Nothing yet.")
print(json.dumps(cookies))
"""


@dataclass
class Desk:
    """The running project. `sessions` are the cookies of its people; `alice2` is alice in another browser."""

    folder: Path
    url: str
    sessions: Mapping[str, str]
    environment: Mapping[str, str]

    def client(self, name: str | None = None, accept: str = "*/*") -> httpx.Client:
        """Somebody who speaks HTTP; close it."""
        cookies = {} if name is None else {"sessionid": self.sessions[name]}
        return httpx.Client(base_url=self.url, cookies=cookies, headers={"Accept": accept}, timeout=_PATIENCE_S)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """One statement in the project's database."""
        if "PGHOST" in self.environment:
            named = {"host": self.environment["PGHOST"], "user": "postgres", "dbname": self.environment["PGDATABASE"]}
            with psycopg.connect(**named) as connection:
                cursor = connection.execute(statement.encode())
                return cursor.fetchall() if cursor.description else []
        connection = sqlite3.connect(self.environment["DATABASE"], timeout=_PATIENCE_S)
        try:
            with connection:
                return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass for every lock."""
        columns = ("created_at_ms", "refreshed_at_ms", "expires_at_ms")
        moved = ", ".join(f"{name} = {name} - {round(seconds * 1000)}" for name in columns)
        self.sql(f"UPDATE holdfast_lock SET {moved}")

    def clear(self) -> None:
        """No lock is held, and the articles are as in the beginning."""
        self.sql("DELETE FROM holdfast_lock")
        self.sql("UPDATE articles_article SET text = 'A first draft.', title = 'Spring issue' WHERE id = 1")

    def text(self) -> str:
        """The first article's."""
        return self.sql("SELECT text FROM articles_article WHERE id = 1")[0][0]

    def holders(self) -> list[str]:
        """Who holds a lock by the table."""
        held = "ended_at_ms IS NULL"
        return [name for (name,) in self.sql(f"SELECT holder FROM holdfast_lock WHERE {held} ORDER BY fencing_token")]


@contextmanager
def open_desk(folder: Path, **more: str) -> Generator[Desk]:
    """The project, migrated, with its people, under gunicorn."""
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3*"))
    (folder / "site_settings.py").write_text(_SETTINGS)
    (folder / "site_overlay.py").write_text(_OVERLAY)
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "DJANGO_SETTINGS_MODULE": "site_settings",
        "DATABASE": str(folder / "desk.sqlite3"),
        "DEBUG": "1",
        **more,
    }
    prepared = subprocess.run(
        [sys.executable, "-c", _SETUP], cwd=folder, env=environment, capture_output=True, text=True, timeout=_PATIENCE_S
    )
    assert prepared.returncode == 0, prepared.stderr
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with _gunicorn(folder, environment, listening), httpx.Client(base_url=url) as client:
            _await(client)
            yield Desk(folder, url, json.loads(prepared.stdout), environment)


@contextmanager
def _gunicorn(folder: Path, environment: Mapping[str, str], listening: socket.socket) -> Iterator[None]:
    number = listening.fileno()
    command = [sys.executable, "-m", "gunicorn", "desk.wsgi", f"--workers={WORKERS}", f"--bind=fd://{number}"]
    # Threads: a browser opens connections that it does not use at once, and each would keep a whole worker waiting.
    quiet = ["--threads=8", "--log-level=warning", "--graceful-timeout=2", "--no-control-socket"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [*command, *quiet],
            cwd=folder,
            env=environment,
            pass_fds=[number],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(client: httpx.Client) -> None:
    ends_at = time.monotonic() + _PATIENCE_S
    while True:
        try:
            if client.get("/articles/1").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < ends_at, "gunicorn does not answer"
        time.sleep(0.05)
