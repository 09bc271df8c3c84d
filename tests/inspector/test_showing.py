"""Reports in each form say the same, are valid, and let nothing that a server sent do more than be read."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from holdfast.inspector.behaviour import Statement, Topic
from holdfast.inspector.exchange import Exchange, ReceivedResponse, SentRequest
from holdfast.inspector.inspecting import Cost, Generic, Report, RuleFailure, inspect
from holdfast.inspector.notes import RULES, Level, Note, Source, rfc
from holdfast.inspector.showing import FORMS, Form, Shown, render
from holdfast.inspector.showing.shown import plain, reaches, worst_of
from holdfast.inspector.showing.text import show, show_rule

NOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
HOSTILE = '"><script>alert(1)</script>\x1b[31m]]>\x00\u202e&amp;{{7*7}}\ud800</style>'


def report(*notes: Note, **changed: Any) -> Report:
    counts = {level.value: sum(note.level is level for note in notes) for level in Level}
    values: dict[str, Any] = {
        "method": "PUT",
        "url": "https://h/plan%20a.odt?b=c",
        "status": 423,
        "reason": "Locked",
        "inspected_at": NOW,
        "notes": notes,
        "counts": counts,
        "score": 75,
        "costs": (Cost(25, "L04", Level.BAD, "no href"),),
        "behaviour": (Statement(Topic.RETRY, "urllib3", "It does not repeat."),),
        "generic": Generic.PRESENT,
    }
    return Report(**(values | changed))


BAD = Note(
    rule="L04",
    level=Level.BAD,
    summary="It names no resource",
    subject="body",
    why="Nobody knows which",
    mend="Name it",
    sources=(rfc(4918, "16"), rfc(9110)),
)
WARN = Note(rule="httplint:BAD_SYNTAX", level=Level.WARN, summary="Syntax", subject="field Retry-After")
GOOD = Note(rule="G01", level=Level.GOOD, summary="It may not be stored")
USUAL = Shown("dump.http", report(BAD, WARN, GOOD))
NASTY = Shown(
    HOSTILE,
    report(
        Note(rule="L04", level=Level.BAD, summary=HOSTILE, subject=HOSTILE, why=HOSTILE, mend=HOSTILE, sources=(Source(HOSTILE, HOSTILE, "javascript:alert(1)"),)),
        url=HOSTILE,
        method=HOSTILE,
        reason=HOSTILE,
        behaviour=(Statement(Topic.RETRY, HOSTILE, HOSTILE),),
        failures=(RuleFailure("L01", HOSTILE),),
    ),
)  # fmt: skip


def every_form(shown: Shown) -> dict[Form, str]:
    return {form: render(form, [shown]) for form in Form}


def test_each_form_has_a_media_type_and_can_be_written_as_utf8():
    assert set(FORMS) == set(Form)
    for shown in (USUAL, NASTY):
        for text in every_form(shown).values():
            assert text.endswith(("\n", "</html>"))
            text.encode("utf-8")


def test_text_says_why_how_and_where():
    text = render(Form.TEXT, [USUAL])
    lines = text.splitlines()
    assert lines[0] == "PUT https://h/plan%20a.odt?b=c: 423 Locked"
    assert lines[1] == "Score 75 of 100   1 bad, 1 warn, 1 good"
    assert "bad  L04   It names no resource  [body]" in lines
    assert "warn httplint:BAD_SYNTAX Syntax  [field Retry-After]" in lines
    for part in (
        "Why   Nobody knows which",
        "Mend  Name it",
        "See   RFC 4918 section 16  https://www.rfc-editor.org/rfc/rfc4918.html#section-16",
    ):
        assert any(line.strip() == part for line in lines)
    assert "  urllib3  It does not repeat." in lines
    assert "75 of 100: 100 less 25 for L04 (bad)." in lines


def test_brief_text_is_a_line_for_each_note():
    assert len(render(Form.TEXT, [USUAL], is_brief=True).splitlines()) == 5


def test_what_could_not_be_judged_is_told():
    text = render(Form.TEXT, [Shown("x", report(generic=Generic.ABSENT, failures=(RuleFailure("L01", "KeyError"),)))])
    assert "need httplint" in text
    assert "in a checkout: .venv/bin/pip install -e '.[inspector]'" in text
    assert "The rule L01 could not judge this" in text


def test_on_a_terminal_lines_are_no_wider_than_it_and_in_a_pipe_none_is_broken():
    long = Shown("x", report(Note(rule="L04", level=Level.BAD, summary="short", why="many words " * 40)))
    told = io.StringIO()
    show(Console(file=told, force_terminal=True, width=60, color_system="standard"), [long])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", told.getvalue())
    assert "\x1b[" in told.getvalue()
    assert max(len(line) for line in shown.splitlines() if "https://" not in line) <= 60
    piped = io.StringIO()
    show(Console(file=piped, width=60), [long])
    assert "\x1b" not in piped.getvalue()
    assert any(len(line) > 400 for line in piped.getvalue().splitlines())


def test_a_rule_is_explained():
    told = io.StringIO()
    show_rule(Console(file=told, width=60), RULES["L04"])
    assert told.getvalue().startswith("bad  L04")
    assert RULES["L04"].mend in told.getvalue()


def test_no_form_lets_a_server_move_the_cursor_or_turn_the_writing():
    for form, text in every_form(NASTY).items():
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text), form
    assert json.loads(render(Form.JSON, [NASTY]))["reports"][0]["source"] == HOSTILE.replace("\ud800", "\ufffd")


def test_json_has_every_member_of_the_report():
    [told] = json.loads(render(Form.JSON, [USUAL]))["reports"]
    assert told["source"] == "dump.http"
    assert told["explanation"] == USUAL.report.explanation
    assert {
        "method",
        "url",
        "status",
        "notes",
        "counts",
        "score",
        "costs",
        "behaviour",
        "generic",
        "failures",
        "inspected_at",
    } <= set(told)
    assert told["notes"][0] == {
        "rule": "L04",
        "level": "bad",
        "summary": "It names no resource",
        "subject": "body",
        "why": "Nobody knows which",
        "mend": "Name it",
        "sources": [
            {"document": "RFC 4918", "section": "16", "link": "https://www.rfc-editor.org/rfc/rfc4918.html#section-16"},
            {"document": "RFC 9110", "section": "", "link": "https://www.rfc-editor.org/rfc/rfc9110.html"},
        ],
    }


def check_sarif(log: dict[str, Any]) -> None:
    """What SARIF 2.1.0 demands of the members that are used."""
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    assert urlsplit(log["$schema"]).scheme == "https"
    for run in log["runs"]:
        driver = run["tool"]["driver"]
        assert driver["name"]
        rules = driver["rules"]
        ids = [rule["id"] for rule in rules]
        assert len(set(ids)) == len(ids)  # 3.19.23: each once
        for rule in rules:
            assert set(rule) <= {"id", "shortDescription", "fullDescription", "help", "helpUri", "defaultConfiguration"}
            assert rule["shortDescription"]["text"]
            assert rule["fullDescription"]["text"]
            assert rule["help"]["text"]
            assert rule["defaultConfiguration"]["level"] in {"none", "note", "warning", "error"}
            assert urlsplit(rule.get("helpUri", "https:")).scheme == "https"
        for result in run["results"]:
            assert ids[result["ruleIndex"]] == result["ruleId"]  # 3.27.6
            assert result["message"]["text"]
            assert (result["kind"], result["level"]) in {
                ("pass", "none"),
                ("fail", "error"),
                ("fail", "warning"),
                ("fail", "note"),
            }  # 3.27.9
            [location] = result["locations"]
            uri = location["physicalLocation"]["artifactLocation"]["uri"]
            assert re.fullmatch(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+", uri)
            assert location["physicalLocation"]["region"]["startLine"] >= 1
            assert all(re.fullmatch("[0-9a-f]{64}", value) for value in result["partialFingerprints"].values())


def test_sarif_is_valid_and_its_rules_link_to_where_they_are_written():
    log = json.loads(render(Form.SARIF, [USUAL, USUAL]))
    check_sarif(log)
    [run] = log["runs"]
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    assert rules["L04"]["helpUri"] == "https://www.rfc-editor.org/rfc/rfc4918.html#section-16"
    assert rules["L04"]["shortDescription"]["text"] == RULES["L04"].title
    assert "helpUri" not in rules["httplint:BAD_SYNTAX"]
    assert [result["level"] for result in run["results"]] == ["error", "warning", "none"] * 2
    place = run["results"][0]["locations"][0]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "https://h/plan%20a.odt?b=c"
    assert place["logicalLocations"][0]["name"] == "body"


def test_sarif_of_a_pasted_response_names_the_file():
    log = json.loads(render(Form.SARIF, [Shown("my dumps/ü.http", report(BAD, url="", method=""))]))
    check_sarif(log)
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert place == "my%20dumps/%C3%BC.http"


def test_sarif_stays_valid_whatever_a_server_sends():
    check_sarif(json.loads(render(Form.SARIF, [Shown("x", NASTY.report)])))
    check_sarif(json.loads(render(Form.SARIF, [NASTY])))


@pytest.mark.parametrize(("threshold", "failures"), [(None, 0), (Level.BAD, 1), (Level.WARN, 2), (Level.INFO, 2)])
def test_junit_fails_what_reaches_the_threshold(threshold: Level | None, failures: int):
    suites = ET.fromstring(render(Form.JUNIT, [USUAL], threshold=threshold))
    [suite] = suites
    assert (suites.tag, suite.get("tests"), suite.get("failures")) == ("testsuites", "4", str(failures))
    assert len(suite.findall("testcase/failure")) == failures
    assert len(suite.findall("testcase")) == 4
    for failure in suite.findall("testcase/failure"):
        assert failure.get("message")


def test_junit_is_well_formed_whatever_a_server_sends():
    [suite] = ET.fromstring(render(Form.JUNIT, [NASTY]))
    [failure] = suite.findall("testcase/failure")
    assert "<script>alert(1)</script>" in (failure.text or "")


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_else_and_runs_nothing():
    for shown in (USUAL, NASTY):
        page = Page(render(Form.HTML, [shown]))
        assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.tags)
        assert page.tags.count("style") == 1
        assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
        assert all(link.startswith("https://") for link in page.links)
        [policy] = [value for name, value in page.attributes if name == "content" and "default-src" in (value or "")]
        assert policy is not None
        assert policy.startswith("default-src 'none'; style-src 'sha256-")


def test_the_page_shows_what_was_found_and_what_a_server_sent_as_text():
    page = Page(render(Form.HTML, [USUAL, NASTY]))
    for part in (
        "Score 75 of 100",
        "Nobody knows which",
        "Name it",
        "RFC 4918 section 16",
        "It does not repeat.",
        "2 responses",
    ):
        assert part in page.text
    assert "<script>alert(1)</script>" in page.text
    assert "{{7*7}}" in page.text


def test_the_page_marks_code_and_nothing_else():
    note = Note(rule="L04", level=Level.BAD, summary="x", why="Send `<D:href>`, not <b>", mend="`{{1}}`")
    text = render(Form.HTML, [Shown("x", report(note))])
    assert "Send <code>&lt;D:href&gt;</code>, not &lt;b&gt;" in text
    assert "<code>{{1}}</code>" in text


def test_reports_of_real_exchanges_can_be_shown_in_each_form():
    exchange = Exchange(
        request=SentRequest(method="PUT", url="http://h/a"),
        response=ReceivedResponse(
            status=423,
            reason="Locked",
            fields=(("Retry-After", "soon"), ("X", HOSTILE.encode("utf-8", "replace").decode("latin-1"))),
        ),
    )
    shown = Shown("http://h/a", inspect(exchange, now=NOW))
    assert all("H01" in text for text in every_form(shown).values())
    check_sarif(json.loads(render(Form.SARIF, [shown])))


def test_levels_are_ordered_by_how_grave_they_are():
    assert [reaches(note, Level.WARN) for note in (BAD, WARN, GOOD)] == [True, True, False]
    assert not reaches(BAD, None)
    assert worst_of([USUAL]) is Level.BAD
    assert worst_of([Shown("x", report())]) is None


def test_plain_keeps_what_is_read_and_drops_what_acts():
    assert plain("ü 日本 \n\t") == "ü 日本 \n\t"
    assert plain("a\x1b[2Jb\x9bc\u2066") == "a�[2Jb�c�"
