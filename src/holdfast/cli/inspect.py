"""`holdfast inspect`: what is right and wrong about a response: of a live request, of `curl -i`, or of a HAR file.

Owns: the command, where its exchanges come from, and its exit codes. Must not know: rules, how a response is read or asked for, or
how a report is shown (`holdfast.inspector`).
"""

from __future__ import annotations

import base64
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter

from holdfast.cli.credentials import credentials_for, is_url, split_url
from holdfast.cli.terminal import CommandError

if TYPE_CHECKING:
    from holdfast.inspector.exchange import Exchange, FieldLine, SentRequest
    from holdfast.inspector.notes import Level
    from holdfast.inspector.showing import Shown

__all__ = ["FOUND", "inspect"]

FOUND: Final = 1
"""The exit code where a note is as grave as `--fail-on` says, as linters have it."""

_MOST_BYTES: Final = 64 * 1024 * 1024
_REFUSALS: Final = frozenset({207, *range(400, 600)})
_STDIN: Final = "-"

FormFlag = Annotated[
    Literal["text", "json", "sarif", "junit", "html"],
    Parameter(
        name="--format", help="How the report is written: text, json, sarif (2.1.0), junit (XML) or html (one page)."
    ),
]
FailOnFlag = Annotated[
    Literal["bad", "warn", "info", "never"],
    Parameter(help="The least grave level that is exit code 1: bad, warn, info; or never."),
]
HeaderFlag = Annotated[
    list[str] | None,
    Parameter(
        name=["--header", "-H"],
        help="A field of the request, as 'Name: value'; in place of one that is sent anyway. May be repeated.",
        negative="",
    ),
]
MethodFlag = Annotated[
    str | None,
    Parameter(
        name=["--request-method", "-X"],
        help="The request's method; default: GET, with --data POST. For a text: the method that was sent, where it does not show it.",
    ),
]


def inspect(
    target: Annotated[
        str | None,
        Parameter(
            name="TARGET",
            help="A URL; or a file: .har, or what `curl -i` wrote; or - for standard input.",
            allow_leading_hyphen=True,  # for the hyphen alone; what else begins with one is refused below
        ),
    ] = None,
    /,
    *,
    method: MethodFlag = None,
    header: HeaderFlag = None,
    data: Annotated[
        str | None, Parameter(name=["--data", "-d"], help="The request's body; @FILE sends a file's bytes.")
    ] = None,
    user: Annotated[
        str | None,
        Parameter(
            name=["--user", "-u"],
            help="NAME or NAME:PASSWORD, sent as Basic. Without a password: HOLDFAST_PASSWORD, ~/.netrc, or it is asked for.",
        ),
    ] = None,
    insecure: Annotated[
        bool, Parameter(help="Do not check the server's certificate.", negative="", show_default=False)
    ] = False,
    location: Annotated[
        bool,
        Parameter(
            name=["--location", "-L"],
            help="Follow redirects, and inspect the last response.",
            negative="",
            show_default=False,
        ),
    ] = False,
    timeout: Annotated[float, Parameter(help="Seconds that it may take in all.")] = 30.0,
    all_: Annotated[
        bool,
        Parameter(
            name="--all",
            help="Every response: of redirects, too, and in a HAR file not only 207, 4xx and 5xx.",
            negative="",
            show_default=False,
        ),
    ] = False,
    form: FormFlag = "text",
    output: Annotated[Path | None, Parameter(help="Write the report to this file.")] = None,
    brief: Annotated[bool, Parameter(help="Text: one line for each note.", negative="", show_default=False)] = False,
    fail_on: FailOnFlag = "bad",
    explain: Annotated[str | None, Parameter(help="Tell what a rule asks, as L04, and do nothing else.")] = None,
) -> int:
    """Tell what is right and wrong about a response, why it matters, and how to mend it.

    A URL is asked, with nothing but what is said here: no proxy, no cookie, no
    redirect followed. A text may hold several responses: the last one counts. In a
    HAR file those of 207 and of 400 and above do. Exit codes: 0 no note is as grave
    as --fail-on says, 1 one is, 2 a mistake, or no response.

    For example:

        holdfast inspect -X PUT -d new http://127.0.0.1:4230/dav/plan.odt
        curl -i -X PUT -d new URL | holdfast inspect --request-method PUT -
        holdfast inspect traffic.har --fail-on warn --format sarif --output a.sarif
        holdfast inspect --explain L04
    """
    if explain is not None:
        return _explain(explain)
    if target is None:
        msg = "What is to be inspected? Give a URL, a file, or - for standard input."
        raise CommandError(msg)
    if target.startswith("-") and target != _STDIN:
        msg = f"There is no flag {target}. `holdfast inspect --help` shows what can be said."
        raise CommandError(msg)
    if is_url(target):
        url, url_user = split_url(target)
        request = _request(url, method, header, data, user or url_user)
        exchanges = _asked(request, timeout, follows=location, checks_tls=not insecure)
        source = url
    else:
        sent_alone = {
            "--header": header,
            "--data": data,
            "--user": user,
            "--insecure": insecure,
            "--location": location,
        }
        given = [name for name, value in sent_alone.items() if value]
        if given:
            msg = f"{given[0]} goes with a URL, and {target!r} is none: one begins with http:// or https://."
            raise CommandError(msg)
        source = "standard input" if target == _STDIN else target
        exchanges = _read(target, method, is_all=all_)
    return _report(
        source, exchanges if all_ or not is_url(target) else exchanges[-1:], form, output, fail_on, is_brief=brief
    )


