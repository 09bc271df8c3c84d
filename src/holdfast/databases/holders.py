"""Holder: one who has something locked in a database, told in the same words whatever database it is.

Owns: that value, its line for a log, and the errors of asking. Must not know: how a holder is found or ended.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from datetime import UTC, datetime
from typing import Final

import msgspec

from holdfast.databases.codes import Dialect
from holdfast.wire.sentences import clean

__all__ = ["Holder", "MissingDriverError", "UnreachableDatabaseError", "WhoError", "rank", "span_text"]

_LONGEST_STATEMENT: Final = 160
_SCRIPT: Final = re.compile(r"[^-=].*\.(py|pyz|rb|js|mjs|ts|pl|php|sh|jar)", re.ASCII)
_MODULE: Final = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
_COMMENT: Final = re.compile(r"/\*.*?(?:\*/|$)|--[^\n]*|#[^\n]*", re.DOTALL)
_LITERAL: Final = re.compile(
    r"""'(?:[^'\\]|\\.|'')*(?:'|$)|(?<![\w.])"(?:[^"\\]|\\.)*(?:"|$)|\$(\w*)\$.*?(?:\$\1\$|$)""", re.DOTALL
)
_TABLE: Final = r"(?P<table>[\w$.`]+)"
_KINDS: Final = (
    re.compile(rf"(?P<kind>UPDATE)\s+(?:(?:LOW_PRIORITY|IGNORE|ONLY|OR\s+\w+)\s+)*{_TABLE}", re.IGNORECASE),
    re.compile(
        rf"(?P<kind>INSERT|REPLACE|MERGE)\s+(?:(?:LOW_PRIORITY|DELAYED|IGNORE|OR\s+\w+)\s+)*INTO\s+{_TABLE}",
        re.IGNORECASE,
    ),
    re.compile(rf"(?P<kind>DELETE)\s+(?:\w+\s+)*?FROM\s+(?:ONLY\s+)?{_TABLE}", re.IGNORECASE),
    re.compile(
        rf"(?P<kind>(?:ALTER|CREATE|DROP|LOCK|TRUNCATE)\s+TABLES?)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+|ONLY\s+)*{_TABLE}",
        re.IGNORECASE,
    ),
    re.compile(rf"(?P<kind>SELECT)\b.*?\bFROM\s+{_TABLE}", re.IGNORECASE | re.DOTALL),
)


class WhoError(Exception):
    """The database was asked who holds it, and would not say; the text is a plain sentence."""


class MissingDriverError(WhoError):
    """No driver for this database is installed; the text says how to install one."""


