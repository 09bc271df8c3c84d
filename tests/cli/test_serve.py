"""`holdfast serve`: what it says, what it refuses, and that it stops cleanly."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from holdfast.cli.serve import _checked_folder, _listed_users, _parse_user
from holdfast.cli.terminal import CommandError
from holdfast.core.access import Role

pytestmark = pytest.mark.process


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a refusal; notes that come before it do not count."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("holdfast: ")
    return last.removeprefix("holdfast: ")


def test_it_says_where_webdav_is_and_it_is_there(serve, folder: Path):
    server = serve(folder)
    assert server.webdav_url.startswith("http://127.0.0.1:")
    assert server.webdav_url.endswith("/dav/")
    assert httpx.get(server.webdav_url + "plan.txt").text == "a plan\n"


def test_it_says_how_to_connect_from_each_program(serve, folder: Path):
    server = serve(folder)
    for program in ("Finder", "Explorer", "GNOME Files", "davfs2", "rclone"):
        line = next(line for line in server.lines if line.strip().startswith(program))
        assert server.webdav_url.removeprefix("http") in line


def connect_lines(server) -> dict[str, str]:
    found = server.lines[server.lines.index("Connect") + 1 :]
    return {line[2:15].strip(): line[15:] for line in found if line.startswith("  ")}


def test_the_line_for_rclone_names_the_first_user_as_a_shell_reads_it(serve, run, folder: Path, tmp_path: Path):
    for name in ("zoë of the north", "ada"):
        run("users", "add", name, "--users", tmp_path / "team.json", "--password-stdin", stdin="secret word\n")
    by_file = connect_lines(serve(folder, "--users", tmp_path / "team.json"))["rclone"]
    (tmp_path / "other").mkdir()
    by_flag = connect_lines(serve(tmp_path / "other", "--user", "o'hara:pw word", "--user", "ada:x"))["rclone"]
    assert "user=zoë of the north" in shlex.split(by_file)
    assert "user=o'hara" in shlex.split(by_flag)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_what_is_meant_for_other_machines_has_this_machine_s_name(serve, folder: Path, host: str):
    if host == "::" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    server = serve(folder, "--host", host, "--user", "alice:secret")
    port = urlsplit(server.webdav_url).port
    address = f"://{socket.gethostname()}:{port}/dav/"
    assert any(line.split() == ["elsewhere", f"http{address}"] for line in server.lines)
    assert len(connect_lines(server)) == 5
    for line in connect_lines(server).values():
        assert address in line
        assert "127.0.0.1" not in line
        assert "::1" not in line


def test_piped_words_have_no_colours_and_no_broken_lines(serve, folder: Path):
    assert not any("\x1b" in line for line in serve(folder).lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [1, 2])
def test_it_stops_cleanly(serve, folder: Path, number: signal.Signals, workers: int):
    code, rest, errors = serve(folder, "--workers", workers).stop(number)
    assert (code, rest.splitlines()[-1], errors) == (0, "Holdfast has stopped.", "")


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_says_at_once_what_it_waits_for_and_a_second_one_stops(serve, folder: Path, workers: int):
    """The signals go to the whole group of processes, as a terminal sends them."""
    server = serve(folder, "--workers", workers)
    address = urlsplit(server.webdav_url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as upload:
        upload.sendall(
            f"PUT /dav/new.txt HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 9\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        assert upload.recv(100).startswith(b"HTTP/1.1 100 ")
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.stderr.readline() == (
            "Waiting up to 10 s for 1 request under way; Ctrl-C again stops now.\n"
        )
        os.killpg(server.process.pid, signal.SIGINT)
        rest, errors = server.process.communicate(timeout=8)
    assert (server.process.returncode, rest.splitlines()[-1], errors) == (0, "Holdfast has stopped.", "")
    assert [path.name for path in folder.iterdir() if path.name != ".holdfast"] == ["plan.txt"]


def test_it_can_be_started_again_at_once(serve, folder: Path):
    serve(folder).stop()
    assert serve(folder).stop()[0] == 0


def test_after_a_kill_it_can_be_started_again_at_once(serve, folder: Path):
    serve(folder).stop(signal.SIGKILL)
    assert serve(folder).stop()[0] == 0


def test_a_missing_folder_is_refused(run, tmp_path: Path):
    assert "does not exist" in refusal(run("serve", tmp_path / "none"))


def test_a_file_is_refused(run, folder: Path):
    assert "is not a folder" in refusal(run("serve", folder / "plan.txt"))


def test_an_unreadable_folder_is_refused(folder: Path):
    """As another account where the tests run as root, who may read everything."""
    folder.chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(CommandError, match="cannot be read by this account"):
            _checked_folder(folder)
    finally:
        os.seteuid(os.getuid())
        folder.chmod(0o700)


def test_a_port_in_use_is_refused(run, folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", folder, "--port", port, "--user", "alice:secret")
        assert f"Port {port} on 127.0.0.1 is in use by another program" in refusal(done)
    assert "Note" not in done.stderr, "what is not served has nothing to warn of"


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_port_in_use_by_another_holdfast_is_said_to_be(
    serve, run, folder: Path, tmp_path: Path, certificate, is_secure
):
    flags = ("--tls-cert", certificate[0], "--tls-key", certificate[1]) if is_secure else ()
    port = urlsplit(serve(folder, *flags).webdav_url).port
    (tmp_path / "other").mkdir()
    sentence = refusal(run("serve", tmp_path / "other", "--port", port))
    assert f"Port {port} on 127.0.0.1 is in use by another Holdfast: " in sentence


def test_a_state_folder_of_another_process_is_refused(serve, run, folder: Path):
    server = serve(folder)
    sentence = refusal(run("serve", folder, "--port", "0"))
    assert "in use by another Holdfast" in sentence
    assert str(server.process.pid) in sentence


def overlapping(folder: Path) -> dict[str, Path]:
    """The served folder by another way, one inside of it, and the one around it."""
    (folder / "sub" / "deep").mkdir(parents=True)
    link = folder.parent / "link"
    link.symlink_to(folder)
    return {"same": link, "inside": folder / "sub" / "deep", "around": folder.parent}


@pytest.mark.parametrize("which", ["same", "inside", "around"])
def test_no_second_server_may_stand_over_the_same_documents(serve, run, folder: Path, tmp_path: Path, which: str):
    """Wherever the two keep their states: each would grant locks that the other does not know."""
    other = overlapping(folder)[which]
    first = serve(folder, "--state", tmp_path.parent / f"{tmp_path.name}-first")
    before = set(other.iterdir())
    sentence = refusal(run("serve", other, "--port", "0", "--state", tmp_path.parent / f"{tmp_path.name}-second"))
    assert "in use by another Holdfast" in sentence
    assert f"(process {first.process.pid})" in sentence
    assert sentence.count(str(folder)) == (0 if which == "around" else 2 if which == "inside" else 1)
    assert set(other.iterdir()) == before
    first.stop(signal.SIGKILL)
    assert serve(other, "--state", tmp_path.parent / f"{tmp_path.name}-second").stop()[0] == 0


def test_neighbouring_folders_may_be_served_together(serve, folder: Path, tmp_path: Path):
    beside = tmp_path / "documents 2"
    beside.mkdir()
    assert httpx.get(serve(folder).webdav_url).status_code == 200
    assert httpx.get(serve(beside).webdav_url).status_code == 200


def test_a_state_folder_may_not_lie_where_another_server_serves_it(serve, run, folder: Path, tmp_path: Path):
    beside = tmp_path / "beside"
    beside.mkdir()
    first = serve(folder)
    sentence = refusal(run("serve", beside, "--port", "0", "--state", folder / "state"))
    assert str(first.process.pid) in sentence
    assert "--state" in sentence
    assert not (folder / "state").exists()


def test_a_state_folder_of_a_newer_version_is_refused(run, folder: Path):
    (folder / ".holdfast").mkdir()
    (folder / ".holdfast" / "VERSION").write_text("99\n")
    assert "newer Holdfast" in refusal(run("serve", folder, "--port", "0"))


def test_a_link_in_place_of_the_state_folder_is_refused(run, folder: Path, tmp_path: Path):
    (folder / ".holdfast").symlink_to(tmp_path)
    assert "is not a folder" in refusal(run("serve", folder, "--port", "0"))


def test_state_can_lie_elsewhere(serve, folder: Path, tmp_path: Path):
    serve(folder, "--state", tmp_path / "state")
    assert (tmp_path / "state" / "server.lock").exists()
    assert not (folder / ".holdfast").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_without_users_no_other_machine_is_let_in(run, folder: Path, host: str):
    assert "Without users" in refusal(run("serve", folder, "--port", "0", "--host", host))


def test_a_host_without_an_address_is_refused(run, folder: Path):
    assert "has no address" in refusal(run("serve", folder, "--host", "no-such-host.invalid"))


def test_a_foreign_address_is_refused(run, folder: Path):
    done = run("serve", folder, "--port", "0", "--host", "192.0.2.1", "--user", "alice:secret")
    assert "not one of this machine's" in refusal(done)


@pytest.mark.parametrize(("flag", "name"), [("--users", "users.json"), ("--state", "state")])
def test_nothing_secret_may_lie_where_it_would_be_served(run, folder: Path, flag: str, name: str):
    assert "lies in the served folder" in refusal(run("serve", folder, flag, folder / name))


def test_a_users_file_without_users_is_refused(run, folder: Path, tmp_path: Path):
    (tmp_path / "users.json").write_text('{"users": {}}')
    assert "has no users" in refusal(run("serve", folder, "--users", tmp_path / "users.json"))


def test_listed_users_have_to_log_in_and_draw_a_note(serve, folder: Path):
    server = serve(folder, "--user", "alice:secret", "--user", "bob:hunter2:reader")
    url = server.webdav_url + "plan.txt"
    refused = httpx.get(url)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == 'Basic realm="Holdfast", charset="UTF-8", Bearer realm="Holdfast"'
    assert httpx.get(url, auth=("alice", "wrong")).status_code == 401
    unknown, mistyped = httpx.get(url, auth=("nobody", "wrong")), httpx.get(url, auth=("alice", "wrong"))
    assert "The name or the password is wrong" in mistyped.text
    assert unknown.text == mistyped.text != refused.text
    assert httpx.get(url, auth=("bob", "hunter2")).status_code == 200
    assert httpx.put(url, auth=("bob", "hunter2"), content=b"x").status_code == 403
    assert httpx.put(url, auth=("alice", "secret"), content=b"x").status_code == 204
    _, _, errors = server.stop()
    assert "can be seen by others" in errors
    assert "secret" not in errors


def test_users_of_a_file_have_to_log_in(serve, run, folder: Path, tmp_path: Path):
    file = tmp_path / "users.json"
    run("users", "add", "zoë", "--users", file, "--password-stdin", stdin="grün & blau\n")
    url = serve(folder, "--users", file).webdav_url + "plan.txt"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, auth=("zoë", "grün & blau")).status_code == 200


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path, ssl.SSLContext]:
    """Chain and key of `localhost`, and a context that trusts it."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    chain, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for pem in issued.cert_chain_pems:
        pem.write_to_path(chain, append=True)
    issued.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return chain, key, context


