"""`holdfast serve`: check everything that was asked, in words, then start the server and say where it is.

Owns: the flags, the order of the checks, and the sentence for each thing that can be wrong. Must not know: how
requests are answered. Nothing is started before all checks have passed.
"""

from __future__ import annotations

import difflib
import inspect
import os
import shlex
import signal
import socket
import ssl
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import Parameter

from holdfast import __version__
from holdfast.access.passwords import Passwords, UnusableNameError, UnusablePasswordError, check_name
from holdfast.access.tokens import PRINCIPAL_PREFIX
from holdfast.access.users_file import GRANTABLE, UserRecord, UsersFile
from holdfast.cli.connecting import Serving, describe_connecting
from holdfast.cli.neighbour import is_holdfast
from holdfast.cli.settings_file import read_settings_file
from holdfast.cli.terminal import CommandError, escape, say, warn
from holdfast.config import DEFAULT_PORT, STATE_NAME, Durability, LogFormat, Settings, SettingsError, describe_settings
from holdfast.core.access import Grant, Role
from holdfast.listening import PortInUseError, is_everywhere, is_loopback_only
from holdfast.state import FolderClaim, StateFolder

__all__ = ["serve"]


def serve(
    folder: Annotated[Path, Parameter(name="DIR", help="The folder to serve.")],
    /,
    *,
    host: Annotated[
        str, Parameter(help="Address or name to listen on; 0.0.0.0 is every network of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes a free one.")] = DEFAULT_PORT,
    host_names: Annotated[
        list[str] | None,
        Parameter(
            name="--host-name",
            help="NAME that a server without users answers to, beside localhost, as behind a proxy; may be repeated.",
            negative="",
        ),
    ] = None,
    user: Annotated[
        list[str] | None,
        Parameter(
            help="NAME:PASSWORD or NAME:PASSWORD:ROLE, for trials; may be repeated. Role: reader, writer (default), admin.",
            negative="",
        ),
    ] = None,
    users: Annotated[Path | None, Parameter(help="File of users that `holdfast users` keeps.")] = None,
    state: Annotated[
        Path | None, Parameter(help="Folder for locks and other state; default: .holdfast in DIR.")
    ] = None,
    tls_cert: Annotated[Path | None, Parameter(help="Certificate chain (PEM), to serve HTTPS.")] = None,
    tls_key: Annotated[Path | None, Parameter(help="Private key (PEM) of the certificate.")] = None,
    durability: Annotated[
        Durability, Parameter(help="What a granted lock survives: power loss, or only a crash (faster).")
    ] = Durability.POWER,
    workers: Annotated[int, Parameter(help="Server processes that share the port and the locks.")] = 1,
    log_format: Annotated[
        LogFormat, Parameter(help="How messages are written to standard error: text, or json objects, one on a line.")
    ] = LogFormat.TEXT,
    access_log: Annotated[
        bool, Parameter(help="Write a line about each answered request.", negative="", show_default=False)
    ] = False,
    max_locks: Annotated[int, Parameter(help="Locks kept in all; one more is refused.")] = 1_000_000,
    max_locks_per_principal: Annotated[int, Parameter(help="Locks kept for one user; one more is refused.")] = 10_000,
    settings: Annotated[
        Path | None, Parameter(help="TOML file of further settings, those without a flag: max_connections = 5000")
    ] = None,
) -> None:
    r"""Serve the folder DIR over WebDAV, with locks that hold.

    Without users, everyone on this machine may use it, and no other machine can
    reach it. With users, everyone has to log in. Ctrl-C stops it.

    Try it out on this machine:

        holdfast serve ~/Documents

    Two people, for a trial:

        holdfast serve ~/Documents --user alice:secret --user bob:hunter2

    A team, on the network, over HTTPS:

        holdfast users add alice --users team.json
        holdfast serve /srv/team --host 0.0.0.0 --users team.json \
            --tls-cert cert.pem --tls-key key.pem
    """
    further = {} if settings is None else read_settings_file(settings, _flags())
    with _naming_flags():
        chosen = Settings(
            folder=_checked_folder(folder),
            state=None if state is None else state.expanduser().resolve(),
            host=host,
            host_names=tuple(host_names or ()),
            port=port,
            users_file=None if users is None else users.expanduser().resolve(),
            tls_cert=None if tls_cert is None else tls_cert.expanduser().resolve(),
            tls_key=None if tls_key is None else tls_key.expanduser().resolve(),
            durability=durability,
            workers=workers,
            log_format=log_format,
            access_log=access_log,
            max_locks=max_locks,
            max_locks_per_principal=max_locks_per_principal,
            **further,  # type: ignore[arg-type]
        )
    _check_placement(chosen)
    _check_tls(chosen.tls_cert, chosen.tls_key)
    listed = _listed_users(user or [])
    names = _user_names(chosen, listed)
    _check_reach(chosen, names)
    _start(chosen, listed, names)


