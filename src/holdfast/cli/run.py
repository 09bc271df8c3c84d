"""`holdfast run`: a command under a lock, and never two of them at once.

Owns: the flags, the order of events, what people are told, and the exit codes, which are those of flock(1) as far as it has them. Must not
know: how a lock is got or kept, nor how a command is ended: that is `running`'s, and docs/run.md says why it holds.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from types import FrameType
from typing import Annotated, Any, Final

from cyclopts import Parameter

from holdfast.cli.credentials import UserFlag
from holdfast.cli.http_library import new_client
from holdfast.cli.run_terms import Terms, checked_terms, unusable
from holdfast.cli.terminal import CommandError, warn
from holdfast.client.errors import ClientError, LockedError, LockLostError, LostReason
from holdfast.client.held import Held
from holdfast.client.refusals import RefusedError
from holdfast.running.command import Order, ignored_signals
from holdfast.running.hearing import Bell
from holdfast.running.messages import Cause, Ended, Link
from holdfast.running.supervision import CannotExecuteError, supervise
from holdfast.running.terminal import Terminal
from holdfast.running.waiting import Asker
from holdfast.running.watchdog import fork_watchdog
from holdfast.wire.sentences import clean

__all__ = ["CONFLICT", "LOST", "NOT_ALLOWED", "UNAVAILABLE", "UNGUARDED", "USAGE", "run"]

CONFLICT: Final = 1
"""The lock was not to be had, with --nonblock or within --wait; --conflict-exit-code chooses another. As flock(1)."""

USAGE: Final = 64
"""What was typed cannot be (EX_USAGE of sysexits.h, as flock(1))."""

UNAVAILABLE: Final = 69
"""The server cannot be reached, or cannot serve (EX_UNAVAILABLE)."""

UNGUARDED: Final = 70
"""The watchdog was killed, and the command with it (EX_SOFTWARE)."""

LOST: Final = 75
"""The lock was lost while the command ran (EX_TEMPFAIL)."""

NOT_ALLOWED: Final = 77
"""The server does not know who asks, or does not let them (EX_NOPERM)."""

_ENDS_A_WAIT: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_SHOWN_EACH_S: Final = 2.0
_TOLD_EACH_S: Final = 50.0
_LAPSES: Final = frozenset(
    {LostReason.EXPIRED, LostReason.SUSPENDED, LostReason.UNREACHABLE, LostReason.KEEPALIVE_DIED}
)


def run(
    name: Annotated[
        str, Parameter(help="What to lock: a path on the server, such as /jobs/backup; a bare word is below /jobs.")
    ],
    /,
    *command: Annotated[str, Parameter(help="The command and its arguments, behind --.", allow_leading_hyphen=True)],
    server: Annotated[
        str | None, Parameter(help="The server's URL. Default: HOLDFAST_URL, else http://127.0.0.1:4230.")
    ] = None,
    wait: Annotated[
        str | None,
        Parameter(name=("--wait", "-w"), help="How long to wait for the lock: 90, 10m, 1h; default: for ever."),
    ] = None,
    nonblock: Annotated[
        bool,
        Parameter(name=("--nonblock", "-n"), help="Do not wait at all.", negative="", show_default=False),
    ] = False,
    shared: Annotated[
        bool,
        Parameter(name=("--shared", "-s"), help="Beside others that are shared.", negative="", show_default=False),
    ] = False,
    ttl: Annotated[
        str, Parameter(help="How soon the lock ends by itself where nothing refreshes it: seconds, or 10m, 1h.")
    ] = "30",
    kill_after: Annotated[
        str | None,
        Parameter(
            help="How long after TERM what is left is killed, if the lock is lost. Default: 5, or a quarter of --ttl."
        ),
    ] = None,
    reason: Annotated[
        str, Parameter(help="Why; who finds it locked reads it. Default: the command's name.", show_default=False)
    ] = "",
    conflict_exit_code: Annotated[
        int, Parameter(name=("--conflict-exit-code", "-E"), help="The exit code where the lock is not to be had.")
    ] = CONFLICT,
    user: UserFlag = None,
    verbose: Annotated[
        bool, Parameter(help="Tell what happens, also where nobody watches.", negative="", show_default=False)
    ] = False,
) -> int:
    """Run a command under a lock: never two at once, on however many machines.

    The lock is refreshed while the command runs, and released when it has ended.
    If the lock is lost, the command is ended with everything that it started, and
    before anybody else can have the lock. It finds HOLDFAST_RESOURCE,
    HOLDFAST_LOCK_ID and HOLDFAST_FENCING_TOKEN in its environment.

    Exit codes: the command's own (128 and the signal's number where it was killed);
    1 the lock was not to be had (as flock); 64 a mistake; 69 the server cannot be
    reached; 75 the lock was lost; 77 the server refuses; 126 the command cannot be
    executed; 127 it is not found.

    For example:

        holdfast run nightly-backup -- pg_dump -f backup.sql shop
        holdfast run --nonblock /jobs/import -- ./import.sh
        holdfast run deploy --wait 10m --server https://locks.example.org -- make
    """
    try:
        terms = checked_terms(
            name,
            command,
            server=server,
            user=user,
            wait=wait,
            nonblock=nonblock,
            ttl=ttl,
            shared=shared,
            reason=reason,
            kill_after=kill_after,
            conflict_code=conflict_exit_code,
        )
    except CommandError as error:
        _complain(str(error))
        return USAGE
    missing = unusable(terms.words[0])
    if missing is not None:
        _complain(missing[1])
        return missing[0]
    return _Run(terms, _Talk(terms.name, is_verbose=verbose)).run()


class _InterruptedError(BaseException):
    """A signal came that ends the wait for the lock."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Interruptions:
    """While the lock is waited for, a signal that ends this program is raised; later ones are kept for the command."""

    def __init__(self, ignored: frozenset[int]) -> None:
        self.late: list[int] = []
        self._is_waiting = True
        for number in _ENDS_A_WAIT:
            if number not in ignored:
                signal.signal(number, self._handle)

    def settle(self) -> None:
        """Raise nothing from now on."""
        self._is_waiting = False

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if not self._is_waiting:
            self.late.append(number)
            return
        self._is_waiting = False
        raise _InterruptedError(number)


