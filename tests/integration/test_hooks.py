"""Hooks, with real processes, and what they log."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from assumed.engine.events import EventType, ProfileEvent
from assumed.logs import event_fields, event_text
from assumed.models import Failure
from assumed.observers.hook_process import HookProcess
from assumed.observers.hooks import Hooks, hook_environ
from tests.fakes import NOON
from tests.integration.world import SOURCE, World, wait_until

FAILURE = Failure(code="AccessDenied", message="profile deploy: no", hint="ask", at=NOON)


def profile_event(
    profile: str = "deploy", event_type: EventType = EventType.REFRESHED, **changes: Any
) -> ProfileEvent:
    fields = {"role_arn": "arn:aws:iam::111122223333:role/deploy", "expires_at": NOON}
    return ProfileEvent(event_type=event_type, profile=profile, **{**fields, **changes})


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    found = [record for record in caplog.records if record.getMessage() == name]
    return [{"level": record.levelno, **event_fields(record)} for record in found]


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(") ")[2][0] != "Z"


@pytest.fixture(autouse=True)
def log_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "assumed")


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    hooks = Hooks(os.environ, timeout_seconds=20, grace_seconds=0)
    yield hooks
    hooks.stop()


def test_hook_environ_has_the_event_and_no_variables_of_systemd(
    hooks: Hooks,
) -> None:
    daemon = {
        "PATH": "/bin",
        "AWS_PROFILE": "mine",
        "ASSUMED_CONFIG": "/etc/assumed/config.yaml",
        "ASSUMED_HINT": "of another time",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
        "LISTEN_FDS": "1",
    }
    given = {
        "PATH": "/bin",
        "AWS_PROFILE": "mine",
        "ASSUMED_CONFIG": "/etc/assumed/config.yaml",
        "ASSUMED_EVENT": "refreshed",
        "ASSUMED_PROFILE": "deploy",
        "ASSUMED_ROLE_ARN": "arn:aws:iam::111122223333:role/deploy",
        "ASSUMED_EXPIRATION": "2026-11-24T12:00:00Z",
    }
    assert hook_environ(daemon, profile_event()) == given
    failed = profile_event(event_type=EventType.FAILED, failure=FAILURE)
    assert hook_environ(daemon, failed) == given | {
        "ASSUMED_EVENT": "failed",
        "ASSUMED_ERROR_CODE": "AccessDenied",
        "ASSUMED_ERROR_MESSAGE": "profile deploy: no",
        "ASSUMED_HINT": "ask",
    }


def test_a_hook_is_started_with_any_text_in_the_error(
    hooks: Hooks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "output"
    script = f'printf %s "$ASSUMED_ERROR_MESSAGE" > {shlex.quote(str(output))}'
    hooks.configure({"on_failure": ("sh", "-c", script)})
    message = "no\0\x1b]0;title\a\nforged " + "no " * 50_000 + "\n"
    failure = replace(FAILURE, message=message, hint=message, code="\0")
    hooks.on_event(profile_event(event_type=EventType.FAILED, failure=failure))
    wait_until(lambda: bool(events(caplog, "hook_done") + events(caplog, "hook_failed")), "its end")
    assert not events(caplog, "hook_failed")
    text = output.read_text()
    assert text.startswith(r"no\x00\x1b]0;title\x07\nforged no no")
    assert text.isprintable()


@pytest.mark.parametrize(
    ("event_type", "hook"),
    [
        (EventType.REFRESHED, "on_refresh"),
        (EventType.RECOVERED, "on_recovered"),
        (EventType.FAILED, "on_failure"),
        (EventType.EXPIRED, "on_failure"),
        (EventType.NEEDS_LOGIN, "on_needs_login"),
        (EventType.LOGIN_EXPIRES_SOON, "on_needs_login"),
    ],
)
def test_each_event_runs_its_hook(
    hooks: Hooks, caplog: pytest.LogCaptureFixture, event_type: EventType, hook: str
) -> None:
    hooks.configure({hook: ("sh", "-c", 'echo "$ASSUMED_EVENT of $ASSUMED_PROFILE"')})
    for repeated in EventType:
        hooks.on_event(profile_event(event_type=repeated, is_repeat=True))
    hooks.on_event(profile_event(event_type=event_type))
    wait_until(lambda: len(events(caplog, "hook_done")) == 1, "the hook")
    (output,) = events(caplog, "hook_output")
    assert output == {
        "level": logging.INFO,
        "profile": "deploy",
        "hook": hook,
        "line": f"{event_type} of deploy",
    }


@pytest.mark.parametrize(
    ("command", "error", "exit_status"),
    [
        (("sh", "-c", "exit 3"), "exited with status 3", 3),
        (("sh", "-c", "kill -9 $$"), "was killed by signal 9", None),
        (("/nowhere/hook",), "could not be started: No such file or directory", None),
        (("a\0b",), "could not be started: invalid command", None),
    ],
)
def test_a_failed_hook_logs_one_warning(
    hooks: Hooks,
    caplog: pytest.LogCaptureFixture,
    command: tuple[str, ...],
    error: str,
    exit_status: int | None,
) -> None:
    hooks.configure({"on_refresh": command})
    hooks.on_event(profile_event())
    wait_until(lambda: len(events(caplog, "hook_failed")) == 1, "the warning")
    (failed,) = events(caplog, "hook_failed")
    assert (failed["level"], failed["profile"], failed["hook"]) == (
        logging.WARNING,
        "deploy",
        "on_refresh",
    )
    assert failed["error"] == error
    assert failed.get("exit_status") == exit_status
    assert events(caplog, "hook_done") == []


def test_repeated_failures_are_logged_less_and_less(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "assumed")
    hooks = Hooks(os.environ)

    def is_over(runs: int) -> bool:
        return len(events(caplog, "hook_failed")) + len(events(caplog, "hook_done")) == runs

    commands = [("sh", "-c", "echo oh; exit 3")] * 9 + [("true",), ("false",)]
    for number, command in enumerate(commands, 1):
        hooks.configure({"on_refresh": command})
        hooks.on_event(profile_event())
        wait_until(partial(is_over, number), "the end of the hook")
    hooks.stop()
    shown = [event for event in events(caplog, "hook_failed") if event["level"] == logging.WARNING]
    assert [event["failures"] for event in shown] == [1, 2, 4, 8, 1]
    assert [event["command"] for event in shown] == ["sh"] * 4 + ["false"]
    levels = [event["level"] for event in events(caplog, "hook_output")]
    assert levels.count(logging.INFO) == 4


def test_hook_output_is_truncated_and_redacted(
    hooks: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    program = (
        f"print('x ' * 240 + '{secret}'); print('y ' * 10 ** 7); print(); print('\\x1b[2J\\x00')\n"
        "for number in range(10 ** 5): print(number)\n"
        "print('no end', end='')"
    )
    hooks.configure({"on_refresh": (sys.executable, "-c", program)})
    hooks.on_event(profile_event())
    wait_until(lambda: len(events(caplog, "hook_done")) == 1, "the end")
    *lines, last = events(caplog, "hook_output")
    assert len(lines) == 50
    assert max(len(line["line"]) for line in lines) == 500
    assert [line["line"][:2] for line in lines[:4]] == ["x ", "y ", "\x1b[", "0"]
    assert last["left_out"] == 3 + 10**5 + 1 - 50
    text = "\n".join(event_text(record) for record in caplog.records)
    assert secret[:8] not in text
    assert "\x1b" not in text


def test_a_hook_that_hangs_is_killed_with_its_process_group(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    hooks = Hooks(os.environ, timeout_seconds=0.5, grace_seconds=0)
    pids = tmp_path / "pids"
    # The first process exits; the second keeps the pipe of its output open.
    script = f"echo $$ >> {pids}; sleep 1000 & echo $! >> {pids}"
    hooks.configure(
        {
            "on_refresh": ("sh", "-c", script),
            "on_failure": ("sh", "-c", f"{script}; wait"),
            "on_recovered": (sys.executable, "-c", "while True: print('y' * 1000)"),
            "on_needs_login": ("sh", "-c", "exec >/dev/null 2>&1; sleep 1000"),
        }
    )
    for event_type in (
        EventType.REFRESHED,
        EventType.FAILED,
        EventType.RECOVERED,
        EventType.NEEDS_LOGIN,
    ):
        hooks.on_event(profile_event(str(event_type), event_type))
    wait_until(lambda: len(events(caplog, "hook_failed")) == 4, "the end of all hooks")
    for failed in events(caplog, "hook_failed"):
        assert failed["error"] == "did not finish within 0.5 s"
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 4
    wait_until(lambda: not any(map(is_alive, started)), "the end of their children")


def test_a_background_process_of_a_successful_hook_survives(
    hooks: Hooks, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    script = f"sleep 1000 >/dev/null 2>&1 & echo $! > {pid}"
    hooks.configure({"on_refresh": ("sh", "-c", script)})
    hooks.on_event(profile_event())
    wait_until(lambda: len(events(caplog, "hook_done")) == 1, "the hook")
    assert is_alive(int(pid.read_text()))
    os.kill(int(pid.read_text()), 9)


def test_at_most_four_runs_of_a_hook_are_concurrent_and_one_per_profile_waits(
    hooks: Hooks, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    proceed, started = tmp_path / "proceed", tmp_path / "started"
    started.mkdir()
    script = f"touch {started}/$$; while [ ! -e {proceed} ]; do sleep 0.02; done"
    hooks.configure({"on_refresh": ("sh", "-c", script)})
    for _ in range(3):
        for number in range(100):
            hooks.on_event(profile_event(f"p{number}"))
    wait_until(lambda: len(list(started.iterdir())) == 4, "the first four")
    hooks.configure({"on_refresh": ("true",)})
    assert len(list(started.iterdir())) == 4
    proceed.touch()
    # Each profile has one run; the four that ran at first have one more.
    wait_until(lambda: len(events(caplog, "hook_done")) == 104, "all hooks")
    hooks.stop()
    done = [each["profile"] for each in events(caplog, "hook_done")]
    assert sorted(done) == sorted(
        [f"p{number}" for number in range(100)] + [f"p{number}" for number in range(4)]
    )


def test_a_hook_that_hangs_blocks_no_other_hook_and_a_profile_keeps_its_order(
    hooks: Hooks, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    proceed, output = tmp_path / "proceed", tmp_path / "output"
    write = f'echo "$ASSUMED_EVENT $ASSUMED_PROFILE" >> {output}'
    hooks.configure(
        {
            "on_failure": ("sh", "-c", f"while [ ! -e {proceed} ]; do sleep 0.02; done; {write}"),
            "on_recovered": ("sh", "-c", write),
        }
    )
    for number in range(5):  # one more than run at once
        hooks.on_event(profile_event(f"p{number}", EventType.FAILED, failure=FAILURE))
    for name in ("p0", "p4", "another"):
        hooks.on_event(profile_event(name, EventType.RECOVERED))
    wait_until(output.exists, "the hook of another profile")
    wait_until(lambda: len(events(caplog, "hook_done")) == 1, "its end")
    assert output.read_text() == "recovered another\n"
    proceed.touch()
    wait_until(lambda: len(events(caplog, "hook_done")) == 8, "all")
    lines = output.read_text().splitlines()
    for name in ("p0", "p4"):
        assert lines.index(f"failed {name}") < lines.index(f"recovered {name}")


def test_the_last_run_of_a_profile_is_for_its_latest_event(
    hooks: Hooks, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    proceed, output = tmp_path / "proceed", tmp_path / "output"
    wait = f"while [ ! -e {proceed} ]; do sleep 0.02; done"
    hooks.configure(
        {
            "on_refresh": ("sh", "-c", wait),
            "on_failure": ("sh", "-c", f"echo failed >> {output}"),
            "on_recovered": ("sh", "-c", f"echo recovered >> {output}"),
        }
    )
    hooks.on_event(profile_event())
    for event_type in (EventType.FAILED, EventType.RECOVERED, EventType.FAILED):
        hooks.on_event(profile_event(event_type=event_type))
    proceed.touch()
    wait_until(lambda: len(events(caplog, "hook_done")) == 3, "all")
    assert output.read_text() == "recovered\nfailed\n"


def test_stop_kills_running_hooks_and_starts_no_more(
    hooks: Hooks, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    started.mkdir()
    hooks.configure({"on_refresh": ("sh", "-c", f"touch {started}/$$; exec sleep 1000")})
    for number in range(10):
        hooks.on_event(profile_event(f"p{number}"))
    wait_until(lambda: len(list(started.iterdir())) == 4, "four hooks")
    hooks.stop()
    hooks.on_event(profile_event("late"))
    errors = [failed["error"] for failed in events(caplog, "hook_failed")]
    assert errors == ["was stopped"] * 4
    assert not any(is_alive(int(process.name)) for process in started.iterdir())
    assert len(list(started.iterdir())) == 4


def test_stop_kills_a_hook_that_is_being_started(
    hooks: Hooks, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_and_stop(*arguments: Any) -> HookProcess:
        process = HookProcess(*arguments)
        hooks.stop()
        return process

    monkeypatch.setattr("assumed.observers.hooks.HookProcess", start_and_stop)
    hooks.configure({"on_refresh": ("sleep", "60")})
    hooks.on_event(profile_event())
    wait_until(lambda: bool(events(caplog, "hook_failed")), "the end of the hook")
    assert events(caplog, "hook_failed")[0]["error"] == "was stopped"


def test_only_the_daemon_runs_the_hooks_of_the_configuration(
    world: World,
) -> None:
    good, bad = world.add_role(), world.add_role()
    world.server.disturb(bad, "break")
    output = world.home / "output"
    write = (
        f'echo "$ASSUMED_EVENT $ASSUMED_PROFILE $ASSUMED_ERROR_CODE" >> {shlex.quote(str(output))}'
    )

    def configure(**hooks: str) -> None:
        profiles = {
            name: {"role_arn": role, "source_profile": SOURCE}
            for name, role in {"good": good, "bad": bad}.items()
        }
        commands = {name: ["sh", "-c", command] for name, command in hooks.items()}
        world.write_config(json.dumps({"profiles": profiles, "hooks": commands}))

    def has(*lines: str) -> bool:
        return output.exists() and sorted(output.read_text().splitlines()) == sorted(lines)

    configure(on_refresh=write, on_failure=write, on_recovered=write)
    world.run("refresh", "--timeout", "2s")
    assert not output.exists()
    world.run("logout")
    with world.running() as daemon:
        wait_until(lambda: has("refreshed good ", "failed bad InternalFailure"), "both hooks")
        # Hooks do not run for the next failed attempts.
        daemon.wait_for("refresh_failed profile=bad", times=2)
        assert has("refreshed good ", "failed bad InternalFailure")
        output.unlink()
        configure(on_refresh=f"sleep 1000; {write}", on_failure="exit 7")
        assert world.run("refresh", "--force", "good").returncode == 0
        daemon.wait_for("config_reloaded")
        assert world.run("refresh", "--force", "good").returncode == 0
        assert daemon.stop() == 0
        assert "hook_failed profile=good hook=on_refresh" in daemon.log.read_text()