def _flags() -> dict[str, str]:
    """The flag of each setting that has one."""
    flags = {name: "--" + name.replace("_", "-") for name in inspect.signature(serve).parameters}
    others = {"folder": "DIR", "host_names": "--host-name", "users_file": "--users"}
    return {setting.name: flags[setting.name] for setting in describe_settings() if setting.name in flags} | others


@contextmanager
def _naming_flags() -> Generator[None]:
    """A setting that is refused is called by the flag that was typed."""
    try:
        yield
    except SettingsError as error:
        name, _, rest = str(error).partition(" ")
        flag = "--" + name.replace("_", "-")
        is_flag = name in inspect.signature(serve).parameters
        raise CommandError(f"{flag} {rest}" if is_flag else str(error)) from error


def _start(settings: Settings, listed: Sequence[UserRecord], names: Sequence[str]) -> None:
    from holdfast.server import run

    def on_ready(url: str) -> None:
        if listed:
            warn(
                "passwords on a command line can be seen by others on this machine; "
                "`holdfast users` keeps them in a file."
            )
        user = next((name for name in names if not name.startswith(PRINCIPAL_PREFIX)), None)
        serving = Serving(url, user, socket.gethostname() if is_everywhere(settings.host) else None)
        _announce(settings, serving, names)

    signal.signal(signal.SIGTERM, _stop)
    try:
        with (
            FolderClaim.take(settings.folder, settings.state_folder) as claim,
            StateFolder.claim(settings.state_folder),
        ):
            if not claim.is_exclusive:
                warn(
                    "this file system cannot keep a second Holdfast away from the folder: make sure that no other "
                    "serves it, or a folder inside of it."
                )
            is_clean = run(settings, users=tuple(listed), on_ready=on_ready)
    except KeyboardInterrupt:
        is_clean = True
    except PortInUseError as error:
        if not is_holdfast(settings.host, settings.port):
            raise
        msg = (
            f"Port {settings.port} on {settings.host} is in use by another Holdfast: "
            "stop that one, or choose a free port with --port 0."
        )
        raise CommandError(msg) from error
    if not is_clean:
        raise CommandError("Worker processes kept failing, or did not end in time; the messages above say more.")
    say("Holdfast has stopped.")


def _stop(_number: int, _frame: object) -> NoReturn:
    """SIGTERM, as service managers send it, stops as Ctrl-C does."""
    raise KeyboardInterrupt


def _announce(settings: Settings, serving: Serving, names: Sequence[str]) -> None:
    say(f"[bold]Holdfast {__version__}[/bold] serves {escape(str(settings.folder))}")
    say()
    _say_row("WebDAV", f"[bold]{escape(serving.webdav_url)}[/bold]")
    _say_row("dashboard", escape(serving.url))
    if serving.elsewhere_url is not None:
        _say_row("elsewhere", escape(serving.elsewhere_url))
    _say_row("users", escape(", ".join(names[:8]) + (", ..." if len(names) > 8 else "")) if names else _OPEN)
    _say_row("state", escape(f"{settings.state_folder} (durability: {settings.durability.value})"))
    say()
    say("[bold]Connect[/bold]")
    for program, action in describe_connecting(serving):
        _say_row(program, escape(action))
    say()
    say("Ctrl-C stops the server.")


_OPEN = "none: everyone on this machine may read and write, no other machine can reach it"


def _say_row(label: str, text: str) -> None:
    say(f"  [cyan]{label:<12}[/cyan] {text}")


def _checked_folder(folder: Path) -> Path:
    path = folder.expanduser()
    try:
        path = path.resolve(strict=True)
        with os.scandir(path):
            pass
    except FileNotFoundError as error:
        msg = f"The folder {path} does not exist: make it first, or check the spelling."
        raise CommandError(msg) from error
    except NotADirectoryError as error:
        msg = f"{path} is not a folder: name the folder that holds the documents."
        raise CommandError(msg) from error
    except PermissionError as error:
        msg = f"The folder {path} cannot be read by this account: change its permissions, or run as its owner."
        raise CommandError(msg) from error
    except (OSError, RuntimeError) as error:
        msg = f"The folder {path} cannot be opened: {error}."
        raise CommandError(msg) from error
    return path