class UnreachableDatabaseError(WhoError):
    """There is no such database, or it could not be connected to."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """One who holds something in a database. What is not known is empty or None.

    `pid` is PostgreSQL's process, MySQL's connection, or for SQLite a process of this machine; None where there is none (a
    prepared transaction) or it cannot be seen. `since` is when its transaction began and `held_s` how many seconds ago that was by the
    database's clock; SQLite does not tell either, but for transactions of this process that are watched. `started_at` is when the
    session or the process itself began: a process has its locks since then at the earliest. `last_write_at` is for SQLite when anything
    was last written to the file, its -wal or its -journal, by whomever; a transaction may be much younger or older. `doing` says what it does, as the end of a sentence that begins with its name. `resource` is what it holds,
    `mode` how. `blocks` are those who wait for it, directly or behind others; `is_waiting`: it waits itself, so it is not
    where the queue begins. `is_certain` is False for one who may hold what is asked about, and of whom the database tells no
    more than that (`note` says why). `began_at` is the place in the code of this process where its transaction began
    (`holdfast.databases.watching`). `transaction` is InnoDB's number of its transaction. `prepared` is the name of a prepared transaction, which belongs to no session.

    >>> ada = Holder(dialect=Dialect.POSTGRESQL, pid=4711, user="ada", doing="is idle in a transaction", held_s=312, blocks=(4712,))
    >>> print(ada)
    4711 (ada): is idle in a transaction, for 5 min; 1 waits for it
    """

    dialect: Dialect
    doing: str
    pid: int | None = None
    user: str = ""
    program: str = ""
    host: str = ""
    database: str = ""
    state: str = ""
    statement: str = ""
    resource: str = ""
    mode: str = ""
    since: datetime | None = None
    held_s: float | None = None
    started_at: datetime | None = None
    last_write_at: datetime | None = None
    blocks: tuple[int, ...] = ()
    is_in_the_way: bool = True
    is_waiting: bool = False
    is_certain: bool = True
    is_this_process: bool = False
    began_at: str = ""
    transaction: str = ""
    prepared: str = ""
    note: str = ""

    @property
    def id(self) -> str:
        """What `holdfast db kill` takes: the number, and a mark of this very session and transaction, so that no other is met."""
        if self.prepared:
            return f"prepared:{self.prepared}"
        if self.pid is None:
            return ""
        begun = None if self.dialect is Dialect.SQLITE else self.since
        marks = f"{self.started_at}|{begun}|{self.user}|{self.transaction}"
        return f"{self.pid}.{hashlib.sha256(marks.encode()).hexdigest()[:4]}"

    @property
    def name(self) -> str:
        """The number and who that is: `4711 (ada, reports, on 10.0.0.7)`."""
        number = f"prepared transaction {clean(self.prepared)!r}" if self.prepared else str(self.pid or "somebody")
        host = f"on {clean(self.host)}" if self.host else ""
        who = ", ".join(word for word in (clean(self.user), clean(self.program), host) if word)
        return f"{number} ({who})" if who else number

    @property
    def program_name(self) -> str:
        """What it calls itself; of a process of this machine the program's bare name, for a command line may have passwords in it.

        >>> Holder(dialect=Dialect.SQLITE, doing="is writing", program="/usr/bin/python3 app.py --password=hunter2").program_name
        'python3'
        """
        return os.path.basename(self._words()[0].strip("[]:")) if self._words() else self.program

    @property
    def brief(self) -> str:
        """Its line for a log or a message, which more people read than may see its data: without what stands in its statement or its
        command line but the kind of statement, the table, and the script.

        >>> print(Holder(dialect=Dialect.MYSQL, pid=7, doing="is idle", statement="UPDATE usr SET pw = 'hunter2'").brief)
        7: is idle; last statement: UPDATE usr ...
        """
        program = " ".join([self.program_name, *_script_of(self._words())])
        return str(msgspec.structs.replace(self, program=program, statement=_kind_of(self.statement)))

    def _words(self) -> list[str]:
        """Of the command line, where `program` is one."""
        if self.dialect is not Dialect.SQLITE:
            return []
        try:
            return shlex.split(self.program)
        except ValueError:  # it was cut off within quotes
            return self.program.split()

    def __str__(self) -> str:
        """One line for whoever may see all of it, statement and command line included; `brief` is for logs."""
        parts = [f"{self.name}: {self.doing}"]
        if self.held_s is not None:
            parts.append(f", for {span_text(self.held_s)}")
        if self.resource or self.mode:
            parts.append(f", holds {' '.join(word for word in (self.resource, self._bracketed()) if word)}")
        if self.statement:
            parts.append(f"; last statement: {clean(self.statement, _LONGEST_STATEMENT)}")
        if self.began_at:
            parts.append(f"; began at {self.began_at}")
        if self.blocks:
            parts.append(f"; {len(self.blocks)} {'waits' if len(self.blocks) == 1 else 'wait'} for it")
        if self.dialect is Dialect.SQLITE and self.held_s is None and self.started_at is not None:
            parts.append(f"; process since {_instant_text(self.started_at)}")
        if self.last_write_at is not None:
            parts.append(f"; last write {_instant_text(self.last_write_at)}")
        if self.note:
            parts.append(f"; {self.note}")
        return "".join(parts)

    def _bracketed(self) -> str:
        return f"({self.mode})" if self.mode and self.resource else self.mode


def _script_of(words: list[str]) -> list[str]:
    """What an interpreter runs, by its command line: a script that is there or is called like one, or a module of Python's.

    >>> _script_of(["python3", "/srv/report.py", "hunter2"]), _script_of(["python3", "-m", "shop.nightly", "hunter2"])
    (['report.py'], ['-m', 'shop.nightly'])
    """
    if words[1:2] == ["-m"]:
        is_python = os.path.basename(words[0]).startswith("python")
        return words[1:3] if is_python and all(_MODULE.fullmatch(word) for word in words[2:3]) else []
    return [
        os.path.basename(word)
        for word in words[1:2]
        if _SCRIPT.fullmatch(word) or (os.path.isabs(word) and os.path.isfile(word))
    ]


def _kind_of(statement: str) -> str:
    """What kind of statement it is, and of which table, without anything else that stands in it.

    >>> _kind_of("SELECT 'FROM hunter2', n FROM orders WHERE id = 4"), _kind_of("SET PASSWORD = 'hunter2'"), _kind_of("")
    ('SELECT orders ...', 'SET ...', '')
    """
    plain = _LITERAL.sub("''", _COMMENT.sub(" ", statement)).strip()
    for kind in _KINDS:
        found = kind.match(plain)
        if found is not None:
            return f"{' '.join(found['kind'].split())} {found['table']} ..."
    first = re.match(r"[A-Za-z]+", plain)
    return f"{first[0]} ..." if first else ""


def _instant_text(instant: datetime) -> str:
    """For a log, which may be read anywhere."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def rank(holder: Holder) -> tuple[bool, bool, int, float]:
    """For sorting: where the queue begins comes first, then who keeps the most waiting, then who has it longest."""
    return not holder.is_in_the_way, holder.is_waiting, -len(holder.blocks), -(holder.held_s or 0)


def span_text(seconds: float) -> str:
    """A span of time, in one unit.

    >>> span_text(0.2), span_text(59), span_text(7300)
    ('0.2 s', '59 s', '2 h')
    """
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s".replace(".0 s", " s")
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
