"""`holdfast run`: a command under a lock, from outside: exit codes, environment, signals, and what is left when it ends."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.serving import Answer, Served, serving

pytestmark = pytest.mark.process

SPEAK_UP = "print('ready', flush=True)\n"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "served"
    folder.mkdir()
    with serving(folder, users=None) as server:
        yield server


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "secured"
    folder.mkdir()
    with serving(folder) as server:
        yield server


def words(*given: str) -> list[str]:
    return [sys.executable, "-m", "holdfast", "run", *given]


def surroundings(served: Served, tmp_path: Path, **more: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("HOLDFAST_")}
    return kept | {"HOLDFAST_URL": served.url, "NETRC": str(tmp_path / "no-netrc")} | more


@pytest.fixture
def run(served: Served, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def call(*given: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words(*given), env=surroundings(served, tmp_path, **more), capture_output=True, text=True, timeout=60
        )

    return call


@contextmanager
def running(served: Served, tmp_path: Path, *given: str) -> Iterator[subprocess.Popen[str]]:
    """A run whose command has said a first line; ended with all that it has in the end."""
    process = subprocess.Popen(
        words(*given),
        env=surroundings(served, tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == "ready\n", (line, process.stderr.read() if process.stderr and process.poll() else "")
        yield process
    finally:
        process.kill()  # its watchdog ends the command
        process.communicate(timeout=30)


def python(code: str) -> list[str]:
    return ["--", sys.executable, "-c", code]


def held(served: Served) -> list[dict[str, object]]:
    answer = served.anonymous.get("/api/locks")
    return msgspec.json.decode(answer.body)["locks"]


def until(true: Callable[[], bool]) -> None:
    """Return once it is; fail after half a minute."""
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def take(served: Served, ttl: float = 60, resource: str = "/jobs/a") -> None:
    body = msgspec.json.encode({"resource": resource, "ttl": ttl, "reason": "tea break"})
    assert served.anonymous.request("POST", "/api/locks", body, content_type="application/json").status == 201


def break_lock(served: Served, lock: dict[str, object], reason: str, after: float = 0) -> None:
    body = msgspec.json.encode({"reason": reason, "after": after})
    done = served.anonymous.request("POST", f"/api/locks/{lock['id']}/break", body, content_type="application/json")
    assert done.status == (202 if after else 200)


def heard_by_its_run(served: Served) -> dict[str, object]:
    """The one lock, once its run listens to the events: then it has refreshed it, for what was told before."""
    [lock] = held(served)

    def is_refreshed() -> bool:
        with served.application.store.read() as tx:
            kept = tx.lock_with_id(str(lock["id"]))
        return kept is not None and kept.refreshed_at > kept.created_at

    until(is_refreshed)
    return lock


@contextmanager
def next_in_line(served: Served, resource: str = "/jobs/a") -> Iterator[Future[Answer]]:
    """Somebody waits for the lock: the answer, once they are granted it."""
    body = msgspec.json.encode({"resource": resource, "ttl": 60, "wait": 60})
    with ThreadPoolExecutor(1) as thread:
        granted = thread.submit(served.anonymous.request, "POST", "/api/locks", body, content_type="application/json")
        until(lambda: [lock["queue_length"] for lock in held(served)] == [1])
        yield granted


def story(served: Served) -> list[str]:
    page = msgspec.json.decode(served.anonymous.get("/api/history").body)
    return [event["kind"] for event in page["events"]]


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
    ids=["success", "failure", "killed", "terminated"],
)
def test_the_exit_code_is_the_commands_own(run, served, command, code):
    assert run("a", "--", "sh", "-c", command).returncode == code
    assert held(served) == []


def test_the_command_learns_its_lock_from_the_environment(run):
    done = run("backup", "--", "sh", "-c", 'echo "$HOLDFAST_RESOURCE $HOLDFAST_LOCK_ID $HOLDFAST_FENCING_TOKEN"')
    resource, lock_id, token = done.stdout.split()
    assert (resource, lock_id[:4]) == ("/jobs/backup", "run-")
    again = run("/jobs/backup", "--", "sh", "-c", "echo $HOLDFAST_FENCING_TOKEN")
    assert int(again.stdout) > int(token)


def test_its_input_output_and_descriptors_are_the_commands(served, tmp_path):
    told, tell = os.pipe()
    command = ["a", "--", "sh", "-c", f"cat; echo err >&2; echo more >/dev/fd/{tell}"]
    environment = surroundings(served, tmp_path)
    done = subprocess.run(
        words(*command), env=environment, input="in", capture_output=True, text=True, pass_fds=(tell,), timeout=60
    )
    os.close(tell)
    with open(told) as pipe:
        assert (done.stdout, done.stderr, pipe.read()) == ("in", "err\n", "more\n")


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["a"], 64, "There is no command"),
        (["a", "--bogus", "--", "true"], 64, "no flag --bogus"),
        (["a", "--ttl", "0.5", "--", "true"], 64, "--ttl 0.5"),
        (["a", "--kill-after", "20", "--", "true"], 64, "7.5 s at most"),
        (["a", "-n", "-w", "5", "--", "true"], 64, "two different things"),
        (["a", "-E", "300", "--", "true"], 64, "between 0 and 255"),
        (["a//b", "--", "true"], 64, "names no resource"),
        (["a", "--", "no-such-program"], 127, "not found"),
        (["a", "--", "/etc/passwd"], 126, "cannot be executed"),
        (["a", "--server", "http://127.0.0.1:1", "--", "true"], 69, "gave no answer"),
        (["a", "--server", "nowhere", "--", "true"], 64, "no URL"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence_with_a_code_of_its_own(run, given, code, said):
    done = run(*given)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_script_without_a_first_line_is_the_shells(run, tmp_path):
    script = tmp_path / "script"
    script.write_text('echo "script $1"\n')
    script.chmod(0o755)
    assert run("a", "--", str(script), "-x").stdout == "script -x\n"


def test_a_lock_in_the_way_is_1_or_the_code_that_was_chosen_and_says_whose(run, served):
    take(served)
    refused = run("a", "--nonblock", "--", "echo", "no")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "tea break" in refused.stderr
    assert run("a", "-n", "-E", "42", "--", "echo", "no").returncode == 42
    assert run("a", "-w", "0", "--", "echo", "no").returncode == 1
    assert run("a", "--wait", "0.2", "--", "echo", "no").returncode == 1


def test_shared_runs_run_beside_each_other_and_not_beside_an_exclusive_one(run, served, tmp_path):
    with running(served, tmp_path, "a", "--shared", *python(SPEAK_UP + "import time; time.sleep(60)")):
        assert run("a", "-n", "-s", "--", "true").returncode == 0
        assert run("a", "-n", "--", "true").returncode == 1


def test_it_waits_its_turn_and_is_granted_it_when_the_lock_is_released(served, tmp_path):
    code = SPEAK_UP + "import signal; signal.sigwait([signal.SIGUSR1])"
    block = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
    with running(served, tmp_path, "a", *python(block + code)) as first:
        second = subprocess.Popen(
            words("a", "--", "echo", "mine"), env=surroundings(served, tmp_path), stdout=subprocess.PIPE, text=True
        )
        until(lambda: [lock["queue_length"] for lock in held(served)] == [1])
        first.send_signal(signal.SIGUSR1)
        assert first.wait(30) == 0
        assert second.communicate(timeout=30)[0] == "mine\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_and_gives_up_the_place_in_line(served, tmp_path, number):
    take(served)
    waiting = subprocess.Popen(
        words("a", "--", "echo", "no"), env=surroundings(served, tmp_path), stdout=subprocess.PIPE
    )
    until(lambda: [lock["queue_length"] for lock in held(served)] == [1])
    waiting.send_signal(number)
    assert waiting.communicate(timeout=30)[0] == b""
    assert waiting.returncode == 128 + number
    assert [lock["queue_length"] for lock in held(served)] == [0]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"])
def test_signals_are_passed_on_and_the_command_decides(served, tmp_path, name):
    code = f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.{name}])\n{SPEAK_UP}signal.sigwait([signal.{name}]); exit(33)"
    with running(served, tmp_path, "a", *python(code)) as process:
        process.send_signal(getattr(signal, name))
        assert process.wait(30) == 33
    assert held(served) == []


def test_a_signal_that_was_ignored_from_the_start_stays_so(served, tmp_path):
    """nohup holdfast run ..."""
    command = "trap '' HUP; exec \"$@\""
    code = "import signal; print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
    shell = ["sh", "-c", command, "sh", *words("a", *python(code))]
    done = subprocess.run(shell, env=surroundings(served, tmp_path), capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n"


def test_python_leaves_no_ignored_pipe_signal_behind(run):
    """`yes | head` must end, as it does without holdfast."""
    done = run("a", "--", "sh", "-c", "grep SigIgn /proc/self/status")
    assert int(done.stdout.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0


def test_the_lock_is_held_until_the_commands_last_process_has_ended(run):
    """As flock(1) holds it while a child has the file open."""
    begun = time.monotonic()
    done = run("a", "--verbose", "--", "sh", "-c", "(sleep 1; echo last) & exit 4")
    assert (done.returncode, done.stdout) == (4, "last\n")
    assert time.monotonic() - begun >= 1
    assert "stays locked" in done.stderr


def test_a_daemon_is_not_waited_for(run, tmp_path):
    """What makes a session of its own has asked to be left alone."""
    place = tmp_path / "pid"
    run(
        "a",
        "--",
        "sh",
        "-c",
        f"setsid sh -c 'echo $$ > {place}.new; mv {place}.new {place}; exec sleep 60' >/dev/null 2>&1 & while ! test -e {place}; do sleep 0.01; done",
    )
    pid = int(place.read_text())
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


FAMILY = f"""
import os, subprocess, sys
stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(100)"
one = subprocess.Popen([sys.executable, '-c', stubborn], stdout=subprocess.PIPE)
two = subprocess.Popen([sys.executable, '-c', stubborn], stdout=subprocess.PIPE, start_new_session=True)
one.stdout.readline(), two.stdout.readline()
open(sys.argv[1], 'w').write(f'{{os.getpid()}} {{one.pid}} {{two.pid}}')
{SPEAK_UP}import time; time.sleep(100)
"""


@contextmanager
def family(served: Served, tmp_path: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A run with a command, a child that ignores TERM, and another that does so in a session of its own."""
    place = tmp_path / "family"
    with running(served, tmp_path, "a", *flags, *python(FAMILY), str(place)) as process:
        yield process, [int(pid) for pid in place.read_text().split()]


