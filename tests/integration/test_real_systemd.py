"""The units and `assumed service` under a real systemd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import assumed
from assumed.platform.systemd.unit_file import exec_line
from tests.integration.machine import Machine, why_not
from tests.integration.restart_clients import JAVASCRIPT, PYTHON
from tests.integration.secret_search import leaks
from tests.integration.world import MAY_ASSUME, READ_ONLY, SOURCE, AwsServer, wait_until
from tests.repository import REPOSITORY

ASSUMED = str(Path(sys.executable).with_name("assumed"))
# Instead of a minute and 5 s.
METRICS_PORTS = {"user": 29464, "system": 29465}
SHORT_TIMES = "[Service]\nWatchdogSec=2\nRestartSec=100ms\n"


@dataclass
class Person:
    """A user of the machine, with keys, and roles that trust this user."""

    machine: Machine
    server: AwsServer
    name: str
    arn: str

    @property
    def home(self) -> str:
        return f"/home/{self.name}"

    @property
    def config(self) -> str:
        return f"{self.home}/.config/assumed/config.yaml"

    def add_role(self) -> str:
        return self.server.add_role(READ_ONLY, trusts=self.arn)

    def write(self, path: str, content: str | bytes) -> None:
        self.machine.write(path, content, user=self.name)

    def configure(self, **roles: str) -> None:
        shapes = {name: {"role_arn": arn, "source_profile": SOURCE} for name, arn in roles.items()}
        self.write(self.config, json.dumps({"profiles": shapes}))

    def run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.machine.run(*command, user=self.name, **environ)

    def do(self, *command: str, **environ: str) -> str:
        return self.machine.do(*command, user=self.name, **environ)

    def states(self, program: str = ASSUMED) -> dict[str, str]:
        status: Any = json.loads(self.run(program, "status", "--json").stdout)
        return {profile["profile"]: profile["state"] for profile in status["profiles"]}


@dataclass
class Unit:
    """The service of a user, in the user manager or in the system manager."""

    person: Person
    kind: str
    role: str

    @property
    def name(self) -> str:
        return "assumed.service" if self.kind == "user" else f"assumed@{self.person.name}.service"

    @property
    def install_options(self) -> list[str]:
        return [] if self.kind == "user" else ["--system", self.person.name]

    def as_owner(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as the user or as root, depending on the manager."""
        if self.kind == "user":
            return self.person.run(*command)
        return self.person.machine.run(*command)

    def systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.as_owner("systemctl", *(["--user"] * (self.kind == "user")), *arguments)

    def show(self, *names: str) -> list[str]:
        shown = self.systemctl("show", self.name, *(f"--property={name}" for name in names))
        values = dict(line.split("=", 1) for line in shown.stdout.splitlines())
        return [values[name] for name in names]

    def has_restarted(self, restarts: str) -> bool:
        return self.show("ActiveState", "NRestarts") == ["active", str(int(restarts) + 1)]

    def events(self, name: str, *matches: str) -> list[dict[str, str]]:
        """Return the journal entries of an event, oldest first."""
        uid = f"_UID={self.person.machine.uid(self.person.name)}"
        command = ["journalctl", "--output=json", "--no-pager", f"ASSUMED_EVENT={name}", uid]
        found = self.person.machine.do(*command, *matches)
        return [json.loads(line) for line in found.splitlines()]

    def start(self) -> None:
        self.systemctl("reset-failed", self.name)
        started = self.systemctl("restart", self.name)
        assert started.returncode == 0, started.stderr + self.person.machine.journal()[-2000:]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, aws_server: AwsServer) -> Iterator[Machine]:
    reason = why_not()
    if reason is not None:
        pytest.skip(f"NOT TESTED: the units under a real systemd: {reason}")
    machine = Machine(tmp_path_factory.mktemp("machine"))
    yield machine
    journal = machine.journal()
    machine.power_off()
    assert leaks(journal, aws_server.secrets()) == []
    assert "Traceback" not in journal


