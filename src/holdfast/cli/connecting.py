"""How to connect: what `serve` says once it is ready, for each program that people use.

Owns: the words. Must not know: sockets, settings, the terminal. Pure: facts in, lines out.
"""

from __future__ import annotations

import shlex
from urllib.parse import urlsplit

import msgspec

__all__ = ["Serving", "describe_connecting"]


class Serving(msgspec.Struct, frozen=True):
    """What there is to say about a running server.

    `url` is for this machine and ends in a slash; `user` is one who may log in, or None; `host_name` is what other
    machines call this one where the server listens on all of its addresses, else None.
    """

    url: str
    user: str | None
    host_name: str | None

    @property
    def webdav_url(self) -> str:
        """Where the folder is, for this machine."""
        return self.url + "dav/"

    @property
    def elsewhere_url(self) -> str | None:
        """Where the folder is, for other machines; None where `webdav_url` is all there is to say."""
        if self.host_name is None:
            return None
        parts = urlsplit(self.webdav_url)
        return f"{parts.scheme}://{self.host_name}:{parts.port}{parts.path}"

    @property
    def is_secure(self) -> bool:
        """True over HTTPS."""
        return self.url.startswith("https:")


def describe_connecting(serving: Serving) -> list[tuple[str, str]]:
    """Pairs of a program and what to do in it, in the order in which to show them; for every machine that can connect."""
    url = serving.elsewhere_url or serving.webdav_url
    scheme = "davs" if serving.is_secure else "dav"
    credentials = f" {shlex.quote(f'user={serving.user}')} pass=PASSWORD" if serving.user else ""
    explorer = f"This PC > Map network drive > Folder: {url}"
    if serving.user and not serving.is_secure:
        explorer += " (Windows sends a password over HTTPS only: add --tls-cert and --tls-key)"
    return [
        ("Finder", f"Go > Connect to Server (Cmd-K): {url}"),
        ("Explorer", explorer),
        ("GNOME Files", f"Other Locations > Connect to Server: {scheme}:{url.partition(':')[2]}"),
        ("davfs2", f"sudo mount -t davfs {url} /mnt"),
        (
            "rclone",
            f"rclone config create holdfast webdav url={url} vendor=owncloud{credentials} && rclone ls holdfast:",
        ),
    ]
