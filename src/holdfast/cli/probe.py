"""`holdfast probe`: what a server's locking promises, tried from outside.

Owns: the command, who its principals are, the bar of progress, and the exit codes. Must not know: any probe, or how one is run
(`holdfast.inspector.probing`, which is loaded only when it is needed).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from holdfast.cli.credentials import credentials_for, is_url, split_url
from holdfast.cli.standing import aligned
from holdfast.cli.terminal import CommandError, escape, say, warn

if TYPE_CHECKING:
    from holdfast.inspector.probing import Principal, Probe, ServerReport

__all__ = ["FOUND", "UNDECIDED", "probe"]

FOUND: Final = 1
"""The exit code where something was found."""
UNDECIDED: Final = 3
"""The exit code where nothing was found, but a probe was not decided, or something was left behind."""

_STYLES: Final = {"bad": "bold red", "warn": "yellow", "info": "cyan", "head": "bold", "dim": "dim"}
_DEFAULT_S: Final = 120

Format = Literal["text", "json", "junit", "html"]


def probe(
    *urls: Annotated[str, Parameter(name="URL", help="A collection of a WebDAV server, in which one may write.")],
    user: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            help="NAME:PASSWORD of a principal made for this; twice, for what takes two. A NAME alone takes its password from "
            "HOLDFAST_PASSWORD (the second: HOLDFAST_PASSWORD_2) or ~/.netrc, or asks for it.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None, Parameter(negative="", help="Only these probes: ids, with commas or repeated.")
    ] = None,
    skip: Annotated[list[str] | None, Parameter(negative="", help="Not these probes.")] = None,
    list_: Annotated[
        bool, Parameter(name="--list", negative="", show_default=False, help="List the probes, and ask no server.")
    ] = False,
    format_: Annotated[Format, Parameter(name="--format", help="How the report is written.")] = "text",
    output: Annotated[
        Path | None, Parameter(help="Write the report to this file, and a line for each server to the terminal.")
    ] = None,
    wire: Annotated[
        bool,
        Parameter(negative="", show_default=False, help="As text: show what was sent and what came for each finding."),
    ] = False,
    fail_on: Annotated[
        Literal["bad", "warn", "info", "never"], Parameter(help="From which level on a finding makes the exit code 1.")
    ] = "bad",
    timeout: Annotated[
        int, Parameter(validator=Number(gte=5, lte=3600), help="For how many seconds one server is probed at most.")
    ] = _DEFAULT_S,
) -> int:
    """Try what a WebDAV server's locking promises (RFC 4918), and tell what it does not keep.

    Everything happens in a folder of its own below URL, which is taken away again,
    also after Ctrl-C. Give principals that may write there, but may not break each
    other's locks. Do not probe a server that is not yours: some requests may bring
    down a server with a fault; they come last. Exit codes: 0 nothing found, 1
    something found, 2 a server could not be probed or a mistake, 3 nothing found
    but a probe was not decided, or something was left behind.

    For example:

        holdfast probe http://127.0.0.1:4230/dav/ --user ada:one --user bob:two
        holdfast probe --only lock-race,lock-expires http://one.test/ --user ada
        holdfast probe http://one.test/ http://two.test/ --format html
        holdfast probe --list
    """
    from holdfast.inspector.probing import UnusableServerError, run_probes

    probes = _chosen(_words(only), _words(skip))
    if list_:
        _show_list(probes)
        return 0
    places = [_place(url) for url in urls]
    if not places:
        raise CommandError("URL is missing: which server is to be probed?")
    if len(user or []) > 2:
        raise CommandError("--user can be given twice, no more: probes know two principals.")
    reports: list[ServerReport] = []
    is_unusable = False
    with _interruptible():
        for place in places:
            principals = [_principal(place, text, number) for number, text in enumerate(user or [])]
            try:
                with _progress(place, len(probes)) as on_result:
                    report = run_probes(
                        place,
                        principals,
                        probes=probes,
                        limit_s=timeout,
                        on_result=on_result,
                        on_leftover=lambda sentence: warn(sentence, label="Left behind:"),
                    )
            except UnusableServerError as error:
                warn(f"{place}: {error}.", label="holdfast:", style="bold red")
                is_unusable = True
            else:
                reports.append(report)
    _write(reports, format_, output, wire=wire)
    return 2 if is_unusable else _exit_code(reports, fail_on)


def _words(given: Sequence[str] | None) -> list[str]:
    return [word.strip() for text in given or () for word in text.split(",") if word.strip()]


def _chosen(only: list[str], skip: list[str]) -> list[Probe]:
    from holdfast.inspector.probing import chosen

    try:
        return chosen(only, skip)
    except KeyError as error:
        msg = f"There is no probe {error.args[0]!r}: `holdfast probe --list` names them all."
        raise CommandError(msg) from error


def _show_list(probes: Sequence[Probe]) -> None:
    rows = [("PROBE", "LEVEL", "SOURCE", "WHAT IS PROMISED")]
    rows += [(one.id, one.level.value, str(one.source), one.title) for one in probes]
    for line in aligned(rows):
        say(escape(line))


def _place(text: str) -> str:
    """The URL of a collection. Raises CommandError."""
    if not is_url(text):
        msg = f"{text!r} is no URL: write http://HOST/PATH/ or https://HOST/PATH/."
        raise CommandError(msg)
    url, _ = split_url(text)
    return url.partition("?")[0].rstrip("/") + "/"


def _principal(url: str, text: str, number: int) -> Principal:
    from holdfast.inspector.probing import Principal

    name, colon, password = text.partition(":")
    if not name:
        raise CommandError("--user takes NAME:PASSWORD, or a NAME.")
    if colon:
        return Principal(name, password)
    second = os.environ.get("HOLDFAST_PASSWORD_2")
    if number == 1 and second is not None:
        return Principal(name, second)
    auth = credentials_for(url, name).auth
    return Principal(name, auth[1] if auth is not None else "")


@contextmanager
def _interruptible() -> Generator[None]:
    """Let SIGTERM end the command as Ctrl-C does: after it has taken away what it made."""
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress(url: str, total: int) -> Generator[Callable[[Any, int, int], None] | None]:
    """A bar on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(url), total=total)
        yield lambda result, done, _total: bar.update(task, completed=done, description=escape(f"{url} {result.id}"))


