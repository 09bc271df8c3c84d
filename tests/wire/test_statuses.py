"""The table of status codes: complete, and right where the specifications are exact."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from holdfast.wire.statuses import (
    REGISTERED_CODES,
    Registration,
    Requirement,
    RetryAdvice,
    StatusClass,
    StatusInfo,
    status_info,
)

ALL = [status_info(code) for code in range(100, 600)]


def _required(info: StatusInfo, requirement: Requirement) -> set[str]:
    return {field.name for field in info.fields if field.requirement is requirement and not field.when}


def test_every_code_of_three_digits_is_told_of_in_a_sentence() -> None:
    for code, info in enumerate(ALL, start=100):
        assert info.code == code
        assert info.phrase
        assert info.meaning.endswith(".")
        assert info.retry.sentence.endswith(".")
        assert info.status_class is list(StatusClass)[code // 100 - 1]


@pytest.mark.parametrize("code", [-1, 0, 99, 600, 1000])
def test_what_is_no_status_code_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match="100 to 599"):
        status_info(code)


def test_the_names_are_those_of_the_registry() -> None:
    """Python's own table agrees, but for names that RFC 9110 changed, and two codes that the registry lists as unused or not at all."""
    renamed = {
        413: "Content Too Large",
        414: "URI Too Long",
        416: "Range Not Satisfiable",
        422: "Unprocessable Content",
    }
    renamed |= {418: "(Unused)", 510: "Not Extended (OBSOLETED)"}
    for status in HTTPStatus:
        assert status_info(status.value).phrase == renamed.get(status.value, status.phrase)


def test_the_registry_lists_64_codes() -> None:
    assert len(REGISTERED_CODES) == 64
    assert list(REGISTERED_CODES) == sorted(set(REGISTERED_CODES))
    by_registration = {
        kind: {info.code for info in ALL if info.registration is kind}
        for kind in (Registration.TEMPORARY, Registration.RESERVED)
    }
    assert by_registration == {Registration.TEMPORARY: {104}, Registration.RESERVED: {306, 418}}
    assert {info.code for info in ALL if info.registration is not Registration.UNASSIGNED} == set(REGISTERED_CODES)
    assert not status_info(418).is_registered
    assert not status_info(599).is_registered


def test_caches_may_guess_the_freshness_of_twelve_codes() -> None:
    """RFC 9110 section 15.1 names them; 423 is none of them."""
    guessed = {info.code for info in ALL if info.is_heuristically_cacheable}
    assert guessed == {200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501}


def test_no_cache_stores_what_its_specification_forbids() -> None:
    forbidden = {info.code for info in ALL if not info.is_storable}
    assert forbidden == {*range(100, 200), 428, 429, 431, 511}


def test_what_never_has_content() -> None:
    assert {info.code for info in ALL if not info.has_content} == {*range(100, 200), 204, 205, 304}


@pytest.mark.parametrize(
    ("code", "names"),
    [
        (101, {"Upgrade", "Connection"}),
        (401, {"WWW-Authenticate"}),
        (405, {"Allow"}),
        (407, {"Proxy-Authenticate"}),
        (426, {"Upgrade", "Connection"}),
    ],
)
def test_the_fields_without_which_an_answer_is_wrong(code: int, names: set[str]) -> None:
    assert _required(status_info(code), Requirement.MUST) == names


def test_no_other_code_demands_a_field_always() -> None:
    demanding = {info.code for info in ALL if _required(info, Requirement.MUST)}
    assert demanding == {101, 401, 405, 407, 426}


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_says_where_to(code: int) -> None:
    assert "Location" in _required(status_info(code), Requirement.SHOULD)
    assert status_info(code).retry.advice is RetryAdvice.FOLLOW


@pytest.mark.parametrize(("code", "section"), [(423, "10.2.3"), (429, "4"), (503, "15.6.4")])
def test_who_may_say_how_long_to_wait(code: int, section: str) -> None:
    field = next(field for field in status_info(code).fields if field.name == "Retry-After")
    assert (field.requirement, field.source.section) == (Requirement.MAY, section)


def test_the_body_of_a_423_should_name_the_condition_and_that_of_a_207_must_be_a_multistatus() -> None:
    locked, several = status_info(423).content, status_info(207).content
    assert locked is not None
    assert several is not None
    assert (locked.requirement, str(locked.source)) == (Requirement.SHOULD, "RFC 4918 section 11.3")
    assert (several.requirement, str(several.source)) == (Requirement.MUST, "RFC 4918 section 13")


def test_every_error_is_to_explain_itself() -> None:
    """RFC 9110 sections 15.5 and 15.6."""
    for info in ALL[300:]:
        assert info.content is not None
        assert info.content.requirement is Requirement.SHOULD


def test_what_was_not_carried_out_may_be_repeated_whatever_its_method() -> None:
    later = {info.code for info in ALL if info.retry.advice is RetryAdvice.LATER}
    assert later == {408, 421, 423, 425, 429, 503, 511}
    assert all(status_info(code).retry.is_worth_repeating for code in (*later, 500, 502, 504))
    assert not status_info(409).retry.is_worth_repeating


def test_every_source_can_be_opened_at_its_section() -> None:
    for info in ALL:
        sources = [info.source, *(field.source for field in info.fields)]
        for source in sources:
            assert source.link.startswith("https://")
            assert not source.section or source.link.endswith(f"#section-{source.section}")


def test_an_unassigned_code_is_treated_as_the_first_of_its_class() -> None:
    """RFC 9110 section 15; and it is told who uses it all the same."""
    assert "as 400" in status_info(499).meaning
    assert "nginx" in status_info(499).meaning
    assert status_info(299).retry.advice is RetryAdvice.NONE
    assert status_info(599).retry.advice is RetryAdvice.LATER_IF_IDEMPOTENT
