"""PagesFace: what people read of the simulator, a playground at `/simulator` and a page for each status code.

Owns: which address shows which page to everybody, logged in or not. Must not know: this server's locks, settings or users; the pages say nothing of them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from holdfast.faces.simulator.pages.files import page_file, read_assets
from holdfast.faces.simulator.pages.rendering import Surroundings, render_code_page, render_playground
from holdfast.wire.exchange import Request, Response
from holdfast.wire.problem import render_refusal
from holdfast.wire.staticfiles import StaticFile, send_static

__all__ = ["ADDRESS", "PagesFace"]

ADDRESS: Final = "/simulator"
"""Where the pages are mounted."""

_METHODS: Final = ("GET", "HEAD", "OPTIONS")
_CODE: Final = re.compile(ADDRESS + "/([1-5][0-9]{2})")
_ASSETS: Final = ADDRESS + "/assets/"
_PAGES_KEPT: Final = 128
_NOTHING: Final = "There is nothing here. The pages are /simulator and, for each code from 100 to 599, /simulator/423."


class PagesFace:
    """Satisfies `wire.exchange.Face`. Safe from any thread."""

    def __init__(self, *, beside_dashboard: bool) -> None:
        """Read what pages load. `beside_dashboard` puts the links to a server's other pages into the head."""
        self._surroundings = Surroundings(beside_dashboard=beside_dashboard)
        self._assets = read_assets()
        self._page = lru_cache(maxsize=_PAGES_KEPT)(self._make_page)

    def admit(self, head: Request) -> Response | None:
        """Refuse what would bring a body before it comes: nobody would read it."""
        return None if head.method in _METHODS else _refuse_method(head)

    def is_brief(self, request: Request) -> bool:
        """True: pages are made once, in a few milliseconds."""
        del request
        return True

    def __call__(self, request: Request) -> Response:
        """Answer; every refusal is a response."""
        try:
            return self._answer(request)
        finally:
            if not isinstance(request.body, bytes):
                request.body.discard()

    def _answer(self, request: Request) -> Response:
        if request.method not in _METHODS:
            return _refuse_method(request)
        if request.target == ADDRESS + "/":
            return Response(308, [("Location", ADDRESS), ("Cache-Control", "no-cache")])
        found = self._find(request.target)
        if found is None:
            return _refused(request, 404, _NOTHING)
        if request.method == "OPTIONS":
            return Response(204, [("Allow", ", ".join(_METHODS))])
        return send_static(request, found)

    def _find(self, target: str) -> StaticFile | None:
        if target.startswith(_ASSETS):
            return self._assets.get(target.removeprefix(_ASSETS))
        if target == ADDRESS:
            return self._page(None)
        code = _CODE.fullmatch(target)
        return None if code is None else self._page(int(code[1]))

    def _make_page(self, code: int | None) -> StaticFile:
        """The page of a code, or None: the playground."""
        text = render_playground(self._surroundings) if code is None else render_code_page(code, self._surroundings)
        return page_file(text)


def _refuse_method(request: Request) -> Response:
    detail = f"{request.method} is not a method of this page; what answers to any method is /api/status/423."
    return _refused(request, 405, detail, ("Allow", ", ".join(_METHODS)))


def _refused(request: Request, status: int, detail: str, *fields: tuple[str, str]) -> Response:
    answer = render_refusal(status, "", detail, accept=request.headers.get(b"accept"), prefers_xml=False)
    return Response(status, [*answer.headers, *fields], answer.body)
