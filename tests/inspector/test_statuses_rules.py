"""Rules about what each status must carry (R), and what they leave alone."""

from __future__ import annotations

import pytest

from holdfast.inspector.exchange import ReceivedResponse
from holdfast.inspector.inspected import Inspected
from holdfast.inspector.notes import Level
from holdfast.inspector.rules import RULES
from holdfast.wire.statuses import FIRST_CODE, LAST_CODE, Requirement, status_info
from tests.inspector.finding import DATE, JSON, TEXT, XML, exchange, found

OWN = sorted(rule_id for rule_id in RULES if rule_id[0] == "R")


def all_found(*fields, **values):
    inspected = Inspected(exchange(*fields, **values))
    return [(rule_id, finding) for rule_id in OWN for finding in RULES[rule_id].check(inspected)]


@pytest.mark.parametrize(
    "status, rule_id",
    [(401, "R01"), (405, "R02"), (407, "R03"), (426, "R04"), (101, "R05"), (301, "R07"), (302, "R07"), (303, "R07"), (307, "R07"),
     (308, "R07"), (451, "R14"), (226, "R15")],
)  # fmt: skip
def test_the_fields_of_the_table_are_asked_for_and_no_others(status, rule_id):
    wanted = [
        field for field in status_info(status).fields if not field.when and field.requirement is not Requirement.MAY
    ]
    assert len(found(rule_id, status=status, method="")) == len(wanted)
    fields = [(field.name, 'x; rel="blocked-by"') for field in wanted]
    assert found(rule_id, *fields, status=status, method="") == []


def test_every_field_that_a_status_must_have_is_missed_by_some_rule():
    """So a requirement that the table gains later is never passed over in silence."""
    for status in range(FIRST_CODE, LAST_CODE + 1):
        must = [
            field for field in status_info(status).fields if field.requirement is Requirement.MUST and not field.when
        ]
        told = [finding.summary for _, finding in all_found(status=status, method="")] if must else []
        assert all(any(field.name in summary for summary in told) for field in must), status


AS_TOLD = {
    "Link": '</x>; rel="blocked-by"',
    "Content-Range": "bytes 0-3/12",
    "ETag": '"1"',
    "Content-Type": "application/xml",
}
FAULTY = {305: ["R23"], 507: ["R20"]}
"""Codes that are wrong at the end of an exchange with GET, whatever comes with them."""


def honest_answer(status):
    """GET, and an answer with the fields that the table asks for, of a server that means well."""
    info = status_info(status)
    fields = [(field.name, AS_TOLD.get(field.name, "x")) for field in info.fields if not field.when]
    if status in {206, 416}:
        fields.append(("Content-Range", "bytes 0-3/12" if status == 206 else "bytes */12"))
    if status == 304:
        fields.append(("ETag", '"1"'))
    body = b"see https://x.example/" if info.has_content else b""
    return exchange(
        *(DATE, ("Cache-Control", "no-store"), *fields),
        status=status,
        method="GET",
        asked=[("Range", "bytes=0-3"), ("Upgrade", "x"), ("If-None-Match", '"1"')],
        body=b'<D:multistatus xmlns:D="DAV:"/>' if status == 207 else body,
    )


def test_an_answer_with_its_fields_and_a_body_is_not_accused():
    for status in range(FIRST_CODE, LAST_CODE + 1):
        inspected = Inspected(honest_answer(status))
        wrong = {
            rule_id
            for rule_id in OWN
            for finding in RULES[rule_id].check(inspected)
            if (finding.level or RULES[rule_id].level) in {Level.BAD, Level.WARN}
        }
        expected = ["R24"] if status_info(status).is_interim else FAULTY.get(status, [])
        assert sorted(wrong) == expected, status


def test_an_empty_allow_says_that_nothing_is_allowed():
    assert found("R02", ("Allow", ""), status=405) == []


def test_a_method_that_is_refused_and_listed_is_found():
    assert found("R02", ("Allow", "GET, PUT"), status=405)[0].level is Level.WARN
    assert found("R02", ("Allow", "GET, PUT"), status=405, method="") == []


def test_http_2_has_no_upgrade():
    assert found("R04", status=426, version="2") == []


