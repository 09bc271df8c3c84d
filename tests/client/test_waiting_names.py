"""The public names of waiting are documented by examples that run."""

from __future__ import annotations

import doctest
import importlib

import pytest

import holdfast.client as package

OF_WAITING = (
    "AsyncWaitTransport", "Budget", "GaveUp", "RetryLayerError", "Sleeper", "Stale", "UnknownVersionError", "WaitAdapter",
    "WaitCancelledError", "WaitPolicy", "WaitTransport", "Waited", "Waiting", "waited_for",
)  # fmt: skip
MODULES = ("drivers", "events", "layers", "policy", "probing", "versions", "waiting")


@pytest.mark.parametrize("name", OF_WAITING)
def test_each_name_is_public_and_has_an_example(name: str) -> None:
    assert name in package.__all__
    assert ">>> " in (getattr(package, name).__doc__ or "")


@pytest.mark.parametrize("name", [*MODULES, "adapter_requests", "flows", "transport_httpx"])
def test_the_examples_run(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(f"holdfast.client.{name}"))
    assert outcome.failed == 0
    assert outcome.attempted > 0
