"""Who may ask; scripts of other sites; caps; what a simulated answer never is: counted or logged as a failure of the server."""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serving import serving
from tests.simulator.wire import ask

PREFLIGHT = {
    "Origin": "https://app.example",
    "Access-Control-Request-Method": "LOCK",
    "Access-Control-Request-Headers": "if",
}


def test_with_users_nobody_unknown_is_answered_but_the_refusal_is_real(server_with_users):
    for method, target in (("GET", "/api/status/200"), ("LOCK", "/api/status/423"), ("GET", "/api/status"),
                           ("DELETE", "/api/status/sequences/a"), ("OPTIONS", "/api/status/200")):  # fmt: skip
        answer = server_with_users.anonymous.request(method, target)
        assert answer.status == 401
        assert answer.headers["X-Simulated"] is None
        assert answer["WWW-Authenticate"]
        assert answer["Access-Control-Allow-Origin"] == "*"
    for name in ("alice", "rita"):
        answer = server_with_users.as_(name).request("LOCK", "/api/status/423", b"<x/>")
        assert (answer.status, answer["X-Simulated"]) == (423, "423")
        assert b"secret" not in answer.body
    assert server_with_users.as_("alice").request("OPTIONS", "/api/status/418").status == 418


def test_an_unknown_client_is_refused_before_its_body(server_with_users):
    answer = server_with_users.anonymous.request("PUT", "/api/status/200", b"x" * 100_000, expect="100-continue")
    assert answer.status == 401


def test_a_body_of_unknown_length_is_for_writers(server_with_users):
    chunked = b"2\r\nab\r\n0\r\n\r\n"
    alice, rita = server_with_users.as_("alice"), server_with_users.as_("rita")
    assert rita.request("PUT", "/api/status/200", chunked, transfer_encoding="chunked").status in {200, 411}
    answer = alice.request("PUT", "/api/status/200", chunked, transfer_encoding="chunked")
    assert answer.status == 200
    assert b'"size":2' in answer.body
    expecting = rita.request("PUT", "/api/status/200", chunked, transfer_encoding="chunked", expect="100-continue")
    assert expecting.status == 411


@pytest.mark.parametrize(
    "target", ["/api/status/500", "/api/status/418?delay=2s", "/api/status/200?fault=before-headers"]
)
def test_a_preflight_is_never_simulated_and_needs_nobody_to_be_known(server_with_users, target):
    answer = server_with_users.anonymous.request("OPTIONS", target, headers=PREFLIGHT)
    assert answer.status == 204
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert "LOCK" in answer["Access-Control-Allow-Methods"]
    assert "Authorization" in answer["Access-Control-Allow-Headers"]
    assert "X-Simulate-Body-Delay" in answer["Access-Control-Allow-Headers"]
    assert answer.headers["X-Simulated"] is None
    assert answer.headers["Access-Control-Allow-Credentials"] is None
    assert answer.headers["Access-Control-Allow-Private-Network"] is None


def test_options_that_is_no_preflight_is_simulated(asked):
    assert asked("/api/status/418", "OPTIONS").head.status == 418
    assert asked("/api/status/418", "OPTIONS", headers={"Origin": "https://a.example"}).head.status == 418


def test_scripts_of_other_sites_may_read_what_matters(asked):
    exposed = asked("/api/status/423").head["Access-Control-Expose-Headers"]
    assert {"Retry-After", "Lock-Token", "DAV", "Link", "Location", "Allow", "X-Simulated"} <= set(exposed.split(", "))


def test_only_the_simulator_is_open_to_scripts_of_other_sites(asked):
    for target in ("/api/locks", "/api/session", "/dav/", "/simulator"):
        assert "access-control-allow-origin" not in asked(target, headers={"Origin": "https://a.example"}).head


def test_it_can_be_switched_off(tmp_path):
    with serving(tmp_path, users=None, simulator=False) as served:
        assert ask(served.port, "/api/status/423").head.status == 404
        assert (
            ask(served.port, "/simulator/423").head.status == 200
        )  # what is written about codes stays: other pages link to it
        assert ask(served.port, "/api/status/423", "OPTIONS", headers=PREFLIGHT).head.status != 204


def test_so_many_delayed_answers_are_at_work_and_no_more(tmp_path):
    with serving(tmp_path, users=None, simulator_max_at_work=2, simulator_max_delay_s=60.0) as served:
        with ThreadPoolExecutor(6) as pool:
            seen = list(pool.map(lambda _: ask(served.port, "/api/status/423?delay=700ms"), range(6)))
        codes = [one.head.status for one in seen]
        assert codes.count(423) >= 2
        [refused, *_] = [one.head for one in seen if one.head.status == 503]
        assert "X-Simulated" not in refused
        assert refused["Retry-After"]
        assert ask(served.port, "/api/status/423").head.status == 423


def test_a_delayed_answer_does_not_keep_the_server_from_stopping(tmp_path):
    with ThreadPoolExecutor(1) as pool:
        with serving(tmp_path, users=None, simulator_max_delay_s=3600.0) as served:
            waiting = pool.submit(ask, served.port, "/api/status/202?delay=3000s&seq=202&key=long")
            while ask(served.port, "/api/status/sequences/long").head.status != 200:
                pass
        assert waiting.result(20).head.status == 202


def test_a_simulated_failure_is_none_in_the_log_or_of_a_face(open_server, caplog):
    with caplog.at_level(logging.INFO):
        assert ask(open_server.port, "/api/status/500").head.status == 500
    assert not [record for record in caplog.records if record.name.startswith("holdfast")]
    text = ask(open_server.port, "/metrics").body.decode()
    assert not re.search(r'face="(api|webdav|dashboard)"[^\n]*status="500"', text)
    assert re.search(r'face="simulator"[^\n]*5xx', text)


def test_the_pages_are_there(asked):
    for target in ("/simulator", "/simulator/423"):
        assert asked(target).head.status == 200
    assert asked("/api/status/423").json["status"]["page"] == "/simulator/423"


def test_the_lock_api_is_where_it_was(asked):
    assert asked("/api/locks").head.status == 200
    assert asked("/api/statuses").head.status == 404
