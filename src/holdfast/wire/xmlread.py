"""Reading XML that a stranger sent: bytes -> Element, under limits that hold while it is parsed.

Owns: refusal of DTDs, size, depth and element caps, and re-serialising a part so that it stands alone.
Must not know: WebDAV's vocabulary (see `davxml`).

Theory of operation: the body is brought to UTF-8 first, so a look at the bytes finds a DOCTYPE before
any parser has seen it; without one there are no entities to expand and nothing to fetch. Parsing is
expat's, not lxml's: libxml2 as lxml uses it keeps every element name that it has ever seen for the life
of the thread, so a stranger who sends new names fills the memory (300 MiB of names, 300 MiB kept).
Nothing here recurses: the tree is built, and written again, with a list as the stack.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from xml.parsers import expat

import msgspec

__all__ = [
    "DEFAULT_LIMITS",
    "NOTHING",
    "Element",
    "Inherited",
    "XmlError",
    "XmlLimits",
    "XmlTooLargeError",
    "parse_xml",
    "self_contained",
]

_SEPARATOR: Final = "\x01"  # not a character of XML, so no namespace name can hold it
_LANG: Final = "xml:lang"


class XmlError(ValueError):
    """The XML cannot be read, or is not what the request needs; the text says why, for the 400 answer."""


class XmlTooLargeError(XmlError):
    """The XML is longer than allowed, for a 413 answer."""


class XmlLimits(msgspec.Struct, frozen=True):
    """How much XML is read: bytes, elements within each other, and elements, attributes and declarations in all."""

    size_bytes: int = 1024 * 1024
    depth: int = 64
    nodes: int = 20_000


DEFAULT_LIMITS: Final = XmlLimits()


class Element:
    """One element: its expanded name, its name as written, what it declares and what it holds.

    `attributes` are (name as written, value); `declarations` are (prefix, namespace), the default
    namespace having the prefix "". `content` holds text and elements in document order.
    """

    __slots__ = ("attributes", "content", "declarations", "name", "namespace", "tag")

    def __init__(
        self,
        namespace: str,
        name: str,
        tag: str,
        attributes: Sequence[tuple[str, str]] = (),
        declarations: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Begin an element without content."""
        self.namespace = namespace
        self.name = name
        self.tag = tag
        self.attributes = attributes
        self.declarations = declarations
        self.content: list[Element | str] = []

    def elements(self) -> list[Element]:
        """The child elements, in order."""
        return [child for child in self.content if not isinstance(child, str)]

    def text(self) -> str:
        """All character data in it and below, in document order."""
        found: list[str] = []
        todo: list[Element | str] = [self]
        while todo:
            item = todo.pop()
            if isinstance(item, str):
                found.append(item)
            else:
                todo.extend(reversed(item.content))
        return "".join(found)

    def language(self) -> str | None:
        """The value of its own xml:lang."""
        return next((value for name, value in self.attributes if name == _LANG), None)


