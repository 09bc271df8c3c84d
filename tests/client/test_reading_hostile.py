"""Whatever a server sends, reading it ends soon, raises nothing, and makes a sentence that can be shown."""

from __future__ import annotations

import json
import pickle
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.client import LockedError, read_locked
from holdfast.client.bodies.found import MAX_LOCKS
from holdfast.client.bodies.values import MAX_RETRY_AFTER
from holdfast.core.paths import ResourcePath
from tests.client.services import BASE, ROWS

ORIGIN = "https://any.example/"
STATUSES = st.sampled_from([423, 423, 207, 424, 409, 412, 403, 400, 500, 200])
FIELDS = (
    "Retry-After", "Date", "Link", "Content-Type", "X-MSDAVEXT_ERROR", "LockAge", "LockCookie", "Tus-Resumable",
    "X-WOPI-Lock", "X-WOPI-LockFailureReason", "X-WOPI-ConflictingLockUsername", "x-ms-error-code", "x-ms-lease-time",
)  # fmt: skip
WORDS = (
    "lock", "locked", "locked by", "Ada", "423", "DAV:", "error", "https://evil.example/", "//evil.example", "/a",
    "Second-99999999999999999999", "Infinite", "2026-11-21T10:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59",
    "\u202e", "\x1b[2J", "\x00", "user", "until", "lock_conflict", "urn:problem-type:holdfast:locked", "LeaseLost", "1e999", "-1",
)  # fmt: skip
TEXT = st.lists(st.sampled_from(WORDS) | st.text(max_size=20), max_size=6).map(" ".join)
NAMES = st.sampled_from(
    [
        "ID", "id", "Who", "Created", "Operation", "lock", "owner", "name", "path", "locked_at", "message", "type", "title",
        "status", "detail", "locks", "retry_after", "resource", "error", "errors", "code", "innerError", "lockInfo", "owners",
        "ocs", "meta", "data", "statuscode", "eta", "creation", ".tag", "content", "created", "issue", "resourceType",
        "__STATUS", "lockKind", "lockInfo", "contentRestrictions", "readOnly", "restrictingUser", "lockedByUser",
        "lockedUntilDateTime", "expires_at", "holder", "since", "expires_in", "queue_length",
    ]
) | st.text(max_size=5)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from([10**400, -(10**30), 1e308, 423]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)
TAGS = st.sampled_from(
    [
        "D:error", "D:multistatus", "D:response", "D:href", "D:status", "D:propstat", "D:prop", "D:lock-token-submitted",
        "D:no-conflicting-lock", "D:lockdiscovery", "D:activelock", "D:timeout", "D:owner", "D:lockroot", "D:lockscope",
        "H:lock", "H:holder", "H:until", "H:since", "H:queue", "H:length", "H:position", "H:detail", "s:message", "s:exception",
        "n:lock", "n:lock-time", "n:lock-timeout", "ocs", "meta", "statuscode", "Error", "Code", "Message", "exception",
    ]
)  # fmt: skip
NAMESPACES = (
    'xmlns:D="DAV:" xmlns:H="urn:holdfast:dav" xmlns:s="http://sabredav.org/ns" xmlns:n="http://nextcloud.org/ns"'
)


def escaped(text: str) -> str:
    shown = "".join(c for c in text if c in "\t\n" or 0x20 <= ord(c) < 0xD800 or 0xE000 <= ord(c) < 0xFFFE)
    return shown.replace("&", "&amp;").replace("<", "&lt;")


def element(tag, inner, root):
    return f"<{tag}{' ' + NAMESPACES if root else ''}>{''.join(inner)}</{tag}>"


XML = st.builds(
    element,
    TAGS,
    st.lists(
        st.recursive(
            (TEXT | st.sampled_from(["HTTP/1.1 423 Locked", "1", "423"])).map(escaped),
            lambda inner: st.builds(element, TAGS, st.lists(inner, max_size=4), st.just(value=False)),
            max_leaves=20,
        ),
        max_size=5,
    ),
    st.just(value=True),
).map(str.encode)


def check(answer):
    """What holds of anything that was read."""
    details = read_locked(answer, conflicts=True)
    assert (details is not None) or answer[0] != 423
    if details is None:
        return
    sentence = str(LockedError(details))
    assert sentence.isprintable() or not sentence.isascii()
    assert not set(sentence) & set("\x00\x1b\r\n\u202e\u2066")
    assert len(sentence) < 1500
    assert details.retry_after is None or 0 <= details.retry_after <= MAX_RETRY_AFTER
    assert details.remaining is None or details.remaining >= 0
    assert len(details.locks) <= MAX_LOCKS
    assert all(url.startswith(ORIGIN) for url in details.candidates)
    assert all(not url or url.startswith(ORIGIN) for lock in details.locks for url in (lock.url, lock.about))
    for instant in (details.since, details.until):
        assert instant is None or instant.utcoffset() is not None
    pickle.loads(pickle.dumps(LockedError(details)))
    hash(details)


HEADERS = st.dictionaries(st.sampled_from(FIELDS), TEXT | st.text(max_size=30), max_size=4)


