"""The public names of holding a lock: each is found in the package, and has an example that runs."""

from __future__ import annotations

import doctest
import importlib
import inspect

import pytest

import holdfast.client as package

HELD = (
    "AsyncClient", "AsyncDavHeld", "AsyncDavLock", "AsyncHeld", "BreakFirst", "Client", "DavHeld", "DavLock", "EndedLock",
    "FencingGuard", "FoundLock", "Gap", "Held", "HoldState", "LockEvent", "LockTokens", "Loss", "RefusedError", "StaleTokenError",
    "UnreachableError",
)  # fmt: skip


@pytest.mark.parametrize("name", HELD)
def test_each_name_is_public_and_its_example_runs(name: str) -> None:
    value = getattr(package, name)
    assert name in package.__all__
    assert ">>> " in (value.__doc__ or "")
    home = importlib.import_module(value.__module__)
    tests = [test for test in doctest.DocTestFinder().find(value, name, globs=vars(home).copy()) if test.examples]
    assert tests
    for test in tests:
        assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("name", HELD)
def test_all_that_is_public_of_it_is_documented(name: str) -> None:
    value = getattr(package, name)
    for attribute, member in inspect.getmembers(value):
        if not attribute.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
            assert inspect.getdoc(member), f"{name}.{attribute}"
