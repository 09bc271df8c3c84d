"""Every rule about one exchange, one module for each family. `RULES` is full once this package is imported."""

from holdfast.inspector.notes import RULES
from holdfast.inspector.rules import (
    caching_fields,
    fields,
    good,
    locked_bodies,
    media_types,
    multistatus,
    problems,
    semantics,
    status_bodies,
    statuses,
)

__all__ = [
    "RULES",
    "caching_fields",
    "fields",
    "good",
    "locked_bodies",
    "media_types",
    "multistatus",
    "problems",
    "semantics",
    "status_bodies",
    "statuses",
]