def _check_placement(settings: Settings) -> None:
    """Nothing secret may lie where it would be served; only `.holdfast` is out of every client's reach."""
    hidden = settings.folder / STATE_NAME
    secrets = (("--state", settings.state), ("--users", settings.users_file), ("--tls-key", settings.tls_key))
    for flag, path in secrets:
        if path is not None and path.is_relative_to(settings.folder) and not path.is_relative_to(hidden):
            msg = f"{flag} {path} lies in the served folder, where clients could read it: keep it elsewhere."
            raise CommandError(msg)
    if settings.state is not None and settings.folder.is_relative_to(settings.state):
        msg = f"The served folder lies in the state folder {settings.state}: choose another --state."
        raise CommandError(msg)


def _check_tls(cert: Path | None, key: Path | None) -> None:
    if cert is None or key is None:
        return
    for flag, path in (("--tls-cert", cert), ("--tls-key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            msg = f"{flag} {path} cannot be read: {error.strerror}."
            raise CommandError(msg) from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            reason = "they do not belong together"
        elif _holds_key(cert) and not _holds_key(key):
            reason = "--tls-cert holds the key; they may be swapped"
        else:
            reason = "not PEM, or the key has a password"
        msg = f"HTTPS cannot be served with {cert} and {key}: {reason}."
        raise CommandError(msg) from error


def _holds_key(path: Path) -> bool:
    return b"PRIVATE KEY-----" in path.read_bytes()


def _listed_users(flags: Sequence[str]) -> list[UserRecord]:
    passwords = Passwords()
    found: dict[str, UserRecord] = {}
    for flag in flags:
        name, password, role = _parse_user(flag)
        _tell_of_no_role(name, password)
        if name in found:
            msg = f"--user names {name} twice."
            raise CommandError(msg)
        try:
            found[name] = UserRecord(check_name(name), passwords.hash(password), (Grant(role),))
        except (UnusableNameError, UnusablePasswordError) as error:
            msg = f"--user {name}:... cannot be: {error}"
            raise CommandError(msg) from error
    return list(found.values())


def _parse_user(flag: str) -> tuple[str, str, Role]:
    """Split NAME:PASSWORD[:ROLE]. A password may hold colons; a last part that is a role's name is the role.

    One that is nearly a role's name is refused: as a part of the password it would make a reader a writer.
    """
    name, colon, rest = flag.partition(":")
    if not colon:
        msg = "--user needs NAME:PASSWORD or NAME:PASSWORD:ROLE."
        raise CommandError(msg)
    password, colon, word = rest.rpartition(":")
    if colon and word in GRANTABLE:
        return name, password, GRANTABLE[word]
    meant = difflib.get_close_matches(word.strip().casefold(), GRANTABLE, n=1, cutoff=0.75) if colon else []
    if meant:
        msg = f"--user {name}:... ends in {word!r}, which is no role: write {meant[0]}, or choose another password."
        raise CommandError(msg)
    return name, rest, Role.WRITER


def _tell_of_no_role(name: str, password: str) -> None:
    """Who gave a role that there is not would have a password that he does not know."""
    _, colon, word = password.rpartition(":")
    if colon and word.isalpha():
        warn(f"the password of {name} ends in {':' + word!r}, which is no role (reader, writer, admin).")


def _user_names(settings: Settings, listed: Sequence[UserRecord]) -> list[str]:
    names = [record.name for record in listed]
    if settings.users_file is None:
        return names
    kept = UsersFile(settings.users_file).load_all()
    for name in names:
        if name in kept.users:
            msg = f"{name} is in {settings.users_file} and on the command line: leave one of them out."
            raise CommandError(msg)
    if not kept.users and not kept.tokens and not names:
        msg = f"The users file {settings.users_file} has no users: add one with `holdfast users add NAME --users {shlex.quote(str(settings.users_file))}`."
        raise CommandError(msg)
    return [*names, *kept.users, *(token.principal.name for token in kept.tokens.values())]


def _check_reach(settings: Settings, names: Sequence[str]) -> None:
    if is_loopback_only(settings.host):
        return
    if not names:
        msg = (
            f"Without users Holdfast listens on this machine only, and {settings.host} can be reached from others: "
            "add users (--users FILE, or --user NAME:PASSWORD for a trial), or leave --host out."
        )
        raise CommandError(msg)
    if settings.tls_cert is None:
        warn(
            "passwords and documents cross the network unencrypted: add --tls-cert and --tls-key, "
            "or let a proxy that speaks HTTPS stand in front and listen on 127.0.0.1."
        )
