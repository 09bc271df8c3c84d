"""Who may do what: principals, roles, and the grants that tie a role to a path prefix.

Pure: knows nothing of passwords, headers or files (see the `access` package for those).
"""

from __future__ import annotations

import enum

import msgspec

from holdfast.core.paths import ROOT, ResourcePath

__all__ = ["ANONYMOUS", "Grant", "Principal", "Role"]


class Role(enum.IntEnum):
    """Each role may do all that the one before it may."""

    NONE = 0
    READER = 1
    WRITER = 2
    ADMIN = 3


class Grant(msgspec.Struct, frozen=True):
    """`role` at and below `path`."""

    role: Role
    path: ResourcePath = ROOT


class Principal(msgspec.Struct, frozen=True):
    """The authenticated actor. `name` is what locks remember as their creator."""

    name: str
    grants: tuple[Grant, ...]

    def role_at(self, path: ResourcePath) -> Role:
        """The role of the longest grant whose path is at or above `path`; NONE without one."""
        best = Role.NONE
        longest = -1
        for grant in self.grants:
            size = len(grant.path.text)
            if size > longest and path.is_at_or_below(grant.path):
                best, longest = grant.role, size
        return best

    def role_throughout(self, path: ResourcePath) -> Role:
        """The least role at and anywhere below `path`: what a change or a look at the whole tree is judged by."""
        least = self.role_at(path)
        for grant in self.grants:
            if grant.role < least and grant.path.is_below(path):
                least = grant.role
        return least

    def is_uniform_below(self, path: ResourcePath) -> bool:
        """True where the role at `path` is the role at everything below it."""
        return not any(grant.path.is_below(path) for grant in self.grants)


ANONYMOUS = Principal(name="anonymous", grants=(Grant(Role.ADMIN),))
"""The one principal of a server without users, which is reachable from this machine only."""
