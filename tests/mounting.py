"""Small file systems in memory, really mounted; who may not mount them skips the test that needs one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["mount_tmpfs", "mounted_tmpfs"]


def mount_tmpfs(folder: Path, options: str = "size=4m") -> None:
    """Mount an empty tmpfs on a folder; whoever asks unmounts it."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount the small disk that this needs")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "holdfast-test", folder], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"the small disk that this needs cannot be mounted here: {done.stderr.strip()}")


@contextmanager
def mounted_tmpfs(folder: Path, options: str = "size=4m") -> Iterator[Path]:
    """The same for a `with` block; the folder is made."""
    folder.mkdir()
    mount_tmpfs(folder, options)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
