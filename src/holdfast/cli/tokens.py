"""`holdfast tokens`: make, list and end the API tokens of programs.

Owns: the commands, and that a token is shown once. Must not know: a token's form, the file's format. The token
is all that `create` writes to standard output, so that a script can take it; the rest goes to standard error.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from holdfast.access.passwords import UnusableNameError
from holdfast.access.tokens import TokenRecord, make_token
from holdfast.access.users_file import GRANTABLE, UsersFile, parse_grant
from holdfast.cli.instants import parse_span
from holdfast.cli.terminal import CommandError, escape, say, warn
from holdfast.cli.users import default_users_file
from holdfast.clock import Clock

__all__ = ["tokens_app"]

tokens_app = App(name="tokens", help="Make, list and revoke API tokens for programs, in the file of the users.")

FileFlag = Annotated[
    Path | None, Parameter(name="--users", help="The users file; default: ~/.config/holdfast/users.json.")
]


@tokens_app.command
def create(
    name: Annotated[str, Parameter(help="The token's name: the locks it takes show `token:NAME`.")],
    /,
    *,
    role: Annotated[str, Parameter(help="What it may do: reader, writer, admin.")] = "writer",
    path: Annotated[str, Parameter(help="At and below which path it may do so; elsewhere it may do nothing.")] = "/",
    expires: Annotated[
        str, Parameter(help="How long it stands, such as 12h, 90d or 2w (m, h, d, w), or never.")
    ] = "90d",
    users: FileFlag = None,
) -> None:
    """Make an API token and show it, this once. A running server takes it up within a second or two.

    A program sends it as `Authorization: Bearer TOKEN`. Only a hash of it is kept.

    For example:

        holdfast tokens create backup --role reader
        holdfast tokens create ci --path /dav/builds --expires 30d --users team.json
    """
    file = _open(users)
    now = Clock().now().replace(microsecond=0)
    grants = (parse_grant(f"{role}:{path}"),)
    expires_at = _parse_end(expires, now)
    try:
        token, record = make_token(name, grants, created_at=now, expires_at=expires_at)
    except UnusableNameError as error:
        raise CommandError(str(error)) from error
    if users is None:
        file.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.add_token(record, now)
    say(token)
    warn(
        f"this is the token of {record.principal.name} ({_words(record)}), {_end_of(record, now)}. It is shown this once "
        f"and kept nowhere: only its hash is in {file.path}."
    )


@tokens_app.command(name="list")
def list_tokens(*, users: FileFlag = None) -> None:
    """List the tokens: name, id (`hf_ID_` is how the token begins), what each may do, since and until when.

    For example:

        holdfast tokens list --users team.json
    """
    file = _open(users)
    now = Clock().now()
    records = sorted(file.load_all().tokens.values(), key=lambda record: record.name)
    if not records:
        say(escape(f"There are no tokens in {file.path}."))
    width = max((len(record.name) for record in records), default=0)
    for record in records:
        since = f"created {_show(record.created_at)}"
        say(escape(f"{record.name:<{width}}  {record.id}  {_words(record)}  {since}  {_end_of(record, now)}"))


@tokens_app.command
def revoke(name: Annotated[str, Parameter(help="The token's name, or its id.")], /, *, users: FileFlag = None) -> None:
    """End a token. A running server lets it in no more within a second or two; its locks stay until they end or are broken.

    For example:

        holdfast tokens revoke ci
    """
    file = _open(users)
    record = file.remove_token(name)
    say(escape(f"Revoked {record.name} ({record.id}) in {file.path}."))


def _open(path: Path | None) -> UsersFile:
    return UsersFile(default_users_file() if path is None else path.expanduser())


def _parse_end(text: str, now: datetime) -> datetime | None:
    if text == "never":
        return None
    return now + parse_span(text, "--expires", otherwise=", or never")


def _words(record: TokenRecord) -> str:
    words = {role: word for word, role in GRANTABLE.items()}
    return ", ".join(f"{words[grant.role]} at {grant.path.text}" for grant in record.grants)


def _end_of(record: TokenRecord, now: datetime) -> str:
    if record.expires_at is None:
        return "never expires"
    return f"{'expired' if record.is_expired_at(now) else 'expires'} {_show(record.expires_at)}"


def _show(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
