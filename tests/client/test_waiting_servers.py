"""Waiting on servers that are not Holdfast: what is sent, how often, and what never is."""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx_retries
import pytest

from holdfast.client.errors import LockedError, NotReplayableError
from holdfast.client.layers import RetryLayerError
from holdfast.client.policy import Budget, GaveUp, Stale, Waiting, WaitPolicy
from holdfast.client.transport_httpx import WaitTransport
from holdfast.client.versions import UnknownVersionError
from tests.client.locked_servers import Heard, ManualTime, Said, Scripted, scripted

DAV_423 = b'<D:error xmlns:D="DAV:"><D:lock-token-submitted><D:href>/a</D:href></D:lock-token-submitted></D:error>'
OVERWRITE = WaitPolicy(stale=Stale.OVERWRITE)


def discovered(*activelocks: str) -> bytes:
    return (
        '<D:multistatus xmlns:D="DAV:"><D:response><D:href>/a</D:href><D:propstat><D:prop><D:lockdiscovery>'
        + "".join(activelocks)
        + "</D:lockdiscovery></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>"
    ).encode()


def activelock(timeout: str = "Second-1800") -> str:
    return (
        "<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:exclusive/></D:lockscope><D:depth>0</D:depth>"
        f"<D:owner>Ada</D:owner><D:timeout>{timeout}</D:timeout><D:locktoken><D:href>urn:uuid:1</D:href></D:locktoken>"
        "<D:lockroot><D:href>/a</D:href></D:lockroot></D:activelock>"
    )


def client(served: Scripted, policy: WaitPolicy, manual: ManualTime, **more: Any) -> httpx.Client:
    transport = WaitTransport(policy, sleeper=manual.sleep, now=manual.now, chance=lambda: 0.5, **more)
    return httpx.Client(transport=transport, base_url=served.url)


def in_turn(*answers: Said) -> Callable[[Heard], Said]:
    """Say these one after the other, and the last for ever."""
    left = list(answers)
    return lambda _heard: left.pop(0) if len(left) > 1 else left[0]


def test_a_retry_after_is_kept_and_jitter_added() -> None:
    manual = ManualTime()
    with scripted(in_turn(Said(423, b"locked", {"Retry-After": "5"}), Said(204))) as served:
        with client(served, OVERWRITE, manual) as http:
            assert http.put("/a", content=b"x").status_code == 204
    assert manual.slept == [pytest.approx(5.5)]
    assert served.methods() == ["PUT", "PUT"]


def test_a_retry_after_beyond_the_deadline_ends_it_at_once() -> None:
    manual = ManualTime()
    with scripted(in_turn(Said(423, b"locked", {"Retry-After": "120"}))) as served:
        with client(served, OVERWRITE, manual) as http:
            answer = http.put("/a", content=b"x")
    assert answer.status_code == 423
    assert answer.extensions["holdfast"].gave_up is GaveUp.DEADLINE
    assert answer.content == b"locked"
    assert (manual.slept, served.methods()) == ([], ["PUT"])


def test_without_a_word_it_asks_rarer_and_rarer_until_the_deadline() -> None:
    manual = ManualTime()
    policy = WaitPolicy(stale=Stale.OVERWRITE, deadline=60, floor=1, cap=8)
    with scripted(in_turn(Said(423))) as served, client(served, policy, manual) as http:
        answer = http.put("/a", content=b"x")
    assert answer.status_code == 423
    assert manual.slept[:5] == [1.5, 2.5, 4.5, 4.5, 4.5]
    assert sum(manual.slept) == pytest.approx(60)


def test_it_is_sent_no_more_often_than_the_policy_allows() -> None:
    manual = ManualTime()
    policy = WaitPolicy(stale=Stale.OVERWRITE, attempts=3)
    with scripted(in_turn(Said(423))) as served, client(served, policy, manual) as http:
        answer = http.put("/a", content=b"x")
    assert answer.extensions["holdfast"].gave_up is GaveUp.ATTEMPTS
    assert served.methods() == ["PUT"] * 3


