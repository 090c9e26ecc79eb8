from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.metadata import AUTHORIZATION, ROLES, Metadata
from tests.integration.test_daemon import session_arn
from tests.integration.world import SOURCE, World, wait_until


@pytest.fixture
def machine() -> Iterator[Metadata]:
    with Metadata().serving() as server:
        yield server


def session(world: World, role: str) -> dict[str, str]:
    """Return a role session in the form of the metadata service."""
    found = world.session(role, "i-0123")
    found["Token"] = found.pop("SessionToken")
    return found


def environ(machine: Metadata) -> dict[str, str]:
    return {
        "AWS_EC2_METADATA_DISABLED": "false",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": machine.url,
        "AWS_EC2_METADATA_V1_DISABLED": "true",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{machine.url}/v2/credentials/task",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": AUTHORIZATION,
    }


@pytest.mark.parametrize("source", ["Ec2InstanceMetadata", "EcsContainer"])
def test_ambient_credentials_assume_a_role(world: World, machine: Metadata, source: str) -> None:
    own = world.add_role()
    role = world.add_role(trusts=own)
    machine.credentials = session(world, own)
    world.credentials.unlink()
    world.configure({"deploy": {"role_arn": role, "credential_source": source}})
    with world.running(**environ(machine)):
        assert world.caller("deploy").startswith(session_arn(role))
        assert world.run("refresh", "--force").returncode == 0
        assert world.status()["profiles"][0]["source"] == source
    instance = ["PUT /latest/api/token", f"GET {ROLES}", f"GET {ROLES}the-role"]
    expected = instance if source == "Ec2InstanceMetadata" else ["GET /v2/credentials/task"]
    assert machine.requests == expected, "one request for many refreshes"
    assert machine.credentials["SecretAccessKey"] not in world.written()


def test_the_environment_is_used_only_by_definitions_that_name_it(world: World) -> None:
    own = world.add_role()
    first, second = world.add_role(trusts=own), world.add_role()
    given = session(world, own)
    world.configure(
        {
            "first": {"role_arn": first, "credential_source": "Environment"},
            "second": {"role_arn": second, "source_profile": SOURCE},
        }
    )
    keys = {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["Token"],
    }
    with world.running(**keys):
        # The second role trusts the user, and not the role of the environment.
        assert world.states() == {"first": "valid", "second": "valid"}


def test_an_instance_without_a_role_is_retried(world: World, machine: Metadata) -> None:
    own = world.add_role()
    role = world.add_role(trusts=own)
    world.configure({"deploy": {"role_arn": role, "credential_source": "Ec2InstanceMetadata"}})
    with world.running(**environ(machine)):
        shown = world.run("status").stdout
        assert "credential_source Ec2InstanceMetadata: credentials unavailable" in shown
        assert "the instance needs a role" in shown
        machine.credentials = session(world, own)
        wait_until(lambda: world.states() == {"deploy": "valid"}, "the retry")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("Environment", "credential_source Environment: the environment has no credentials"),
        (
            "EcsContainer",
            "credential_source EcsContainer: the environment has no credentials",
        ),
        ("Ec2InstanceMetadata", "credential_source Ec2InstanceMetadata: credentials unavailable"),
    ],
)
def test_no_other_source_replaces_missing_ambient_credentials(
    world: World, source: str, message: str
) -> None:
    role = world.add_role()
    world.credentials.write_text(world.credentials.read_text().replace(SOURCE, "default"))
    world.configure({"deploy": {"role_arn": role, "credential_source": source}})
    failed = world.run("refresh")
    assert failed.returncode == 1
    assert message in failed.stderr
    assert world.server.calls(role) == 0
