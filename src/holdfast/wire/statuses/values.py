"""The values that describe a status code, and short spellings for the tables.

Owns: the closed sets and the StatusInfo struct. Must not know: any particular code.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

__all__ = [
    "RFC2518",
    "RFC3229",
    "RFC4918",
    "RFC5842",
    "RFC6585",
    "RFC7725",
    "RFC8297",
    "RFC8470",
    "RFC9110",
    "RFC9112",
    "Content",
    "Document",
    "Registration",
    "Requirement",
    "Retry",
    "RetryAdvice",
    "Source",
    "StatusClass",
    "StatusField",
    "StatusInfo",
    "may",
    "must",
    "should",
]


class StatusClass(enum.Enum):
    """The first digit's meaning (RFC 9110 section 15); the value is the word for people."""

    INFORMATIONAL = "informational"
    SUCCESSFUL = "successful"
    REDIRECTION = "redirection"
    CLIENT_ERROR = "client error"
    SERVER_ERROR = "server error"

    @classmethod
    def of(cls, code: int) -> StatusClass:
        """The class of a code from 100 to 599."""
        return _CLASSES[code // 100 - 1]


_CLASSES: Final = tuple(StatusClass)


class Registration(enum.Enum):
    """How a code stands in IANA's HTTP Status Code Registry."""

    REGISTERED = "registered"
    TEMPORARY = "temporary"
    """For a document that is not an RFC yet."""
    RESERVED = "reserved"
    """Listed as unused, and never to be given a meaning."""
    UNASSIGNED = "unassigned"


class Requirement(enum.Enum):
    """How strongly something is asked for (RFC 2119); the value is its word."""

    MUST = "must"
    SHOULD = "should"
    MAY = "may"


class RetryAdvice(enum.Enum):
    """What sending again can do."""

    NONE = "none"
    """Nothing failed: there is nothing to repeat."""
    FOLLOW = "follow"
    """Send the next request to the address that the answer names."""
    LATER = "later"
    """The same request can succeed later, and was not carried out: it may be repeated whatever its method."""
    LATER_IF_IDEMPOTENT = "later-if-idempotent"
    """The same request can succeed later, but may have been carried out: repeat it only where twice is as good as once."""
    CHANGED = "changed"
    """The same request fails again; one that differs in what the answer complains of can succeed."""
    NEVER = "never"
    """Neither waiting nor another request of this kind helps."""


class Document(msgspec.Struct, frozen=True):
    """A specification: its name for people and its address."""

    name: str
    url: str

    def at(self, section: str) -> Source:
        """A section of it."""
        return Source(self.name, section, f"{self.url}#section-{section}")


class Source(msgspec.Struct, frozen=True):
    """Where something is laid down. `section` is empty where the whole document is meant."""

    document: str
    section: str
    link: str

    def __str__(self) -> str:
        """Such as `RFC 9110 section 15.5.6`."""
        return f"{self.document} section {self.section}" if self.section else self.document


class Retry(msgspec.Struct, frozen=True):
    """Whether to send again, and how, in a sentence for people."""

    advice: RetryAdvice
    sentence: str

    @property
    def is_worth_repeating(self) -> bool:
        """True where the very same request can succeed later."""
        return self.advice in {RetryAdvice.LATER, RetryAdvice.LATER_IF_IDEMPOTENT}


class StatusField(msgspec.Struct, frozen=True):
    """A field that a response with this status carries. `when` says on which condition; empty: always."""

    name: str
    requirement: Requirement
    source: Source
    when: str = ""
    purpose: str = ""


class Content(msgspec.Struct, frozen=True):
    """What the body of a response with this status is asked to hold."""

    requirement: Requirement
    sentence: str
    source: Source


class StatusInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a code. `phrase` is IANA's description; that of a code without one says so.

    `is_heuristically_cacheable`: a cache may keep it without being told for how long (RFC 9110 section 15.1).
    `is_storable` is False where the code's specification forbids every cache to store it, or no cache could.
    """

    code: int
    phrase: str
    registration: Registration
    source: Source
    meaning: str
    retry: Retry
    fields: tuple[StatusField, ...] = ()
    content: Content | None = None
    is_heuristically_cacheable: bool = False
    is_storable: bool = True

    @property
    def status_class(self) -> StatusClass:
        """What the first digit says."""
        return StatusClass.of(self.code)

    @property
    def is_registered(self) -> bool:
        """True where the registry gives it a meaning, for good or for the time being."""
        return self.registration in {Registration.REGISTERED, Registration.TEMPORARY}

    @property
    def has_content(self) -> bool:
        """False where a response with this status never has a body (RFC 9110 sections 6.4.1 and 15.3.6)."""
        return self.code >= 200 and self.code not in {204, 205, 304}

    @property
    def is_interim(self) -> bool:
        """True where another answer to the same request follows; 101 ends the talk in HTTP, and is none."""
        return self.code < 200 and self.code != 101


def _rfc(number: int) -> Document:
    return Document(f"RFC {number}", f"https://www.rfc-editor.org/rfc/rfc{number}.html")


RFC2518: Final = _rfc(2518)
RFC3229: Final = _rfc(3229)
RFC4918: Final = _rfc(4918)
RFC5842: Final = _rfc(5842)
RFC6585: Final = _rfc(6585)
RFC7725: Final = _rfc(7725)
RFC8297: Final = _rfc(8297)
RFC8470: Final = _rfc(8470)
RFC9110: Final = _rfc(9110)
RFC9112: Final = _rfc(9112)


def must(name: str, source: Source, purpose: str, *, when: str = "") -> StatusField:
    """A field without which the answer is wrong, where `when` holds."""
    return StatusField(name, Requirement.MUST, source, when, purpose)


def should(name: str, source: Source, purpose: str, *, when: str = "") -> StatusField:
    """A field that is left out only for a good reason."""
    return StatusField(name, Requirement.SHOULD, source, when, purpose)


def may(name: str, source: Source, purpose: str, *, when: str = "") -> StatusField:
    """A field that has a meaning with this status, and helps."""
    return StatusField(name, Requirement.MAY, source, when, purpose)
