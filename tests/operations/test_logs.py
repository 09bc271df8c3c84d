"""What the server writes about requests, and what it never writes."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from holdfast.config import LogFormat
from holdfast.logs import RequestLog, request_id_of, set_up_logs
from holdfast.wire.exchange import Headers, Request, Response
from tests.programs.conftest import start
from tests.serving import serving

__all__ = ["start"]  # the fixture of a real server


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """Logging as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), logging.getLogger("holdfast.access_log").level
    yield
    root.handlers[:] = handlers
    logging.getLogger("holdfast.access_log").setLevel(level)
    logging.captureWarnings(capture=False)


def asked(**fields: str) -> Request:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in fields.items()]
    return Request("PUT", "/dav/a.txt", Headers(named), None, b"", "token=secret", "http", "127.0.0.1")


class TestRequestIds:
    @pytest.mark.parametrize("sent", ["a", "0af7651916cd43dd8448eb211c80319c", "web-1:req_77@x", "x" * 128])
    def test_one_that_was_sent_is_kept(self, sent: str):
        assert request_id_of(asked(x_request_id=sent)) == sent

    @pytest.mark.parametrize("sent", ["", "a b", 'a"b', "x" * 129, "a\x1b[0m", "é", "a,b"])
    def test_one_of_odd_form_is_replaced(self, sent: str):
        assert re.fullmatch("[0-9a-f]{16}", request_id_of(asked(x_request_id=sent)))

    def test_each_request_gets_its_own(self):
        assert request_id_of(asked()) != request_id_of(asked())


class TestAnswers:
    def test_with_the_access_log_each_answer_has_its_id(self, tmp_path: Path, caplog: pytest.LogCaptureFixture):
        with serving(tmp_path, access_log=True) as served, caplog.at_level(logging.INFO, "holdfast.access_log"):
            answer = served.as_("alice").put("/dav/a.txt?token=hidden", x_request_id="mine-1")
            assert answer["X-Request-Id"] == "mine-1"
            made = served.as_("bob").get("/dav/a.txt")["X-Request-Id"]
        first, second = [record for record in caplog.records if record.name == "holdfast.access_log"]
        assert re.fullmatch(r'127\.0\.0\.1 alice "PUT /dav/a\.txt" 201 [0-9.e-]+ms id=mine-1', first.getMessage()), (
            first.getMessage()
        )
        assert second.__dict__["request_id"] == made

    def test_each_way_of_answering_is_told_of_once(self, tmp_path: Path, caplog: pytest.LogCaptureFixture):
        """At once, after a large upload, from a file, after a wait in line, as a stream, and by the edge in a face's place."""
        with serving(tmp_path, access_log=True) as served, caplog.at_level(logging.INFO, "holdfast.access_log"):
            alice = served.as_("alice")
            assert alice.put("/dav/large.bin", b"x" * 300_000, x_request_id="upload").status == 201
            assert alice.get("/dav/large.bin", x_request_id="file")["X-Request-Id"] == "file"
            assert alice.request("HEAD", "/dav/large.bin", x_request_id="head").status == 200
            alice.locked("/dav/a.txt")
            waited = served.as_("bob").lock("/dav/a.txt", prefer="wait=1", x_request_id="wait")
            assert (waited.status, waited["X-Request-Id"]) == (423, "wait")
            with (
                httpx.Client(auth=("alice", "alice-secret")) as client,
                client.stream("GET", served.url + "/api/events", headers={"X-Request-Id": "stream"}) as stream,
            ):
                assert stream.headers["X-Request-Id"] == "stream"
        told = [(record.__dict__["request_id"], record.__dict__["status"]) for record in caplog.records]
        expected = [("upload", 201), ("file", 200), ("head", 200), ("wait", 423), ("stream", 200)]
        assert [one for one in told if one[0] in dict(expected)] == expected

    def test_without_it_answers_have_none_and_nothing_is_written(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ):
        with serving(tmp_path) as served, caplog.at_level(logging.DEBUG, "holdfast"):
            answer = served.as_("alice").put("/dav/a.txt", x_request_id="mine-1")
            assert answer.headers["X-Request-Id"] is None
        assert caplog.records == []

    def test_a_500_is_written_and_has_its_id_always(self, caplog: pytest.LogCaptureFixture):
        response = Response(500, [])
        RequestLog(writes_all=False).note(asked(x_request_id="mine-1"), response, 0.25)
        assert response.headers == [("X-Request-Id", "mine-1")]
        assert [record.getMessage() for record in caplog.records] == [
            '127.0.0.1 - "PUT /dav/a.txt" 500 250ms id=mine-1'
        ]

    def test_another_refusal_of_ours_has_its_id(self, caplog: pytest.LogCaptureFixture):
        response = Response(503, [])
        RequestLog(writes_all=False).note(asked(), response, None)
        assert [name for name, _ in response.headers] == ["X-Request-Id"]
        assert caplog.records == []


