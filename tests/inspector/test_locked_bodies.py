"""Rules L01 to L13 on bodies of a 423, and of a 207 with one: each fires where it is right, and accuses nobody without proof."""

from __future__ import annotations

import gzip

import pytest

from holdfast.inspector.davbody import locked_members, members
from holdfast.inspector.exchange import Exchange, ReceivedResponse, SentRequest
from holdfast.inspector.inspected import Inspected
from holdfast.inspector.inspecting import findings_of
from holdfast.inspector.notes import Level, note_of
from holdfast.inspector.rules import RULES

XML = "application/xml"
SUBMITTED = "<D:lock-token-submitted><D:href>/d/a</D:href></D:lock-token-submitted>"
CONFLICTING = "<D:no-conflicting-lock><D:href>/d/a</D:href></D:no-conflicting-lock>"
EMPTY = "<D:lock-token-submitted/>"
LOCKED = "<D:status>HTTP/1.1 423 Locked</D:status>"


def error(inner, namespace="DAV:"):
    return f'<D:error xmlns:D="{namespace}" xmlns:X="urn:x">{inner}</D:error>'


def multistatus(*responses):
    return f'<D:multistatus xmlns:D="DAV:" xmlns:X="urn:x">{"".join(responses)}</D:multistatus>'


def member(inner, href="<D:href>/d/a</D:href>"):
    return f"<D:response>{href}{inner}</D:response>"


def answer(body="", status=423, content_type=XML, method="PUT", url="http://dav.example/d/a", fields=(), **rest):
    """An exchange; `method` None leaves the request out."""
    raw = body if isinstance(body, bytes) else body.encode()
    types = (("Content-Type", content_type),) if content_type else ()
    sent = rest.pop("sent", ())
    request = (
        None if method is None else SentRequest(method=method, url=url, fields=tuple(sent), body=rest.pop("asked", b""))
    )
    return Exchange(
        request=request, response=ReceivedResponse(status=status, fields=(*types, *fields), body=raw, **rest)
    )


def notes(rule_id, exchange):
    found = RULES[rule_id]
    return [note_of(found, finding) for finding in findings_of(found, Inspected(exchange))]


def levels(rule_id, exchange):
    return [note.level.value for note in notes(rule_id, exchange)]


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


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PROPPATCH", "MKCOL", "COPY", "POST", "PATCH"])
def test_a_write_that_lacks_a_token_conflicts_with_nothing(method):
    assert levels("L05", answer(error(CONFLICTING), method=method)) == ["warn"]
    assert levels("L05", answer(error(SUBMITTED), method=method)) == []


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


# L09, L10: the multistatus


RIGHT = member(LOCKED + f"<D:error>{SUBMITTED}</D:error>")
PROPSTAT = f"<D:propstat><D:prop><X:p/></D:prop>{LOCKED}<D:error>{SUBMITTED}</D:error></D:propstat>"


@pytest.mark.parametrize(
    "body",
    [multistatus(RIGHT), multistatus(member(PROPSTAT)), multistatus(RIGHT, member(LOCKED, "<D:href>/d/b</D:href>"))],
)
def test_a_right_multistatus_is_right(body):
    assert levels("L09", answer(body, 207)) == []


@pytest.mark.parametrize("line", ["423 Locked", "423", "HTTP/2 423 Locked", "Locked 423", "HTTP/1.1  423 Locked"])
def test_a_status_is_a_whole_status_line(line):
    body = multistatus(member(f"<D:status>{line}</D:status><D:error>{SUBMITTED}</D:error>"))
    assert levels("L09", answer(body, 207)) == ["bad"]


@pytest.mark.parametrize(
    "body",
    [
        multistatus(member(LOCKED + SUBMITTED)),
        multistatus(member(LOCKED), f"<D:error>{SUBMITTED}</D:error>"),
        multistatus(member(f"<D:propstat><D:prop>{SUBMITTED}</D:prop>{LOCKED}</D:propstat>")),
        multistatus(member(f"<D:error>{SUBMITTED}</D:error>")),
        multistatus(member(LOCKED, href="")),
        multistatus(RIGHT, RIGHT),
        error(SUBMITTED),
    ],
    ids=["beside", "above", "in prop", "no status", "no href", "twice", "no multistatus"],
)
def test_what_stands_in_the_wrong_place_is_not_found(body):
    assert "bad" in levels("L09", answer(body, 207))


def test_a_code_for_a_lock_goes_with_423():
    body = multistatus(member(f"<D:status>HTTP/1.1 403 Forbidden</D:status><D:error>{SUBMITTED}</D:error>"))
    assert levels("L09", answer(body, 207)) == ["warn"]


def test_a_multistatus_is_looked_for_in_a_207_alone():
    """mod_dav answers DELETE of a collection with a locked member so."""
    assert levels("L09", answer(multistatus(RIGHT), 424, method="DELETE")) == ["warn"]


def test_a_locked_member_without_a_code_is_warned_of_once():
    """As wsgidav and mod_dav have it."""
    body = multistatus(member(LOCKED), member(LOCKED, "<D:href>/d/b</D:href>"))
    found = notes("L03", answer(body, 207, method="DELETE"))
    assert [note.level.value for note in found] == ["warn"]
    assert found[0].summary.startswith("/d/a and 1 more: ")
    assert levels("L03", answer(multistatus(RIGHT), 207, method="DELETE")) == []


