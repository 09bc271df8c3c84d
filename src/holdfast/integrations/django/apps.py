"""The app, as Django finds it. Its label, and so the prefix of its tables and templates, is `holdfast`."""

from __future__ import annotations

from typing import ClassVar

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

__all__ = ["HoldfastConfig"]


class HoldfastConfig(AppConfig):
    """Registers the check of the setting HOLDFAST."""

    name = "holdfast.integrations.django"
    label = "holdfast"
    verbose_name = "Locks"
    default_auto_field: ClassVar[str] = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Once Django knows every app."""
        register(_check_setting)


def _check_setting(**_: object) -> list[CheckMessage]:
    """`manage.py check` says what is wrong with HOLDFAST, before a request meets it."""
    from holdfast.integrations.django.configuration import configured

    try:
        configured()
    except ValueError as error:
        return [Error(str(error), id="holdfast.E001")]
    return []
