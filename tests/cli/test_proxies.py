"""Each proxy of docs/operations.md, as it stands there, before a real server: WebDAV and its locks work through HTTPS."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from tests.docs.conftest import ROOT, blocks

pytestmark = pytest.mark.process

_LOCKINFO = (
    b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
)
_MODULES = Path("/usr/lib/apache2/modules")


@dataclass
class Room:
    """What a proxy's configuration is filled in with."""

    place: Path
    port: int
    backend: str
    chain: Path
    key: Path

    def example(self, language: str) -> str:
        """The block of the document, with this room's names in it."""
        [text] = [block.text for block in blocks(ROOT / "docs" / "operations.md") if block.language == language]
        for old, new in (
            ("/etc/ssl/files.example.org.pem", str(self.chain)),
            ("/etc/ssl/files.example.org.key", str(self.key)),
            ("files.example.org", "localhost"),
            ("127.0.0.1:4230", self.backend),
        ):
            assert old in text or language == "caddy"
            text = text.replace(old, new)
        return re.sub(r"(listen |\*:)443", rf"\g<1>127.0.0.1:{self.port}", text).replace("*:127", "127")


def apache(room: Room) -> list[str]:
    modules = "".join(
        f"LoadModule {name}_module {_MODULES}/mod_{name}.so\n"
        for name in ("mpm_event", "authz_core", "ssl", "socache_shmcb", "proxy", "proxy_http")
    )
    account = "User nobody\nGroup #65534\n" if os.geteuid() == 0 else ""
    file = room.place / "apache.conf"
    file.write_text(
        f'{modules}{account}ServerName localhost\nListen 127.0.0.1:{room.port}\nServerRoot "{room.place}"\n'
        f'DefaultRuntimeDir "{room.place}"\nPidFile "{room.place}/pid"\nErrorLog "{room.place}/error.log"\n'
        f"{room.example('apache')}"
    )
    return ["apache2", "-f", str(file), "-DFOREGROUND"]


def nginx(room: Room) -> list[str]:
    file = room.place / "nginx.conf"
    temporary = "".join(
        f"{name}_temp_path {room.place}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    account = "user root;\n" if os.geteuid() == 0 else ""
    file.write_text(
        f"daemon off;\nmaster_process off;\n{account}pid {room.place}/pid;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{room.example('nginx')}}}\n"
    )
    return ["nginx", "-p", str(room.place), "-c", str(file), "-e", str(room.place / "error.log")]


def caddy(room: Room) -> list[str]:
    file = room.place / "Caddyfile"
    site = room.example("caddy").replace(
        "localhost {", f"https://localhost:{room.port} {{\n\ttls {room.chain} {room.key}", 1
    )
    file.write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{site}")
    return ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"]


@pytest.fixture
def room(tmp_path: Path, serve, folder: Path) -> tuple[Room, ssl.SSLContext]:
    """A server with two users, and a certificate for the proxy."""
    server = serve(folder, "--user", "alice:secret", "--user", "bob:hunter2")
    place = tmp_path / "proxy"
    place.mkdir()
    place.chmod(0o755)
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    chain, key = place / "chain.pem", place / "key.pem"
    for pem in issued.cert_chain_pems:
        pem.write_to_path(chain, append=True)
    issued.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return Room(place, port, urlsplit(server.webdav_url).netloc, chain, key), context


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[[list[str], int], None]]:
    """Start a proxy and wait until it listens; it is ended with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], port: int) -> None:
        path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
        program = shutil.which(command[0], path=path)
        assert program is not None
        process = subprocess.Popen([program, *command[1:]], env=environment, stderr=subprocess.PIPE)
        started.append(process)
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                continue
            return
        assert process.stderr is not None
        pytest.fail(f"{command[0]} ended: {process.stderr.read().decode()}")

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.parametrize(
    "proxy",
    [
        pytest.param(apache, marks=pytest.mark.tool("apache2")),
        pytest.param(nginx, marks=pytest.mark.tool("nginx")),
        pytest.param(caddy, marks=pytest.mark.tool("caddy")),
    ],
)
def test_webdav_with_its_locks_goes_through(proxy, room, start, folder: Path):
    where, context = room
    start(proxy(where), where.port)
    base = f"https://localhost:{where.port}/dav/"
    with (
        httpx.Client(verify=context, auth=("alice", "secret"), timeout=30) as alice,
        httpx.Client(verify=context, auth=("bob", "hunter2"), timeout=30) as bob,
    ):
        assert httpx.get(base, verify=context).status_code == 401
        assert "2" in alice.options(base).headers["DAV"]

        name = "Q%26A%20100%25%20%C3%BC.txt"
        large = b"x" * 3_000_000  # above what nginx lets through unless told otherwise
        assert alice.put(base + name, content=large).status_code == 201
        assert (folder / "Q&A 100% ü.txt").stat().st_size == len(large)
        assert alice.put(base + "a%2Fb.txt", content=b"x").status_code == 400

        locked = alice.request("LOCK", base + name, content=_LOCKINFO, headers={"Content-Type": "application/xml"})
        assert locked.status_code == 200
        token = locked.headers["Lock-Token"]
        refused = bob.put(base + name, content=b"y", headers={"Accept": "application/problem+json"})
        assert refused.status_code == 423
        assert refused.json()["locks"][0]["holder"]["name"] == "alice"

        moving = {"Destination": base + "moved.txt", "If": f"<{base}{name}> ({token})"}
        assert alice.request("MOVE", base + name, headers=moving).status_code == 201
        assert bob.get(base + "moved.txt").content == large
        many = " ".join(f"(<urn:uuid:00000000-0000-4000-8000-{number:012}>)" for number in range(250))
        assert alice.put(base + "moved.txt", content=b"y", headers={"If": many}).status_code == 412
        assert bob.request("PROPFIND", base, headers={"Depth": "1"}).status_code == 207
        assert bob.delete(base + "moved.txt").status_code == 204
