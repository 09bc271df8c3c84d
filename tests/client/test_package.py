"""The package: light to import, each public name found where it is first used, and documented by an example that runs."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import subprocess
import sys

import pytest

import holdfast.client as package

SERVER_S_OWN = {
    "argon2", "asyncio", "cyclopts", "httptools", "httpx", "jinja2", "lxml", "requests", "rich", "sqlite3", "starlette", "uvicorn",
    "uvloop",
}  # fmt: skip
OF_READING = (
    "ClientError", "ClientRequest", "ClientResponse", "Headers", "KnownLock", "LockLostError", "LockedDetails", "LockedError",
    "LockedKind", "LostReason", "NotReplayableError", "raise_for_locked", "read_locked",
)  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """The modules that are there after `code` ran in a Python of its own."""
    shown = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    return set(subprocess.run(shown, check=True, capture_output=True, text=True, timeout=60).stdout.split())


@pytest.mark.process
def test_the_import_costs_nothing_of_the_server_and_no_http_library():
    for code in (
        "import holdfast.client",
        "import holdfast.client as c; c.read_locked((423, {}, b'{}', 'http://a/'))",
        f"from holdfast.client import {', '.join(OF_READING)}",
    ):
        loaded = loaded_by(code)
        assert not SERVER_S_OWN & {name.partition(".")[0] for name in loaded}, code
        floors = {name.split(".")[1] for name in loaded if name.startswith("holdfast.")}
        assert floors <= {"client", "core", "wire"}, code


def test_every_public_name_is_found_and_listed():
    assert set(OF_READING) <= set(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))


def test_type_checkers_are_told_of_the_same_names():
    tree = ast.parse(inspect.getsource(package))
    (guarded,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert {alias.name for line in guarded.body for alias in line.names} == set(package.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'LockeError'"):
        _ = package.LockeError


@pytest.mark.parametrize("name", OF_READING)
def test_the_example_of_each_public_name_runs(name):
    value = getattr(package, name)
    assert ">>> " in (value.__doc__ or ""), "it has an example"
    home = importlib.import_module(value.__module__)
    found = [test for test in doctest.DocTestFinder().find(value, name, globs=vars(home).copy()) if test.examples]
    for test in found:
        outcome = doctest.DocTestRunner().run(test)
        assert outcome.failed == 0