def test_a_101_that_nobody_asked_for_is_found():
    fields = [("Upgrade", "websocket"), ("Connection", "upgrade")]
    assert found("R05", *fields, status=101, method="GET")
    assert found("R05", *fields, status=101, method="") == []


@pytest.mark.parametrize(
    "value, is_wrong",
    [
        ("bytes 0-3/12", False),
        ("bytes 0-3/*", False),
        ("lines 1-2/x", False),
        ("0-30", True),
        ("bytes 0-3", True),
        ("bytes=0-3/12", True),
        ("bytes 3-0/12", True),
        ("bytes 0-12/12", True),
        ("bytes */12", True),
    ],
)
def test_the_content_range_of_a_206(value, is_wrong):
    assert bool(found("R06", ("Content-Range", value), status=206, method="")) is is_wrong


def test_a_206_with_parts_has_its_ranges_in_them():
    parts = ("Content-Type", "multipart/byteranges; boundary=x")
    assert found("R06", parts, status=206, method="") == []
    assert found("R06", parts, ("Content-Range", "bytes 0-3/12"), status=206, method="")
    assert found("R06", status=206, method="")


def test_a_206_has_as_many_bytes_as_it_says():
    fields = [("Content-Range", "bytes 0-3/12"), ("Content-Length", "5")]
    assert found("R06", *fields, status=206, method="")


def test_a_206_that_nobody_asked_for_is_found():
    assert found("R06", ("Content-Range", "bytes 0-3/12"), status=206, method="GET")
    assert (
        found("R06", ("Content-Range", "bytes 0-3/12"), status=206, method="GET", asked=[("Range", "bytes=0-3")]) == []
    )


@pytest.mark.parametrize(
    "method, asked, fields, is_wrong",
    [
        ("", [], [], False),
        ("GET", [("If-None-Match", '"1"')], [("ETag", '"1"')], False),
        ("GET", [("If-None-Match", '"1"')], [], True),
        ("GET", [("If-None-Match", "*")], [], False),
        ("GET", [("If-Modified-Since", DATE[1])], [], False),
        ("GET", [], [], True),
        ("PUT", [("If-None-Match", '"1"')], [("ETag", '"1"')], True),
        ("QUERY", [("If-None-Match", '"1"')], [("ETag", '"1"')], False),
    ],
)
def test_a_304_answers_a_condition(method, asked, fields, is_wrong):
    assert bool(found("R08", *fields, status=304, method=method, asked=asked)) is is_wrong


@pytest.mark.parametrize(
    "method, asked, value, is_wrong",
    [
        ("", [], None, False),
        ("GET", [("Range", "bytes=90-")], None, True),
        ("GET", [("Range", "lines=90-")], None, False),
        ("GET", [("Range", "bytes=90-")], "bytes */12", False),
        ("GET", [("Range", "bytes=90-")], "bytes 0-3/12", True),
        ("GET", [], "bytes */12", True),
    ],
)
def test_a_416_tells_the_length(method, asked, value, is_wrong):
    fields = [("Content-Range", value)] if value else []
    assert bool(found("R09", *fields, status=416, method=method, asked=asked)) is is_wrong


@pytest.mark.parametrize(
    "asked",
    [
        ("If", "(<DAV:no-lock>)"),
        ("If-Match", '"1"'),
        ("If-Schedule-Tag-Match", '"1"'),
        ("Overwrite", "F"),
        ("overwrite", "f"),
    ],
)
def test_webdavs_conditions_count(asked):
    assert found("R10", status=412, method="MOVE", asked=[asked]) == []


def test_a_412_without_any_condition_is_found():
    assert found("R10", status=412, asked=[("Overwrite", "T")])
    assert found("R10", status=412, method="") == []


MATCHES = b'<D:error xmlns:D="DAV:"><D:lock-token-matches-request-uri/></D:error>'


def test_a_wrong_token_is_named():
    assert found("R11", status=409, method="UNLOCK")
    assert found("R11", XML, status=409, method="UNLOCK", body=MATCHES) == []
    assert found("R11", status=409, method="PUT") == []
    assert found("R11", status=412, method="LOCK", asked=[("If", "(<a:b>)")])
    assert found("R11", status=412, method="LOCK", asked=[("If", "(<a:b>)")], sent=b"<lockinfo/>") == []