class _Leased:
    """A held lock, as the supervision sees it."""

    def __init__(self, held: Held) -> None:
        self._held = held

    @property
    def span(self) -> tuple[float, float | None]:
        """Its deadline, and what was granted."""
        holding = self._held.holding
        return holding.deadline, holding.ttl

    @property
    def is_lost(self) -> bool:
        """True once it is known to be lost."""
        return self._held.loss is not None


class _Run:
    def __init__(self, terms: Terms, talk: _Talk) -> None:
        self._terms = terms
        self._talk = talk

    def run(self) -> int:
        ignored = ignored_signals()
        terminal = Terminal()
        order = Order(
            words=self._terms.words, ignored=ignored, mask=frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        )
        # Before anything else: the watchdog is a copy of this process, which has one thread now, and no connection.
        watchdog = fork_watchdog(order, self._grace_if_orphaned(), self._talk.orphaned)
        self._bell = Bell()
        try:
            try:
                http = new_client()
            except ImportError:
                _complain("An HTTP library is needed: pip install httpx.")
                return UNAVAILABLE
            with http:
                return self._with_server(http, watchdog, ignored, terminal)
        finally:
            _end_watchdog(watchdog)
            self._bell.close()

    def _grace_if_orphaned(self) -> float:
        return 5.0 if self._terms.grace is None else self._terms.grace

    def _with_server(self, http: Any, watchdog: tuple[int, Link], ignored: frozenset[int], terminal: Terminal) -> int:
        credentials = self._terms.credentials
        asker = Asker(self._terms.server, http, auth=credentials.auth, token=credentials.token)
        try:
            interruptions = _Interruptions(ignored)
            held = self._acquired(asker, interruptions)
            if isinstance(held, int):
                return held
            code, echo = self._held(asker, held, watchdog, ignored, terminal, interruptions.late)
        finally:
            asker.close()
        if echo:
            _interrupt_group(echo)
        return code

    def _acquired(self, asker: Asker, interruptions: _Interruptions) -> Held | int:
        """The lock, or the exit code where there is none."""
        begun = time.monotonic()
        try:
            held = asker.acquire(
                self._terms.wanted, self._talk.waiting, self._talk.slice_s, lambda _error: self._bell.ring()
            )
            interruptions.settle()
            asker.settle()
        except LockedError as error:
            self._talk.clear()
            _complain(f"{error}.")
            return self._terms.conflict_code
        except RefusedError as error:
            self._talk.clear()
            _complain(f"The server refused: {error.detail.rstrip('.')}.")
            return NOT_ALLOWED if error.status in {401, 403} else UNAVAILABLE
        except (ClientError, ValueError) as error:
            self._talk.clear()
            _complain(f"{str(error).rstrip('.')}.")
            return UNAVAILABLE
        except _InterruptedError as interrupted:
            self._talk.clear()
            asker.leave()
            return 128 + interrupted.number
        self._talk.clear()
        self._talk.granted(held, time.monotonic() - begun)
        return held

    def _held(
        self,
        asker: Asker,
        held: Held,
        watchdog: tuple[int, Link],
        ignored: frozenset[int],
        terminal: Terminal,
        early: list[int],
    ) -> tuple[int, int | None]:
        """The exit code; and a signal that is to reach whoever else would have had it from the terminal."""
        ended: Ended | None = None
        lost: LockLostError | None = None
        try:
            with held, asker.listen(held, self._bell):
                ended = supervise(
                    watchdog,
                    _Leased(held),
                    {
                        "HOLDFAST_RESOURCE": self._terms.name,
                        "HOLDFAST_LOCK_ID": held.id,
                        "HOLDFAST_FENCING_TOKEN": str(held.fencing_token),
                    },
                    grace=self._terms.grace,
                    ignored=ignored,
                    terminal=terminal,
                    reports=self._talk,
                    bell=self._bell,
                    early=early,
                )
        except CannotExecuteError as error:
            _complain(f"{self._terms.words[0]}: {error}.")
            return 127 if error.is_missing else 126, None
        except LockLostError as error:
            lost = error
        except ClientError as error:
            self._talk.not_released(error)
        assert ended is not None
        return self._judged(held, ended, lost), _echo(ended, terminal)

    def _judged(self, held: Held, ended: Ended, lost: LockLostError | None) -> int:
        code = _exit_code(ended.status)
        if ended.cause is Cause.ITSELF:
            if lost is None or (lost.reason in _LAPSES and ended.at < held.holding.deadline):
                return 0 if code is None else code
            _complain(f"{_plain(lost)} The command had ended by itself{_with(code)}, perhaps after that.")
            return LOST
        if ended.cause is Cause.UNGUARDED and (lost is None or lost.reason in _LAPSES):
            _complain("The watchdog was killed, or did nothing; so the command was killed.")
            return UNGUARDED
        if lost is not None:
            why = _plain(lost)
        elif held.holding.breaking is not None:
            why = f"The lock on {self._terms.name} is being broken: {clean(held.holding.breaking.detail, 600)}"
        elif held.error is not None:
            why = f"The lock on {self._terms.name} could not be refreshed: {str(held.error).rstrip('.')}."
        else:
            why = f"The lock on {self._terms.name} was not refreshed in time: this program was stopped, or too slow."
        did = "was not started" if ended.cause is Cause.LATE else f"was ended{_with(code)}"
        _complain(f"{why} The command {did}.")
        return LOST


