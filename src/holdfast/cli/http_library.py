"""The HTTP library of the commands that ask a server, loaded without what no command uses.

Owns: what is left out of it. Must not know: any server, or what is sent.

httpx loads its own command line, HTTP/2, and the loops that its asynchronous half may run on, where it finds them; and it finds
them, as others of our needs bring them. They take longer to load than httpx itself.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, cast

from holdfast.client.sending import new_http

__all__ = ["new_client"]

_UNUSED: Final = ("anyio", "h2", "httpx._main", "httpx2._main", "trio")
"""httpx does without each of them where it cannot be imported."""


def new_client() -> Any:
    """A `Client` of httpx2 or httpx. Raises ImportError where neither is installed."""
    with _left_out():
        return new_http("Client")


@contextmanager
def _left_out() -> Generator[None]:
    """In the block, what is unused cannot be imported; nothing is left out in a process that may run a loop."""
    modules = cast("dict[str, object]", sys.modules)
    names = () if "asyncio" in modules else [name for name in _UNUSED if name not in modules]
    modules.update(dict.fromkeys(names))  # None there is "not to be found"
    try:
        yield
    finally:
        for name in names:
            del modules[name]