def new_person(
    machine: Machine, server: AwsServer, name: str, *, has_manager: bool = True
) -> Person:
    user, access_key_id, secret = server.add_user(MAY_ASSUME)
    person = Person(machine, server, name, f"arn:aws:iam::123456789012:user/{user}")
    machine.add_user(name)
    environ = {"AWS_ENDPOINT_URL": server.endpoint_url, "AWS_EC2_METADATA_DISABLED": "true"}
    lines = "".join(f"{key}={value}\n" for key, value in environ.items())
    person.write(f"{person.home}/.config/environment.d/aws.conf", lines)
    person.write(
        f"{person.home}/.aws/credentials",
        f"[{SOURCE}]\naws_access_key_id = {access_key_id}\naws_secret_access_key = {secret}\n",
    )
    if has_manager:
        machine.do("systemctl", "start", f"user@{machine.uid(name)}")
    return person


@pytest.fixture(scope="module", params=["user", "system"])
def unit(request: pytest.FixtureRequest, machine: Machine, aws_server: AwsServer) -> Iterator[Unit]:
    """A service that `assumed service install` installs and `uninstall` removes."""
    kind: str = request.param
    person = new_person(machine, aws_server, f"jane-{kind}", has_manager=kind == "user")
    unit = Unit(person, kind, person.add_role())
    person.configure(reports=unit.role)
    if kind == "user":
        person.write(f"{person.home}/.config/systemd/user/assumed.service.d/test.conf", SHORT_TIMES)
    else:
        machine.write(
            "/etc/systemd/system/assumed@.service.d/test.conf",
            f"{SHORT_TIMES}Environment=AWS_ENDPOINT_URL={aws_server.endpoint_url}\n",
        )
    installed = unit.as_owner(ASSUMED, "service", "install", *unit.install_options)
    assert installed.returncode == 0, installed.stderr
    assert "reports" in installed.stdout
    assert "valid" in installed.stdout
    yield unit
    removed = unit.as_owner(ASSUMED, "service", "uninstall", *unit.install_options)
    assert removed.returncode == 0, removed.stderr
    assert unit.show("LoadState", "ActiveState") == ["not-found", "inactive"]
    assert unit.systemctl("is-enabled", unit.name).returncode != 0


@pytest.fixture
def fresh(unit: Unit) -> Unit:
    """The service, running with its first configuration."""
    unit.person.configure(reports=unit.role)
    unit.start()
    return unit


def test_a_service_is_ready_after_the_first_pass_and_has_a_status(fresh: Unit) -> None:
    state, enabled, text = fresh.show("ActiveState", "UnitFileState", "StatusText")
    assert (state, enabled) == ("active", "enabled")
    assert text.startswith("1 of 1 profiles valid")
    assert fresh.person.states() == {"reports": "valid"}


@pytest.mark.parametrize("unit", ["system"], indirect=True)
def test_a_service_is_ready_after_20_s_if_a_source_hangs(fresh: Unit) -> None:
    fresh.person.write(
        f"{fresh.person.home}/.aws/config", "[profile silent]\ncredential_process = sleep 100\n"
    )
    reports = {"role_arn": fresh.role, "source_profile": SOURCE}
    stuck = {"role_arn": fresh.role, "source_profile": "silent"}
    profiles = {"profiles": {"reports": reports, "stuck": stuck}}
    fresh.person.write(fresh.person.config, json.dumps(profiles))
    fresh.start()
    assert fresh.show("ActiveState") == ["active"]
    assert fresh.person.states() == {"reports": "valid", "stuck": "pending"}


def test_a_reload_reads_the_configuration_again(fresh: Unit) -> None:
    before = len(fresh.events("config_reloaded"))
    (pid,) = fresh.show("MainPID")
    assert fresh.systemctl("reload", fresh.name).returncode == 0
    wait_until(lambda: len(fresh.events("config_reloaded")) > before, "the reload")
    wait_until(lambda: fresh.show("ActiveState", "MainPID") == ["active", pid], "READY again")


def test_the_watchdog_restarts_a_stuck_service(fresh: Unit) -> None:
    (restarts,) = fresh.show("NRestarts")
    assert fresh.systemctl("kill", "--signal=STOP", fresh.name).returncode == 0
    wait_until(lambda: fresh.has_restarted(restarts), "the restart by the watchdog")
    assert fresh.person.states() == {"reports": "valid"}


def test_a_killed_service_restarts_without_a_call(fresh: Unit) -> None:
    (restarts,) = fresh.show("NRestarts")
    calls = fresh.person.server.calls(fresh.role)
    assert calls > 0
    assert fresh.systemctl("kill", "--signal=KILL", fresh.name).returncode == 0
    wait_until(lambda: fresh.has_restarted(restarts), "the restart")
    assert fresh.person.states() == {"reports": "valid"}
    assert fresh.person.server.calls(fresh.role) == calls