def test_https_is_served_with_a_certificate(serve, folder: Path, certificate):
    chain, key, context = certificate
    server = serve(folder, "--tls-cert", chain, "--tls-key", key)
    assert server.webdav_url.startswith("https://")
    assert httpx.get(server.webdav_url + "plan.txt", verify=context).text == "a plan\n"


def test_https_needs_both_files(run, folder: Path, certificate):
    assert "together" in refusal(run("serve", folder, "--tls-cert", certificate[0]))


def test_a_missing_or_wrong_key_is_refused(run, folder: Path, certificate, tmp_path: Path):
    chain, _, _ = certificate
    other = tmp_path / "other.pem"
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(other)
    assert "cannot be read" in refusal(run("serve", folder, "--tls-cert", chain, "--tls-key", tmp_path / "none"))
    assert "they may be swapped" in refusal(run("serve", folder, "--tls-cert", other, "--tls-key", chain))
    assert "do not belong together" in refusal(run("serve", folder, "--tls-cert", chain, "--tls-key", other))


@pytest.mark.parametrize(
    ("flag", "parts"),
    [
        ("alice:secret", ("alice", "secret", Role.WRITER)),
        ("alice:secret:reader", ("alice", "secret", Role.READER)),
        ("alice:secret:admin", ("alice", "secret", Role.ADMIN)),
        ("alice:se:cret", ("alice", "se:cret", Role.WRITER)),
        ("alice:se:cret:writer", ("alice", "se:cret", Role.WRITER)),
        ("alice:reader", ("alice", "reader", Role.WRITER)),
    ],
)
def test_a_listed_user_is_a_name_a_password_and_maybe_a_role(flag: str, parts):
    assert _parse_user(flag) == parts


