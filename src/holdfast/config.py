"""Settings: every choice a server is started with, its unit, its default, and the values it may have.

Owns: the names and ranges of settings, and the plain sentence for a value outside of its range. Must not
know: where a value came from (a flag, later a file), disks, sockets, passwords. Values are checked once,
when a Settings is built, and cannot change after; whoever holds one need not check again.

The text under each field is what the documentation shows; a number's range stands in its type, so that the
check, the documentation and the reader see the same one.
"""

from __future__ import annotations

import enum
import functools
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final, cast

import msgspec
from msgspec import Meta

__all__ = [
    "DATABASE_NAME",
    "DEFAULT_PORT",
    "STATE_NAME",
    "Durability",
    "LogFormat",
    "Setting",
    "Settings",
    "SettingsError",
    "describe_settings",
]

DEFAULT_PORT: Final = 4230
STATE_NAME: Final = ".holdfast"
"""The state folder's name inside the served folder; no face can reach a resource of this name."""
DATABASE_NAME: Final = "locks.db"
"""The store's file in the state folder."""

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_DAY_S: Final = 86_400

Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Parallel = Annotated[int, Meta(ge=1, le=256)]
Bytes = Annotated[int, Meta(ge=64, le=1 << 40)]
WireSeconds = Annotated[int, Meta(ge=1, le=(1 << 32) - 1)]
"""Seconds as a Timeout field can carry them (RFC 4918 section 10.7)."""
Seconds = Annotated[float, Meta(ge=0.05, le=_DAY_S)]
LongSeconds = Annotated[float, Meta(ge=_DAY_S, le=3660 * _DAY_S)]


class SettingsError(ValueError):
    """A setting has a value that cannot be; the text is a plain sentence for the person who chose it."""


class Durability(enum.StrEnum):
    """What a granted lock survives. Both survive a killed process."""

    POWER = "power"
    """Power loss too: no answer goes out before its change is on disk; many answers share one fsync."""
    CRASH = "crash"
    """Not power loss: the system writes when it likes. Fencing tokens are never repeated all the same."""


