"""Each way to fail, seen by a user of a real daemon; docs/failures.md says the same."""

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
    """What `assumed status` shows of a fault."""

    code: str
    hint: str
    state: str = "failing"


FAULTS = {
    "hang": Seen("ReadTimeoutError", "network, VPN, proxy"),
    "reset": Seen("ConnectionClosedError", "network, VPN, proxy"),
    "500": Seen("InternalFailure", "tried again"),
    "503": Seen("ServiceUnavailable", "tried again"),
    "throttling": Seen("Throttling", "more slowly"),
    "truncated": Seen("BadAnswer", "a proxy"),
    "garbled-xml": Seen("BadAnswer", "a proxy"),
    "portal": Seen("BadAnswer", "a VPN's portal"),
    "empty": Seen("BadAnswer", "a proxy"),
    "access-denied": Seen("AccessDenied", '{"AWS": "arn:aws:iam::123456789012:user/x"}'),
    "region-disabled": Seen("RegionDisabledException", "activate STS for this region"),
    "expired-token": Seen("ExpiredToken", "renew them", state="needs-login"),
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


def test_each_fault_is_told_with_its_hint_and_recovered_from_with_no_help(
    world: World, sts: FaultySts
) -> None:
    roles = {fault: world.add_role() for fault in FAULTS}
    sts.faults = {role: fault for fault, role in roles.items()}
    world.configure({"good": world.add_role(), **roles})
    with world.daemon() as daemon:
        wait_until(lambda: last_errors(world).keys() == FAULTS.keys(), "every failure")
        errors, states = last_errors(world), world.states()
        for fault, seen in FAULTS.items():
            assert (fault, errors[fault]["code"]) == (fault, seen.code)
            assert seen.hint in errors[fault]["hint"]
            assert states[fault] == seen.state
            assert f"refresh_failed profile={fault} " in daemon.log.read_text()
        assert states["good"] == "valid"
        sts.lift()
        wait_until(lambda: set(world.states().values()) == {"valid"}, "the recovery")


def test_a_wrong_clock_of_this_machine_is_told_and_refreshes_go_on(
    world: World, sts: FaultySts
) -> None:
    role = world.add_role()
    sts.faults[role] = "wrong-clock"
    world.configure({"reports": role})
    with world.running() as daemon:
        daemon.wait_for("clock_skew_detected seconds=-")
        status = world.status()
        assert abs(status["daemon"]["clock_skew_seconds"] + SKEW.total_seconds()) < 60
        assert 3500 < status["profiles"][0]["seconds_left"] <= 3600
        assert "behind STS's: set it" in world.run("status").stderr


def test_an_endpoint_that_nobody_serves_is_used_as_soon_as_somebody_does(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    world.environ["AWS_ENDPOINT_URL_STS"] = f"http://127.0.0.1:{port}"
    world.configure({"reports": world.add_role()})
    with world.daemon() as daemon:
        daemon.wait_for("error_code=EndpointConnectionError")
        with FaultySts(world.server.endpoint_url, port=port):
            wait_until(lambda: world.states() == {"reports": "valid"}, "the recovery")


def test_a_certificate_that_does_not_fit_is_refused(world: World, tmp_path: Path) -> None:
    world.configure({"reports": world.add_role()})
    pem = certificate(tmp_path / "certificate.pem")
    with FaultySts(world.server.endpoint_url, certificate=pem) as sts:
        endpoint = f"https://127.0.0.1:{sts.port}"
        refused = world.run("refresh", AWS_ENDPOINT_URL_STS=endpoint)
        assert refused.returncode == 1
        assert "reports: SSLError" in refused.stderr
        assert "certificate" in refused.stderr


def test_a_source_profile_that_fails_is_told_and_used_once_it_works(world: World) -> None:
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


def test_a_section_of_somebody_else_is_told_with_the_mend(world: World) -> None:
    world.configure({SOURCE: {"role_arn": world.add_role(), "source_profile": "keys"}})
    mine = world.credentials.read_text().replace(f"[{SOURCE}]", "[keys]")
    world.credentials.write_text(f"{world.credentials.read_text()}\n{mine}")
    before = world.credentials.read_text()
    refused = world.run("refresh")
    assert refused.returncode == 1
    assert f"{SOURCE}: ProfileNotManaged" in refused.stderr
    assert "overwrite: true" in refused.stderr
    assert world.credentials.read_text() == before


def test_the_document_has_every_code_that_was_seen() -> None:
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