def test_an_invalid_configuration_stops_the_service_without_a_loop(fresh: Unit) -> None:
    fresh.person.write(fresh.person.config, "nonsense\n")
    assert fresh.systemctl("restart", fresh.name).returncode != 0
    failed = ["failed", "exit-code", "78", "0"]
    assert fresh.show("ActiveState", "Result", "ExecMainStatus", "NRestarts") == failed
    # Longer than the delay before a restart.
    time.sleep(1)
    assert fresh.show("ActiveState", "Result", "ExecMainStatus", "NRestarts") == failed


def test_a_stop_is_clean(fresh: Unit) -> None:
    """The result would be `timeout` if systemd had to kill the service."""
    assert fresh.systemctl("stop", fresh.name).returncode == 0
    assert fresh.show("ActiveState", "Result", "ExecMainStatus") == ["inactive", "success", "0"]


def test_each_field_of_an_event_is_a_journal_field(unit: Unit) -> None:
    refreshed = unit.events("profile_refreshed", "ASSUMED_PROFILE=reports")
    assert refreshed[0]["ASSUMED_ROLE_ARN"] == unit.role
    assert (
        refreshed[0]["_SYSTEMD_USER_UNIT" if unit.kind == "user" else "_SYSTEMD_UNIT"] == unit.name
    )


LOG_LARGE_EVENT = """
import logging
from assumed import logs
from assumed.logs.journald import JournalHandler

logs.configure(journal=JournalHandler())
logs.event(logging.WARNING, "large_event", profile="deploy", error="no \\n" * 200_000)
"""


def test_an_event_that_exceeds_a_datagram_reaches_the_journal(machine: Machine) -> None:
    machine.do(sys.executable, "-c", LOG_LARGE_EVENT)

    def entries() -> list[str]:
        command = ["journalctl", "--output=json", "--all", "--no-pager"]
        return machine.do(*command, "ASSUMED_EVENT=large_event").splitlines()

    wait_until(lambda: len(entries()) == 1, "the entry")
    (entry,) = map(json.loads, entries())
    assert (entry["PROFILE"], entry["PRIORITY"]) == ("deploy", "4")
    assert entry["ASSUMED_ERROR"] == "no \n" * 200_000


@pytest.mark.parametrize("unit", ["system"], indirect=True)
def test_the_system_unit_is_hardened(unit: Unit) -> None:
    """The threshold is ten times the exposure level that is printed."""
    analyze = ["systemd-analyze", "security", "--threshold=20", "--no-pager", unit.name]
    assert "Overall exposure level" in unit.person.machine.do(*analyze)


@pytest.mark.parametrize("unit", ["system"], indirect=True)
def test_the_template_stays_while_another_user_has_an_instance(fresh: Unit) -> None:
    machine = fresh.person.machine
    joe = new_person(machine, fresh.person.server, "joe", has_manager=False)
    joe.configure(reports=joe.add_role())
    machine.do(ASSUMED, "service", "install", "--system", "joe")
    assert joe.states() == {"reports": "valid"}
    assert "kept, since other users" in machine.do(
        ASSUMED, "service", "uninstall", "--system", "joe"
    )
    assert machine.run("systemctl", "is-active", "assumed@joe").stdout == "inactive\n"
    assert fresh.show("ActiveState", "UnitFileState") == ["active", "enabled"]


def test_a_second_installation_changes_nothing(fresh: Unit) -> None:
    again = fresh.as_owner(ASSUMED, "service", "install", *fresh.install_options)
    assert again.returncode == 0, again.stderr
    assert ".service: unchanged" in again.stdout


@pytest.fixture(scope="module")
def jill(machine: Machine, aws_server: AwsServer) -> Person:
    jill = new_person(machine, aws_server, "jill", has_manager=True)
    jill.configure(reports=jill.add_role())
    return jill


UNIT_OF_JILL = "/home/jill/.config/systemd/user/assumed.service"


