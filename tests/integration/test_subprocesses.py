"""Commands in a process group of their own: their output, their end, and what they started."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

import pytest

from assumed.credential_sources.mfa_command import read_mfa_code
from assumed.errors import SourceUnavailableError
from assumed.subprocesses import ProcessGroup, run
from tests.integration.world import wait_until

CHILD = "import time; time.sleep(600)"
WITH_CHILD = (
    "import pathlib, subprocess, sys\n"
    f"child = subprocess.Popen([sys.executable, '-c', {CHILD!r}])\n"
    "pathlib.Path(sys.argv[1]).write_text(str(child.pid))\n"
    "child.wait()\n"
)


def python(program: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", program, *arguments)


def is_alive(pid: str) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except OSError:
        return False


def test_run_returns_the_output_of_a_command_that_no_shell_has_read() -> None:
    completed = run(
        python("import sys; print(sys.argv[1], file=sys.stderr); print(sys.argv[1])", "$HOME *"),
        timeout_seconds=60,
        max_bytes=100,
    )
    assert (completed.output, completed.status, completed.problem) == (b"$HOME *\n", 0, None)


@pytest.mark.parametrize(
    ("command", "status", "problem"),
    [
        (["sh", "-c", "echo x; exit 3"], 3, "exited with status 3"),
        (["sh", "-c", "kill -9 $$"], -9, "was killed by signal 9"),
        (["/nowhere/command"], None, "could not be started: No such file or directory"),
        ([os.devnull], None, "could not be started: Permission denied"),
        (["a\0b"], None, "could not be started: invalid command"),
        (["sh", "-c", "sleep 600"], -9, "did not finish within 0.3 s"),
        (["sh", "-c", "exec >/dev/null; sleep 600"], -9, "did not finish within 0.3 s"),
        (["sh", "-c", "sleep 600 & exit 0"], 0, "did not finish within 0.3 s"),
        (["yes"], -9, "printed more than 100 bytes"),
    ],
)
def test_run_says_why_a_command_failed(
    command: Sequence[str], status: int | None, problem: str
) -> None:
    timeout = 0.3 if "0.3" in problem else 60
    completed = run(command, timeout_seconds=timeout, max_bytes=100)
    assert (completed.status, completed.problem) == (status, problem)


def test_a_time_out_kills_everything_that_the_command_has_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    completed = run(python(WITH_CHILD, str(pid_file)), timeout_seconds=2, max_bytes=100)
    assert completed.problem == "did not finish within 2 s"
    wait_until(lambda: not is_alive(pid_file.read_text()), "the end of the child")


def test_stop_kills_the_whole_group_from_another_thread(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    group = ProcessGroup(python(WITH_CHILD, str(pid_file)))
    reading = Thread(target=lambda: list(group.read(60)))
    reading.start()
    wait_until(lambda: pid_file.exists() and pid_file.read_text() != "", "the child")
    group.stop()
    reading.join(30)
    assert group.problem == "was stopped"
    wait_until(lambda: not is_alive(pid_file.read_text()), "the end of the child")


def test_a_caller_that_reads_no_further_kills_the_command() -> None:
    group = ProcessGroup(["yes"])
    chunks = group.read(60)
    assert next(chunks).startswith(b"y\n")
    chunks.close()
    assert group.status == -9


def test_an_mfa_process_prints_its_code_with_space_around_it() -> None:
    assert read_mfa_code(python("import sys; print(f' {sys.argv[1]} ')", "012345")) == "012345"


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("print('secret-output')", "did not print an MFA code"),
        ("print('123456 654321')", "did not print an MFA code"),
        ("print('\u0661' * 6)", "did not print an MFA code"),
        ("", "did not print an MFA code"),
        ("import sys; sys.exit('secret-output')", "exited with status 1"),
        ("import sys; print('654321', flush=True); sys.exit(2)", "exited with status 2"),
    ],
)
def test_the_output_of_an_mfa_process_is_shown_nowhere(
    program: str, problem: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceUnavailableError, match=problem) as failed:
        read_mfa_code(python(program))
    assert failed.value.message.startswith(f"mfa_process {sys.executable} ")
    assert "secret-output" not in str(failed.value)
    assert "654321" not in str(failed.value)
    assert capfd.readouterr() == ("", "")


def test_an_mfa_process_that_hangs_is_killed() -> None:
    with pytest.raises(SourceUnavailableError, match="did not finish within"):
        read_mfa_code(("sleep", "600"), timeout_seconds=0.3)


def test_an_mfa_process_that_does_not_exist_is_unavailable() -> None:
    with pytest.raises(SourceUnavailableError, match="could not be started: No such file"):
        read_mfa_code(("/nowhere/ykman",))
