"""SimulatorFace: `/api/status/{code}` answers any method with any status, as the request's options want it.

Owns: the addresses, who may ask, which turn of a sequence a request takes, and the refusals of the simulator itself.
Must not know: what a status carries or how a body reads; real locks, which a collaborator answers for.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from urllib.parse import unquote_plus

import msgspec

from holdfast.access.unknown import UnknownAnswer
from holdfast.clock import Clock
from holdfast.core.access import Principal, Role
from holdfast.core.paths import ROOT
from holdfast.faces.simulator.answer import Moment, cross_origin_fields, protocol_of, simulate
from holdfast.faces.simulator.bodies import BARE_POLICY, WEBDAV_METHODS, encode_json
from holdfast.faces.simulator.diagnosis import Turn, body_bytes
from holdfast.faces.simulator.lock_options import LOCK_OPTIONS
from holdfast.faces.simulator.options import (
    FIELD_PREFIX,
    OPTIONS,
    Caps,
    Draw,
    OptionError,
    Options,
    Sequence,
    parse_options,
    parse_pattern,
)
from holdfast.faces.simulator.sequences import SequenceState, SequenceStates
from holdfast.store.protocol import StoreError
from holdfast.wire.exchange import Request, Response
from holdfast.wire.problem_json import PROBLEM_CONTENT_TYPE, Problem
from holdfast.wire.statuses import FIRST_CODE, LAST_CODE, status_info

__all__ = ["LOCKS", "MOUNT", "RealLocks", "SimulatorFace", "SimulatorLimits", "own_fields", "refusal", "say"]

MOUNT: Final = "/api/status"
"""Where the face is mounted."""

_BELOW: Final = f"{MOUNT}/"
_SEQUENCES: Final = f"{MOUNT}/sequences"
LOCKS: Final = f"{MOUNT}/locks"
"""Where real locks are looked at and managed, each at its key below."""

_KEPT: Final = frozenset({"seq", "seed", "lock"})
"""The options whose answer depends on what is kept: on a state, or a lock."""
_KEPT_FIELDS: Final = tuple(FIELD_PREFIX + name.encode() for name in sorted(_KEPT))

_READS: Final = frozenset({"GET", "HEAD"})
_CODES: Final = f"a code of three digits, from {FIRST_CODE} to {LAST_CODE}"
_BITS: Final = 53
_RANDOM: Final = random.SystemRandom()

_PREFLIGHT: Final = (
    *cross_origin_fields(),
    ("Access-Control-Allow-Methods", ", ".join(
        ("*", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", *sorted(WEBDAV_METHODS))
    )),
    ("Access-Control-Allow-Headers", ", ".join(
        (
            "*", "Authorization", "Content-Type", "Depth", "Destination", "Idempotency-Key", "If", "If-Match",
            "If-None-Match", "Lock-Token", "Overwrite", "Prefer", "Range", "Timeout",
            *(f"X-Simulate-{'-'.join(word.capitalize() for word in name.split('_'))}" for name in (*OPTIONS, *LOCK_OPTIONS)),
        )
    )),
    ("Access-Control-Max-Age", "600"),
    ("Cache-Control", "no-store"),
)  # fmt: skip
"""The answer to a browser that asks whether a script may: never simulated, or no simulated answer could be had at all."""


class SimulatorLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one request may ask for: seconds of delay, bytes of an answer, bytes of its own body."""

    delay_s: float = 30.0
    size_bytes: int = 10 * 1024 * 1024
    body_bytes: int = 1024 * 1024


class RealLocks(Protocol):
    """What answers a request with `lock=KEY`: a 423 that a real lock stands behind. Safe from any thread; blocks briefly."""

    @property
    def options(self) -> Mapping[str, str]:
        """Its options by name, `lock` among them, each with what it takes; their values come in `Options.further`."""
        ...

    def answer(self, code: int, request: Request, principal: Principal, options: Options, body: bytes) -> Response:
        """Answer a request with any of its options. Raises OptionError, or StoreError."""
        ...

    def manage(self, request: Request, principal: Principal, key: str | None) -> Response:
        """Answer for `/api/status/locks`, or for `key`, what follows behind it. Raises OptionError, or StoreError."""
        ...