def test_json_has_one_object_on_a_line_whatever_is_said(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    set_up_logs(LogFormat.JSON)
    set_up_logs(LogFormat.JSON)
    try:
        int("two\nlines")
    except ValueError:
        logging.getLogger("holdfast.x").exception("it\nfailed: %s", "\x1b[31m\u2028é")
    [line] = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert said["message"] == "it\nfailed: \x1b[31m\u2028é"
    assert (said["level"], said["logger"]) == ("error", "holdfast.x")
    assert "ValueError: invalid literal" in said["exception"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", said["time"])


@pytest.mark.process
def test_a_server_writes_json_and_no_credential(start):
    """Passwords, tokens of the API and of locks, cookies and queries, right and wrong ones."""
    serving = start(None, "--log-format", "json", "--access-log")
    base = serving.url.removesuffix("/dav/")
    answer = httpx.put(serving.url + "a.txt", content=b"x", auth=("alice", "alice-secret"), params={"key": "hidden-1"})
    assert answer.status_code == 201
    for fields in (
        {"Authorization": "Bearer hf_hidden-2_hidden-3"},
        {"Authorization": "Basic Z2hvc3Q6aGlkZGVuLTU="},
        {"Cookie": "holdfast_session=hidden-6", "If": "(<urn:uuid:hidden-7>)", "Lock-Token": "<urn:uuid:hidden-8>"},
    ):
        httpx.put(serving.url + "a.txt", content=b"x", headers=fields)
    wrong = httpx.get(base + "/api/locks", auth=("alice", "hidden-9"))
    assert wrong.status_code == 401
    serving.stop()
    assert serving.process.stderr is not None
    lines = [json.loads(line) for line in serving.process.stderr.read().splitlines() if line.startswith("{")]
    answered = [line for line in lines if line["logger"] == "holdfast.access_log"]
    assert answered[0]["principal"] == "alice"
    assert (answered[0]["method"], answered[0]["path"], answered[0]["status"]) == ("PUT", "/dav/a.txt", 201)
    assert answered[0]["request_id"] == answer.headers["X-Request-Id"]
    assert any("wrong name or password" in line["message"] for line in lines)
    assert not re.search("hidden-[1-9]|Z2hvc3Q6aGlk|alice-secret", json.dumps(lines))


@pytest.mark.process
def test_all_workers_answer_with_the_same_numbers(start):
    """Whichever of them a connection reaches; the counts never fall, and in the end they are all there."""
    serving = start(None, "--workers", "2")
    base = serving.url.removesuffix("/dav/")
    seen = 0
    for number in range(40):
        with httpx.Client(auth=("alice", "alice-secret")) as client:
            assert client.put(f"{serving.url}{number}.txt", content=b"x").status_code == 201
            text = client.get(base + "/metrics").text
        found = re.search(
            r'^holdfast_requests_total{face="webdav",method="PUT",status="201"} (\S+)$', text, re.MULTILINE
        )
        told = 0 if found is None else int(float(found[1]))
        assert told >= seen
        seen = told
    while seen < 40:
        text = httpx.get(base + "/metrics", auth=("alice", "alice-secret")).text
        found = re.search(
            r'^holdfast_requests_total{face="webdav",method="PUT",status="201"} (\S+)$', text, re.MULTILINE
        )
        assert found is not None
        seen = int(float(found[1]))
    assert seen == 40
