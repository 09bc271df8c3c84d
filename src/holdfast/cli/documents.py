"""`holdfast get`, `put` and `edit`: one document of a WebDAV server, without ever undoing what somebody else has saved.

Owns: the commands, which version a file was made from, and where an edited text is kept when it cannot be saved. Must not know: how a lock is waited for or
held, which is `holdfast.client`'s.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any, Final, TypeAlias
from urllib.parse import unquote, urlsplit

from cyclopts import Parameter

from holdfast.cli.contenders import of_known, sentence
from holdfast.cli.credentials import UserFlag, is_url
from holdfast.cli.remembered import Memory
from holdfast.cli.remote import Remote, connected
from holdfast.cli.spans import parse_seconds
from holdfast.cli.terminal import CommandError, escape, say, warn
from holdfast.cli.wait import Progress, progress
from holdfast.client.dav import DavHeld, DavLock
from holdfast.client.errors import ClientError, LockedError
from holdfast.client.exchange import Headers
from holdfast.client.policy import Stale, Waiting, WaitPolicy
from holdfast.client.refusals import RefusedError, UnreachableError
from holdfast.client.sending import TimedRequest

__all__ = ["CHANGED_MEANWHILE", "STILL_LOCKED", "edit", "get", "put"]

CHANGED_MEANWHILE: Final = 1
"""The exit code where nothing was saved, for somebody else has saved before."""

STILL_LOCKED: Final = 4
"""The exit code where the document was still locked at the end of the wait."""

_CHUNK: Final = 256 * 1024
_TRANSFER_S: Final = 60.0
_COMPARED: Final = 8 * 1024 * 1024  # bytes
_LOCK_S: Final = 300.0

UrlArgument: TypeAlias = Annotated[str, Parameter(name="URL", help="The document's URL.")]
WaitFlag: TypeAlias = Annotated[str, Parameter(help="How long to wait while somebody else has locked it: 0, 30s, 10m.")]


def get(
    url: UrlArgument,
    file: Annotated[
        Path | None,
        Parameter(
            name="FILE",
            allow_leading_hyphen=True,
            help="Where to put it, - for standard output; default: its name, here.",
        ),
    ] = None,
    /,
    *,
    force: Annotated[bool, Parameter(help="Replace FILE where it exists.", negative="", show_default=False)] = False,
    user: UserFlag = None,
) -> None:
    """Get the document at URL, and remember its version, which `holdfast put` sends along.

    FILE is there once it is complete.

    For example:

        holdfast get https://dav.example.org/team/plan.odt
        holdfast get --force --user ada https://dav.example.org/plan.odt plan.odt
    """
    _need_url(url)
    if file is not None and file.name.startswith("-") and file != Path("-") and str(file) == file.name:
        msg = f"Unknown option: {file}. A file of that name is ./{file}."
        raise CommandError(msg)
    with connected(url, user) as remote:
        if file == Path("-"):
            _download(remote, sys.stdout.buffer)
            return
        target = Path(_name_of(remote.url)) if file is None else file
        if target.is_dir():
            target /= _name_of(remote.url)
        if target.exists() and not force:
            msg = f"{target} exists: with --force it is replaced."
            raise CommandError(msg)
        try:
            with _put_into_place(target) as out:
                etag = _download(remote, out)
        except OSError as error:
            msg = f"{target} cannot be written: {error.strerror}."
            raise CommandError(msg) from error
        Memory().remember_version(remote.url, target, etag)
        say(escape(f"Got {target}."))


def put(
    file: Annotated[Path, Parameter(name="FILE", help="The file to send.")],
    url: UrlArgument,
    /,
    *,
    wait: WaitFlag = "1m",
    force: Annotated[
        bool, Parameter(help="Replace what is there, whatever it is.", negative="", show_default=False)
    ] = False,
    user: UserFlag = None,
) -> int:
    """Save FILE at URL, if what is there is still the version that `holdfast get` got; a new document is made.

    Where somebody has locked it, it waits. A lock that `holdfast lock URL` took is
    used. Exit codes: 0 saved, 1 not saved, for somebody else has changed it since, 2
    a mistake, 4 still locked.

    For example:

        holdfast put plan.odt https://dav.example.org/team/plan.odt
        holdfast put --wait 10m --force a.pdf https://dav.example.org/a.pdf
    """
    _need_url(url)
    seconds = parse_seconds(wait, "--wait")
    if not file.is_file():
        msg = f"There is no file {file}."
        raise CommandError(msg)
    memory = Memory()
    with connected(url, user) as remote:
        version = None if force else memory.version(remote.url, file)
        fields = (
            {} if force else {"If-None-Match": "*"} if version is None else {"If-Match": version.removeprefix("W/")}
        )
        fields |= _own_token(memory, remote)
        try:
            with file.open("rb") as content, progress() as shown:
                response = _uploaded(remote, content, fields, _policy(seconds, shown, force=force))
        except LockedError as error:
            return _still_locked(remote, error)
        except OSError as error:
            msg = f"{file} cannot be read: {error.strerror}."
            raise CommandError(msg) from error
        if response.status_code == 412:
            return _not_saved(remote, file, has_version=version is not None)
        if not 200 <= response.status_code < 300:
            raise RefusedError(response.status_code, f"PUT {remote.url} was answered with {response.status_code}")
        memory.remember_version(remote.url, file, response.headers.get("etag") or _version_of(remote, file))
        say(escape(f"{'Made' if response.status_code == 201 else 'Saved'} {remote.url}."))
        return 0


def edit(url: UrlArgument, /, *, wait: WaitFlag = "1m", user: UserFlag = None) -> int:
    """Edit the document at URL: lock it, open it in $VISUAL or $EDITOR, save it, unlock it.

    The lock is kept for as long as the editor is open. What was edited and could not
    be saved is kept, and it is said where. Exit codes: 0 saved, or nothing was
    changed, 1 not saved, 2 a mistake, 4 locked by somebody else.

    For example:

        holdfast edit https://dav.example.org/team/notes.txt
        VISUAL="code --wait" holdfast edit https://dav.example.org/notes.txt
    """
    _need_url(url)
    command = _editor()
    seconds = parse_seconds(wait, "--wait")
    with connected(url, user) as remote, tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        path = Path(folder) / _name_of(remote.url)
        try:
            with progress() as shown:
                policy = _policy(seconds, shown, force=False)
                lock = DavLock(remote.http, remote.url, ttl=_LOCK_S, wait=seconds, owner=_owner(remote), policy=policy)
                held = lock.acquire()
        except LockedError as error:
            return _still_locked(remote, error)
        except RefusedError as error:
            if error.status not in {405, 501}:
                raise
            msg = f"{remote.url} cannot be locked there: `holdfast get` and `holdfast put` do without."
            raise CommandError(msg) from error
        return _edited(remote, lock, held, path, command)


def _edited(remote: Remote, lock: DavLock, held: DavHeld, path: Path, command: list[str]) -> int:
    """Edit under the lock, and end it; what cannot be saved is kept."""
    before: bytes | None = None
    is_saved = False
    try:
        with _ending(lock):
            headers = _fetched(remote, path)
            before = path.read_bytes()
            _run_editor([*command, str(path)])
            after = path.read_bytes()
            if after != before:
                etag = headers.get("etag", "")
                # It was read under the lock, so it is still the same. A weak tag matches nothing (RFC 9110 section 8.8.3.2).
                condition = None if etag.startswith("W/") else etag or None
                _save(held, after, condition, headers.get("content-type"))
            is_saved = True
            say(escape(f"Saved {remote.url}." if after != before else f"Nothing was changed in {remote.url}."))
            return 0
    except BaseException as error:
        if before is None or is_saved or not path.exists() or path.read_bytes() == before:
            raise
        kept = _keep(path)
        warn(f"{str(error).rstrip('.')}.", label="Not saved:", style="bold red")
        warn(f"Your text is kept in {kept}", label="holdfast:")
        if not isinstance(error, (ClientError, CommandError, OSError)):
            raise
        return CHANGED_MEANWHILE


def _save(held: DavHeld, content: bytes, condition: str | None, content_type: str | None) -> None:
    try:
        held.put(content, if_match=condition, content_type=content_type)
    except RefusedError as error:
        if error.status != 412:
            raise
        msg = "The lock was lost while it was edited, or somebody else has saved."
        raise CommandError(msg) from error


def _fetched(remote: Remote, path: Path) -> dict[str, str]:
    """Write the document to `path`, an empty one where there is none yet; its header fields."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        with remote.sender.stream(_request("GET", remote.url)) as response:
            if response.status_code == 404:
                return {}
            _need_document(remote, response)
            for piece in response.iter_bytes(_CHUNK):
                out.write(piece)
            return {name.lower(): value for name, value in response.headers.items()}