class _Listed(msgspec.Struct, frozen=True):
    """The state of a sequence as it is shown; `next` is the status of the next request, None where it cannot be told."""

    key: str
    pattern: str
    turns: int
    next: int | None
    url: str


class _OptionsProblem(Problem, frozen=True, kw_only=True):
    """A Problem that lists what is allowed."""

    allowed: dict[str, str]


class SimulatorFace:
    """Satisfies `wire.exchange.Face`. Safe from any thread."""

    def __init__(
        self,
        states: SequenceStates,
        *,
        limits: SimulatorLimits,
        clock: Clock,
        unknown: Callable[[Request], UnknownAnswer],
        locks: RealLocks | None = None,
    ) -> None:
        """`unknown` tells what is answered to a request without a principal; `locks` answers those with `lock=`."""
        self._states = states
        self._limits = limits
        self._caps = Caps(delay_s=limits.delay_s, size_bytes=limits.size_bytes)
        self._clock = clock
        self._unknown = unknown
        self._locks = locks
        further: Mapping[str, str] = {} if locks is None else locks.options
        self._options = {**OPTIONS, **further}
        self._further = frozenset(further)

    def admit(self, head: Request) -> Response | None:
        """Refuse a body that is too large, or of unknown size from somebody who may not write, before it comes."""
        if is_preflight(head):
            return None
        if head.principal is None:
            return self._unauthorized(head)
        if b"transfer-encoding" in head.headers:
            if head.principal.role_at(ROOT) < Role.WRITER:
                return refusal(411, "Say in Content-Length how long the body is; only writers may leave that open.")
            return None
        length = head.headers.get(b"content-length") or "0"
        if length.isdecimal() and len(length) < 15 and int(length) <= self._limits.body_bytes:
            return None
        return self._too_large()

    def is_brief(self, request: Request) -> bool:
        """True where neither a state nor a lock is asked."""
        return not (
            request.target.startswith((_SEQUENCES, LOCKS))
            or any(name in request.headers for name in _KEPT_FIELDS)
            # Names as they will be read: any letter of one may be escaped.
            or any(unquote_plus(pair.partition("=")[0]) in _KEPT for pair in request.query.split("&"))
        )

    def __call__(self, request: Request) -> Response:
        """Answer; every refusal is a response."""
        try:
            return self._answer(request)
        except OptionError as error:
            return self._refuse_option(str(error))
        except StoreError:
            return refusal(503, "The state of this cannot be kept at the moment.", ("Retry-After", "1"))
        finally:
            if not isinstance(request.body, bytes):
                request.body.discard()

    def _answer(self, request: Request) -> Response:
        if is_preflight(request):
            return Response(204, list(_PREFLIGHT))
        principal = request.principal
        if principal is None:
            return self._unauthorized(request)
        target = request.target
        if target == MOUNT:
            return self._explain(request)
        part, slash, key = target.removeprefix(_BELOW).partition("/")
        if part == "sequences" and not (slash and not key):
            return self._manage(request, principal.name, key or None)
        if part == "locks" and self._locks is not None and not (slash and not key):
            return self._locks.manage(request, principal, key or None)
        if slash or not (part.isascii() and part.isdigit()):
            return refusal(404, f"There is nothing at this address; {_BELOW} takes {_CODES}.")
        code = int(part) if len(part) == 3 else 0
        if not FIRST_CODE <= code <= LAST_CODE:
            return refusal(400, f"What is simulated is {_CODES}.")
        return self._simulate(code, request, principal)

    def _simulate(self, code: int, request: Request, principal: Principal) -> Response:
        moment = Moment(self._clock.now(), self._clock.wall_offset())
        options = parse_options(
            request.query, request.headers, self._caps, wall_now=moment.wall_now, further=self._further
        )
        body = body_bytes(request, self._limits.body_bytes)
        if body is None:
            return self._too_large()
        if self._locks is not None and options.further:
            return self._locks.answer(code, request, principal, options, body)
        # Before any delay: a request that comes while this one is delayed takes the next turn.
        code, turn = self._take_turn(code, options, principal.name)
        if code == 101 and not protocol_of(request):
            raise OptionError("101 is the answer to a request that names a protocol in Upgrade; this one names none.")
        return simulate(code, request, body, options, moment=moment, turn=turn)

    def _take_turn(self, code: int, options: Options, owner: str) -> tuple[int, Turn | None]:
        pattern = options.pattern
        if pattern is None:
            return code, None
        if isinstance(pattern, Draw) and pattern.seed is None:
            return pattern.code_at(_RANDOM.random()), None
        # Without a key each pattern has a state of its own, so that two do not disturb each other.
        key = options.key or f"auto-{hashlib.sha256(pattern.text.encode()).hexdigest()[:12]}"
        number = self._states.take_turn(owner, key, pattern.text)
        return code_of(pattern, number), Turn(key, pattern.text, number + 1, f"{_SEQUENCES}/{key}")

    def _manage(self, request: Request, owner: str, key: str | None) -> Response:
        """Look at the states of sequences, or begin them anew."""
        if request.method == "DELETE":
            if not self._states.forget(owner, key) and key is not None:
                return refusal(404, "There is no sequence of this key.")
            return Response(204, own_fields())
        if request.method not in _READS:
            detail = "The state of a sequence can be read (GET) and begun anew (DELETE)."
            return refusal(405, detail, ("Allow", "DELETE, GET, HEAD"))
        listed = [_listed(state) for state in self._states.find(owner, key)]
        if key is None:
            return say({"sequences": listed})
        return say(listed[0]) if listed else refusal(404, "There is no sequence of this key.")

    def _explain(self, request: Request) -> Response:
        """What there is: for whoever asks at the address above the codes."""
        if request.method not in _READS:
            return refusal(405, "Here it is only told what can be simulated.", ("Allow", "GET, HEAD"))
        return say({
            "simulate": f"{_BELOW}{{code}}",
            "code": _CODES,
            "methods": "any",
            "options": self._options,
            "sequences": _SEQUENCES,
            **({} if self._locks is None else {"locks": LOCKS}),
            "page": "/simulator",
        })  # fmt: skip

    def _unauthorized(self, request: Request) -> Response:
        answer = self._unknown(request)
        return refusal(answer.status, answer.detail, *answer.headers)

    def _too_large(self) -> Response:
        return refusal(413, f"The simulator reads bodies of up to {self._limits.body_bytes} bytes.")

    def _refuse_option(self, detail: str) -> Response:
        problem = _OptionsProblem(title="Bad Request", status=400, detail=detail, allowed=self._options)
        return Response(400, [("Content-Type", PROBLEM_CONTENT_TYPE), *own_fields()], encode_json(problem))


