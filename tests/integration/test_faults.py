"""Each fault as a user of a real daemon sees it; docs/failures.md has the same table."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.faulty_sts import SKEW, FaultySts, certificate
from tests.integration.world import SOURCE, World, wait_until
from tests.repository import REPOSITORY

DOCUMENT = (REPOSITORY / "docs" / "failures.md").read_text()


@dataclass(frozen=True)
class Seen:
    """What `assumed status` shows for a fault."""

    code: str
    hint: str
    state: str = "failing"


FAULTS = {
    "hang": Seen("ReadTimeoutError", "check network, VPN, proxy and CA settings"),
    "reset": Seen("ConnectionClosedError", "check network, VPN, proxy and CA settings"),
    "500": Seen("InternalFailure", "AWS Health Dashboard"),
    "503": Seen("ServiceUnavailable", "AWS Health Dashboard"),
    "throttling": Seen("Throttling", "the rate limit"),
    "truncated": Seen("BadAnswer", "a proxy"),
    "garbled-xml": Seen("BadAnswer", "a proxy"),
    "portal": Seen("BadAnswer", "a captive portal"),
    "empty": Seen("BadAnswer", "a proxy"),
    "access-denied": Seen("AccessDenied", "for arn:aws:iam::123456789012:user/x, and"),
    "region-disabled": Seen("RegionDisabledException", "activate STS for this region"),
    "expired-token": Seen("ExpiredToken", "renew the credentials of", state="needs-login"),
}


@pytest.fixture
def sts(world: World) -> Iterator[FaultySts]:
    with FaultySts(world.server.endpoint_url) as sts:
        world.environ["AWS_ENDPOINT_URL_STS"] = f"http://127.0.0.1:{sts.port}"
        yield sts


def last_errors(world: World) -> dict[str, dict[str, str]]:
    return {
        profile["profile"]: profile["last_error"]
        for profile in world.status()["profiles"]
        if profile["last_error"] is not None
    }


def test_each_fault_has_its_code_and_hint_and_recovers(world: World, sts: FaultySts) -> None:
    roles = {fault: world.add_role() for fault in FAULTS}
    sts.faults = {role: fault for fault, role in roles.items()}
    world.configure({"good": world.add_role(), **roles})
    with world.daemon() as daemon:
        wait_until(lambda: last_errors(world).keys() == FAULTS.keys(), "every failure")
        errors, states = last_errors(world), world.states()
        for fault, seen in FAULTS.items():
            assert (fault, errors[fault]["code"]) == (fault, seen.code)
            assert seen.hint in errors[fault]["hint"]
            assert errors[fault]["hint"].endswith("; the daemon will retry")
            assert states[fault] == seen.state
            assert f"refresh_failed profile={fault} " in daemon.log.read_text()
        assert states["good"] == "valid"
        sts.lift()
        wait_until(lambda: set(world.states().values()) == {"valid"}, "the recovery")


def test_clock_skew_is_reported_and_refreshes_continue(world: World, sts: FaultySts) -> None:
    role = world.add_role()
    sts.faults[role] = "wrong-clock"
    world.configure({"reports": role})
    with world.running() as daemon:
        daemon.wait_for("clock_skew_detected seconds=-")
        status = world.status()
        assert abs(status["daemon"]["clock_skew_seconds"] + SKEW.total_seconds()) < 60
        assert 3500 < status["profiles"][0]["seconds_left"] <= 3600
        assert "behind that of STS: set it" in world.run("status").stderr


def test_an_endpoint_that_starts_to_listen_is_used_at_once(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    world.environ["AWS_ENDPOINT_URL_STS"] = f"http://127.0.0.1:{port}"
    world.configure({"reports": world.add_role()})
    with world.daemon() as daemon:
        daemon.wait_for("error_code=EndpointConnectionError")
        with FaultySts(world.server.endpoint_url, port=port):
            wait_until(lambda: world.states() == {"reports": "valid"}, "the recovery")


@pytest.mark.parametrize(
    "arguments",
    [
        ["refresh", "--timeout", "1s"],
        ["check", "--live", "--timeout", "1s"],
        ["wait", "--timeout", "1s"],
        ["exec", "reports", "--timeout", "1s", "--", "true"],
        ["export-credentials", "--profile", "reports"],
    ],
    ids=" ".join,
)
def test_without_a_daemon_the_hint_is_to_run_the_command_again(
    world: World, arguments: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    world.configure({"reports": world.add_role()})
    failed = world.run(*arguments, AWS_ENDPOINT_URL_STS=f"http://127.0.0.1:{port}")
    assert failed.returncode == 1
    assert "Could not connect to the endpoint" in failed.stderr
    assert "check network, VPN, proxy and CA settings; then run the command again" in failed.stderr
    assert "daemon" not in failed.stderr


def test_a_certificate_for_another_host_is_rejected(world: World, tmp_path: Path) -> None:
    world.configure({"reports": world.add_role()})
    pem = certificate(tmp_path / "certificate.pem")
    with FaultySts(world.server.endpoint_url, certificate=pem) as sts:
        endpoint = f"https://127.0.0.1:{sts.port}"
        refused = world.run("refresh", AWS_ENDPOINT_URL_STS=endpoint)
        assert refused.returncode == 1
        assert "reports: SSLError" in refused.stderr
        assert "certificate" in refused.stderr


def test_a_failing_credential_process_is_reported_and_retried(world: World) -> None:
    process = world.home / "process"
    (world.home / ".aws" / "config").write_text(
        f"[profile process]\ncredential_process = {process}\n"
    )
    process.write_text("#!/bin/sh\nexit 3\n")
    process.chmod(0o700)
    role = world.add_role()
    world.configure({"reports": {"role_arn": role, "source_profile": "process"}})
    with world.daemon() as daemon:
        daemon.wait_for("error_code=SourceUnavailable")
        keys = re.findall(r"aws_\w+ = (\S+)", world.credentials.read_text())
        answer = {"Version": 1, "AccessKeyId": keys[0], "SecretAccessKey": keys[1]}
        process.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
        wait_until(lambda: world.states() == {"reports": "valid"}, "the recovery")


def test_a_profile_with_other_credentials_is_left_alone_with_a_hint(world: World) -> None:
    world.configure({SOURCE: {"role_arn": world.add_role(), "source_profile": "keys"}})
    mine = world.credentials.read_text().replace(f"[{SOURCE}]", "[keys]")
    world.credentials.write_text(f"{world.credentials.read_text()}\n{mine}")
    before = world.credentials.read_text()
    refused = world.run("refresh")
    assert refused.returncode == 1
    assert f"{SOURCE}: ProfileNotManaged" in refused.stderr
    assert "overwrite: true" in refused.stderr
    assert world.credentials.read_text() == before


def test_the_document_lists_every_code() -> None:
    codes = {seen.code for seen in FAULTS.values()} | {
        "EndpointConnectionError",
        "SSLError",
        "SourceUnavailable",
        "SourceMissing",
        "ParentNotReady",
        "ProfileNotManaged",
        "CredentialsFileUnwritable",
        "CredentialsFileMalformed",
        "InvalidClientTokenId",
        "ClockSkewed",
    }
    assert {code for code in codes if f"`{code}`" not in DOCUMENT} == set()
