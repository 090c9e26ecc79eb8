from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.integration.signin import PROFILE, SignIn
from tests.integration.test_daemon import session_arn
from tests.integration.world import World, wait_until

HAS_LIBRARY = importlib.util.find_spec("awscrt") is not None
EXPIRED = timedelta(minutes=-1)


@pytest.fixture
def signin(world: World) -> Iterator[SignIn]:
    if not HAS_LIBRARY:
        pytest.skip("NOT TESTED: `aws login` sessions: awscrt is not installed")
    (world.home / ".aws" / "config").write_text(PROFILE)
    with SignIn().serving() as server:
        world.environ["AWS_ENDPOINT_URL_SIGNIN"] = server.url
        yield server
        written = world.written()
        for secret in (server.refresh_token, "PRIVATE KEY", *server.key.splitlines()[1:-1]):
            assert secret not in written


def issue(world: World, signin: SignIn, role: str) -> None:
    """Let a login return the credentials of a role."""
    found = world.session(role, "jane")
    signin.credentials = {
        "accessKeyId": found["AccessKeyId"],
        "secretAccessKey": found["SecretAccessKey"],
        "sessionToken": found["SessionToken"],
    }


def test_a_missing_login_is_reported_and_noticed_once_it_is_done(
    world: World, signin: SignIn
) -> None:
    own = world.add_role()
    role = world.add_role(trusts=own)
    issue(world, signin, own)
    world.configure({"deploy": {"role_arn": role, "source_profile": "people"}})
    with world.running() as daemon:
        assert world.states() == {"deploy": "needs-login"}
        shown = world.run("status").stdout
        assert "the login of source profile people is missing or expired: " in shown
        hint = "run `aws login --profile people`; the daemon will retry after that"
        assert hint in " ".join(shown.split())
        # The first login on this machine also creates the directory of the cache.
        signin.log_in(world.home)
        daemon.wait_for("source_changed profile=deploy")
        wait_until(lambda: world.states() == {"deploy": "valid"}, "the refresh")
        assert world.caller("deploy").startswith(session_arn(role))
    assert signin.requests == []


def test_an_expired_login_is_reported_and_the_next_one_noticed(
    world: World, signin: SignIn
) -> None:
    own = world.add_role()
    role = world.add_role(trusts=own)
    issue(world, signin, own)
    signin.log_in(world.home, lasts=EXPIRED)
    signin.refresh_token = "refresh-token-of-the-next-login"
    world.configure({"deploy": {"role_arn": role, "source_profile": "people"}})
    with world.running() as daemon:
        assert world.states() == {"deploy": "needs-login"}
        shown = world.run("status").stdout
        assert "Your session has expired" in shown
        assert "`aws login --profile people`" in shown
        signin.log_in(world.home)
        daemon.wait_for("source_changed profile=deploy")
        wait_until(lambda: world.states() == {"deploy": "valid"}, "the refresh")
    assert set(signin.requests) == {"/v1/token"}


def test_an_expired_session_is_refreshed_by_botocore_while_the_login_is_valid(
    world: World, signin: SignIn
) -> None:
    own = world.add_role()
    role = world.add_role(trusts=own)
    issue(world, signin, own)
    signin.log_in(world.home, lasts=EXPIRED)
    world.configure(
        {
            "deploy": {"role_arn": role, "source_profile": "people"},
            "plain": {"source_profile": "people"},
        }
    )
    with world.running():
        assert world.states() == {"deploy": "valid", "plain": "valid"}
        assert world.caller("plain").endswith("/jane")
    assert signin.requests == ["/v1/token"]


def test_aws_login_cache_directory_is_watched(world: World, signin: SignIn) -> None:
    own = world.add_role()
    issue(world, signin, own)
    world.configure({"plain": {"source_profile": "people"}})
    elsewhere = world.home / "elsewhere"
    elsewhere.mkdir()
    with world.running(AWS_LOGIN_CACHE_DIRECTORY=str(elsewhere)) as daemon:
        assert world.states() == {"plain": "needs-login"}
        signin.log_in(world.home)
        (token,) = (world.home / ".aws" / "login" / "cache").iterdir()
        token.rename(elsewhere / token.name)
        daemon.wait_for("source_changed profile=plain")
        wait_until(lambda: world.states() == {"plain": "valid"}, "the refresh")


def test_a_missing_library_is_reported_with_the_command_to_install_it(world: World) -> None:
    (world.home / ".aws" / "config").write_text(PROFILE)
    world.configure({"plain": {"source_profile": "people"}})
    # An empty package hides the installed one.
    (world.home / "awscrt").mkdir()
    (world.home / "awscrt" / "__init__.py").touch()
    failed = world.run("refresh", PYTHONPATH=str(world.home))
    assert failed.returncode == 1
    assert "plain: SourceMissing: source profile people has a kind of login" in failed.stderr
    assert "install it with `pipx inject assumed awscrt`" in failed.stderr