def test_requests_under_one_budget_are_bounded_together() -> None:
    manual = ManualTime()
    policy = WaitPolicy(stale=Stale.OVERWRITE, deadline=10, cap=0.5, budget=Budget(capacity=5, per_second=0.2))
    with scripted(in_turn(Said(423))) as served, client(served, policy, manual) as http:
        for name in "abcd":
            assert http.put(f"/{name}", content=b"x").status_code == 423
    # 4 first sendings, 5 at once, and one more each five seconds of the 40 in which it was waited.
    assert len(served.heard) <= 4 + 5 + 40 * 0.2 + 1


def test_the_lock_is_looked_at_instead_of_sending_a_body_again_and_again() -> None:
    manual = ManualTime()
    states = [discovered(activelock("Second-90"))] * 6 + [discovered()]
    told = list[Waiting]()

    def answer(heard: Heard) -> Said:
        if heard.method == "PROPFIND":
            return Said(207, states.pop(0), {"Content-Type": "application/xml"})
        return Said(204) if len(states) == 0 else Said(423, DAV_423)

    policy = WaitPolicy(stale=Stale.OVERWRITE, on_wait=told.append)
    with scripted(answer) as served, client(served, policy, manual) as http:
        http.headers["Authorization"] = "Basic c2VjcmV0"
        assert http.put("/a", content=b"x" * 200_000).status_code == 204
    assert served.methods() == ["PUT", *["PROPFIND"] * 7, "PUT"]
    assert {heard.headers["Depth"] for heard in served.heard if heard.method == "PROPFIND"} == {"0"}
    assert {heard.headers["Authorization"] for heard in served.heard} == {"Basic c2VjcmV0"}
    assert told[0].details.holder == "Ada", "the server was asked who has it"
    assert told[0].details.remaining == 90


def test_a_lock_without_end_on_any_server_is_not_waited_for() -> None:
    manual = ManualTime()

    def answer(heard: Heard) -> Said:
        return Said(207, discovered(activelock("Infinite"))) if heard.method == "PROPFIND" else Said(423, DAV_423)

    with scripted(answer) as served, client(served, OVERWRITE, manual) as http:
        refused = http.put("/a", content=b"x")
    assert refused.extensions["holdfast"].gave_up is GaveUp.ENDLESS
    assert refused.extensions["holdfast"].details.holder == "Ada"
    assert manual.slept == []


def test_a_server_that_says_free_and_locked_in_turn_is_not_hammered() -> None:
    manual = ManualTime()

    def answer(heard: Heard) -> Said:
        return Said(207, discovered()) if heard.method == "PROPFIND" else Said(423, DAV_423)

    policy = WaitPolicy(stale=Stale.OVERWRITE, deadline=60)
    with scripted(answer) as served, client(served, policy, manual) as http:
        assert http.put("/a", content=b"x").status_code == 423
    assert len(served.heard) < 40


@pytest.mark.parametrize("status", [400, 401, 403, 405, 500, 501])
def test_a_server_that_shows_no_locks_is_asked_again_with_the_request_itself(status: int) -> None:
    manual = ManualTime()
    puts = iter([Said(423, DAV_423), Said(423, DAV_423), Said(204)])

    def answer(heard: Heard) -> Said:
        return Said(status) if heard.method == "PROPFIND" else next(puts)

    with scripted(answer) as served, client(served, OVERWRITE, manual) as http:
        assert http.put("/a", content=b"x").status_code == 204
    assert served.methods() == ["PUT", "PROPFIND", "PUT", "PUT"], "what cannot be seen is looked for once"


