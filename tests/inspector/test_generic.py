"""The generic notes: httplint's, as plain text, without what is false for WebDAV or said better by a rule."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys

import httplint
import httplint.message
import pytest
from httplint import HttpResponseLinter
from hypothesis import given
from hypothesis import strategies as st

from holdfast.inspector.generic import PASSED_OVER, generic_notes
from holdfast.inspector.inspected import Inspected
from holdfast.inspector.notes import Level
from holdfast.inspector.rules import RULES
from tests.inspector.examples import EXAMPLES, example
from tests.inspector.finding import DATE, JSON, NOW, TEXT, XML, exchange


def notes(*fields, everything=False, **values):
    found = generic_notes(Inspected(exchange(*fields, **values), NOW), everything=everything)
    assert found is not None
    return found


def names(*fields, **values):
    return {note.rule.removeprefix("httplint:") for note in notes(*fields, **values)}


def known_notes():
    todo, found = [httplint.Note], set()
    while todo:
        one = todo.pop()
        found.add(one.__name__)
        todo.extend(one.__subclasses__())
    return found


def test_without_httplint_there_are_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "httplint", None)
    assert generic_notes(Inspected(exchange())) is None


def test_httplint_is_loaded_when_the_first_exchange_is_looked_at():
    program = "import sys, holdfast.inspector.inspecting; assert 'httplint' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_each_note_that_is_passed_over_exists_and_so_does_the_rule_in_its_place():
    """httplint renames its notes now and then; a name that is gone would let the note through under another."""
    notes(("Content-Length", "x"))  # loads its parser
    assert set(PASSED_OVER) <= known_notes()
    assert {rule_id for reason in PASSED_OVER.values() for rule_id in re.findall(r"\b[A-Z][0-9]{2}\b", reason)} <= set(
        RULES
    )


def test_none_of_those_comes_through_on_any_example():
    for folder in sorted(EXAMPLES.iterdir()):
        for name in ("fires", "passes"):
            found = generic_notes(Inspected(example(folder.name, name)))
            assert found is not None
            assert not {note.rule.removeprefix("httplint:") for note in found} & set(PASSED_OVER)
            assert "httplint:FAILED" not in {note.rule for note in found}


@pytest.mark.parametrize(
    "values",
    [
        {"status": 412, "asked": [("If", "(<DAV:no-lock>)")]},
        {"status": 201, "method": "MKCOL"},
        {"status": 204, "method": "GET"},
        {"status": 423},
        {"status": 207, "method": "PROPFIND"},
        {"status": 299},
    ],
)
def test_answers_that_are_right_in_webdav_are_left_alone(values):
    found = notes(DATE, asked=values.pop("asked", [("User-Agent", "x")]), **values)
    assert {note.level for note in found} <= {Level.GOOD, Level.INFO}


def test_a_415_may_list_what_is_supported():
    assert "REQUEST_HDR_IN_RESPONSE" not in names(DATE, ("Accept", "text/plain"), status=415)
    assert "REQUEST_HDR_IN_RESPONSE" in names(DATE, ("User-Agent", "x"), status=415)


def test_a_fresh_423_is_never_called_good_news():
    found = notes(DATE, ("Cache-Control", "max-age=60"), method="GET", received_at=NOW)
    assert not [note for note in found if "fresh" in note.summary or "store" in note.summary]


def test_everything_brings_those_too():
    assert "FRESHNESS_FRESH" in names(DATE, ("Cache-Control", "max-age=60"), method="GET", everything=True)


def test_the_form_of_retry_after_is_for_our_rule_alone():
    assert "BAD_SYNTAX" not in names(DATE, ("Retry-After", "soon"))
    assert "BAD_SYNTAX_DETAILED" in names(DATE, ("Allow", "GET; PUT"))


def test_what_is_wrong_beyond_423_is_told():
    found = {
        note.rule: note
        for note in notes(DATE, TEXT, ("Vary", "User-Agent"), ("X-Content-Type-Options", "no"), body=b"x")
    }
    vary = found["httplint:VARY_USER_AGENT"]
    assert vary.subject == "field Vary"
    assert vary.why
    assert "httplint:CONTENT_TYPE_OPTIONS_UNKNOWN" in found


def test_texts_are_plain_whatever_the_server_sends():
    """The details are HTML with the server's words in it; nothing of either's markup is left, and nothing is lost."""
    nasty = '<script>alert("1")</script>'
    found = notes(DATE, TEXT, ("Set-Cookie", f"a=b; {nasty}=1"), ("Cache-Control", f'max-age="{nasty}"'), body=b"x")
    assert not [
        note
        for note in found
        if re.search(r"</?(p|code|a|li|ul|em|strong)\b|&(lt|gt|amp|quot|#)", f"{note.summary}{note.why}")
    ]
    assert any("<script>" in f"{note.summary}{note.why}" for note in found)
    assert all(
        line.isprintable() for note in found for line in f"{note.summary}\n{note.subject}\n{note.why}".split("\n")
    )


def test_links_become_sources():
    linked = [note for note in notes(DATE, ("Content-Type", "text/html"), status=304, method="GET") if note.sources]
    assert linked
    assert all(source.link.startswith("https://") and str(source) for note in linked for source in note.sources)


def test_the_request_is_looked_at_and_never_costs_the_answer():
    found = [note for note in notes(DATE, method="DELETE", sent=b"x") if note.subject.startswith("request")]
    assert {"httplint:MISSING_USER_AGENT", "httplint:REQUEST_CONTENT_NOT_DEFINED"} <= {
        note.rule for note in notes(DATE, method="DELETE", sent=b"x")
    }
    assert {note.level for note in found} <= {Level.INFO, Level.GOOD}


def test_without_a_request_only_the_answer_is_looked_at():
    assert not [note for note in notes(DATE, method="") if note.subject.startswith("request")]
    assert notes(DATE, method="", received_at=NOW)


def test_the_clock_is_compared_with_the_time_of_receipt():
    assert "DATE_CORRECT" in names(DATE, received_at=NOW)
    assert "DATE_CORRECT" not in names(DATE)
    assert "DATE_INCORRECT" not in names(("Date", "Sat, 21 Nov 2026 09:00:00 GMT"), received_at=NOW)  # H04 says it


def test_the_answer_to_head_is_taken_as_one():
    found = names(DATE, JSON, ("Content-Length", "600"), method="HEAD")
    assert not found & {"CL_INCORRECT", "CONTENT_NOT_ALLOWED"}


@pytest.mark.parametrize(
    "body", [gzip.compress(b'{"status": 423}', mtime=0), b'{"status": 423}'], ids=["coded", "decoded"]
)
def test_a_coding_that_was_undone_already_is_no_fault(body):
    """HAR files hold the decoded text, beside the Content-Encoding that the server sent."""
    assert not {name for name in names(DATE, JSON, ("Content-Encoding", "gzip"), body=body) if "GZIP" in name}


def test_a_coding_that_is_broken_is():
    assert "BAD_GZIP" in names(DATE, JSON, ("Content-Encoding", "gzip"), body=b"\xff\xfe\xfd not gzip")


def test_a_fault_in_httplint_costs_its_own_notes_alone(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a fault of its own")

    monkeypatch.setattr(HttpResponseLinter, "process_headers", fail)
    [note] = notes(DATE)
    assert (note.rule, note.level) == ("httplint:FAILED", Level.INFO)
    assert "RuntimeError" in note.summary


def test_a_text_that_httplint_cannot_make_costs_that_note_alone(monkeypatch):
    monkeypatch.setattr(httplint.message.MISSING_USER_AGENT, "_text", "%(nothing of the kind)s")
    found = notes(DATE, received_at=NOW)
    assert {note.rule for note in found} >= {"httplint:FAILED", "httplint:DATE_CORRECT"}


NAMES = st.sampled_from(
    [
        "Cache-Control",
        "Content-Type",
        "Content-Encoding",
        "Content-Length",
        "Date",
        "Expires",
        "Age",
        "Vary",
        "Set-Cookie",
        "Link",
        "Retry-After",
        "ETag",
        "Allow",
    ]
)
VALUES = st.text(st.characters(max_codepoint=0x2FF), max_size=40) | st.sampled_from(
    [
        "gzip",
        "br",
        "max-age=99999999999999",
        "text/html;charset=%",
        '"',
        "\x00",
        "é",
        "Sat, 99 Nov 2026 10:00:00 GMT",
        "text/xml",
    ]
)


@given(
    fields=st.lists(st.tuples(NAMES, VALUES), max_size=6),
    status=st.integers(0, 999),
    method=st.sampled_from(["", "GET", "HEAD", "LOCK", "CONNECT", "é", "G T"]),
    body=st.binary(max_size=60),
    url=st.sampled_from(["", "/", "http://[", "http://a/\x00", "https://ä.example/ö#x", "*"]),
)
def test_it_never_raises(fields, status, method, body, url):
    inspected = Inspected(exchange(*fields, status=status, method=method, body=body, sent=body, url=url))
    assert generic_notes(inspected) is not None


def test_xml_of_webdav_is_what_it_says():
    assert "CONTENT_TYPE_MISMATCH" not in names(DATE, XML, body=b'<?xml version="1.0"?><D:error xmlns:D="DAV:"/>')


@pytest.mark.parametrize(
    "fields",
    [
        [("Link", "a," * 4096)],
        [("Link", "a," * 400)],
        [("Link", "<a>"), ("link", "x" * 1100)],
        [("Link", "<a>")] * 300,
    ],
)
def test_a_field_that_would_take_long_is_not_put_to_httplint_and_its_absence_is_told(
    monkeypatch: pytest.MonkeyPatch, fields: list[tuple[str, str]]
):
    fed: list[tuple[bytes, bytes]] = []
    feed = HttpResponseLinter.process_headers

    def watched(self: HttpResponseLinter, lines: list[tuple[bytes, bytes]]) -> None:
        fed.extend(lines)
        feed(self, lines)

    monkeypatch.setattr(HttpResponseLinter, "process_headers", watched)
    found = notes(DATE, *fields, ("X-Other", "1"), status=423)
    assert [name for name, _ in fed] == [b"Date", b"X-Other"]
    [note] = [one for one in found if one.rule == "httplint:LEFT_OUT"]
    assert note.summary == "These fields are too long for httplint, and were not put to it: Link"
    assert note.level is Level.INFO


def test_all_fields_together_are_bounded_too(monkeypatch: pytest.MonkeyPatch):
    fed: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(HttpResponseLinter, "process_headers", lambda _self, lines: fed.extend(lines))
    [note] = [one for one in notes(*((f"X-{at}", "a" * 1000) for at in range(60))) if one.rule.endswith("LEFT_OUT")]
    assert 12 <= len(fed) <= 16
    assert "X-30" in note.summary
    assert note.summary.endswith(" more")


def test_an_answer_with_ordinary_fields_is_put_to_httplint_whole():
    assert not [one for one in notes(DATE, XML, ("Cache-Control", "no-store")) if one.rule.endswith("LEFT_OUT")]
