"""A 423 that a real lock stands behind: it counts down, is waited for, refreshed, released, broken, and is gone then."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from holdfast.core.access import Grant, Role
from holdfast.core.paths import ResourcePath
from holdfast.testing.simulated import simulating
from tests.serving import Answer, Client, Served, serving
from tests.simulator.wire import ask

LOCKS = "/api/status/locks"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, users=None, simulator_max_locks=5) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Client:
    return served.anonymous


@pytest.fixture
def shared(open_server: Served) -> Client:
    """Of the one server for the module, where a test needs no more than a lock of its own."""
    return open_server.anonymous


def url(key: str, more: str = "") -> str:
    return f"/api/status/423?lock={key}{more}"


def body(answer: Answer) -> Any:
    return json.loads(answer.body)


def retries(answer: Answer) -> int:
    return int(answer["Retry-After"])


# -- counting down ------------------------------------------------------------------------------------


def test_it_counts_down_and_is_gone_then(served, client):
    first = client.get(url("demo", "&for=10s&holder=Ada"))
    assert (first.status, retries(first)) == (423, 10)
    served.uptime.advance(4)
    second = client.get(url("demo", "&for=10s&holder=Ada"))
    assert (second.status, retries(second)) == (423, 6)
    served.uptime.advance(6)
    gone = client.get(url("demo", "&for=10s&holder=Ada"))
    assert gone.status == 200
    assert gone.headers["Retry-After"] is None
    assert "expired" in body(gone)["lock"]["ended"]
    assert client.get(url("demo")).status == 200


@pytest.mark.parametrize("passed", [0, 0.4, 3.2, 5.99])
def test_what_it_says_agrees_at_every_instant(served, client, passed):
    client.get(url("demo", "&for=10s"))
    served.uptime.advance(passed)
    answer = client.get(url("demo"), accept="application/problem+json")
    assert answer.status == 423
    problem = body(answer)
    [lock] = problem["locks"]
    assert retries(answer) == problem["retry_after"] == lock["expires_in"] >= 1
    # Shown on the wall clock, which the test has not moved; the instant is a second's, and so old is what is known of that clock.
    left = datetime.fromisoformat(lock["expires_at"]).timestamp() - time.time()
    assert abs(left - lock["expires_in"]) <= 3


def test_a_long_one_says_no_more_than_a_minute_as_every_423_does(shared):
    answer = shared.get(url("long", "&for=1.5h"))
    assert retries(answer) == 60
    assert body(answer)["locks"][0]["expires_in"] == 5400


def test_the_answer_leads_to_the_lock(client):
    answer = client.get(url("demo", "&for=10s&holder=Ada&reason=proof-reading"))
    [lock] = body(answer)["locks"]
    assert f'<{lock["url"]}>; rel="describedby"' in answer["Link"]
    described = body(client.get(lock["url"]))
    assert described["root"] == lock["root"] == body(answer)["resource"] == "/simulated/demo"
    assert described["holder"] == lock["holder"] == {"name": "Ada", "owner": "", "client": ""}
    assert described["reason"] == "proof-reading"
    assert body(answer)["lock"] == {"key": "demo", "held": True, "state": f"{LOCKS}/demo"}
    assert answer["X-Simulated"] == '423;lock="demo"'


@pytest.mark.parametrize(
    "asked, kind",
    [
        ("", "application/json"), ("&body=problem", "application/problem+json"), ("&body=xml", "application/xml"),
        ("&body=html", "text/html"), ("&body=text", "text/plain"),
    ],
)  # fmt: skip
def test_each_form_names_the_holder(shared, asked, kind):
    answer = shared.get(url("forms", f"&for=1h&holder=Ada{asked}"))
    assert answer.status == 423
    assert answer["Content-Type"].startswith(kind)
    assert b"Ada" in answer.body
    assert b"/simulated/forms" in answer.body


def test_xml_has_the_condition_of_the_method(shared):
    for method, condition in (("PUT", "lock-token-submitted"), ("LOCK", "no-conflicting-lock")):
        root = ElementTree.fromstring(shared.request(method, url("dav", "&for=1h"), accept="application/xml").body)
        assert root.findtext(f"{{DAV:}}{condition}/{{DAV:}}href") == "/simulated/dav"


def test_options_compose_with_it(shared):
    answer = shared.get(url("sized", "&for=1h&size=5000&body=json&header=ETag:%20%22v%22&omit=Link&body_delay=10ms"))
    assert answer.status == 423
    assert len(answer.body) == 5000
    assert answer["ETag"] == '"v"'
    assert answer.headers["Link"] is None
    by_field = shared.request("GET", "/api/status/423", headers={"X-Simulate-Lock": "sized"})
    assert by_field.status == 423


def test_head_has_the_head_of_get(shared):
    got = shared.get(url("head", "&for=1h"))
    head = shared.request("HEAD", url("head", "&for=1h"))
    assert head.status == 423
    assert not head.body
    assert int(head["Content-Length"]) == len(got.body)


@pytest.mark.parametrize(
    "target",
    [
        "/api/status/200?lock=a", "/api/status/423?for=10s", "/api/status/423?holder=Ada",
        *(
            f"/api/status/423?lock=a&{wrong}"
            for wrong in (
                "seq=423,200", "random=423:1", "key=a", "retry_after=3", "header=Retry-After:%203", "delay=1s",
                "for=0", "for=soon", "for=25h", "for=0.5s", "holder=", "holder=a:b", "holder=anonymous", "holder=a%0D%0Ab",
                "reason=a%0Ab", f"reason={'r' * 201}", "lock=b",
            )
        ),
        *(f"/api/status/423?lock={wrong}" for wrong in ("", "a/b", "a.b", "%C3%A4", "x" * 41)),
    ],
)  # fmt: skip
def test_what_cannot_be_or_would_lie_is_refused(shared, target):
    answer = shared.get(target)
    assert answer.status == 400
    assert {"lock", "for", "holder", "reason"} <= set(body(answer)["allowed"])
    assert shared.get(f"{LOCKS}/a").status == 404


def test_keys_are_apart_also_where_they_look_alike(served, client):
    for key in ("a", "a-1", "1-a", "simulated-1-a"):
        assert client.get(url(key, "&for=10s")).status == 423
    client.request("DELETE", f"{LOCKS}/a")
    assert [client.get(url(key)).status for key in ("a", "a-1", "1-a", "simulated-1-a")] == [200, 423, 423, 423]


def test_a_key_begins_anew_by_itself_an_hour_after_its_end(served, client):
    client.get(url("demo", "&for=10s"))
    served.uptime.advance(3600)
    assert client.get(url("demo", "&for=10s")).status == 200
    served.uptime.advance(20)
    assert client.get(url("demo", "&for=10s")).status == 423


# -- managing -----------------------------------------------------------------------------------------


def test_it_is_shown_held_and_ended(served, client):
    client.get(url("shown", "&for=30s&holder=Grace&reason=why"))
    state = body(client.get(f"{LOCKS}/shown"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", state.pop("since"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", state.pop("expires_at"))
    assert state == {
        "key": "shown", "state": "held", "holder": "Grace", "reason": "why", "expires_in": 30, "waiting": [],
        "resource": "/simulated/shown", "url": f"{LOCKS}/shown", "lock": "/api/locks/simulated-1-shown",
        "simulate": url("shown"),
    }  # fmt: skip
    assert [lock["key"] for lock in body(client.get(LOCKS))["locks"]] == ["shown"]
    served.uptime.advance(31)
    ended = body(client.get(f"{LOCKS}/shown"))
    assert (ended["state"], ended["ended"]["how"]) == ("ended", "expired")
    assert body(client.get(LOCKS))["locks"] == []
    assert client.get(f"{LOCKS}/nothing").status == 404


def test_put_refreshes_what_is_held(served, client):
    client.get(url("kept", "&for=10s"))
    before = body(client.get(f"{LOCKS}/kept"))
    served.uptime.advance(8)
    refreshed = client.put(f"{LOCKS}/kept?for=20s", b"")
    assert (refreshed.status, body(refreshed)["expires_in"]) == (200, 20)
    assert body(refreshed)["lock"] == before["lock"]
    assert retries(client.get(url("kept"))) == 20
    assert client.put(f"{LOCKS}/kept?holder=Grace", b"").status == 409


def test_put_begins_anew_what_has_ended(served, client):
    for number in range(1, 8):
        begun = client.put(f"{LOCKS}/again?for=5s&holder=Grace", b"")
        assert begun.status == 201
        assert begun["Location"] == f"{LOCKS}/again"
        assert body(begun)["lock"] == f"/api/locks/simulated-{number}-again"
        assert body(client.get(url("again")))["locks"][0]["holder"]["name"] == "Grace"
        served.uptime.advance(6)
        assert client.get(url("again")).status == 200


def test_delete_releases_and_a_repeated_one_is_no_error(client):
    client.get(url("freed"))
    assert client.request("DELETE", f"{LOCKS}/freed").status == 204
    assert client.request("DELETE", f"{LOCKS}/freed").status == 204
    gone = client.get(url("freed"))
    assert gone.status == 200
    assert "was released by Ada" in body(gone)["lock"]["ended"]
    assert client.request("DELETE", f"{LOCKS}/nothing").status == 404


def test_break_says_who_and_why(client):
    client.get(url("broken"))
    broken = client.request("POST", f"{LOCKS}/broken/break?reason=fire%20drill", b"")
    assert broken.status == 200
    assert body(broken)["ended"] | {"at": ""} == {
        "how": "broken", "at": "", "by": "anonymous", "reason": "fire drill",
    }  # fmt: skip
    assert "fire drill" in body(client.get(url("broken")))["lock"]["ended"]
    again = client.request("POST", f"{LOCKS}/broken/break", b"")
    assert again.status == 410
    assert "fire drill" in body(again)["detail"]
    assert client.request("POST", f"{LOCKS}/nothing/break", b"").status == 404


def test_the_history_has_all_of_it(served, client):
    client.get(url("past", "&for=5s&holder=Ada"))
    client.request("DELETE", f"{LOCKS}/past")
    client.put(f"{LOCKS}/past?for=5s&holder=Grace", b"")
    client.request("POST", f"{LOCKS}/past/break?reason=tea", b"")
    events = body(client.get("/api/history?under=/simulated"))["events"]
    assert [(event["kind"], event["holder"]) for event in events] == [
        ("granted", "Ada"), ("released", "Ada"), ("granted", "Grace"), ("broken", "Grace"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "method, target, allowed",
    [
        ("POST", f"{LOCKS}/a", "DELETE, GET, HEAD, PUT"), ("GET", f"{LOCKS}/a/break", "POST"),
        ("DELETE", LOCKS, "GET, HEAD"),
    ],
)  # fmt: skip
def test_other_methods_are_told_what_there_is(shared, method, target, allowed):
    answer = shared.request(method, target)
    assert (answer.status, answer["Allow"]) == (405, allowed)


@pytest.mark.parametrize("target", [f"{LOCKS}/", f"{LOCKS}/a.b", f"{LOCKS}/a/other", f"{LOCKS}/a/break/x"])
def test_other_addresses_have_nothing(shared, target):
    assert shared.get(target).status == 404


def test_managing_takes_no_options_of_answers(shared):
    assert shared.put(f"{LOCKS}/a?delay=1s", b"").status == 400
    assert shared.put(f"{LOCKS}/a?fault=mid-body", b"").status == 400
    assert shared.put(f"{LOCKS}/a?for=x", b"").status == 400


# -- waiting ------------------------------------------------------------------------------------------


def waits(client: Client, target: str, seconds: int = 60) -> Answer:
    return client.get(target, prefer=f"wait={seconds}")


def until_waiting(client: Client, key: str, count: int) -> None:
    """Until so many stand in line, which must come."""
    while len(body(client.get(f"{LOCKS}/{key}")).get("waiting", [])) < count:
        pass


@pytest.mark.parametrize("ending", ["released", "broken", "expired"])
def test_whoever_waits_is_answered_when_it_ends(served, client, ending):
    client.get(url("line", "&for=30s"))
    with ThreadPoolExecutor(3) as pool:
        parked = [pool.submit(waits, client, url("line")) for _ in range(3)]
        until_waiting(client, "line", 3)
        assert body(client.get(url("line")))["locks"][0]["queue_length"] == 3
        if ending == "released":
            client.request("DELETE", f"{LOCKS}/line")
        elif ending == "broken":
            client.request("POST", f"{LOCKS}/line/break?reason=tea", b"")
        else:
            served.uptime.advance(30)
        for one in parked:
            answer = one.result(20)
            assert answer.status == 200
            assert answer["Preference-Applied"] == "wait=60"
            assert ending in body(answer)["lock"]["ended"]
    assert client.get(url("line")).status == 200
    assert body(client.get("/api/locks?under=/simulated"))["locks"] == []


def test_the_first_request_may_wait_at_once(served, client):
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(waits, client, url("first", "&for=30s"))
        while client.get(f"{LOCKS}/first").status == 404:
            pass
        until_waiting(client, "first", 1)
        served.uptime.advance(30)
        assert parked.result(20).status == 200


def test_a_wait_that_is_over_is_answered_423(served, client):
    client.get(url("slow", "&for=1h"))
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(waits, client, url("slow", "&body=problem"), 20)
        until_waiting(client, "slow", 1)
        served.uptime.advance(20)
        answer = parked.result(20)
    assert answer.status == 423
    assert answer["Preference-Applied"] == "wait=20"
    assert answer["X-Simulated"] == '423;lock="slow"'
    assert 3575 <= body(answer)["locks"][0]["expires_in"] <= 3580
    assert body(client.get(f"{LOCKS}/slow"))["waiting"] == []


def test_a_refresh_makes_those_who_wait_wait_longer(served, client):
    client.get(url("longer", "&for=10s"))
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(waits, client, url("longer"), 200)
        until_waiting(client, "longer", 1)
        client.put(f"{LOCKS}/longer?for=60s", b"")
        served.uptime.advance(10)
        assert client.get(url("longer")).status == 423
        assert not parked.done()
        client.request("DELETE", f"{LOCKS}/longer")
        assert parked.result(20).status == 200


def test_waiting_no_time_is_not_waiting(shared):
    answer = waits(shared, url("zero"), 0)
    assert (answer.status, answer["Preference-Applied"]) == (423, "wait=0")


def test_a_body_may_still_come_slowly_after_a_wait(served, client):
    client.get(url("late", "&for=30s"))
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(waits, client, url("late", "&body_delay=10ms"))
        until_waiting(client, "late", 1)
        client.request("DELETE", f"{LOCKS}/late")
        assert parked.result(20).status == 200


# -- others, caps, rights -----------------------------------------------------------------------------


def acquire(client: Client, resource: str, **more: Any) -> Any:
    sent = json.dumps({"resource": resource, "ttl": 60, **more}).encode()
    answer = client.request("POST", "/api/locks", sent, content_type="application/json")
    assert answer.status == 201, answer.body
    return body(answer)


@pytest.mark.parametrize("resource, depth", [("/simulated/theirs", "0"), ("/simulated", "infinity"), ("/", "infinity")])
def test_a_lock_of_somebody_else_is_told_as_it_is(client, resource, depth):
    lock = acquire(client, resource, depth=depth, reason="theirs")
    answer = client.get(url("theirs"), accept="application/problem+json")
    assert answer.status == 423
    [told] = body(answer)["locks"]
    assert (told["id"], told["root"], told["reason"]) == (lock["id"], resource, "theirs")
    assert "simulated" not in body(answer)["detail"].replace("/simulated", "")
    refused = client.put(f"{LOCKS}/theirs?for=5s", b"")
    assert refused.status == 423
    assert body(refused)["locks"][0]["id"] == lock["id"]
    assert client.request("DELETE", f"{LOCKS}/theirs").status == 404
    assert client.get(lock["url"]).status == 200
    client.request("DELETE", lock["url"], headers={"Lock-Token": f"<{lock['token']}>"})
    assert client.get(url("theirs")).status == 423
    assert body(client.get(f"{LOCKS}/theirs"))["holder"] == "Ada"


def test_an_id_that_somebody_has_used_elsewhere_is_passed_over(client):
    acquire(client, "/elsewhere", id="simulated-1-used")
    assert client.get(url("used", "&for=10s")).status == 423
    assert body(client.get(f"{LOCKS}/used"))["lock"] == "/api/locks/simulated-2-used"


def test_requests_that_come_together_begin_one_lock(served, client):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.get(url("race", f"&for=30s&holder=H{n}")), range(16)))
    assert {answer.status for answer in answers} == {423}
    assert len({body(answer)["locks"][0]["holder"]["name"] for answer in answers}) == 1


def test_only_so_many_are_held_at_once(served, client):
    for number in range(5):
        assert client.get(url(f"n{number}", "&for=10s")).status == 423
    full = client.get(url("n5"))
    assert full.status == 503
    assert full.headers["X-Simulated"] is None
    assert client.put(f"{LOCKS}/n5", b"").status == 503
    assert client.get(url("n4")).status == 423
    served.uptime.advance(10)
    assert client.get(url("n5")).status == 423


def test_with_users_the_holder_is_nobody_of_them_and_roles_count(tmp_path):
    users = {"ada": Role.WRITER, "rita": Role.READER, "dave": (Grant(Role.WRITER, ResourcePath("/dav")),)}
    with serving(tmp_path, users=users) as served:
        ada, rita, dave = (served.as_(name) for name in users)
        assert rita.get(url("roles")).status == 403
        assert served.anonymous.get(url("roles")).status == 401
        assert body(ada.get(url("roles", "&holder=ada&for=1h")))["locks"][0]["holder"]["name"] == "simulated:ada"
        assert rita.get(url("roles")).status == 423
        assert waits(rita, url("roles")).status == 403
        assert rita.get(f"{LOCKS}/roles").status == 200
        assert rita.put(f"{LOCKS}/roles", b"").status == 403
        assert rita.request("DELETE", f"{LOCKS}/roles").status == 403
        assert rita.request("POST", f"{LOCKS}/roles/break", b"").status == 403
        assert dave.get(url("roles")).status == 403
        assert body(dave.get(LOCKS))["locks"] == []
        [lock] = body(ada.get("/api/locks?under=/simulated"))["locks"]
        assert (
            ada.request("POST", f"{lock['url']}/break", b'{"reason": "x"}', content_type="application/json").status
            == 403
        )
        broken = ada.request("POST", f"{LOCKS}/roles/break?reason=tea", b"")
        assert body(broken)["ended"]["by"] == "ada"


# -- pages of other sites -----------------------------------------------------------------------------

FOREIGN = [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
]  # fmt: skip


@pytest.mark.parametrize("fields", FOREIGN)
def test_a_page_of_another_site_begins_and_changes_no_lock(served, client, fields):
    for target in (url("evil"), "/api/status/423?l%6Fck=evil"):
        refused = client.request("GET", target, headers=fields)
        assert refused.status == 403
        assert "another site" in body(refused)["detail"]
        assert refused.headers["X-Simulated"] is None
    assert client.request("GET", "/api/status/423", headers={"X-Simulate-Lock": "evil", **fields}).status == 403
    assert client.request("POST", url("evil"), b"", headers=fields).status == 403
    assert client.request("PUT", f"{LOCKS}/evil", b"", headers=fields).status == 403
    assert client.get(f"{LOCKS}/evil").status == 404
    client.get(url("mine", "&for=1h"))
    for method, target in (
        ("POST", f"{LOCKS}/mine/break"),
        ("DELETE", f"{LOCKS}/mine"),
        ("PUT", f"{LOCKS}/mine?for=2s"),
    ):
        assert client.request(method, target, b"", headers=fields).status == 403
    state = body(client.get(f"{LOCKS}/mine"))
    assert (state["state"], state["expires_in"]) == ("held", 3600)
    assert client.request("GET", "/api/status/423", headers=fields).status == 423


def test_own_pages_programs_and_typed_addresses_do(served, client):
    own = {"Sec-Fetch-Site": "same-origin", "Origin": served.url}
    for number, fields in enumerate(({}, own, {"Origin": served.url}, {"Sec-Fetch-Site": "none"})):
        assert client.request("GET", url(f"k{number}"), headers=fields).status == 423
        assert client.request("PUT", f"{LOCKS}/k{number}", b"", headers=fields).status == 200
        assert client.request("DELETE", f"{LOCKS}/k{number}", headers=fields).status == 204


def test_with_users_it_is_the_same(tmp_path):
    with serving(tmp_path, users={"ada": Role.WRITER}) as served:
        ada = served.as_("ada")
        assert ada.request("GET", url("a"), headers={"Sec-Fetch-Site": "cross-site"}).status == 403
        assert ada.get(f"{LOCKS}/a").status == 404


def test_no_script_of_another_site_reads_what_locks_a_server_has(served, client):
    lock = acquire(client, "/simulated/theirs", reason="secret")
    client.get(url("a"))
    for method, target in (
        ("GET", url("a")), ("GET", url("theirs")), ("GET", LOCKS), ("GET", f"{LOCKS}/a"), ("PUT", f"{LOCKS}/theirs"),
        ("DELETE", f"{LOCKS}/a"), ("GET", url("a")),
    ):  # fmt: skip
        answer = client.request(method, target)
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")], (method, target)
    for fields in FOREIGN:
        for target in (LOCKS, f"{LOCKS}/a", f"{LOCKS}/theirs"):
            assert client.request("GET", target, headers=fields).headers["Access-Control-Allow-Origin"] is None
        assert lock["id"].encode() not in client.request("GET", url("theirs"), headers=fields).body
    assert client.get("/api/status/423")["Access-Control-Allow-Origin"] == "*"


def test_pages_of_any_site_try_the_locks_of_a_simulator_that_has_no_others():
    foreign = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
    with simulating() as server:
        port = int(server.base_url.rpartition(":")[2])
        preflight = ask(port, f"{LOCKS}/a", "OPTIONS", headers={**foreign, "Access-Control-Request-Method": "PUT"})
        assert preflight.head.status == 204
        assert "PUT" in preflight.head["Access-Control-Allow-Methods"]
        for method, target, status in (
            ("GET", url("a"), 423), ("GET", LOCKS, 200), ("GET", f"{LOCKS}/a", 200), ("PUT", f"{LOCKS}/a", 200),
            ("POST", f"{LOCKS}/a/break", 200), ("GET", url("a"), 200),
        ):  # fmt: skip
            seen = ask(port, target, method, headers=foreign)
            assert seen.head.status == status
            assert seen.head["Access-Control-Allow-Origin"] == "*"
        sent = b'{"resource": "/simulated/theirs", "ttl": 60}'
        assert ask(port, "/api/locks", "POST", sent, {"Content-Type": "application/json"}).head.status == 201
        for method, target in (("GET", url("theirs")), ("PUT", f"{LOCKS}/theirs")):
            told = ask(port, target, method, headers=foreign).head
            assert told.status == 423
            assert "access-control-allow-origin" not in told
