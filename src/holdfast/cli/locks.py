"""`holdfast locks`: what is held, in a state folder, or at and below a URL.

Owns: the command and its table. Must not know: how a store is opened (`standing`), or a server asked (`remote_locks`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from holdfast.cli.credentials import UserFlag, is_url
from holdfast.cli.instants import local_text
from holdfast.cli.standing import JsonFlag, StateFlag, aligned, as_json, opened, parse_path, whole_second
from holdfast.cli.terminal import CommandError, escape, say
from holdfast.core.model import Depth, Lock, LockScope
from holdfast.core.paths import ResourcePath
from holdfast.registry import Filter
from holdfast.wire.sentences import clean, holder_text, program_name

__all__ = ["locks"]


def locks(
    folder: Annotated[
        str | None,
        Parameter(
            name="DIR", help="The served folder; default: the current folder. Or a URL, for the locks of a server."
        ),
    ] = None,
    /,
    *,
    under: Annotated[str, Parameter(help="Only locks at and below this path.")] = "/",
    state: StateFlag = None,
    watch: Annotated[
        bool, Parameter(help="URL: follow what happens to locks, until Ctrl-C.", negative="", show_default=False)
    ] = False,
    user: UserFlag = None,
    json: JsonFlag = False,
) -> None:
    """List the locks that are held, whether or not the server runs: what, who, since and until when.

    Times are this machine's. Lock tokens are not shown. With a URL in place of DIR
    the server is asked: for what is locked at and below it (Holdfast), or for the
    locks on it (other WebDAV servers, which have no list).

    For example:

        holdfast locks /srv/team
        holdfast locks --under /dav/plans --state /var/lib/holdfast --json
        holdfast locks --watch http://127.0.0.1:4230/
    """
    if folder is not None and is_url(folder):
        from holdfast.cli.remote_locks import list_url, watch_url

        if state is not None or under != "/":
            raise CommandError("--under and --state go with a served folder: a URL says itself what is asked for.")
        (watch_url if watch else list_url)(folder, user, json=json)
        return
    if watch:
        raise CommandError("--watch follows a running server: name its URL in place of its folder.")
    _list_state(None if folder is None else Path(folder), parse_path(under), state, json=json)


def _list_state(folder: Path | None, path: ResourcePath, state: Path | None, *, json: bool) -> None:
    with opened(folder, state) as standing:
        found = standing.find(Filter(under=path))
        if json:
            say(as_json([standing.shown(lock) for lock in found]))
            return
        if not found:
            say(f"Nothing is locked{'' if path.is_root else f' at or below {escape(path.text)}'}.")
            return
        rows = [_row(lock, standing.now, standing.offset) for lock in found]
        for line in aligned([("RESOURCE", "HOLDER", "SINCE", "UNTIL", "LOCK", "REASON"), *rows]):
            say(escape(line))


def _row(lock: Lock, now: datetime, offset: timedelta) -> tuple[str, ...]:
    program = program_name(lock.client)
    kind = "shared" if lock.scope is LockScope.SHARED else "exclusive"
    return (
        clean(lock.root.text, 200) + ("" if lock.depth is Depth.ZERO else "/**" if not lock.root.is_root else "**"),
        holder_text(lock.principal, lock.owner) + (f" ({program})" if program else ""),
        local_text(lock.created_at + offset, now),
        "no end" if lock.expires_at is None else local_text(whole_second(lock.expires_at + offset), now),
        kind,
        clean(lock.reason),
    )
