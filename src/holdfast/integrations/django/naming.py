"""What objects and users of Django are called among the locks.

Owns: the path of an object, and the principal of a user. Must not know: locks, or any model.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

__all__ = ["key_path", "lock_resource", "name_of"]


def lock_resource(instance: Any) -> str:
    """The URL path that stands for an object among the locks: `/shop/order/42`, or what its `lock_resource` says."""
    own = getattr(instance, "lock_resource", None)
    if own is not None:
        return str(own() if callable(own) else own)
    return key_path(instance)


def name_of(user: Any) -> str:
    """A user, or a name, as the principal of a lock."""
    return user if isinstance(user, str) else str(user.get_username())


def key_path(instance: Any) -> str:
    """`/app/model/key`. A key that cannot be one segment of a path is percent-encoded once more."""
    key = str(instance.pk)
    if key in {".", ".."} or any(one in "%/\\" or one < " " or one == "\x7f" for one in key):
        key = quote(key, safe="").replace(".", "%2E")
    return f"/{instance._meta.app_label}/{instance._meta.model_name}/{quote(key, safe='')}"