def watchdog_of(process: subprocess.Popen[str]) -> int:
    [pid] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(pid)


def test_when_it_is_killed_all_that_it_started_ends(served, tmp_path):
    with family(served, tmp_path, "--kill-after", "0.1") as (process, pids):
        process.kill()
        until(lambda: not any(map(is_alive, pids)))
        assert len(held(served)) == 1, "nobody else can have it yet"


def test_when_its_watchdog_is_killed_all_ends_and_the_lock_is_released(served, tmp_path):
    with family(served, tmp_path) as (process, pids):
        os.kill(watchdog_of(process), signal.SIGKILL)
        assert process.wait(30) == 70
        assert not any(map(is_alive, pids))
    assert held(served) == []


def test_while_it_is_stopped_its_command_ends_before_the_lock_does(served, tmp_path):
    with family(served, tmp_path, "--ttl", "2", "--kill-after", "0.2") as (process, pids):
        process.send_signal(signal.SIGSTOP)
        until(lambda: not any(map(is_alive, pids)))
        assert len(held(served)) == 1
        process.send_signal(signal.SIGCONT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 75
        assert "was ended" in said


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_watchdog_that_is_stopped_is_continued(served, tmp_path):
    """The run sees to that once in a second; held up by a stop of its own here, so that the stopped state is there to be seen."""
    with family(served, tmp_path) as (process, _):
        watchdog = watchdog_of(process)
        process.send_signal(signal.SIGSTOP)
        until(lambda: state_of(process.pid) == "T")
        os.kill(watchdog, signal.SIGSTOP)
        until(lambda: state_of(watchdog) == "T")
        process.send_signal(signal.SIGCONT)
        until(lambda: state_of(watchdog) != "T")


def test_a_watchdog_that_is_stopped_goes_on_when_its_run_is_killed(served, tmp_path):
    with family(served, tmp_path, "--kill-after", "0.1") as (process, pids):
        watchdog = watchdog_of(process)
        process.send_signal(signal.SIGSTOP)
        until(lambda: state_of(process.pid) == "T")
        os.kill(watchdog, signal.SIGSTOP)
        process.kill()
        until(lambda: not any(map(is_alive, [*pids, watchdog])))


def test_a_lock_that_is_broken_ends_the_command_and_says_by_whom_and_why(served, tmp_path):
    with family(served, tmp_path, "--ttl", "3", "--kill-after", "0.1") as (process, pids):
        [lock] = held(served)
        break_lock(served, lock, "the disk is full")
        _, said = process.communicate(timeout=30)
        assert process.returncode == 75
        assert "the disk is full" in said
        assert not any(map(is_alive, pids))


def test_a_broken_lock_is_heard_of_at_once_and_not_with_the_next_refresh(served, tmp_path):
    """With an hour's ttl the next refresh is due in twenty minutes."""
    with family(served, tmp_path, "--ttl", "1h", "--kill-after", "0.1") as (process, pids):
        break_lock(served, heard_by_its_run(served), "no time to lose")
        _, said = process.communicate(timeout=30)
        assert process.returncode == 75
        assert "no time to lose" in said
        assert not any(map(is_alive, pids))


OBEDIENT = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print('ready', flush=True)
signal.sigwait([signal.SIGTERM])
print('asked to end', flush=True)
"""


def test_a_break_that_is_set_for_later_ends_the_command_before_it_comes_and_says_who_set_it(served, tmp_path):
    """With an hour's ttl, no refresh but the one that the word of it brings is due. The run releases once nothing is left."""
    with running(served, tmp_path, "a", "--ttl", "1h", *python(OBEDIENT)) as process, next_in_line(served) as granted:
        lock = heard_by_its_run(served)
        break_lock(served, lock, "make room", after=4)
        assert granted.result(60).status == 201
        assert story(served) == ["granted", "queued", "breaking", "released", "granted"]
        asked, said = process.communicate(timeout=30)
        assert (process.returncode, asked) == (75, "asked to end\n")
        assert "is being broken" in said
        assert "make room" in said


def test_a_break_that_is_set_for_later_kills_what_does_not_end_before_another_has_the_lock(served, tmp_path):
    with family(served, tmp_path, "--ttl", "1h") as (process, pids), next_in_line(served) as granted:
        lock = heard_by_its_run(served)
        granted.add_done_callback(lambda _: alive.extend(map(is_alive, pids)))
        alive: list[bool] = []
        break_lock(served, lock, "make room", after=4)
        assert granted.result(60).status == 201
        assert process.wait(30) == 75
        assert alive == [False] * len(pids)


def test_a_lock_that_its_creator_takes_over_elsewhere_ends_the_command_at_once(served, tmp_path):
    with family(served, tmp_path, "--ttl", "1h", "--kill-after", "0.1") as (process, pids):
        [lock] = held(served)
        client = served.anonymous
        assert (
            client.request("POST", f"/api/locks/{lock['id']}/take-over", b"{}", content_type="application/json").status
            == 201
        )
        _, said = process.communicate(timeout=30)
        assert (process.returncode, "taken over" in said) == (75, True)
        assert not any(map(is_alive, pids))


def test_where_no_stream_of_events_is_to_be_had_a_broken_lock_is_heard_of_with_the_next_refresh(tmp_path):
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served", users=None, max_streams=1) as served:
        other = http.client.HTTPConnection(served.host, served.port, timeout=20)
        other.request("GET", "/api/events")
        stream = other.getresponse()
        stream.read(1)
        with family(served, tmp_path, "--ttl", "3", "--kill-after", "0.1") as (process, pids):
            [lock] = held(served)
            break_lock(served, lock, "all the same")
            _, said = process.communicate(timeout=30)
            assert (process.returncode, "all the same" in said) == (75, True)
            assert not any(map(is_alive, pids))
        stream.close()
        other.close()


def test_a_broken_lock_whose_command_ended_by_itself_is_told_all_the_same(served, tmp_path):
    code = f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n{SPEAK_UP}signal.sigwait([signal.SIGUSR1])"
    with running(served, tmp_path, "a", "--ttl", "60", *python(code)) as process:
        [lock] = held(served)
        break_lock(served, lock, "mine now")
        process.send_signal(signal.SIGUSR1)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 75
        assert "mine now" in said


def test_a_token_or_a_name_and_password_come_from_the_environment_or_netrc(secured, tmp_path):
    def code(**more: str) -> int:
        environment = surroundings(secured, tmp_path, **more)
        return subprocess.run(words("a", "--", "true"), env=environment, capture_output=True, timeout=60).returncode

    assert code() == 77
    assert code(HOLDFAST_USER="alice", HOLDFAST_PASSWORD="alice-secret") == 0
    assert code(HOLDFAST_USER="alice", HOLDFAST_PASSWORD="wrong") == 77
    assert code(HOLDFAST_USER="rita", HOLDFAST_PASSWORD="rita-secret") == 77
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login bob password bob-secret\n")
    netrc.chmod(0o600)
    assert code(NETRC=str(netrc)) == 0
