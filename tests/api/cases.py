"""The table of cases: what brings each status of each route about, filled by the modules `cases_...`."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.faces.api.routes import ROUTES
from tests.api.desk import Desk, Reply
from tests.api.stage import PARTS, Stage

__all__ = ["BODILY", "CASES", "ROUTE", "Case", "case", "cases", "send"]

ROUTE = {route.name: route for route in ROUTES}
BODILY = [route.name for route in ROUTES if route.body is not None]
Case = Callable[[Stage], Reply]

CASES: dict[tuple[str, int], Case] = {}
"""What brings each status of each route about."""


def case(name: str, status: int) -> Callable[[Case], Case]:
    """The case of this status of this route."""

    def keep(made: Case) -> Case:
        assert (name, status) not in CASES
        CASES[name, status] = made
        return made

    return keep


def cases(status: int, names: list[str]) -> Callable[[Callable[[Stage, str], Reply]], Callable[[Stage, str], Reply]]:
    """The case of this status for each of the routes, by name."""

    def keep(made: Callable[[Stage, str], Reply]) -> Callable[[Stage, str], Reply]:
        for name in names:
            case(name, status)(lambda stage, name=name: made(stage, name))
        return made

    return keep


def send(desk: Desk, who: str, name: str, body: object = None, **fields: str) -> Reply:
    """The route's well-formed request; `body` in the place of its own."""
    part = PARTS[name]
    sent = part.body if body is None else body
    return desk.ask(who, ROUTE[name].method, part.target, sent, {**part.fields, **fields})
