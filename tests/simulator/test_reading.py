"""Whatever a request says is read as options or refused in words: nothing else is ever raised, and what is read is bounded."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st

from holdfast.faces.simulator.fields import FieldError, check_field
from holdfast.faces.simulator.options import OPTIONS, Caps, OptionError, Options, parse_options
from holdfast.wire.exchange import Headers

CAPS = Caps(delay_s=10.0, size_bytes=1000)
NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
PLAUSIBLE = ["2", "2s", "500ms", "423x2,200", "423:0.3,200:0.7", "json", "none", "mid-body", "date:5", "A: b", "Allow", "k",
             "Sun, 22 Nov 2026 08:00:30 GMT", "", "0", "99999999"]  # fmt: skip
VALUES = st.one_of(st.sampled_from(PLAUSIBLE), st.text(max_size=20), st.from_regex(r"[0-9:x.,]{0,20}"))


def read(query: str, fields: tuple[tuple[bytes, bytes], ...] = ()) -> Options | str:
    try:
        return parse_options(query, Headers(fields), CAPS, wall_now=NOW)
    except OptionError as error:
        return str(error)


def check(options: Options | str) -> None:
    if isinstance(options, str):
        assert options.isprintable()
        return
    assert 0 <= options.delay_s + options.body_delay_s + options.dribble_s <= CAPS.delay_s
    assert options.size is None or 0 <= options.size <= CAPS.size_bytes
    for name, value in options.fields:
        assert "\r" not in name + value
        assert "\n" not in name + value
    if options.retry_after is not None:
        assert options.retry_after.value is None or options.retry_after.value.isprintable()


@given(st.lists(st.tuples(st.sampled_from(sorted(OPTIONS)), VALUES), max_size=6))
def test_any_values_of_options_are_read_or_refused(pairs):
    check(read(urlencode([(name, value.encode("utf-8", "surrogatepass")) for name, value in pairs])))


@given(st.text(st.characters(max_codepoint=127), max_size=80))
def test_any_query_is_read_or_refused(query):
    check(read(query))


@given(
    st.lists(
        st.tuples(st.sampled_from([*sorted(OPTIONS), "header-x", "header-", "", "-"]), st.binary(max_size=20)),
        max_size=4,
    )
)
def test_any_fields_are_read_or_refused(pairs):
    check(read("", tuple((b"x-simulate-" + name.replace("_", "-").encode(), value) for name, value in pairs)))


@given(st.text(max_size=20), st.text(max_size=40))
def test_a_field_that_is_let_through_is_one_line_of_ascii(name, value):
    try:
        check_field(name, value)
    except FieldError:
        return
    line = f"{name}: {value}"
    assert line.isascii()
    assert not set(line) & {"\r", "\n", "\0"}
    assert ":" not in name
