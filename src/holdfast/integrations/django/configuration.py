"""The setting HOLDFAST, read once: where the locks are kept, and how long an edit lock lasts.

Owns: its keys and their defaults. Must not know: requests, models (they are imported when the locks are first used).

    HOLDFAST = {
        "LOCKS": "database",    # or "sqlite:///locks.db", or the URL of a Holdfast server
        "DATABASE": "default",  # the alias in DATABASES that keeps them, with "database"
        "TOKEN": "", "AUTH": None,  # the application's credentials at a Holdfast server
        "GUARD": [],            # URL paths below which no change to a locked path passes
        "PRINCIPAL": None,      # who sends a request: a function of it, or the name of one; without it, who is logged in
        "MAY_SEE": None,        # may the sender of a request see who has a resource: a function of both; without it, who is known
        "EDIT_TTL": 300,        # seconds after its last sign of life that an edit lock ends
        "EDIT_HEARTBEAT": 20,   # seconds between two signs of life of an open form
        "EDIT_IDLE": 1800,      # seconds without a key or a click after which a form gives none any more
    }
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, cast

import msgspec
from django.conf import settings
from django.core.signals import setting_changed
from django.http import HttpRequest
from django.utils.module_loading import import_string

from holdfast.integrations.backends import Locks

__all__ = ["Configuration", "EditLocks", "PrincipalRule", "SightRule", "configured", "edit_locks", "locks"]

_LEAST_TTL_S: Final = 10

PrincipalRule = Callable[[HttpRequest], Any]
"""Who sends a request: a user, or a name; None for nobody who is known."""

SightRule = Callable[[HttpRequest, str], bool]
"""May whoever sends the request see who has the resource with this path, decoded?"""


class EditLocks(msgspec.Struct, frozen=True):
    """How the edit locks of the admin, and of `Lockable`, live; all in seconds."""

    ttl: float = 300
    heartbeat: float = 20
    idle: float = 1800


class Configuration(msgspec.Struct, frozen=True):
    """HOLDFAST as a value. `database` is an alias in DATABASES."""

    where: str = "database"
    database: str = "default"
    token: str = ""
    auth: tuple[str, str] | None = None
    guard: tuple[str, ...] = ()
    principal: PrincipalRule | None = None
    may_see: SightRule | None = None
    edit: EditLocks = EditLocks()


_KEYS: Final = (
    "LOCKS",
    "DATABASE",
    "TOKEN",
    "AUTH",
    "GUARD",
    "PRINCIPAL",
    "MAY_SEE",
    "EDIT_TTL",
    "EDIT_HEARTBEAT",
    "EDIT_IDLE",
)


@cache
def configured() -> Configuration:
    """The setting in force. Raises ValueError where it says something that cannot be."""
    given = cast("Mapping[str, Any]", getattr(settings, "HOLDFAST", {}))
    unknown = sorted(set(given) - set(_KEYS))
    if unknown:
        msg = f"HOLDFAST has no key {', '.join(unknown)}; there are {', '.join(_KEYS)}"
        raise ValueError(msg)
    guard: str | Sequence[str] = given.get("GUARD", ())
    usual = EditLocks()
    edit = EditLocks(
        ttl=float(given.get("EDIT_TTL", usual.ttl)),
        heartbeat=float(given.get("EDIT_HEARTBEAT", usual.heartbeat)),
        idle=float(given.get("EDIT_IDLE", usual.idle)),
    )
    if edit.ttl < _LEAST_TTL_S or not 0 < edit.heartbeat <= edit.ttl / 2:
        msg = f'HOLDFAST["EDIT_TTL"] is {_LEAST_TTL_S} seconds or more, and at least twice "EDIT_HEARTBEAT"'
        raise ValueError(msg)
    auth = given.get("AUTH")
    return Configuration(
        where=str(given.get("LOCKS", "database")),
        database=str(given.get("DATABASE", "default")),
        token=str(given.get("TOKEN", "")),
        auth=None if auth is None else (str(auth[0]), str(auth[1])),
        guard=(guard,) if isinstance(guard, str) else tuple(guard),
        principal=_function(given, "PRINCIPAL"),
        may_see=_function(given, "MAY_SEE"),
        edit=edit,
    )


@cache
def locks() -> Locks:
    """The locks of this project, wherever HOLDFAST says that they are kept. Raises ValueError for a place that is none."""
    found = configured()
    if found.where == "database":
        from holdfast.integrations.django.database import DjangoBackend

        return Locks(backend=DjangoBackend(found.database))
    return Locks(found.where, token=found.token, auth=found.auth)


def _function(given: Mapping[str, Any], key: str) -> Any:
    """What the key says: a function, or the dotted name of one. Raises ValueError for anything else."""
    said = given.get(key)
    found = import_string(said) if isinstance(said, str) else said
    if found is not None and not callable(found):
        msg = f'HOLDFAST["{key}"] is a function, or the name of one such as "app.rules.{key.lower()}", not {said!r}'
        raise ValueError(msg)
    return found


def edit_locks() -> EditLocks:
    """How edit locks live in this project."""
    return configured().edit


def _forget(*, setting: str, **_: object) -> None:
    """A test has overridden the setting: what was made of the old one is given back."""
    if setting != "HOLDFAST":
        return
    if locks.cache_info().currsize:
        locks().close()
    locks.cache_clear()
    configured.cache_clear()


setting_changed.connect(_forget, dispatch_uid="holdfast.configuration")