@pytest.mark.parametrize(
    "method, name, is_told",
    [
        ("PATCH", None, True),
        ("PATCH", "Accept-Patch", False),
        ("PUT", None, True),
        ("PUT", "Accept", False),
        ("", "Accept-Encoding", False),
    ],
)
def test_a_415_lists_what_is_taken(method, name, is_told):
    assert bool(found("R13", *([(name, "x")] if name else []), status=415, method=method)) is is_told


@pytest.mark.parametrize(
    "link",
    ['<https://x.example/>; rel="blocked-by"', "<https://x.example/>; rel=blocked-by", '</a>; rel="next blocked-by"'],
)
def test_a_451_names_who_blocks(link):
    assert found("R14", ("Link", link), status=451) == []


@pytest.mark.parametrize("link", ['</blocked-by>; rel="next"', '</>; rel="not-blocked-by-us"'])
def test_a_link_about_something_else_does_not(link):
    assert found("R14", ("Link", link), status=451)


@pytest.mark.parametrize(
    "status, fields, body, levels",
    [
        (204, [], b"", []),
        (204, [], b"x", [None]),
        (204, [("Content-Length", "0")], b"", [Level.WARN]),
        (204, [("Content-Length", "5")], b"", [None]),
        (204, [("Transfer-Encoding", "chunked")], b"", [None]),
        (205, [("Content-Length", "0")], b"", []),
        (205, [("Transfer-Encoding", "chunked")], b"", []),
        (205, [("Content-Length", "5")], b"hello", [None, None]),
        (304, [("Content-Length", "600")], b"", []),
        (304, [], b"x", [None]),
        (200, [("Content-Length", "0")], b"", []),
        (101, [("Content-Length", "0")], b"", [Level.WARN]),
    ],
)
def test_what_has_no_content_announces_none(status, fields, body, levels):
    assert [finding.level for finding in found("R16", *fields, status=status, body=body)] == levels


def test_interim_answers_have_no_content_either():
    interim = (ReceivedResponse(status=100, fields=(("Content-Length", "5"),)),)
    assert found("R16", status=200, interim=interim)


def multistatus(inside: str) -> bytes:
    return f'<D:multistatus xmlns:D="DAV:">{inside}</D:multistatus>'.encode()


OK = "<D:status>HTTP/1.1 200 OK</D:status>"


@pytest.mark.parametrize(
    "inside",
    [
        "",
        f"<D:response><D:href>/a</D:href>{OK}</D:response>",
        f"<D:response><D:href>/a</D:href><D:href>/b</D:href>{OK}</D:response>",
        f"<D:response><D:href>/a</D:href><D:propstat><D:prop/>{OK}</D:propstat></D:response><D:sync-token>x</D:sync-token>",
        "<D:response><D:href>/a</D:href><D:status>HTTP/1.1 423</D:status></D:response>",
        '<x:extra xmlns:x="x"/>',
    ],
)
def test_a_whole_multistatus(inside):
    assert found("R17", XML, status=207, body=multistatus(inside)) == []


@pytest.mark.parametrize(
    "inside",
    [
        f"<D:response>{OK}</D:response>",
        "<D:response><D:href>/a</D:href></D:response>",
        f"<D:response><D:href>/a</D:href>{OK}<D:propstat><D:prop/>{OK}</D:propstat></D:response>",
        "<D:response><D:href>/a</D:href><D:propstat><D:prop/></D:propstat></D:response>",
        f"<D:response><D:href>/a</D:href><D:propstat>{OK}</D:propstat></D:response>",
        "<D:response><D:href>/a</D:href><D:status>200 OK</D:status></D:response>",
        "<D:response><D:href>/a</D:href><D:status/></D:response>",
    ],
)
def test_a_response_that_lacks_a_part(inside):
    assert len(found("R17", XML, status=207, body=multistatus(inside))) == 1


