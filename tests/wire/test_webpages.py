"""The pages for people: nothing foreign runs in them, nothing is fetched, every text is escaped."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html as lxml_html

from holdfast.wire.webpages import (
    PAGE_POLICY,
    ListingEntry,
    LockedPageLock,
    render_listing,
    render_locked_page,
    render_problem_page,
    render_refusal_page,
)


def an_entry(name="plan.odt", **changes):
    values = {"name": name, "href": "/dav/plan.odt", "is_collection": False, "size": 48213,
              "modified_text": "20 Nov 14:05 UTC", "modified_iso": "2026-11-20T14:05:00Z", "locked_by": "Ada", "lock_id": "7Hq2",
              "locked_until_text": "10:32 UTC", "locked_until_iso": "2026-11-21T10:32:00Z"}  # fmt: skip
    return ListingEntry(**{**values, **changes})


def a_lock(**changes):
    values = {"page_href": "/locks/7Hq2", "holder": "Ada", "owner": "", "program": "", "root": "/dav/plan.odt", "shared": False, "whole_tree": False,
              "edits": True, "renewable": True, "reason": "", "since_text": "10:02 UTC", "since_iso": "2026-11-21T10:02:00Z", "until_text": "",
              "until_iso": "", "seconds_left": None, "queue_length": 0}  # fmt: skip
    return LockedPageLock(**{**values, **changes})


PAGES = {
    "listing": render_listing("/dav/projects", [an_entry()], top="/dav"),
    "locked": render_locked_page("/dav/plan.odt", "detail", [a_lock()], retry_after=60),
    "refusal": render_refusal_page(404, "Not Found", "There is nothing here."),
    "problem": render_problem_page(),
}


@pytest.mark.parametrize("name", PAGES)
def test_the_policy_lets_exactly_the_pages_own_style_and_script_run(name):
    text = PAGES[name].decode()
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in PAGE_POLICY
    assert not re.search(r'\s(style|on[a-z]+)="', text)
    assert "unsafe" not in PAGE_POLICY


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_no_other_host_and_fits_a_phone(name):
    text = PAGES[name].decode()
    assert not re.search(r"https?://|//[a-z]", text.replace("http://www.w3.org", ""))
    page = lxml_html.document_fromstring(text)
    assert page.find("head/title").text
    assert page.find(".//meta[@name='viewport']") is not None
    assert page.get("lang") == "en"
    assert len(page.findall(".//h1")) == 1
    assert len(page.findall(".//main")) == 1


def test_the_listing_shows_names_sizes_dates_and_holders():
    entries = [an_entry("a b"), an_entry("Photos", is_collection=True, href="/dav/Photos/", locked_by="")]
    page = lxml_html.document_fromstring(render_listing("/dav/projects", entries, top="/dav").decode())
    rows = [[cell.text_content() for cell in row] for row in page.findall(".//tbody/tr")]
    assert rows == [
        ["a b", "Ada until 10:32 UTC", "20 Nov 14:05 UTC", "48 kB"],
        ["Photos/", "", "20 Nov 14:05 UTC", ""],
    ]
    links = [link.get("href") for link in page.findall(".//tbody//a")]
    assert links == ["/dav/plan.odt", "/locks/7Hq2", "/dav/Photos/"]


def test_the_listing_counts_who_shares_a_lock_and_leads_to_the_other_pages():
    page = lxml_html.document_fromstring(render_listing("/dav", [an_entry(locked_more=2)], top="/dav").decode())
    assert page.find(".//td[@class='held']").text_content() == "Ada and 2 more until 10:32 UTC"
    links = [link.get("href") for link in page.findall(".//header//nav/a")]
    assert links == ["/", "/dav/", "/history", "/simulator", "/inspect", "/docs"]


@pytest.mark.parametrize(
    "path, top, expected",
    [
        ("/dav", "/dav", []),
        ("/dav/a b/c", "/dav", ["/dav/", "/dav/a%20b/"]),
        ("/dav/a", "/", ["/", "/dav/"]),
    ],
)
def test_the_trail_leads_up_to_the_top_and_no_higher(path, top, expected):
    page = lxml_html.document_fromstring(render_listing(path, [], top=top).decode())
    assert [link.get("href") for link in page.findall(".//main//nav/a")] == expected


def test_an_empty_collection_says_so():
    assert "Nothing here yet" in render_listing("/dav", []).decode()


@pytest.mark.parametrize(
    "size, text", [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9949, "9.9 kB"), (48213, "48 kB"), (999_600, "1.0 MB"),
                   (98_765_432_100, "99 GB"), (10**16, "10.0 PB")]
)  # fmt: skip
def test_sizes_are_short(size, text):
    page = lxml_html.document_fromstring(render_listing("/", [an_entry(size=size)]).decode())
    assert page.find(".//td[@class='size']").text == text


HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>&'{{7*7}}"


def test_hostile_names_stay_text():
    pages = [
        render_listing(
            "/dav/" + HOSTILE.replace("/", ""), [an_entry(HOSTILE, locked_by=HOSTILE, locked_until_text=HOSTILE)]
        ),
        render_locked_page(
            "/" + HOSTILE, HOSTILE, [a_lock(holder=HOSTILE, owner=HOSTILE, reason=HOSTILE, program=HOSTILE)]
        ),
        render_refusal_page(400, HOSTILE, HOSTILE),
    ]
    for body in pages:
        page = lxml_html.document_fromstring(body.decode())
        assert len(page.findall(".//script")) == 1
        assert page.findall(".//img") == []
        assert "{{7*7}}" in page.text_content()


@given(st.text(st.characters(exclude_categories=())))
def test_any_name_can_be_listed(name):
    """Names on disk that are not UTF-8 come as lone surrogates."""
    render_listing("/" + name, [an_entry(name)])


def test_ten_thousand_members_are_listed():
    body = render_listing("/dav", [an_entry(f"n{i}") for i in range(10_000)])
    assert body.count(b"<tr>") == 10_001
