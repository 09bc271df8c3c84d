"""Whom a retry, its error or an answer names: what `who` tells, and nobody where it cannot tell.

Owns: that a question about a locked database never becomes a failure of its own. Must not know: why it is asked.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from holdfast.databases.holders import Holder, WhoError

if TYPE_CHECKING:
    from holdfast.databases.connecting import Target

__all__ = ["LOG", "holders_of", "holders_of_async"]

LOG: Final = logging.getLogger("holdfast.databases")


def holders_of(target: Target) -> tuple[Holder, ...]:
    """Who has something locked there now; nobody where the database cannot be asked."""
    from holdfast.databases.who import who

    try:
        return tuple(who(target))
    except WhoError as error:
        LOG.debug("who holds the database is not known: %s", error)
    except Exception:  # whatever a driver raises, the refusal as locked is what counts
        LOG.debug("who holds the database is not known", exc_info=True)
    return ()


async def holders_of_async(target: Target) -> tuple[Holder, ...]:
    """The same of an asynchronous engine."""
    from holdfast.databases.who import who_async

    try:
        return tuple(await who_async(target))
    except WhoError as error:
        LOG.debug("who holds the database is not known: %s", error)
    except Exception:  # as above
        LOG.debug("who holds the database is not known", exc_info=True)
    return ()
