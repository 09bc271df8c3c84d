"""The media type of a resource, by the suffix of its name.

Owns: a fixed table, the same on every machine (the system's own tables are not read). Must not know:
contents. Text types carry no charset: the server does not know it.
"""

from __future__ import annotations

import mimetypes
from typing import Final

__all__ = ["DEFAULT_MEDIA_TYPE", "media_type_of"]

DEFAULT_MEDIA_TYPE: Final = "application/octet-stream"
"""For a name whose suffix says nothing."""

_OFFICE: Final = "application/vnd.openxmlformats-officedocument."
_OPEN: Final = "application/vnd.oasis.opendocument."
_ADDED: Final = {
    ".7z": "application/x-7z-compressed",
    ".avif": "image/avif",
    ".bz2": "application/x-bzip2",
    ".docx": _OFFICE + "wordprocessingml.document",
    ".dotx": _OFFICE + "wordprocessingml.template",
    ".epub": "application/epub+zip",
    ".flac": "audio/flac",
    ".gz": "application/gzip",
    ".heic": "image/heic",
    ".ics": "text/calendar",
    ".jsonl": "application/jsonl",
    ".m4a": "audio/mp4",
    ".markdown": "text/markdown",
    ".md": "text/markdown",
    ".mkv": "video/x-matroska",
    ".odg": _OPEN + "graphics",
    ".odp": _OPEN + "presentation",
    ".ods": _OPEN + "spreadsheet",
    ".odt": _OPEN + "text",
    ".ogg": "audio/ogg",
    ".otf": "font/otf",
    ".ott": _OPEN + "text-template",
    ".pptx": _OFFICE + "presentationml.presentation",
    ".rtf": "application/rtf",
    ".toml": "application/toml",
    ".ttf": "font/ttf",
    ".vcf": "text/vcard",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xlsx": _OFFICE + "spreadsheetml.sheet",
    ".xz": "application/x-xz",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zip": "application/zip",
    ".zst": "application/zstd",
}
_TABLE: Final[dict[str, str]] = {**mimetypes.MimeTypes(filenames=()).types_map[True], **_ADDED}


def media_type_of(name: str) -> str:
    """The media type for a name (or a path text), never with parameters."""
    at = name.rfind(".")
    if at < 0:
        return DEFAULT_MEDIA_TYPE
    return _TABLE.get(name[at:].lower(), DEFAULT_MEDIA_TYPE)
