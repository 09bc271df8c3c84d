"""The servers that are measured: how each is started on a folder, without logs, users or TLS, on the loopback.

Owns one recipe per server, and nothing about running or measuring it. To add a peer, see README.md.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["PEERS", "Launch", "Peer", "PeerMissingError", "Place"]


class PeerMissingError(Exception):
    """The program of a peer is not installed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one instance of a server lives: its copy of the tree, a folder of its own for state, and its port."""

    tree: Path
    state: Path
    port: int
    held: int
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Launch:
    """The command that runs a server in the foreground."""

    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Peer:
    """A server: its recipe, where in its URLs the tree is, and what must not be asked of it."""

    name: str
    prefix: str
    prepare: Callable[[Place], Launch]
    lock_connections: int = 16
    """More connections than these make its lock cycles fail; workloads that need more are left out."""
    only_writes: bool = False
    """Whether it is a variant that differs in LOCK, UNLOCK and PUT only, so that the rest is not measured again."""


def _program(name: str) -> str:
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=os.pathsep.join((beside, os.environ.get("PATH", os.defpath), "/usr/sbin")))
    if found is None:
        raise PeerMissingError(f"{name} is not installed")
    return found


def _holdfast(durability: str) -> Callable[[Place], Launch]:
    def prepare(place: Place) -> Launch:
        room = str(place.held + 100_000)
        limits = ("--max-locks", room, "--max-locks-per-principal", room)
        command = (_program("holdfast"), "serve", str(place.tree), "--port", str(place.port))
        return Launch((*command, "--durability", durability, *limits, *place.extra))

    return prepare


_APACHE_MODULES = ("mpm_event", "authz_core", "mime", "dav", "dav_fs")
_APACHE_FOLDERS = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2")
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
KeepAlive On
MaxKeepAliveRequests 0
StartServers 2
ServerLimit 6
ThreadsPerChild 25
MaxRequestWorkers 150
TypesConfig /dev/null
AddType text/plain .txt
DocumentRoot "{tree}"
DavLockDB "{state}/locks/db"
<Directory "/">
  AllowOverride None
  Require all denied
</Directory>
<Directory "{tree}">
  Dav On
  Require all granted
</Directory>
"""


def _apache(place: Place) -> Launch:
    program = shutil.which("apache2", path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))
    program = program or _program("httpd")
    modules = next((folder for folder in map(Path, _APACHE_FOLDERS) if (folder / "mod_dav.so").exists()), None)
    if modules is None:
        raise PeerMissingError("Apache's mod_dav is not installed")
    (place.state / "locks").mkdir()
    (place.state / "locks").chmod(0o777)
    lines = [f'LoadModule {name}_module "{modules}/mod_{name}.so"' for name in _APACHE_MODULES]
    config = _APACHE.format(
        port=place.port,
        state=place.state,
        tree=place.tree,
        modules="\n".join(lines),
        user="User nobody\nGroup #65534" if os.geteuid() == 0 else "",
    )
    file = place.state / "apache.conf"
    file.write_text(config)
    return Launch((program, "-f", str(file), "-DFOREGROUND"))


def _rclone(place: Place) -> Launch:
    address = f"127.0.0.1:{place.port}"
    command = (_program("rclone"), "serve", "webdav", str(place.tree), "--addr", address, "--log-level", "ERROR")
    return Launch(command, {"RCLONE_CONFIG": str(place.state / "none.conf"), "HOME": str(place.state)})


def _wsgidav(place: Place) -> Launch:
    config = {
        "host": "127.0.0.1",
        "port": place.port,
        "server": "cheroot",
        # Its backlog of 5 makes new connections wait a second each; that would measure TCP.
        "server_args": {"request_queue_size": 128},
        "provider_mapping": {"/": str(place.tree)},
        "simple_dc": {"user_mapping": {"*": True}},
        "verbose": 1,
        "logging": {"enable": False},
    }
    file = place.state / "wsgidav.json"
    file.write_text(json.dumps(config))
    return Launch((_program("wsgidav"), "--config", str(file)))


PEERS = {
    peer.name: peer
    for peer in (
        Peer("holdfast", "/dav", _holdfast("crash")),
        Peer("holdfast-power", "/dav", _holdfast("power"), only_writes=True),
        Peer("apache", "", _apache, lock_connections=1),
        Peer("rclone", "", _rclone),
        Peer("wsgidav", "", _wsgidav),
    )
}
"""Every server, by name, in the order of the tables."""
