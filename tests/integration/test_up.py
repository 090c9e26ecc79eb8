"""`assumed up` on a terminal; the units are tested in test_real_systemd.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.terminal import terminal
from tests.integration.world import SOURCE, World


def write_aws_config(world: World, **roles: str) -> None:
    text = "".join(
        f"[profile {name}]\nrole_arn = {arn}\nsource_profile = {SOURCE}\n"
        for name, arn in roles.items()
    )
    (world.home / ".aws" / "config").write_text(text)


@pytest.mark.skipif(
    Path("/run/systemd/system").exists(), reason="NOT TESTED: `assumed up` without systemd"
)
def test_up_leads_from_the_aws_files_to_a_checked_configuration(world: World) -> None:
    write_aws_config(world, reports=world.add_role())
    with terminal(world, *world.assumed, "up", columns=200) as screen:
        screen.wait_for("Keep the names of your role profiles?")
        screen.type("n\n")
        screen.wait_for("$ assumed init")
        screen.wait_for("$ assumed check --live")
        screen.wait_for("reports-fresh: arn:aws:sts::")
        screen.wait_for("3. The service")
        screen.wait_for("`assumed run`")
        assert screen.status() == 0
    assert "reports-fresh" in world.config.read_text()


def test_up_stops_where_the_user_declines_and_continues_there(world: World) -> None:
    write_aws_config(world, reports="arn:aws:iam::123456789012:role/no-such-role")
    with terminal(world, *world.assumed, "up", columns=200) as screen:
        screen.wait_for("Keep the names of your role profiles?")
        screen.type("n\n")
        screen.wait_for("AccessDenied")
        screen.wait_for("Log in where")
        screen.type("n\n")
        screen.wait_for("Continue?")
        screen.type("\n")
        screen.wait_for("run `assumed up` again")
        assert screen.status() == 1
    with terminal(world, *world.assumed, "up", columns=200) as screen:
        screen.wait_for(f"{world.config}: is there already")
        screen.wait_for("AccessDenied")
        screen.wait_for("Log in where")
        screen.type("\x03")
        assert screen.status() == 130


def test_up_names_its_steps_without_a_terminal(world: World) -> None:
    refused = world.run("up")
    assert refused.returncode == 2
    for command in ("init", "check --live", "login", "service install"):
        assert f"`assumed {command}`" in refused.stderr
