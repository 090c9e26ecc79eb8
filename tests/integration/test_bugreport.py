"""`assumed bugreport`: everything that is needed, and nothing confidential."""

from __future__ import annotations

import json

from assumed import __version__
from tests.integration.world import SOURCE, World


def test_a_report_has_everything_but_secrets_and_arns(world: World) -> None:
    role = world.add_role()
    command = ["print-code", "--password", "hunter2hunter2"]
    serial = world.server.add_mfa("123456", role_arn=role)
    with_mfa = {
        "role_arn": role,
        "source_profile": SOURCE,
        "mfa_serial": serial,
        "mfa_process": command,
        "external_id": "between-us",
    }
    reports = {"role_arn": role, "source_profile": SOURCE, "duration_seconds": 900}
    world.write_config(json.dumps({"profiles": {"reports": reports, "with-mfa": with_mfa}}))
    with world.running() as daemon:
        report = world.run("bugreport", HTTPS_PROXY="http://me:passw0rd@127.0.0.1:1")
    assert (report.returncode, report.stderr) == (0, "")
    for expected in (
        f"assumed {__version__}",
        "botocore ",
        "HTTPS_PROXY",
        f'"pid": {daemon.pid}',
        '"duration_seconds": "900"',
        '"external_id": "[set]"',
        '"state": "valid"',
        "## Last 200 events",
    ):
        assert expected in report.stdout
    for hidden in ("passw0rd", "hunter2", "between-us", role, "123456789012", str(world.home)):
        assert hidden not in report.stdout
    with_arns = world.run("bugreport", "--arns").stdout
    assert role in with_arns
    assert "between-us" not in with_arns


def test_a_report_needs_neither_a_daemon_nor_a_valid_configuration(world: World) -> None:
    world.write_config("profiles: [\n")
    report = world.run("bugreport")
    assert report.returncode == 0
    assert "line " in report.stdout.partition("## Configuration")[2]
    world.config.unlink()
    assert "## Configuration\n\n```\nnone\n" in world.run("bugreport").stdout
