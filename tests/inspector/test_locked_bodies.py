"""Rules L01 to L08 and L11 on the XML of a 423: each fires where it is right, and accuses nobody without proof."""

from __future__ import annotations

import gzip

import pytest

from holdfast.inspector.notes import Level
from holdfast.inspector.rules import RULES
from tests.inspector.refusals import (
    CONFLICTING,
    EMPTY,
    LOCKED,
    SUBMITTED,
    answer,
    error,
    levels,
    member,
    multistatus,
    notes,
)

# L01: well-formed


@pytest.mark.parametrize(
    "body",
    [
        "<D:error xmlns:D='DAV:'><a></D:error>",
        "<D:error><D:lock-token-submitted/></D:error>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><D:error xmlns:D='DAV:'>&b;</D:error>",
        "just words",
        error(SUBMITTED) + "<!-- cut",
        b'<?xml version="1.0" encoding="utf-8"?>\n<a>' + b"\xff</a>",
    ],
    ids=["tags", "undeclared prefix", "DTD", "no XML", "cut comment", "bytes of no encoding"],
)
def test_broken_xml_is_bad(body):
    assert levels("L01", answer(body)) == ["bad"]


def test_another_encoding_than_clients_must_read_is_a_warning():
    assert levels("L01", answer('<?xml version="1.0" encoding="koi8-r"?><a/>')) == ["warn"]


def test_utf_16_is_as_good_as_utf_8():
    assert levels("L01", answer(error(SUBMITTED).encode("utf-16"))) == []


@pytest.mark.parametrize("status", [207, 423])
def test_broken_xml_is_bad_in_a_multistatus_too(status):
    assert levels("L01", answer("<a", status=status)) == ["bad"]


def test_broken_xml_of_other_answers_is_left_alone():
    """A feed or a page that is no WebDAV answer is nobody's business here."""
    assert levels("L01", answer("<a", status=200, method="GET")) == []
    assert levels("L01", answer("<a", status=404, method="GET")) == []


@pytest.mark.parametrize("known", [{"body_is_known": False}, {"body_is_whole": False}])
def test_a_body_that_is_not_at_hand_as_a_whole_is_not_judged(known):
    for rule_id in [name for name in RULES if name[0] == "L"]:
        assert levels(rule_id, answer("<D:err", **known)) == []


def test_a_body_longer_than_is_read_is_not_called_broken():
    nested = "<a>" * 100 + "</a>" * 100
    assert levels("L01", answer(nested)) == []


def test_a_compressed_body_is_read():
    exchange = answer(gzip.compress(error(EMPTY).encode()), fields=(("Content-Encoding", "gzip"),))
    assert levels("L01", exchange) == []
    assert levels("L04", exchange) == ["bad"]


def test_a_body_whose_coding_was_undone_before_is_read():
    """As in a HAR file, and after curl --compressed."""
    assert levels("L04", answer(error(EMPTY), fields=(("Content-Encoding", "br"),))) == ["bad"]


def test_a_body_in_an_unknown_coding_is_not_judged():
    assert levels("L01", answer(b"\x0b\x02\x80", fields=(("Content-Encoding", "br"),))) == []


# L02: the root


@pytest.mark.parametrize("namespace", ["DAV", "dav:", "DAV:/"])
def test_a_namespace_that_is_nearly_right_is_wrong(namespace):
    assert levels("L02", answer(error("<D:whatever/>", namespace), method=None)) == ["bad"]


def test_a_code_deeper_in_the_error_is_not_found():
    assert levels("L02", answer(error(f"<D:prop>{SUBMITTED}</D:prop>"))) == ["bad"]


def test_a_code_of_another_namespace_is_not_the_code():
    assert levels("L02", answer(error("<X:lock-token-submitted/>"))) == ["bad"]


def test_a_multistatus_with_the_status_423_hides_its_code():
    body = multistatus(member(LOCKED + f"<D:error>{SUBMITTED}</D:error>"))
    assert levels("L02", answer(body)) == ["bad"]


def test_foreign_xml_is_a_warning_to_webdav_methods_and_nothing_to_others():
    """An API may have its own XML; RFC 4918 binds who speaks WebDAV."""
    body = "<Error><Code>LeaseAlreadyPresent</Code></Error>"
    assert levels("L02", answer(body, method="PROPPATCH")) == ["warn"]
    assert levels("L02", answer(body, method="PUT")) == []
    assert levels("L02", answer(body, method=None)) == []
    assert levels("L02", answer("<error>locked</error>", method="PUT")) == []
    assert levels("L02", answer("<error>locked</error>", method="PUT", fields=(("DAV", "1, 2"),))) == ["bad"]


def test_lock_discovery_is_no_error():
    """Some answer a LOCK that lost with the property; whoever asked, clients look for the error."""
    assert levels("L02", answer('<D:prop xmlns:D="DAV:"><D:lockdiscovery/></D:prop>', method=None)) == ["warn"]


