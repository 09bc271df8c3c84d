"""A locked database of the application's own as the 423 that its client gets.

Owns: which errors a framework hands over for that, and the answer. Must not know: frameworks. What is a lock's doing and who holds it
is told by `holdfast.databases`. SQLAlchemy is needed only by applications that use it.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import msgspec

from holdfast.core.paths import ROOT, InvalidPathError, ResourcePath
from holdfast.integrations.answering import LINKS_LEFT_OUT, answer_locked
from holdfast.wire.exchange import Response

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["answer_database_error", "database_errors"]


def database_errors() -> tuple[type[Exception], ...]:
    """The errors that may be about a locked database; many are not, and `answer_database_error` tells."""
    from holdfast.databases.patience import DatabaseLockedError

    try:
        from sqlalchemy.exc import DBAPIError
    except ModuleNotFoundError:
        return DatabaseLockedError, sqlite3.OperationalError
    return DatabaseLockedError, DBAPIError, sqlite3.OperationalError


def answer_database_error(
    error: Exception, engine: Engine | str | None, path: str, accept: str | None = None
) -> Response | None:
    """The 423 with its Retry-After, and the holder where `engine` (or a URL) is given to ask for it; None for any other error.

    `path` is the decoded path of the request.
    """
    from holdfast.databases.answering import answer_error

    try:
        resource = ResourcePath.from_text(path)
    except InvalidPathError:
        resource = ROOT
    found = answer_error(error, engine, resource=resource)
    return None if found is None else answer_locked(msgspec.structs.replace(found, links=LINKS_LEFT_OUT), accept)
