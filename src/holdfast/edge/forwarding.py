"""What passes a guard: the fields of requests and responses on their way through (RFC 9110 sections 7.6, RFC 9112 section 6).

Owns: which fields end here, which the guard writes itself, and the framing that the application is told. Pure. Must not know:
connections, locks. No field that says where a message ends is ever passed on: the guard's own parser has read it, and
what goes out is framed anew.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from holdfast.wire.exchange import Request

__all__ = [
    "BadFieldsError",
    "ForwardingRules",
    "connection_options",
    "new_pseudonym",
    "request_fields",
    "response_fields",
]

Pairs = list[tuple[bytes, bytes]]

_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields for one connection alone (RFC 9110 section 7.6.1); Proxy-* are for a proxy that the client chose, which this is not.

Proxy is none at all: CGI makes HTTP_PROXY of it, which many libraries obey (CVE-2016-5385 and its kin)."""

_NEVER_OPTIONS: Final = frozenset({b"host", b"content-length", b"authorization", b"cookie", b"if", b"lock-token"})
"""What a Connection field may not take from a request: an application that misses it would take another request for it."""

_WRITTEN: Final = frozenset(
    {
        b"content-length",
        b"forwarded",
        b"host",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
    }
)

_OTHER_TARGETS: Final = frozenset({b"x-original-method", b"x-original-uri", b"x-original-url", b"x-rewrite-url"})
"""Some frameworks answer for the path in these in the place of the request's, whose locks were asked. Nobody may send them."""

_TOLD_BY_PROXIES: Final = b"x-forwarded-"
"""How all fields begin that a trusted proxy alone may send; X-Real-IP is one more."""


class BadFieldsError(ValueError):
    """The request may not go on; the text is for the client."""

    def __init__(self, status: int, detail: str) -> None:
        """Answer `status`."""
        super().__init__(detail)
        self.status = status


def new_pseudonym() -> bytes:
    """A name for a guard that nobody else has."""
    return b"holdfast-" + os.urandom(4).hex().encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardingRules:
    """How requests go on. `host` replaces the Host field, where it is not empty.

    `user_field` (lower case) names the person, and is believed from `trusted` peers alone, as X-Forwarded-* and Forwarded are.
    `pseudonym` is this guard's name in Via, by which it knows its own requests.
    """

    host: bytes = b""
    user_field: bytes = b""
    trusted: frozenset[str] = frozenset({"127.0.0.1", "::1"})
    pseudonym: bytes = field(default_factory=new_pseudonym)

    def trusts(self, client: str) -> bool:
        """Whether the peer at the address `client` is a proxy whose word counts; so is whoever uses a Unix socket."""
        return not client or client in self.trusted or client.removeprefix("::ffff:") in self.trusted