def test_nothing_is_ever_sent_to_another_origin() -> None:
    manual = ManualTime()
    with scripted(lambda _heard: Said(200)) as elsewhere:
        links = f'<{elsewhere.url}/api/locks/1>; rel="describedby"'
        body = DAV_423.replace(b"/a<", f"{elsewhere.url}/a<".encode())
        problem = (
            '{"type":"urn:problem-type:holdfast:locked","title":"Locked","status":423,"resource":"/a","retry_after":1,'
            '"locks":[{"id":"1","root":"/a","scope":"exclusive","depth":"0","since":"2026-01-01T00:00:00Z",'
            f'"holder":{{"name":"x","owner":"","client":""}},"url":"{elsewhere.url}/api/locks/1"}}]}}'
        ).encode()
        answers = [Said(423, text, {"Link": links, "Content-Type": "application/xml"}) for text in (body, problem)]

        def answer(heard: Heard) -> Said:
            if heard.method != "PUT":
                return Said(404)
            return answers.pop(0) if answers else Said(204)

        with scripted(answer) as served, client(served, OVERWRITE, manual) as http:
            http.put("/a", content=b"x", headers={"Authorization": "Basic c2VjcmV0"})
    assert elsewhere.heard == []


def test_the_callers_own_token_is_sent_once_where_it_belongs() -> None:
    manual = ManualTime()

    def answer(heard: Heard) -> Said:
        return Said(204) if heard.headers.get("If") == f"<{served.url}/a> (<urn:uuid:mine>)" else Said(423, DAV_423)

    def tokens_for(url: str) -> list[tuple[str, str]]:
        return [(url, "urn:uuid:mine")] if url.endswith("/a") else []

    with scripted(answer) as served, client(served, WaitPolicy(), manual, tokens_for=tokens_for) as http:
        assert http.put("/a", content=b"x").status_code == 204
    assert served.methods() == ["PUT", "PUT"]
    assert manual.slept == []


def test_a_weak_tag_is_sent_as_a_condition_that_cannot_pass_by_mistake() -> None:
    manual = ManualTime()
    answers = in_turn(Said(200, b"text", {"ETag": 'W/"1"'}), Said(423, b"locked"), Said(412))
    with scripted(answers) as served, client(served, WaitPolicy(), manual) as http:
        http.get("/a")
        assert http.put("/a", content=b"x").status_code == 412
    assert served.heard[-1].headers["If-Match"] == '"1"'


def test_patch_needs_the_version_and_post_does_not() -> None:
    manual = ManualTime()
    with scripted(in_turn(Said(423), Said(423), Said(201))) as served, client(served, WaitPolicy(), manual) as http:
        with pytest.raises(UnknownVersionError):
            http.patch("/a", content=b"x")
        assert http.post("/a", content=b"x").status_code == 201


def test_a_condition_of_the_callers_own_is_left_as_it_is() -> None:
    manual = ManualTime()
    with scripted(in_turn(Said(423), Said(204))) as served, client(served, WaitPolicy(), manual) as http:
        assert http.put("/a", content=b"x", headers={"If-Match": '"mine"'}).status_code == 204
    assert [heard.headers["If-Match"] for heard in served.heard] == ['"mine"', '"mine"']


def once(*pieces: bytes) -> Iterator[bytes]:
    yield from pieces


def test_a_body_that_cannot_be_sent_again_is_refused_before_the_wait() -> None:
    manual = ManualTime()
    with scripted(in_turn(Said(423, b"locked"))) as served, client(served, OVERWRITE, manual) as http:
        with pytest.raises(NotReplayableError) as caught:
            http.put("/a", content=once(b"x", b"y"))
    assert "read only once" in str(caught.value)
    assert isinstance(caught.value.__cause__, LockedError)
    assert (manual.slept, served.methods()) == ([], ["PUT"])