def _write(reports: Sequence[ServerReport], kind: Format, output: Path | None, *, wire: bool) -> None:
    from holdfast.inspector.probing import showing

    if output is None and kind == "text":
        for report in reports:
            for line in showing.text_lines(report, wire=wire):
                style = _STYLES.get(line.style)
                say(f"[{style}]{escape(line.text)}[/]" if style and line.text else escape(line.text))
        _say_side_by_side(reports)
        return
    if kind == "text":
        written = "".join(f"{line.text}\n" for report in reports for line in showing.text_lines(report, wire=wire))
        written += "".join(f"{line}\n" for line in aligned(showing.side_by_side(reports)) if len(reports) > 1)
    else:
        written = {"json": showing.as_json, "junit": showing.as_junit, "html": showing.as_html}[kind](reports)
    if output is None:
        sys.stdout.write(written)
        return
    try:
        output.write_text(written, encoding="utf-8")
    except OSError as error:
        msg = f"{output} cannot be written: {error.strerror or error}."
        raise CommandError(msg) from error
    for report in reports:
        say(escape(f"{report.url}: {showing.summary(report)}"))


def _say_side_by_side(reports: Sequence[ServerReport]) -> None:
    from holdfast.inspector.probing import showing

    if len(reports) > 1:
        say()
        for line in aligned(showing.side_by_side(reports)):
            say(escape(line))


def _exit_code(reports: Sequence[ServerReport], fail_on: str) -> int:
    from holdfast.inspector.notes import Level
    from holdfast.inspector.probing import Verdict

    counted = {
        "bad": (Level.BAD,),
        "warn": (Level.BAD, Level.WARN),
        "info": (Level.BAD, Level.WARN, Level.INFO),
        "never": (),
    }[fail_on]
    if any(True for report in reports for level in counted for _ in report.findings(level)):
        return FOUND
    if any(report.leftovers or report.count(Verdict.ERROR) for report in reports):
        return UNDECIDED
    return 0
