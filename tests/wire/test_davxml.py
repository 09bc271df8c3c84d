"""WebDAV's request bodies (RFC 4918 section 14, RFC 5689): the RFC's examples, litmus', and what is refused."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.model import LockScope
from holdfast.wire.davxml import (
    DAV,
    MAX_OWNER_LENGTH,
    MAX_PROPERTY_NAMES,
    ChangeKind,
    LockInfo,
    MkcolRequest,
    PropertyChange,
    PropfindKind,
    PropfindRequest,
    XmlError,
    XmlLimits,
    XmlTooLargeError,
    parse_lockinfo,
    parse_mkcol,
    parse_propfind,
    parse_proppatch,
)

HEAD = b'<?xml version="1.0" encoding="utf-8" ?>\n'
BOX = "http://ns.example.com/boxschema/"


@pytest.mark.parametrize(
    "body, expected",
    [
        (b"", PropfindRequest(PropfindKind.ALLPROP)),
        (  # RFC 4918 section 9.1.3
            (
                b'<D:propfind xmlns:D="DAV:"><D:prop xmlns:R="http://ns.example.com/boxschema/">'
                b"<R:bigbox/><R:author/><R:DingALing/><R:Random/></D:prop></D:propfind>"
            ),
            PropfindRequest(
                PropfindKind.PROP,
                names=((BOX, "bigbox"), (BOX, "author"), (BOX, "DingALing"), (BOX, "Random")),
            ),
        ),
        (b'<propfind xmlns="DAV:"><propname/></propfind>', PropfindRequest(PropfindKind.PROPNAME)),  # section 9.1.4
        (b'<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>', PropfindRequest(PropfindKind.ALLPROP)),  # 9.1.5
        (  # section 9.1.6
            (
                b'<D:propfind xmlns:D="DAV:"><D:allprop/><D:include><D:supported-live-property-set/>'
                b"<D:supported-report-set/></D:include></D:propfind>"
            ),
            PropfindRequest(
                PropfindKind.ALLPROP,
                include=((DAV, "supported-live-property-set"), (DAV, "supported-report-set")),
            ),
        ),
        (  # appendix A.2: what is not understood is passed over
            (
                b'<D:propfind xmlns:D="DAV:" xmlns:E="http://www.example.com/standards/props/"><D:propname/>'
                b"<E:leave-out>*boss*</E:leave-out></D:propfind>"
            ),
            PropfindRequest(PropfindKind.PROPNAME),
        ),
        (
            b'<D:propfind xmlns:D="DAV:"><D:prop><nonamespace/><D:a/><D:a/><a xmlns="x"/></D:prop></D:propfind>',
            PropfindRequest(PropfindKind.PROP, names=(("", "nonamespace"), (DAV, "a"), ("x", "a"))),
        ),
        (b'<D:propfind xmlns:D="DAV:"><D:prop/></D:propfind>', PropfindRequest(PropfindKind.PROP)),
    ],
)
def test_propfind_is_read(body, expected):
    assert parse_propfind(body) == expected
    assert parse_propfind(HEAD + body if body else body) == expected
    assert parse_propfind(body + b" " * 3000 if body else body) == expected  # beyond what is remembered


@pytest.mark.parametrize(
    "body",
    [
        b'<D:propfind xmlns:D="DAV:"><D:prop></D:propfind>',
        b"<foo>",  # litmus propfind_invalid
        b'<D:propfind xmlns:D="DAV:"><D:prop><bar:foo xmlns:bar=""/></D:prop></D:propfind>',  # litmus propfind_invalid2
        b'<propfind xmlns="DAV:"><prop><R:undeclared/></prop></propfind>',
        b'<D:propfind xmlns:D="DAV:" xmlns:E="urn:e"><E:expired-props/></D:propfind>',  # appendix A.1
        b'<D:propfind xmlns:D="DAV:"/>',
        b'<D:propfind xmlns:D="DAV:"><D:prop/><D:allprop/></D:propfind>',
        b'<D:propfind xmlns:D="DAV:"><D:prop/><D:prop/></D:propfind>',
        b'<propfind xmlns="dav:"><allprop/></propfind>',
        b"<propfind><allprop/></propfind>",
        b'<D:lockinfo xmlns:D="DAV:"/>',
        b" ",
        b"hello",
    ],
)
def test_propfind_refuses_what_is_not_one(body):
    with pytest.raises(XmlError):
        parse_propfind(body)


def test_propfind_refuses_too_many_names():
    names = b"".join(b"<n%d/>" % i for i in range(MAX_PROPERTY_NAMES + 1))
    with pytest.raises(XmlError, match="properties"):
        parse_propfind(b'<D:propfind xmlns:D="DAV:"><D:prop>' + names + b"</D:prop></D:propfind>")


def test_proppatch_is_read_in_document_order():
    """RFC 4918 section 9.2.2, and litmus propremoveset, propsetremove."""
    body = HEAD + (
        b'<D:propertyupdate xmlns:D="DAV:" xmlns:Z="http://ns.example.com/standards/z39.50/"><D:set><D:prop><Z:Authors>'
        b"<Z:Author>Jim Whitehead</Z:Author><Z:Author>Roy Fielding</Z:Author></Z:Authors></D:prop></D:set>"
        b"<D:remove><D:prop><Z:Copyright-Owner/></D:prop></D:remove>"
        b"<D:set><D:prop><Z:Copyright-Owner>x</Z:Copyright-Owner></D:prop></D:set></D:propertyupdate>"
    )
    namespace = "http://ns.example.com/standards/z39.50/"
    assert parse_proppatch(body) == (
        PropertyChange(
            ChangeKind.SET,
            namespace,
            "Authors",
            f'<Z:Authors xmlns:Z="{namespace}"><Z:Author>Jim Whitehead</Z:Author><Z:Author>Roy Fielding</Z:Author></Z:Authors>',
            "Jim WhiteheadRoy Fielding",
        ),
        PropertyChange(ChangeKind.REMOVE, namespace, "Copyright-Owner"),
        PropertyChange(
            ChangeKind.SET,
            namespace,
            "Copyright-Owner",
            f'<Z:Copyright-Owner xmlns:Z="{namespace}">x</Z:Copyright-Owner>',
            "x",
        ),
    )


def one_change(inner: str, attributes: str = "") -> PropertyChange:
    body = f'<D:propertyupdate xmlns:D="DAV:"{attributes}><D:set><D:prop>{inner}</D:prop></D:set></D:propertyupdate>'
    (change,) = parse_proppatch(body.encode())
    return change


@pytest.mark.parametrize(
    "inner, namespace, name, xml",
    [
        ("<nonamespace>randomvalue</nonamespace>", "", "nonamespace", "<nonamespace>randomvalue</nonamespace>"),
        (
            "<high-unicode xmlns='http://example.com/neon/litmus/'>&#65536;</high-unicode>",
            "http://example.com/neon/litmus/",
            "high-unicode",
            '<high-unicode xmlns="http://example.com/neon/litmus/">\U00010000</high-unicode>',
        ),
        (
            "<t:valnspace xmlns:t='http://example.com/neon/litmus/'><foo xmlns='http://bar'/></t:valnspace>",
            "http://example.com/neon/litmus/",
            "valnspace",
            '<t:valnspace xmlns:t="http://example.com/neon/litmus/"><foo xmlns="http://bar"/></t:valnspace>',
        ),
        (
            "<Z:Win32LastModifiedTime xmlns:Z='urn:schemas-microsoft-com:'>Sat, 21 Nov 2026 10:02:00 GMT</Z:Win32LastModifiedTime>",
            "urn:schemas-microsoft-com:",
            "Win32LastModifiedTime",
            '<Z:Win32LastModifiedTime xmlns:Z="urn:schemas-microsoft-com:">Sat, 21 Nov 2026 10:02:00 GMT</Z:Win32LastModifiedTime>',
        ),
    ],
)
def test_litmus_and_windows_properties_survive(inner, namespace, name, xml):
    """propnullns, prophighunicode, propvalnspace; Mini-Redirector."""
    change = one_change(inner)
    assert (change.namespace, change.name, change.xml) == (namespace, name, xml)


def test_a_property_inherits_the_language_around_it():
    assert one_change("<x>salut</x>", ' xml:lang="fr"').xml == '<x xml:lang="fr">salut</x>'


def test_many_namespaces_survive():
    """litmus propmanyns."""
    inner = "".join(f'<p{i} xmlns="http://example.com/kappa{i}">value{i}</p{i}>' for i in range(10))
    body = f'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>{inner}</D:prop></D:set></D:propertyupdate>'
    changes = parse_proppatch(body.encode())
    assert [(change.namespace, change.text) for change in changes] == [
        (f"http://example.com/kappa{i}", f"value{i}") for i in range(10)
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'<D:propertyupdate xmlns:D="DAV:"/>',
        b'<D:propertyupdate xmlns:D="DAV:"><D:set/></D:propertyupdate>',
        b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop/></D:set></D:propertyupdate>',
        b'<D:propertyupdate xmlns:D="DAV:"><D:prop><D:a/></D:prop></D:propertyupdate>',
        b'<D:propertyupdate xmlns:D="DAV:"><set><D:prop><D:a/></D:prop></set></D:propertyupdate>',
        b"<propertyupdate><set><prop><a/></prop></set></propertyupdate>",
    ],
)
def test_proppatch_refuses_what_changes_nothing(body):
    with pytest.raises(XmlError):
        parse_proppatch(body)


def test_thousands_of_declared_namespaces_around_thousands_of_properties_cost_little():
    declared = b" ".join(b'xmlns:b%d="urn:u"' % i for i in range(6000))
    body = b'<D:propertyupdate xmlns:D="DAV:" ' + declared + b"><D:set>" + b"<D:prop><x/></D:prop>" * 6000
    started = time.process_time()
    assert len(parse_proppatch(body + b"</D:set></D:propertyupdate>")) == 6000
    assert time.process_time() - started < 1.5


def test_namespaces_cannot_be_used_to_blow_a_body_up():
    declared = b" ".join(b'xmlns:p%d="urn:%s"' % (i, b"x" * 800) for i in range(500))
    used = b" ".join(b"p%d:" % i for i in range(500))
    body = b'<D:propertyupdate xmlns:D="DAV:" ' + declared + b"><D:set><D:prop>" + b"<a>%s</a>" % used * 150
    with pytest.raises(XmlTooLargeError):
        parse_proppatch(body + b"</D:prop></D:set></D:propertyupdate>")


def lockinfo(inner: str, attributes: str = 'xmlns:D="DAV:"') -> bytes:
    return HEAD + f"<D:lockinfo {attributes}>{inner}</D:lockinfo>".encode()


EXCLUSIVE = "<D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype>"


@pytest.mark.parametrize(
    "owner, text, xml",
    [
        (  # RFC 4918 section 9.10.7
            "<D:owner><D:href>http://example.org/~ejw/contact.html</D:href></D:owner>",
            "http://example.org/~ejw/contact.html",
            '<D:owner xmlns:D="DAV:"><D:href>http://example.org/~ejw/contact.html</D:href></D:owner>',
        ),
        (
            "<D:owner>\n <D:href>http://www.apple.com/webdav_fs/</D:href>\n</D:owner>",
            "http://www.apple.com/webdav_fs/",
            '<D:owner xmlns:D="DAV:">\n <D:href>http://www.apple.com/webdav_fs/</D:href>\n</D:owner>',
        ),
        ("<D:owner>DESKTOP\\ada</D:owner>", "DESKTOP\\ada", '<D:owner xmlns:D="DAV:">DESKTOP\\ada</D:owner>'),
        ("<D:owner/>", "", '<D:owner xmlns:D="DAV:"/>'),
        (
            "<D:owner xml:lang='de'><x:p xmlns:x='urn:x' x:y='1'>Ada &amp; Bob</x:p> &lt;a@b&gt;</D:owner>",
            "Ada & Bob <a@b>",
            '<D:owner xmlns:D="DAV:" xml:lang="de"><x:p xmlns:x="urn:x" x:y="1">Ada &amp; Bob</x:p> &lt;a@b&gt;</D:owner>',
        ),
        ("", "", None),
    ],
)
def test_the_owner_is_kept_whole(owner, text, xml):
    """RFC 4918 section 14.17: children, namespaces and language are preserved."""
    body = lockinfo(EXCLUSIVE + owner)
    assert parse_lockinfo(body) == LockInfo(LockScope.EXCLUSIVE, text, xml)
    assert parse_lockinfo(body) == LockInfo(LockScope.EXCLUSIVE, text, xml)


def test_a_shared_lock_is_asked_for():
    assert parse_lockinfo(lockinfo(EXCLUSIVE.replace("exclusive", "shared"))).scope is LockScope.SHARED


def test_the_owner_inherits_what_it_needs():
    info = parse_lockinfo(
        lockinfo(
            EXCLUSIVE + "<D:owner><p:x/><y/></D:owner>", 'xmlns:D="DAV:" xmlns:p="urn:p" xmlns="urn:d" xml:lang="fr"'
        )
    )
    assert info.owner_xml == '<D:owner xmlns:D="DAV:" xmlns:p="urn:p" xmlns="urn:d" xml:lang="fr"><p:x/><y/></D:owner>'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        lockinfo(""),
        lockinfo("<D:lockscope><D:exclusive/></D:lockscope>"),
        lockinfo("<D:locktype><D:write/></D:locktype>"),
        lockinfo(EXCLUSIVE.replace("exclusive", "both")),
        lockinfo(EXCLUSIVE.replace("write", "read")),
        lockinfo(EXCLUSIVE.replace("<D:exclusive/>", "<D:exclusive/><D:shared/>")),
        lockinfo(EXCLUSIVE + "<D:owner/><D:owner/>"),
        lockinfo(EXCLUSIVE.replace("D:exclusive", "exclusive")),
        lockinfo(EXCLUSIVE).replace(b"DAV:", b"dav"),
    ],
)
def test_lockinfo_refuses_what_is_not_one(body):
    with pytest.raises(XmlError):
        parse_lockinfo(body)


def test_a_long_owner_is_refused():
    with pytest.raises(XmlError, match="owner"):
        parse_lockinfo(lockinfo(f"{EXCLUSIVE}<D:owner>{'x' * MAX_OWNER_LENGTH}</D:owner>"))


def test_limits_that_are_not_the_default_count_for_small_bodies_too():
    body = lockinfo(EXCLUSIVE)
    parse_lockinfo(body)
    with pytest.raises(XmlTooLargeError):
        parse_lockinfo(body, XmlLimits(size_bytes=10))
    with pytest.raises(XmlTooLargeError):
        parse_propfind(b'<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>', XmlLimits(size_bytes=10))


def test_extended_mkcol_is_read():
    """RFC 5689 section 3.4."""
    body = HEAD + (
        b'<D:mkcol xmlns:D="DAV:" xmlns:E="http://example.com/ns/"><D:set><D:prop><D:resourcetype><D:collection/>'
        b"<E:special-resource/></D:resourcetype><D:displayname>Special Resource</D:displayname></D:prop></D:set></D:mkcol>"
    )
    assert parse_mkcol(body) == MkcolRequest(
        ((DAV, "collection"), ("http://example.com/ns/", "special-resource")),
        (
            PropertyChange(
                ChangeKind.SET,
                DAV,
                "displayname",
                '<D:displayname xmlns:D="DAV:">Special Resource</D:displayname>',
                "Special Resource",
            ),
        ),
    )


@pytest.mark.parametrize("body", [b"", b"xyz-foo", b'<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>'])
def test_mkcol_refuses_other_bodies(body):
    """litmus mkcol_with_body."""
    with pytest.raises(XmlError):
        parse_mkcol(body)


PARSERS = [parse_propfind, parse_proppatch, parse_lockinfo, parse_mkcol]
WORDS = ["propfind", "prop", "allprop", "include", "propertyupdate", "set", "remove", "lockinfo", "lockscope", "exclusive",
         "locktype", "write", "owner", "mkcol", "resourcetype", "x"]  # fmt: skip


@pytest.mark.parametrize("parse", PARSERS)
@given(
    tree=st.recursive(
        st.sampled_from(["", "text"]),
        lambda inner: st.builds(
            lambda tag, prefix, children: f"<{prefix}{tag}>{''.join(children)}</{prefix}{tag}>",
            st.sampled_from(WORDS),
            st.sampled_from(["D:", "D:", ""]),
            st.lists(inner, max_size=4),
        ),
        max_leaves=20,
    ),
    root=st.sampled_from(WORDS),
)
def test_any_mixture_of_elements_is_read_or_refused(parse, tree, root):
    with contextlib.suppress(XmlError):
        parse(f'<D:{root} xmlns:D="DAV:">{tree}</D:{root}>'.encode())


@pytest.mark.parametrize("parse", PARSERS)
@given(body=st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(parse, body):
    with contextlib.suppress(XmlError):
        parse(body)
