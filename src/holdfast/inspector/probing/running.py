"""Running probes against a server, and leaving it as it was.

Owns: the survey before the first probe, the order, the waiting side by side, the time that there is, and taking away what was made. Must
not know: any probe, or how a report is shown.

Theory of operation: requests go out one at a time, for a server that answers several at once by accidents would otherwise be blamed for
what no probe asks. Probes that let seconds pass wait on threads of their own while the others run, so that their waits cost the run
only the longest of them.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final

import msgspec

from holdfast.inspector.notes import Level, rfc
from holdfast.inspector.probing import catalogue
from holdfast.inspector.probing.probe import (
    PROBES,
    Need,
    NotApplicableError,
    Probe,
    ProbeResult,
    UndecidedError,
    Verdict,
)
from holdfast.inspector.probing.report import ServerReport
from holdfast.inspector.probing.room import Room
from holdfast.inspector.probing.session import NOBODY, Pace, Principal, RealPace, Session, StoppedError
from holdfast.inspector.probing.wire import HttpTransport, Transport

__all__ = ["DEFAULT_LIMIT_S", "OnResult", "UnusableServerError", "chosen", "run_probes"]

DEFAULT_LIMIT_S: Final = 120.0

OnResult = Callable[[ProbeResult, int, int], None]
"""Is told of each result, how many there are by now, and how many there will be; from several threads, one at a time."""


class UnusableServerError(Exception):
    """Nothing can be asked of the server; the text says why."""


class Survey(msgspec.Struct, kw_only=True):
    """What was learnt before the first probe; `unmet` are needs, each with its reason."""

    server: str = ""
    classes: str = ""
    second: Principal | None = None
    unmet: dict[Need, str] = msgspec.field(default_factory=dict[Need, str])
    notes: list[str] = msgspec.field(default_factory=list[str])


def chosen(only: Collection[str] = (), skip: Collection[str] = ()) -> list[Probe]:
    """The probes of these ids, all of them without any, less those to skip. Raises KeyError for an id that is none."""
    for probe_id in (*only, *skip):
        if probe_id not in PROBES:
            raise KeyError(probe_id)
    return [one for one in PROBES.values() if (not only or one.id in only) and one.id not in skip]


def run_probes(
    url: str,
    principals: Sequence[Principal] = (),
    *,
    probes: Sequence[Probe] | None = None,
    limit_s: float = DEFAULT_LIMIT_S,
    on_result: OnResult | None = None,
    on_leftover: Callable[[str], None] | None = None,
    transport: Transport | None = None,
    pace: Pace | None = None,
) -> ServerReport:
    """Run the probes (all of them by default) below `url`, within `limit_s` seconds, and clean up.

    `on_leftover` is told what could not be taken away again. Raises UnusableServerError where no probe can even begin.
    KeyboardInterrupt passes through, after the cleaning.
    """
    assert catalogue  # its import fills the table
    session = Session(url, transport or HttpTransport(url), pace or RealPace(), limit_s)
    first = principals[0] if principals else NOBODY
    second = principals[1] if len(principals) > 1 else None
    run = _Run(session, first, second, list(PROBES.values()) if probes is None else list(probes), on_result)
    try:
        return run.report(url)
    finally:
        if on_leftover is not None:
            for sentence in run.leftovers:
                on_leftover(sentence)
        session.transport.release()


class _Run:
    """One run."""

    def __init__(
        self,
        session: Session,
        first: Principal,
        second: Principal | None,
        probes: list[Probe],
        on_result: OnResult | None,
    ) -> None:
        self.session = session
        self.first = first
        self.second = second
        self.probes = probes
        self.on_result = on_result
        self.results: dict[str, ProbeResult] = {}
        self.top = f"{session.base}holdfast-probe-{secrets.token_hex(4)}/"
        self.survey = Survey(second=second)
        self.leftovers: list[str] = []

    def report(self, url: str) -> ServerReport:
        """Survey, run, clean."""
        started_at, began = datetime.now(UTC), self.session.pace.now()
        hall = Room(self.session, _NO_PROBE, self.top, self.first, self.second)
        try:
            self._survey(hall)
            self._run_all()
        finally:
            self.session.stopping.set()
            self.leftovers = self._leave(hall)
        return ServerReport(
            url=url,
            server=self.survey.server,
            classes=self.survey.classes,
            principals=tuple(one.name for one in (self.first, self.survey.second) if one is not None and one.name),
            started_at=started_at,
            seconds=round(self.session.pace.now() - began, 2),
            results=tuple(self.results[one.id] for one in self.probes if one.id in self.results),
            notes=(*self.survey.notes, *self._left_out()),
            leftovers=tuple(self.leftovers),
        )

    def _left_out(self) -> Generator[str]:
        """What takes two principals, in a sentence, where there are not two."""
        reason = self.survey.unmet.get(Need.SECOND)
        found = sum(result.reason == reason for result in self.results.values())
        if found:
            yield f"{found} probe{'s were' if found > 1 else ' was'} left out: {reason}."

    # -- before ------------------------------------------------------------------------------------------------------

    def _survey(self, hall: Room) -> None:
        """Make the folder, and learn what the server can do at all. Raises UnusableServerError."""
        found = self.survey
        try:
            options = hall.creator.send("OPTIONS", self.session.base)
            made = hall.creator.mkcol(self.top)
            if made.status != 201:
                msg = f"no collection can be made at {self.top}: MKCOL was answered {made.status}{_hint(made.status)}"
                raise UnusableServerError(msg)
            found.server = made.field("server") or options.field("server")
            found.classes = options.field("dav")
            document = hall.document()
            for need, scope in ((Need.LOCKS, "exclusive"), (Need.SHARED, "shared")):
                reply = hall.creator.lock(document, scope)
                if reply.status in {200, 201} and reply.token:
                    if need is Need.LOCKS and not hall.creator.propfind(document).locks:
                        found.unmet[Need.DISCOVERY] = "the server's lockdiscovery shows no locks"
                    hall.creator.unlock(document, reply.token)
                else:
                    found.unmet[need] = f"the server grants no {need.value}: LOCK was answered {reply.status}"
            self._survey_principals(hall)
        except UndecidedError as error:
            raise UnusableServerError(str(error)) from error

    def _survey_principals(self, hall: Room) -> None:
        found = self.survey
        if self.first.name and hall.nobody.put(hall.path("nobody.txt")).took_effect:
            found.unmet[Need.LOGIN] = "the server lets everybody write, and asks nobody who he is"
        elif not self.first.name:
            found.unmet[Need.LOGIN] = "no credentials were given"
        if self.second is None or self.second.name == self.first.name:
            found.second = None
            times = "a second time" if self.first.name else "twice"
            found.unmet[Need.SECOND] = f"two principals are needed (give --user NAME:PASSWORD {times})"
        elif Need.LOGIN in found.unmet:
            found.unmet[Need.SECOND] = found.unmet[Need.LOGIN]
        else:
            reply = hall.other.put(hall.path("second.txt"))
            if not reply.took_effect:
                found.second = None
                found.unmet[Need.SECOND] = f"{self.second.name} cannot write here: PUT was answered {reply.status}"

    # -- meanwhile -----------------------------------------------------------------------------------------------------

    def _run_all(self) -> None:
        waiting = [one for one in self.probes if one.waits]
        others = sorted((one for one in self.probes if not one.waits), key=lambda one: one.is_rough)
        gentle = [one for one in others if not one.is_rough]
        if not self.session.pace.is_shared:
            for one in (*waiting, *others):
                self._keep(self._run_one(one))
            return
        with self._alongside(waiting) as futures:
            for one in gentle:
                self._keep(self._run_one(one))
            for future in futures:
                self._keep(future.result())
        for one in others[len(gentle) :]:
            self._keep(self._run_one(one))

    @contextlib.contextmanager
    def _alongside(self, waiting: Sequence[Probe]) -> Generator[list[Future[ProbeResult]]]:
        """Run those that wait on threads; where the block is left early they are stopped, and leave as little behind."""
        with ThreadPoolExecutor(max(len(waiting), 1), "holdfast-probe") as pool:
            try:
                yield [pool.submit(self._run_apart, one) for one in waiting]
            except BaseException:
                self.session.stopping.set()
                raise

    def _run_apart(self, one: Probe) -> ProbeResult:
        try:
            return self._run_one(one)
        finally:
            self.session.transport.release()

    def _run_one(self, one: Probe) -> ProbeResult:
        missing = next((self.survey.unmet[need] for need in one.needs if need in self.survey.unmet), None)
        if missing is not None:
            return ProbeResult(id=one.id, verdict=Verdict.NOT_APPLICABLE, reason=missing)
        began = self.session.pace.now()
        room = Room(self.session, one, f"{self.top}{one.id}/", self.first, self.survey.second)
        verdict, reason = Verdict.PASSED, ""
        try:
            room.open()
            one.function(room)
        except NotApplicableError as error:
            verdict, reason = Verdict.NOT_APPLICABLE, str(error)
        except UndecidedError as error:
            verdict, reason = Verdict.ERROR, str(error)
        finally:
            if room.requests:
                room.clean()
        if room.findings:
            verdict, reason = Verdict.FAILED, reason if verdict is Verdict.ERROR else ""
        return ProbeResult(
            id=one.id,
            verdict=verdict,
            findings=tuple(dict.fromkeys(room.findings)),
            reason=reason,
            seconds=round(self.session.pace.now() - began, 3),
            requests=room.requests,
        )

    def _keep(self, result: ProbeResult) -> None:
        self.results[result.id] = result
        if self.on_result is not None:
            self.on_result(result, len(self.results), len(self.probes))

    # -- after -------------------------------------------------------------------------------------------------------

    def _leave(self, hall: Room) -> list[str]:
        """Take everything away, and look whether that is so; what is left."""
        hall.clean()
        try:
            status = hall.creator.propfind(self.top, "resourcetype").status
        except (StoppedError, UndecidedError) as error:
            return [f"{self.top} may still be there ({error})"]
        return [] if status in {404, 410} else [f"{self.top} is still there: PROPFIND was answered {status}"]


def _nothing(room: Room) -> None:
    """What the room of the survey probes."""


_NO_PROBE: Final = Probe(
    id="survey",
    title="What the server can do",
    why="",
    level=Level.INFO,
    source=rfc(4918),
    needs=(),
    waits=False,
    is_rough=False,
    function=_nothing,
)


def _hint(status: int) -> str:
    if status == 401:
        return " (name and password are wrong, or were not given; Basic is what is sent)"
    if status == 403:
        return " (this principal may not write there)"
    if status in {405, 501}:
        return " (is this a WebDAV server, and the URL that of a collection?)"
    if status == 409:
        return " (the collection of the URL itself is not there)"
    return ""
