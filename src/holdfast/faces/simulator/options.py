"""What a request asks of the simulator: delays, fields, size, faults, sequences; by query or by X-Simulate-* fields.

Owns: the table of options, reading and bounding their values, and the sentence for each that cannot be. Must not
know: statuses, bodies, state. No value is ever repeated in a refusal, so nothing can be reflected by one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from holdfast.faces.simulator.fields import FieldError, check_field, check_name
from holdfast.wire.exchange import Headers
from holdfast.wire.rfc9110 import parse_http_date, render_http_date

__all__ = [
    "FIELD_PREFIX",
    "OPTIONS",
    "BodyForm",
    "Caps",
    "Draw",
    "Fault",
    "OptionError",
    "Options",
    "RetryAfter",
    "Sequence",
    "parse_options",
    "parse_pattern",
]

FIELD_PREFIX: Final = b"x-simulate-"
"""What the name of a request field begins with that holds an option."""

OPTIONS: Final[Mapping[str, str]] = {
    "delay": "wait so long before the head: 2, 2s, 500ms",
    "body_delay": "wait so long between head and body",
    "dribble": "send the body in pieces over so long a time",
    "retry_after": "the Retry-After field: seconds, `date:` and seconds, an HTTP date, or none",
    "header": "`Name: value`, one more field of the answer, or in the place of the one it would have; may be repeated",
    "omit": "the name of a field to leave out, as WWW-Authenticate of a 401; may be repeated",
    "body": "json, problem, xml, html, text or none, in the place of what Accept asks for",
    "size": "bytes of the body, which is filled up with spaces to this size",
    "fault": "before-headers, after-headers, mid-body, malformed-chunk or wrong-length",
    "seq": "statuses one after the other, the last for ever: 423x2,200",
    "random": "statuses by chance, with their weights: 423:0.3,200:0.7",
    "seed": "makes random the same each time: a word of letters, digits, `.`, `_`, `~`, `-`",
    "key": "the name of the state of seq, or of random with a seed: a word as for seed",
}
"""Each option and what it takes, for refusals and documents."""

_REPEATABLE: Final = frozenset({"header", "omit"})
_MOST_OPTIONS: Final = 64
_MOST_STEPS: Final = 100
_LONGEST_RUN: Final = 10_000
_LONGEST_RETRY_S: Final = 366 * 86_400
_LONGEST_VALUE: Final = 4096

_SPAN: Final = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,6})?)(ms|s|m)?")
_IN_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}
_WORD: Final = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_STEP: Final = re.compile(r"([1-5][0-9]{2})(?:x([0-9]{1,5}))?")
_CHANCE: Final = re.compile(r"([1-5][0-9]{2}):([0-9]{1,6}(?:\.[0-9]{1,6})?)")
_SECONDS: Final = re.compile(r"(date:)?([0-9]{1,9})")
_OPTION_NAME: Final = re.compile(r"[a-z][a-z_]{0,31}")


class OptionError(ValueError):
    """An option that is not known, or a value that it cannot have; the text is a sentence for the client."""


class BodyForm(StrEnum):
    """The forms of the body."""

    JSON = "json"
    PROBLEM = "problem"
    XML = "xml"
    HTML = "html"
    TEXT = "text"
    NONE = "none"


class Fault(StrEnum):
    """What goes wrong on the wire."""

    BEFORE_HEADERS = "before-headers"
    """The connection is reset with no answer at all."""
    AFTER_HEADERS = "after-headers"
    """It is reset behind the head."""
    MID_BODY = "mid-body"
    """It is reset within the body."""
    MALFORMED_CHUNK = "malformed-chunk"
    """The body is chunked, and one chunk has no size."""
    WRONG_LENGTH = "wrong-length"
    """Content-Length says more than comes; then the connection is closed."""


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """What the options may ask for at most: all delays of one answer together, in seconds; bytes of a body."""

    delay_s: float
    size_bytes: int


class RetryAfter(msgspec.Struct, frozen=True):
    """A Retry-After field that was asked for: `seconds` from now, None for no such field; `date`: the instant to be said instead."""

    seconds: int | None
    date: datetime | None = None

    @property
    def value(self) -> str | None:
        """The field's value; None where there is to be none."""
        if self.date is not None:
            return render_http_date(self.date)
        return None if self.seconds is None else str(self.seconds)


class Sequence(msgspec.Struct, frozen=True):
    """Statuses in order, each for some requests; the last for ever. `text` is how it is written shortest."""

    steps: tuple[tuple[int, int], ...]

    @property
    def text(self) -> str:
        """As in `423x2,200`."""
        return ",".join(f"{code}x{times}" if times > 1 else str(code) for code, times in self.steps)

    @property
    def length(self) -> int:
        """Requests until it has come to its last answer, which then stays."""
        return sum(times for _, times in self.steps)

    def code_at(self, number: int) -> int:
        """The status of request `number`, from 0."""
        for code, times in self.steps:
            if number < times:
                return code
            number -= times
        return self.steps[-1][0]


