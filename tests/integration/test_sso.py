from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.integration.sso_portal import PROFILE, SESSION, Portal
from tests.integration.test_daemon import session_arn
from tests.integration.world import World, wait_until


@pytest.fixture
def sso(world: World) -> Iterator[Portal]:
    """A portal that gives a role which others trust: `world` has its ARN in `own`."""
    (world.home / ".aws" / "config").write_text(PROFILE)
    with Portal().serving() as server:
        world.environ |= {
            "AWS_ENDPOINT_URL_SSO": server.url,
            "AWS_ENDPOINT_URL_SSO_OIDC": server.url,
        }
        yield server
        written = world.written()
        for secret in (server.token, "client-secret", "refresh-token"):
            assert secret not in written


def give(world: World, sso: Portal, role: str) -> None:
    found = world.session(role, "jane")
    sso.credentials = {
        "accessKeyId": found["AccessKeyId"],
        "secretAccessKey": found["SecretAccessKey"],
        "sessionToken": found["SessionToken"],
        "expiration": round(datetime.fromisoformat(found["Expiration"]).timestamp() * 1000),
    }


def test_a_login_that_is_missing_is_named_and_work_goes_on_at_once_after_it(
    world: World, sso: Portal
) -> None:
    own = world.add_role()
    role = world.add_role(trusts=own)
    give(world, sso, own)
    world.configure({"deploy": {"role_arn": role, "source_profile": "people"}})
    with world.running() as daemon:
        assert world.states() == {"deploy": "needs-login"}
        shown = world.run("status").stdout
        assert "its SSO login has run out" in shown
        assert f"`aws sso login --sso-session {SESSION}`" in shown
        assert "`aws sso login" in world.run("login", "deploy").stderr
        # The first login on this machine: not even the folder of the cache was there.
        sso.log_in(world.home)
        daemon.wait_for("source_changed profile=deploy")
        wait_until(lambda: world.states() == {"deploy": "valid"}, "the refresh")
        assert world.caller("deploy").startswith(session_arn(role))
    assert sso.asked == ["/federation/credentials"]


def test_a_login_that_runs_out_is_named_and_work_goes_on_at_once_after_the_next(
    world: World, sso: Portal
) -> None:
    own = world.add_role()
    give(world, sso, own)
    sso.log_in(world.home)
    world.configure({"plain": {"source_profile": "people"}})
    with world.running() as daemon:
        assert world.caller("plain") == f"{session_arn(own).removesuffix('assumed-')}jane"
        # As after a logout elsewhere: the token is none any more.
        sso.token = "sso-token-new"
        assert world.run("refresh", "--force").returncode == 1
        assert world.states() == {"plain": "needs-login"}
        no_code = world.run("login", "plain")
        assert no_code.returncode == 2
        assert "aws sso login --sso-session" in no_code.stderr
        assert world.caller("plain").endswith("/jane")
        give(world, sso, own)
        sso.log_in(world.home)
        daemon.wait_for("source_changed profile=plain")
        wait_until(lambda: world.states() == {"plain": "valid"}, "the refresh")
        assert str(sso.credentials["accessKeyId"]) in world.credentials.read_text()


def test_a_token_that_runs_out_is_renewed_by_botocore(world: World, sso: Portal) -> None:
    own = world.add_role()
    role = world.add_role(trusts=own)
    give(world, sso, own)
    sso.log_in(world.home, lasts=timedelta(minutes=-1))
    world.configure({"deploy": {"role_arn": role, "source_profile": "people"}})
    with world.running():
        assert world.states() == {"deploy": "valid"}
    assert sso.asked == ["/token", "/federation/credentials"]
