"""A status and its options become a Response: fields, body, and what goes wrong or slowly on the wire.

Owns: the order of these, and the fields that every simulated answer has. Must not know: how a request's options are read, or
which turn of a sequence it is; the caller says both.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec import UNSET

from holdfast.core.model import Depth, Face, LockScope
from holdfast.core.paths import ResourcePath
from holdfast.faces.simulator.bodies import choose_form, content_type, policy, render
from holdfast.faces.simulator.content import Content
from holdfast.faces.simulator.diagnosis import Diagnosis, LockSeen, Turn, see_request, see_status
from holdfast.faces.simulator.options import FIELD_PREFIX, BodyForm, Fault, Options
from holdfast.faces.simulator.required import (
    DEFAULT_RETRY_S,
    LANDING,
    interim_fields,
    partial_content,
    required_fields,
)
from holdfast.wire.davxml_write import Condition
from holdfast.wire.exchange import Request, Response
from holdfast.wire.locked import ContendingLock, Holder, LockedAnswer, headers_423
from holdfast.wire.problem import Representation
from holdfast.wire.scripts import Cut, Data, End, Framing, Head, Interim, MalformedChunk, Script, Step, Wait
from holdfast.wire.statuses import StatusInfo, status_info

__all__ = ["EXPOSED", "MARK", "Moment", "Real", "cross_origin_fields", "simulate"]

MARK: Final = "X-Simulated"
"""The field that tells a simulated answer from a real one: its value is the status that was simulated. What the simulator
says for itself, such as a refusal of an option, has none."""

EXPOSED: Final = (
    "Accept", "Accept-Patch", "Accept-Ranges", "Allow", "Content-Location", "Content-Range", "DAV", "Date", "ETag", "IM",
    "Link", "Location", "Lock-Token", "Preference-Applied", "Proxy-Authenticate", "Retry-After", "Upgrade", "Vary",
    "WWW-Authenticate", MARK,
)  # fmt: skip
"""The fields that a script of another site may read, beside those that it always may."""

_HELD_FOR: Final = timedelta(minutes=5)
_HOLDER: Final = Holder("ada", "Ada Lovelace", "LibreOffice/24.8")
_NOTE: Final = "This lock is simulated."
_OF_LOCKED: Final = frozenset({"Retry-After", "Link"})
_PIECES: Final = 16
_MISSING_BYTES: Final = 64


class Moment(msgspec.Struct, frozen=True):
    """Now, on the server's clock, and what shows it on the wall clock."""

    now: datetime
    wall_offset: timedelta

    @property
    def wall_now(self) -> datetime:
        """What the wall clock shows."""
        return self.now + self.wall_offset


class Real(msgspec.Struct, frozen=True):
    """A real lock in the place of an invented one: `locked` is what a 423 says of it, None once it is gone.

    `fields` are more fields of the answer; `is_shared`: scripts of other sites may read it.
    """

    seen: LockSeen
    locked: LockedAnswer | None
    fields: tuple[tuple[str, str], ...] = ()
    is_shared: bool = False


