"""Each status from 100 to 599, by any method: just that status, with what it must and should carry, and nothing untrue."""

from __future__ import annotations

import hashlib

import pytest
from lxml import etree

from holdfast.wire.statuses import FIRST_CODE, LAST_CODE, Requirement, status_info

CODES = range(FIRST_CODE, LAST_CODE + 1)
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}


def once(head):
    """Nothing that may be there once is there twice."""
    assert set(head.repeated) <= {"connection", "link"}, head.repeated


@pytest.mark.parametrize("code", [code for code in CODES if code != 101])
def test_each_status_is_had_by_any_method_with_what_it_must_carry(asked, code):
    for method in ("GET", "LOCK", "QUERY"):
        is_as_its_status_wants(asked(f"/api/status/{code}", method), status_info(code))


def is_as_its_status_wants(seen, info):
    head = seen.head
    once(head)
    if info.is_interim:
        assert [interim.status for interim in seen.interim] == [info.code]
        assert head.status == 200
        assert "content-length" not in seen.interim[0]
    else:
        assert (seen.interim, head.status) == ([], info.code)
        for needed in info.fields:
            if not needed.when and needed.requirement is not Requirement.MAY:
                assert needed.name in head, needed.name
    assert head["X-Simulated"] == str(info.code)
    assert head["Cache-Control"] == "no-store"
    assert head["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in head["Content-Security-Policy"]
    assert head["Access-Control-Allow-Origin"] == "*"
    if info.has_content or info.is_interim:
        assert head["Vary"] == "Accept"
        assert seen.body
        if "content-length" in head:
            assert int(head["Content-Length"]) == len(seen.body)
        else:
            assert head["Connection"] == "close"
    else:
        assert seen.body == b""
        assert "content-type" not in head
        assert head.fields.get("content-length", "0") == "0"


@pytest.mark.parametrize("code", [code for code in CODES if code != 101])
def test_head_gets_the_head_of_get_and_no_more(asked, code):
    whole = asked(f"/api/status/{code}")
    head = asked(f"/api/status/{code}", "HEAD")
    assert head.body == b""
    assert head.head.line == whole.head.line
    assert {k: v for k, v in head.head.fields.items() if k != "date"} == {
        k: v for k, v in whole.head.fields.items() if k != "date"
    }


@pytest.mark.parametrize("method", ["BREW", "x", "M-SEARCH", "REPORT", "TRACE", "PROPPATCH"])
def test_any_token_is_a_method(asked, method):
    seen = asked("/api/status/418", method)
    assert seen.head.status == 418
    assert seen.json["request"]["method"] == method


def test_401_and_407_say_how_to_authenticate_without_making_a_browser_ask_for_a_password(asked):
    for code, name in ((401, "WWW-Authenticate"), (407, "Proxy-Authenticate")):
        assert asked(f"/api/status/{code}").head[name] == 'Bearer realm="simulated"'


@pytest.mark.parametrize("method", ["GET", "PUT", "LOCK"])
def test_405_allows_what_was_not_asked(asked, method):
    allowed = asked("/api/status/405", method).head["Allow"].split(", ")
    assert method not in allowed
    assert allowed


def test_415_names_types_and_where_they_are_at_fault_codings_and_patch_formats(asked):
    assert "application/json" in asked("/api/status/415", "POST", b"x").head["Accept"]
    coded = asked("/api/status/415", "POST", b"x", {"Content-Encoding": "br"})
    assert coded.head["Accept-Encoding"] == "identity"
    assert asked("/api/status/415", "PATCH", b"x").head["Accept-Patch"] == "application/json"


def test_416_tells_the_length(asked):
    assert asked("/api/status/416").head["Content-Range"] == "bytes */1000"


@pytest.mark.parametrize("code", [413, 423, 429, 503])
def test_what_may_pass_says_when(asked, code):
    assert asked(f"/api/status/{code}").head["Retry-After"] == "5"


def test_426_names_protocols_and_that_they_are_about_the_connection(asked):
    head = asked("/api/status/426").head
    assert head["Upgrade"]
    assert "upgrade" in head["Connection"]


def test_451_names_who_blocks_and_511_where_to_log_in(asked):
    assert 'rel="blocked-by"' in asked("/api/status/451").head["Link"]
    answer = asked("/api/status/511")
    assert answer.json["link"] == "/api/status/200"


@pytest.mark.parametrize("code", [201, 300, 301, 302, 303, 307, 308])
def test_a_redirect_leads_to_a_harmless_place_on_this_server(asked, code):
    location = asked(f"/api/status/{code}").head["Location"]
    assert location == "/api/status/200"
    assert asked(location).head.status == 200


def test_408_closes_the_connection(asked):
    seen = asked("/api/status/408", headers={"Connection": "keep-alive"})
    assert seen.head["Connection"] == "close"
    assert seen.json["status"]["code"] == 408


def test_103_links_before_the_final_answer(asked):
    [hints] = asked("/api/status/103").interim
    assert hints["Link"].startswith("<")


def test_101_switches_for_whoever_asks_and_is_refused_to_others(asked):
    seen = asked("/api/status/101", headers=UPGRADE)
    assert seen.head.status == 101
    assert seen.head["Upgrade"] == "websocket"
    assert seen.head["Connection"] == "upgrade"
    assert seen.body == b""
    for headers in ({}, {"Upgrade": "websocket"}):
        refused = asked("/api/status/101", headers=headers)
        assert refused.head.status == 400
        assert "Upgrade" in refused.json["detail"]
        assert "X-Simulated" not in refused.head


def test_304_confirms_the_tag_that_the_client_has(asked):
    assert asked("/api/status/304", headers={"If-None-Match": '"mine", "other"'}).head["ETag"] == '"mine"'
    assert asked("/api/status/304", headers={"If-None-Match": "*"}).head["ETag"] == '"simulated"'
    assert asked("/api/status/304", headers={"If-None-Match": '"broken'}).head["ETag"]


def test_206_is_the_whole_without_a_range(asked):
    seen = asked("/api/status/206")
    length = len(seen.body)
    assert seen.head["Content-Range"] == f"bytes 0-{length - 1}/{length}"
    assert seen.json["status"]["code"] == 206


def test_206_sends_the_ranges_asked_for_and_they_fit_together(asked):
    whole = asked("/api/status/206", headers={"Range": "bytes=0-"})
    length = len(whole.body)
    parts, tags = b"", set()
    for first in range(0, length, 200):
        part = asked("/api/status/206", headers={"Range": f"bytes={first}-{first + 199}"})
        last = min(first + 199, length - 1)
        assert part.head["Content-Range"] == f"bytes {first}-{last}/{length}"
        parts += part.body
        tags.add(part.head["ETag"])
    assert parts == whole.body
    assert tags == {whole.head["ETag"]}
    assert asked("/api/status/206", headers={"Range": "bytes=-5"}).body == whole.body[-5:]
    spanned = asked("/api/status/206", headers={"Range": "bytes=10-19, 40-49"})
    assert spanned.head["Content-Range"] == f"bytes 10-49/{length}"
    for unusable in ("bytes=999999-", "lines=1-2", "bytes=9-1"):
        assert asked("/api/status/206", headers={"Range": unusable}).body == whole.body


def test_206_without_a_body_tells_of_no_part(asked):
    seen = asked("/api/status/206?body=none", headers={"Range": "bytes=0-9"})
    assert (seen.head.status, seen.body) == (206, b"")
    assert "Content-Range" not in seen.head


def test_206_of_a_body_that_is_filled_up(asked):
    seen = asked("/api/status/206?size=5000", headers={"Range": "bytes=4990-"})
    assert seen.head["Content-Range"] == "bytes 4990-4999/5000"
    assert seen.body == b" " * 10


DAV = {"D": "DAV:", "H": "urn:holdfast:dav"}


@pytest.mark.parametrize("method", ["GET", "DELETE", "PROPFIND", "PROPPATCH", "LOCK", "MOVE"])
def test_207_is_a_valid_multistatus_with_a_locked_member(asked, method):
    seen = asked("/api/status/207", method)
    assert seen.head["Content-Type"] == "application/xml; charset=utf-8"
    root = etree.fromstring(seen.body)
    assert root.tag == "{DAV:}multistatus"
    [member] = root.xpath("D:response[D:status='HTTP/1.1 423 Locked']", namespaces=DAV)
    assert member.findtext("D:href", namespaces=DAV) == "/api/status/207/locked"
    condition = "no-conflicting-lock" if method == "LOCK" else "lock-token-submitted"
    assert member.findtext(f"D:error/D:{condition}/D:href", namespaces=DAV)
    assert member.findtext("D:error/H:lock/H:holder", namespaces=DAV)
    for response in root.findall("D:response", namespaces=DAV):
        assert len(response.findall("D:status", DAV)) == 1 or response.findall("D:propstat", DAV)


@pytest.mark.parametrize(
    ("method", "condition"),
    [("PUT", "lock-token-submitted"), ("LOCK", "no-conflicting-lock"), ("MOVE", "lock-token-submitted")],
)
def test_423_names_holder_since_and_until_and_the_condition_of_its_method(asked, method, condition):
    seen = asked("/api/status/423", method, headers={"Accept": "application/xml"})
    root = etree.fromstring(seen.body)
    assert root.tag == "{DAV:}error"
    assert root.findtext(f"D:{condition}/D:href", namespaces=DAV) == "/api/status/423"
    for name in ("holder", "since", "until"):
        assert root.findtext(f"H:lock/H:{name}", namespaces=DAV)


def test_a_423_in_json_tells_of_the_lock_and_agrees_with_retry_after(asked):
    for form in ("json", "problem"):
        seen = asked(f"/api/status/423?retry_after=17&body={form}", "PUT", b"x")
        told = seen.json
        assert seen.head["Retry-After"] == "17"
        assert told["retry_after"] == 17
        [lock] = told["locks"]
        assert lock["expires_in"] == 17
        assert lock["holder"]["name"] == "ada"
        assert "simulated" in told["detail"]
    assert told["type"] == "urn:problem-type:holdfast:locked"
    assert told["status"] == 423
    assert not {"id", "operation", "info", "who", "version", "created", "path"} & set(told)


def test_a_423_without_retry_after_is_a_lock_without_end(asked):
    seen = asked("/api/status/423?retry_after=none", "PUT", b"x")
    assert "Retry-After" not in seen.head
    assert seen.json["locks"][0]["expires_at"] is None


def test_webdav_methods_get_xml_where_the_status_has_an_element_and_json_elsewhere(asked):
    for code in (423, 424, 507):
        assert "xml" in asked(f"/api/status/{code}", "MKCOL").head["Content-Type"]
        assert asked(f"/api/status/{code}").head["Content-Type"] == "application/json"
    assert asked("/api/status/500", "MKCOL").head["Content-Type"] == "application/json"


def test_507_in_xml_has_its_condition(asked):
    root = etree.fromstring(asked("/api/status/507?body=xml").body)
    assert root.find("D:sufficient-disk-space", namespaces=DAV) is not None


def test_the_body_describes_the_request(asked):
    body = b"some bytes"
    seen = asked("/api/status/418?body=json", "PUT", body, {"X-Mine": "yes", "User-Agent": "probe"})
    request = seen.json["request"]
    assert request["method"] == "PUT"
    assert request["url"].endswith("/api/status/418?body=json")
    assert request["fields"]["x-mine"] == "yes"
    assert request["body"] == {"size": 10, "sha256": hashlib.sha256(body).hexdigest()}
    assert request["client"] == "127.0.0.1"


def test_a_large_body_is_read_and_described_and_a_larger_one_refused(asked):
    body = b"x" * 150_000
    for headers in ({}, {"Expect": "100-continue"}):
        request = asked("/api/status/200", "PUT", body, headers).json["request"]
        assert request["body"] == {"size": 150_000, "sha256": hashlib.sha256(body).hexdigest()}
    refused = asked("/api/status/200", "PUT", b"x" * 200_001)
    assert refused.head.status == 413
    assert "X-Simulated" not in refused.head


def test_the_body_describes_the_status(asked):
    status = asked("/api/status/404").json["status"]
    assert status["phrase"] == "Not Found"
    assert status["class"] == "client error"
    assert (status["registered"], status["cacheable"]) == (True, True)
    assert status["meaning"]
    assert status["retry"]["advice"]
    assert status["source"].startswith("RFC 9110")
    unassigned = asked("/api/status/599").json["status"]
    assert unassigned["registered"] is False
