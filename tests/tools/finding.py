"""Where the programs are that tests are marked with, `tool(name)`.

Owns: `mysqld`, which is MySQL's own, as `mysql-from-debian` has brought it; Debian's MariaDB brings a program of that name, too.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

__all__ = ["SBIN", "advice", "is_here", "mysqld"]

SBIN: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
"""Where programs are looked for: servers stand where a person's PATH does not lead."""

_MYSQL_FROM_DEBIAN: Final = Path(__file__).with_name("mysql-from-debian")


@functools.cache
def mysqld() -> Path:
    """MySQL's server, where it is or would be."""
    told = subprocess.run([_MYSQL_FROM_DEBIAN, "--where"], capture_output=True, text=True, check=True)
    return Path(told.stdout.strip())


def is_here(name: str) -> bool:
    """Whether the program can be run."""
    return os.access(mysqld(), os.X_OK) if name == "mysqld" else shutil.which(name, path=SBIN) is not None


def advice(name: str) -> str:
    """How to get it."""
    return "`tests/tools/mysql-from-debian` brings it" if name == "mysqld" else "`apt-get install` it"
