"""`/api/inspect` on a real server: what is pasted is inspected, and nobody gets inside of a network by it."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.faces.inspector.asked import Asked, RefusedError
from holdfast.faces.inspector.inspection import MOST_REPORTS, Inspection
from holdfast.inspector.addresses import AddressGuard
from holdfast.inspector.budget import WorkLimits
from holdfast.inspector.fetching import FetchLimits
from holdfast.inspector.inspecting import NOT_JUDGED
from tests.inspector.misbehaving import misbehaving, says
from tests.serving import Answer, Client, Served, serving

LOCKED = "HTTP/1.1 423 Locked\r\nRetry-After: soon\r\n\r\nlocked"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("inspector")) as server:
        yield server


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Without users, and with URLs switched on."""
    with serving(tmp_path_factory.mktemp("asking"), inspect_urls=True, users=None) as server:
        yield server


def post(client: Client, body: Any, **fields: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.request("POST", "/api/inspect", raw, **({"content_type": "application/json"} | fields))


def reports(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.body
    assert answer["Content-Type"] == "application/json"
    assert answer["Cache-Control"] == "no-store"
    return json.loads(answer.body)["reports"]


def detail(answer: Answer, status: int) -> str:
    assert answer.status == status, answer.body
    assert answer["Content-Type"] == "application/problem+json"
    return json.loads(answer.body)["detail"]


def test_a_pasted_response_is_inspected(served: Served):
    [report] = reports(post(served.as_("rita"), {"response": LOCKED, "method": "PUT"}))
    assert (report["method"], report["status"]) == ("PUT", 423)
    assert "H01" in [note["rule"] for note in report["notes"]]
    assert report["explanation"]


def test_of_several_responses_the_last_counts_or_all(served: Served):
    text = f"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n{LOCKED}"
    assert [each["status"] for each in reports(post(served.as_("rita"), {"response": text}))] == [423]
    assert [each["status"] for each in reports(post(served.as_("rita"), {"response": text, "all": True}))] == [302, 423]


def test_a_har_file_may_be_an_object_or_a_text_and_longer_than_what_stays_in_memory(served: Served):
    entries = [{"response": {"status": status, "content": {"text": "x" * 60_000}}} for status in (200, 404, 423)]
    har = {"log": {"entries": entries}}
    for body in (har, json.dumps(har)):
        found = reports(post(served.as_("rita"), {"har": body}))
        assert [each["status"] for each in found] == [404, 423]
    assert len(reports(post(served.as_("rita"), {"har": har, "all": True}))) == 3


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "one of the members"),
        ({"response": LOCKED, "har": {}}, 422, "one of the members"),
        ({"response": "no response"}, 422, "curl -i"),
        ({"response": 7}, 422, "$.response"),
        ({"response": LOCKED, "more": 1}, 422, "more"),
        ({"har": {"log": 1}}, 422, "no HAR file"),
        ({"har": {"log": {"entries": [{"response": {"status": 200}}]}}}, 422, "None of the 1 responses"),
        ({"har": {"log": {"entries": [{"response": {"status": 404}}] * 51}}}, 422, "at most 50"),
        ({"url": "http://example.org/"}, 403, "inspect_urls is off"),
        (b"{", 400, "not well-formed JSON"),
        (b"\xff", 400, "not well-formed JSON"),
        (b'{"har": ' + b"[" * 50_000, 400, "not well-formed JSON"),
    ],
)
def test_what_cannot_be_inspected_is_refused_in_words(served: Served, body: Any, status: int, said: str):
    assert said in detail(post(served.as_("rita"), body), status)


def test_only_json_is_taken_which_no_page_of_another_site_can_send_unasked(served: Served):
    for content_type in ("text/plain", "application/x-www-form-urlencoded"):
        assert "application/json" in detail(
            post(served.as_("rita"), {"response": LOCKED}, content_type=content_type), 415
        )


def test_a_body_that_is_too_long_is_refused_before_it_comes(served: Served):
    answer = served.as_("rita").request(
        "POST",
        "/api/inspect",
        None,
        content_type="application/json",
        content_length=str(9 << 20),
        expect="100-continue",
    )
    assert "larger than" in detail(answer, 413)


def test_nobody_gets_in_without_a_name_where_there_are_users(served: Served):
    assert post(served.anonymous, {"response": LOCKED}).status == 401
    assert served.anonymous.get("/api/inspect").status == 401
    assert served.anonymous.get("/inspect", accept="*/*").status == 401
    answer = served.anonymous.get("/inspect", accept="text/html")
    assert (answer.status, answer["Location"]) == (303, "/login?next=/inspect")


