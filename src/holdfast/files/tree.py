"""StagedTree: a copy on its way.

Owns: the life of one staged copy. Must not know: how it is made or placed.
"""

from __future__ import annotations

from holdfast.core.paths import ResourcePath
from holdfast.files.removal import remove_tree
from holdfast.files.renames import Place
from holdfast.files.staging import Staging

__all__ = ["StagedTree"]


class StagedTree:
    """A finished copy that nobody sees yet: placed with `place_tree`, or discarded."""

    __slots__ = ("_name", "_staging", "is_whole_collection", "source")

    def __init__(self, staging: Staging, name: str, source: ResourcePath, *, is_whole_collection: bool) -> None:
        """Use `stage_copy`."""
        self._staging = staging
        self._name = name
        self.source = source
        self.is_whole_collection = is_whole_collection

    @property
    def place(self) -> Place:
        """Where it lies."""
        return self._staging.descriptor, self._name

    @property
    def is_spent(self) -> bool:
        """True once it was placed or discarded."""
        return not self._name

    def used(self) -> None:
        """Forget the tree: it lies in the served folder now."""
        self._name = ""

    def discard(self) -> None:
        """Remove it; harmless when it was already placed or discarded."""
        name, self._name = self._name, ""
        if name:
            remove_tree(self._staging.descriptor, name, self._staging.fresh_name)
