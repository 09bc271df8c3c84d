"""`holdfast wait`: returns once it is free, and not before."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.cli.spans import parse_seconds
from holdfast.cli.terminal import CommandError
from tests.cli.conftest import command
from tests.local.holding import held
from tests.serving import Served, serving

pytestmark = pytest.mark.process


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    with serving(folder, users=None) as server:
        yield server


def still_waits(process: subprocess.Popen[str], seconds: float = 1.5) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def begin(environment: dict[str, str], folder: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("wait", *arguments),
        env=environment,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_file_is_waited_for_until_its_lock_is_gone(environment, tmp_path: Path):
    file = tmp_path / "data"
    file.touch()
    with held("posix", file):
        process = begin(environment, tmp_path, "data")
        assert still_waits(process)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0


def test_when_the_time_is_over_it_says_who_still_holds_it(run, tmp_path: Path):
    file = tmp_path / "data"
    file.touch()
    with held("posix", file) as holder:
        begun = time.monotonic()
        done = run("wait", "--timeout", "300ms", "data")
    assert time.monotonic() - begun < 30
    assert (done.returncode, done.stdout) == (1, "")
    assert f"process {holder.pid}" in done.stderr


def test_a_free_one_is_not_waited_for(run, tmp_path: Path, served: Served):
    (tmp_path / "data").touch()
    assert run("wait", "data").returncode == 0
    assert run("wait", f"{served.url}/dav/plan.txt").returncode == 0


def test_a_url_is_waited_for_until_it_is_unlocked(environment, tmp_path: Path, served: Served):
    token = served.anonymous.locked("/dav/plan.txt")
    process = begin(environment, tmp_path, f"{served.url}/dav/plan.txt")
    assert still_waits(process)
    assert served.anonymous.unlock("/dav/plan.txt", token).status == 204
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0


def test_one_that_expires_is_free(environment, tmp_path: Path, served: Served):
    served.anonymous.locked("/dav/plan.txt")
    process = begin(environment, tmp_path, f"{served.url}/dav/plan.txt")
    assert still_waits(process)
    served.uptime.advance(700)
    assert process.wait(60) == 0
    process.communicate()


def test_a_url_whose_time_is_over_says_who_holds_it(run, served: Served):
    served.anonymous.locked("/dav/plan.txt")
    done = run("wait", "--timeout", "1s", f"{served.url}/dav/plan.txt")
    assert done.returncode == 1
    assert done.stderr.startswith("Still held: Someone (“mailto:ada@example.org”) has locked it since")


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("30", 30), ("1.5", 1.5), ("250ms", 0.25), ("10m", 600), ("2h", 7200), ("1d", 86400)]
)  # fmt: skip
def test_a_span_is_a_number_with_a_unit_or_seconds(text: str, seconds: float):
    assert parse_seconds(text, "--timeout") == seconds


@pytest.mark.parametrize("text", ["", "-1", "soon", "1 m", "1e3", "9999999d", "٣"])
def test_what_is_no_span_is_a_plain_sentence(text: str):
    with pytest.raises(CommandError, match="--timeout"):
        parse_seconds(text, "--timeout")