@pytest.mark.parametrize("code", [SUBMITTED, CONFLICTING, SUBMITTED + "<X:own/>"])
def test_a_right_root_is_right(code):
    assert levels("L02", answer(error(code))) == []


# L03: a code


def test_a_webdav_server_that_says_nothing_is_warned():
    assert levels("L03", answer("", content_type="", method="MKCOL")) == ["warn"]
    assert levels("L03", answer("locked", content_type="text/plain", method="MKCOL")) == ["warn"]
    assert levels("L03", answer(error(""), method=None)) == ["warn"]
    assert levels("L03", answer("", content_type="", fields=(("DAV", "1"),))) == ["warn"]


def test_an_api_without_webdav_needs_no_code():
    assert levels("L03", answer("", content_type="")) == []
    assert levels("L03", answer("", content_type="", method=None)) == []
    assert levels("L03", answer("{}", content_type="application/json", method="POST")) == []


def test_json_that_was_asked_for_needs_no_code():
    """Section 16: unless otherwise negotiated by the request."""
    problem = {"content_type": "application/problem+json", "method": "LOCK"}
    assert levels("L03", answer("{}", sent=(("Accept", "application/json"),), **problem)) == []
    assert levels("L03", answer("{}", **problem)) == ["warn"]
    assert levels("L03", answer("{}", content_type="application/json", method=None, fields=(("DAV", "1"),))) == []


def test_a_head_request_gets_no_body_and_no_blame():
    assert levels("L03", answer("", content_type="", method="HEAD", fields=(("DAV", "1, 2"),))) == []


def test_another_code_of_webdav_is_worth_a_word_alone():
    assert levels("L03", answer(error("<D:need-privileges/>"))) == ["info"]


# L04 and L06: hrefs


@pytest.mark.parametrize("inner", ["", "<D:href/>", "<D:href> </D:href>", "<X:href>/d/a</X:href>", "/d/a"])
def test_lock_token_submitted_needs_an_href(inner):
    assert levels("L04", answer(error(f"<D:lock-token-submitted>{inner}</D:lock-token-submitted>"))) == ["bad"]


def test_in_a_multistatus_the_response_has_the_href_already():
    """RFC 4918's own example in section 9.6.2 leaves the code empty."""
    assert levels("L04", answer(multistatus(member(LOCKED + f"<D:error>{EMPTY}</D:error>")), 207)) == ["info"]


def test_nobody_knows_what_is_locked_without_any_href():
    body = multistatus(member(LOCKED + f"<D:error>{EMPTY}</D:error>", href=""))
    assert levels("L04", answer(body, 207)) == ["bad"]


def test_no_conflicting_lock_should_have_an_href():
    assert levels("L06", answer(error("<D:no-conflicting-lock/>"), method="LOCK")) == ["warn"]
    assert levels("L06", answer(error(CONFLICTING), method="LOCK")) == []


# L05: code and method


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PROPPATCH", "MKCOL", "COPY", "PATCH"])
def test_a_write_that_lacks_a_token_conflicts_with_nothing(method):
    assert levels("L05", answer(error(CONFLICTING), method=method)) == ["warn"]
    assert levels("L05", answer(error(SUBMITTED), method=method)) == []


def test_a_post_may_have_asked_for_a_lock_and_both_codes_fit():
    """As in an API that grants locks: what a POST asks for is not told by its method."""
    assert levels("L05", answer(error(CONFLICTING), method="POST")) == []
    assert levels("L05", answer(error(SUBMITTED), method="POST")) == []


def test_a_lock_that_met_a_lock_lacks_no_token():
    assert levels("L05", answer(error(SUBMITTED), method="LOCK", asked=b"<lockinfo/>")) == ["warn"]
    assert levels("L05", answer(error(CONFLICTING), method="LOCK", asked=b"<lockinfo/>")) == []


def test_without_the_method_no_code_is_wrong():
    assert levels("L05", answer(error(CONFLICTING), method=None)) == []
    assert levels("L05", answer(error(SUBMITTED), method=None)) == []


def test_a_lock_that_would_make_a_member_does_need_the_collections_token():
    """Section 7.4: LOCK on an unmapped URL adds a member to the locked collection."""
    above = "<D:lock-token-submitted><D:href>/d/</D:href></D:lock-token-submitted>"
    assert levels("L05", answer(error(above), method="LOCK", asked=b"<lockinfo/>")) == []


def test_a_refresh_asks_for_no_new_lock():
    assert levels("L05", answer(error(SUBMITTED), method="LOCK", sent=(("If", "(<urn:uuid:0>)"),))) == []


def test_a_move_may_take_a_lock_along_that_conflicts():
    assert levels("L05", answer(error(CONFLICTING), method="MOVE")) == []


