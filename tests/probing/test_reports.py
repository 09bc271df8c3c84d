"""Reports as text, JSON, JUnit and HTML say the same, and stand alone."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree import ElementTree

import msgspec
import pytest

from holdfast.inspector.probing import PROBES, ServerReport, Verdict, chosen, run_probes, showing
from tests.probing.test_faults import PRINCIPALS
from tests.probing.wrong_server import WrongServer

ONLY = ("put-locked", "endless-lock", "delete-tree-status", "alias-case", "lock-token-field")


def report_of(*faults: str) -> ServerReport:
    server = WrongServer(*faults)
    url = f"http://{'wrong' if faults else 'right'}.test/dav/"
    return run_probes(url, PRINCIPALS, probes=chosen(ONLY), transport=server, pace=server.pace, limit_s=10_000)


@pytest.fixture(scope="module")
def reports() -> list[ServerReport]:
    wrong = ("PUT asks no locks", "grants without end", "calls a tree a failed dependency", "bare token")
    return [report_of(), report_of(*wrong)]


def test_text_tells_the_worst_first_with_why_and_where_it_is_written(reports):
    lines = [line.text for line in showing.text_lines(reports[1], wire=True)]
    marks = [line[:5].strip() for line in lines if line[:5].strip() in {"bad", "warn", "info"}]
    assert marks == ["bad", "bad", "warn", "info"]
    text = "\n".join(lines)
    assert "somebody without the lock token overwrote a locked document: answered 204" in text
    assert "https://www.rfc-editor.org/rfc/rfc4918.html#section-7" in text
    assert "> PUT /dav/holdfast-probe-" in text
    assert "< HTTP/1.1 204 No Content" in text
    assert "-     alias-case: capitals matter here" in text


def test_side_by_side_has_a_row_for_each_probe_that_did_not_pass_everywhere(reports):
    assert showing.side_by_side(reports) == [
        ("PROBE", "http://right.test/dav/", "http://wrong.test/dav/"),
        ("lock-token-field", "ok", "bad"),
        ("endless-lock", "ok", "info"),
        ("put-locked", "ok", "bad"),
        ("delete-tree-status", "ok", "warn"),
    ]


def test_json_has_each_result_with_what_its_probe_says(reports):
    servers = msgspec.json.decode(showing.as_json(reports))["servers"]
    assert [server["counts"]["failed"] for server in servers] == [0, 4]
    (result,) = [one for one in servers[1]["results"] if one["id"] == "put-locked"]
    assert result["title"] == PROBES["put-locked"].title
    assert (result["verdict"], result["level"], result["source"]) == ("failed", "bad", "RFC 4918 section 7")
    assert result["findings"][0]["sent"].startswith("PUT ")


def test_junit_counts_what_is_bad_or_a_warning_as_failures(reports):
    suites = ElementTree.fromstring(showing.as_junit(reports))
    wrong = suites[1]
    assert (wrong.get("tests"), wrong.get("failures"), wrong.get("skipped"), wrong.get("errors")) == (
        "5",
        "3",
        "1",
        "0",
    )
    assert {case.get("name") for case in wrong if case.find("failure") is not None} == {
        "put-locked",
        "delete-tree-status",
        "lock-token-field",
    }


def test_junit_is_xml_whatever_a_server_says(reports):
    (result, *_) = [one for one in reports[1].results if one.verdict is Verdict.FAILED]
    nasty = msgspec.structs.replace(result.findings[0], came="\x00\x1b]]>\ud800<b>&", summary='a "b" <c>')
    report = msgspec.structs.replace(reports[1], results=(msgspec.structs.replace(result, findings=(nasty,)),))
    failure = ElementTree.fromstring(showing.as_junit([report])).find(".//failure")
    assert failure is not None
    assert failure.get("message") == 'a "b" <c>'


def test_html_is_one_page_that_leads_to_each_finding_and_runs_no_markup_of_a_server(reports):
    hostile = msgspec.structs.replace(reports[1], server="<script>alert(1)</script>")
    page = showing.as_html([reports[0], hostile])

    class Reader(HTMLParser):
        targets: set[str | None]
        links: set[str | None]
        scripts = 0

        def handle_starttag(self, tag, attrs):
            self.scripts += tag == "script"
            fields = dict(attrs)
            self.targets.add(fields.get("id"))
            self.links.add(fields.get("href"))

    reader = Reader()
    reader.targets, reader.links = set(), set()
    reader.feed(page)
    assert reader.scripts == 0
    inner = {link[1:] for link in reader.links if link and link.startswith("#")}
    assert inner == {"s2-put-locked", "s2-endless-lock", "s2-delete-tree-status", "s2-lock-token-field"}
    assert inner <= reader.targets


def test_html_shows_code_as_code_and_no_backticks(reports):
    noted = msgspec.structs.replace(reports[1], notes=("see `a<b>`",))
    page = showing.as_html([reports[0], noted])
    assert "see <code>a&lt;b&gt;</code>" in page
    assert "`" not in page
