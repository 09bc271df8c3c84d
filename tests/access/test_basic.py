"""RFC 7617: Basic credentials, as clients send them and as attackers do."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.access.basic import Credentials, parse_basic


def basic(raw: bytes) -> str:
    return "Basic " + b64encode(raw).decode()


@pytest.mark.parametrize(
    ("field", "name", "password"),
    [
        ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"),  # RFC 7617 section 2
        ("Basic dGVzdDoxMjPCow==", "test", "123£"),  # RFC 7617 section 2.1
        ("bAsIc QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"),
        ("Basic   QWxhZGRpbjpvcGVuIHNlc2FtZQ  ", "Aladdin", "open sesame"),
        (basic(b"a:b:c"), "a", "b:c"),
        (basic(b"a:"), "a", ""),
        (basic("ü:ö".encode("latin-1")), "ü", "ö"),
    ],
)
def test_credentials_are_read(field: str, name: str, password: str):
    assert parse_basic(field) == Credentials(name, password)


@pytest.mark.parametrize(
    "field",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Digest x",
        "Bearer abc",
        "Basic QQ==",
        basic(b":secret"),
        basic(b"a\x00:b"),
        basic(b"a:b\n"),
        "Basic " + "A" * 5000,
        "Basic é",
    ],
)
def test_anything_else_is_nobody(field: str):
    assert parse_basic(field) is None


@given(st.text())
def test_no_field_raises(field: str):
    parse_basic(field)
    parse_basic("Basic " + field)


@given(st.binary())
def test_no_decoded_bytes_raise(raw: bytes):
    parse_basic(basic(raw))


def test_the_password_is_not_shown():
    assert "sesame" not in repr(parse_basic("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="))
