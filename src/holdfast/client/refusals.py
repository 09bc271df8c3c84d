"""What can go wrong between a client and its server, apart from a lock that is in the way.

Owns: UnreachableError and RefusedError. Must not know: HTTP libraries, or what was asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.client.errors import ClientError
from holdfast.wire.problem_json import Problem

if TYPE_CHECKING:
    from holdfast.client.exchange import ClientResponse

__all__ = ["RefusedError", "UnreachableError", "refusal", "retry_seconds"]


class UnreachableError(ClientError):
    """No answer came: the connection was refused, cut, or took too long. Its cause is the HTTP library's error.

    `was_sent` is false where the request surely did not reach the server.

    >>> str(UnreachableError("http://127.0.0.1:4230/", "connection refused"))
    'http://127.0.0.1:4230/ gave no answer: connection refused'
    """

    def __init__(self, url: str, why: str, *, was_sent: bool = True) -> None:
        """`why` goes on after a colon."""
        super().__init__(url, why)
        self.url = url
        self.why = why
        self.was_sent = was_sent

    def __str__(self) -> str:
        return f"{self.url} gave no answer: {self.why}"


class RefusedError(ClientError):
    """The server answered, and refused: `status` says how, `detail` is its own sentence.

    >>> str(RefusedError(403, "You may not lock /orders; it needs the writer role."))
    '403: You may not lock /orders; it needs the writer role.'
    """

    def __init__(self, status: int, detail: str) -> None:
        """What the answer says."""
        super().__init__(status, detail)
        self.status = status
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}"


def refusal(response: ClientResponse) -> RefusedError:
    """The error that a refusal becomes; with the sentence of its problem details where it has any (RFC 9457)."""
    if 300 <= response.status < 400:
        # A redirect is not followed: what goes with the request is meant for this server.
        return RefusedError(response.status, f"{response.url} is at {response.headers.get('location', 'another URL')}")
    try:
        problem = msgspec.json.decode(response.body, type=Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        kind = response.headers.get("content-type", "")
        said = response.body[:300].decode("utf-8", "replace").strip() if kind.startswith("text/plain") else ""
        return RefusedError(response.status, said or f"{response.method} {response.url} was refused")
    return RefusedError(response.status, problem.detail or problem.title)


def retry_seconds(response: ClientResponse) -> float:
    """The Retry-After of an answer in seconds; 0 where it has none, or a date."""
    text = response.headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0.0
