"""Databases that are locked: by whom, until when, and what must be done again.

Nothing here needs a server of Holdfast. SQLAlchemy 2 is needed for what asks a database; `classify` needs no library at all.
"""

from holdfast.databases.classify import LockedDatabase, classify
from holdfast.databases.codes import Dialect, LockKind, RetryUnit

__all__ = ["Dialect", "LockKind", "LockedDatabase", "RetryUnit", "classify"]