@contextmanager
def _ending(lock: DavLock) -> Generator[None]:
    """End a lock with the block: its own trouble does not hide the block's."""
    try:
        yield
    except BaseException as error:
        lock.__exit__(type(error), error, error.__traceback__)
        raise
    lock.__exit__(None, None, None)


def _download(remote: Remote, out: IO[bytes]) -> str | None:
    """Write the document to `out`; its entity tag."""
    with remote.sender.stream(_request("GET", remote.url)) as response:
        _need_document(remote, response)
        for piece in response.iter_bytes(_CHUNK):
            out.write(piece)
        etag: str | None = response.headers.get("etag")
        return etag


def _need_document(remote: Remote, response: Any) -> None:
    if response.status_code == 404:
        msg = f"There is nothing at {remote.url}."
        raise CommandError(msg)
    if 300 <= response.status_code < 400:
        msg = f"{remote.url} has moved to {response.headers.get('location', 'another place')}."
        raise CommandError(msg)
    if response.status_code != 200:
        raise RefusedError(response.status_code, f"GET {remote.url} was answered with {response.status_code}")


def _uploaded(remote: Remote, content: IO[bytes], fields: dict[str, str], policy: WaitPolicy) -> Any:
    with remote.waiting_http(policy, _TRANSFER_S) as http:
        try:
            return http.put(
                remote.url,
                content=content,
                headers=fields | {"Content-Length": str(os.fstat(content.fileno()).st_size)},
            )
        except remote.network_errors as error:
            raise UnreachableError(f"{remote.base}/", str(error) or type(error).__name__) from error


