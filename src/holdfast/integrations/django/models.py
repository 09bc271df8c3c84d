"""The tables of locks that are kept in Django's own database.

Owns: the columns. Must not know: who asks, or the rules; what is done with the rows stands in `database`.

Instants are whole milliseconds since 1970 by the clock of the database, which all processes share: such a number is compared alike
by every database, whatever USE_TZ and TIME_ZONE say.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models

from holdfast.databases.rowvalues import LONGEST_PATH, instant

__all__ = ["Lock", "LockCounter", "LockPlace"]


class Lock(models.Model):
    """One granted lock. One that has ended stays for a day, so that its former holder can be told how.

    `token` is the secret that its holder shows with each change. `ended_at_ms` may lie ahead, where a break was given a grace.
    """

    id = models.CharField(primary_key=True, max_length=64)
    token = models.CharField(max_length=64, unique=True)
    root = models.CharField("resource", max_length=LONGEST_PATH, db_index=True)
    scope = models.CharField(max_length=16)
    depth = models.CharField(max_length=16)
    holder = models.CharField(max_length=255)
    owner = models.CharField(max_length=1000, blank=True)
    reason = models.CharField(max_length=1000, blank=True)
    client = models.CharField("program", max_length=255, blank=True)
    fencing_token = models.BigIntegerField(unique=True)
    created_at_ms = models.BigIntegerField()
    refreshed_at_ms = models.BigIntegerField()
    expires_at_ms = models.BigIntegerField(null=True)
    ended_at_ms = models.BigIntegerField(null=True)
    ended_how = models.CharField(max_length=16, blank=True)
    ended_by = models.CharField(max_length=255, blank=True)
    ended_reason = models.CharField(max_length=1000, blank=True)

    class Meta:
        """Its permission is what breaking somebody else's edit lock in the admin takes."""

        permissions = (("break_lock", "Can break the locks of others"),)
        ordering = ("root", "fencing_token")

    def __str__(self) -> str:
        return f"{self.holder} on {self.root}"

    @property
    def since(self) -> datetime:
        """When it was granted; aware, in UTC."""
        return instant(_number(self.created_at_ms))

    @property
    def refreshed_at(self) -> datetime:
        """Its last sign of life; aware, in UTC."""
        return instant(_number(self.refreshed_at_ms))

    @property
    def expires_at(self) -> datetime | None:
        """When it ends by itself; aware, in UTC; None for one without end."""
        return None if self.expires_at_ms is None else instant(_number(self.expires_at_ms))


class LockCounter(models.Model):
    """One row: the last fencing token. Whoever grants a lock changes it first, and so waits for all who are granting one."""

    last_fencing_token = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.last_fencing_token)


class LockPlace(models.Model):
    """The place in line of one who waits for a lock, which will have this id. A lower `seq` is earlier; it counts until `kept_until_ms`."""

    id = models.CharField(primary_key=True, max_length=64)
    seq = models.BigIntegerField(unique=True)
    root = models.CharField("resource", max_length=LONGEST_PATH, db_index=True)
    scope = models.CharField(max_length=16)
    depth = models.CharField(max_length=16)
    principal = models.CharField("who waits", max_length=255)
    owner = models.CharField(max_length=1000, blank=True)
    entered_at_ms = models.BigIntegerField()
    kept_until_ms = models.BigIntegerField()

    class Meta:
        """In the order of the line."""

        ordering = ("seq",)

    def __str__(self) -> str:
        return f"{self.principal} waits for {self.root}"


def _number(value: Any) -> int:
    return int(value)