@given(status=STATUSES, headers=HEADERS, body=st.binary(max_size=300))
def test_any_bytes(status, headers, body):
    check((status, headers, body, BASE))


@given(status=STATUSES, headers=HEADERS, value=JSON)
@example(status=423, headers={}, value={"lock": {"path": "\u202e", "owner": {"name": "\x1b]0;x\x07"}}})
def test_any_json(status, headers, value):
    check((status, headers, json.dumps(value).encode(), BASE))


@given(status=STATUSES, headers=HEADERS, body=XML)
def test_any_xml(status, headers, body):
    check((status, headers, body, BASE))


@given(row=st.sampled_from(ROWS), data=st.data())
def test_anything_around_and_within_what_servers_say(row, data):
    """A real answer with a part replaced, cut off, doubled, or followed by anything."""
    body = row.body
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, len(body)))
    middle = data.draw(st.binary(max_size=20) | TEXT.map(lambda text: text.encode("utf-8", "replace")))
    headers = row.headers | data.draw(HEADERS)
    check((row.status, headers, body[:start] + middle + body[end:], BASE))


VALUES = st.sampled_from(
    [None, True, -1, 0, 10**400, 1e308, "", "\u202eadA", "a" * 100_000, [], {}, [[]], {"name": {}}]
)


@given(row=st.sampled_from([row for row in ROWS if row.body.startswith(b"{")]), data=st.data())
def test_members_of_other_types_in_what_servers_say(row, data):
    value = json.loads(row.body)
    place = value
    while True:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(list(keys)))
        if isinstance(place[key], (dict, list)) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(VALUES)
        break
    check((row.status, row.headers, json.dumps(value).encode(), BASE))


DEEP = 30_000
HUGE = {
    "deep arrays": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"lock":' * (DEEP // 4) + b"1" + b"}" * (DEEP // 4),
    "deep elements": b"<a>" * DEEP + b"</a>" * DEEP,
    "deep DAV errors": b'<D:error xmlns:D="DAV:">' + b"<D:error>" * 3000,
    "many elements": b'<D:error xmlns:D="DAV:">' + b"<D:href/>" * 7000 + b"</D:error>",
    "many members": json.dumps({f"k{n}": {} for n in range(5000)}).encode(),
    "entities": b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>',
    "external entity": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "a long name": json.dumps({"lock": {"path": "p", "owner": {"name": "A" * 60_000}}}).encode(),
    "a sentence without end": b"locked by " + b"a b " * 15_000,
    "locked without end": b"locked by " * 6000,
    "user is without end": b"user x is " * 6000,
    "spaces": b"locked" + b" " * 60_000 + b"by x",
    "quotes": b"locked by '" * 5500,
    "upper case": b"A_" * 30_000,
    "digits": b"[RCODE:WL" + b"9" * 60_000,
    "a long number": b'{"ID": 1, "Who": "a", "Created": ' + b"9" * 60_000 + b"}",
    "not a number": b'{"ID": "1", "Who": "a", "Operation": NaN}',
    "zero bytes": b"\x00" * 65_536,
    "wrong UTF-16": b"\xff\xfe<\x00a",
    "bytes that are no text": b"\xff\xfe\xfd" * 20_000,
    "two members of one name": b'{"ID": "1", "id": "2", "Who": "a", "who": "b"}',
}


@pytest.mark.parametrize("status", [423, 207, 409])
@pytest.mark.parametrize("name", HUGE)
def test_a_body_that_is_made_to_cost_costs_little(name, status):
    body = HUGE[name]
    started = time.process_time()
    check((status, {}, body, BASE))
    check((status, {}, body.ljust(70_000, b" "), BASE))
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    "value", ["<" * 60_000, "locked by " * 6000, "%41" * 20_000, "9" * 60_000, "</a>; rel=describedby, " * 2500]
)
def test_a_field_that_is_made_to_cost_costs_little(field, value):
    started = time.process_time()
    check((423, {field: value}, b"", BASE))
    assert time.process_time() - started < 1.0


def test_a_multistatus_of_many_locked_members_is_read_to_a_bound():
    member = "<D:response><D:href>/{}</D:href><D:status>HTTP/1.1 423 Locked</D:status></D:response>"
    body = f'<D:multistatus xmlns:D="DAV:">{"".join(map(member.format, range(9000)))}</D:multistatus>'
    assert len(read_locked((207, {}, body, BASE)).locks) == MAX_LOCKS
    assert read_locked((207, {}, body + " " * 2_000_000, BASE)).is_partial
    assert read_locked((207, {}, body.replace("<D:response>", f"<D:response>{' ' * 500}"), BASE)) is None


def test_the_names_in_a_sentence_cannot_turn_or_break_it():
    body = json.dumps({"ID": "1", "Who": "Ada\u202e\u2066\n\x1b[31m is gone", "Operation": "x"})
    assert str(LockedError(read_locked((423, {}, body, BASE)))) == "/dir/thing is locked by Ada [31m is gone"
    assert ResourcePath("/dir/thing").href() in read_locked((423, {}, body, BASE)).url
