"""`holdfast inspect`: URLs, texts and HAR files, each form of report, and exit codes for scripts."""

from __future__ import annotations

import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from holdfast.cli.main import main
from tests.cli.conftest import command
from tests.inspector.misbehaving import misbehaving, says

Run = Callable[..., subprocess.CompletedProcess[str]]

BAD = (
    "HTTP/1.1 423 Locked\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\n"
    "Retry-After: soon\r\n\r\nlocked"
)
FINE = "HTTP/1.1 204 No Content\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\n\r\n"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process, which is quicker than one of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "dumb")
    for name in ("FORCE_COLOR", "HOLDFAST_PASSWORD", "HOLDFAST_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        words = [str(argument) for argument in arguments]
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, int(str(ended.value.code)), said.out, said.err)

    return run


@pytest.mark.process
def test_a_piped_response_is_inspected_by_the_real_command(environment: dict[str, str]):
    words = command("inspect", "-X", "PUT", "-")
    done = subprocess.run(words, input=BAD, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("PUT standard input: 423 Locked\nScore ")


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "dump.http"
    path.write_bytes(BAD.encode())
    return path


def test_a_piped_response_is_inspected(run: Run):
    done = run("inspect", "--request-method", "PUT", "-", stdin=BAD)
    assert done.returncode == 1
    assert done.stdout.startswith("PUT standard input: 423 Locked\nScore ")
    assert re.search(r"^bad  H01   .*soon", done.stdout, re.MULTILINE)
    assert "Mend  " in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_brief_is_a_line_for_each_note(run: Run, dump: Path):
    done = run("inspect", dump, "--brief")
    assert "Mend" not in done.stdout
    assert re.fullmatch(r"(bad|warn|info|good) .*", done.stdout.splitlines()[2])


@pytest.mark.parametrize(
    ("text", "flags", "code"),
    [
        (BAD, [], 1),
        (BAD, ["--fail-on", "never"], 0),
        (BAD, ["--fail-on", "warn"], 1),
        (FINE, [], 0),
        (FINE, ["--fail-on", "warn"], 0),
    ],
)
def test_the_exit_code_tells_scripts_what_was_found(run: Run, text: str, flags: list[str], code: int):
    done = run("inspect", "-", *flags, stdin=text)
    assert (done.returncode, done.stderr) == (code, "")


def test_each_form_can_be_written_to_a_file(run: Run, dump: Path, tmp_path: Path):
    report = tmp_path / "report"
    for form, begins in [
        ("json", "{"),
        ("sarif", "{"),
        ("junit", "<?xml"),
        ("html", "<!DOCTYPE html>"),
        ("text", "PUT "),
    ]:
        done = run("inspect", "-X", "PUT", dump, "--format", form, "--output", report)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
        assert report.read_text(encoding="utf-8").startswith(begins)
    done = run("inspect", dump, "--format", "sarif")
    assert json.loads(done.stdout)["version"] == "2.1.0"
    done = run("inspect", dump, "--format", "junit", "--fail-on", "never")
    assert ET.fromstring(done.stdout.encode()).find("testsuite").get("failures") == "0"  # type: ignore[union-attr]


def test_the_last_of_several_responses_counts_and_all_can_be_had(run: Run):
    text = f"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n{BAD}"
    reports = json.loads(run("inspect", "-", "--format", "json", stdin=text).stdout)["reports"]
    assert [each["status"] for each in reports] == [423]
    reports = json.loads(run("inspect", "-", "--all", "--format", "json", stdin=text).stdout)["reports"]
    assert [each["status"] for each in reports] == [302, 423]


def test_of_a_har_file_the_refusals_are_inspected(run: Run, tmp_path: Path):
    entries = [
        {
            "request": {"method": "PUT", "url": f"http://h/{status}"},
            "response": {"status": status, "headers": [], "content": {}},
        }
        for status in (200, 207, 404, 423)
    ]
    har = tmp_path / "traffic.har"
    har.write_text(json.dumps({"log": {"entries": entries}}))
    reports = json.loads(run("inspect", har, "--format", "json").stdout)["reports"]
    assert [each["url"] for each in reports] == ["http://h/207", "http://h/404", "http://h/423"]
    har.write_text(json.dumps({"log": {"entries": entries[:1]}}))
    done = run("inspect", har)
    assert done.returncode == 2
    assert "--all" in done.stderr
    assert run("inspect", har, "--all", "--fail-on", "never").returncode == 0


def test_a_url_is_asked_just_what_was_said(run: Run, tmp_path: Path):
    (tmp_path / "body").write_bytes(b"new\r\n")
    with misbehaving(says(BAD.encode())) as server:
        done = run(
            "inspect",
            "-X",
            "PUT",
            "-H",
            "If: (<urn:x>)",
            "-d",
            "@body",
            "-u",
            "ada:secret",
            server.url,
            "--format",
            "json",
        )
    assert done.returncode == 1, done.stderr
    [report] = json.loads(done.stdout)["reports"]
    assert (report["method"], report["url"], report["status"]) == ("PUT", server.url, 423)
    head, _, body = server.heard[0].partition(b"\r\n\r\n")
    assert head.startswith(b"PUT / HTTP/1.1\r\n")
    assert b"\r\nIf: (<urn:x>)" in head
    assert b"\r\nAuthorization: Basic YWRhOnNlY3JldA==" in head
    assert body == b"new\r\n"
    assert "secret" not in done.stdout
    assert "YWRhOnNlY3JldA" not in done.stdout


def test_data_alone_is_a_post(run: Run):
    with misbehaving(says(FINE.encode())) as server:
        run("inspect", "-d", "new", server.url)
    assert server.heard[0].startswith(b"POST / HTTP/1.1\r\n")
    assert server.heard[0].endswith(b"\r\n\r\nnew")


def test_redirects_are_followed_where_it_is_said(run: Run):
    away = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
    with misbehaving(says(away)) as server:
        [report] = json.loads(run("inspect", server.url, "--format", "json").stdout)["reports"]
    assert report["status"] == 302
    with misbehaving(says(away, BAD.encode())) as server:
        [report] = json.loads(run("inspect", "-L", server.url, "--format", "json").stdout)["reports"]
    assert (report["status"], report["url"]) == (423, f"{server.url}b")


def test_a_rule_is_explained(run: Run):
    done = run("inspect", "--explain", "l04")
    assert done.returncode == 0
    assert done.stdout.startswith("bad  L04")
    assert "RFC 4918 section 16" in done.stdout
    done = run("inspect", "--explain", "X99")
    assert done.returncode == 2
    assert "There is no rule X99; there are " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "What is to be inspected?"),
        (["nothing.http"], "nothing.http cannot be read: No such file or directory."),
        (["."], "cannot be read"),
        (["http://nowhere.invalid/"], "The host nowhere.invalid is not known"),
        (["http://a:b@h/"], "A password in a URL"),
        (["http://h/", "-H", "no field"], "'no field' is no field"),
        (["http://h/", "-H", "a b: c"], "is no field that can be sent"),
        (["http://h/", "-X", "GET /"], "is no method"),
        (["http://h/", "--timeout", "0"], "--timeout must be"),
        (["-", "-H", "a: b"], "--header goes with a URL"),
        (["-", "--format", "yaml"], "yaml"),
        (["--bogus"], "There is no flag --bogus"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(run: Run, arguments: list[str], said: str):
    done = run("inspect", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_text_without_a_response_is_refused_with_a_hint(run: Run):
    done = run("inspect", "-", stdin="<html>locked</html>")
    assert done.returncode == 2
    assert "curl -i" in done.stderr


def test_a_server_that_does_not_answer_in_time_is_told(run: Run):
    with misbehaving(lambda connection, _: connection.recv(1) and None) as server:
        done = run("inspect", "--timeout", "0.3", server.url)
    assert done.returncode == 2
    assert "sent no response within 0.3 seconds" in done.stderr
