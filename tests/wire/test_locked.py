"""The 423: who, since when, until when, in every form; and never a token."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from lxml import html as lxml_html

from holdfast.core.decisions import Standing
from holdfast.core.model import Depth, Face, Lock, LockScope, Waiter
from holdfast.core.paths import ResourcePath
from holdfast.wire.davxml_write import Condition, error_element, render_multistatus, status_response
from holdfast.wire.locked import (
    LOCKED_TYPE,
    MAX_LOCKS_SHOWN,
    ContendingLock,
    LockedAnswer,
    locked_conditions,
    locked_detail,
    locked_problem,
    locked_response,
    office_error,
    parse_locked_problem,
    retry_after,
)
from holdfast.wire.problem import Problem, encode_problem

NOW = datetime(2026, 11, 21, 10, 12, tzinfo=UTC)
SINCE = datetime(2026, 11, 21, 10, 2, tzinfo=UTC)
UNTIL = datetime(2026, 11, 21, 10, 32, tzinfo=UTC)
PLAN = ResourcePath("/dav/plan.odt")
TOKEN = "urn:uuid:5b3bf3a9-93d7-4d52-9f44-4c4b2f1d7c11"
H = "{urn:holdfast:dav}"
D = "{DAV:}"
WRITE, LOCK = Condition.LOCK_TOKEN_SUBMITTED, Condition.NO_CONFLICTING_LOCK


def make_lock(**changes) -> Lock:
    values = {
        "id": "7Hq2", "token": TOKEN, "root": PLAN, "scope": LockScope.EXCLUSIVE, "depth": Depth.ZERO,
        "principal": "Ada", "owner": "Ada L.", "owner_xml": f'<D:owner xmlns:D="DAV:">{TOKEN}</D:owner>', "reason": "",
        "client": "LibreOffice/24.8", "face": Face.WEBDAV, "fencing_token": 1, "created_at": SINCE,
        "refreshed_at": SINCE, "expires_at": UNTIL,
    }  # fmt: skip
    return Lock(**{**values, **changes})


def answer(*locks, condition=WRITE, resource=PLAN, now=NOW, offset=timedelta()) -> LockedAnswer:
    return LockedAnswer(
        resource, tuple(ContendingLock.of(lock) for lock in locks or (make_lock(),)), condition, now, offset
    )


def field(response, name):
    return dict(response.headers)[name]


def test_every_423_has_the_fields_that_keep_it_from_being_stored_or_sniffed():
    response = locked_response(answer())
    assert response.status == 423
    assert field(response, "Content-Type") == "application/xml; charset=utf-8"
    assert field(response, "Cache-Control") == "no-store"
    assert field(response, "Vary") == "Accept"
    assert field(response, "X-Content-Type-Options") == "nosniff"
    assert field(response, "Retry-After") == "60"
    assert field(response, "Link") == '</api/locks/7Hq2>; rel="describedby", </problems/locked>; rel="help"'
    assert "X-MSDAVEXT_ERROR" not in dict(response.headers)
    assert len(dict(response.headers)) == len(response.headers)


@pytest.mark.parametrize(
    "accept, prefers_xml, content_type",
    [
        (None, True, "application/xml; charset=utf-8"),
        (None, False, "application/problem+json"),
        ("*/*", True, "application/xml; charset=utf-8"),
        ("*/*", False, "application/problem+json"),
        ("text/xml", True, "application/xml; charset=utf-8"),
        ("application/json", True, "application/problem+json"),
        ("application/problem+json", True, "application/problem+json"),
        ("application/json, text/plain, */*", True, "application/problem+json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True, "text/html; charset=utf-8"),
        ("application/xml, text/html;q=0.1", False, "application/xml; charset=utf-8"),
        ("image/png", True, "application/xml; charset=utf-8"),
        ("image/png", False, "application/problem+json"),
    ],
)
def test_accept_chooses_the_form(accept, prefers_xml, content_type):
    response = locked_response(answer(), accept, prefers_xml=prefers_xml)
    assert field(response, "Content-Type") == content_type


@pytest.mark.parametrize("condition", [WRITE, LOCK])
def test_the_xml_names_the_condition_the_lock_root_and_the_holder(condition):
    """RFC 4918 sections 16.3 and 16.4: each with the href of the lock root."""
    lock = make_lock(root=ResourcePath("/dav/a b&c"), reason="<quarter end>", depth=Depth.INFINITY)
    root = etree.fromstring(locked_response(answer(lock, condition=condition)).body)
    assert root.tag == f"{D}error"
    assert [child.tag for child in root] == [D + condition.value, f"{H}lock"]
    assert root.findtext(f"{D}{condition.value}/{D}href") == "/dav/a%20b&c"
    described = root.find(f"{H}lock")
    assert [(child.tag.split("}")[1], child.text) for child in described] == [
        ("href", "/dav/a%20b&c"),
        ("holder", "Ada"),
        ("owner", "Ada L."),
        ("since", "2026-11-21T10:02:00Z"),
        ("until", "2026-11-21T10:32:00Z"),
        ("reason", "<quarter end>"),
    ]


def test_a_lock_without_end_has_no_until():
    root = etree.fromstring(locked_response(answer(make_lock(expires_at=None))).body)
    assert root.find(f"{H}lock/{H}until") is None


def test_the_conditions_also_fit_into_a_207():
    document = render_multistatus([status_response("/dav/plan.odt", 423, error_element(locked_conditions(answer())))])
    error = etree.fromstring(document).find(f"{D}response/{D}error")
    assert error.findtext(f"{D}lock-token-submitted/{D}href") == "/dav/plan.odt"
    assert error.findtext(f"{H}lock/{H}holder") == "Ada"


def test_the_json_has_exactly_the_promised_members():
    response = locked_response(answer(), "application/problem+json")
    assert json.loads(response.body) == {
        "type": LOCKED_TYPE,
        "title": "Locked",
        "status": 423,
        "detail": locked_detail(answer()),
        "instance": "/dav/plan.odt",
        "resource": "/dav/plan.odt",
        "retry_after": 60,
        "locks": [
            {
                "id": "7Hq2",
                "root": "/dav/plan.odt",
                "scope": "exclusive",
                "depth": "0",
                "holder": {"name": "Ada", "owner": "Ada L.", "client": "LibreOffice/24.8"},
                "reason": "",
                "since": "2026-11-21T10:02:00Z",
                "expires_at": "2026-11-21T10:32:00Z",
                "expires_in": 1200,
                "queue_length": 0,
                "url": "/api/locks/7Hq2",
            }
        ],
    }


def test_no_top_level_member_is_one_that_terraform_reads():
    """Its reader takes such names in any letter case for its own lock."""
    names = {name.lower() for name in json.loads(locked_response(answer(), "application/json").body)}
    assert not names & {"id", "operation", "info", "who", "version", "created", "path"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b'{"title":"Locked","status":423}',
        encode_problem(Problem(title="x", status=423)),
    ],
)
def test_other_json_is_not_taken_for_a_423_of_ours(body):
    assert parse_locked_problem(body) is None


@pytest.mark.parametrize(
    "left, expected",
    [
        ([timedelta(seconds=5)], 5),
        ([timedelta(seconds=4.001)], 5),
        ([timedelta(seconds=0)], 1),
        ([timedelta(seconds=-9)], 1),
        ([timedelta(hours=9)], 60),
        ([timedelta(seconds=5), timedelta(seconds=9)], 9),
        ([timedelta(seconds=5), None], 60),
    ],
)
def test_retry_after_is_when_the_last_lock_in_the_way_ends_from_1_to_60(left, expected):
    locks = [make_lock(expires_at=None if item is None else NOW + item) for item in left]
    assert retry_after(answer(*locks)) == expected


def test_instants_are_shown_on_the_wall_clock_and_rounded_so_that_nobody_comes_early():
    lock = make_lock(created_at=SINCE + timedelta(seconds=0.9), expires_at=UNTIL + timedelta(seconds=0.1))
    shown = locked_problem(answer(lock, offset=timedelta(hours=1))).locks[0]
    assert shown.since == SINCE + timedelta(hours=1)
    assert shown.expires_at == UNTIL + timedelta(hours=1, seconds=1)
    assert shown.expires_in == 1201


@pytest.mark.parametrize(
    "lock, condition, expected",
    [
        (make_lock(), WRITE,
         "Ada is editing /dav/plan.odt (LibreOffice) since 10:02 UTC, until 10:32 UTC unless renewed. Your change was not made."),
        (make_lock(depth=Depth.INFINITY, client="Microsoft-WebDAV-MiniRedir/10.0.26100"), LOCK,
         ("Ada is editing /dav/plan.odt (Windows Explorer) since 10:02 UTC, until 10:32 UTC unless renewed. "
         "The lock you asked for was not granted.")),
        (make_lock(principal="anonymous", client=""), WRITE,
         "Someone (“Ada L.”) is editing /dav/plan.odt since 10:02 UTC, until 10:32 UTC unless renewed."),
        (make_lock(principal="anonymous", owner="", client="x/1"), WRITE, "Someone is editing /dav/plan.odt (x) since"),
        (make_lock(root=ResourcePath("/"), depth=Depth.INFINITY, face=Face.API, reason="nightly\nbackup", expires_at=None,
                   created_at=SINCE - timedelta(days=1), client=""), WRITE,
         "Ada has locked / and everything in it since 20 Nov 10:02 UTC, without a set end; reason: nightly backup."),
        (make_lock(root=ResourcePath("/"), depth=Depth.INFINITY, face=Face.COMMAND, reason="Upgrade", client=""), WRITE,
         "Ada has locked / and everything in it since 10:02 UTC, until 10:32 UTC; reason: Upgrade."),
        (make_lock(created_at=SINCE - timedelta(days=365)), WRITE, "since 21 Nov 2025 10:02 UTC, until 10:32 UTC"),
    ],
)  # fmt: skip
def test_the_detail_is_a_sentence_for_a_person(lock, condition, expected):
    detail = locked_detail(answer(lock, condition=condition))
    assert expected in detail
    advice = "it is over." if lock.face is Face.COMMAND else "it is released, or ask the holder to release it."
    assert detail.endswith(f"Try again once {advice}")


@pytest.mark.parametrize("face, is_told", [(Face.WEBDAV, True), (Face.API, True), (Face.COMMAND, False)])
def test_the_page_speaks_of_renewal_but_where_maintenance_ends_when_it_was_set_to(face, is_told):
    page = locked_response(answer(make_lock(face=face)), "text/html").body
    assert (b"unless renewed <span" in page) is is_told
    assert (b" data-renewable>" in page) is is_told
    assert (b"Ask Ada to" in page) is is_told
    assert b"10:32 UTC</time>" in page


def test_more_locks_are_counted_and_only_some_described():
    locks = [make_lock(id=f"l{i}", scope=LockScope.SHARED) for i in range(MAX_LOCKS_SHOWN + 5)]
    assert "24 more locks are in the way" in locked_detail(answer(*locks))
    assert "1 more lock is in the way" in locked_detail(answer(*locks[:2]))
    assert len(locked_problem(answer(*locks)).locks) == MAX_LOCKS_SHOWN
    root = etree.fromstring(locked_response(answer(*locks)).body)
    assert len(root.findall(f"{H}lock")) == MAX_LOCKS_SHOWN
    assert len(root.findall(f"{D}lock-token-submitted/{D}href")) == 1
    assert "And 5 more" in locked_response(answer(*locks), "text/html").body.decode()


def test_office_reads_a_code_and_a_percent_encoded_sentence():
    """MS-WDV: X-MSDAVEXT_ERROR is how Office shows who has the document."""
    response = locked_response(answer(make_lock(principal="Åda")), office=True)
    code, _, sentence = field(response, "X-MSDAVEXT_ERROR").partition("; ")
    assert code == "589838"
    assert sentence.isascii()
    assert " " not in sentence
    assert unquote(sentence).startswith("Åda is editing /dav/plan.odt")


def test_the_page_says_who_since_until_and_what_to_do():
    response = locked_response(
        answer(make_lock(reason="<script>alert(1)</script>", principal="Ada & Bob")), "text/html"
    )
    text = lxml_html.document_fromstring(response.body.decode()).find("body/main").text_content()
    for part in (
        "Ada & Bob has locked plan.odt",
        "LibreOffice",
        "10:02 UTC",
        "10:32 UTC",
        "Save your version",
        "60 seconds",
    ):
        assert part in text
    assert b"<script>alert" not in response.body
    assert b'data-left="1200"' in response.body
    assert "default-src 'none'" in field(response, "Content-Security-Policy")


texts = st.text(max_size=60)
instants = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
paths = st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\"), min_size=1, max_size=9)
                 .filter(lambda name: name not in {".", ".."}), max_size=4).map(lambda names: ResourcePath("/" + "/".join(names)))  # fmt: skip
locks = st.builds(
    Lock,
    id=st.from_regex(r"[A-Za-z0-9_-]{1,9}", fullmatch=True),
    token=st.just(TOKEN),
    root=paths,
    scope=st.sampled_from(LockScope),
    depth=st.sampled_from([Depth.ZERO, Depth.INFINITY]),
    principal=st.text(st.characters(exclude_categories=("Cs",)), max_size=60),
    owner=st.text(st.characters(exclude_categories=("Cs",)), max_size=60),
    owner_xml=st.just(f'<D:owner xmlns:D="DAV:">{TOKEN}</D:owner>'),
    reason=st.text(st.characters(exclude_categories=("Cs",)), max_size=600),
    client=st.text(st.characters(max_codepoint=255), max_size=60),
    face=st.sampled_from(Face),
    fencing_token=st.just(1),
    created_at=instants,
    refreshed_at=instants,
    expires_at=st.none() | instants,
)
answers = st.builds(
    LockedAnswer,
    resource=paths,
    locks=st.lists(locks.map(ContendingLock.of), min_size=1, max_size=3).map(tuple),
    condition=st.sampled_from([WRITE, LOCK]),
    now=instants,
    wall_offset=st.timedeltas(timedelta(days=-2), timedelta(days=2)),
)


@given(answers)
def test_no_token_is_in_any_423_and_every_body_can_be_read(value):
    for accept in (None, "application/json", "text/html"):
        response = locked_response(value, accept, office=True)
        assert isinstance(response.body, bytes)
        whole = response.body + repr(response.headers).encode()
        assert TOKEN.encode() not in whole
        assert TOKEN[9:].encode() not in whole
        assert all(part.isascii() and part.isprintable() for pair in response.headers for part in pair)
        assert 1 <= int(field(response, "Retry-After")) <= 60
    assert etree.fromstring(locked_response(value).body).tag == f"{D}error"


@given(answers)
def test_the_json_is_read_back_as_the_value_it_was_made_from(value):
    body = locked_response(value, "application/json").body
    assert isinstance(body, bytes)
    assert parse_locked_problem(body) == locked_problem(value)
    for end in range(0, len(body), 37):
        assert parse_locked_problem(body[:end]) is None


def test_the_office_sentence_stays_short():
    lock = make_lock(principal="x" * 5000, reason="y" * 5000, client="z" * 5000)
    assert len(office_error(answer(lock))) < 1200


class TestLine:
    """What a 423 tells of the waiting line."""

    @staticmethod
    def waiter(principal="Ben", owner="") -> Waiter:
        return Waiter(
            "w", 1, PLAN, LockScope.EXCLUSIVE, Depth.ZERO, principal, owner, None, "", "", Face.API, None,
            endless=False, enqueued_at=NOW, lease_until=NOW,
        )  # fmt: skip

    def next_up(self, **standing) -> LockedAnswer:
        """Nothing is held, and somebody is next."""
        line = Standing(self.waiter(), **{"length": 1, **standing})
        return LockedAnswer(PLAN, (), LOCK, NOW, line=line)

    def test_while_nobody_waits_it_says_nothing(self):
        members = json.loads(encode_problem(locked_problem(answer())))
        assert "queue_length" not in members
        assert "position" not in members
        assert b"queue" not in locked_response(answer()).body

    def test_the_json_counts_and_tells_the_place(self):
        value = answer()
        value = LockedAnswer(value.resource, value.locks, LOCK, NOW, line=Standing(None, 3, 2, {"7Hq2": 3}))
        problem = locked_problem(value)
        assert (problem.queue_length, problem.position) == (3, 2)
        assert parse_locked_problem(encode_problem(problem)) == problem
        assert "You are number 2 in the line, with 2 others waiting." in problem.detail

    @pytest.mark.parametrize(
        "line, expected",
        [
            (Standing(length=1), "1 request waits in the line."),
            (Standing(length=5), "5 requests wait in the line."),
            (Standing(length=1, position=1), "You are number 1 in the line."),
            (Standing(length=2, position=2), "You are number 2 in the line, with 1 other waiting."),
            (Standing(length=2, is_full=True), "2 requests wait in the line. The waiting line is full."),
        ],
    )
    def test_a_person_is_told_in_a_sentence(self, line, expected):
        value = answer(condition=LOCK)
        said = locked_detail(LockedAnswer(value.resource, value.locks, LOCK, NOW, line=line))
        assert f" {expected} The lock you asked for was not granted." in said

    def test_where_nothing_is_held_it_says_who_is_next(self):
        problem = locked_problem(self.next_up())
        assert problem.locks == ()
        assert problem.queue_length == 1
        assert problem.detail == (
            "Ben is next in line for /dav/plan.odt, and has not taken it yet. 1 request waits in the line. "
            "The lock you asked for was not granted. Try again soon, or wait in the line."
        )

    def test_where_nothing_is_held_it_is_soon_worth_another_try(self):
        assert retry_after(self.next_up()) == 2
        assert field(locked_response(self.next_up()), "Link") == '</problems/locked>; rel="help"'

    def test_where_nothing_is_held_the_condition_names_the_resource(self):
        root = etree.fromstring(locked_response(self.next_up(length=4, position=3)).body)
        assert [element.text for element in root.findall(f"{D}no-conflicting-lock/{D}href")] == ["/dav/plan.odt"]
        assert root.findtext(f"{H}queue/{H}length") == "4"
        assert root.findtext(f"{H}queue/{H}position") == "3"

    def test_where_nothing_is_held_there_is_a_page_and_a_sentence_for_office(self):
        page = locked_response(self.next_up(), "text/html").body.decode()
        assert "Others wait for plan.odt" in page
        assert "Ben is next in line" in page
        assert "Ben is next in line" in unquote(office_error(self.next_up()))

    def test_who_is_next_cannot_write_markup(self):
        value = LockedAnswer(PLAN, (), LOCK, NOW, line=Standing(self.waiter("<b>"), 1))
        assert b"<b>" not in locked_response(value, "text/html").body
        assert b"<b>" not in locked_response(value).body

    def test_whose_place_is_kept_is_asked_back_in_time(self):
        value = answer()
        assert retry_after(LockedAnswer(PLAN, value.locks, LOCK, NOW, most_retry=10)) == 10
        assert retry_after(LockedAnswer(PLAN, (), LOCK, NOW, most_retry=1)) == 1
