"""Every framework in a real server of several processes, with several people at once: one wins, and the others learn who."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.core.access import Role
from tests.integrations.running import GUNICORN, GUNICORN_AIOHTTP, UVICORN, Running, faults_of, json_of, running
from tests.serving import serving

pytestmark = pytest.mark.process

APPS = {
    "fastapi": (UVICORN, "fastapi_app"),
    "starlette": (UVICORN, "starlette_app"),
    "asgi": (UVICORN, "asgi_app"),
    "litestar": (UVICORN, "litestar_app"),
    "aiohttp": (("tests.integrations.aiohttp_runner",), "aiohttp_app"),
    "aiohttp-workers": (GUNICORN_AIOHTTP, "aiohttp_app()"),
    "flask": (GUNICORN, "flask_app()"),
    "wsgi": (GUNICORN, "wsgi_app()"),
}


@dataclass
class Application:
    """One that is served, and the file that it counts in."""

    running: Running
    counter: Path

    def __post_init__(self) -> None:
        self.as_: Callable = self.running.as_


@pytest.fixture(scope="module", params=["embedded", "server"])
def where(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("locks")
    if request.param == "embedded":
        yield {"LOCKS": f"sqlite:///{folder}/locks.db"}
        return
    with serving(folder, users={"shop": Role.WRITER}) as served:
        yield {"LOCKS": served.url, "LOCKS_AUTH": "shop:shop-secret"}


@pytest.fixture(scope="module", params=list(APPS))
def application(
    request: pytest.FixtureRequest, where: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Application]:
    command, factory = APPS[request.param]
    counter = tmp_path_factory.mktemp("count") / "counter"
    counter.write_text("0")
    with running(command, f"tests.integrations.applications:{factory}", where | {"COUNTER": str(counter)}) as found:
        yield Application(found, counter)


def test_one_of_many_wins_and_the_423_of_the_others_names_the_winner(application: Application, request) -> None:
    order = {"resource": f"/orders/race-{request.node.name}".replace("[", "-").replace("]", ""), "ttl": 300}
    with ThreadPoolExecutor(8) as people:
        answers = list(people.map(lambda number: application.as_(f"user-{number}", "POST", "/locks", order), range(8)))
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [201] + [423] * 7
    winner = next(json_of(answer)["holder"]["name"] for answer in answers if answer.status == 201)
    for answer in answers:
        if answer.status == 423:
            assert [lock["holder"]["name"] for lock in json_of(answer)["locks"]] == [winner]


@contextlib.contextmanager
def locked(application: Application, who: str, resource: str) -> Iterator[dict[str, str]]:
    answer = application.as_(who, "POST", "/locks", {"resource": resource, "ttl": 300, "reason": "rename"})
    assert answer.status == 201, answer.body
    lock = json_of(answer)
    yield lock
    ended = application.as_(who, "DELETE", answer["Location"], Lock_Token=f"<{lock['token']}>")
    assert ended.status == 204, ended.body


@pytest.mark.parametrize("accept", ["application/json", "text/html,*/*;q=0.8", "application/xml"])
def test_a_write_to_what_another_one_has_is_a_423_without_a_fault(application: Application, accept: str) -> None:
    with locked(application, "ada", "/orders/7"):
        answer = application.as_("bob", "PUT", "/orders/7", {"a": 1}, Accept=accept)
        assert answer.status == 423
        assert b"ada" in answer.body
        assert int(answer["Retry-After"]) == 60
        assert faults_of(answer, "PUT", f"http://127.0.0.1:{application.running.port}/orders/7", accept) == []
    assert application.as_("bob", "PUT", "/orders/7", {"a": 1}).status == 200


def test_the_holder_writes_with_its_token_and_nobody_else_does(application: Application) -> None:
    with locked(application, "ada", "/orders/8") as lock:
        token = f"<{lock['token']}>"
        assert application.as_("ada", "PUT", "/orders/8", {}, Lock_Token=token).status == 200
        assert application.as_("ada", "PUT", "/orders/8", {}, If=f"({token})").status == 200
        assert application.as_("bob", "PUT", "/orders/8", {}, Lock_Token=token).status == 423
        mine = application.as_("ada", "PUT", "/orders/8", {})
        assert mine.status == 423
        assert "yourself" in json_of(mine)["detail"]
    assert application.as_("ada", "PUT", "/orders/8", {}, If=f"({token})").status == 412


def test_where_a_write_needs_a_lock_one_without_is_428(application: Application) -> None:
    assert application.as_("ada", "PUT", "/held/9", {}).status == 428
    with locked(application, "ada", "/orders/9") as lock:
        assert application.as_("ada", "PUT", "/held/9", {}, Lock_Token=f"<{lock['token']}>").status == 200


def test_the_links_of_a_423_lead_to_the_lock_and_to_what_it_means(application: Application) -> None:
    with locked(application, "ada", "/orders/10") as lock:
        answer = application.as_("bob", "PUT", "/orders/10", {})
        assert answer["Link"] == f'</locks/{lock["id"]}>; rel="describedby", </locks/help>; rel="help"'
        shown = application.as_("bob", "GET", f"/locks/{lock['id']}")
        assert (shown.status, json_of(shown)["holder"]["name"]) == (200, "ada")
        assert "token" not in json_of(shown)
        assert b"423" in application.as_("bob", "GET", "/locks/help").body
        [found] = json_of(application.as_("bob", "GET", "/locks?resource=/orders/10"))["locks"]
        assert found["id"] == lock["id"]
    assert application.as_("bob", "GET", f"/locks/{lock['id']}").status == 410


def test_a_lock_is_kept_alive_and_moved_to_another_window(application: Application) -> None:
    answer = application.as_("ada", "POST", "/locks", {"resource": "/orders/11", "ttl": 60})
    lock = json_of(answer)
    address = answer["Location"]
    renewed = application.as_("ada", "POST", f"{address}/refresh", {"token": lock["token"], "ttl": 120})
    assert (renewed.status, json_of(renewed)["token"]) == (200, lock["token"])
    assert application.as_("bob", "POST", f"{address}/refresh", {"token": lock["token"]}).status == 403
    assert application.as_("bob", "POST", f"{address}/break", {"reason": "mine"}).status == 403
    moved = application.as_("ada", "POST", f"{address}/take-over", {})
    assert moved.status == 201
    newer = json_of(moved)
    gone = application.as_("ada", "POST", f"{address}/refresh", {"token": lock["token"]})
    assert gone.status == 410
    assert application.as_("ada", "DELETE", moved["Location"], Lock_Token=f"<{newer['token']}>").status == 204


def test_what_is_done_under_a_lock_is_done_one_at_a_time(application: Application) -> None:
    before = int(application.counter.read_text())
    with ThreadPoolExecutor(6) as people:
        answers = list(people.map(lambda number: application.as_(f"user-{number}", "POST", "/count"), range(12)))
    assert [answer.status for answer in answers] == [200] * 12, [answer.body for answer in answers]
    assert int(application.counter.read_text()) == before + 12


def test_a_request_that_makes_no_sense_is_told_so(application: Application) -> None:
    ask = application.as_
    assert ask("ada", "POST", "/locks", {"resource": "/a", "depth": "infinity"}).status == 403
    assert ask("ada", "POST", "/locks", {"resource": "/a", "ttl": None}).status == 403
    assert ask("ada", "POST", "/locks", {"resource": "a"}).status == 400
    assert ask("ada", "POST", "/locks", {"resources": "/a"}).status == 422
    assert ask("ada", "POST", "/locks", [], Content_Type="text/plain").status == 415
    assert ask("ada", "GET", "/locks/unknown").status == 404
    assert ask("ada", "GET", "/locks/unknown/break").status == 405
    assert ask("ada", "PUT", "/orders/12", {}, If="(nonsense").status == 400
    assert ask("anonymous", "POST", "/locks", {"resource": "/a", "id": "chosen"}).status == 422