def test_an_edited_unit_is_not_overwritten_or_removed(jill: Person) -> None:
    jill.do(ASSUMED, "service", "install")
    jill.do("sed", "-i", "s/WatchdogSec=60/WatchdogSec=90/", UNIT_OF_JILL)
    for verb in ("install", "uninstall"):
        refused = jill.run(ASSUMED, "service", verb)
        assert refused.returncode == 2
        assert f"mv {UNIT_OF_JILL} {UNIT_OF_JILL}.mine" in refused.stderr
        assert jill.states() == {"reports": "valid"}
    jill.do("sed", "-i", "s/WatchdogSec=90/WatchdogSec=60/", UNIT_OF_JILL)
    assert "stopped and removed" in jill.do(ASSUMED, "service", "uninstall")
    assert "nothing to remove" in jill.do(ASSUMED, "service", "uninstall")


def test_install_fails_for_an_invalid_or_missing_configuration(jill: Person) -> None:
    for content, expected in (("nonsense\n", "wrong.yaml:1: "), (None, "assumed init")):
        config = f"{jill.home}/wrong.yaml"
        if content is not None:
            jill.write(config, content)
        environ = {"ASSUMED_CONFIG": config} if content else {"XDG_CONFIG_HOME": "/nowhere"}
        refused = jill.run(ASSUMED, "service", "install", **environ)
        assert refused.returncode == 78
        assert expected in refused.stderr
        assert jill.run("test", "-e", UNIT_OF_JILL).returncode == 1


def test_the_unit_has_the_path_of_another_configuration(jill: Person) -> None:
    config = f"{jill.home}/so far 100% $mine.yaml"
    jill.do("cp", "--preserve", jill.config, config)
    jill.do(ASSUMED, "service", "install", "--config", config)
    status = json.loads(jill.do(ASSUMED, "status", "--json"))
    assert status["daemon"]["config"] == config
    jill.do(ASSUMED, "service", "uninstall")


def test_install_names_variables_that_the_service_does_not_have(jill: Person) -> None:
    secret = "http://me:passw0rd@127.0.0.1:1"
    environ = {"HTTPS_PROXY": secret, "AWS_ENDPOINT_URL": jill.server.endpoint_url}
    installed = jill.run(ASSUMED, "service", "install", **environ)
    assert installed.returncode == 0
    # The manager gets the other variable from environment.d.
    assert "but not for the service: HTTPS_PROXY\n" in installed.stderr
    assert "passw0rd" not in installed.stdout + installed.stderr + jill.do("cat", UNIT_OF_JILL)
    jill.do(ASSUMED, "service", "uninstall")


def test_install_fails_while_a_daemon_runs_by_hand(jill: Person) -> None:
    jill.do("systemd-run", "--user", "--unit=byhand", "--property=Type=notify", ASSUMED, "run")
    refused = jill.run(ASSUMED, "service", "install")
    assert refused.returncode == 1
    assert "a daemon is running already" in refused.stderr
    assert jill.run("test", "-e", UNIT_OF_JILL).returncode == 1
    jill.do("systemctl", "--user", "stop", "byhand")


def test_uninstall_disables_lingering_only_if_install_enabled_it(jill: Person) -> None:
    mark = "/var/lib/systemd/linger/jill"
    installed = jill.run(ASSUMED, "service", "install", "--linger")
    if "polkit" in installed.stderr.lower() or "Access denied" in installed.stderr:
        pytest.skip(f"NOT TESTED: --linger: there is no polkit: {installed.stderr}")
    assert "lingering enabled; the service starts at boot" in installed.stdout
    jill.do("test", "-e", mark)
    jill.do(ASSUMED, "service", "uninstall")
    assert jill.run("test", "-e", mark).returncode == 1
    jill.machine.do("loginctl", "enable-linger", "jill")
    assert "was already enabled" in jill.do(ASSUMED, "service", "install", "--linger")
    jill.do(ASSUMED, "service", "uninstall")
    jill.do("test", "-e", mark)


def test_a_shell_of_su_gets_a_hint_to_reach_the_manager(jill: Person) -> None:
    refused = jill.run(ASSUMED, "service", "install", XDG_RUNTIME_DIR="")
    assert refused.returncode == 1
    assert "machinectl shell jill@" in refused.stderr
    other = jill.run(ASSUMED, "service", "install", XDG_RUNTIME_DIR="/run/user/0")
    assert other.returncode == 1
    # The message of systemctl.
    assert "connect to bus" in other.stderr
    elsewhere = jill.run(
        ASSUMED, "service", "install", "--config", jill.config, XDG_CONFIG_HOME=f"{jill.home}/x"
    )
    assert elsewhere.returncode == 1
    assert "environment.d" in elsewhere.stderr


