"""The store's clock, going on where it was when the store was last open.

Owns: the kept anchor, and what a restart of the machine means for it and for fencing tokens. Must not know: locks.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from holdfast.clock import Anchor, Clock
from holdfast.store.sqlite import queries
from holdfast.store.sqlite.opening import explain, patiently

__all__ = ["resume"]


def resume(connection: sqlite3.Connection, path: Path, clock: Clock, *, busy_limit_s: float) -> Clock:
    """The clock that goes on from the kept anchor; after a restart of the machine, from a new one, which is kept.

    Raises StoreError when the database at `path`, which `connection` has open, cannot be written.
    """
    try:
        patiently(lambda: connection.execute("BEGIN IMMEDIATE"), busy_limit_s)
        try:
            row = connection.execute(queries.READ_ANCHOR).fetchone()
            latest_us: int = connection.execute(queries.READ_LATEST_INSTANT).fetchone()[0]
            resumed = clock.resumed(Anchor(*row), latest_us) if row else clock
            if row is None or resumed.anchor != Anchor(*row):
                anchor = resumed.anchor
                connection.execute(queries.SKIP_FENCING_TOKENS)
                connection.execute(queries.WRITE_ANCHOR, (anchor.wall_us, anchor.uptime_us, anchor.boot))
            # Also the proof that the file can be written: SQLite begins on a read-only one without complaint.
            connection.execute(queries.WRITE_LATEST_INSTANT, (resumed.now_us(),))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise explain(error, path) from error
    return resumed
