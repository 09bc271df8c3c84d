"""Serves a folder as `holdfast serve` does, with room for some thousand connections and no users.

Run as `python many_connections.py FOLDER PORT WORKERS DURABILITY`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from holdfast.config import Durability, Settings
from holdfast.server import run
from holdfast.state import StateFolder


def main(folder: str, port: str, workers: str, durability: str) -> None:
    """Until a signal comes; says so once it answers."""
    settings = Settings(
        folder=Path(folder),
        port=int(port),
        workers=int(workers),
        durability=Durability(durability),
        max_connections=5000,
    )
    with StateFolder.claim(settings.state_folder):
        run(settings, users=(), on_ready=lambda _: print("answers now", flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