def test_bodies_that_can_be_sent_again_arrive_whole_each_time(tmp_path: Path) -> None:
    manual = ManualTime()
    (tmp_path / "report").write_bytes(b"0123456789")
    opened = {"holdfast": {"body": lambda: [b"01234", b"56789"]}}
    sent = list[bytes]()

    def answer(heard: Heard) -> Said:
        if heard.method == "PROPFIND":
            return Said(405)
        sent.append(heard.body)
        return Said(423 if len(sent) % 2 else 204)

    with scripted(answer) as served:
        with client(served, OVERWRITE, manual) as http, (tmp_path / "report").open("rb") as file:
            http.put("/bytes", content=b"0123456789")
            http.put("/file", content=file)
            http.put("/list", content=[b"01234", b"56789"])
            http.put("/function", content=once(b"01234", b"56789"), extensions=opened)
            assert set(sent) == {b"0123456789"}
            http.put("/form", files={"report": io.BytesIO(b"0123456789")})
            http.put("/json", json={"a": 1})
    assert len(sent) == 12
    assert sent[0::2] == sent[1::2]
    assert b"0123456789" in sent[-3]


def test_what_was_carried_out_in_part_is_not_sent_again() -> None:
    manual = ManualTime()
    partly = (
        b'<D:multistatus xmlns:D="DAV:"><D:response><D:href>/d/x</D:href><D:status>HTTP/1.1 423 Locked</D:status>'
        b"</D:response></D:multistatus>"
    )
    with scripted(in_turn(Said(207, partly))) as served, client(served, OVERWRITE, manual) as http:
        with pytest.raises(NotReplayableError) as caught:
            http.delete("/d/")
    assert "may have been carried out" in str(caught.value)
    assert served.methods() == ["DELETE"]


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_multistatus_that_is_no_refusal_reaches_the_caller_whole(size: int) -> None:
    manual = ManualTime()
    body = b"<D:multistatus xmlns:D='DAV:'>" + b" " * size + b"</D:multistatus>"
    with scripted(in_turn(Said(207, body))) as served, client(served, OVERWRITE, manual) as http:
        assert http.delete("/d/").content == body
        with http.stream("DELETE", "/d/") as answer:
            assert b"".join(answer.iter_bytes()) == body


def test_a_compressed_423_is_read_and_returned() -> None:
    manual = ManualTime()
    said = Said(423, gzip.compress(DAV_423), {"Content-Encoding": "gzip", "Content-Type": "application/xml"})
    policy = WaitPolicy(stale=Stale.OVERWRITE, deadline=0)
    with scripted(in_turn(said)) as served, client(served, policy, manual) as http:
        answer = http.put("/a", content=b"x")
    assert answer.content == DAV_423
    assert answer.extensions["holdfast"].details.resource == "/a"


def test_a_huge_423_is_read_up_to_a_bound() -> None:
    manual = ManualTime()
    policy = WaitPolicy(stale=Stale.OVERWRITE, deadline=0)
    with scripted(in_turn(Said(423, b"x" * 20_000_000))) as served, client(served, policy, manual) as http:
        answer = http.put("/a", content=b"x")
    assert answer.status_code == 423
    assert len(answer.content) < 1_000_000


def test_services_that_say_locked_with_409_are_waited_for_when_asked_to() -> None:
    manual = ManualTime()
    body = b'{"lock": {"id": "7", "path": "a.psd", "owner": {"name": "Ada"}}, "message": "already locked"}'
    answers = in_turn(Said(409, body), Said(201))
    policy = WaitPolicy(conflicts=True)
    with scripted(answers) as served, client(served, policy, manual) as http:
        assert http.post("/locks", content=b"{}").status_code == 201
    with scripted(in_turn(Said(409, body))) as served, client(served, WaitPolicy(), manual) as http:
        assert http.post("/locks", content=b"{}").content == body
    assert served.methods() == ["POST"]


def test_policy_and_version_can_be_given_for_one_request_and_a_slip_is_refused() -> None:
    manual = ManualTime()
    with scripted(in_turn(Said(423))) as served, client(served, WaitPolicy(), manual) as http:
        given = {"holdfast": {"policy": WaitPolicy(deadline=0)}}
        assert http.put("/a", content=b"x", extensions=given).status_code == 423
        with pytest.raises(TypeError):
            http.put("/a", content=b"x", extensions={"holdfast": {"etag": '"1"'}})
    assert manual.slept == []


