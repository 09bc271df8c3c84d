"""One server for the tests of a module; each locks resources of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.core.access import Grant, Role
from holdfast.core.paths import ResourcePath
from tests.api.desk import Desk, new_resource
from tests.serving import USERS, serving


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    team = Grant(Role.WRITER, ResourcePath("/team"))
    users = {**USERS, "tom": (team,), "lead": (Grant(Role.ADMIN, ResourcePath("/team")), Grant(Role.READER))}
    with serving(tmp_path_factory.mktemp("api"), users=users) as served:
        yield Desk(served)


@pytest.fixture
def resource() -> str:
    return new_resource()
