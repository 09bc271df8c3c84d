"""Databases that are locked: by whom, until when, and what must be done again.

Nothing here needs a server of Holdfast. `classify`, `who` for SQLite and `retry_locked()` without an engine need no library at all;
SQLAlchemy 2 is loaded where a name that needs it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from holdfast.databases.classify import LockedDatabase, classify
from holdfast.databases.codes import Dialect, LockKind, RetryUnit

# Not on first use as the others: the modules of the same names would stand in the functions' place once anything imported them.
from holdfast.databases.retrying import retry_locked, retrying, retrying_async, run_locked, run_locked_async
from holdfast.databases.who import who, who_async

if TYPE_CHECKING:
    from holdfast.databases.answering import answer_error, answer_error_async, locked_answer
    from holdfast.databases.doctor import Examination, examine, examine_async
    from holdfast.databases.holders import Holder, WhoError
    from holdfast.databases.immediate import begin_immediate, is_immediate
    from holdfast.databases.lockdecisions import LockLostError, NotHolderError, ResourceLockedError, TableMissingError
    from holdfast.databases.locktable import AsyncLockTable, LockTable
    from holdfast.databases.patience import DatabaseLockedError, Retry, RetryOptions
    from holdfast.databases.terminating import TerminationError, terminate, terminate_async
    from holdfast.databases.watching import OpenTransaction, open_transactions, watch

__all__ = [
    "AsyncLockTable",
    "DatabaseLockedError",
    "Dialect",
    "Examination",
    "Holder",
    "LockKind",
    "LockLostError",
    "LockTable",
    "LockedDatabase",
    "NotHolderError",
    "OpenTransaction",
    "ResourceLockedError",
    "Retry",
    "RetryOptions",
    "RetryUnit",
    "TableMissingError",
    "TerminationError",
    "WhoError",
    "answer_error",
    "answer_error_async",
    "begin_immediate",
    "classify",
    "examine",
    "examine_async",
    "is_immediate",
    "locked_answer",
    "open_transactions",
    "retry_locked",
    "retrying",
    "retrying_async",
    "run_locked",
    "run_locked_async",
    "terminate",
    "terminate_async",
    "watch",
    "who",
    "who_async",
]

# Where each public name lives.
_HOMES: Final = {
    "answering": ("answer_error", "answer_error_async", "locked_answer"),
    "doctor": ("Examination", "examine", "examine_async"),
    "holders": ("Holder", "WhoError"),
    "immediate": ("begin_immediate", "is_immediate"),
    "lockdecisions": ("LockLostError", "NotHolderError", "ResourceLockedError", "TableMissingError"),
    "locktable": ("AsyncLockTable", "LockTable"),
    "patience": ("DatabaseLockedError", "Retry", "RetryOptions"),
    "terminating": ("TerminationError", "terminate", "terminate_async"),
    "watching": ("OpenTransaction", "open_transactions", "watch"),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # a checker would take any name for a public one

    def __getattr__(name: str) -> object:
        """Import the module of a public name on its first use."""
        home = _HOME_OF.get(name)
        if home is None:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        value: object = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """The public names, those that are not loaded yet included."""
    return sorted({*globals(), *__all__})