class Draw(msgspec.Struct, frozen=True):
    """Statuses by chance; the weights need not add up to 1."""

    chances: tuple[tuple[int, float], ...]
    seed: str | None = None

    @property
    def text(self) -> str:
        """As in `423:0.3,200:0.7`, with the seed behind a semicolon; read again, it is the same Draw."""
        said = ",".join(f"{code}:{_decimal(weight)}" for code, weight in self.chances)
        return said if self.seed is None else f"{said};{self.seed}"

    def code_at(self, fraction: float) -> int:
        """The status that `fraction`, from 0 to below 1, falls on."""
        left = fraction * math.fsum(weight for _, weight in self.chances)
        for code, weight in self.chances:
            if left < weight:
                return code
            left -= weight
        return next(code for code, weight in reversed(self.chances) if weight)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """All that was asked for. Spans are in seconds; `fields` have the names as they are to be sent.

    `further` holds the options of others, by name, not looked at.
    """

    delay_s: float = 0.0
    body_delay_s: float = 0.0
    dribble_s: float = 0.0
    retry_after: RetryAfter | None = None
    fields: tuple[tuple[str, str], ...] = ()
    omit: frozenset[str] = frozenset()
    body: BodyForm | None = None
    size: int | None = None
    fault: Fault | None = None
    pattern: Sequence | Draw | None = None
    key: str | None = None
    further: dict[str, str] = {}

    @property
    def needs_state(self) -> bool:
        """True where the answer depends on the requests before it."""
        return isinstance(self.pattern, Sequence) or (isinstance(self.pattern, Draw) and self.pattern.seed is not None)


def parse_options(
    query: str, headers: Headers, caps: Caps, *, wall_now: datetime, further: frozenset[str] = frozenset()
) -> Options:
    """Read the options of a request; those named `further` are kept for others. Raises OptionError."""
    single: dict[str, str] = {}
    fields: list[tuple[str, str]] = []
    omit: list[str] = []
    asked = list(_from_query(query))
    in_query = {name for name, _ in asked}
    asked += [(name, value) for name, value in _from_fields(headers) if name in _REPEATABLE or name not in in_query]
    for name, value in asked:
        if name not in OPTIONS and name not in further:
            said = f"called {name}" if _OPTION_NAME.fullmatch(name) else "of that name"
            raise OptionError(f"There is no option {said}.")
        if len(value) > _LONGEST_VALUE:
            raise OptionError(f"The option {name} has more than {_LONGEST_VALUE} characters.")
        if name == "header":
            fields.append(_field(value))
        elif name == "omit":
            omit.append(_omitted(value))
        elif name in single:
            raise OptionError(f"The option {name} is there more than once.")
        else:
            single[name] = value
    options = Options(
        delay_s=_span(single, "delay", caps),
        body_delay_s=_span(single, "body_delay", caps),
        dribble_s=_span(single, "dribble", caps),
        retry_after=_retry_after(single.get("retry_after"), wall_now),
        fields=tuple(fields),
        omit=frozenset(omit),
        body=_body_form(single.get("body")),
        size=_size(single.get("size"), caps),
        fault=_fault(single.get("fault")),
        pattern=_pattern(single),
        key=_word("key", single.get("key")),
        further={name: value for name, value in single.items() if name in further},
    )
    _check_together(options, caps)
    return options


def parse_pattern(text: str) -> Sequence | Draw:
    """Read the `text` of a Sequence or a Draw again. Raises OptionError."""
    if ":" not in text:
        return _sequence(text)
    chances, _, seed = text.partition(";")
    return Draw(_draw(chances).chances, seed or None)


def _check_together(options: Options, caps: Caps) -> None:
    if options.delay_s + options.body_delay_s + options.dribble_s > caps.delay_s:
        raise OptionError(f"delay, body_delay and dribble together are more than {caps.delay_s:g} s.")
    if options.size is not None and options.body is BodyForm.NONE:
        raise OptionError("There cannot be both a size and no body.")
    is_kept = options.needs_state or "lock" in options.further
    if options.key is not None and not is_kept:
        raise OptionError("A key goes with seq, or with random and a seed; nothing else has a state.")


def _from_query(query: str) -> Iterator[tuple[str, str]]:
    if not query:
        return
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_OPTIONS)
    except UnicodeDecodeError:
        raise OptionError("The query is not UTF-8.") from None
    except ValueError:
        raise OptionError(f"There are more than {_MOST_OPTIONS} options.") from None
    yield from pairs


