"""Passwords and names: what is accepted, and that a hash tells one password from all others."""

from __future__ import annotations

import argon2
import pytest

from holdfast.access.passwords import (
    Passwords,
    UnusableNameError,
    UnusablePasswordError,
    check_name,
    check_password,
)

CHEAP = Passwords(argon2.profiles.CHEAPEST)


def test_a_hash_is_argon2id_and_salted():
    first, second = CHEAP.hash("correct horse"), CHEAP.hash("correct horse")
    assert first.startswith("$argon2id$")
    assert first != second
    assert CHEAP.matches(first, "correct horse")
    assert CHEAP.matches(second, "correct horse")


@pytest.mark.parametrize("other", ["", "Correct horse", "correct horse ", "correct hors"])
def test_another_password_does_not_match(other: str):
    assert not CHEAP.matches(CHEAP.hash("correct horse"), other)


def test_the_default_cost_is_that_of_rfc_9106():
    parameters = argon2.extract_parameters(Passwords().hash("x" * 12))
    assert (parameters.type, parameters.memory_cost, parameters.time_cost) == (argon2.Type.ID, 65536, 3)


def test_a_password_typed_in_another_unicode_form_is_the_same_password():
    assert CHEAP.matches(CHEAP.hash("café"), "café")


def test_a_text_that_is_no_hash_matches_nothing():
    assert not CHEAP.matches("plain", "plain")


@pytest.mark.parametrize("name", ["alice", "José", "山田", "a.b@example.org", "Ann Lee"])
def test_names_people_have_are_accepted(name: str):
    assert check_name(name) == name


def test_a_name_is_kept_in_nfc():
    assert check_name("José") == "José"


@pytest.mark.parametrize(
    "name", ["", "a:b", "a/b", "a\\b", "a\nb", "\x00", " alice", "alice ", "x" * 65, "Anonymous", "a<b", 'a"b']
)
def test_a_name_that_could_be_misread_is_refused(name: str):
    with pytest.raises(UnusableNameError) as caught:
        check_name(name)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("password", ["", "a\nb", "\x7f", "ü" * 513, "\ud800"])
def test_a_password_that_http_cannot_carry_is_refused_without_being_shown(password: str):
    with pytest.raises(UnusablePasswordError) as caught:
        check_password(password)
    assert not password or password not in str(caught.value)
