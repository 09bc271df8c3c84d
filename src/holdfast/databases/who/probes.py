"""Which statements may be run to see whom they wait for: those that a ROLLBACK undoes.

Owns: that decision. Must not know: how they are run.

Theory of operation: whoever types a probe may do anything in the database anyway; but what is said to be rolled back must be. MySQL
commits before and after most statements that change anything but rows, so there are only some that may be run. PostgreSQL undoes nearly
all, so there it is the end of a transaction that may not be in it.
"""

from __future__ import annotations

import re
from typing import Final

from holdfast.databases.codes import Dialect
from holdfast.databases.holders import WhoError

__all__ = ["check_probe"]

_QUOTED: Final = {
    Dialect.MYSQL: re.compile(
        r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`[^`]*`|/\*(?!M?!).*?\*/|--(?=\s)[^\n]*|\#[^\n]*""", re.DOTALL
    ),
    Dialect.POSTGRESQL: re.compile(
        r"""'(?:[^']|'')*'|"[^"]*"|(?<!\w)\$(\w*)\$.*?\$\1\$|/\*.*?\*/|--[^\n]*""", re.DOTALL
    ),
}
"""What may stand in a statement without being a part of its words. A comment that MySQL runs (`/*!`) is none."""

_UNDONE: Final = re.compile(
    r"\(*\s*(SELECT|WITH|UPDATE|DELETE|INSERT|REPLACE|TABLE|VALUES)\b(?!.*\bINTO\s+(OUT|DUMP)FILE\b)",
    re.IGNORECASE | re.DOTALL,
)
_ENDING: Final = re.compile(r"(COMMIT|END|ROLLBACK|ABORT|BEGIN|START|PREPARE\s+TRANSACTION)\b", re.IGNORECASE)


def check_probe(dialect: Dialect, statement: str) -> None:
    """Raises WhoError for a statement that may not be run.

    >>> check_probe(Dialect.MYSQL, "SELECT 1 FROM orders WHERE id = 42 FOR UPDATE;")
    >>> check_probe(Dialect.POSTGRESQL, "LOCK TABLE orders")
    """
    words = _QUOTED[dialect].sub(" '' ", statement).strip().removesuffix(";").strip()
    if ";" in words:
        msg = "A probe is one statement, so that all of it is rolled back."
        raise WhoError(msg)
    words = re.sub(r"^(\s*''\s+)+", "", words)  # comments before it
    if dialect is Dialect.MYSQL and not _UNDONE.match(words):
        msg = "A probe on MySQL is a SELECT ... FOR UPDATE, UPDATE, DELETE, INSERT or REPLACE: it commits whatever else it does, and nothing would be rolled back. Who has locked a table is told with --table."
        raise WhoError(msg)
    if dialect is Dialect.POSTGRESQL and _ENDING.match(words):
        msg = "A probe does not begin or end a transaction: it is run in one that is rolled back."
        raise WhoError(msg)
