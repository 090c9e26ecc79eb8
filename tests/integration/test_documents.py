"""Every command line of the documents, run as it is printed there.

Programs of others, and those that would change the machine, are replaced by scripts that do
nothing. So the tests check the command line itself, and how `assumed` and `aws` react. Commands for
root are parsed by the shell, but not run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.world import World
from tests.repository import REPOSITORY

PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
STAND_INS = (
    "docker", "flask", "journalctl", "jupyter", "legacy-upload", "node", "nightly-build", "pip",
    "pipx", "systemctl", "terraform", "uv",
)  # fmt: skip
ELSEWHERE = {
    "make demo": "tests/integration/test_demo.py",
    "make test": ".ci/run",
    "assumed init": "tests/integration/test_init.py",
    "assumed login": "tests/integration/test_mfa.py",
    "packaging/packages.sh python": "packaging/packages.sh",
    "ansible-playbook --inventory hosts.ini config/ansible.yml": (
        "tests/integration/test_ansible.py"
    ),
    "assumed service install": "tests/integration/test_real_systemd.py",
    "assumed service logs deploy": "tests/integration/test_real_systemd.py",
    "assumed service install --system buildkite-agent": "tests/integration/test_real_systemd.py",
    'eval "$(assumed completion zsh)"': "tests/integration/test_completion.py",
    "assumed completion fish | source": "tests/integration/test_completion.py",
    "assumed export-credentials --profile deploy --format fish | source": (
        "tests/integration/test_export.py"
    ),
}
"""Commands that another test runs, and that test."""


def commands() -> list[tuple[str, str, str]]:
    """Return page, prompt and text of each command, with its continuation lines."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^ *```console\n(.*?)^ *```", page.read_text(), re.M | re.S):
            lines = [re.sub(r"^   (?=\S| )", "", line) for line in block.splitlines()]
            while lines:
                line = lines.pop(0)
                if not re.match(r"[$#] ", line):
                    continue
                text = [line[2:]]
                while text[-1].endswith("\\"):
                    text.append(lines.pop(0))
                if end := re.search(r"<<'(\w+)'", line):
                    text += [lines.pop(0) for _ in range(lines.index(end[1]) + 1)]
                found.append((page.name, line[0], "\n".join(text)))
    return found


COMMANDS = commands()


@pytest.fixture
def shell(world: World) -> Iterator[World]:
    """A home directory with the profiles and programs that the documents mention."""
    role = world.add_role()
    world.configure({"s3-read-only": role, "deploy": role})
    directory = world.home / "bin"
    directory.mkdir()
    for name in STAND_INS:
        stand_in = directory / name
        stand_in.write_text("#!/bin/sh\nexit 0\n")
        stand_in.chmod(0o755)
    for name in ("assumed", "aws"):
        beside = Path(sys.executable).with_name(name)
        found = beside if beside.exists() else Path(shutil.which(name) or name)
        (directory / name).symlink_to(found)
    for name in ("config", "systemd"):
        (world.home / name).symlink_to(REPOSITORY / name)
    (world.home / "nightly-build").symlink_to(directory / "nightly-build")
    world.environ["PATH"] = f"{directory}:/usr/bin:/bin"
    world.environ["SHELL"] = "/bin/true"
    with world.running():
        yield world


@pytest.mark.parametrize(
    ("page", "command"),
    [(page, text) for page, prompt, text in COMMANDS if prompt == "$" and text not in ELSEWHERE],
)
def test_a_command_of_the_documents_succeeds(shell: World, page: str, command: str) -> None:
    if command.startswith("curl") and shutil.which("curl") is None:
        pytest.skip(f"NOT TESTED: {command}: curl is not installed")
    if command.startswith("assumed adopt"):
        # The user confirms at the prompt.
        command += " --yes"
    done = subprocess.run(  # noqa: S603
        ["/bin/bash", "-c", command],
        cwd=shell.home,
        env=shell.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{page}: {command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    ("page", "command"), [(page, text) for page, prompt, text in COMMANDS if prompt == "#"]
)
def test_a_command_for_root_is_valid_for_the_shell(page: str, command: str) -> None:
    done = subprocess.run(  # noqa: S603
        ["/bin/bash", "-n", "-c", command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), page
    for path in re.findall(r"(?<!\S)((?:config|systemd)/\S+)", command):
        assert (REPOSITORY / path).exists(), f"{page}: {path}"


@pytest.mark.parametrize("where", ELSEWHERE.values())
def test_the_tests_of_the_other_commands_exist(where: str) -> None:
    assert (REPOSITORY / where).exists()
