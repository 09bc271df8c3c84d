"""One setting moves the locks to a file of their own, or to a Holdfast server; the same project, the same workers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from holdfast.core.access import Role
from tests.integrations.django.desk import Desk, open_desk
from tests.integrations.django.test_served import CHANGE, HIDDEN, HTML, clean, lock, opened, saved
from tests.serving import serving

pytestmark = pytest.mark.process
TAKE_OVER = "/admin/articles/article/1/lock/take-over/"


@pytest.fixture(params=["file", "server"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    project = tmp_path / "project"
    if request.param == "file":
        with open_desk(project, LOCKS=f"sqlite:///{tmp_path / 'locks.db'}") as desk:
            yield desk
        return
    folder = tmp_path / "served"
    folder.mkdir()
    with serving(folder, users={"desk": Role.WRITER}) as served:
        with open_desk(project, LOCKS=served.url, LOCKS_AUTH="desk:desk-secret") as desk:
            yield desk


def wins(desk: Desk, name: str) -> int:
    with desk.client(name) as client:
        return lock(client, "/articles/article/2").status_code


def test_the_admin_and_the_api_mean_the_same_locks(elsewhere: Desk) -> None:
    with (
        elsewhere.client("alice", HTML) as alice,
        elsewhere.client("bob", HTML) as bob,
        elsewhere.client("root", HTML) as root,
    ):
        fields = opened(alice)
        assert elsewhere.holders() == []  # not in Django's database
        assert "<strong>alice</strong> is editing this" in bob.get(CHANGE).text
        clean(elsewhere, "/articles/1", "*/*")
        assert beats(alice, fields).json()["expires_in"] > 290
        root_token = dict(HIDDEN.findall(root.get(TAKE_OVER).text))
        assert root.post(TAKE_OVER, data=root_token | {"reason": "to print"}).status_code == 302
        heard = beats(alice, fields)
        assert heard.status_code == 410
        ended = heard.json()["ended"]
        assert "to print" in ended["reason"]
        assert "root" in ended["by"] + ended["reason"]  # at a server it was the application's account, for root
        assert saved(alice, fields, "x").status_code == 423
        taken = opened(root)
        assert saved(root, taken, "by root").status_code == 302
        assert elsewhere.text() == "by root"
        assert saved(bob, opened(bob), "by bob").status_code == 302
    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(lambda name: wins(elsewhere, name), ["alice", "bob", "root"] * 2))
    assert sorted(statuses) == [201, 423, 423, 423, 423, 423]


def beats(client: httpx.Client, fields: dict[str, str]) -> httpx.Response:
    """A sign of life, as the script gives it."""
    names = {"csrfmiddlewaretoken": "csrfmiddlewaretoken", "id": "_holdfast_id", "token": "_holdfast_token"}
    body = {name: fields[field] for name, field in names.items()}
    return client.post("/admin/articles/article/1/lock/", data=body | {"action": "refresh"})
