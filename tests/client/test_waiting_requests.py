"""WaitAdapter: the same promises over requests."""

from __future__ import annotations

import io
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from urllib3.util import Retry

from holdfast.client.adapter_requests import WaitAdapter, waited_for
from holdfast.client.drivers import WaitCancelledError
from holdfast.client.errors import LockedError, NotReplayableError
from holdfast.client.layers import RetryLayerError
from holdfast.client.policy import GaveUp, Stale, Waiting, WaitPolicy
from holdfast.client.versions import UnknownVersionError
from tests.client.locked_servers import Heard, ManualTime, Said, scripted
from tests.serving import Served, lockinfo, serving

PLAN = "/dav/plan.txt"
OVERWRITE = WaitPolicy(stale=Stale.OVERWRITE)
DAV_423 = b'<D:error xmlns:D="DAV:"><D:lock-token-submitted><D:href>/a</D:href></D:lock-token-submitted></D:error>'


@pytest.fixture(name="served")
def _served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "plan.txt").write_bytes(b"start\n")
    with serving(tmp_path, users=None) as served:
        yield served


def session(policy: WaitPolicy = OVERWRITE, manual: ManualTime | None = None, **more: Any) -> requests.Session:
    if manual is not None:
        more |= {"sleeper": manual.sleep, "now": manual.now, "chance": lambda: 0.5}
    made = requests.Session()
    made.trust_env = False
    made.mount("http://", WaitAdapter(policy, **more))
    return made


def in_turn(*answers: Said) -> Callable[[Heard], Said]:
    left = list(answers)
    return lambda _heard: left.pop(0) if len(left) > 1 else left[0]


def after(step: Callable[[], object]) -> Callable[[Waiting], None]:
    """An `on_wait` that does this at the first wait, as somebody else would."""
    left = [step]
    return lambda _waiting: left.pop()() and None if left else None


def test_five_clients_write_one_locked_document_in_turn_and_none_loses_an_update(served: Served) -> None:
    holder = served.anonymous
    token = holder.locked(PLAN)
    started = threading.Barrier(6)

    def work(name: str) -> int:
        url = served.url + PLAN
        with session(WaitPolicy(deadline=20)) as http:
            started.wait()
            taken = http.request("LOCK", url, data=lockinfo(), headers={"Timeout": "Second-60", "Depth": "0"})
            taken.raise_for_status()
            mine = taken.headers["Lock-Token"]
            text = http.get(url).text
            answer = http.put(url, data=f"{text}{name}\n".encode(), headers={"If": f"({mine})"})
            http.request("UNLOCK", url, headers={"Lock-Token": mine}).raise_for_status()
            return answer.status_code

    with ThreadPoolExecutor(5) as pool:
        results = [pool.submit(work, name) for name in "abcde"]
        started.wait()
        assert holder.put(PLAN, b"start\nholder\n", if_=f"(<{token}>)").status == 204
        assert holder.unlock(PLAN, token).status == 204
        assert [result.result(30) for result in results] == [204] * 5
    lines = holder.get(PLAN).body.decode().splitlines()
    assert lines[:2] == ["start", "holder"]
    assert sorted(lines[2:]) == list("abcde")


def test_the_holders_change_is_not_overwritten_after_the_wait(served: Served) -> None:
    holder = served.anonymous
    token = holder.locked(PLAN)

    def change() -> None:
        holder.put(PLAN, b"theirs", if_=f"(<{token}>)")
        holder.unlock(PLAN, token)

    with session(WaitPolicy(deadline=20, on_wait=after(change))) as http:
        http.get(served.url + PLAN)
        answer = http.put(served.url + PLAN, data=b"mine")
    assert answer.status_code == 412
    assert holder.get(PLAN).body == b"theirs"
    waited = waited_for(answer)
    assert waited is not None
    assert waited.attempts == 2
    assert "If-Match" in waited.added


def test_a_change_of_what_was_never_read_is_refused_before_anything_is_waited_for(served: Served) -> None:
    served.anonymous.locked(PLAN)
    with session(WaitPolicy()) as http, pytest.raises(UnknownVersionError):
        http.put(served.url + PLAN, data=b"mine")


def test_a_version_is_named_for_a_block(served: Served) -> None:
    holder = served.anonymous
    etag = holder.get(PLAN)["ETag"]
    url = served.url + PLAN
    for version, expected in [(etag, 204), ('"another"', 412), (None, 412)]:
        token = holder.locked(PLAN)
        adapter = WaitAdapter(WaitPolicy(on_wait=after(lambda token=token: holder.unlock(PLAN, token))))
        with requests.Session() as http:
            http.mount("http://", adapter)
            with adapter.using(version=version):
                assert http.put(url, data=b"mine").status_code == expected, version


def test_the_last_423_is_returned_whole_or_raised_as_an_error() -> None:
    manual = ManualTime()
    policy = WaitPolicy(stale=Stale.OVERWRITE, deadline=5)
    with scripted(in_turn(Said(423, DAV_423, {"Set-Cookie": "a=b"}))) as served, session(policy, manual) as http:
        answer = http.post(f"{served.url}/a", data=b"x")
        assert (answer.status_code, answer.content, answer.ok) == (423, DAV_423, False)
        assert http.cookies["a"] == "b"
        waited = waited_for(answer)
        assert waited is not None
        assert waited.gave_up is GaveUp.DEADLINE
        adapter = http.get_adapter(served.url)
        assert isinstance(adapter, WaitAdapter)
        with adapter.using(policy=WaitPolicy(deadline=0, raise_locked=True)), pytest.raises(LockedError) as caught:
            http.post(f"{served.url}/a", data=b"x")
    assert caught.value.response.status_code == 423  # type: ignore[union-attr]
    assert pickle.loads(pickle.dumps(caught.value)).resource == "/a"