def connection_options(fields: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """The fields that a Connection field names, lower case (RFC 9110 section 7.6.1)."""
    options: set[bytes] = set()
    for name, value in fields:
        if name.lower() == b"connection":
            options.update(option.strip().lower() for option in value.split(b","))
    return frozenset(options)


def request_fields(
    request: Request,
    fields: Sequence[tuple[bytes, bytes]],
    rules: ForwardingRules,
    *,
    length: int | None,
    authority: bytes,
) -> Pairs:
    """The fields that the application gets; `length` of the body in bytes, None for chunked.

    `authority` is the Host of a request that has none, as HTTP/1.0's may.

    Raises BadFieldsError for what cannot be passed on, or has been here before.
    """
    dropped = _HOP_BY_HOP | (connection_options(fields) - _NEVER_OPTIONS)
    trusted = rules.trusts(request.client)
    own = _WRITTEN | {rules.user_field} if rules.user_field else _WRITTEN
    passed: Pairs = []
    cookies: list[bytes] = []
    sent: dict[bytes, bytes] = {}
    for name, value in fields:
        if name in own:
            sent[name] = sent[name] + b", " + value if name in sent else value
        elif name in dropped or not _may_be_sent(name, own, trusted=trusted):
            continue
        elif name == b"cookie":
            cookies.append(value)
        else:
            passed.append((name, value))
    if cookies:
        passed.append((b"cookie", b"; ".join(cookies)))
    if rules.pseudonym in sent.get(b"via", b""):
        raise BadFieldsError(508, "This request has been here before: the guard's upstream leads back to the guard.")
    if rules.user_field in sent and trusted:
        passed.append((rules.user_field, sent[rules.user_field]))
    passed.extend(_told(request, sent if trusted else {}, sent.get(b"host", b"")))
    via = b"1.1 " + rules.pseudonym
    passed.append((b"via", sent[b"via"] + b", " + via if b"via" in sent else via))
    head = [(b"host", rules.host or sent.get(b"host", authority))]
    return head + passed + _framing(request, sent, length)


def _may_be_sent(name: bytes, own: frozenset[bytes], *, trusted: bool) -> bool:
    """False for what would pass for the guard's own word, or a trusted proxy's."""
    spelt = name.replace(b"_", b"-")  # CGI's names have no hyphens, so an application would take the one for the other
    if spelt in _OTHER_TARGETS or (spelt != name and spelt in own):
        return False
    tells = spelt.startswith(_TOLD_BY_PROXIES) or spelt == b"x-real-ip"
    return not tells or (trusted and spelt == name)


def _framing(request: Request, sent: dict[bytes, bytes], length: int | None) -> Pairs:
    coding = request.headers.get(b"transfer-encoding")
    if coding is not None:
        if b"content-length" in sent:
            raise BadFieldsError(400, "A request has a Content-Length or a Transfer-Encoding, not both.")
        if coding.strip().lower() != "chunked":
            raise BadFieldsError(501, "The only transfer coding that is understood here is chunked.")
    if length is None:
        return [(b"transfer-encoding", b"chunked")]
    return [(b"content-length", b"%d" % length)] if b"content-length" in sent else []


def _told(request: Request, believed: dict[bytes, bytes], host: bytes) -> Pairs:
    """Who asked whom, as X-Forwarded-* and Forwarded (RFC 7239); what a trusted proxy told before stays in front."""
    client = request.client.encode("latin-1")
    scheme = request.scheme.encode("latin-1")
    earlier = believed.get(b"x-forwarded-for")
    told = [
        (b"x-forwarded-for", earlier + b", " + client if earlier else client),
        (b"x-forwarded-host", believed.get(b"x-forwarded-host", host)),
        (b"x-forwarded-proto", believed.get(b"x-forwarded-proto", scheme)),
    ]
    element = b"for=%b;host=%b;proto=%b" % (_node(request.client), _quoted(host), scheme)
    before = believed.get(b"forwarded")
    told.append((b"forwarded", before + b", " + element if before else element))
    return [(name, value) for name, value in told if value]


def _node(client: str) -> bytes:
    """An address as RFC 7239 section 6 has it."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return b"unknown"
    return f'"[{address}]"'.encode() if address.version == 6 else str(address).encode()


def _quoted(text: bytes) -> bytes:
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def response_fields(
    fields: Iterable[tuple[bytes, bytes]], rules: ForwardingRules
) -> tuple[list[tuple[str, str]], int | None]:
    """The fields that the client gets, in their order, and the Content-Length, which is framed anew; None without one.

    Beside a Transfer-Encoding it counts for nothing (RFC 9112 section 6.3), and whoever read on by it would take what is left for
    another answer.
    """
    pairs = list(fields)
    is_coded = any(name.lower() == b"transfer-encoding" for name, _ in pairs)
    dropped = _HOP_BY_HOP | connection_options(pairs) | {b"content-length"}
    length: int | None = None
    passed: list[tuple[str, str]] = []
    for name, value in pairs:
        lower = name.lower()
        if lower == b"content-length":
            length = None if is_coded else int(value)
        elif lower not in dropped:
            passed.append((name.decode("latin-1"), value.decode("latin-1")))
    passed.append(("via", f"1.1 {rules.pseudonym.decode('latin-1')}"))
    return passed, length
