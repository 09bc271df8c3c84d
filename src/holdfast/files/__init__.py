"""The served folder: contained paths, reading, staged uploads, changes that leave the old or the new.

Owns: everything between a `ResourcePath` (relative to the folder) and the disk. Must not know: HTTP, locks, XML.
`Folder` is the way in.
"""

from holdfast.files.changes import Changes, refuse_overlap
from holdfast.files.errors import (
    AccessRefusedError,
    AlreadyExistsError,
    FilesError,
    FolderUnusableError,
    InsideItselfError,
    IsCollectionError,
    LengthMismatchError,
    NameRefusedError,
    ParentMissingError,
    ResourceNotFoundError,
    StorageFailedError,
    StorageFullError,
)
from holdfast.files.folder import Folder
from holdfast.files.resource import Resource
from holdfast.files.staging import Detached, StagedFile, Staging
from holdfast.files.tree import StagedTree

__all__ = [
    "AccessRefusedError",
    "AlreadyExistsError",
    "Changes",
    "Detached",
    "FilesError",
    "Folder",
    "FolderUnusableError",
    "InsideItselfError",
    "IsCollectionError",
    "LengthMismatchError",
    "NameRefusedError",
    "ParentMissingError",
    "Resource",
    "ResourceNotFoundError",
    "StagedFile",
    "StagedTree",
    "Staging",
    "StorageFailedError",
    "StorageFullError",
    "refuse_overlap",
]
