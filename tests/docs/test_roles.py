"""The table of roles in docs/operations.md says what the WebDAV face asks for."""

from __future__ import annotations

import re

import pytest

from holdfast.access.users_file import GRANTABLE
from holdfast.faces.webdav.face import METHODS
from tests.docs.conftest import ROOT

ROWS = {
    row[1]: row[2]
    for row in re.finditer(r"^\| `(\w+)` \| ([^|]+) \|", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
}


def test_each_role_that_can_be_granted_is_in_the_table():
    assert list(ROWS) == list(GRANTABLE)


@pytest.mark.parametrize("word", GRANTABLE)
def test_each_method_stands_with_the_least_role_that_may_use_it(word):
    """COPY reads at its source and writes at its destination."""
    shown = set(re.findall(r"[A-Z]{3,}", ROWS[word])) - {"COPY"}
    assert shown == {name for name, method in METHODS.items() if method.role is GRANTABLE[word]} - {"COPY"}
