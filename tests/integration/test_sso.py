from __future__ import annotations

import errno
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.integration.sso_portal import PROFILE, SESSION, Portal
from tests.integration.terminal import terminal
from tests.integration.test_daemon import session_arn
from tests.integration.test_passing_faults import (
    FailingFiles,
    check_healed,
    is_valid,
    needs_compiler,
    seconds_until,
)
from tests.integration.world import World, wait_until


@pytest.fixture
def sso(world: World) -> Iterator[Portal]:
    """An IAM Identity Center portal that issues the credentials of a role."""
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


def issue(world: World, sso: Portal, role: str) -> None:
    found = world.session(role, "jane")
    sso.credentials = {
        "accessKeyId": found["AccessKeyId"],
        "secretAccessKey": found["SecretAccessKey"],
        "sessionToken": found["SessionToken"],
        "expiration": round(datetime.fromisoformat(found["Expiration"]).timestamp() * 1000),
    }


def test_a_missing_login_is_reported_and_noticed_once_it_is_done(world: World, sso: Portal) -> None:
    own = world.add_role()
    role = world.add_role(trusts=own)
    issue(world, sso, own)
    world.configure({"deploy": {"role_arn": role, "source_profile": "people"}})
    with world.running() as daemon:
        assert world.states() == {"deploy": "needs-login"}
        shown = world.run("status").stdout
        assert "the SSO login of source profile people is missing or expired: " in shown
        hint = f"run `aws sso login --sso-session {SESSION}`; the daemon will retry after that"
        assert hint in " ".join(shown.split())
        assert "`aws sso login" in world.run("login", "deploy").stderr
        # The first login on this machine also creates the directory of the cache.
        sso.log_in(world.home)
        daemon.wait_for("source_changed profile=deploy")
        wait_until(lambda: world.states() == {"deploy": "valid"}, "the refresh")
        assert world.caller("deploy").startswith(session_arn(role))
    assert sso.requests == ["/federation/credentials"]


def test_login_offers_the_login_command_and_refreshes_what_waited(
    world: World, sso: Portal
) -> None:
    own = world.add_role()
    role = world.add_role(trusts=own)
    issue(world, sso, own)
    world.configure({"deploy": {"role_arn": role, "source_profile": "people"}})
    # An AWS CLI whose login needs no browser: it writes the token's cache.
    sso.log_in(world.home)
    (world.home / ".aws/sso").rename(world.home / "logged-in")
    aws = world.home / "bin" / "aws"
    aws.parent.mkdir()
    aws.write_text(f'#!/bin/sh\necho "aws $*"\ncp -r {world.home}/logged-in ~/.aws/sso\n')
    aws.chmod(0o700)
    world.environ["PATH"] = f"{aws.parent}:{world.environ['PATH']}"
    # Without a terminal, there is no one to ask.
    alone = world.run("login")
    assert alone.returncode == 1
    assert alone.stderr == f"deploy: run `aws sso login --sso-session {SESSION}`\n"
    with terminal(world, *world.assumed, "login") as shell:
        shell.wait_for(f"deploy: run `aws sso login --sso-session {SESSION}` now? [Y/n]: ")
        shell.type("n\n")
        assert shell.status() == 1
    with terminal(world, *world.assumed, "login", "deploy") as shell:
        shell.wait_for("now? [Y/n]: ")
        shell.type("\n")
        shell.wait_for(f"aws sso login --sso-session {SESSION}")
        shell.wait_for("deploy: refreshed, expires in")
        assert shell.status() == 0
    assert world.caller("deploy").startswith(session_arn(role))
    assert world.run("login").stdout.startswith("nothing to do: no profile needs a login")


def test_a_revoked_login_is_reported_and_the_next_one_noticed(world: World, sso: Portal) -> None:
    own = world.add_role()
    issue(world, sso, own)
    sso.log_in(world.home)
    world.configure({"plain": {"source_profile": "people"}})
    with world.running() as daemon:
        assert world.caller("plain") == f"{session_arn(own).removesuffix('assumed-')}jane"
        # As after a logout elsewhere: the portal rejects the token.
        sso.token = "sso-token-new"
        assert world.run("refresh", "--force").returncode == 1
        assert world.states() == {"plain": "needs-login"}
        nobody_to_ask = world.run("login", "plain")
        assert nobody_to_ask.returncode == 1
        assert "aws sso login --sso-session" in nobody_to_ask.stderr
        assert world.caller("plain").endswith("/jane")
        issue(world, sso, own)
        sso.log_in(world.home)
        daemon.wait_for("source_changed profile=plain")
        wait_until(lambda: world.states() == {"plain": "valid"}, "the refresh")
        assert str(sso.credentials["accessKeyId"]) in world.credentials.read_text()


def test_an_expired_token_is_refreshed_by_botocore(world: World, sso: Portal) -> None:
    own = world.add_role()
    role = world.add_role(trusts=own)
    issue(world, sso, own)
    sso.log_in(world.home, lasts=timedelta(minutes=-1))
    world.configure({"deploy": {"role_arn": role, "source_profile": "people"}})
    with world.running():
        assert world.states() == {"deploy": "valid"}
    assert sso.requests == ["/token", "/federation/credentials"]


@needs_compiler
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_login_that_cannot_be_read_for_a_while_is_not_taken_for_a_missing_one(
    world: World, sso: Portal, tmp_path_factory: pytest.TempPathFactory, number: int
) -> None:
    failing = FailingFiles(tmp_path_factory.mktemp("failing"))
    own = world.add_role()
    issue(world, sso, own)
    sso.log_in(world.home)
    world.configure({"plain": {"source_profile": "people"}})
    (token,) = world.home.rglob("sso/cache/*.json")
    failing.fail(number, token)
    with world.running(**failing.environ) as daemon:
        daemon.wait_for("LocalFault")
        assert "SourceMissing" not in daemon.log.read_text()
        failing.work()
        check_healed(seconds_until(lambda: is_valid(world, "plain"), "the profile"))
