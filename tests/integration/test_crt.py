"""The AWS Common Runtime (CRT) under `assumed exec`, as in s3torchconnector and mountpoint.

Its provider for the container credentials endpoint sends a `Host` header without the port.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from assumed.models import EndpointAddress
from assumed.server.container_credentials import ContainerCredentialsEndpoint
from tests.integration.test_endpoint import FakeSource
from tests.integration.world import World

DEFAULT_CHAIN = """
import json
from awscrt.auth import AwsCredentialsProvider
from awscrt.io import ClientBootstrap, DefaultHostResolver, EventLoopGroup
group = EventLoopGroup(1)
bootstrap = ClientBootstrap(group, DefaultHostResolver(group))
provider = AwsCredentialsProvider.new_default_chain(bootstrap)
print(json.dumps(provider.get_credentials().result(timeout=60).access_key_id))
"""


def crt_key(environ: dict[str, str]) -> str:
    """Return the access key ID that the default credentials chain of the CRT finds."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", DEFAULT_CHAIN],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: str = json.loads(done.stdout)
    return found


def test_the_crt_fetches_credentials_from_the_endpoint(tmp_path: Path) -> None:
    endpoint = ContainerCredentialsEndpoint(FakeSource(), tmp_path / "run")
    try:
        for profile in ("deploy", "account/Role"):
            address: EndpointAddress = endpoint.address(profile)
            environ = {
                "HOME": str(tmp_path),
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": address.url,
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(address.token_file),
            }
            assert crt_key(environ) == f"ASIA{profile.upper()}1"
    finally:
        endpoint.close()


@pytest.mark.parametrize("served", [True, False], ids=["daemon", "standalone"])
def test_the_crt_gets_the_role_under_exec(world: World, *, served: bool) -> None:
    """Not the long-term keys of `[default]` in the credentials file of the user."""
    world.configure({"reports": world.add_role()})
    with world.credentials.open("a") as file:
        file.write("[default]\naws_access_key_id = AKIAMINE\naws_secret_access_key = mine\n")
    assert world.run("refresh").returncode == 0
    arguments = ["exec", "reports", "--", sys.executable, "-c", DEFAULT_CHAIN]
    if served:
        with world.running():
            done = world.run(*arguments)
    else:
        done = world.run(*arguments)
    assert done.returncode == 0, done.stderr
    key = json.loads(done.stdout)
    assert key.startswith("ASIA")
    assert f"aws_access_key_id = {key}\n" in world.credentials.read_text()


def test_the_crt_finds_the_profile_of_exec_by_its_name(world: World) -> None:
    """It does not accept quotes around a name."""
    world.configure({"account/Role": world.add_role()})
    script = DEFAULT_CHAIN.replace(
        "new_default_chain(bootstrap)", "new_profile(bootstrap, profile_name='account/Role')"
    )
    with world.running():
        done = world.run("exec", "account/Role", "--", sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).startswith("ASIA")