@pytest.mark.parametrize("word", ["raeder", "Reader", "readr", "readers", "write", "wirter", "adm1n", "admin "])
def test_a_misspelt_role_is_not_taken_for_a_part_of_the_password(word: str):
    with pytest.raises(CommandError, match=r"no role: write (reader|writer|admin), ") as refused:
        _parse_user(f"bob:hunter2:{word}")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("password", "is_told"),
    [("pw:boss", True), ("boss", False), ("12:34", False), ("x:", False), ("pw:boss:admin", True)],
)
def test_a_word_after_the_password_that_is_no_role_is_told_of(capsys, password: str, is_told: bool):
    """It is a part of the password, and whoever meant a role would wonder why the login fails."""
    _listed_users([f"alice:{password}"])
    told = "Note: the password of alice ends in ':boss', which is no role (reader, writer, admin).\n"
    assert capsys.readouterr().err == (told if is_told else "")


@pytest.mark.parametrize("password", ["a:b", "12:34", "one:red", "x:address", "x:right", "x:adieu", "x:"])
def test_a_password_with_a_colon_stays_one(password: str):
    assert _parse_user(f"bob:{password}") == ("bob", password, Role.WRITER)


@pytest.mark.parametrize("flags", [["alice"], ["a/b:x"], ["alice:"], ["alice:x", "alice:y"]])
def test_a_listed_user_that_makes_no_sense_is_refused(run, folder: Path, flags: list[str]):
    arguments = [part for flag in flags for part in ("--user", flag)]
    assert "--user" in refusal(run("serve", folder, "--port", "0", *arguments))
