"""Signals and orphaned processes, as a real daemon meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.world import World, wait_until

# Sends itself a signal at the import of a module.
AT_IMPORT = """
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
        return None
sys.meta_path.insert(0, Finder())
sys.argv = ["assumed", *{arguments!r}]
from assumed.__main__ import main
sys.exit(main())
"""
HARMLESS = [
    "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO",
    "SIGPWR", "SIGPIPE", "SIGXCPU", "SIGXFSZ", "SIGSTKFLT", "SIGRTMIN", "SIGRTMAX",
]  # fmt: skip


def start_with_signal(
    world: World, number: int, module: str, *arguments: str
) -> subprocess.Popen[str]:
    script = AT_IMPORT.format(module=module, number=int(number), arguments=arguments)
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", script],
        env=world.environ,
        cwd=world.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("module", ["assumed.cli", "assumed.app.daemon", "assumed.sts.client"])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM])
def test_a_signal_during_the_start_does_not_end_the_daemon(
    world: World, number: signal.Signals, module: str
) -> None:
    world.configure({"reports": world.add_role()})
    daemon = start_with_signal(world, number, module, "run")
    try:
        world.wait_for_first_pass()
        assert world.states() == {"reports": "valid"}
    finally:
        daemon.terminate()
        assert daemon.wait(10) == 0
        assert "daemon_stopped" in daemon.communicate()[0]


@pytest.mark.parametrize("module", ["assumed.cli", "assumed.app.daemon"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_daemon_that_is_stopped_during_its_start_is_quiet(
    world: World, number: signal.Signals, status: int, module: str
) -> None:
    world.configure({"reports": world.add_role()})
    daemon = start_with_signal(world, number, module, "run")
    output, _ = daemon.communicate(timeout=30)
    assert (daemon.returncode, output) == (status, "")


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        (["status"], "assumed.fastpath.main"),
        (["status"], "assumed.cli"),
        (["export-credentials", "--profile", "reports"], "assumed.fastpath.unix_http"),
        (["refresh"], "assumed.cli"),
        (["refresh"], "botocore.session"),
        (["check", "--live"], "botocore.session"),
        (["wait"], "assumed.app.standalone"),
        (["exec", "reports", "--", "true"], "assumed.app.exec"),
        (["logout", "reports"], "assumed.cli.logout"),
        (["service", "status"], "assumed.cli.service"),
        (["init"], "assumed.cli.init"),
    ],
)
def test_ctrl_c_during_the_start_of_a_command_is_quiet(
    world: World, arguments: list[str], module: str
) -> None:
    world.configure({"reports": world.add_role()})
    command = start_with_signal(world, signal.SIGINT, module, *arguments)
    output, _ = command.communicate(timeout=30)
    # click ends the line of the ^C.
    assert (command.returncode, output.strip()) == (130, "")


def test_other_signals_do_not_end_the_daemon_and_sigusr1_logs_the_state(world: World) -> None:
    denied = world.add_role(trusts="arn:aws:iam::123456789012:user/other")
    world.configure({"reports": world.add_role(), "denied": denied})
    with world.running() as daemon:
        for name in HARMLESS:
            daemon.signal(getattr(signal, name))
            assert world.states() == {"reports": "valid", "denied": "failing"}, name
        daemon.wait_for("daemon_state profiles=2 valid=1")
        daemon.wait_for("profile_state profile=reports state=valid expires_at=")
        daemon.wait_for("profile_state profile=denied state=failing")
        assert "failures=1 error_code=AccessDenied" in daemon.log.read_text()
        assert daemon.stop() == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_daemon_that_a_signal_ends_removes_its_socket(
    world: World, number: signal.Signals, status: int
) -> None:
    world.configure({"reports": world.add_role()})
    with world.running() as daemon:
        socket = world.home / "run" / "assumed" / "assumed.sock"
        assert socket.exists()
        daemon.signal(number)
        assert daemon.process.wait(10) == status
        assert not socket.exists()


def test_a_hook_has_the_usual_actions_of_signals(world: World) -> None:
    dispositions = world.home / "dispositions"
    world.write_config(
        json.dumps(
            {
                "profiles": {
                    "reports": {
                        "role_arn": world.add_role(),
                        "source_profile": "learnaws-test-user",
                    }
                },
                "hooks": {"on_refresh": ["cp", "/proc/self/status", str(dispositions)]},
            }
        )
    )
    with world.running():
        wait_until(lambda: dispositions.exists() and "SigCgt" in dispositions.read_text(), "a hook")
    lines = dict(line.split(":\t", 1) for line in dispositions.read_text().splitlines())
    # Above 31 are the real-time signals, which the C library uses for itself.
    assert int(lines["SigIgn"], 16) & 0x7FFFFFFF == 0


def unshare() -> list[str]:
    command = ["/usr/bin/unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode != 0:  # noqa: S603
        pytest.skip("NOT TESTED: this environment allows no PID namespaces (unshare --pid)")
    return command


def zombies(init: int) -> list[str]:
    """Return the names of the zombies whose parent is the child of `unshare`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if state == "Z" and int(parent) == init:
            found.append(name)
    return found


def test_process_1_of_a_container_reaps_orphans_and_obeys_signals(world: World) -> None:
    namespace = unshare()
    # Each leaves a process behind that ends a little later.
    hook = ["sh", "-c", "sleep 0.3 >/dev/null 2>&1 & exit 0"]
    definition = {"role_arn": world.add_role(), "source_profile": "learnaws-test-user"}
    world.write_config(
        json.dumps({"profiles": {"reports": definition}, "hooks": {"on_refresh": hook}})
    )
    log = world.home / "daemon-1.log"
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603
            [*namespace, *world.assumed, "run"],
            env=world.environ, cwd=world.home, stdin=subprocess.DEVNULL, stdout=output,
            stderr=output,
        )  # fmt: skip
    init = 0
    try:
        world.wait_for_first_pass()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        init = int(children.read_text())
        assert world.status()["daemon"]["pid"] == 1
        for _ in range(5):
            assert world.run("refresh", "--force").returncode == 0
        wait_until(lambda: zombies(init) != [], "orphans")
        started = time.monotonic()
        wait_until(lambda: zombies(init) == [], "the reaping")
        print(f"reaped after {time.monotonic() - started:.1f} s")  # noqa: T201
        # The statuses of the daemon's own children arrived where they belong.
        assert "hook_failed" not in log.read_text()
        os.kill(init, signal.SIGHUP)
        wait_until(lambda: "config_reloaded" in log.read_text(), "the reload")
        os.kill(init, signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        if init and Path(f"/proc/{init}").exists():
            os.kill(init, signal.SIGKILL)