def _version_of(remote: Remote, file: Path) -> str | None:
    """The version that was just saved, from a server that did not tell it: of what is there, if that is what was sent."""
    content = file.read_bytes() if file.stat().st_size <= _COMPARED else None
    if content is None:
        return None
    with suppress(ClientError):
        response = remote.sender(_request("GET", remote.url))
        if response.status == 200 and response.body == content:
            return response.headers.get("etag")
    return None


def _policy(seconds: float, shown: Progress, *, force: bool) -> WaitPolicy:
    def tell(waiting: Waiting) -> None:
        path = urlsplit(waiting.url).path
        shown.tell([of_known(lock, path) for lock in waiting.details.locks])

    return WaitPolicy(
        deadline=seconds,
        attempts=1_000_000,
        on_wait=tell,
        wait_for_endless=True,
        raise_locked=True,
        stale=Stale.OVERWRITE if force else Stale.REFUSE,
    )


def _own_token(memory: Memory, remote: Remote) -> dict[str, str]:
    """The If header of the lock that `holdfast lock` took on it, while that is held."""
    taken = memory.lock(remote.url)
    if taken is None or (taken.expires_at is not None and taken.expires_at <= datetime.now(UTC)):
        return {}
    return {"If": f"<{remote.url}> (<{taken.token}>)"}


def _not_saved(remote: Remote, file: Path, *, has_version: bool) -> int:
    if has_version:
        why = (
            f"{remote.url} was changed by somebody else since it was got here, or the lock that you had on it has ended"
        )
        advice = f"Nothing was saved. {file} is as it was: get theirs under another name, and bring both together."
    else:
        why = f"There is something at {remote.url} already, and {file} was not made from it with `holdfast get`"
        advice = "Nothing was saved. With --force it is replaced."
    warn(f"{why}.", label="holdfast:", style="bold red")
    warn(advice)
    return CHANGED_MEANWHILE


def _still_locked(remote: Remote, error: LockedError) -> int:
    for lock in error.locks:
        warn(f"{sentence(of_known(lock, remote.path), datetime.now(UTC))}.", label="In the way:")
    if not error.locks:
        warn(f"{error}.", label="In the way:")
    warn("Nothing was saved.", label="holdfast:", style="bold red")
    return STILL_LOCKED


def _editor() -> list[str]:
    text = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        words = shlex.split(text)
    except ValueError as error:
        msg = f"VISUAL or EDITOR is no command: {text}."
        raise CommandError(msg) from error
    if not words or shutil.which(words[0]) is None:
        msg = f"There is no editor {text}: put yours into VISUAL or EDITOR."
        raise CommandError(msg)
    return words


def _run_editor(command: list[str]) -> None:
    """Until it is closed. Ctrl-C is the editor's to heed meanwhile. Raises CommandError where it ends with an error."""
    process = subprocess.Popen(command)  # noqa: S603 - the user's own editor
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    if code != 0:
        msg = f"The editor ended with exit code {code}."
        raise CommandError(msg)


def _keep(path: Path) -> Path:
    """Put an edited text where nothing removes it."""
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if state.startswith("/") else Path("~/.local/state").expanduser()
    try:
        folder = home / "holdfast" / "unsaved"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = Path(tempfile.mkdtemp(dir=folder, prefix=f"{datetime.now().astimezone():%Y-%m-%d-%H%M%S}-")) / path.name
    except OSError:
        kept = Path(tempfile.mkdtemp(prefix="holdfast-unsaved-")) / path.name
    shutil.move(path, kept)
    return kept


@contextmanager
def _put_into_place(target: Path) -> Generator[IO[bytes]]:
    """A file beside `target` that takes its place at the end of the block, with the rights of what it replaces."""
    number, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    try:
        with os.fdopen(number, "wb") as out:
            yield out
        os.chmod(name, target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _name_of(url: str) -> str:
    """What to call a document here: the last part of its URL. Raises CommandError where it has none."""
    name = unquote(urlsplit(url).path.rpartition("/")[2], errors="replace")
    if not name or name in {".", ".."} or "/" in name or "\0" in name:
        msg = f"{url} names no document: say what to call it here."
        raise CommandError(msg)
    return name


def _owner(remote: Remote) -> str:
    return remote.user or os.environ.get("USER", "")


def _request(method: str, url: str) -> TimedRequest:
    # Compressed on the way, it would have another entity tag at some servers.
    return TimedRequest(method=method, url=url, headers=Headers([("Accept-Encoding", "identity")]), within=_TRANSFER_S)


def _need_url(url: str) -> None:
    if not is_url(url):
        msg = f"{url} is no URL: write http://HOST/PATH or https://HOST/PATH."
        raise CommandError(msg)
