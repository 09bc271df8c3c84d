"""The command `python -m benchmarks.api`: measures the lock API beside a home-made lock on Redis, and prints the tables."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from benchmarks.api.report import Size, measure_api

_KEPT = Path(__file__).parents[1] / "results" / "api.md"


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise SystemExit(128 + number)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0; what cannot be measured raises."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, a hundred waiters and readers")
    parser.add_argument("--write", action="store_true", help="keep the tables in benchmarks/results/api.md")
    options = parser.parse_args(given)
    signal.signal(signal.SIGTERM, _stop)
    size = Size(rounds=1, seconds=0.5, hand_overs=20, waiters=100, readers=100, grants=5) if options.quick else Size()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        text = measure_api(size, Path(folder), shlex.join(["python", "-m", "benchmarks.api", *given]), _say)
    print(text)
    if options.write:
        _KEPT.write_text(f"# The lock API: the latest run that was kept\n\n{text}")
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
