"""When the MFA sessions that profiles depend on expire."""

from __future__ import annotations

import pytest

from assumed.models import MfaSession, SourceProfile
from tests.fakes import NOON, Simulation, role
from tests.unit.engine.helpers import HOUR, MINUTE, logged

LOGIN = MfaSession(SourceProfile("keys"), "arn:aws:iam::111122223333:mfa/jane")


@pytest.fixture
def with_login(simulation: Simulation) -> Simulation:
    simulation.sources.known[str(LOGIN)] = simulation.sources.known["keys"]
    simulation.sources.logins.ends_at = NOON + 4 * HOUR
    return simulation


def test_a_status_shows_the_expiration_without_a_look_at_a_file(
    with_login: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_login.start(role("deploy", source=LOGIN), role("child", parent="deploy"), role("plain"))

    def read(*_: object) -> None:
        raise AssertionError

    for name in ("remaining", "expires_at"):
        monkeypatch.setattr(with_login.sources.logins, name, read)
    found = [status.login_expires_at for status in with_login.scheduler.statuses()]
    assert found == [NOON + 4 * HOUR, NOON + 4 * HOUR, None]


def test_a_status_shows_no_session_that_has_expired(with_login: Simulation) -> None:
    with_login.start(role("deploy", source=LOGIN))
    with_login.pass_time(4 * HOUR)
    status = with_login.status("deploy")
    assert (status.mfa_serial, status.login_expires_at) == (LOGIN.serial, None)


def test_a_status_shows_a_session_that_another_process_has_started_after_a_heartbeat(
    with_login: Simulation,
) -> None:
    with_login.sources.logins.ends_at = None
    with_login.start(role("deploy", source=LOGIN))
    assert with_login.status("deploy").login_expires_at is None
    with_login.sources.logins.ends_at = NOON + 12 * HOUR
    with_login.scheduler.heartbeat()
    assert with_login.status("deploy").login_expires_at == NOON + 12 * HOUR


def test_a_login_shows_in_the_status_at_once(with_login: Simulation) -> None:
    with_login.start(role("deploy", source=LOGIN))
    with_login.sources.logins.ends_at = NOON + 12 * HOUR
    login = with_login.scheduler.log_in("deploy", "123456")
    assert login.expires_at == NOON + 12 * HOUR
    assert with_login.status("deploy").login_expires_at == NOON + 12 * HOUR


def test_a_refresh_that_starts_a_session_shows_it_in_the_status_at_once(
    with_login: Simulation,
) -> None:
    logins = with_login.sources.logins
    logins.ends_at = None

    def start_session(_: object) -> None:
        logins.ends_at = NOON + 12 * HOUR

    with_login.sts.during_call = start_session
    with_login.start(role("deploy", source=LOGIN))
    assert with_login.status("deploy").login_expires_at == NOON + 12 * HOUR


def test_an_expiration_is_logged_two_hours_before_it_and_once(
    with_login: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    with_login.start(role("deploy", source=LOGIN), role("child", parent="deploy"), role("plain"))
    with_login.run_for(2 * HOUR - MINUTE)
    assert logged(caplog, "login_expires_soon") == []
    with_login.run_for(HOUR)
    (event,) = logged(caplog, "login_expires_soon")
    assert (event["profile"], event["profiles"]) == ("deploy", "deploy, child")
    assert event["expires_at"] == NOON + 4 * HOUR
    assert "`assumed login deploy`" in event["hint"]


def test_a_session_that_a_command_starts_is_not_logged(
    with_login: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    by_command = MfaSession(LOGIN.profile, LOGIN.serial, process=("ykman",))
    with_login.sources.known[str(by_command)] = with_login.sources.known["keys"]
    with_login.start(role("deploy", source=by_command))
    with_login.run_for(3 * HOUR)
    assert logged(caplog, "login_expires_soon") == []