_DECLARED_ENCODING: Final = re.compile(rb"<\?xml[^>]{0,200}?\sencoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_UTF8: Final = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})
_LATIN1: Final = frozenset({b"iso-8859-1", b"latin1", b"latin-1"})
# Before the root element there may be white space, processing instructions and comments; atomic groups
# and possessive loops keep the search linear in the text.
_DOCTYPE: Final = re.compile(rb"(?>\s++|<\?(?>.*?\?>)|<!--(?>.*?-->))*+<!DOCTYPE", re.DOTALL)


def parse_xml(body: bytes, limits: XmlLimits = DEFAULT_LIMITS) -> Element:
    """Parse one document and return its root element.

    UTF-8 and UTF-16 are read, as RFC 4918 section 8.2 requires, and ISO-8859-1 where declared. Raises
    XmlTooLargeError for too many bytes, XmlError for a DTD, too many or too deep elements, another
    encoding, and whatever is not well-formed, undeclared prefixes included.
    """
    if len(body) > limits.size_bytes:
        msg = f"the XML is longer than {limits.size_bytes} bytes"
        raise XmlTooLargeError(msg)
    text = _as_utf8(body)
    if b"<!DOCTYPE" in text and _DOCTYPE.match(text):
        msg = "the XML has a document type declaration (DOCTYPE), which is not accepted"
        raise XmlError(msg)
    builder = _Builder(limits)
    parser = expat.ParserCreate("utf-8", _SEPARATOR)
    parser.namespace_prefixes = True
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    parser.StartNamespaceDeclHandler = builder.declare
    parser.StartDoctypeDeclHandler = builder.doctype
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        msg = f"the XML is not well-formed: {expat.ErrorString(error.code)}, line {error.lineno}"
        raise XmlError(msg) from None
    return builder.document.elements()[0]


class Inherited(msgspec.Struct, frozen=True):
    """What an element takes from those around it: namespaces by prefix, the nearest layer first, and xml:lang.

    Layers are shared, not merged: a document may declare thousands of prefixes around thousands of elements.
    """

    layers: tuple[dict[str, str], ...] = ()
    language: str | None = None

    def inside(self, element: Element) -> Inherited:
        """What the children of `element` inherit, where this is what it inherits itself."""
        own = element.language()
        layers = (dict(element.declarations), *self.layers) if element.declarations else self.layers
        return Inherited(layers, self.language if own is None else own)

    def namespace(self, prefix: str) -> str | None:
        """The namespace that a prefix ("" is the default one) stands for; None where it is not declared."""
        return next((layer[prefix] for layer in self.layers if prefix in layer), None)


NOTHING: Final = Inherited()
"""What a root element inherits."""


def self_contained(element: Element, around: Inherited) -> str:
    """Write an element so that it means the same anywhere: with the namespaces and xml:lang that it inherits.

    A prefix that appears only in values (`xs:string`) is declared as well (RFC 4918 section 4.3).
    Comments and processing instructions are gone. Takes time by the element's size, not by how much is declared.
    """
    own = {prefix for prefix, _ in element.declarations}
    written = _write(element)
    extra: list[str] = []
    for prefix in sorted(set(_PREFIX.findall(written)) - own):
        namespace = around.namespace(prefix)
        if namespace is not None:
            extra.append(_declaration(prefix, namespace))
    default = None if "" in own else around.namespace("")
    if default:
        extra.append(_declaration("", default))
    if around.language is not None and element.language() is None:
        extra.append(f' {_LANG}="{_in_attribute(around.language)}"')
    if not extra:
        return written
    head = 1 + len(element.tag)
    return written[:head] + "".join(extra) + written[head:]


class _Builder:
    """Expat's handlers. The document is a nameless element that will hold the root."""

    __slots__ = ("_declared", "_left", "_levels", "_stack", "document")

    def __init__(self, limits: XmlLimits) -> None:
        self.document = Element("", "", "")
        self._stack = [self.document]
        self._levels = limits.depth
        self._left = limits.nodes
        self._declared: list[tuple[str, str]] = []

    def declare(self, prefix: str | None, namespace: str | None) -> None:
        self._declared.append((prefix or "", namespace or ""))

    def start(self, name: str, pairs: list[str]) -> None:
        stack = self._stack
        if len(stack) > self._levels:
            msg = f"the XML has more than {self._levels} elements within each other"
            raise XmlError(msg)
        declared = self._declared
        self._left -= 1 + len(pairs) // 2 + len(declared)
        if self._left < 0:
            msg = "the XML has too many elements"
            raise XmlError(msg)
        namespace, local, tag = _split(name)
        attributes = [(_split(pairs[i])[2], pairs[i + 1]) for i in range(0, len(pairs), 2)] if pairs else ()
        if declared:
            self._declared = []
        element = Element(namespace, local, tag, attributes, declared or ())
        stack[-1].content.append(element)
        stack.append(element)

    def end(self, _name: str) -> None:
        self._stack.pop()

    def characters(self, data: str) -> None:
        self._stack[-1].content.append(data)

    def doctype(self, *_: object) -> None:
        msg = "the XML has a document type declaration (DOCTYPE), which is not accepted"
        raise XmlError(msg)


def _split(name: str) -> tuple[str, str, str]:
    """Expat's name, `namespace SEP local [SEP prefix]` or `local`, as namespace, local name and name as written."""
    return _split_short(name) if len(name) <= 128 else _split_any(name)


def _split_any(name: str) -> tuple[str, str, str]:
    parts = name.split(_SEPARATOR)
    if len(parts) == 3:
        return parts[0], parts[1], f"{parts[2]}:{parts[1]}"
    return (parts[0], parts[1], parts[1]) if len(parts) == 2 else ("", name, name)


_split_short: Final = lru_cache(maxsize=1024)(_split_any)


def _as_utf8(body: bytes) -> bytes:
    """The document in UTF-8, whatever it declares; expat is told to ignore the declaration."""
    head = body[:4]
    encoding = ""
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        encoding = "utf-16"
    elif head[:2] == b"<\x00":
        encoding = "utf-16-le"
    elif head[:2] == b"\x00<":
        encoding = "utf-16-be"
    elif head[:3] == b"\xef\xbb\xbf":
        body = body[3:]
    if not encoding:
        declared = _DECLARED_ENCODING.match(body) if head == b"<?xm" else None
        if declared is None or declared[1].lower() in _UTF8:
            return body
        if declared[1].lower() not in _LATIN1:
            msg = "the XML must be in UTF-8 or UTF-16"
            raise XmlError(msg)
        encoding = "latin-1"
    try:
        return body.decode(encoding).encode("utf-8")
    except UnicodeError:
        msg = "the XML is not in the encoding that it claims"
        raise XmlError(msg) from None


# A run of what may be in a name (all but ASCII's other characters) before a colon. The look behind lets a
# run be tried from its start only, so the search is linear in the text.
_RUN: Final = r"[^\x00-,/:-@\[-^`{-\x7f]"
_PREFIX: Final = re.compile(rf"(?<!{_RUN})({_RUN}++):")
_TEXT_MARKUP: Final = re.compile("[&<>\r]")
_ATTRIBUTE_MARKUP: Final = re.compile('[&<>"\t\n\r]')
_REFERENCES: Final = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "\t": "&#9;",
    "\n": "&#10;",
    "\r": "&#13;",
}


def _reference(match: re.Match[str]) -> str:
    return _REFERENCES[match[0]]


def _in_attribute(value: str) -> str:
    return _ATTRIBUTE_MARKUP.sub(_reference, value)


def _declaration(prefix: str, namespace: str) -> str:
    return f' xmlns:{prefix}="{_in_attribute(namespace)}"' if prefix else f' xmlns="{_in_attribute(namespace)}"'


def _write(element: Element) -> str:
    out: list[str] = []
    todo: list[Element | str | tuple[str]] = [element]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            out.append(_TEXT_MARKUP.sub(_reference, item))
        elif isinstance(item, tuple):
            out.append(item[0])
        else:
            declarations = "".join([_declaration(prefix, namespace) for prefix, namespace in item.declarations])
            attributes = "".join([f' {name}="{_in_attribute(value)}"' for name, value in item.attributes])
            out.append(f"<{item.tag}{declarations}{attributes}{'>' if item.content else '/>'}")
            if item.content:
                todo.append((f"</{item.tag}>",))
                todo.extend(reversed(item.content))
    return "".join(out)
