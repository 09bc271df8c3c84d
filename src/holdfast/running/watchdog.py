"""The watchdog: a small process that is the command's parent, and ends it when its lease is over.

Owns: starting the command, its lease, TERM and KILL, and when nothing is left of it. Must not know: locks, HTTP, the terminal's
user. docs/run.md has the argument for why this keeps two commands from running at once, and where that ends.

Theory of operation: it is forked before anything else happens, does no work but this, allocates next to nothing, and never waits
for anybody. `holdfast run` tells it each lease as an instant; that it is *told* nothing more is all that it needs to know: at
the instant it acts, whether `holdfast run` is stopped, starved, cut off or dead. It adopts all orphans, so it knows every
process that the command ever started; and it does not end before they have, unless they have made themselves daemons.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Final, NoReturn

from holdfast.client.boottime import boottime
from holdfast.running.command import Order, start
from holdfast.running.kernel import BoottimeTimer, adopt_orphans, hear_parents_death, name_process
from holdfast.running.lease import Lease
from holdfast.running.messages import (
    Cause,
    Continued,
    End,
    Ended,
    Left,
    Link,
    Pass,
    Renew,
    Start,
    Started,
    Stopped,
    ToWatchdog,
    Unstartable,
    link_pair,
)
from holdfast.running.tree import Found, descendants, signal_each

__all__ = ["fork_watchdog"]

_NEVER: Final = float("inf")
_FIRST_KILL_PAUSE_S: Final = 0.01
_LONGEST_KILL_PAUSE_S: Final = 0.5
_LOOK_AGAIN_S: Final = 1.0
_BLIND_NAP_S: Final = 0.25  # between looks at the clock where the system has no timer that counts the machine's sleep
_DEAF_TO: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGPIPE,
    signal.SIGALRM,
)


def fork_watchdog(order: Order, grace: float, farewell: Callable[[], None]) -> tuple[int, Link]:
    """Fork it, and return its process id and the link to it. Call it while this process has one thread.

    `grace` is the time between TERM and KILL in seconds if `holdfast run` dies. `farewell` is called in the watchdog then,
    once the command is over, as there is nobody else to say so.
    """
    ours, theirs = link_pair()
    adopt_orphans()  # here too: what the watchdog leaves behind, should it be killed, becomes this process's
    pid = os.fork()
    if pid == 0:
        ours.close()
        _be_watchdog(theirs, order, grace, farewell)
    theirs.close()
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)
    return pid, ours


def _be_watchdog(link: Link, order: Order, grace: float, farewell: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)  # what is sent to the group of `holdfast run`, or by its terminal, is not meant for it
        for number in _DEAF_TO:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        hear_parents_death(
            signal.SIGCONT
        )  # should somebody have stopped it, it goes on when nobody else is left to see to that
        name_process("holdfast-watch")
        adopt_orphans()
        watchdog = Watchdog(link, order, grace)
        if watchdog.watch() is Cause.ORPHANED and watchdog.has_started:
            farewell()
        code = 0
    except BaseException:  # noqa: BLE001 - `holdfast run` hears that it has ended, and goes on from there
        traceback.print_exc()
    finally:
        os._exit(code)


class Watchdog:
    """One command, from its start to the end of its last process."""

    def __init__(self, link: Link, order: Order, grace: float) -> None:
        """Watch nothing yet."""
        self._link = link
        self._order = order
        self._grace = grace
        self._session = os.getsid(0)
        self._leader: int | None = None
        self._status: int | None = None
        self._lease = Lease(_NEVER, _NEVER)
        self._cause: Cause | None = None  # why it is being ended, once it is
        self._kill_at = _NEVER  # from then on, once it is being ended
        self._kill_pause = _FIRST_KILL_PAUSE_S
        self._look_at = _NEVER
        self._has_told_left = False
        self._end: Cause | None = None  # why it is over, once nothing is left
        self._timer = BoottimeTimer()

    @property
    def has_started(self) -> bool:
        """True once there was a command."""
        return self._leader is not None

    def watch(self) -> Cause:
        """Do the whole work; why the command ended."""
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, _note)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._link, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            if self._timer.is_there:
                selector.register(self._timer, selectors.EVENT_READ)
            while self._end is None:
                self._timer.set(self._next_look())
                selector.select(self._nap())
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
                self._turn()
            self._say_end(selector)
        return self._end

    def _next_look(self) -> float:
        if self._leader is None:
            return _NEVER
        if self._cause is None:
            return min(self._lease.term_at, self._look_at)
        return self._kill_at

    def _nap(self) -> float | None:
        return None if self._timer.is_there else _BLIND_NAP_S

    def _turn(self) -> None:
        """Hear what was said first: a lease that was renewed is not over. Then see who has ended, then what time it is."""
        if self._timer.is_there:
            self._timer.clear()
        self._link.flush()
        for message in self._link.heard_by_watchdog():
            self._obey(message)
        if self._link.is_cut:
            if self._leader is None:
                self._end = Cause.ORPHANED
                return
            self._begin_end(Cause.ORPHANED, self._grace)
        if self._leader is None:
            return
        is_alone = self._reap()
        now = boottime()
        if self._cause is None and now >= self._lease.term_at:
            self._begin_end(Cause.DEADLINE, max(0.0, self._lease.kill_at - now))
        if is_alone:
            self._end = self._cause or Cause.ITSELF
        elif self._cause is None:
            self._look_for_rest(now)
        elif now >= self._kill_at:
            self._kill(now)

    def _obey(self, message: ToWatchdog) -> None:
        match message:
            case Start() if self._leader is None:
                self._start(message)
            case Renew(lease) if self._cause is None:
                self._lease = lease
            case Pass(number):
                self._pass(number)
            case End(grace):
                self._begin_end(Cause.TOLD, grace)
            case _:
                pass

    def _start(self, message: Start) -> None:
        if boottime() >= message.lease.term_at:
            self._end = Cause.LATE
            return
        try:
            self._leader = start(self._order, os.environ | message.environment, message.terminal)
        except OSError as error:
            self._link.send(Unstartable(error.errno or 0))
            self._end = Cause.ITSELF
            return
        self._lease = message.lease
        self._link.send(Started(self._leader))
        _let_go_of_files(self._link.fileno())

    def _pass(self, number: int) -> None:
        if self._leader is not None and self._status is None:
            with contextlib.suppress(OSError):
                os.killpg(self._leader, number)
        elif self._leader is not None:
            signal_each(self._rest(), number)

    def _begin_end(self, cause: Cause, grace: float) -> None:
        """TERM to all, and wake what is stopped, so that it can heed it. KILL at once where there is no time."""
        if self._cause is not None or self._leader is None:
            return
        self._cause = cause
        now = boottime()
        self._kill_at = min(now + grace, self._lease.kill_at)
        if now >= self._kill_at:
            self._kill(now)
            return
        for number in (signal.SIGTERM, signal.SIGCONT):
            self._signal_all(number)

    def _kill(self, now: float) -> None:
        self._signal_all(signal.SIGKILL)
        self._kill_at = now + self._kill_pause
        self._kill_pause = min(2 * self._kill_pause, _LONGEST_KILL_PAUSE_S)

    def _signal_all(self, number: int) -> None:
        """The group at once, which no fork escapes; then each that has left the group."""
        group = self._leader if self._status is None else None
        if group is not None:
            with contextlib.suppress(OSError):
                os.killpg(group, number)
        signal_each((found for found in descendants() if found.group != group), number)

    def _reap(self) -> bool:
        """Wait for whatever has ended or changed; True where there is nobody left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid != self._leader or self._status is not None:
                continue
            if os.WIFSTOPPED(status):
                self._link.send(Stopped(os.WSTOPSIG(status)), is_brief=True)
            elif os.WIFCONTINUED(status):
                self._link.send(Continued(), is_brief=True)
            else:
                self._status = status

    def _rest(self) -> list[Found]:
        """What the command left behind and is still of its session. What made a session of its own is a daemon, and let go."""
        return [found for found in descendants() if found.session == self._session]

    def _look_for_rest(self, now: float) -> None:
        if self._status is None:
            return
        rest = self._rest()
        if not rest:
            self._end = Cause.ITSELF
            return
        if not self._has_told_left:
            self._has_told_left = True
            self._link.send(Left(len(rest)))
        self._look_at = now + _LOOK_AGAIN_S

    def _say_end(self, selector: selectors.BaseSelector) -> None:
        """Tell how it ended; `holdfast run` may be stopped, and hears it then."""
        self._link.send(Ended(self._end or Cause.ITSELF, self._status, boottime()))
        selector.modify(self._link, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while self._link.has_unsent and not self._link.is_cut:
            selector.select(1.0)
            self._link.flush()


def _note(_number: int, _frame: FrameType | None) -> None:
    """It wakes the loop; who has ended is asked of wait(2)."""


def _let_go_of_files(kept: int) -> None:
    """Hold no pipe of the command open: its reader waits for the end. Standard error stays, for the last word."""
    devnull = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(devnull, standard)
    os.close(devnull)
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            number = int(name)
            if number > 2 and number != kept and os.get_inheritable(number):
                os.close(number)
