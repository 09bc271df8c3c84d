"""The If header's text (RFC 4918 section 10.4.2): the RFC's own examples, and anything else without harm."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.core.conditions import ConditionList, EtagCondition, IfHeader, TokenCondition
from holdfast.core.paths import InvalidPathError, ResourcePath
from holdfast.wire.if_header import MAX_CONDITIONS, MAX_IF_BYTES, IfSyntaxError, parse_if, render_if

HERE = ResourcePath("/here")
TOKEN = "urn:uuid:181d4fae-7d8c-11d0-a765-00a0c91e6bf2"
OTHER = "urn:uuid:58f202ac-22cf-11d1-b12d-002035b29092"


def resolve(tag: str) -> ResourcePath | None:
    """As a server named www.example.com does."""
    try:
        return ResourcePath.from_target(tag.removeprefix("http://www.example.com"))
    except InvalidPathError:
        return None


def parse(text: str) -> IfHeader:
    return parse_if(text, HERE, resolve)


def token(text: str, *, negated: bool = False) -> TokenCondition:
    return TokenCondition(text, negated)


def etag(text: str, *, negated: bool = False) -> EtagCondition:
    return EtagCondition(text, negated)


def untagged(*conditions: TokenCondition | EtagCondition) -> ConditionList:
    return ConditionList(HERE, conditions)


def tagged(resource: str | None, *conditions: TokenCondition | EtagCondition) -> ConditionList:
    return ConditionList(None if resource is None else ResourcePath(resource), conditions, tagged=True)


EXAMPLES = {
    "7.5.1 COPY": (
        "<http://www.example.com/users/f/fielding/index.html>\r\n (<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>)",
        (tagged("/users/f/fielding/index.html", token("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6")),),
    ),
    "7.5.2 no tag": (
        "(<urn:uuid:150852e2-3847-42d5-8cbe-0f4f296f26cf>)",
        (untagged(token("urn:uuid:150852e2-3847-42d5-8cbe-0f4f296f26cf")),),
    ),
    "7.5.2 tagged with the collection": (
        "<http://www.example.com/locked/>\r\n         (<urn:uuid:150852e2-3847-42d5-8cbe-0f4f296f26cf>)",
        (tagged("/locked", token("urn:uuid:150852e2-3847-42d5-8cbe-0f4f296f26cf")),),
    ),
    "7.5.2 tagged with the member": (
        "<http://www.example.com/locked/member> (<urn:uuid:150852e2-3847-42d5-8cbe-0f4f296f26cf>)",
        (tagged("/locked/member", token("urn:uuid:150852e2-3847-42d5-8cbe-0f4f296f26cf")),),
    ),
    "9.10.8 refresh": (
        "(<urn:uuid:e71d4fae-5dec-22d6-fea5-00a0c91e6be4>)",
        (untagged(token("urn:uuid:e71d4fae-5dec-22d6-fea5-00a0c91e6be4")),),
    ),
    "10.4.6 no-tag production": (
        f'(<{TOKEN}>\r\n       ["I am an ETag"])\r\n       (["I am another ETag"])',
        (untagged(token(TOKEN), etag('"I am an ETag"')), untagged(etag('"I am another ETag"'))),
    ),
    "10.4.7 Not": (
        f"(Not <{TOKEN}>\r\n     <{OTHER}>)",
        (untagged(token(TOKEN, negated=True), token(OTHER)),),
    ),
    "10.4.8 always true": (
        f"(<{TOKEN}>)\r\n       (Not <DAV:no-lock>)",
        (untagged(token(TOKEN)), untagged(token("DAV:no-lock", negated=True))),
    ),
    "10.4.9 tagged list in COPY": (
        f'</resource1>\r\n       (<{TOKEN}>\r\n       [W/"A weak ETag"]) (["strong ETag"])',
        (tagged("/resource1", token(TOKEN), etag('W/"A weak ETag"')), tagged("/resource1", etag('"strong ETag"'))),
    ),
    "10.4.10 collection lock": (
        f"<http://www.example.com/specs/>\r\n       (<{TOKEN}>)",
        (tagged("/specs", token(TOKEN)),),
    ),
    "10.4.11 unmapped": ('</specs/rfc2518.doc> (["4217"])', (tagged("/specs/rfc2518.doc", etag('"4217"')),)),
    "10.4.11 unmapped, negated": (
        '</specs/rfc2518.doc> (Not ["4217"])',
        (tagged("/specs/rfc2518.doc", etag('"4217"', negated=True)),),
    ),
}
BY_NAME = pytest.mark.parametrize(("text", "lists"), EXAMPLES.values(), ids=EXAMPLES)


@BY_NAME
def test_the_examples_of_the_rfc_are_read_whole(text: str, lists: tuple[ConditionList, ...]):
    assert parse(text).lists == lists


@BY_NAME
def test_an_example_cut_short_is_refused_or_is_the_lists_before_the_cut(text: str, lists: tuple[ConditionList, ...]):
    for end in range(len(text)):
        try:
            found = parse(text[:end]).lists
        except IfSyntaxError:
            continue
        assert text[:end].rstrip().endswith(")")
        assert found == lists[: len(found)]


@BY_NAME
@pytest.mark.parametrize(
    "tail", ["x", "(", ")", "<", ">", "()", "(<>)", "[", '["e"]', "Not", "\x00", ";", "(Not)", "</b>"]
)
def test_an_example_with_a_tail_is_refused_not_read_up_to_it(text: str, lists: tuple[ConditionList, ...], tail: str):
    with pytest.raises(IfSyntaxError):
        parse(text + tail)
    with pytest.raises(IfSyntaxError):
        parse(text + " " + tail)


@BY_NAME
def test_space_after_and_commas_between_lists_mean_nothing(text: str, lists: tuple[ConditionList, ...]):
    assert parse(f" {text} \t").lists == lists
    assert parse(f"{text}, (<{OTHER}>)").lists[:-1] == lists


@BY_NAME
def test_a_written_header_reads_as_itself(text: str, lists: tuple[ConditionList, ...]):
    assert parse(render_if(IfHeader(lists))).lists == lists


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ",",
        "()",
        "( )",
        "(",
        ")",
        "<",
        "<>",
        "<> (<a:b>)",
        "</a>",
        "</a> </b> (<a:b>)",
        "(<a:b>) </a>",
        "(<a:b>",
        "(<a:b)",
        "(<a b>)",
        "(<>)",
        "(a:b)",
        '("etag")',
        "([etag])",
        '([ "etag"])',
        '(["etag" ])',
        '(["etag])',
        '(["a"b"])',
        '([w/"etag"])',
        '([W/ "etag"])',
        '(["a\x00b"])',
        '(["a\nb"])',
        "(Not)",
        "(Not Not <a:b>)",
        "(NotNot <a:b>)",
        "(Nota <a:b>)",
        "(<a:b>, <c:d>)",
        "((<a:b>))",
        "<a:b>",
        "urn:uuid:x",
        "(<a:b>) Not",
        "Not (<a:b>)",
    ],
)
def test_what_the_grammar_does_not_have_is_refused(text: str):
    with pytest.raises(IfSyntaxError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "lists"),
    [
        ("(not <a:b>)", (untagged(token("a:b", negated=True)),)),
        ("(NOT<a:b>)", (untagged(token("a:b", negated=True)),)),
        ('(nOt\t["e"])', (untagged(etag('"e"', negated=True)),)),
        ('(Not["e"]<a:b>)', (untagged(etag('"e"', negated=True), token("a:b")),)),
        ('(["a]b"])', (untagged(etag('"a]b"')),)),
        ('(["é"])', (untagged(etag('"é"')),)),
        ('([""])', (untagged(etag('""')),)),
        ("(  <a:b>\t)", (untagged(token("a:b")),)),
        ("(<a:b><c:d>)", (untagged(token("a:b"), token("c:d")),)),
        ("(<a:b>)(<c:d>)", (untagged(token("a:b")), untagged(token("c:d")))),
        ("(<a:b>) </x> (<c:d>)", (untagged(token("a:b")), tagged("/x", token("c:d")))),
        (
            "</x> (<a:b>) (<c:d>) </y/> (<e:f>)",
            (tagged("/x", token("a:b")), tagged("/x", token("c:d")), tagged("/y", token("e:f"))),
        ),
        ("<http://elsewhere.example/x> (<a:b>)", (tagged(None, token("a:b")),)),
        ("</a/%2e%2e/b> (<a:b>)", (tagged(None, token("a:b")),)),
        ("</%78> (<a:b>)", (tagged("/x", token("a:b")),)),
    ],
)
def test_what_the_grammar_has_is_read(text: str, lists: tuple[ConditionList, ...]):
    assert parse(text).lists == lists


def test_fields_sent_apart_arrive_joined_by_commas_and_are_one_header():
    assert parse("(<a:b>), (<c:d>)").lists == parse("(<a:b>) (<c:d>)").lists


def test_a_list_without_a_tag_that_follows_a_tagged_one_keeps_its_resource_when_written():
    written = render_if(IfHeader((tagged("/x", token("a:b")), untagged(token("c:d")))))
    assert [item.resource for item in parse(written).lists] == [ResourcePath("/x"), HERE]


def test_the_error_never_quotes_the_header_because_it_may_hold_tokens():
    with pytest.raises(IfSyntaxError) as caught:
        parse(f"(<{TOKEN}>) oops")
    assert TOKEN not in str(caught.value)
    assert "oops" not in str(caught.value)


def test_the_number_of_conditions_and_the_length_are_bounded():
    assert len(parse("(<a:b>)" * MAX_CONDITIONS).lists) == MAX_CONDITIONS
    for text in ("(<a:b>)" * (MAX_CONDITIONS + 1), "(" + "<a:b>" * (MAX_CONDITIONS + 1) + ")"):
        with pytest.raises(IfSyntaxError, match="more than 256"):
            parse(text)
    for text in ("(<" + "a" * MAX_IF_BYTES + ">)", "(<a:b>)" + " " * MAX_IF_BYTES, "(" * (1 << 20)):
        with pytest.raises(IfSyntaxError, match="longer than"):
            parse(text)


HOSTILE = [
    "(",
    "<",
    "Not",
    "Not ",
    "(Not ",
    "[",
    '["',
    '"',
    " ",
    "\t ",
    ",",
    ", ",
    "(<",
    "<a",
    "W/",
    '[W/"',
    "(\t",
    "</",
    ">",
    ")",
]


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("start", ["", "(", "(<", '(["', "(Not", "(<a:b> ", "</a>", "<"])
def test_hostile_input_costs_time_in_proportion_to_its_length(start: str, unit: str):
    text = (start + unit * MAX_IF_BYTES)[:MAX_IF_BYTES]
    before = time.process_time()
    with pytest.raises(IfSyntaxError):
        parse(text)
    # A step that looked at the rest of the header again each time would take seconds.
    assert time.process_time() - before < 0.25


PIECES = st.lists(
    st.sampled_from(
        ["(", ")", "<", ">", "[", "]", '"', "Not", "not ", " ", ",", "W/", "/a", "a:b", '["e"]', "<a:b>", "\r\n"]
    ),
    max_size=40,
).map("".join)


@given(st.one_of(PIECES, st.text(max_size=200)))
@example("(<a:b>)" * 300)
@example("(\ud800)")
def test_any_text_is_a_header_or_a_syntax_error(text: str):
    try:
        header = parse(text)
    except IfSyntaxError:
        return
    assert header.lists
    assert all(item.conditions for item in header.lists)


CONDITIONS = st.one_of(
    st.builds(
        TokenCondition,
        st.text(st.characters(codec="latin-1", categories=("L", "N", "P")), min_size=1).filter(
            lambda text: not set(text) & set("<>")
        ),
        st.booleans(),
    ),
    st.builds(
        EtagCondition,
        st.builds(
            "{}{}".format,
            st.sampled_from(["", "W/"]),
            st.text(st.characters(codec="latin-1", min_codepoint=0x20, exclude_characters='"\x7f')).map('"{}"'.format),
        ),
        st.booleans(),
    ),
)
LISTS = st.builds(
    ConditionList,
    st.sampled_from([ResourcePath("/x"), ResourcePath("/x/é y"), ResourcePath("/")]),
    st.lists(CONDITIONS, min_size=1, max_size=4).map(tuple),
    st.just(True),
)


@given(st.lists(LISTS, min_size=1, max_size=5))
def test_whatever_is_written_is_read_as_it_was(lists: list[ConditionList]):
    header = IfHeader(tuple(lists))
    assert parse(render_if(header)) == header
