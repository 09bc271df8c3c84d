"""An application's own 423s, right by default: locks before FastAPI, Starlette, Litestar, aiohttp, Flask, Django
and plain ASGI and WSGI.

Each framework has a module of its own, which alone imports it; what they share needs none.
"""

from __future__ import annotations

from holdfast.integrations.answering import LockedError, RefusalError
from holdfast.integrations.backends import LockBackend, Locks, Wanted

__all__ = ["LockBackend", "LockedError", "Locks", "RefusalError", "Wanted"]
