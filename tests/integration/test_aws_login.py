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


def give(world: World, signin: SignIn, role: str) -> None:
    """Have a login give sessions of a role."""
    found = world.session(role, "jane")
    signin.credentials = {
        "accessKeyId": found["AccessKeyId"],
        "secretAccessKey": found["SecretAccessKey"],
        "sessionToken": found["SessionToken"],
    }


def test_a_login_that_is_missing_is_named_and_work_goes_on_at_once_after_it(
    world: World, signin: SignIn
) -> None:
    own = world.add_role()
    role = world.add_role(trusts=own)
    give(world, signin, own)
    world.configure({"deploy": {"role_arn": role, "source_profile": "people"}})
    with world.running() as daemon:
        assert world.states() == {"deploy": "needs-login"}
        shown = world.run("status").stdout
        assert "profile people: its login has run out" in shown
        assert "`aws login --profile people`; refreshes go on by themselves after it" in shown
        # The first login on this machine: not even the folder of the cache was there.
        signin.log_in(world.home)
        daemon.wait_for("source_changed profile=deploy")
        wait_until(lambda: world.states() == {"deploy": "valid"}, "the refresh")
        assert world.caller("deploy").startswith(session_arn(role))
    assert signin.asked == []


def test_a_login_that_is_over_is_named_and_work_goes_on_at_once_after_the_next(
    world: World, signin: SignIn
) -> None:
    own = world.add_role()
    role = world.add_role(trusts=own)
    give(world, signin, own)
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
    assert set(signin.asked) == {"/v1/token"}


def test_a_session_that_ends_is_renewed_by_botocore_while_the_login_lasts(
    world: World, signin: SignIn
) -> None:
    own = world.add_role()
    role = world.add_role(trusts=own)
    give(world, signin, own)
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
    assert signin.asked == ["/v1/token"]


def test_a_cache_in_another_place_is_looked_at_there(world: World, signin: SignIn) -> None:
    own = world.add_role()
    give(world, signin, own)
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


def test_without_its_library_it_is_told_what_to_install(world: World) -> None:
    (world.home / ".aws" / "config").write_text(PROFILE)
    world.configure({"plain": {"source_profile": "people"}})
    # Whatever is installed here: a package of that name that has nothing in it.
    (world.home / "awscrt").mkdir()
    (world.home / "awscrt" / "__init__.py").touch()
    failed = world.run("refresh", PYTHONPATH=str(world.home))
    assert failed.returncode == 1
    assert "plain: SourceMissing: profile people: botocore takes a login of this" in failed.stderr
    assert "`pipx inject assumed awscrt`" in failed.stderr