def test_other_methods_and_addresses_are_refused(served: Served):
    rita = served.as_("rita")
    assert rita.request("PUT", "/api/inspect", b"x")["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert rita.request("POST", "/inspect", b"x").status == 405
    assert rita.get("/inspect/nothing").status == 404
    assert rita.get("/api/inspect/more").status == 404
    assert served.anonymous.request("OPTIONS", "/api/inspect")["Allow"] == "GET, HEAD, OPTIONS, POST"


def test_the_page_and_what_it_loads_are_bound_to_this_server(served: Served):
    page = served.as_("rita").get("/inspect")
    assert (page.status, page["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "script-src 'self'" in page["Content-Security-Policy"]
    assert served.as_("rita").get("/inspect", if_none_match=page["ETag"]).status == 304
    for target in ("/inspect/inspect.js", "/inspect/inspect.css"):
        asset = served.anonymous.get(target)
        assert (asset.status, asset["X-Content-Type-Options"]) == (200, "nosniff")


def test_the_page_is_told_whether_urls_are_asked(served: Served, asking: Served):
    assert json.loads(served.as_("rita").get("/api/inspect").body)["urls"] is False
    offer = json.loads(asking.anonymous.get("/api/inspect").body)
    assert (offer["urls"], offer["methods"]) == (True, ["GET", "HEAD", "OPTIONS", "PROPFIND"])


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://169.254.169.254/latest/meta-data/", "http://[::ffff:7f00:1]/",
     "http://[fd00:ec2::254]/", "http://0/", "http://0x7f000001/", "http://10.0.0.1/", "https://192.168.0.1/"],
)  # fmt: skip
def test_a_server_that_asks_urls_asks_none_inside_of_a_network(asking: Served, url: str):
    assert "no host of the public internet" in detail(post(asking.anonymous, {"url": url}), 502)


def test_nor_another_port_nor_itself(asking: Served):
    assert "is not asked from here" in detail(post(asking.anonymous, {"url": asking.url}), 502)


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"method": "PUT"}, "asks with GET, HEAD, OPTIONS, PROPFIND only"),
        ({"method": "GET / HTTP/1.1\r\nX: y"}, "asks with"),
        ({"fields": [["authorization", "Basic eDp5"]]}, "sends no credentials"),
        ({"fields": [["Cookie", "a=b"]]}, "sends no credentials"),
        ({"fields": [["Host", "inside"]]}, "cannot be chosen"),
        ({"fields": [["Transfer-Encoding", "chunked"]]}, "cannot be chosen"),
        ({"fields": [["A", "b"]] * 51}, "$.fields"),
    ],
)
def test_a_server_that_asks_urls_changes_nothing_and_sends_no_credentials(
    asking: Served, beside: dict[str, Any], said: str
):
    assert said in detail(post(asking.anonymous, {"url": "http://example.org/"} | beside), 422)


@pytest.mark.parametrize("fields", [[["A", "b\r\nC: d"]], [["A\n", "b"]]])
def test_nothing_is_smuggled_into_a_request(asking: Served, fields: list[list[str]]):
    body = {"url": "http://example.org/", "fields": fields}
    assert "is no field that can be sent" in detail(post(asking.anonymous, body), 502)


class _Trusts(AddressGuard, frozen=True):
    """A guard to which one address of this machine is public, as a test server has to be somewhere."""

    def allows(self, address: str) -> bool:
        return address == "127.0.0.2"


def trusting(port: int, **known: str) -> Inspection:
    names = {"outside": "127.0.0.2", "inside": "127.0.0.1"} | known
    return Inspection(
        _Trusts(ports=frozenset({port, 80})),
        look_up=lambda host, _port: [names[host]],
        limits=FetchLimits(total_s=5, most_bytes=1000, redirects=2),
    )


def test_a_url_of_the_outside_is_asked_and_inspected():
    with misbehaving(says(LOCKED.encode()), host="127.0.0.2") as server:
        url = f"http://outside:{server.port}/a"
        [shown] = trusting(server.port).inspect(Asked(url=url, fields=[("If", "(<urn:x>)")]))
    assert (shown.report.status, shown.report.url) == (423, url)
    assert b"\r\nIf: (<urn:x>)\r\n" in server.heard[0]