def _from_fields(headers: Headers) -> Iterator[tuple[str, str]]:
    """Options in fields: `X-Simulate-Delay: 2s`, and `X-Simulate-Header-NAME: value` for one field of the answer."""
    for raw in headers.fields:
        if not raw.startswith(FIELD_PREFIX):
            continue
        name = raw[len(FIELD_PREFIX) :].decode("latin-1")
        value = (headers.get(raw) or "").strip(" \t")
        if name.startswith("header-"):
            written = "-".join(word.capitalize() for word in name.removeprefix("header-").split("-"))
            yield "header", f"{written}: {value}"
        else:
            yield name.replace("-", "_"), value


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise OptionError("The option header is written `Name: value`.")
    value = value.strip(" \t")
    try:
        check_field(name, value)
    except FieldError as error:
        raise OptionError(str(error)) from None
    return name, value


def _omitted(text: str) -> str:
    try:
        check_name(text)
    except FieldError as error:
        raise OptionError(str(error)) from None
    return text.lower()


def _span(single: Mapping[str, str], name: str, caps: Caps) -> float:
    text = single.get(name)
    if text is None:
        return 0.0
    match = _SPAN.fullmatch(text)
    if match is None:
        raise OptionError(f"The option {name} is a span of time such as 2, 2s or 500ms.")
    seconds = float(match[1]) * _IN_SECONDS[match[2] or "s"]
    if seconds > caps.delay_s:
        raise OptionError(f"The option {name} is {caps.delay_s:g} s at most.")
    return seconds


def _retry_after(text: str | None, wall_now: datetime) -> RetryAfter | None:
    if text is None:
        return None
    if text == "none":
        return RetryAfter(None)
    match = _SECONDS.fullmatch(text)
    if match is not None:
        seconds = int(match[2])
        date = wall_now + timedelta(seconds=min(seconds, _LONGEST_RETRY_S)) if match[1] else None
    else:
        date = parse_http_date(text)
        if date is None:
            raise OptionError(
                "The option retry_after is a number of seconds, `date:` and a number of seconds, an HTTP date, or none."
            )
        seconds = math.ceil((date - wall_now).total_seconds())
    if abs(seconds) > _LONGEST_RETRY_S:
        raise OptionError("The option retry_after lies within a year of now.")
    return RetryAfter(seconds, date)


def _body_form(text: str | None) -> BodyForm | None:
    if text is None:
        return None
    try:
        return BodyForm(text)
    except ValueError:
        raise OptionError(f"The option body is {_either(BodyForm)}.") from None


def _fault(text: str | None) -> Fault | None:
    if text is None:
        return None
    try:
        return Fault(text)
    except ValueError:
        raise OptionError(f"The option fault is {_either(Fault)}.") from None


def _either(known: type[StrEnum]) -> str:
    words = [member.value for member in known]
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _size(text: str | None, caps: Caps) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 15 or int(text) > caps.size_bytes:
        raise OptionError(f"The option size is a number of bytes from 0 to {caps.size_bytes}.")
    return int(text)


def _word(name: str, text: str | None) -> str | None:
    if text is None:
        return None
    if _WORD.fullmatch(text) is None:
        raise OptionError(f"The option {name} is 1 to 64 letters, digits and `.`, `_`, `~`, `-`.")
    return text


def _pattern(single: Mapping[str, str]) -> Sequence | Draw | None:
    seed = _word("seed", single.get("seed"))
    if "seq" in single and "random" in single:
        raise OptionError("An answer is either one of a seq or random, not both.")
    if seed is not None and "random" not in single:
        raise OptionError("A seed goes with random.")
    if "seq" in single:
        return _sequence(single["seq"])
    if "random" in single:
        return Draw(_draw(single["random"]).chances, seed)
    return None


def _sequence(text: str) -> Sequence:
    steps: list[tuple[int, int]] = []
    for item in text.split(","):
        match = _STEP.fullmatch(item)
        times = int(match[2] or 1) if match else 0
        if match is None or not 1 <= times <= _LONGEST_RUN or len(steps) == _MOST_STEPS:
            raise OptionError(
                f"The option seq is up to {_MOST_STEPS} statuses from 100 to 599, each with how often it comes "
                f"(1 to {_LONGEST_RUN}): 423x2,200."
            )
        steps.append((int(match[1]), times))
    return Sequence(tuple(steps))


def _draw(text: str) -> Draw:
    chances: list[tuple[int, float]] = []
    for item in text.split(","):
        match = _CHANCE.fullmatch(item)
        if match is None or len(chances) == _MOST_STEPS:
            raise _no_draw()
        chances.append((int(match[1]), float(match[2])))
    if not any(weight for _, weight in chances):
        raise _no_draw()
    return Draw(tuple(chances))


def _decimal(weight: float) -> str:
    """A weight as it can be read again: no exponent, and all six places that it may have."""
    return f"{weight:.6f}".rstrip("0").rstrip(".")


def _no_draw() -> OptionError:
    return OptionError(
        f"The option random is up to {_MOST_STEPS} statuses from 100 to 599, each with its weight, and one weight "
        "at least is not 0: 423:0.3,200:0.7."
    )
