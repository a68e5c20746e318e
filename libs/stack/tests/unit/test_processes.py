import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dunwell_stack.children import free_ports
from dunwell_stack.choice import StackUnavailable
from dunwell_stack.processes import Supervisor, wait_http_ready

SERVE = [sys.executable, "-S", "-m", "http.server", "--bind", "127.0.0.1"]


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def gone(pid):
    """Tell whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_killed_process_is_started_again(tmp_path):
    (port,) = free_ports(1)
    with Supervisor() as supervisor:
        supervisor.start("web", [*SERVE, str(port)], log=tmp_path / "web.log")
        wait_http_ready(f"http://127.0.0.1:{port}/", seconds=10)
        first = supervisor.pid("web")
        assert supervisor.kill("web", signal.SIGKILL)
        until(lambda: supervisor.pid("web") not in (None, first))
        wait_http_ready(f"http://127.0.0.1:{port}/", seconds=10)
        assert supervisor.starts("web") == 2
        second = supervisor.pid("web")
    assert gone(first) and gone(second)


def test_a_stopped_process_stays_stopped(tmp_path):
    with Supervisor() as supervisor:
        supervisor.start("idle", ["sleep", "600"], log=tmp_path / "log")
        until(lambda: supervisor.alive("idle"))
        pid = supervisor.pid("idle")
        supervisor.stop("idle")
        assert gone(pid)
        assert supervisor.names() == []
        assert not supervisor.kill("idle")


def test_restarts_back_off(tmp_path):
    with Supervisor() as supervisor:
        supervisor.start("dying", ["false"], log=tmp_path / "log")
        until(lambda: supervisor.starts("dying") >= 2)
        began = time.monotonic()
        until(lambda: supervisor.starts("dying") >= 3)
        assert time.monotonic() - began > 0.3


def test_a_process_ends_with_everything_it_started(tmp_path):
    note = tmp_path / "pid"
    with Supervisor() as supervisor:
        script = f"sleep 600 & echo $! > {note}.part; mv {note}.part {note}; wait"
        supervisor.start("tree", ["sh", "-c", script], log=tmp_path / "log")
        until(note.exists)
    until(lambda: gone(int(note.read_text())))


def test_no_process_outlives_a_killed_parent(tmp_path):
    note = tmp_path / "pid"
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time, pathlib\n"
            "from dunwell_stack.processes import Supervisor\n"
            "s = Supervisor()\n"
            f"s.start('idle', ['sh', '-c', 'echo $$ > {note}.part; mv {note}.part {note}; exec sleep 600'], "
            f"log=pathlib.Path({str(tmp_path / 'log')!r}))\n"
            "time.sleep(600)\n",
        ]
    )
    until(note.exists)
    child = int(note.read_text())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    until(lambda: gone(child))


def test_a_url_that_never_answers_is_told_with_the_log(tmp_path):
    (port,) = free_ports(1)
    log = tmp_path / "log"
    log.write_text("Misconfigured: no database\n")
    with pytest.raises(StackUnavailable, match=r"is not ready after 0\.2 s.*no database"):
        wait_http_ready(f"http://127.0.0.1:{port}/", seconds=0.2, log=log)


def test_one_name_is_one_process(tmp_path):
    with Supervisor() as supervisor:
        supervisor.start("idle", ["sleep", "600"], log=tmp_path / "log")
        with pytest.raises(ValueError, match="idle"):
            supervisor.start("idle", ["sleep", "600"], log=tmp_path / "log")
