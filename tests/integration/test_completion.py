"""The completion lines of docs/cli.md, in real shells."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.integration.terminal import terminal
from tests.integration.world import World
from tests.repository import REPOSITORY

COMMANDS = (REPOSITORY / "docs" / "cli.md").read_text()
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], ""),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit && compinit -u -D"),
    "fish": (["fish", "--no-config", "-i"], ""),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_options_and_profiles(world: World, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"NOT TESTED: completion in {shell}: it is not installed here")
    world.environ["PATH"] = f"{Path(sys.executable).parent}:{world.environ['PATH']}"
    command, prepare = SHELLS[shell]
    (line,) = re.findall(rf"^\$ (.*assumed completion {shell}.*)$", COMMANDS, re.M)
    world.configure({"zebra-crossing": world.add_role()})
    with terminal(world, *command) as typed:
        typed.type(f"{prepare}\n{line}\necho rea''dy\n")
        typed.wait_for("\nready")
        typed.type("assumed serv\tunin\t--he\t\n")
        typed.wait_for("Stop and remove the service")
        typed.type("assumed status zeb\t--js\t\n")
        typed.wait_for('"profile": "zebra-crossing"')
        typed.type("exit\n")
        # The shell's last status is that of the command before: the profile has no session yet.
        assert typed.status() == 1
