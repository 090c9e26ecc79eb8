from __future__ import annotations

import json
import uuid

import pytest

from tests.integration.test_daemon import session_arn
from tests.integration.world import World, wait_until

PROVIDER = {
    "Effect": "Allow",
    "Principal": {"Federated": "arn:aws:iam::123456789012:oidc-provider/token.example.com"},
    "Action": "sts:AssumeRoleWithWebIdentity",
}


@pytest.fixture
def tokens(world: World) -> list[str]:
    """Two made-up tokens that a provider issues one after the other."""
    return [f"eyJhbGciOiJub25lIn0.eyJqdGkiOiJ{uuid.uuid4().hex}.c2ln{n}" for n in range(2)]


def write_token(world: World, token: str) -> str:
    path = world.home / "identity" / "token"
    path.parent.mkdir(exist_ok=True)
    new = path.with_name("new")
    new.write_text(f"{token}\n")
    new.rename(path)
    return str(path)


def test_a_rotated_token_is_used_and_never_logged(world: World, tokens: list[str]) -> None:
    first, second = tokens
    role = world.add_role(trusts=PROVIDER)
    world.server.accept(first)
    path = write_token(world, first)
    world.configure({"pod": {"role_arn": role, "web_identity_token_file": path}})
    # Without AWS files, as in a container.
    world.credentials.unlink()
    with world.running():
        assert world.caller("pod").startswith(session_arn(role))
        write_token(world, second)
        world.server.accept(second)
        assert world.run("refresh", "--force").returncode == 0
        status = world.status()["profiles"][0]
    sent = world.server.requests(role)
    assert [request["WebIdentityToken"] for request in sent] == [first, second]
    assert {request["Action"] for request in sent} == {"AssumeRoleWithWebIdentity"}
    assert status["source"] == f"web identity {path}"
    written = world.written() + json.dumps(status)
    assert first not in written
    assert second not in written


def test_an_expired_token_needs_the_next_one_which_is_noticed(
    world: World, tokens: list[str]
) -> None:
    expired, new = tokens
    role = world.add_role(trusts=PROVIDER)
    world.server.accept(new)
    path = write_token(world, expired)
    world.configure({"pod": {"role_arn": role, "web_identity_token_file": path}})
    with world.running() as daemon:
        assert world.states() == {"pod": "needs-login"}
        write_token(world, new)
        daemon.wait_for("source_changed profile=pod")
        wait_until(lambda: world.states() == {"pod": "valid"}, "the refresh")
    assert expired not in world.written()


def test_a_token_file_that_appears_later_is_noticed(world: World, tokens: list[str]) -> None:
    role = world.add_role(trusts=PROVIDER)
    world.server.accept(tokens[0])
    path = world.home / "identity" / "token"
    path.parent.mkdir()
    world.configure({"pod": {"role_arn": role, "web_identity_token_file": str(path)}})
    with world.running():
        shown = world.run("status").stdout
        assert (
            f"web identity token {path}: the file cannot be read: No such file or directory"
            in shown
        )
        write_token(world, tokens[0])
        wait_until(lambda: world.states() == {"pod": "valid"}, "the refresh")


def test_a_web_identity_can_start_a_chain(world: World, tokens: list[str]) -> None:
    hub = world.add_role(trusts=PROVIDER)
    deploy = world.add_role(trusts=hub)
    world.server.accept(tokens[0])
    path = write_token(world, tokens[0])
    world.configure(
        {
            "deploy": {"role_arn": deploy, "source_profile": "hub", "external_id": "abc"},
            "hub": {"role_arn": hub, "web_identity_token_file": path},
        }
    )
    with world.running():
        assert world.states() == {"deploy": "valid", "hub": "valid"}
        assert world.caller("deploy").startswith(session_arn(deploy))


def test_a_provider_that_the_role_does_not_trust_is_reported(
    world: World, tokens: list[str]
) -> None:
    role = world.add_role()
    world.server.accept(tokens[0])
    path = write_token(world, tokens[0])
    world.configure({"pod": {"role_arn": role, "web_identity_token_file": path}})
    failed = world.run("refresh")
    assert failed.returncode == 1
    assert "AccessDenied" in failed.stderr
    assert "must allow sts:AssumeRoleWithWebIdentity for the token's identity" in failed.stderr