def test_bodies_that_can_be_sent_again_arrive_whole_each_time(tmp_path: Path) -> None:
    manual = ManualTime()
    (tmp_path / "report").write_bytes(b"skip0123456789")
    sent = list[bytes]()

    def answer(heard: Heard) -> Said:
        if heard.method == "PROPFIND":
            return Said(405)
        sent.append(heard.body)
        return Said(423 if len(sent) % 2 else 204)

    with scripted(answer) as served, session(OVERWRITE, manual) as http, (tmp_path / "report").open("rb") as file:
        file.seek(4)
        http.put(f"{served.url}/bytes", data=b"0123456789")
        http.put(f"{served.url}/file", data=file)
        adapter = http.get_adapter(served.url)
        assert isinstance(adapter, WaitAdapter)
        with adapter.using(body=lambda: [b"01234", b"56789"]):
            http.put(f"{served.url}/function", data=iter([b"01234", b"56789"]))
        assert sent == [b"0123456789"] * 6
        http.post(f"{served.url}/form", files={"report": io.BytesIO(b"0123456789")})
        with pytest.raises(NotReplayableError):
            http.put(f"{served.url}/once", data=iter([b"0123456789"]))
    assert sent[-3] == sent[-2]
    assert manual.slept
    assert len(sent) == 9


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_an_answer_that_is_no_refusal_reaches_the_caller_whole(size: int) -> None:
    body = b"<D:multistatus xmlns:D='DAV:'>" + b" " * size + b"</D:multistatus>"
    with scripted(in_turn(Said(207, body))) as served, session() as http:
        assert http.delete(f"{served.url}/d/").content == body
        with http.delete(f"{served.url}/d/", stream=True) as answer:
            assert b"".join(answer.iter_content(1000)) == body
        del answer  # urllib3 keeps a pool, and its connections, as long as an answer of it is referred to
        assert http.get(f"{served.url}/d/").content == body


def test_a_retry_after_is_kept_and_the_time_for_an_answer_too() -> None:
    manual = ManualTime()
    with scripted(in_turn(Said(423, b"locked", {"Retry-After": "5"}), Said(204))) as served:
        with session(OVERWRITE, manual) as http:
            assert http.put(f"{served.url}/a", data=b"x", timeout=(3, 7)).status_code == 204
    assert manual.slept == [pytest.approx(5.5)]


def test_a_second_layer_that_retries_423_is_refused() -> None:
    with pytest.raises(RetryLayerError):
        WaitAdapter(max_retries=Retry(3, status_forcelist=[423]))
    WaitAdapter(max_retries=Retry(3, status_forcelist=[503])).close()


def test_closing_the_session_ends_the_waits_of_other_threads_and_it_can_be_used_again() -> None:
    waiting = threading.Event()
    policy = WaitPolicy(stale=Stale.OVERWRITE, floor=30, cap=30, on_wait=lambda _waiting: waiting.set())
    with scripted(lambda heard: Said(423 if heard.method == "PUT" else 200)) as served, session(policy) as http:
        with ThreadPoolExecutor(1) as pool:
            result = pool.submit(http.put, f"{served.url}/a", data=b"x")
            assert waiting.wait(10)
            http.close()
            assert isinstance(result.exception(10), WaitCancelledError)
        assert http.get(f"{served.url}/a").status_code == 200


def test_credentials_and_looks_stay_at_the_origin() -> None:
    manual = ManualTime()
    with scripted(lambda _heard: Said(200)) as elsewhere:
        links = f'<{elsewhere.url}/api/locks/1>; rel="describedby"'
        body = DAV_423.replace(b"/a<", f"{elsewhere.url}/a<".encode())
        puts = iter([Said(423, body, {"Link": links}), Said(204)])
        with scripted(lambda heard: next(puts) if heard.method == "PUT" else Said(404)) as served:
            with session(OVERWRITE, manual) as http:
                http.put(f"{served.url}/a", data=b"x", auth=("ada", "secret"))
    assert elsewhere.heard == []
    assert {heard.method for heard in served.heard} == {"PUT", "PROPFIND"}
    assert len({heard.headers["Authorization"] for heard in served.heard}) == 1


def test_closing_the_session_wakes_a_thread_that_listens(served: Served) -> None:
    served.anonymous.locked(PLAN, timeout="Second-3600")
    with session(WaitPolicy(stale=Stale.OVERWRITE, floor=30, cap=30)) as http, ThreadPoolExecutor(1) as pool:
        result = pool.submit(http.put, served.url + PLAN, data=b"mine")
        deadline = time.monotonic() + 10
        while not served.application.feed._readers:
            assert time.monotonic() < deadline, "nobody listens"
            time.sleep(0.005)
        http.close()
        assert isinstance(result.exception(10), WaitCancelledError)
