"""Django's own 423s and edit locks: put `holdfast.integrations.django` into INSTALLED_APPS.

Nothing here may import a model: Django imports this package before its apps are ready.
"""

from __future__ import annotations

from holdfast.integrations.answering import LockedError, RefusalError
from holdfast.integrations.django.configuration import EditLocks, edit_locks, locks
from holdfast.integrations.django.guards import changing, lock, require_lock
from holdfast.integrations.django.naming import lock_resource

__all__ = [
    "EditLocks",
    "LockedError",
    "RefusalError",
    "changing",
    "edit_locks",
    "lock",
    "lock_resource",
    "locks",
    "require_lock",
]