def test_the_system_unit_is_rejected_if_another_user_could_change_it(jill: Person) -> None:
    machine = jill.machine
    install = ["service", "install", "--system"]
    assert "only root" in jill.run(ASSUMED, *install, "jill").stderr
    assert "no such user" in machine.run(ASSUMED, *install, "no-such-user").stderr
    program_of_jill = f"{jill.home}/bin/assumed"
    jill.do("mkdir", f"{jill.home}/bin")
    jill.do("cp", ASSUMED, program_of_jill)
    refused = machine.run(program_of_jill, *install, "daemon")
    assert refused.returncode == 2
    assert f"must not run as daemon: {jill.home} belongs to jill" in refused.stderr
    program_of_root = "/root/bin/assumed"
    machine.do("mkdir", "--mode=0700", "/root/bin")
    machine.do("cp", ASSUMED, program_of_root)
    refused = machine.run(program_of_root, *install, "daemon")
    assert refused.returncode == 2
    assert f"daemon cannot run {program_of_root}" in refused.stderr
    assert "pipx install --global" in refused.stderr
    no_configuration = machine.run(ASSUMED, *install, "daemon")
    assert no_configuration.returncode == 78
    assert machine.run("systemctl", "is-enabled", "assumed@daemon").returncode != 0


@pytest.mark.parametrize("program", ["/opt/so %h/$HOME far", """/opt/it's "here" \\x41/$HOME %%"""])
def test_systemd_runs_the_exact_command(machine: Machine, program: str) -> None:
    arguments = ["run", "--config", """/100% ${HOME} $PATH "it's" \\x41 .yaml"""]
    machine.write(program, '#!/bin/sh\nprintf "%s\\n" "$0" "$@" > /run/arguments\n')
    machine.do("chmod", "u+x", program)
    line = exec_line([program, *arguments])
    machine.write(
        "/etc/systemd/system/command.service", f"[Service]\nType=oneshot\nExecStart={line}\n"
    )
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", "start", "command")
    assert machine.do("cat", "/run/arguments").splitlines() == [program, *arguments]


@pytest.fixture(scope="module", params=["user", "system"])
def restarted(
    request: pytest.FixtureRequest, machine: Machine, aws_server: AwsServer
) -> Iterator[Unit]:
    """A service as `assumed service install` installs it, with its own times."""
    kind: str = request.param
    person = new_person(machine, aws_server, f"rita-{kind}", has_manager=kind == "user")
    unit = Unit(person, kind, person.add_role())
    person.write(
        person.config,
        json.dumps(
            {
                "metrics": {"port": METRICS_PORTS[kind]},
                "profiles": {"reports": {"role_arn": unit.role, "source_profile": SOURCE}},
            }
        ),
    )
    if kind == "system":
        machine.write(
            "/etc/systemd/system/assumed@.service.d/test.conf",
            f"[Service]\nEnvironment=AWS_ENDPOINT_URL={aws_server.endpoint_url}\n",
        )
    installed = unit.as_owner(ASSUMED, "service", "install", *unit.install_options)
    assert installed.returncode == 0, installed.stderr
    yield unit
    unit.as_owner(ASSUMED, "service", "uninstall", *unit.install_options)


@dataclass
class Restarts:
    """Three ways to restart a service, in turn."""

    unit: Unit
    kills: int = 0

    def restart(self, number: int) -> None:
        (pid,) = self.unit.show("MainPID")
        match number % 3:
            case 0:
                self.unit.systemctl("restart", self.unit.name)
            case 1:
                self.kills += 1
                self.unit.systemctl("kill", "--kill-whom=main", "--signal=KILL", self.unit.name)
            case _:
                self._upgrade(f"0.{number}.0")
        wait_until(lambda: self._has_another(pid), "the restart")

    def _has_another(self, pid: str) -> bool:
        active, now = self.unit.show("ActiveState", "MainPID")
        return active == "active" and now not in {pid, "0"}

    def _upgrade(self, version: str) -> None:
        person = self.unit.person
        module = f"{assumed.__path__[0]}/__init__.py"
        person.machine.do("sed", "-i", f's/^__version__ = .*/__version__ = "{version}"/', module)
        upgraded = self.unit.as_owner(ASSUMED, "service", "install", *self.unit.install_options)
        assert upgraded.returncode == 0, upgraded.stderr
        status = json.loads(person.do(ASSUMED, "status", "--json"))
        assert status["daemon"]["version"] == version


