"""Changes to the served folder: each leaves the old or the new, for whoever looks and after a kill.

Owns: place, make_collection, detach, move, the copy's two halves, set_modified. Must not know: locks,
transactions, HTTP. Every function raises errors of this floor only.

Theory of operation. What becomes visible does so by one rename; what goes, goes by one rename into
staging. Where a collection is replaced, the two are exchanged in one step (RENAME_EXCHANGE) and the
old one is detached from where the new one was. A mounted file system inside the folder cannot be
reached by a rename: there the bytes are copied to a reserved, unguessable name beside the destination
first, with a note in staging so that the next process removes it if this one dies.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Generator
from typing import Final

from holdfast.core.paths import ResourcePath
from holdfast.files.beneath import Beneath
from holdfast.files.copying import copy_file, copy_tree, sync_collection
from holdfast.files.errors import (
    AccessRefusedError,
    AlreadyExistsError,
    FilesError,
    InsideItselfError,
    IsCollectionError,
    ParentMissingError,
    Refusals,
    ResourceNotFoundError,
    refusal_of,
)
from holdfast.files.names import hidden_name, is_reserved
from holdfast.files.removal import remove_tree
from holdfast.files.renames import Place, exchange, rename, rename_new
from holdfast.files.resource import Resource, resource_from
from holdfast.files.staging import Detached, Note, StagedFile, Staging
from holdfast.files.tree import StagedTree

__all__ = ["Changes", "refuse_overlap"]

_INSIDE: Final = "source and destination are one, or one holds the other"
_NOTHING: Final = "there is no such resource"
_RESERVED: Final = "nothing can be stored under that name"
_ROOT: Final = "the folder itself cannot be replaced or removed"
_TAKEN: Final = "a resource of that name exists already"
_PERMISSIONS: Final = 0o777
_WRITABLE: Final = 0o222


class Changes:
    """The changes to one served folder. Safe to use from any number of threads.

    With `sync=False` a durable change leaves the last step, writing the collection's entry to the disk,
    to a later `sync` of the paths concerned: so it need not be waited for inside a transaction.
    """

    def __init__(self, beneath: Beneath, staging: Staging, *, durable: bool) -> None:
        """With `durable`, a change is on the disk when its function returns (see `sync` for the exception)."""
        self._beneath = beneath
        self._staging = staging
        self._durable = durable

    def place(self, staged: StagedFile, path: ResourcePath, *, sync: bool = True) -> tuple[bool, Resource]:
        """Put a staged file at `path`, over a plain resource or as a new one (sealing it, if that was not done).

        Returns whether it is new, and what it is now. The permission bits of the replaced file (and, where
        the system lets us, its owner and group) are kept; its extended attributes are not. A link that
        leads inside stays, and its target is replaced.
        Raises IsCollectionError, ParentMissingError, AccessRefusedError, NameRefusedError, StorageFullError,
        StorageFailedError; what was there is then intact, and the staged file still to be discarded.
        """
        with Refusals(ParentMissingError):
            if is_reserved(path.text):
                raise AccessRefusedError(_RESERVED)
            if path.is_root:
                raise IsCollectionError(_TAKEN)
            staged.seal()
            place = self._beneath.parent(path)
            try:
                old = _look(place)
                if old is None or not stat.S_ISLNK(old.st_mode):
                    return self._put(staged, path, place, old, sync=sync)
            finally:
                self._beneath.release(place[0])
            place = self._followed(path)
            try:
                return self._put(staged, path, place, _look(place), sync=sync)
            finally:
                self._beneath.release(place[0])

    def make_collection(self, path: ResourcePath, *, sync: bool = True) -> None:
        """Make an empty collection. AlreadyExistsError, ParentMissingError, AccessRefusedError, ..."""
        with Refusals(ParentMissingError):
            if is_reserved(path.text):
                raise AccessRefusedError(_RESERVED)
            if path.is_root:
                raise AlreadyExistsError(_TAKEN)
            with self._parent(path) as place:
                try:
                    os.mkdir(place[1], _PERMISSIONS, dir_fd=place[0])
                except FileExistsError:
                    _, seen = self._occupant(place, path)
                    raise AlreadyExistsError(_TAKEN) if seen else AccessRefusedError(_RESERVED) from None
                if sync:
                    self._sync(place)

    def detach(self, path: ResourcePath, *, sync: bool = True) -> Detached:
        """Take a resource, with all below it, out of the folder in one step; a link goes without its target.

        The caller purges what is returned, when that suits, or restores it. ResourceNotFoundError,
        AccessRefusedError (the root, a mounted file system, a missing permission), ...
        """
        with Refusals():
            if path.is_root:
                raise AccessRefusedError(_ROOT)
            with self._parent(path) as place:
                found, seen = self._occupant(place, path)
                if found is None or not seen:
                    raise ResourceNotFoundError(_NOTHING)
                return self._take_out(place, path, home=place, sync=sync)

    def move(
        self, source: ResourcePath, destination: ResourcePath, *, overwrite: bool = True, sync: bool = True
    ) -> tuple[bool, Detached | None]:
        """Give a resource, with all below it, another path; what was there before is replaced as a whole.

        Returns whether the destination is new, and what is left for the caller to purge. A link is moved as
        it is, within its collection; links below a moved collection are not looked at. ResourceNotFoundError, ParentMissingError, AlreadyExistsError (`overwrite` is false),
        InsideItselfError, AccessRefusedError, NameRefusedError, StorageFullError, StorageFailedError.
        """
        refuse_overlap(source, destination)
        with Refusals(), self._parent(source) as old_place:
            found, seen = self._occupant(old_place, source)
            if found is None or not seen:
                raise ResourceNotFoundError(_NOTHING)
            with Refusals(ParentMissingError), self._parent(destination) as place:
                if stat.S_ISLNK(found.st_mode):
                    _refuse_astray(old_place, place)
                try:
                    answer = self._swap_in(old_place, place, destination, overwrite=overwrite, vacated=source)
                except OSError as error:
                    if error.errno == errno.EINVAL:
                        raise InsideItselfError(_INSIDE) from error
                    if error.errno != errno.EXDEV:
                        raise
                else:
                    if sync:
                        self._sync(place)
                        self._sync(old_place)
                    return answer
        return self._move_across(source, destination, overwrite=overwrite)

    def stage_copy(self, source: ResourcePath, *, depth_infinity: bool = True) -> StagedTree:
        """Copy a resource (a collection with all below it, or without its members) to where nobody sees it.

        Links are copied as what they point to. ResourceNotFoundError, AccessRefusedError,
        StorageFullError, NameRefusedError (a path in it became too long), StorageFailedError.
        """
        with Refusals():
            found = self._beneath.stat(source)
            whole = stat.S_ISDIR(found.st_mode) and depth_infinity
            staged = StagedTree(self._staging, self._staging.fresh_name(), source, is_whole_collection=whole)
            try:
                copy_tree(self._beneath, source, staged.place, whole=depth_infinity, durable=self._durable)
            except BaseException:
                staged.discard()
                raise
            return staged

    def place_tree(
        self, staged: StagedTree, destination: ResourcePath, *, overwrite: bool = True, sync: bool = True
    ) -> tuple[bool, Detached | None]:
        """Put a staged copy at `destination`, in place of all that is there.

        Returns and raises as `move`; on an error the staged copy is still to be discarded.
        """
        if destination == staged.source or (staged.is_whole_collection and destination.is_below(staged.source)):
            raise InsideItselfError(_INSIDE)
        with Refusals(ParentMissingError):
            _refuse_special(destination)
            with self._parent(destination) as place:
                try:
                    answer = self._swap_in(staged.place, place, destination, overwrite=overwrite, vacated=None)
                    staged.used()
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                    answer = self._place_across(staged, place, destination, overwrite=overwrite)
                if sync:
                    self._sync(place)
                return answer

    def set_modified(self, path: ResourcePath, modified_ns: int) -> Resource:
        """Set the modification time, in nanoseconds since 1970, kept within the years 1970 to 9999.

        A time in whole seconds gets digits below the second, so that the entity tag stays this content's own.
        Returns what the resource is now. ResourceNotFoundError, AccessRefusedError, ...
        """
        with Refusals():
            place = self._beneath.target(path)
            try:
                found = os.stat(place[1], dir_fd=place[0], follow_symlinks=False)
                if resource_from(path, found) is None:
                    raise ResourceNotFoundError(_NOTHING)
                modified = self._staging.stamped(modified_ns, chosen=True)
                os.utime(place[1], ns=(found.st_atime_ns, modified), dir_fd=place[0], follow_symlinks=False)
                resource = resource_from(path, os.stat(place[1], dir_fd=place[0], follow_symlinks=False))
            finally:
                self._beneath.release(place[0])
        if resource is None:
            raise ResourceNotFoundError(_NOTHING)
        return resource

    def sync(self, *paths: ResourcePath) -> None:
        """Write the entries of `paths` in their collections to the disk, where the folder is durable.

        For changes made with `sync=False`; a collection that is gone by now needs nothing. StorageFailedError.
        """
        if not self._durable:
            return
        for parent in {path.parent for path in paths}:
            with contextlib.suppress(ResourceNotFoundError), Refusals(), self._parent(parent.child("x")) as place:
                sync_collection(place[0])

    def _put(
        self, staged: StagedFile, path: ResourcePath, place: Place, old: os.stat_result | None, *, sync: bool
    ) -> tuple[bool, Resource]:
        status = staged.status
        if status is None or staged.is_spent:
            msg = "the staged file was placed or discarded before"
            raise ValueError(msg)
        if old is not None:
            if stat.S_ISDIR(old.st_mode):
                raise IsCollectionError(_TAKEN)
            if not stat.S_ISREG(old.st_mode) or (not old.st_mode & _WRITABLE and os.geteuid() != 0):
                raise AccessRefusedError(_RESERVED)
        try:
            _adopt(staged.place, status, place, old)
            self._rename_over(staged, place, old)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            status = self._put_across(staged, path, place, old)
            staged.discard()
        if sync:
            self._sync(place)
        resource = resource_from(path, status)
        if resource is None:
            raise ResourceNotFoundError(_NOTHING)
        return old is None, resource

    def _rename_over(self, staged: StagedFile, place: Place, old: os.stat_result | None) -> None:
        # Not durable: ext4 answers a rename over a file by writing the new one's blocks out at once, which
        # costs more than all the rest. An exchange does not, and what it leaves in staging is the old file.
        if old is None or self._durable or not exchange(staged.place, place):
            rename(staged.place, place)
            staged.used()
            return
        try:
            os.unlink(staged.place[1], dir_fd=staged.place[0])
        except OSError as error:  # a collection took the name since it was looked at
            exchange(staged.place, place)
            raise IsCollectionError(_TAKEN) from error
        staged.used()

    def _put_across(
        self, staged: StagedFile, path: ResourcePath, place: Place, old: os.stat_result | None
    ) -> os.stat_result:
        """As a rename, onto another file system: by way of a reserved name beside the destination."""
        with self._beside(place, path) as beside:
            source = os.open(staged.place[1], os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=staged.place[0])
            try:
                status = copy_file(source, beside, durable=self._durable)
            finally:
                os.close(source)
            _adopt(beside, status, place, old)
            rename(beside, place)
            return status

    @contextlib.contextmanager
    def _beside(self, place: Place, path: ResourcePath) -> Generator[Place]:
        """A reserved name beside `place`; what is left there at the end is removed, by the next process if need be."""
        beside = place[0], hidden_name()
        note = self._note_beside(place, path, beside[1])
        try:
            yield beside
        finally:
            if remove_tree(*beside, hidden_name):
                self._staging.forget(note)

    def _note_beside(self, place: Place, path: ResourcePath, name: str) -> str:
        above = self._beneath.path_of(place[0]) or path.parent
        return self._staging.note(Note(above.prefix + name), durable=self._durable)

    def _take_out(self, place: Place, path: ResourcePath, *, home: Place, sync: bool = False) -> Detached:
        """Detach what is at `place` (which is `path`); `home` is where a restore puts it."""
        slot = self._staging.fresh_name()
        try:
            rename(place, (self._staging.descriptor, slot))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            if sync:
                self._sync(place)
            return Detached(self._staging.descriptor, slot, home, self._staging.fresh_name, _nothing)
        slot = hidden_name()
        note = self._note_beside(place, path, slot)
        try:
            rename(place, (place[0], slot))
        except OSError:
            self._staging.forget(note)
            raise
        if sync:
            self._sync(place)
        return Detached(place[0], slot, home, hidden_name, lambda: self._staging.forget(note))

    def _swap_in(
        self, new: Place, place: Place, path: ResourcePath, *, overwrite: bool, vacated: ResourcePath | None
    ) -> tuple[bool, Detached | None]:
        """Rename `new` to `place` (which is `path`); `vacated` is the path of `new`, where it is in the folder."""
        old, seen = self._occupant(place, path)
        if old is None:
            rename_new(new, place)
            return True, None
        if not seen:
            raise AccessRefusedError(_RESERVED)
        if not overwrite:
            raise AlreadyExistsError(_TAKEN)
        moving = os.stat(new[1], dir_fd=new[0], follow_symlinks=False)
        if os.path.samestat(moving, old):
            _rename_same(new, place)
            return False, None
        if not stat.S_ISDIR(moving.st_mode) and not stat.S_ISDIR(old.st_mode):
            rename(new, place)
            return False, None
        if vacated is None:
            if exchange(new, place):
                slot = Detached(*new, home=place, fresh=self._staging.fresh_name, drop=_nothing)
                return False, slot
        else:
            note = self._staging.note(Note(vacated.text, old.st_ino), durable=self._durable)
            try:
                if exchange(new, place):
                    return False, self._take_out(new, vacated, home=place)
            finally:
                self._staging.forget(note)
        detached = self._take_out(place, path, home=place)
        try:
            rename_new(new, place)
        except OSError:
            detached.restore()
            raise
        return False, detached

    def _move_across(
        self, source: ResourcePath, destination: ResourcePath, *, overwrite: bool
    ) -> tuple[bool, Detached | None]:
        """Move between file systems: the copy appears at once, then the source goes at once."""
        staged = self.stage_copy(source)
        try:
            created, replaced = self.place_tree(staged, destination, overwrite=overwrite)
        except FilesError:
            staged.discard()
            raise
        try:
            return created, self.detach(source).joined(replaced)
        except FilesError:
            self.detach(destination).purge()
            if replaced is not None:
                replaced.restore()
            raise

    def _place_across(
        self, staged: StagedTree, place: Place, destination: ResourcePath, *, overwrite: bool
    ) -> tuple[bool, Detached | None]:
        with self._beside(place, destination) as beside:
            name = ResourcePath("/" + staged.place[1])
            copy_tree(self._staging.contents, name, beside, whole=True, durable=self._durable)
            created, replaced = self._swap_in(beside, place, destination, overwrite=overwrite, vacated=None)
            if replaced is not None:
                replaced.purge()
        staged.discard()
        return created, None

    @contextlib.contextmanager
    def _parent(self, path: ResourcePath) -> Generator[Place]:
        place = self._beneath.parent(path)
        try:
            yield place
        finally:
            self._beneath.release(place[0])

    def _followed(self, path: ResourcePath) -> Place:
        try:
            return self._beneath.target(path)
        except OSError as error:
            if isinstance(refusal_of(error), ResourceNotFoundError):
                raise AccessRefusedError(_RESERVED) from None
            raise

    def _occupant(self, place: Place, path: ResourcePath) -> tuple[os.stat_result | None, bool]:
        """What has the name (a link itself, not its target), and whether it is a resource that is served."""
        found = _look(place)
        if found is None:
            return None, False
        if not stat.S_ISLNK(found.st_mode):
            return found, resource_from(path, found) is not None
        try:
            return found, resource_from(path, self._beneath.stat(path)) is not None
        except OSError:
            return found, False

    def _sync(self, place: Place) -> None:
        if self._durable:
            sync_collection(place[0])


def refuse_overlap(source: ResourcePath, destination: ResourcePath) -> None:
    """InsideItselfError where a move cannot be: onto itself, or into or over a tree that holds the other."""
    _refuse_special(source)
    _refuse_special(destination)
    if destination.is_at_or_below(source) or source.is_below(destination):
        raise InsideItselfError(_INSIDE)


def _refuse_special(path: ResourcePath) -> None:
    if path.is_root:
        raise AccessRefusedError(_ROOT)
    if is_reserved(path.text):
        raise AccessRefusedError(_RESERVED)


def _refuse_astray(link: Place, place: Place) -> None:
    """Refuse to take a link where its target, relative to its collection, would be another."""
    is_relative = not os.readlink(link[1], dir_fd=link[0]).startswith("/")
    if is_relative and not os.path.samestat(os.fstat(link[0]), os.fstat(place[0])):
        raise AccessRefusedError("a link with a relative target cannot be moved to another collection")


def _look(place: Place) -> os.stat_result | None:
    try:
        return os.stat(place[1], dir_fd=place[0], follow_symlinks=False)
    except FileNotFoundError:
        return None


def _adopt(staged: Place, status: os.stat_result, place: Place, old: os.stat_result | None) -> None:
    """Give a staged file the owner, group and permission bits that belong where it goes, as far as we may."""
    at, name = staged[0], staged[1]
    with contextlib.suppress(PermissionError):
        if old is None:
            above = os.fstat(place[0])
            if above.st_mode & stat.S_ISGID and above.st_gid != status.st_gid:
                os.chown(name, -1, above.st_gid, dir_fd=at, follow_symlinks=False)
            return
        if (old.st_uid, old.st_gid) != (status.st_uid, status.st_gid):
            os.chown(name, old.st_uid, old.st_gid, dir_fd=at, follow_symlinks=False)
    with contextlib.suppress(PermissionError):
        if old is not None and (old.st_mode ^ status.st_mode) & _PERMISSIONS:
            os.chmod(name, old.st_mode & _PERMISSIONS, dir_fd=at)


def _rename_same(new: Place, place: Place) -> None:
    """Rename between two names of one inode: another spelling on a folding file system, or two hard links."""
    rename(new, place)
    # Between hard links rename does nothing (POSIX); a spelling that is still listed is a link to take away.
    if new[1] in os.listdir(new[0]) and not _same_place(new, place):  # by descriptor
        os.unlink(new[1], dir_fd=new[0])


def _same_place(one: Place, other: Place) -> bool:
    return one[1] == other[1] and os.path.samestat(os.fstat(one[0]), os.fstat(other[0]))


def _nothing() -> None:
    """A detached tree without a note has nothing to forget."""