def test_a_second_layer_that_retries_423_is_refused() -> None:
    both = httpx_retries.Retry(total=3, status_forcelist=[423, 503])
    with pytest.raises(RetryLayerError):
        WaitTransport(transport=httpx_retries.RetryTransport(retry=both))
    WaitTransport(transport=httpx_retries.RetryTransport(retry=httpx_retries.Retry(total=3))).close()
    above = httpx_retries.RetryTransport(transport=WaitTransport(), retry=both)
    with scripted(in_turn(Said(423))) as served, httpx.Client(transport=above, base_url=served.url) as http:
        with pytest.raises(RetryLayerError):
            http.put("/a", content=b"x")
    assert served.heard == []


def test_a_redirect_is_followed_by_the_clients_rules_and_the_new_place_waited_for() -> None:
    manual = ManualTime()
    puts = iter([Said(423), Said(204)])

    def answer(heard: Heard) -> Said:
        return Said(307, b"", {"Location": "/b"}) if heard.target == "/a" else next(puts)

    with scripted(answer) as served, client(served, OVERWRITE, manual) as http:
        assert http.put("/a", content=b"x", follow_redirects=True).status_code == 204
    assert [heard.target for heard in served.heard] == ["/a", "/b", "/b"]
    assert [heard.body for heard in served.heard] == [b"x"] * 3


def test_a_server_that_says_it_held_the_line_and_did_not_is_not_hammered() -> None:
    manual = ManualTime()
    said = Said(423, DAV_423, {"Preference-Applied": "wait=30"})
    policy = WaitPolicy(deadline=60)
    with scripted(in_turn(said)) as served, client(served, policy, manual) as http:
        assert http.request("LOCK", "/a", content=b"<lockinfo/>").status_code == 423
    assert len(served.heard) < 30


def test_a_look_that_the_network_loses_is_repeated() -> None:
    manual = ManualTime()
    looks = [Said(207, discovered(activelock())), Said(0), Said(0), Said(207, discovered())]

    def answer(heard: Heard) -> Said:
        if heard.method == "PROPFIND":
            return looks.pop(0)
        return Said(423, DAV_423) if looks else Said(204)

    with scripted(answer) as served, client(served, OVERWRITE, manual) as http:
        assert http.put("/a", content=b"x").status_code == 204
    assert served.methods() == ["PUT", *["PROPFIND"] * 4, "PUT"]


def test_a_request_that_the_network_loses_is_the_callers_to_repeat() -> None:
    manual = ManualTime()
    with scripted(in_turn(Said(423), Said(0))) as served, client(served, OVERWRITE, manual) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            http.put("/a", content=b"x")
    assert served.methods() == ["PUT", "PUT"]


def test_a_wait_may_be_without_a_deadline() -> None:
    manual = ManualTime()
    policy = WaitPolicy(stale=Stale.OVERWRITE, deadline=math.inf)
    answers = in_turn(*[Said(423, DAV_423)] * 20, Said(200))
    with scripted(answers) as served, client(served, policy, manual) as http:
        assert http.request("LOCK", "/a", content=b"<lockinfo/>").status_code == 200


def test_a_look_goes_to_the_same_virtual_host_as_the_request() -> None:
    manual = ManualTime()
    policy = WaitPolicy(stale=Stale.OVERWRITE, deadline=0.5)
    with scripted(in_turn(Said(423, DAV_423))) as served, client(served, policy, manual) as http:
        http.put("/a", content=b"x", headers={"Host": "dav.example"})
    assert "PROPFIND" in served.methods()
    assert {heard.headers["Host"] for heard in served.heard} == {"dav.example"}


def test_a_hook_that_fails_ends_the_wait_with_its_own_error() -> None:
    def broken(waiting: Waiting) -> None:
        raise LookupError(waiting.url)

    policy = WaitPolicy(stale=Stale.OVERWRITE, on_wait=broken)
    with scripted(in_turn(Said(423))) as served, client(served, policy, ManualTime()) as http:
        with pytest.raises(LookupError):
            http.put("/a", content=b"x")
    assert served.methods() == ["PUT"]
