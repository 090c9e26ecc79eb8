"""The Debian package of dist/ under a real systemd: installed, upgraded, removed."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.machine import Machine, why_not
from tests.integration.test_real_systemd import new_person
from tests.integration.world import AwsServer
from tests.repository import REPOSITORY

OLD_VERSION = "0.0.9"
INSTALLED = ("/usr/bin/assumed", "/usr/lib/assumed", "/lib/systemd/system/assumed@.service")
PROGRAM = INSTALLED[0]


@pytest.fixture(scope="module")
def package() -> Path:
    packages = list((REPOSITORY / "dist").glob("assumed_*.deb"))
    if len(packages) != 1:
        pytest.skip("NOT TESTED: the Debian package: `make packages` builds it into dist/")
    return packages[0]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if (reason := why_not()) is not None:
        pytest.skip(f"NOT TESTED: the Debian package: {reason}")
    machine = Machine(tmp_path_factory.mktemp("machine"))
    yield machine
    machine.power_off()


def package_before(package: Path, directory: Path) -> Path:
    """Return the package with a lower version: what an upgrade starts from."""
    tree, built = directory / "tree", directory / "before.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)  # noqa: S603, S607
    (init,) = tree.glob("usr/lib/assumed/lib/python3*/site-packages/assumed/__init__.py")
    for file, pattern in (
        (init, r'(?<=__version__ = ")[^"]*'),
        (tree / "DEBIAN" / "control", r"(?<=Version: )[^+\n]*"),
    ):
        changed, count = re.subn(pattern, OLD_VERSION, file.read_text())
        assert count == 1
        file.write_text(changed)
    subprocess.run(  # noqa: S603
        ["dpkg-deb", "--build", "--root-owner-group", "-Znone", tree, built],  # noqa: S607
        check=True,
        capture_output=True,
    )
    return built


def test_an_upgrade_restarts_instances_and_a_purge_leaves_nothing(
    machine: Machine, aws_server: AwsServer, package: Path, tmp_path: Path
) -> None:
    machine.do("dpkg", "--install", str(package_before(package, tmp_path)))
    jane = new_person(machine, aws_server, "jane", has_manager=False)
    roles = [jane.add_role() for _ in range(3)]
    jane.configure(**{f"role-{number}": role for number, role in enumerate(roles)})
    environment = f"[Service]\nEnvironment=AWS_ENDPOINT_URL={aws_server.endpoint_url}\n"
    machine.write("/etc/systemd/system/assumed@.service.d/test.conf", environment)
    machine.do("systemctl", "daemon-reload")
    started = machine.run("systemctl", "enable", "--now", "assumed@jane")
    assert started.returncode == 0, machine.journal()[-2000:]
    before = json.loads(jane.do(PROGRAM, "status", "--json"))
    assert before["daemon"]["version"] == OLD_VERSION
    assert set(jane.states(PROGRAM).values()) == {"valid"}
    calls = aws_server.calls(*roles)
    credentials = jane.do("cat", f"{jane.home}/.aws/credentials")

    machine.do("dpkg", "--install", str(package))
    machine.do("systemctl", "is-active", "assumed@jane")
    after = json.loads(jane.do(PROGRAM, "status", "--json"))
    assert after["daemon"]["version"] in machine.do("dpkg-query", "--show", "assumed")
    assert after["daemon"]["pid"] != before["daemon"]["pid"]
    assert set(jane.states(PROGRAM).values()) == {"valid"}
    assert aws_server.calls(*roles) == calls, "the sessions are kept"
    assert jane.do("cat", f"{jane.home}/.aws/credentials") == credentials
    assert machine.do("dpkg", "--verify", "assumed") == ""

    machine.do("dpkg", "--remove", "assumed")
    assert machine.run("systemctl", "is-active", "assumed@jane").stdout == "inactive\n"
    assert [path for path in INSTALLED if machine.run("test", "-e", path).returncode == 0] == []
    # What the daemon wrote belongs to the user.
    assert jane.do("cat", f"{jane.home}/.aws/credentials") == credentials
    machine.write("/etc/assumed/config.yaml", "profiles: {}\n")
    machine.do("dpkg", "--purge", "assumed")
    assert machine.run("systemctl", "is-enabled", "assumed@jane").returncode != 0
    left = machine.do(
        "find", "/etc/systemd/system", "-name", "assumed*", "-not", "-path", "*.service.d*"
    )
    assert left == ""
    assert machine.run("dpkg-query", "--show", "assumed").returncode != 0
    machine.do("test", "-e", "/etc/assumed/config.yaml")
