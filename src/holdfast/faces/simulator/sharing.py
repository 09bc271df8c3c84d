"""What pages of other sites may not have of real locks, since a browser would do it for them unasked.

Owns: how such a request is told, its refusal, and taking away what lets a script read an answer. Must not know: locks.

An image on any page is a GET, and a form is a POST: neither needs leave of this server, and where nobody logs in, each would
begin or break a lock. The browser says in Sec-Fetch-Site and Origin whose page it was. Over plain HTTP to another machine
it says nothing with the GET of an image, so that one cannot be told there; over HTTPS and on this machine it can.
"""

from __future__ import annotations

from holdfast.faces.simulator.face import refusal
from holdfast.wire.exchange import Request, Response
from holdfast.wire.provenance import Provenance, provenance

__all__ = ["for_own_pages", "is_of_other_page", "unshared"]


def is_of_other_page(request: Request) -> bool:
    """True where a page of another origin made a browser ask; a person who typed the address is none (`none`)."""
    site = (request.headers.get(b"sec-fetch-site") or "").strip().lower()
    return site != "none" and provenance(request) is Provenance.ELSEWHERE


def for_own_pages() -> Response:
    """The refusal, which tells nothing of any lock."""
    return refusal(
        403,
        "This is a real lock, and a page of another site asks: here only programs and this server's own pages may. "
        "`holdfast simulate` has locks for trials, which every page may use.",
    )


def unshared(response: Response) -> Response:
    """Without the fields that let scripts of other sites read it: it may tell of locks and people of this server."""
    response.headers = [field for field in response.headers if not field[0].startswith("Access-Control-")]
    return response