def _explain(rule_id: str) -> int:
    from rich.console import Console

    from holdfast.inspector.inspecting import RULES
    from holdfast.inspector.showing.text import show_rule

    found = RULES.get(rule_id.upper())
    if found is None:
        msg = f"There is no rule {rule_id}; there are {', '.join(sorted(RULES))}."
        raise CommandError(msg)
    show_rule(Console(), found)
    return 0


def _request(url: str, method: str | None, header: list[str] | None, data: str | None, user: str) -> SentRequest:
    from holdfast.inspector.exchange import SentRequest

    fields: list[FieldLine] = []
    for line in header or ():
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            msg = f"{line!r} is no field: write 'Name: value'."
            raise CommandError(msg)
        fields.append((name.strip(), value.strip()))
    if user:
        fields.append(("Authorization", _basic(url, user)))
    body = b""
    if data is not None:
        body = _bytes_of(data[1:]) if data.startswith("@") else data.encode("utf-8", "surrogateescape")
    return SentRequest(method=method or ("GET" if data is None else "POST"), url=url, fields=tuple(fields), body=body)


def _basic(url: str, user: str) -> str:
    name, colon, password = user.partition(":")
    if not colon:
        known = credentials_for(url, user).auth
        name, password = known or (user, "")
    return "Basic " + base64.b64encode(f"{name}:{password}".encode("utf-8", "surrogateescape")).decode("ascii")


def _asked(request: SentRequest, timeout: float, *, follows: bool, checks_tls: bool) -> list[Exchange]:
    from holdfast.inspector.fetching import FetchError, FetchLimits, fetch

    if not 0 < timeout <= 86_400:
        msg = f"--timeout must be a number of seconds above 0 and up to 86400, not {timeout:g}."
        raise CommandError(msg)
    try:
        return fetch(request, limits=FetchLimits(total_s=timeout), follows=follows, checks_tls=checks_tls)
    except FetchError as error:
        hint = " With --insecure it is not checked." if "cannot be trusted" in str(error) else ""
        msg = f"{error}{hint}"
        raise CommandError(msg) from error


def _read(target: str, method: str | None, *, is_all: bool) -> list[Exchange]:
    from holdfast.inspector.exchange import SentRequest
    from holdfast.inspector.har import is_har, read_har
    from holdfast.inspector.reading import ReadingError, read_exchanges

    data = _bytes_of(target)
    try:
        if is_har(data):
            found = read_har(data)
            chosen = found if is_all else [each for each in found if each.response.status in _REFUSALS]
            if not chosen:
                msg = f"None of the {len(found)} responses in {target} is a 207 or of 400 and above; --all inspects all of them."
                raise CommandError(msg)
            return chosen
        found = read_exchanges(data, None if method is None else SentRequest(method=method))
    except ReadingError as error:
        raise CommandError(str(error)) from error
    return found if is_all else found[-1:]


def _bytes_of(name: str) -> bytes:
    """What a file holds; `-` is standard input. Raises CommandError where it cannot be read, or is too large."""
    try:
        if name == _STDIN:
            data = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with open(name, "rb") as file:
                data = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        msg = f"{name} cannot be read: {getattr(error, 'strerror', None) or error}."
        raise CommandError(msg) from error
    if len(data) > _MOST_BYTES:
        msg = f"{name} has more than {_MOST_BYTES >> 20} MiB, the most that is read."
        raise CommandError(msg)
    return data


def _report(
    source: str, exchanges: list[Exchange], form: str, output: Path | None, fail_on: str, *, is_brief: bool
) -> int:
    from holdfast.inspector.inspecting import inspect as inspected
    from holdfast.inspector.notes import Level
    from holdfast.inspector.showing import Shown
    from holdfast.inspector.showing.shown import reaches

    now = datetime.now(UTC)
    shown = [Shown(source, inspected(each, now=now)) for each in exchanges]
    threshold = None if fail_on == "never" else Level(fail_on)
    _write(shown, form, output, threshold, is_brief=is_brief)
    return FOUND if any(reaches(note, threshold) for each in shown for note in each.report.notes) else 0


def _write(shown: list[Shown], form: str, output: Path | None, threshold: Level | None, *, is_brief: bool) -> None:
    from rich.console import Console

    from holdfast.inspector.showing import Form, render
    from holdfast.inspector.showing.text import show

    if output is None and form == Form.TEXT:
        show(Console(), shown, is_brief=is_brief)
        return
    text = render(Form(form), shown, threshold=threshold, is_brief=is_brief)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        msg = f"{output} cannot be written: {error.strerror or error}."
        raise CommandError(msg) from error