def test_a_redirect_inside_is_refused_though_the_first_host_was_not():
    away = b"HTTP/1.1 302 Found\r\nLocation: http://inside/secret\r\nContent-Length: 0\r\n\r\n"
    with misbehaving(says(away), host="127.0.0.2") as server:
        with pytest.raises(RefusedError, match="inside is no host of the public internet") as refused:
            trusting(server.port).inspect(Asked(url=f"http://outside:{server.port}/", follow=True))
    assert refused.value.status == 502


def test_only_so_many_are_asked_at_once():
    release, arrived = threading.Event(), threading.Semaphore(0)

    def talk(connection: Any, _heard: bytes) -> None:
        arrived.release()
        release.wait(20)

    with misbehaving(talk, host="127.0.0.2") as server:
        inspection = trusting(server.port)
        asked = Asked(url=f"http://outside:{server.port}/")

        def ask() -> None:
            with pytest.raises(RefusedError):  # the server never answers
                inspection.inspect(asked)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert arrived.acquire(timeout=20)  # the others are connected, and wait for their turn
        try:
            for _ in range(1000):
                try:
                    inspection.inspect(asked)
                except RefusedError as error:
                    if error.status == 503:
                        break
            else:
                pytest.fail("nobody was turned away")
        finally:
            release.set()
            for thread in threads:
                thread.join(20)


def test_one_request_has_one_budget_however_many_responses_it_brings(served: Served):
    member = "<D:response><D:href>/a</D:href><D:status>HTTP/1.1 423 Locked</D:status></D:response>"
    body = f'<D:multistatus xmlns:D="DAV:">{member * 16_000}</D:multistatus>'.encode()
    packed = base64.b64encode(gzip.compress(body)).decode()
    headers = [{"name": "Content-Type", "value": "application/xml"}, {"name": "Content-Encoding", "value": "gzip"}]
    entry: dict[str, Any] = {
        "request": {"method": "DELETE", "url": "http://h/a", "headers": []},
        "response": {"status": 207, "headers": headers, "content": {"text": packed, "encoding": "base64"}},
    }
    found = reports(post(served.as_("rita"), {"har": {"log": {"entries": [entry] * MOST_REPORTS}}}))
    assert len(found) == MOST_REPORTS
    assert all(NOT_JUDGED in {note["rule"] for note in report["notes"]} for report in found)
    assert not any(note["rule"].startswith("L") for report in found for note in report["notes"])


def test_the_time_for_one_request_is_one_for_all_its_responses():
    ticks = itertools.count()
    inspection = Inspection(work=WorkLimits(seconds=1000), clock=lambda: float(next(ticks)))
    found = inspection.inspect(Asked(response=(LOCKED + "\r\n") * 30, all=True))
    judged = [not any(note.summary.startswith("Nothing of this") for note in shown.report.notes) for shown in found]
    assert len(found) == 30
    assert judged[0]
    assert not judged[-1]
    assert judged == sorted(judged, reverse=True)


def test_the_simulators_own_423_is_understood_in_each_form(asking: Served):
    for accept in ("application/json", "application/problem+json", "application/xml"):
        answer = asking.anonymous.request("GET", "/api/status/423", Accept=accept)
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        text = f"HTTP/1.1 423 Locked\r\n{head}\r\n{answer.body.decode()}"
        [report] = reports(post(asking.anonymous, {"response": text, "method": "PUT"}))
        rules = {note["rule"] for note in report["notes"]}
        assert "S07" not in rules, accept
        assert {"G01", "G03"} <= rules, accept


def test_a_look_up_that_does_not_end_keeps_its_place_until_it_does():
    release, ended = threading.Event(), threading.Semaphore(0)

    def look_up(_host: str, _port: int) -> list[str]:
        try:
            release.wait(30)
            return ["127.0.0.1"]
        finally:
            ended.release()

    inspection = Inspection(AddressGuard(), look_up=look_up, limits=FetchLimits(total_s=0.4))
    statuses: list[int] = []
    try:
        for _ in range(5):
            with pytest.raises(RefusedError) as refused:
                inspection.inspect(Asked(url="http://h/"))
            statuses.append(refused.value.status)
    finally:
        release.set()
    assert statuses == [502, 502, 502, 502, 503]
    for _ in range(4):
        assert ended.acquire(timeout=20)
    for _ in range(10_000):  # the threads end a moment after their look-ups
        with pytest.raises(RefusedError) as refused:
            inspection.inspect(Asked(url="http://h/"))
        if refused.value.status == 502:
            break
    assert refused.value.status == 502
