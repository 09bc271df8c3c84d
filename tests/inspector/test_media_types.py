"""Rules L12 and L13: XML under its own name, and no pages for programs."""

from __future__ import annotations

import pytest

from tests.inspector.refusals import SUBMITTED, answer, error, levels


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