def cross_origin_fields(further: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """What lets scripts of any site read an answer, without anybody's credentials (Fetch Standard, CORS protocol)."""
    exposed = dict.fromkeys((*EXPOSED, *further))
    return [("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", ", ".join(exposed))]


def simulate(
    code: int,
    request: Request,
    body: bytes,
    options: Options,
    *,
    moment: Moment,
    turn: Turn | None = None,
    real: Real | None = None,
) -> Response:
    """Answer `request`, whose body is `body`, with `code`, from 100 to 599.

    An interim status comes before a final 200. 101 needs a request that names the protocol in Upgrade. With `real`, a 423
    tells of that lock.
    """
    info = status_info(code)
    final = 200 if info.is_interim else code
    form = choose_form(code, request.method, options.body, request.headers.get(b"accept"))
    if not (info.has_content or info.is_interim):
        form = BodyForm.NONE
    content, described = _content(info, final, request, body, form, options, moment, turn, real)
    fields = [
        *described,
        *([] if info.is_interim else _required(code, request, real)),
        ("Cache-Control", "no-store"),
        ("Vary", "Accept"),
        (MARK, _mark(code, turn, real)),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", policy(code, form)),
    ]
    if real is None or real.is_shared:
        fields += cross_origin_fields(tuple(name for name, _ in options.fields))
    if code == 101:
        fields.append(("Upgrade", protocol_of(request)))
    fields = _varied(_chosen(fields, options), request)
    interim = Interim(code, interim_fields(code)) if info.is_interim else None
    return _perform(Response(final, fields), content, options, interim)


def protocol_of(request: Request) -> str:
    """The first protocol that the request asks to switch to; empty where it asks for none (RFC 9110 section 7.8)."""
    options = (request.headers.get(b"connection") or "").lower().split(",")
    if not any(option.strip(" \t") == "upgrade" for option in options):
        return ""
    return (request.headers.get(b"upgrade") or "").split(",")[0].strip(" \t")


def _content(
    info: StatusInfo,
    final: int,
    request: Request,
    body: bytes,
    form: BodyForm,
    options: Options,
    moment: Moment,
    turn: Turn | None,
    real: Real | None,
) -> tuple[Content, list[tuple[str, str]]]:
    """The content, with the fields that describe it."""
    code = info.code
    diagnosis = Diagnosis(
        status=see_status(info),
        request=see_request(request, body, is_part=code == 206),
        answered=final if final != code else UNSET,
        sequence=UNSET if turn is None else turn,
        lock=UNSET if real is None else real.seen,
        link=LANDING if code in {201, 300, 301, 302, 303, 307, 308, 511} else UNSET,
    )
    locked = real.locked if real is not None and real.locked is not None else _locked(request, options, moment)
    content = Content(render(diagnosis, form, request, locked))
    media_type = content_type(form)
    fields = [] if media_type is None else [("Content-Type", media_type)]
    if media_type is not None and options.size is not None:
        content = content.filled(options.size)
    if code == 206:
        content, ranges = partial_content(request, content)
        fields += ranges
    return content, fields


def _locked(request: Request, options: Options, moment: Moment) -> LockedAnswer:
    """Who holds the simulated lock: it ends when Retry-After says that trying again helps."""
    asked = options.retry_after
    seconds = DEFAULT_RETRY_S if asked is None else asked.seconds
    resource = ResourcePath(request.target)
    lock = ContendingLock(
        id="simulated",
        root=resource,
        root_href=request.target,
        scope=LockScope.EXCLUSIVE,
        depth=Depth.ZERO,
        holder=_HOLDER,
        reason="",
        face=Face.WEBDAV,
        created_at=moment.now - _HELD_FOR,
        expires_at=None if seconds is None else moment.now + timedelta(seconds=max(1, seconds)),
    )
    condition = Condition.NO_CONFLICTING_LOCK if request.method == "LOCK" else Condition.LOCK_TOKEN_SUBMITTED
    return LockedAnswer(resource, (lock,), condition, moment.now, moment.wall_offset, _NOTE)


def _required(code: int, request: Request, real: Real | None) -> list[tuple[str, str]]:
    """What the status must carry; the fields of a 423 that a real lock stands behind are those of every real 423."""
    if real is None:
        return required_fields(code, request)
    if real.locked is None:
        return [*required_fields(code, request), *real.fields]
    told = headers_423(real.locked, Representation.JSON)
    return [*((name, value) for name, value in told if name in _OF_LOCKED), *real.fields]


def _mark(code: int, turn: Turn | None, real: Real | None) -> str:
    """An Item of RFC 8941: the status, with the sequence's key and turn, or the lock's key, as parameters."""
    if real is not None:
        return f'{code};lock="{real.seen.key}"'
    return str(code) if turn is None else f'{code};key="{turn.key}";turn={turn.turn}'


def _chosen(fields: list[tuple[str, str]], options: Options) -> list[tuple[str, str]]:
    """`fields` with those that the request chose in the place of, or beside, those that the answer would have had."""
    chosen = list(options.fields)
    left_out = set(options.omit) | {name.lower() for name, _ in chosen}
    if options.retry_after is not None:
        value = options.retry_after.value
        if value is None or "retry-after" not in left_out:
            left_out.add("retry-after")
            chosen += [] if value is None else [("Retry-After", value)]
    return [*(field for field in fields if field[0].lower() not in left_out), *chosen]


def _varied(fields: list[tuple[str, str]], request: Request) -> list[tuple[str, str]]:
    """`fields` with the X-Simulate-* fields of the request in Vary, whatever it chose or left out.

    Else a cache that was told to keep this answer would give it to those who sent none of them (RFC 9110 section 12.5.5).
    """
    used = sorted(name.decode("latin-1") for name in request.headers.fields if name.startswith(FIELD_PREFIX))
    if not used:
        return fields
    chosen = [value for name, value in fields if name.lower() == "vary" and value]
    others = [field for field in fields if field[0].lower() != "vary"]
    return [*others, ("Vary", ", ".join([*chosen, *(name.title() for name in used)]))]


def _perform(response: Response, content: Content, options: Options, interim: Interim | None) -> Response:
    """`response` with the content as it is; as a Script where time or a fault has a part in it."""
    is_plain = interim is None and options.fault is None and response.status not in {101, 408}
    if is_plain and not (options.delay_s or options.body_delay_s or options.dribble_s):
        response.body = content.text if not content.padding else list(content.pieces())
        return response
    steps: list[Step] = [] if interim is None else [interim]
    if options.delay_s:
        steps.append(Wait(options.delay_s))
    if options.fault is Fault.BEFORE_HEADERS:
        response.body = Script((*steps, Cut()))
        return response
    steps.append(Head(_framing(response, content, options.fault)))
    if options.body_delay_s:
        steps.append(Wait(options.body_delay_s))
    steps += _data(content, options)
    response.body = Script(tuple(steps))
    return response


def _framing(response: Response, content: Content, fault: Fault | None) -> Framing | int:
    if fault is Fault.MALFORMED_CHUNK:
        return Framing.CHUNKED
    if fault is Fault.WRONG_LENGTH:
        return content.length + _MISSING_BYTES
    if fault in {Fault.MID_BODY, Fault.AFTER_HEADERS}:
        return max(1, content.length)  # so that an empty body is missed, too
    if response.status == 408:
        return Framing.CLOSE  # the server gives the connection up (RFC 9110 section 15.5.9)
    return Framing.LENGTH


def _data(content: Content, options: Options) -> list[Step]:
    """The steps behind the head."""
    fault = options.fault
    if fault is Fault.AFTER_HEADERS:
        return [Cut()]
    cuts = fault in {Fault.MID_BODY, Fault.MALFORMED_CHUNK}
    pieces = content.pieces(_PIECES if options.dribble_s else 2 if cuts else 1)
    pause = options.dribble_s / max(1, len(pieces))
    sent = pieces[: len(pieces) // 2] if cuts else pieces
    steps: list[Step] = []
    for piece in sent:
        steps += [Wait(pause), Data(piece)] if pause else [Data(piece)]
    if fault is Fault.MID_BODY:
        return [*steps, Cut()]
    if fault is Fault.MALFORMED_CHUNK:
        return [*steps, MalformedChunk(b"".join(pieces[len(sent) :][:1])), End()]
    return [*steps, End()]
