"""WebDAV's answers in XML: well-formed for any text, in the shape of RFC 4918, whole or in chunks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from holdfast.core.model import Depth, Face, Lock, LockScope
from holdfast.core.paths import ResourcePath
from holdfast.wire.davxml import parse_lockinfo
from holdfast.wire.davxml_write import (
    NO_SUPPORTEDLOCK,
    SUPPORTEDLOCK,
    Condition,
    condition_xml,
    empty_property,
    error_element,
    escape,
    iso_date,
    iso_instant,
    lockdiscovery,
    property_element,
    propstat,
    render_activelock,
    render_error,
    render_lock_answer,
    render_multistatus,
    response,
    status_line,
    status_response,
    stream_multistatus,
)

NOW = datetime(2026, 11, 21, 10, 2, tzinfo=UTC)
D = "{DAV:}"


def make_lock(**changes) -> Lock:
    values = {
        "id": "7Hq2", "token": "urn:uuid:e71d4fae-5dec-22d6-fea5-00a0c91e6be4",
        "root": ResourcePath("/workspace/webdav/info.doc"), "scope": LockScope.EXCLUSIVE, "depth": Depth.INFINITY,
        "principal": "ada", "owner": "", "owner_xml": None, "reason": "", "client": "", "face": Face.WEBDAV,
        "fencing_token": 1, "created_at": NOW, "refreshed_at": NOW, "expires_at": NOW + timedelta(seconds=604800),
    }  # fmt: skip
    return Lock(**{**values, **changes})


def activelock(lock, *, now=NOW, shown=True):
    xml = render_activelock(lock, now, token_shown=shown, root_href=lock.root.href())
    return etree.fromstring(render_lock_answer([xml])).find(f"{D}lockdiscovery/{D}activelock")


def test_an_activelock_has_the_elements_of_section_14_1_in_order():
    info = parse_lockinfo(
        b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype>'
        b"<D:owner><D:href>http://example.org/~ejw/contact.html</D:href></D:owner></D:lockinfo>"
    )
    lock = make_lock(owner=info.owner_text, owner_xml=info.owner_xml)
    found = activelock(lock)
    names = [child.tag.removeprefix(D) for child in found]
    assert names == ["lockscope", "locktype", "depth", "owner", "timeout", "locktoken", "lockroot"]
    assert found.find(f"{D}lockscope/{D}exclusive") is not None
    assert found.find(f"{D}locktype/{D}write") is not None
    assert found.findtext(f"{D}depth") == "infinity"
    assert found.findtext(f"{D}owner/{D}href") == "http://example.org/~ejw/contact.html"
    assert found.findtext(f"{D}timeout") == "Second-604800"
    assert found.findtext(f"{D}locktoken/{D}href") == lock.token
    assert found.findtext(f"{D}lockroot/{D}href") == "/workspace/webdav/info.doc"


def test_a_token_that_is_not_to_be_shown_is_nowhere():
    """RFC 4918 section 15.8: the lock is shown, its token is not."""
    lock = make_lock()
    xml = render_activelock(lock, NOW, token_shown=False, root_href=lock.root.href())
    assert lock.token not in xml
    assert "locktoken" not in xml


@pytest.mark.parametrize(
    "left, text",
    [
        (timedelta(seconds=90), "Second-90"),
        (timedelta(seconds=89.2), "Second-90"),
        (timedelta(seconds=-5), "Second-0"),
        (None, "Infinite"),
    ],
)
def test_the_timeout_is_what_is_left(left, text):
    lock = make_lock(expires_at=None if left is None else NOW + left)
    assert activelock(lock).findtext(f"{D}timeout") == text


def test_an_owner_without_xml_is_escaped_text():
    assert activelock(make_lock(owner="<b>&")).findtext(f"{D}owner") == "<b>&"
    assert activelock(make_lock()).find(f"{D}owner") is None


def test_lockdiscovery_is_present_and_empty_where_nothing_is_locked():
    assert lockdiscovery([]) == "<D:lockdiscovery/>"


def test_supportedlock_lists_both_scopes():
    """RFC 4918 section 15.10."""
    found = etree.fromstring(render_multistatus([response("/", propstat(200, SUPPORTEDLOCK + NO_SUPPORTEDLOCK))]))
    entries = found.findall(f".//{D}lockentry")
    assert [entry.find(f"{D}lockscope")[0].tag for entry in entries] == [f"{D}exclusive", f"{D}shared"]
    assert all(entry.find(f"{D}locktype/{D}write") is not None for entry in entries)


def test_a_multistatus_has_the_shape_of_section_14_16():
    error = error_element(condition_xml(Condition.LOCK_TOKEN_SUBMITTED, ["/a&b"]))
    document = render_multistatus(
        [
            response(
                "/x&y/",
                propstat(200, property_element("DAV:", "getetag", escape('"1"')))
                + propstat(404, empty_property("", "none")),
            ),
            status_response("/locked", 423, error),
        ]
    )
    assert document.startswith(b'<?xml version="1.0" encoding="utf-8"?>')
    root = etree.fromstring(document)
    assert root.tag == f"{D}multistatus"
    first, second = root
    assert first.findtext(f"{D}href") == "/x&y/"
    assert [item.findtext(f"{D}status") for item in first.findall(f"{D}propstat")] == [
        "HTTP/1.1 200 OK",
        "HTTP/1.1 404 Not Found",
    ]
    assert first.findtext(f"{D}propstat/{D}prop/{D}getetag") == '"1"'
    assert second.findtext(f"{D}status") == "HTTP/1.1 423 Locked"
    assert second.findtext(f"{D}error/{D}lock-token-submitted/{D}href") == "/a&b"


def test_status_lines_are_known_phrases():
    assert status_line(424) == "HTTP/1.1 424 Failed Dependency"
    assert status_line(507) == "HTTP/1.1 507 Insufficient Storage"
    assert status_line(599) == "HTTP/1.1 599 "


@given(st.lists(st.text(max_size=40), max_size=40), st.integers(1, 200))
def test_the_chunks_of_a_stream_are_the_document(names, size):
    responses = [status_response(name, 200) for name in names]
    chunks = list(stream_multistatus(iter(responses), size))
    assert b"".join(chunks) == render_multistatus(responses)
    assert all(chunks)
    assert len(etree.fromstring(b"".join(chunks))) == len(names)


def test_a_stream_takes_responses_only_as_it_goes():
    taken = []

    def responses():
        for number in range(100):
            taken.append(number)
            yield status_response(f"/{number}", 200)

    chunks = stream_multistatus(responses(), 200)
    next(chunks)
    assert len(taken) < 10


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_becomes_well_formed_xml(text):
    """Characters that XML 1.0 cannot hold are dropped; all others come back."""
    document = f'<x a="{escape(text)}">{escape(text)}</x>'.encode()
    found = etree.fromstring(document).text or ""
    kept = [c for c in text if c in "\t\n\r" or "\x20" <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"]
    assert found == "".join(kept)


@pytest.mark.parametrize(
    "namespace, name, value, expected",
    [
        ("DAV:", "getetag", "x", "<D:getetag>x</D:getetag>"),
        ("", "none", "x", '<none xmlns="">x</none>'),
        ("urn:a&b", "p", "x", '<x:p xmlns:x="urn:a&amp;b">x</x:p>'),
        ("urn:u", "p", "", '<x:p xmlns:x="urn:u"/>'),
    ],
)
def test_properties_of_every_namespace_are_written(namespace, name, value, expected):
    assert property_element(namespace, name, value) == expected


@pytest.mark.parametrize("condition", list(Condition))
def test_each_condition_is_a_child_of_dav_error(condition):
    """RFC 4918 section 16."""
    root = etree.fromstring(render_error(condition_xml(condition)))
    assert root.tag == f"{D}error"
    assert [child.tag for child in root] == [D + condition.value]


@given(st.datetimes(timezones=st.just(UTC)))
def test_creation_dates_have_no_fraction(instant):
    """Windows reads at most three digits of one; RFC 4918 section 15.1 asks for RFC 3339."""
    assert iso_instant(instant) == f"{instant:%Y-%m-%d}".rjust(10, "0") + f"T{instant:%H:%M:%S}Z"
    assert iso_date(0) == "1970-01-01T00:00:00Z"