def is_preflight(request: Request) -> bool:
    """True for what a browser asks before it lets a script of another site send a request (Fetch Standard)."""
    fields = request.headers
    return request.method == "OPTIONS" and b"origin" in fields and b"access-control-request-method" in fields


def code_of(pattern: Sequence | Draw, number: int) -> int:
    """The status of request `number`, from 0, of what has a state."""
    if isinstance(pattern, Sequence):
        return pattern.code_at(number)
    drawn = hashlib.sha256(f"{pattern.seed} {number}".encode()).digest()
    return pattern.code_at((int.from_bytes(drawn[:8]) >> (64 - _BITS)) / (1 << _BITS))


def refusal(status: int, detail: str, *fields: tuple[str, str]) -> Response:
    """What the simulator says for itself, as problem details: it has no X-Simulated field."""
    problem = Problem(title=status_info(status).phrase, status=status, detail=detail)
    return Response(status, [("Content-Type", PROBLEM_CONTENT_TYPE), *fields, *own_fields()], encode_json(problem))


def say(value: object, status: int = 200, *fields: tuple[str, str]) -> Response:
    """What the simulator tells, as JSON."""
    return Response(status, [("Content-Type", "application/json"), *fields, *own_fields()], encode_json(value))


def own_fields() -> list[tuple[str, str]]:
    """The fields of all that the simulator says for itself."""
    return [
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", BARE_POLICY),
        *cross_origin_fields(),
    ]


def _listed(state: SequenceState) -> _Listed:
    try:
        following = code_of(parse_pattern(state.pattern), state.turns)
    except OptionError:
        following = None  # one state that cannot be read hides no other
    return _Listed(state.key, state.pattern, state.turns, following, f"{_SEQUENCES}/{state.key}")