def test_the_code_is_compared_in_a_multistatus_too():
    body = multistatus(member(LOCKED + f"<D:error>{CONFLICTING}</D:error>"))
    assert levels("L05", answer(body, 207, method="DELETE")) == ["warn"]
    assert levels("L05", answer(body, 207, method="LOCK")) == []


# L07: hrefs that lead somewhere


@pytest.mark.parametrize(
    "href",
    [
        "/d/a b",
        "/d/ä",
        "/d/%zz",
        "d/a",
        "a",
        "//dav.example/d/a",
        "http://[",
        "http:///d/a",
        "/d/../a",
        "http://127.0.0.1:8080/d/a",
        "https://dav.example/d/a",
        "http://dav.example:8080/d/a",
        "file:///d/a",
    ],
)
def test_an_href_that_leads_nowhere_is_warned_of(href):
    body = error(f"<D:lock-token-submitted><D:href>{href}</D:href></D:lock-token-submitted>")
    assert levels("L07", answer(body)) == ["warn"]


@pytest.mark.parametrize(
    "href",
    [
        "/d/a",
        "/d/%61",
        "/d/",
        "/",
        "/d/a/b",
        "http://dav.example/d/a",
        "http://dav.example:80/d/a",
        "HTTP://DAV.example/d/a",
        "\n /d/a ",
    ],
)
def test_an_href_of_the_same_server_is_right(href):
    body = error(f"<D:lock-token-submitted><D:href>{href}</D:href></D:lock-token-submitted>")
    assert levels("L07", answer(body)) == []


def test_an_href_of_any_host_is_right_while_nobody_knows_who_was_asked():
    body = error("<D:lock-token-submitted><D:href>http://any.example/x</D:href></D:lock-token-submitted>")
    assert levels("L07", answer(body, method=None)) == []
    assert levels("L07", answer(body, url="")) == []


def test_an_href_elsewhere_on_the_server_is_worth_a_word():
    body = error("<D:lock-token-submitted><D:href>/inner/d/a</D:href></D:lock-token-submitted>")
    assert levels("L07", answer(body)) == ["info"]


def test_the_destination_of_a_copy_may_be_what_is_locked():
    body = error("<D:lock-token-submitted><D:href>/other/b</D:href></D:lock-token-submitted>")
    assert levels("L07", answer(body, method="COPY", sent=(("Destination", "/other/b"),))) == []
    assert levels("L07", answer(body, method="MOVE", sent=(("Destination", "http://dav.example/other/b"),))) == []


# L08, L11


@pytest.mark.parametrize("method", ["UNLOCK", "LOCK", "PUT", None])
def test_a_token_of_no_lock_is_not_said_with_423(method):
    assert levels("L08", answer(error("<D:lock-token-matches-request-uri/>"), method=method)) == ["bad"]


@pytest.mark.parametrize("status", [409, 412])
def test_a_token_of_no_lock_has_its_own_statuses(status):
    assert levels("L08", answer(error("<D:lock-token-matches-request-uri/>"), status)) == []


def test_elements_of_its_own_alone_are_no_code():
    own = "<X:exception>FileLocked</X:exception>"
    assert levels("L11", answer(error(own))) == ["warn"]
    assert levels("L11", answer(error(own + SUBMITTED))) == []
    assert levels("L11", answer(multistatus(member(LOCKED + f"<D:error>{own}</D:error>")), 207)) == ["warn"]


def test_elements_of_its_own_are_right_where_nothing_is_locked():
    assert levels("L11", answer(error("<X:quota/>"), 507)) == []


def test_one_fault_is_told_by_one_rule():
    """The rules about a missing code share it out."""
    for body in (
        error("<X:own/>"),
        error(""),
        error("<X:lock-token-submitted/>"),
        error("<D:lock-token-matches-request-uri/>"),
    ):
        assert sum(bool(levels(rule_id, answer(body))) for rule_id in ("L02", "L03", "L08", "L11")) == 1


# What is right is called right


@pytest.mark.parametrize("method", ["PUT", "DELETE", "MOVE", "COPY", "PROPPATCH", "MKCOL"])
def test_no_rule_finds_fault_with_the_refusal_that_rfc_4918_shows(method):
    """Section 16's own example, for every write."""
    body = '<?xml version="1.0" encoding="utf-8" ?>\n' + error(
        "<D:lock-token-submitted><D:href>/d/</D:href></D:lock-token-submitted>"
    )
    exchange = answer(body, content_type='application/xml; charset="utf-8"', method=method)
    assert [note for rule_id in RULES if rule_id[0] == "L" for note in notes(rule_id, exchange)] == []


def test_praise_for_a_code_is_not_given_beside_blame_for_it():
    assert levels("G05", answer(error(CONFLICTING), method="PUT")) == []
    assert levels("G05", answer(error(CONFLICTING), method="LOCK")) == [Level.GOOD.value]
    assert levels("G05", answer(error(SUBMITTED))) == [Level.GOOD.value]
    assert levels("G05", answer(error(SUBMITTED), method="LOCK")) == []
