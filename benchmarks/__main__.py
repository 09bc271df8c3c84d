"""The command ``python -m benchmarks``: reads what to measure, measures it, and prints the tables."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from benchmarks.load import GeneratorError, compiled_generator
from benchmarks.peers import PEERS
from benchmarks.report import as_json, as_markdown
from benchmarks.rounds import Settings, measure
from benchmarks.workloads import WORKLOADS

_LATEST = Path(__file__).parent / "results" / "latest.md"


def _names(known: Sequence[str], text: str) -> list[str]:
    chosen = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := sorted(set(chosen) - set(known)):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known are {', '.join(known)}")
    return [name for name in known if name in chosen]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="two rounds of half a second, 10,000 locks")
    add("--rounds", type=int, help="how often each server does each workload (3)")
    add("--seconds", type=float, help="how long each time (2)")
    add("--held", type=int, help="how many locks are held by the second instance of each server; 0 for none (100000)")
    add("--only", type=lambda text: _names(list(WORKLOADS), text), help=f"of {','.join(WORKLOADS)}")
    add("--servers", type=lambda text: _names(list(PEERS), text), help=f"of {','.join(PEERS)}")
    add("--holdfast-args", default="", help='more arguments for "holdfast serve", as one string')
    add(
        "--folder", type=Path, help="where to put the trees (a folder on a real disk; the system's own for such things)"
    )
    add("--json", type=Path, help="write every round to this file")
    add("--write", action="store_true", help="write the tables to benchmarks/results/latest.md")
    add("--silent", action="store_true", help="no line per round")
    return parser


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise SystemExit(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every server that was asked for was measured validly, 1 otherwise; a missed goal is no error."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    quick: bool = options.quick
    settings = Settings(
        rounds=options.rounds or (2 if quick else 3),
        seconds=options.seconds or (0.5 if quick else 2.0),
        warm_seconds=0.1 if quick else 0.3,
        held=options.held if options.held is not None else 10_000 if quick else 100_000,
        extra=tuple(shlex.split(options.holdfast_args)),
    )
    signal.signal(signal.SIGTERM, _stop)
    try:
        compiled_generator()
    except GeneratorError as error:
        print(error, file=sys.stderr)
        return 1
    peers = [PEERS[name] for name in options.servers or PEERS]
    workloads = [WORKLOADS[name] for name in options.only or WORKLOADS]
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=options.folder) as folder:
        Path(folder).chmod(0o755)  # Apache's workers are not the user who made it
        results = measure(peers, workloads, settings, Path(folder), _quiet if options.silent else _say)
    command = shlex.join(["python", "-m", "benchmarks", *_without_paths(given)])
    text = as_markdown(results, command)
    print(text)
    if options.write:
        _LATEST.parent.mkdir(exist_ok=True)
        _LATEST.write_text(f"# The latest run that was kept\n\n{text}")
    if options.json:
        options.json.write_text(json.dumps(as_json(results, command), indent=1))
    return 0 if not results.absent and all(cell.is_valid for cell in results.cells.values()) else 1


def _without_paths(given: Sequence[str]) -> list[str]:
    """The arguments as anyone could repeat them: folders and files of this machine are nobody's business."""
    kept: list[str] = []
    skip = False
    for argument in given:
        if skip or argument.split("=")[0] in {"--folder", "--json"}:
            skip = not skip and "=" not in argument
            continue
        kept.append(argument)
    return kept


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _quiet(line: str) -> None:
    del line


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
