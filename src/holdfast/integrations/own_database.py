"""Locks in the application's own database, beside what they protect.

Owns: making a LockTable, or one that the application has made, into a LockBackend. Must not know: frameworks, SQL.
"""

from __future__ import annotations

from holdfast.integrations.backends import LockBackend

__all__ = ["backend_of"]


def backend_of(where: object) -> LockBackend:
    """A backend in the database of an SQLAlchemy engine. Raises ValueError for anything else."""
    msg = f"Locks needs a place: sqlite:///locks.db, the URL of a Holdfast server, or the application's SQLAlchemy engine, not {where!r}"
    raise ValueError(msg)