def test_the_error_of_a_property_may_stand_at_its_resource():
    """Section 16: in the propstat or response element, depending on what the condition applies to."""
    propstat = f"<D:propstat><D:prop><X:p/></D:prop>{LOCKED}</D:propstat>"
    body = multistatus(member(f"{propstat}<D:error>{SUBMITTED}</D:error>"))
    exchange = answer(body, 207, method="PROPPATCH")
    assert [note for rule_id in RULES if rule_id[0] == "L" for note in notes(rule_id, exchange)] == []


def test_a_multistatus_in_which_nothing_is_locked_is_left_alone():
    body = multistatus(member("<D:status>404</D:status>", href=""))
    assert all(levels(rule_id, answer(body, 207, method="DELETE")) == [] for rule_id in RULES if rule_id[0] == "L")


def test_424_is_left_out_of_the_answer_to_delete():
    dependent = member("<D:status>HTTP/1.1 424 Failed Dependency</D:status>", "<D:href>/d/</D:href>")
    assert levels("L10", answer(multistatus(RIGHT, dependent), 207, method="DELETE")) == ["warn"]
    assert levels("L10", answer(multistatus(RIGHT, dependent), 207, method="LOCK")) == []
    assert levels("L10", answer(multistatus(RIGHT, dependent), 207, method=None)) == []
    assert levels("L10", answer(multistatus(RIGHT), 207, method="DELETE")) == []


def test_members_are_counted_once_for_each_status():
    inspected = Inspected(answer(multistatus(RIGHT, member(PROPSTAT, "<D:href>/d/b</D:href>")), 207))
    assert [(one.href, one.status, one.in_propstat) for one in members(inspected)] == [
        ("/d/a", 423, False),
        ("/d/b", 423, True),
    ]
    assert len(locked_members(inspected)) == 2


# L12, L13: types


@pytest.mark.parametrize(
    "content_type", ["text/html", "text/plain", "", "application/json", "application/octet-stream"]
)
def test_xml_under_another_name_is_bad(content_type):
    assert levels("L12", answer(error(SUBMITTED), content_type=content_type)) == ["bad"]


def test_a_type_built_on_xml_is_a_warning():
    assert levels("L12", answer(error(SUBMITTED), content_type="application/dav+xml")) == ["warn"]


@pytest.mark.parametrize(
    "content_type", ["application/xml", "text/xml", 'Application/XML; charset="utf-8"', "text/xml;charset=UTF8"]
)
def test_xml_under_its_name_is_right(content_type):
    body = '<?xml version="1.0" encoding="utf-8"?>' + error(SUBMITTED)
    assert levels("L12", answer(body, content_type=content_type)) == []


def test_charsets_that_contradict_each_other_matter_where_there_are_other_letters():
    declared = '<?xml version="1.0" encoding="utf-8"?>'
    assert levels("L12", answer(declared + error("<X:w>Zoë</X:w>"), content_type="text/xml; charset=iso-8859-1")) == [
        "bad"
    ]
    assert levels("L12", answer(declared + error(SUBMITTED), content_type="text/xml; charset=iso-8859-1")) == ["info"]


def test_a_dav_error_of_any_status_is_called_xml():
    assert levels("L12", answer(error("<D:propfind-finite-depth/>"), 403, content_type="text/html")) == ["bad"]
    assert levels("L12", answer("<html><body/></html>", content_type="text/html")) == []
    assert levels("L12", answer("<x/>", 404, content_type="text/plain")) == []


def test_xml_of_an_api_is_its_own_affair():
    assert levels("L12", answer("<Error/>", content_type="text/plain", method="PUT")) == []
    assert levels("L12", answer("<Error/>", content_type="text/plain", method="MKCOL")) == ["bad"]


PAGE = "<!doctype html><title>Locked</title>"


@pytest.mark.parametrize(
    ("method", "accept"),
    [("LOCK", None), ("MKCOL", "*/*"), ("PUT", "application/json"), ("POST", "application/xml, text/xml;q=0.5")],
)
def test_a_page_is_wrong_for_a_program(method, accept):
    sent = (("Accept", accept),) if accept else ()
    assert levels("L13", answer(PAGE, content_type="text/html", method=method, sent=sent)) == ["warn"]


@pytest.mark.parametrize(
    ("method", "accept"),
    [("GET", None), ("POST", "*/*"), ("DELETE", "text/html,*/*;q=0.1"), ("LOCK", "text/html"), (None, None)],
)
def test_a_page_may_be_right_for_whom_takes_it(method, accept):
    sent = (("Accept", accept),) if accept else ()
    assert levels("L13", answer(PAGE, content_type="text/html", method=method, sent=sent)) == []


def test_no_browser_shows_the_page_that_answers_a_put():
    """Apache sends one to whoever accepts anything."""
    assert levels("L13", answer(PAGE, content_type="text/html", method="PUT")) == ["info"]


def test_a_page_is_known_by_its_beginning_where_it_has_no_type():
    assert levels("L13", answer(PAGE, content_type="", method="LOCK")) == ["warn"]


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
