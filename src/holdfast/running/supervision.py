"""Supervising the command: `holdfast run` between the grant of its lock and the end of its command.

Owns: telling the watchdog each lease, passing signals on, stopping and continuing together with the command, and ending everything
itself where the watchdog does not. Must not know: how a lock is acquired, refreshed or released; what is said to people.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
from collections.abc import Iterable, Mapping, Sequence
from types import FrameType
from typing import Final, Protocol, Self

from holdfast.client.boottime import boottime
from holdfast.running.hearing import Bell
from holdfast.running.lease import Lease, Span
from holdfast.running.messages import (
    Cause,
    Continued,
    End,
    Ended,
    FromWatchdog,
    Left,
    Link,
    Pass,
    Renew,
    Start,
    Started,
    Stopped,
    Unstartable,
)
from holdfast.running.terminal import Terminal
from holdfast.running.tree import kill_all_descendants

__all__ = ["CannotExecuteError", "LeasedLock", "Reports", "supervise"]

_PASSED_ON: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGCONT,
    signal.SIGTSTP,
)
_STOPS: Final = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
_LONGEST_NAP_S: Final = 1.0
_SHORTEST_NAP_S: Final = 0.02


class CannotExecuteError(Exception):
    """The command could not be executed; `number` is the errno."""

    def __init__(self, number: int) -> None:
        """Say why."""
        super().__init__(os.strerror(number))
        self.number = number

    @property
    def is_missing(self) -> bool:
        """True where there is no such program, and False where it is there and of no use."""
        return self.number == errno.ENOENT


class LeasedLock(Protocol):
    """The lock, as far as it matters to the command."""

    @property
    def span(self) -> tuple[float, float | None]:
        """Its deadline, and the seconds that were granted; as `Lease.until` takes them."""
        ...

    @property
    def is_lost(self) -> bool:
        """True once it is known to be lost."""
        ...


class Reports(Protocol):
    """Who tells people."""

    def suspended(self, seconds: float) -> None:
        """This process is about to stop with its command, which has so many seconds left."""
        ...

    def left_behind(self, count: int) -> None:
        """The command has ended, and so many processes of it have not."""
        ...


def supervise(
    watchdog: tuple[int, Link],
    lock: LeasedLock,
    environment: Mapping[str, str],
    *,
    grace: float | None,
    ignored: frozenset[int],
    terminal: Terminal,
    reports: Reports,
    bell: Bell,
    early: Sequence[int] = (),
) -> Ended:
    """Start the command, and return once nothing of it runs any more. Raises CannotExecuteError.

    `grace` is in seconds between TERM and KILL, None for the usual time; `ignored` are the signals that are not passed on;
    `bell` is rung when the lock is known to be lost, or to end sooner; `early` are signals that came before there was a command.
    """
    with _Signals(number for number in _PASSED_ON if number not in ignored) as signals:
        return _Supervisor(watchdog, lock, grace, terminal, reports, signals, bell).run(environment, early)


class _Signals:
    """The signals that are passed on, as numbers to be read; and SIGTTOU ignored."""

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._numbers = list(numbers)
        self._before: dict[int, object] = {}
        self._pipe = (-1, -1)
        self._old_fd = -1

    def __enter__(self) -> Self:
        self._pipe = os.pipe()
        for end in self._pipe:
            os.set_blocking(end, False)
        self._old_fd = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, _note)
        self._before[signal.SIGTTOU] = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        # A child that ends wakes the loop, too: the watchdog may end without a word.
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _note)
        return self

    def __exit__(self, *_: object) -> None:
        # From here on a signal to end is obeyed late: what is left to do (release the lock) is short.
        signal.set_wakeup_fd(self._old_fd)
        for number in (signal.SIGTTOU, signal.SIGCHLD, signal.SIGTSTP, signal.SIGWINCH, signal.SIGCONT):
            if number in self._before:
                signal.signal(number, self._before[number])  # type: ignore[arg-type]  # as it was given
        for end in self._pipe:
            os.close(end)

    def fileno(self) -> int:
        return self._pipe[0]

    def take(self) -> list[int]:
        with contextlib.suppress(BlockingIOError):
            return [number for number in os.read(self._pipe[0], 4096) if number in self._numbers]
        return []

    def stop_self(self, number: int, *, group: bool) -> None:
        """Stop as the default action of this signal does it; returns when continued."""
        before = None if number == signal.SIGSTOP else signal.signal(number, signal.SIG_DFL)
        try:
            os.killpg(os.getpgrp(), number) if group else os.kill(os.getpid(), number)
        finally:
            if before is not None:
                signal.signal(number, before)


def _note(_number: int, _frame: FrameType | None) -> None:
    """The number is in the pipe."""


class _Supervisor:
    def __init__(
        self,
        watchdog: tuple[int, Link],
        lock: LeasedLock,
        grace: float | None,
        terminal: Terminal,
        reports: Reports,
        signals: _Signals,
        bell: Bell,
    ) -> None:
        self._watchdog, self._link = watchdog
        self._lock = lock
        self._grace = grace
        self._terminal = terminal
        self._reports = reports
        self._signals = signals
        self._bell = bell
        self._span = Span(*lock.span)
        self._lease = self._current()
        self._leader: int | None = None
        self._has_told_loss = False
        self._ended: Ended | None = None

    def run(self, environment: Mapping[str, str], early: Sequence[int]) -> Ended:
        lent = self._terminal.lend_at_start
        if lent is not None:
            self._terminal.lend(os.getpgrp())  # the command takes it itself, before it begins
        self._link.send(Start(dict(environment), self._lease, lent))
        for number in early:
            self._link.send(Pass(number))
        try:
            ended = self._watch()
        except BaseException:
            self._terminal.take_back(self._leader)
            raise
        was_killed = ended.status is None or os.WIFSIGNALED(ended.status)
        self._terminal.take_back(self._leader, modes_too=was_killed)
        self._bury_watchdog()
        return ended

    def _watch(self) -> Ended:
        with selectors.DefaultSelector() as selector:
            selector.register(self._link, selectors.EVENT_READ)
            selector.register(self._signals, selectors.EVENT_READ)
            selector.register(self._bell, selectors.EVENT_READ)
            while self._ended is None:
                selector.select(self._nap())
                self._turn()
        return self._ended

    def _current(self) -> Lease:
        self._span = self._span.after(*self._lock.span)
        return Lease.until(self._span.deadline, self._span.ttl, self._grace)

    def _overdue_at(self) -> float:
        """When the watchdog must have told that the command is over: in the middle of the margin."""
        deadline, _ = self._lock.span
        return (self._lease.kill_at + deadline) / 2

    def _nap(self) -> float:
        _, ttl = self._lock.span
        usual = _LONGEST_NAP_S if ttl is None else ttl / 30
        return max(_SHORTEST_NAP_S, min(usual, _LONGEST_NAP_S, self._overdue_at() - boottime()))

    def _turn(self) -> None:
        for message in self._link.heard_from_watchdog():
            self._hear(message)
        if self._ended is not None:
            return
        lease = self._current()
        if lease != self._lease:
            self._lease = lease
            self._link.send(Renew(lease))
        self._bell.silence()  # before it is looked why it rang, so that no word is passed over
        if self._lock.is_lost and not self._has_told_loss:
            self._has_told_loss = True
            self._link.send(End(self._grace_left()))
        if self._link.is_cut or boottime() >= self._overdue_at():
            self._end_all()
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._watchdog, signal.SIGCONT)  # nobody has a good reason to have it stopped
        for number in self._signals.take():
            self._heed(number)
        self._link.flush()

    def _grace_left(self) -> float:
        return max(0.0, self._lease.kill_at - self._lease.term_at)

    def _hear(self, message: FromWatchdog) -> None:
        match message:
            case Started(pid):
                self._leader = pid
            case Unstartable(error):
                self._bury_watchdog()
                raise CannotExecuteError(error)
            case Stopped(number):
                self._command_stopped(number)
            case Left(count):
                self._reports.left_behind(count)
            case Ended():
                self._ended = message
            case Continued():
                pass

    def _heed(self, number: int) -> None:
        if number == signal.SIGCONT and self._terminal.is_lent and self._leader is not None:
            self._terminal.lend(self._leader)
        self._link.send(Pass(number))
        if number == signal.SIGTSTP:
            self._stop(number, group=False)

    def _command_stopped(self, number: int) -> None:
        if self._leader is not None and self._terminal.wanted_by(self._leader, number):
            # It read before it had the terminal. Where it has it by now, this is also what it does after a late word of that stop.
            if self._terminal.lend(self._leader):
                self._link.send(Pass(signal.SIGCONT))
        elif self._terminal.is_lent or number in {signal.SIGTTIN, signal.SIGTTOU}:
            self._terminal.take_back(self._leader)
            self._stop(number, group=self._terminal.is_lent)

    def _stop(self, number: int, *, group: bool) -> None:
        """Stop together with the command, so that the shell has its prompt; the SIGCONT that ends it is passed on."""
        self._reports.suspended(max(0.0, self._lease.term_at - boottime()))
        self._signals.stop_self(number if number in _STOPS else signal.SIGSTOP, group=group)
        for message in self._link.heard_from_watchdog():
            if not isinstance(message, Stopped):  # of the time before
                self._hear(message)
        heard = self._signals.take()
        for each in heard:
            self._heed(each)
        if signal.SIGCONT not in heard and number == signal.SIGTSTP:
            # Nobody could continue this job, so the kernel has not stopped it; or another thread took the SIGCONT and has not
            # noted it yet. Either way the command is to have the terminal before it goes on.
            self._heed(signal.SIGCONT)

    def _end_all(self) -> None:
        """The watchdog is gone, stopped or stuck: do its work, without grace."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._watchdog, signal.SIGKILL)  # it is this process's child, so the number is still its own
        # What it has started becomes this process's now; and its command was killed with it (PR_SET_PDEATHSIG).
        kill_all_descendants()
        for message in self._link.heard_from_watchdog():
            if isinstance(message, Ended):
                self._ended = message
        if self._ended is None:
            self._ended = Ended(Cause.UNGUARDED, None, boottime())

    def _bury_watchdog(self) -> None:
        self._link.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._watchdog, 0)