def test_a_restart_refuses_no_client(restarted: Unit) -> None:
    """`ASSUMED_RESTARTS=100` sets how often; a third each is an order, SIGKILL, an upgrade."""
    person = restarted.person
    clients = {
        "client.py": (sys.executable, PYTHON),
        "client.js": (shutil.which("node"), JAVASCRIPT),
    }
    started = [name for name, (program, _) in clients.items() if program is not None]
    for name in started:
        program, script = clients[name]
        person.write(f"{person.home}/{name}", script)
        client = f"{ASSUMED} exec reports -- {program} {name} stop {name}.json"
        # In the background: the shell ends.
        person.do("sh", "-c", f"{client} > {name}.log 2>&1 &")
    wait_until(lambda: all(person.run("cat", f"{name}.log").stdout for name in started), "clients")
    restarts = Restarts(restarted)
    number = int(os.environ.get("ASSUMED_RESTARTS", "6"))
    for each in range(number):
        restarts.restart(each)
        assert person.states() == {"reports": "valid"}
    person.write(f"{person.home}/stop", "")

    def results() -> list[str]:
        return [person.run("cat", f"{name}.json").stdout for name in started]

    wait_until(lambda: all(results()), "the clients")
    for name, result in zip(started, results(), strict=True):
        seen: dict[str, int] = json.loads(result)
        sys.stdout.write(f"{restarted.kind}, {number} restarts, {name}: {result}\n")
        # What a killed daemon had accepted.
        assert seen.pop("cut", 0) <= restarts.kills
        assert seen.pop("api cut", 0) <= restarts.kills
        assert set(seen) <= {"ok", "api 200"}, seen
        assert seen["ok"] > number


def test_a_stopped_service_keeps_no_port(restarted: Unit) -> None:
    restarted.start()
    port = METRICS_PORTS[restarted.kind]
    listens = ["ss", "--no-header", "--listening", "--tcp", "--numeric", f"sport = :{port}"]
    machine = restarted.person.machine
    assert machine.do(*listens)
    assert restarted.systemctl("stop", restarted.name).returncode == 0
    assert machine.do(*listens) == ""
    restarted.start()
    assert restarted.person.states() == {"reports": "valid"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(directory), str(REPOSITORY)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "hatchling" in built.stderr:
        pytest.skip(f"NOT TESTED: pipx: the wheel cannot be built without an index: {built.stderr}")
    (wheel,) = directory.glob("*.whl")
    return wheel


def test_from_a_wheel_to_a_service_in_four_commands(
    machine: Machine, aws_server: AwsServer, wheel: Path
) -> None:
    ann = new_person(machine, aws_server, "ann")
    role = ann.add_role()
    ann.write(
        f"{ann.home}/.aws/config",
        f"[profile reports]\nrole_arn = {role}\nsource_profile = {SOURCE}\n",
    )
    ann.write(f"{ann.home}/{wheel.name}", wheel.read_bytes())
    assumed = f"{ann.home}/.local/bin/assumed"
    index = ("PIP_", "SSL_", "REQUESTS_", "HTTP_", "HTTPS_", "NO_PROXY")
    environ = {name: value for name, value in os.environ.items() if name.startswith(index)}
    # pipx of this environment, not a new one from the index.
    pipx = str(Path(sys.executable).with_name("pipx"))
    for command in (
        [pipx, "install", f"{ann.home}/{wheel.name}"],
        [assumed, "init"],
        [assumed, "check"],
        [assumed, "service", "install"],
    ):
        started_at = time.monotonic()
        output = ann.do(*command, **environ)
        took = time.monotonic() - started_at
        sys.stdout.write(f"{took:5.1f} s  {' '.join(command[:-1])} {Path(command[-1]).name}\n")
    assert "reports-fresh" in output
    assert ann.states(assumed) == {"reports-fresh": "valid"}
    (path,) = ann.do("systemctl", "--user", "show", "assumed", "--property=ExecStart").splitlines()
    assert f"path={assumed} ;" in path
