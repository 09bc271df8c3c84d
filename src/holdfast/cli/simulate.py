"""`holdfast simulate`: the simulator alone, with what to type at it.

Owns: the flags, and the words at the start and the end. Must not know: what is simulated, or how.
"""

from __future__ import annotations

import contextlib
import signal
from typing import Annotated, Final, NoReturn

from cyclopts import Parameter

from holdfast import __version__
from holdfast.cli.terminal import CommandError, escape, say, warn
from holdfast.listening import is_loopback_only

__all__ = ["DEFAULT_PORT", "simulate"]

DEFAULT_PORT: Final = 4231
"""Beside that of `holdfast serve`."""

_EXAMPLES: Final = (
    ("any status", "-i", "/api/status/423"),
    ("a real lock: counts down, then 200", "-i", "/api/status/423?lock=demo&for=10s&holder=Ada"),
    ("locked twice, then free", "-i", "/api/status/200?seq=423x2,200&key=mine"),
    ("slow and overloaded", "-i", "/api/status/503?retry_after=3&delay=2s"),
    ("all that can be asked for", "", "/api/status"),
)


def simulate(
    *,
    host: Annotated[
        str, Parameter(help="Address or name to listen on; 0.0.0.0 is every network of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes a free one.")] = DEFAULT_PORT,
) -> None:
    """Answer any request with any status, for trying out clients.

    Nothing is served and nothing kept: sequences and locks are in memory. Nobody
    logs in. Ctrl-C stops it. `holdfast serve` has the same beside its folder.

        holdfast simulate
        curl -i 'http://127.0.0.1:4231/api/status/423?lock=demo&for=10s'
    """
    from holdfast.simulating import run

    if not 0 <= port <= 65_535:
        msg = f"--port must be a number from 0 to 65535, not {port}."
        raise CommandError(msg)
    if not is_loopback_only(host):
        warn(f"whoever reaches {host} may use this simulator; nobody logs in, and what it does for each is bounded.")
    signal.signal(signal.SIGTERM, _stop)
    with contextlib.suppress(KeyboardInterrupt):
        run(host, port, on_ready=_announce)
    say("Holdfast has stopped.")


def _stop(_number: int, _frame: object) -> NoReturn:
    """SIGTERM stops as Ctrl-C does."""
    raise KeyboardInterrupt


def _announce(url: str) -> None:
    base = escape(url.rstrip("/"))
    say(f"[bold]Holdfast {__version__}[/bold] simulates at [bold]{base}[/bold]")
    say()
    for label, flags, target in _EXAMPLES:
        say(f"  [cyan]{label}[/cyan]")
        say(f"    curl {flags}{' ' if flags else ''}'{base}{escape(target)}'")
    say()
    say(f"With a form to try it, and what each status means: {base}/simulator")
    say("Ctrl-C stops it.")
