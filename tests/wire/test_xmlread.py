"""Reading a stranger's XML: limits hold while it is parsed, and a part of it can stand alone."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from holdfast.wire.xmlread import (
    DEFAULT_LIMITS,
    NOTHING,
    XmlError,
    XmlLimits,
    XmlTooLargeError,
    parse_xml,
    self_contained,
)

LAUGHS = b'<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><D:x xmlns:D="DAV:">&b;</D:x>'


@pytest.mark.parametrize(
    "body",
    [
        LAUGHS,
        b'<?xml version="1.0"?>' + LAUGHS,
        b"\xef\xbb\xbf" + LAUGHS,
        b"  \r\n<!-- <a> --><?target data?>\n" + LAUGHS,
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "http://127.0.0.1/">]><x>&e;</x>',
        b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1/"> %p;]><x/>',
        b"<!DOCTYPE x><x/>",
        b'<?xml version="1.0" encoding="iso-8859-1"?>' + LAUGHS,
        LAUGHS.decode().encode("utf-16"),
        LAUGHS.decode().encode("utf-16-le"),
        LAUGHS.decode().encode("utf-16-be"),
    ],
)
def test_a_document_type_declaration_is_refused_before_anything_is_expanded(body):
    with pytest.raises(XmlError, match="DOCTYPE"):
        parse_xml(body)


def test_the_word_doctype_in_text_is_no_declaration():
    assert parse_xml(b"<x><![CDATA[<!DOCTYPE y>]]></x>").text() == "<!DOCTYPE y>"
    assert parse_xml(b"<!-- <!DOCTYPE y> --><x/>").name == "x"


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"x", b"<x>", b"<x></y>", b"<x/><y/>", b"<x>&undefined;</x>", b"<D:x/>", b'<x xmlns:bar=""/>', b"<x a='1' a='2'/>",
     b'<x xmlns:a="u" xmlns:b="u" a:c="" b:c=""/>', b"<x>&#1;</x>", b"<x>\x01</x>", b"<x>\xff</x>", b"<x>&#xD800;</x>",
     b"<x>]]></x>", b"<x", b"<!--", b"<?xml", b"<?x", b"<x><![CDATA[", b"\x00" * 40, b"<x>\xed\xa0\x80</x>", b"PK\x03\x04"],
)  # fmt: skip
def test_what_is_not_well_formed_is_refused(body):
    with pytest.raises(XmlError, match=r"not well-formed|not in the encoding"):
        parse_xml(body)


@pytest.mark.parametrize("encoding", ["cp500", "utf-7", "shift_jis", "utf-32", "x" * 40])
def test_other_encodings_are_refused(encoding):
    with pytest.raises(XmlError, match="UTF-8"):
        parse_xml(f'<?xml version="1.0" encoding="{encoding}"?><x/>'.encode())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_utf_8_and_utf_16_are_read_with_and_without_a_mark(encoding):
    """RFC 4918 section 8.2."""
    assert parse_xml("<x>grüße 日本 😀</x>".encode(encoding)).text() == "grüße 日本 😀"


def test_declared_latin_1_is_read():
    assert parse_xml('<?xml version="1.0" encoding="ISO-8859-1"?><x>é</x>'.encode("latin-1")).text() == "é"


def test_half_a_utf_16_character_is_refused():
    with pytest.raises(XmlError):
        parse_xml("<x/>".encode("utf-16") + b"\x00")


def bombs() -> Iterator[tuple[str, bytes]]:
    yield "deep", b"<a>" * 340_000
    yield "deep, closed", b"<a>" * 100_000 + b"</a>" * 100_000
    yield "wide", b"<a>" + b"<b/>" * 250_000 + b"</a>"
    yield "attributes", b"<a " + b" ".join(b'b%d=""' % i for i in range(80_000)) + b"/>"
    yield "namespaces", b"<a " + b" ".join(b'xmlns:b%d="u"' % i for i in range(40_000)) + b"/>"
    yield "comments", b"<!---->" * 140_000 + b"<!DOCTYPE x>"
    yield "open comment", b"<!--" * 250_000
    yield "open instruction", b"<?" * 500_000 + b"<!DOCTYPE x>"
    yield "references", b"<a>" + b"&#38;" * 200_000
    yield "an endless name", b"<" + b"a" * 1_000_000
    yield "an endless value", b'<a b="' + b"c" * 1_000_000
    yield "ten megabytes", b"<a>" + b"<b/>" * 2_500_000 + b"</a>"
    yield "fifty megabytes", b"x" * 50_000_000


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in bombs()])
def test_a_bomb_fails_fast(body):
    started = time.process_time()
    with pytest.raises(XmlError):
        parse_xml(body)
    assert time.process_time() - started < 1.0


def test_too_many_bytes_are_told_apart_for_413():
    with pytest.raises(XmlTooLargeError, match="1048576"):
        parse_xml(b" " * (DEFAULT_LIMITS.size_bytes + 1))


def test_each_limit_is_exact():
    limits = XmlLimits(size_bytes=200, depth=3, nodes=4)
    assert parse_xml(b"<a><b><c/></b></a>", limits).name == "a"
    assert parse_xml(b"<a><b/><b/><b/></a>", limits).name == "a"
    with pytest.raises(XmlError, match="within each other"):
        parse_xml(b"<a><b><c><d/></c></b></a>", limits)
    with pytest.raises(XmlError, match="too many"):
        parse_xml(b"<a><b/><b/><b/><b/></a>", limits)
    with pytest.raises(XmlError, match="too many"):
        parse_xml(b"<a b='' c='' d='' e=''/>", limits)
    assert parse_xml(b"<a>" + b" " * 193 + b"</a>", limits).name == "a"
    with pytest.raises(XmlTooLargeError):
        parse_xml(b"<a>" + b" " * 194 + b"</a>", limits)


NEW_NAMES = """
import resource, secrets
from holdfast.wire.xmlread import parse_xml
def send():
    for _ in range(10):
        parse_xml(b"<a>" + b"".join(b"<n%s/>" % secrets.token_hex(150).encode() for _ in range(2000)) + b"</a>")
