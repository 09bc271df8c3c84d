"""How to connect: what `serve` says once it is ready, for each program that people use.

Owns: the words. Must not know: sockets, settings, the terminal. Pure: facts in, lines out.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

__all__ = ["Serving", "describe_connecting"]


class Serving(msgspec.Struct, frozen=True):
    """What there is to say about a running server. `url` ends in a slash; `user` is one who may log in, or None."""

    url: str
    user: str | None
    is_loopback: bool
    host_name: str

    @property
    def webdav_url(self) -> str:
        """Where the folder is."""
        return self.url + "dav/"

    @property
    def is_secure(self) -> bool:
        """True over HTTPS."""
        return self.url.startswith("https:")


def describe_connecting(serving: Serving) -> list[tuple[str, str]]:
    """Pairs of a program and what to do in it, in the order in which to show them."""
    url = serving.webdav_url
    scheme = "davs" if serving.is_secure else "dav"
    credentials = f" user={serving.user} pass=PASSWORD" if serving.user else ""
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


def describe_elsewhere(serving: Serving) -> str | None:
    """The address for other machines; None where none can reach the server."""
    if serving.is_loopback:
        return None
    parts = urlsplit(serving.webdav_url)
    return f"{parts.scheme}://{serving.host_name}:{parts.port}{parts.path}"
