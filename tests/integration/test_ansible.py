"""config/ansible.yml, run by Ansible on a machine that systemd has booted."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.machine import Machine, why_not
from tests.integration.world import MAY_ASSUME, READ_ONLY, AwsServer
from tests.repository import REPOSITORY

ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
AGENTS = ["ann", "bob"]
METRICS = "/var/lib/node-exporter"
RECAP = re.compile(r"^host +: ok=\d+ +changed=(\d+) +unreachable=0 +failed=(\d+) ", re.MULTILINE)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if importlib.util.find_spec("ansible") is None:
        pytest.skip("NOT TESTED: config/ansible.yml: `make fleet` tests it")
    if (reason := why_not()) is not None:
        pytest.skip(f"NOT TESTED: config/ansible.yml: {reason}")
    machine = Machine(tmp_path_factory.mktemp("machine"))
    yield machine
    machine.power_off()


def build(version: str, wheels: Path, directory: Path) -> Path:
    """Return a directory as packages.sh makes it, with the wheel of a version."""
    source, dist = directory / f"source-{version}", directory / f"dist-{version}"
    for name in ("daemon", "systemd"):
        shutil.copytree(REPOSITORY / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    init = source / "daemon" / "assumed" / "__init__.py"
    init.write_text(re.sub(r'(?<=__version__ = ").*(?=")', version, init.read_text()))
    dist.mkdir()
    pip("wheel", "--no-deps", "--wheel-dir", str(dist), str(source))
    shutil.copy(REPOSITORY / "packaging" / "requirements.txt", dist)
    for wheel in wheels.iterdir():
        # pip of the machine looks for all wheels here, and needs no index.
        shutil.copy(wheel, dist)
    return dist


def pip(*arguments: str) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if "No matching distribution" in done.stderr:
        pytest.skip(f"NOT TESTED: config/ansible.yml: no package index:\n{done.stderr[-500:]}")
    assert done.returncode == 0, done.stderr


class Controller:
    """Runs the playbook inside the machine, for one host: the machine."""

    def __init__(self, machine: Machine, directory: Path) -> None:
        self._machine = machine
        self._home = directory
        self.configuration = directory / "build-agent.yaml"
        self.dist = Path()

    def play(self, *, failed: int = 0) -> int:
        """Return how many tasks have changed something."""
        variables = {
            "agents": AGENTS,
            "configuration": str(self.configuration),
            "dist": str(self.dist),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        done = self._machine.run(
            str(ANSIBLE),
            "--inventory=host,",
            "--connection=local",
            f"--extra-vars={json.dumps(variables)}",
            str(self._home / "config" / "ansible.yml"),
            ANSIBLE_BECOME_ASK_PASS="false",
            PIP_NO_INDEX="1",
            PIP_FIND_LINKS=str(self.dist),
        )
        output = done.stdout + done.stderr
        recap = RECAP.search(output)
        assert recap is not None, output
        assert int(recap[2]) == failed, output
        self.output = output
        return int(recap[1])


def test_build_agents_are_installed_configured_and_upgraded(
    machine: Machine, aws_server: AwsServer, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    requirements = str(REPOSITORY / "packaging" / "requirements.txt")
    pip(
        "download", "--require-hashes", "--only-binary=:all:", "-r", requirements, "-d", str(wheels)
    )
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    shutil.copytree(REPOSITORY / "systemd", tmp_path / "systemd")
    playbook = tmp_path / "config" / "ansible.yml"
    # The one group of a real inventory.
    playbook.write_text(playbook.read_text().replace("hosts: build_agents", "hosts: all"))
    arns = [add_agent(machine, aws_server, name) for name in AGENTS]
    trusts = {
        "Effect": "Allow",
        "Principal": {"AWS": arns},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
    }
    artifacts, deploy = (aws_server.add_role(READ_ONLY, trusts=trusts) for _ in "ab")
    machine.write(
        "/etc/systemd/system/assumed@.service.d/test.conf",
        f"[Service]\nEnvironment=AWS_ENDPOINT_URL={aws_server.endpoint_url}\n",
    )
    machine.do("install", "-d", "-m", "1777", METRICS)
    controller = Controller(machine, tmp_path)
    sample = (REPOSITORY / "config" / "build-agent.yaml").read_text()
    sample += f"metrics: {{textfile: '{METRICS}/assumed-{{user}}.prom'}}\n"
    sample = sample.replace("arn:aws:iam::111111111111:role/artifacts-write", artifacts)
    sample = sample.replace("arn:aws:iam::222222222222:role/deploy", deploy)
    first, second = (build(version, wheels, tmp_path) for version in ("0.1.0", "0.2.0"))

    # A wrong configuration does not get to the host.
    controller.dist = first
    controller.configuration.write_text(sample.replace("source_profile", "source_profil"))
    controller.play(failed=1)
    assert "did you mean source_profile?" in controller.output
    assert machine.run("test", "-e", "/etc/assumed/config.yaml").returncode == 1

    controller.configuration.write_text(sample)
    assert controller.play() > 0
    assert [states(machine, name) for name in AGENTS] == [
        {"artifacts": "valid", "deploy": "valid"}
    ] * 2
    assert controller.play() == 0
    for name in AGENTS:
        assert f'user="{name}"' in machine.do("cat", f"{METRICS}/assumed-{name}.prom")
    pids = [main_pid(machine, name) for name in AGENTS]
    calls = aws_server.calls(artifacts, deploy)

    # A wrong configuration of a later day changes nothing, but the upgrade before it is whole.
    controller.dist = second
    controller.configuration.write_text(sample.replace("external_id:", "tags:"))
    controller.play(failed=1)
    for name, pid in zip(AGENTS, pids, strict=True):
        assert main_pid(machine, name) not in (pid, "0")
        assert '"version": "0.2.0"' in status(machine, name)
    assert machine.do("cat", "/etc/assumed/config.yaml") == sample

    # The daemons notice the next one without a restart.
    pids = [main_pid(machine, name) for name in AGENTS]
    controller.configuration.write_text(f"# The second one.\n{sample}")
    assert controller.play() == 1
    assert controller.play() == 0
    assert [main_pid(machine, name) for name in AGENTS] == pids
    assert aws_server.calls(artifacts, deploy) == calls, "an upgrade assumes no role"


def add_agent(machine: Machine, server: AwsServer, name: str) -> str:
    """Add a user with the source profile of the configuration, and return the ARN of its keys."""
    user, access_key_id, secret = server.add_user(MAY_ASSUME)
    machine.add_user(name)
    keys = f"aws_access_key_id = {access_key_id}\naws_secret_access_key = {secret}\n"
    machine.write(f"/home/{name}/.aws/credentials", f"[build-agent]\n{keys}", user=name)
    return f"arn:aws:iam::123456789012:user/{user}"


def status(machine: Machine, name: str) -> str:
    return machine.run("/usr/local/bin/assumed", "status", "--json", user=name).stdout


def states(machine: Machine, name: str) -> dict[str, str]:
    found = re.findall(r'"profile": "(\w+)".*?"state": "(\w+)"', status(machine, name), re.DOTALL)
    return dict(found)


def main_pid(machine: Machine, name: str) -> str:
    return machine.do(
        "systemctl", "show", f"assumed@{name}", "--property=MainPID", "--value"
    ).strip()