class _Talk:
    """What people are told while it goes on: on a terminal, one line that changes; else only what was asked for."""

    def __init__(self, name: str, *, is_verbose: bool) -> None:
        self._name = name
        self._is_verbose = is_verbose
        self._is_watched = sys.stderr.isatty()
        self._is_shown = False
        self._told_at: float | None = None
        self._begun = time.monotonic()

    @property
    def slice_s(self) -> float:
        """How often `waiting` wants to be called, in seconds."""
        return _SHOWN_EACH_S if self._is_watched else _TOLD_EACH_S

    def waiting(self, error: LockedError) -> None:
        """Who is in the way."""
        place = f", {error.details.place}" if error.details.place else ""
        waited = time.monotonic() - self._begun
        line = f"waited {waited:.0f} s{place}: {clean(str(error), 400)}"
        if self._is_watched:
            width = shutil.get_terminal_size().columns - 1
            shown = f"holdfast: {line}"
            sys.stderr.write(f"\r\x1b[2K{shown[:width]}")
            sys.stderr.flush()
            self._is_shown = True
        elif self._is_verbose and (self._told_at is None or waited - self._told_at >= 60 - _SHOWN_EACH_S):
            self._told_at = waited
            _complain(f"{line[:1].upper()}{line[1:]}.")

    def clear(self) -> None:
        """The wait is over."""
        if self._is_shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
            self._is_shown = False

    def granted(self, held: Held, seconds: float) -> None:
        """The lock is there."""
        if self._is_verbose:
            _complain(f"Locked {self._name} after {seconds:.1f} s, with fencing token {held.fencing_token}.")

    def suspended(self, seconds: float) -> None:
        """It stops with its command."""
        if self._is_watched:
            _complain(
                f"Stopped. Nothing refreshes the lock on {self._name} meanwhile: if this is not continued within "
                f"{seconds:.0f} s, the command is ended."
            )

    def left_behind(self, count: int) -> None:
        """The command has ended, and some of what it started has not."""
        if self._is_watched or self._is_verbose:
            what = "a process that it started runs on" if count == 1 else f"{count} processes that it started run on"
            _complain(f"The command has ended, but {what}: {self._name} stays locked until then.")

    def not_released(self, error: ClientError) -> None:
        """The server could not be told."""
        _complain(f"The lock on {self._name} could not be released, and ends by itself: {str(error).rstrip('.')}.")

    def orphaned(self) -> None:
        """In the watchdog: there is nobody else to say it."""
        sentence = (
            f"holdfast: holdfast run was killed, so its command was ended; the lock on {self._name} ends by itself.\n"
        )
        os.write(2, sentence.encode())


def _end_watchdog(watchdog: tuple[int, Link]) -> None:
    """One that has started nothing ends when its link does."""
    pid, link = watchdog
    link.close()
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return


def _echo(ended: Ended, terminal: Terminal) -> int | None:
    """The signal of a key that only the command had, as it was alone in the foreground, and that was meant for the whole job."""
    if ended.status is None or not os.WIFSIGNALED(ended.status) or not terminal.is_lent or terminal.is_job:
        return None
    number = os.WTERMSIG(ended.status)
    return number if number in {signal.SIGINT, signal.SIGQUIT} else None


def _interrupt_group(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.killpg(os.getpgrp(), number)


def _exit_code(status: int | None) -> int | None:
    if status is None:
        return None
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _with(code: int | None) -> str:
    return "" if code is None else f" (with {code})"


def _plain(error: LockLostError) -> str:
    return f"{clean(str(error), 600).rstrip('.')}."


def _complain(sentence: str) -> None:
    warn(sentence, label="holdfast:", style="bold red")
