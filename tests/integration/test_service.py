"""`assumed service` without systemd; test_real_systemd.py has the rest."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from assumed.errors import AssumedError
from assumed.platform.systemd.systemctl import (
    Systemctl,
    require_systemd,
    require_user_manager,
    run_command,
)
from assumed.platform.systemd.unit_file import is_generated
from tests.integration.world import World

ASSUMED = str(Path(sys.executable).with_name("assumed"))


def test_print_prints_the_unit_and_changes_nothing(world: World) -> None:
    world.assumed = [ASSUMED]
    before = sorted(world.home.rglob("*"))
    printed = world.run("service", "install", "--print")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert is_generated(printed.stdout)
    assert f"\nExecStart={ASSUMED} run\n" in printed.stdout
    assert sorted(world.home.rglob("*")) == before


def test_the_unit_starts_a_module_with_python(world: World) -> None:
    printed = world.run("service", "install", "--print").stdout
    assert f"\nExecStart={sys.executable} -m assumed run\n" in printed


def test_the_unit_starts_the_symbolic_link_of_pipx(world: World) -> None:
    link = world.home / "assumed"
    link.symlink_to(ASSUMED)
    world.assumed = ["./assumed"]
    printed = world.run("service", "install", "--print").stdout
    assert f"\nExecStart={link} run\n" in printed


def test_the_unit_names_the_configuration_if_it_is_not_the_default(world: World) -> None:
    world.configure({})
    other = world.home / "so far.yaml"
    other.touch()
    start = f"\nExecStart={sys.executable} -m assumed run"
    for options, environ, end in (
        ([], {}, "\n"),
        (["--config", str(world.config)], {}, "\n"),
        (["--config", other.name], {}, f' --config "{other}"\n'),
        ([], {"ASSUMED_CONFIG": str(other)}, f' --config "{other}"\n'),
    ):
        printed = world.run("service", "install", "--print", *options, **environ)
        assert f"{start}{end}" in printed.stdout


def test_the_system_unit_uses_the_configuration_of_its_user(world: World) -> None:
    printed = world.run("service", "install", "--print", "--system", "agent").stdout
    assert "\nUser=%i\n" in printed
    assert f"\nExecStart={sys.executable} -m assumed run\n" in printed
    for option in (["--linger"], ["--config", str(world.config)]):
        rejected = world.run("service", "install", "--system", "agent", *option)
        assert rejected.returncode == 2
        assert "/etc/assumed/config.yaml" in rejected.stderr


def test_install_checks_the_configuration_first(world: World) -> None:
    missing = world.run("service", "install", "--config", "nowhere.yaml", PATH="/nowhere")
    assert missing.returncode == 78
    assert f"{world.home}/nowhere.yaml: " in missing.stderr
    world.write_config("nonsense\n")
    wrong = world.run("service", "install", PATH="/nowhere")
    assert wrong.returncode == 78
    assert f"{world.config}:1: " in wrong.stderr


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_the_error_without_systemctl_names_the_alternative(world: World, verb: str) -> None:
    world.configure({"reports": world.add_role()})
    refused = world.run("service", verb, PATH="/nowhere")
    assert refused.returncode == 1
    assert "no systemctl" in refused.stderr
    assert "`assumed run`" in refused.stderr
    assert not (world.home / ".config" / "systemd").exists()


@pytest.mark.skipif(
    Path("/run/systemd/system").exists(), reason="NOT TESTED: the error if systemd does not run"
)
def test_the_error_without_a_running_systemd_names_the_alternative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "systemctl"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssumedError, match="systemd does not run this machine") as raised:
        require_systemd()
    assert "container" in raised.value.hint


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "XDG_RUNTIME_DIR=/run/user/"),
        pytest.param(
            {"SUDO_USER": "jane"},
            "install it for jane",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="sudo runs as root"),
        ),
    ],
)
def test_require_user_manager_explains_a_missing_manager(
    environ: dict[str, str], expected: str
) -> None:
    with pytest.raises(AssumedError) as raised:
        require_user_manager(environ)
    assert expected in raised.value.hint
    require_user_manager({**environ, "XDG_RUNTIME_DIR": "/run/user/1"})


def test_the_error_has_the_message_of_systemctl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\necho 'Failed to do it: no' >&2\nexit 4\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(AssumedError, match="daemon-reload`: Failed to do it: no"):
        Systemctl(is_user=True).reload()


def test_run_command_times_out() -> None:
    with pytest.raises(AssumedError, match="no response within 1 s"):
        run_command("sleep", "60", timeout_seconds=1, hint="")
    with pytest.raises(AssumedError, match="No such file"):
        run_command("no-such-program", hint="")