class LogFormat(enum.StrEnum):
    """How the server's messages are written to standard error."""

    TEXT = "text"
    """For a person, or a journal that adds the time."""
    JSON = "json"
    """One JSON object on each line."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of one server. Raises SettingsError for a value outside of its range."""

    folder: Annotated[Path, Meta(description="The served folder.")]
    state: Annotated[
        Path | None,
        Meta(description="The state folder (locks, events, staged uploads); none: `.holdfast` in the served folder."),
    ] = None
    host: Annotated[
        str, Meta(description="Address or name to listen on; without users only a loopback address is accepted.")
    ] = "127.0.0.1"
    host_names: Annotated[
        tuple[str, ...],
        Meta(description="Names, beside localhost and addresses, that a server without users answers to; others: 421."),
    ] = ()
    port: Annotated[Port, Meta(description="TCP port to listen on; 0 lets the system choose a free one.")] = (
        DEFAULT_PORT
    )
    users_file: Annotated[
        Path | None, Meta(description="File of users and password hashes, kept by `holdfast users`; none: no file.")
    ] = None
    tls_cert: Annotated[
        Path | None, Meta(description="Certificate chain (PEM) to serve HTTPS with; needs `tls_key`.")
    ] = None
    tls_key: Annotated[Path | None, Meta(description="Private key (PEM, without a password) of `tls_cert`.")] = None
    durability: Annotated[
        Durability,
        Meta(description="`power`: a granted lock survives power loss. `crash`: faster, survives a crash only."),
    ] = Durability.POWER
    workers: Annotated[Parallel, Meta(description="Server processes that share the port and the store.")] = 1
    threads: Annotated[Parallel, Meta(description="Threads of each process for work that waits for the disk.")] = 16

    min_timeout_s: Annotated[
        WireSeconds, Meta(description="Seconds: the shortest time a lock is granted for, also when less was asked for.")
    ] = 1
    default_timeout_s: Annotated[
        WireSeconds, Meta(description="Seconds: the time a lock is granted for when the request has no Timeout field.")
    ] = 1800
    max_timeout_s: Annotated[
        WireSeconds, Meta(description="Seconds: the longest time a lock is granted for, and the answer to `Infinite`.")
    ] = _DAY_S

    max_locks: Annotated[Count, Meta(description="Locks kept in all; one more is refused with 507.")] = 1_000_000
    max_locks_per_principal: Annotated[
        Count, Meta(description="Locks kept for one principal; one more is refused with 507.")
    ] = 10_000

    max_wait_s: Annotated[
        int,
        Meta(
            ge=0, le=_DAY_S, description="Seconds: the longest that a request may wait in line for a lock; 0: none may."
        ),
    ] = 300
    max_waiters: Annotated[Count, Meta(description="Requests waiting in line in all; one more is refused at once.")] = (
        10_000
    )
    place_kept_s: Annotated[
        Seconds,
        Meta(description="Seconds that the place in line of a client which polls is kept until it asks again."),
    ] = 20.0

    max_xml_bytes: Annotated[Bytes, Meta(description="Bytes of an XML request body; more: 413.")] = _MIB
    max_xml_depth: Annotated[Count, Meta(description="Elements nested in each other in a request body; more: 400.")] = (
        64
    )
    max_xml_elements: Annotated[
        Count, Meta(description="Elements, attributes and declarations in a request body; more: 400.")
    ] = 20_000
    max_owner_bytes: Annotated[
        int, Meta(ge=64, le=8192, description="Bytes of a lock's owner element, re-serialised; more: 413.")
    ] = 8192
    max_property_bytes: Annotated[Bytes, Meta(description="Bytes of one dead property, serialised; more: 507.")] = (
        64 * _KIB
    )
    max_properties: Annotated[Count, Meta(description="Dead properties of one resource; one more: 507.")] = 1_000
    max_path_bytes: Annotated[
        int, Meta(ge=64, le=4096, description="Bytes of a path, decoded, as UTF-8; more: 400.")
    ] = 4096
    max_if_bytes: Annotated[
        int, Meta(ge=64, le=16_384, description="Bytes of an If field, repeated ones joined; more: 400.")
    ] = 16_384
    max_timeout_bytes: Annotated[int, Meta(ge=64, le=1024, description="Bytes of a Timeout field; more: 400.")] = 1024
    max_destination_bytes: Annotated[
        int, Meta(ge=64, le=16_384, description="Bytes of a Destination field; more: 400.")
    ] = 16_384
    propfind_infinity: Annotated[
        bool, Meta(description="Answer PROPFIND with Depth infinity; when off: 403 `propfind-finite-depth`.")
    ] = False

    max_header_bytes: Annotated[
        Bytes, Meta(description="Bytes of a request's first line and header fields together; more: 431.")
    ] = 64 * _KIB

    max_connections: Annotated[
        Count, Meta(description="Connections open at once in each process; one more is answered 503.")
    ] = 4_000
    max_streams: Annotated[
        Count, Meta(description="Event streams open at once in each process, of its connections; one more: 503.")
    ] = 2_000
    max_stream_s: Annotated[
        Seconds,
        Meta(
            description="Seconds after which an event stream ends; its client comes back and goes on, if it still may."
        ),
    ] = 3600.0
    max_uploads: Annotated[
        Count,
        Meta(description="Requests whose body is being received into a file at once, in each process; one more: 503."),
    ] = 64
    max_upload_bytes: Annotated[
        Bytes | None, Meta(description="Bytes of one uploaded document; more: 413. None: as much as the disk holds.")
    ] = None
    head_timeout_s: Annotated[
        Seconds,
        Meta(description="Seconds a client may take from the first byte of a request to the end of its header."),
    ] = 20.0
    idle_timeout_s: Annotated[
        Seconds, Meta(description="Seconds a connection may rest between two requests before it is closed.")
    ] = 75.0
    stall_timeout_s: Annotated[
        Seconds,
        Meta(
            description="Seconds a client may send no byte of a body, or take none of an answer, before it is cut off."
        ),
    ] = 60.0
    stop_timeout_s: Annotated[
        Seconds, Meta(description="Seconds that requests under way are given to end when the server is stopped.")
    ] = 10.0

    inspect_urls: Annotated[
        bool,
        Meta(
            description="Let whoever may use the server have it ask a URL of the public internet for `/inspect`; "
            "when off, only responses that are pasted are inspected."
        ),
    ] = False
    inspect_ports: Annotated[
        tuple[Port, ...], Meta(description="The TCP ports that are asked with `inspect_urls`.")
    ] = (80, 443)
    inspect_deny: Annotated[
        tuple[str, ...],
        Meta(
            description="Networks and addresses (CIDR) that are never asked with `inspect_urls`, though they are public."
        ),
    ] = ()

    simulator: Annotated[
        bool, Meta(description="Answer `/api/status`: any status on demand, for whoever may log in; when off: 404.")
    ] = True
    simulator_max_delay_s: Annotated[
        Seconds, Meta(description="Seconds: the longest that a simulated answer may be delayed, all delays together.")
    ] = 30.0
    simulator_max_size_bytes: Annotated[Bytes, Meta(description="Bytes of a simulated answer's body, at most.")] = (
        10 * _MIB
    )
    simulator_max_body_bytes: Annotated[
        Bytes, Meta(description="Bytes of the body of a request to the simulator; more: 413.")
    ] = _MIB
    simulator_max_sequences: Annotated[
        Count, Meta(description="Sequences whose state is kept; with one more, the one used longest ago begins anew.")
    ] = 10_000
    simulator_max_locks: Annotated[
        Count, Meta(description="Real locks that the simulator keeps at once; one more is refused with 503.")
    ] = 1_000
    simulator_max_at_work: Annotated[
        Count,
        Meta(description="Simulated answers that are delayed or faulty, at once in each process; one more: 503."),
    ] = 256

    session_s: Annotated[
        float,
        Meta(
            ge=60,
            le=366 * _DAY_S,
            description="Seconds that a login in the browser lasts; a new password ends it before.",
        ),
    ] = 12 * 3600.0
    log_format: Annotated[
        LogFormat,
        Meta(description="How messages are written to standard error: `text`, or `json` objects, one on a line."),
    ] = LogFormat.TEXT
    access_log: Annotated[
        bool, Meta(description="Write a line about each answered request, and give each answer an X-Request-Id.")
    ] = False
    metrics_public: Annotated[
        bool, Meta(description="Let everybody read `/metrics`; when off, whoever is a reader at `/`.")
    ] = False

    max_password_checks: Annotated[
        Parallel, Meta(description="Passwords hashed at once in each process; each takes 64 MiB for about 50 ms.")
    ] = 2
    events_kept_s: Annotated[
        LongSeconds, Meta(description="Seconds that the record of a lock's end is kept; at least a day.")
    ] = 30.0 * _DAY_S
    sweep_every_s: Annotated[
        Seconds, Meta(description="Seconds between two tidyings of expired locks and old events.")
    ] = 60.0

    def __post_init__(self) -> None:
        """Check every value and how they fit together; raises SettingsError with a sentence for people."""
        for setting in describe_settings():
            _check_range(setting, getattr(self, setting.name))
        if not self.host.strip():
            msg = "The host must not be empty; 127.0.0.1 is this machine only, 0.0.0.0 every network it is on."
            raise SettingsError(msg)
        if (self.tls_cert is None) != (self.tls_key is None):
            msg = "HTTPS needs both a certificate and its key: give --tls-cert and --tls-key together."
            raise SettingsError(msg)
        _ = self.inspect_denied
        if not self.min_timeout_s <= self.default_timeout_s <= self.max_timeout_s:
            msg = (
                "The lock timeouts must rise from min_timeout_s over default_timeout_s to max_timeout_s, "
                f"but are {self.min_timeout_s}, {self.default_timeout_s} and {self.max_timeout_s} seconds."
            )
            raise SettingsError(msg)

    @property
    def inspect_denied(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`inspect_deny` as networks. Raises SettingsError for what is none."""
        try:
            return tuple(ip_network(text.strip()) for text in self.inspect_deny)
        except ValueError as error:
            msg = f"inspect_deny takes networks such as 203.0.113.0/24 or 2001:db8::/32: {error}."
            raise SettingsError(msg) from error

    @property
    def state_folder(self) -> Path:
        """Where the state lies: `state`, or `.holdfast` in the served folder."""
        return self.folder / STATE_NAME if self.state is None else self.state

    @property
    def scheme(self) -> str:
        """`https` with a certificate, else `http`."""
        return "http" if self.tls_cert is None else "https"


class Setting(msgspec.Struct, frozen=True):
    """One setting as the documentation shows it. `least` and `most` are None where there is no range."""

    name: str
    description: str
    default: object
    least: float | None
    most: float | None


@functools.cache
def describe_settings() -> tuple[Setting, ...]:
    """Every setting, in the order of the fields of Settings."""
    return tuple(_describe(field) for field in _fields())


def _fields() -> tuple[msgspec.inspect.Field, ...]:
    kind = msgspec.inspect.type_info(Settings)
    assert isinstance(kind, msgspec.inspect.StructType)
    return kind.fields


def _describe(field: msgspec.inspect.Field) -> Setting:
    kind = field.type
    description = ""
    if isinstance(kind, msgspec.inspect.Metadata):
        # msgspec's own stub says no more than `dict`.
        described = cast("dict[str, str] | None", kind.extra_json_schema)
        description = "" if described is None else described.get("description", "")
        kind = kind.type
    least, most = _range_of(kind)
    default = None if field.default is msgspec.NODEFAULT else field.default
    return Setting(field.name, description, default, least, most)


def _range_of(kind: msgspec.inspect.Type) -> tuple[float | None, float | None]:
    members = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    for member in members:
        if isinstance(member, msgspec.inspect.IntType | msgspec.inspect.FloatType):
            return member.ge, member.le
    return None, None


def _check_range(setting: Setting, value: object) -> None:
    if setting.least is None or setting.most is None or value is None:
        return
    if not isinstance(value, int | float) or not setting.least <= value <= setting.most:
        msg = f"{setting.name} must be a number from {setting.least:g} to {setting.most:.10g}, not {value!r}."
        raise SettingsError(msg)
