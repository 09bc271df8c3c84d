"""Request targets and framing fields, checked before anybody acts on them (RFC 9112 sections 3 and 6).

Owns: splitting a target into path and query, and the refusals for what two layers could read in two
ways. Must not know: resources; the path is handed on as it was sent.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.wire.exchange import Headers

__all__ = ["BadRequestError", "body_length_of", "check_host", "split_target"]


class BadRequestError(Exception):
    """The request cannot be understood; the text is for the client."""

    def __init__(self, status: int, detail: str) -> None:
        """Answer `status`."""
        super().__init__(detail)
        self.status = status


def split_target(method: str, url: bytes) -> tuple[str, str]:
    """The raw path and the query of a request target, in origin, absolute or asterisk form (RFC 9112 3.2).

    Raises BadRequestError for bytes outside ASCII, a fragment, and any other form.
    """
    try:
        text = url.decode("ascii")
    except UnicodeDecodeError:
        detail = "The request target holds bytes outside ASCII; they must be percent-encoded."
        raise BadRequestError(400, detail) from None
    # The Windows client has been seen to leave a lone '#' at the end; any other is no request target at all.
    text = text.removesuffix("#")
    if "#" in text:
        raise BadRequestError(400, "The request target holds a fragment.")
    if text[:1] != "/":
        text = _without_authority(method, text)
    path, _, query = text.partition("?")
    return path, query


def _without_authority(method: str, text: str) -> str:
    if text == "*" and method == "OPTIONS":
        return text
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() in {"http", "https"} and method != "CONNECT":
        slash, mark = rest.find("/"), rest.find("?")
        if rest[:1] in {"", "/", "?"}:
            raise BadRequestError(400, "The request target names no host.")
        if mark != -1 and (slash == -1 or mark < slash):
            return "/" + rest[mark:]
        return rest[slash:] if slash != -1 else "/"
    if method == "CONNECT":
        raise BadRequestError(501, "This is no proxy; CONNECT is not served.")
    raise BadRequestError(400, "The request target is not a path.")


def check_host(host: bytes | None, is_own_host: Callable[[bytes], bool] | None = None) -> None:
    """Raise BadRequestError unless an HTTP/1.1 request has exactly one Host (RFC 9112 3.2), of this server (RFC 9110 7.4)."""
    if host is None:
        raise BadRequestError(400, "The Host field is missing.")
    if b"," in host:
        raise BadRequestError(400, "There is more than one Host field.")
    if is_own_host is not None and not is_own_host(host):
        detail = (
            "This server has no users, so it answers only to localhost, to its address and to names that it was given "
            "(--host-name): another name may be a web page's, reaching for this machine."
        )
        raise BadRequestError(421, detail)


def body_length_of(headers: Headers) -> int | None:
    """The body's length in bytes; None when it is chunked. The parser has refused contradictions."""
    if b"transfer-encoding" in headers.fields:
        return None
    text = headers.fields.get(b"content-length")
    if text is None:
        return 0
    try:
        return int(text)
    except ValueError:
        raise BadRequestError(400, "The Content-Length is not one number.") from None
