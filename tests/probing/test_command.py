"""`holdfast probe`: what is typed, what is shown, and the exit codes."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import msgspec
import pytest

from holdfast.cli.main import main
from holdfast.inspector.exchange import SentRequest
from holdfast.inspector.probing import PROBES
from tests.client.locked_servers import Heard, Said, scripted
from tests.probing.wrong_server import WrongServer

USERS = ("--user", "ada:ada-secret", "--user", "bob:bob-secret")


@contextlib.contextmanager
def served(*faults: str):
    """The wrong little server on a socket; its URL."""
    server, guard = WrongServer(*faults), threading.Lock()

    def answer(heard: Heard) -> Said:
        request = SentRequest(
            method=heard.method, url="http://x" + heard.target, fields=tuple(heard.headers.items()), body=heard.body
        )
        with guard:
            response = server.exchange(request, 10).response
        fields = {
            name: value for name, value in response.fields if name.lower() not in {"content-length", "server", "date"}
        }
        return Said(response.status, response.body, fields)

    with scripted(answer) as running:
        yield running.url + "/dav/"


def probe(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["probe", *arguments])
    return ended.value.code


def test_nothing_found_is_exit_code_0(capsys):
    with served() as url:
        assert probe(url, *USERS, "--only", "put-locked,lock-status") == 0
    out = capsys.readouterr().out
    assert "2 probes in" in out
    assert "2 passed, 0 failed" in out


def test_something_bad_is_exit_code_1_and_shown_with_what_was_sent(capsys):
    with served("PUT asks no locks") as url:
        assert probe(url, *USERS, "--only", "put-locked", "--wire") == 1
    out = capsys.readouterr().out
    assert "bad   put-locked: PUT on a locked document without the token is refused." in out
    assert "> PUT /dav/holdfast-probe-" in out


@pytest.mark.parametrize(("level", "code"), [("bad", 0), ("warn", 1), ("info", 1), ("never", 0)])
def test_a_warning_counts_where_one_says_so(level, code, capsys):
    with served("always 201") as url:
        assert probe(url, *USERS, "--only", "lock-status", "--fail-on", level) == code
    assert "warn  lock-status" in capsys.readouterr().out


def test_a_server_that_cannot_be_probed_is_exit_code_2_and_the_others_are_probed(capsys):
    with served() as url:
        assert probe(url + "missing/", url, *USERS, "--only", "put-locked") == 2
    captured = capsys.readouterr()
    assert "the collection of the URL itself is not there" in captured.err
    assert "1 passed" in captured.out


def test_what_was_left_behind_is_exit_code_3(capsys):
    with served("UNLOCK does nothing", "members are always in the way") as url:
        assert probe(url, *USERS, "--only", "put-locked") == 3
    captured = capsys.readouterr()
    assert "is still there" in captured.err
    assert "left behind:" in captured.out


def test_several_servers_stand_side_by_side(capsys):
    with served() as right, served("bare token") as wrong:
        assert probe(right, wrong, *USERS, "--only", "lock-token-field,put-locked") == 1
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["PROBE", right, wrong] in rows
    assert ["lock-token-field", "ok", "bad"] in rows


@pytest.mark.parametrize(
    ("kind", "begins"), [("json", "{"), ("junit", "<?xml"), ("html", "<!doctype html>"), ("text", "http://")]
)
def test_a_report_goes_to_a_file(kind, begins, tmp_path: Path, capsys):
    file = tmp_path / "report"
    with served() as url:
        assert probe(url, *USERS, "--only", "put-locked", "--format", kind, "--output", str(file)) == 0
    assert file.read_text().startswith(begins)
    assert "1 passed" in capsys.readouterr().out


def test_json_goes_to_standard_output_alone(capsys):
    with served() as url:
        assert probe(url, *USERS, "--only", "put-locked", "--format", "json") == 0
    assert msgspec.json.decode(capsys.readouterr().out)["servers"][0]["url"] == url


def test_the_list_names_every_probe_and_asks_no_server(capsys):
    assert probe("--list") == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert listed == list(PROBES)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "URL is missing"),
        (("/srv/team",), "is no URL"),
        (("http://127.0.0.1:1/", "--only", "no-such"), "There is no probe 'no-such'"),
        (("http://127.0.0.1:1/", *USERS, "--user", "eve:x"), "twice, no more"),
        (("http://127.0.0.1:1/", "--user", ":x"), "NAME:PASSWORD"),
        (("http://127.0.0.1:1/",), "no answer"),
        (("http://ada:secret@127.0.0.1:1/",), "seen by everybody"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(arguments, says, capsys):
    assert probe(*arguments) == 2
    assert says in capsys.readouterr().err


def test_passwords_come_from_the_environment_for_either_principal(monkeypatch, capsys):
    monkeypatch.setenv("HOLDFAST_PASSWORD", "ada-secret")
    monkeypatch.setenv("HOLDFAST_PASSWORD_2", "bob-secret")
    with served() as url:
        assert probe(url, "--user", "ada", "--user", "bob", "--only", "foreign-token-put") == 0
    assert "as ada and bob" in capsys.readouterr().out
