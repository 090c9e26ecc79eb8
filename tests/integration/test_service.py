"""`assumed service` where there is no systemd to ask; test_real_systemd.py has the rest."""

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


def test_the_unit_is_printed_and_nothing_is_done(world: World) -> None:
    world.assumed = [ASSUMED]
    before = sorted(world.home.rglob("*"))
    printed = world.run("service", "install", "--print")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert is_generated(printed.stdout)
    assert f"\nExecStart={ASSUMED} run\n" in printed.stdout
    assert sorted(world.home.rglob("*")) == before


def test_a_module_is_started_as_one(world: World) -> None:
    printed = world.run("service", "install", "--print").stdout
    assert f"\nExecStart={sys.executable} -m assumed run\n" in printed


def test_the_link_that_pipx_makes_is_what_is_started(world: World) -> None:
    link = world.home / "assumed"
    link.symlink_to(ASSUMED)
    world.assumed = ["./assumed"]
    printed = world.run("service", "install", "--print").stdout
    assert f"\nExecStart={link} run\n" in printed


def test_a_configuration_is_named_where_the_service_would_find_another(world: World) -> None:
    world.configure({})
    other = world.home / "so far.yaml"
    other.touch()
    begin = f"\nExecStart={sys.executable} -m assumed run"
    for options, environ, end in (
        ([], {}, "\n"),
        (["--config", str(world.config)], {}, "\n"),
        (["--config", other.name], {}, f' --config "{other}"\n'),
        ([], {"ASSUMED_CONFIG": str(other)}, f' --config "{other}"\n'),
    ):
        printed = world.run("service", "install", "--print", *options, **environ)
        assert f"{begin}{end}" in printed.stdout


def test_the_system_unit_goes_by_its_users_configuration(world: World) -> None:
    printed = world.run("service", "install", "--print", "--system", "agent").stdout
    assert "\nUser=%i\n" in printed
    assert f"\nExecStart={sys.executable} -m assumed run\n" in printed
    for option in (["--linger"], ["--config", str(world.config)]):
        refused = world.run("service", "install", "--system", "agent", *option)
        assert refused.returncode == 2
        assert "/etc/assumed/config.yaml" in refused.stderr


def test_a_wrong_configuration_is_told_before_anything_else(world: World) -> None:
    missing = world.run("service", "install", "--config", "nowhere.yaml", PATH="/nowhere")
    assert missing.returncode == 78
    assert f"{world.home}/nowhere.yaml: " in missing.stderr
    world.write_config("nonsense\n")
    wrong = world.run("service", "install", PATH="/nowhere")
    assert wrong.returncode == 78
    assert f"{world.config}:1: " in wrong.stderr


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_a_machine_without_systemctl_is_told_what_does_the_same(world: World, verb: str) -> None:
    world.configure({"reports": world.add_role()})
    refused = world.run("service", verb, PATH="/nowhere")
    assert refused.returncode == 1
    assert "no systemctl" in refused.stderr
    assert "`assumed run`" in refused.stderr
    assert not (world.home / ".config" / "systemd").exists()


@pytest.mark.skipif(
    Path("/run/systemd/system").exists(), reason="NOT TESTED: refusals where systemd does not run"
)
def test_a_machine_that_systemd_does_not_run_is_told_what_does_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "systemctl"
    there.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssumedError, match="systemd does not run this machine") as refused:
        require_systemd()
    assert "container" in refused.value.hint


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "XDG_RUNTIME_DIR=/run/user/"),
        pytest.param(
            {"SUDO_USER": "jane"},
            "install it for jane",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="sudo makes one root"),
        ),
    ],
)
def test_a_shell_that_leads_to_no_manager_is_told_so(environ: dict[str, str], told: str) -> None:
    with pytest.raises(AssumedError) as refused:
        require_user_manager(environ)
    assert told in refused.value.hint
    require_user_manager({**environ, "XDG_RUNTIME_DIR": "/run/user/1"})


def test_what_systemctl_says_is_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\necho 'Failed to do it: no' >&2\nexit 4\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(AssumedError, match="daemon-reload`: Failed to do it: no"):
        Systemctl(is_user=True).reload()


def test_a_program_that_does_not_answer_is_not_waited_for() -> None:
    with pytest.raises(AssumedError, match="no response within 1 s"):
        run_command("sleep", "60", timeout_seconds=1, hint="")
    with pytest.raises(AssumedError, match="No such file"):
        run_command("no-such-program", hint="")