@pytest.mark.parametrize("body", [b"", b"<D:multistatus", b"{}", b"<multistatus/>", b'<D:error xmlns:D="DAV:"/>'])
def test_what_is_no_multistatus(body):
    assert found("R17", XML, status=207, body=body)


@pytest.mark.parametrize(
    "values",
    [
        {"method": "HEAD"},
        {"body_is_known": False},
        {"body_is_whole": False, "body": b"<D:multi"},
        {"body": multistatus("<D:x/>" * 60_000)},  # more than is read, which is not the server's fault
    ],
)
def test_a_multistatus_that_cannot_be_looked_at_is_not_judged(values):
    assert found("R17", XML, status=207, **values) == []


def test_an_api_may_use_207_in_its_own_way():
    assert [finding.level for finding in found("R17", JSON, status=207, body=b"[]")] == [Level.WARN]


def test_a_428_is_for_writes_without_a_condition():
    assert found("R18", TEXT, status=428, body=b"send If-Match") == []
    assert found("R18", TEXT, status=428, body=b"send If-Match", asked=[("If-Match", '"1"')])
    assert found("R18", status=428)
    assert found("R18", status=428, method="") == []


@pytest.mark.parametrize(
    "body, is_wrong",
    [
        (b'<a href="/login">log in</a>', False),
        (b"Go to https://login.example/", False),
        (b"Log in first", True),
        (b"<FORM action=x>", True),
    ],
)
def test_a_511_links_to_the_login(body, is_wrong):
    assert bool(found("R19", status=511, body=body)) is is_wrong


def test_a_507_is_for_writes_and_not_repeated():
    assert found("R20", status=507) == []
    assert found("R20", ("Retry-After", "5"), status=507)
    assert found("R20", status=507, method="GET")
    assert found("R20", status=424)
    assert found("R20", TEXT, status=424, body=b"a failed") == []


@pytest.mark.parametrize("status", [401, 403, 409, 500, 502, 503, 504])
def test_errors_that_pass_are_not_kept(status):
    kept = ("Cache-Control", "max-age=60")
    assert [finding.level for finding in found("R21", DATE, kept, status=status, method="GET")] == [None]
    assert [finding.level for finding in found("R21", DATE, kept, status=status, method="")] == [Level.INFO]
    assert found("R21", DATE, kept, status=status, method="PUT") == []
    assert found("R21", DATE, status=status, method="GET") == []


@pytest.mark.parametrize("status", [404, 410, 405, 414, 501])
def test_errors_that_last_may_be_kept_and_say_for_how_long(status):
    assert found("R21", DATE, ("Cache-Control", "max-age=60"), status=status, method="GET") == []
    assert found("R22", DATE, status=status, method="GET")
    assert found("R22", DATE, ("Cache-Control", "max-age=60"), status=status, method="GET") == []
    assert found("R22", DATE, ("Cache-Control", "no-store"), status=status, method="GET") == []
    assert found("R22", DATE, status=status, method="") == []


@pytest.mark.parametrize("status", [428, 429, 431, 511])
def test_what_no_cache_may_keep_is_not_called_kept(status):
    assert found("R21", DATE, ("Cache-Control", "max-age=60"), status=status, method="GET") == []


@pytest.mark.parametrize(
    "status, level",
    [(99, Level.BAD), (600, Level.BAD), (305, Level.WARN), (499, None), (299, None), (418, None), (306, None)],
)
def test_codes_that_others_do_not_know(status, level):
    assert [finding.level for finding in found("R23", status=status)] == [level]


@pytest.mark.parametrize("status", [104, 200, 226, 423, 424, 451, 511])
def test_codes_that_are_registered(status):
    assert found("R23", status=status) == []


def test_a_phrase_of_ones_own_is_never_wrong():
    assert all_found(DATE, TEXT, status=423, reason="Somebody Else Has It", body=b"locked") == []


@pytest.mark.parametrize("status", [400, 404, 422, 500, 599])
def test_an_error_explains_itself(status):
    assert found("R25", status=status)
    assert found("R25", TEXT, status=status, body=b"because") == []
    assert found("R25", status=status, method="HEAD") == []
    assert found("R25", status=status, method="") == []
    assert found("R25", status=status, body_is_known=False) == []