send()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(3):
    send()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.process
def test_new_names_do_not_fill_the_memory():
    """18 MB of names never seen before leave nothing behind; a parser that keeps its names would keep them all."""
    grown = subprocess.run([sys.executable, "-c", NEW_NAMES], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 9_000, f"grew by {grown} KiB"


@given(st.binary(max_size=200) | st.from_regex(rb"(<|>|/|a|b:|xmlns:b='u'|=|'|&|;|!|--|\?|\[|\]| )*", fullmatch=True))
def test_reading_survives_any_bytes(body):
    with contextlib.suppress(XmlError):
        parse_xml(body)


WHOLE = b"""<?xml version="1.0" encoding="utf-8"?><!-- c --><D:a xmlns:D="DAV:" xmlns="urn:d"><b c="&lt;&#10;"
  D:e='"'>text &amp; <![CDATA[<more>]]></b><D:f xmlns=""><g/></D:f></D:a>"""


def test_a_document_cut_anywhere_is_refused():
    for end in range(len(WHOLE)):
        with pytest.raises(XmlError):
            parse_xml(WHOLE[:end])
    assert parse_xml(WHOLE).name == "a"
    assert parse_xml(WHOLE + b"\n<!-- tail -->").name == "a"
    with pytest.raises(XmlError):
        parse_xml(WHOLE + b"tail")


def test_names_are_expanded():
    root = parse_xml(WHOLE)
    assert (root.namespace, root.name) == ("DAV:", "a")
    b, f = root.elements()
    assert (b.namespace, b.name, b.text()) == ("urn:d", "b", "text & <more>")
    assert (f.elements()[0].namespace, f.elements()[0].name) == ("", "g")


def canonical(xml: str | bytes) -> bytes:
    return etree.tostring(etree.fromstring(xml), method="c14n", exclusive=True, with_comments=False)


@pytest.mark.parametrize(
    "document",
    [
        b'<D:p xmlns:D="DAV:"><D:x/></D:p>',
        b'<D:p xmlns:D="DAV:"><nonamespace>randomvalue</nonamespace></D:p>',  # litmus propnullns
        b'<D:p xmlns:D="DAV:"><t:valnspace xmlns:t="http://example.com/neon/litmus/"><foo xmlns="http://bar"/></t:valnspace></D:p>',
        b'<D:p xmlns:D="DAV:" xmlns="urn:default"><x a="1"><y xmlns=""/></x></D:p>',
        b'<p xmlns="urn:default" xmlns:q="urn:q"><x q:a="1"><q:z/></x></p>',
        b'<D:p xmlns:D="DAV:"><x>a &lt; b &amp; c &gt; d "q" \xf0\x90\x80\x80</x></D:p>',
        b'<D:p xmlns:D="DAV:"><x a="&lt;&amp;&quot;&#10;&#9;&#13;"> &#13;\n </x></D:p>',
        b'<p xmlns:a="urn:1"><x xmlns:a="urn:2"><a:y><a:z xmlns:a="urn:3"/></a:y></x></p>',
        b"<p><x>1<y>2<z/>3</y>4</x></p>",
    ],
)
def test_a_part_written_to_stand_alone_means_the_same(document):
    root = parse_xml(document)
    (part,) = root.elements()
    alone = self_contained(part, NOTHING.inside(root))
    assert canonical(alone) == canonical(canonical(etree.tostring(etree.fromstring(document)[0], with_tail=False)))
    again = parse_xml(alone.encode())
    assert self_contained(again, NOTHING) == alone


def test_writing_a_long_text_takes_linear_time():
    root = parse_xml(b"<p><x>" + b"x" * 1_000_000 + b"</x></p>")
    started = time.process_time()
    self_contained(root.elements()[0], NOTHING.inside(root))
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("text", ["q:date", "(q:date)", "'q:date'", "a,q:date", "1 q:date"])
def test_a_prefix_is_found_anywhere_in_text(text):
    root = parse_xml(f'<p xmlns:q="urn:q"><x>{text}</x></p>'.encode())
    assert 'xmlns:q="urn:q"' in self_contained(root.elements()[0], NOTHING.inside(root))


@pytest.mark.parametrize("prefix", ["a\u00b7b", "\u00e9", "\u65e5\u672c", "_-.x", "a\u0301"])
def test_a_prefix_in_any_script_is_declared(prefix):
    root = parse_xml(f'<p xmlns:{prefix}="urn:q"><{prefix}:x/></p>'.encode())
    assert parse_xml(self_contained(root.elements()[0], NOTHING.inside(root)).encode()).namespace == "urn:q"


def test_comments_and_instructions_are_left_out():
    assert self_contained(parse_xml(b"<x><!-- gone -->kept<?gone too?></x>"), NOTHING) == "<x>kept</x>"


def test_a_prefix_used_only_in_values_is_declared_too():
    root = parse_xml(
        b'<D:p xmlns:D="DAV:" xmlns:xs="urn:xs" xmlns:i="urn:i" xmlns:unused="urn:u"><x i:type="xs:date">1</x></D:p>'
    )
    alone = self_contained(root.elements()[0], NOTHING.inside(root))
    assert 'xmlns:xs="urn:xs"' in alone
    assert 'xmlns:i="urn:i"' in alone
    assert "unused" not in alone


@pytest.mark.parametrize(
    "document, expected",
    [
        (b'<p xml:lang="de"><x/></p>', '<x xml:lang="de"/>'),
        (b'<p xml:lang="de"><x xml:lang="fr"/></p>', '<x xml:lang="fr"/>'),
        (b'<p xml:lang="de"><x xml:lang=""/></p>', '<x xml:lang=""/>'),
        (b"<p><x/></p>", "<x/>"),
    ],
)
def test_the_language_is_inherited(document, expected):
    """RFC 4918 section 4.3."""
    root = parse_xml(document)
    assert self_contained(root.elements()[0], NOTHING.inside(root)) == expected


def test_the_nearest_ancestors_declaration_counts():
    root = parse_xml(b'<p xmlns:a="far" xmlns="d1"><q xmlns:a="near" xmlns=""><a:x><y/></a:x></q></p>')
    q = root.elements()[0]
    alone = parse_xml(self_contained(q.elements()[0], NOTHING.inside(root).inside(q)).encode())
    assert (alone.namespace, alone.elements()[0].namespace) == ("near", "")


@given(
    st.recursive(
        st.sampled_from(["", "text", "a:b", "&amp;", "&lt;&gt;", "\U0001f600", "&#13;", "&#10;"]),
        lambda inner: st.builds(
            lambda tag, attribute, children: f"<{tag}{attribute}>{''.join(children)}</{tag}>",
            st.sampled_from(["a", "p:a", "q:b"]),
            st.sampled_from(["", ' c="1&#10;&quot;"', ' p:c="q:1"', ' xmlns:p="urn:o"', ' xmlns=""', ' xmlns="urn:n"']),
            st.lists(inner, max_size=3),
        ),
        max_leaves=12,
    )
)
def test_any_part_written_to_stand_alone_means_the_same(inner):
    document = f'<r xmlns="urn:d" xmlns:p="urn:p" xmlns:q="urn:q"><x>{inner}</x></r>'.encode()
    root = parse_xml(document)
    alone = self_contained(root.elements()[0], NOTHING.inside(root))
    assert canonical(alone) == canonical(canonical(etree.tostring(etree.fromstring(document)[0], with_tail=False)))
