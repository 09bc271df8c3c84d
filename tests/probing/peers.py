"""Servers of others with two users, for the probes: Apache's mod_dav, wsgidav and rclone, each on an empty folder.

Owns: their settings with users, which the recipes of the benchmarks leave out, and starting and ending them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

from holdfast.inspector.probing import Principal
from tests.client.programs import _free_port, _wait_for

__all__ = ["PRINCIPALS", "STARTED", "started"]

PRINCIPALS = (Principal("ada", "ada-secret"), Principal("bob", "bob-secret"))
_MODULES = ("mpm_event", "authn_core", "authn_file", "auth_basic", "authz_core", "authz_user", "mime", "dav", "dav_fs")
_APACHE = """\
ServerName localhost
Listen 127.0.0.1:{port}
ServerRoot "{state}"
DefaultRuntimeDir "{state}"
PidFile "{state}/pid"
ErrorLog "{state}/error.log"
LogLevel crit
{modules}
{user}
StartServers 1
ServerLimit 2
ThreadsPerChild 16
MaxRequestWorkers 32
TypesConfig /dev/null
DocumentRoot "{tree}"
DavLockDB "{state}/locks"
<Directory "{tree}">
  Dav On
  AuthType Basic
  AuthName probe
  AuthUserFile "{state}/users"
  Require valid-user
</Directory>
"""


def _users() -> str:
    """A htpasswd file that Apache and rclone read."""
    digests = [
        (one.name, base64.b64encode(hashlib.sha1(one.password.encode()).digest()).decode()) for one in PRINCIPALS
    ]
    return "".join(f"{name}:{{SHA}}{digest}\n" for name, digest in digests)


def _program(name: str) -> str:
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=os.pathsep.join((beside, os.environ.get("PATH", os.defpath), "/usr/sbin")))
    assert found is not None, f"{name} is not installed"
    return found


def _apache(tree: Path, state: Path, port: int) -> list[str]:
    modules = Path("/usr/lib/apache2/modules")
    (state / "users").write_text(_users())
    (state / "apache.conf").write_text(
        _APACHE.format(
            port=port,
            state=state,
            tree=tree,
            modules="\n".join(f'LoadModule {name}_module "{modules}/mod_{name}.so"' for name in _MODULES),
            user="User nobody\nGroup #65534" if os.geteuid() == 0 else "",
        )
    )
    return [_program("apache2"), "-f", str(state / "apache.conf"), "-DFOREGROUND"]


def _wsgidav(tree: Path, state: Path, port: int) -> list[str]:
    config = {
        "host": "127.0.0.1",
        "port": port,
        "server": "cheroot",
        "server_args": {"request_queue_size": 128},
        "provider_mapping": {"/": str(tree)},
        "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
        "simple_dc": {"user_mapping": {"*": {one.name: {"password": one.password} for one in PRINCIPALS}}},
        "verbose": 1,
        "logging": {"enable": False},
    }
    (state / "wsgidav.json").write_text(json.dumps(config))
    return [_program("wsgidav"), "--config", str(state / "wsgidav.json")]


def _rclone(tree: Path, state: Path, port: int) -> list[str]:
    (state / "users").write_text(_users())
    address = ("--addr", f"127.0.0.1:{port}", "--htpasswd", str(state / "users"))
    nothing = ("--config", str(state / "none.conf"), "--log-level", "ERROR", "--vfs-cache-mode", "off")
    return [_program("rclone"), "serve", "webdav", str(tree), *address, *nothing]


STARTED: dict[str, Callable[[Path, Path, int], list[str]]] = {"apache": _apache, "wsgidav": _wsgidav, "rclone": _rclone}


@contextlib.contextmanager
def started(name: str) -> Generator[str]:
    """The server, for the block; its URL, with a slash at the end."""
    # Not below pytest's folders: Apache, started by root, serves as nobody, who may not get through them.
    with tempfile.TemporaryDirectory(prefix="holdfast-probed-") as text:
        folder = Path(text)
        folder.chmod(0o755)
        tree, state, port = folder / "tree", folder / "state", _free_port()
        for part in (tree, state):
            part.mkdir()
            part.chmod(0o777)
        process = subprocess.Popen(
            STARTED[name](tree, state, port),
            cwd=state,
            env={**os.environ, "HOME": str(state)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait_for(port, process)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            try:
                process.wait(20)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
