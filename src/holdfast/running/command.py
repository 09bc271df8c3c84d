"""Starting the command: a process group of its own, the terminal, and signals as they were found.

Owns: what happens between fork and exec. Must not know: locks, leases, who waits for the command.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

import msgspec

from holdfast.running.kernel import hear_parents_death

__all__ = ["Order", "ignored_signals", "start"]

_UNCATCHABLE: Final = frozenset({signal.SIGKILL, signal.SIGSTOP})


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to execute. `ignored` are the signals that it is to ignore, as `holdfast run` was told to ignore them (nohup)."""

    words: Sequence[str]
    ignored: frozenset[int]
    mask: frozenset[int]


def ignored_signals() -> frozenset[int]:
    """The signals that this process was started to ignore. Ask before anything is changed; Python itself ignores two."""
    own = {signal.SIGPIPE, signal.SIGXFSZ} if hasattr(signal, "SIGXFSZ") else {signal.SIGPIPE}
    return frozenset(
        number for number in signal.valid_signals() - own if signal.getsignal(number) is signal.Handlers.SIG_IGN
    )


def start(order: Order, environment: Mapping[str, str], terminal: int | None = None) -> int:
    """Execute the command and return its process id. Raises OSError where it cannot be executed; then nothing runs.

    `terminal` is the descriptor of a terminal in whose foreground its group is put.

    Call it from the main thread of a process with no other, which becomes the command's parent: when it dies, the
    command is killed.
    """
    told, tell = os.pipe()
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _become(order, environment, parent, tell, terminal)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, order.mask)
    os.close(tell)
    with contextlib.suppress(OSError):  # the child does it as well; whoever is first
        os.setpgid(pid, pid)
    with open(told, "rb") as pipe:
        said = pipe.read()
    if said:
        os.waitpid(pid, 0)
        number = int(said)
        raise OSError(number, os.strerror(number))
    return pid


def _become(order: Order, environment: Mapping[str, str], parent: int, tell: int, terminal: int | None) -> NoReturn:
    """In the child: never returns."""
    code = errno.EINVAL
    try:
        hear_parents_death(signal.SIGKILL)
        if os.getppid() != parent:  # it died before it could be said what that is to mean
            os._exit(1)
        os.setpgid(0, 0)
        if terminal is not None:
            with contextlib.suppress(OSError):
                os.tcsetpgrp(terminal, os.getpid())
        for number in signal.valid_signals() - _UNCATCHABLE:
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_IGN if number in order.ignored else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, order.mask)
        _execute(order.words, environment)
    except OSError as error:
        code = error.errno or code
    finally:
        os.write(tell, str(code).encode())
        os._exit(127)


def _execute(words: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    try:
        os.execvpe(words[0], list(words), dict(environment))  # noqa: S606 - what the user typed, as it was typed
    except OSError as error:
        path = shutil.which(words[0], path=environment.get("PATH"))
        if error.errno != errno.ENOEXEC or path is None:
            raise
        # A script without a first line that says whose it is: the shell's, as execvp(3) has it.
        os.execve("/bin/sh", ["/bin/sh", path, *words[1:]], dict(environment))  # noqa: S606 - the same
