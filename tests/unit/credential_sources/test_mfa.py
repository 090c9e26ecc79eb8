from __future__ import annotations

import os
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from assumed.config import loader
from assumed.credential_sources.base import SourceProfiles
from assumed.credential_sources.mfa import MfaSessions
from assumed.credential_sources.mfa_cache import MfaCacheFile
from assumed.errors import (
    MfaCodeNeededError,
    MfaCodeRejectedError,
    SourceMissingError,
    SourceUnavailableError,
    StsUnavailableError,
    UsageError,
)
from assumed.models import ManagedProfile, MfaSession, SourceProfile
from tests.fakes import FakeClock, FakeSts, Simulation, role

PHONE = MfaSession(SourceProfile("keys"), "arn:aws:iam::111122223333:mfa/me")
KEYS = "[keys]\naws_access_key_id = AKIAFIRST\naws_secret_access_key = first-secret\n"
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


class Device:
    """An MFA device that shows one code after the other."""

    def __init__(self, *codes: str) -> None:
        self.codes = list(codes)
        self.times = 0

    def __call__(self, command: tuple[str, ...]) -> str:
        self.times += 1
        if not self.codes:
            raise SourceUnavailableError(f"mfa_process {command[0]}: no key", hint="plug it in")
        return self.codes.pop(0)


class Bench:
    def __init__(self, directory: Path, *codes: str) -> None:
        self.clock = FakeClock()
        self.sts = FakeSts(self.clock)
        self.device = Device(*codes)
        self.directory = directory
        self.sessions = self.restarted()

    def restarted(self) -> MfaSessions:
        profiles = SourceProfiles()
        return MfaSessions(profiles, self.sts, self.clock, self.directory, run=self.device)

    def credentials(self, source: MfaSession) -> str:
        return self.sessions.resolve(source).credentials().access_key_id


@pytest.fixture(autouse=True)
def aws_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    path = tmp_path / "credentials"
    path.write_text(KEYS + KEYS.replace("[keys]", "[others]"))
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "mfa"


def test_start_returns_the_expiration_and_credentials_last_until_then(directory: Path) -> None:
    bench = Bench(directory)
    with pytest.raises(
        MfaCodeNeededError, match="no valid MFA session of arn:aws:iam::111122223333:mfa/me"
    ):
        bench.credentials(PHONE)
    assert bench.sessions.start(PHONE, "111111") == bench.clock.now() + timedelta(hours=12)
    assert bench.credentials(PHONE) == "ASIAMFA1"
    bench.clock.advance(timedelta(hours=12))
    assert bench.sessions.remaining(PHONE) == timedelta(0)
    with pytest.raises(MfaCodeNeededError):
        bench.credentials(PHONE)


def test_remaining_is_measured_with_the_clock_of_sts(directory: Path) -> None:
    bench = Bench(directory)
    bench.sts.skew = timedelta(hours=5)
    bench.sessions.start(PHONE, "111111")
    bench.clock.step_wall_clock(timedelta(days=-1))
    assert bench.sessions.remaining(PHONE) == timedelta(hours=12)


def test_a_session_survives_a_restart_in_a_private_file(directory: Path) -> None:
    bench = Bench(directory)
    bench.sessions.start(PHONE, "111111")
    (path,) = directory.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    bench.clock.advance(timedelta(hours=1))
    bench.sessions = bench.restarted()
    assert bench.credentials(PHONE) == "ASIAMFA1"
    assert bench.sessions.remaining(PHONE) == timedelta(hours=11)


def test_a_wall_clock_that_was_behind_at_the_start_shortens_a_stored_session_once_it_is_set(
    directory: Path,
) -> None:
    bench = Bench(directory)
    bench.sessions.start(PHONE, "111111")
    bench.clock.step_wall_clock(-5 * HOUR)
    bench.sessions = bench.restarted()
    assert bench.sessions.remaining(PHONE) == 17 * HOUR
    bench.clock.step_wall_clock(6 * HOUR)
    assert bench.sessions.remaining(PHONE) == 11 * HOUR
    bench.clock.step_wall_clock(-9 * HOUR)
    assert bench.sessions.remaining(PHONE) == 11 * HOUR


def test_a_stored_session_is_measured_with_the_time_of_its_endpoint_if_it_is_known(
    directory: Path,
) -> None:
    bench = Bench(directory)
    bench.sessions.start(PHONE, "111111")
    bench.clock.step_wall_clock(5 * HOUR)
    bench.sts.mfa_ahead = -5 * HOUR
    bench.sessions = bench.restarted()
    assert bench.sessions.remaining(PHONE) == 12 * HOUR


def test_a_session_started_by_another_process_changes_the_fingerprint_and_is_used(
    directory: Path,
) -> None:
    bench = Bench(directory)
    before = bench.sessions.fingerprint(PHONE)
    assert bench.sessions.remaining(PHONE) == timedelta(0)
    bench.restarted().start(PHONE, "111111")
    assert bench.sessions.fingerprint(PHONE) != before
    assert bench.credentials(PHONE) == "ASIAMFA1"


@pytest.mark.parametrize("spoil", ["mode", "link", "other", "garbage", "directory"])
def test_an_insecure_or_malformed_cache_file_is_ignored(directory: Path, spoil: str) -> None:
    bench = Bench(directory)
    bench.sessions.start(PHONE, "111111")
    path = MfaCacheFile.of(directory, PHONE).path
    match spoil:
        case "mode":
            path.chmod(0o640)
        case "link":
            path.rename(directory / "real")
            path.symlink_to(directory / "real")
        case "other":
            path.write_text(path.read_text().replace("mfa/me", "mfa/you"))
        case "garbage":
            path.write_text("{")
        case "directory":
            path.unlink()
            path.mkdir()
    bench.sessions = bench.restarted()
    with pytest.raises(MfaCodeNeededError):
        bench.credentials(PHONE)


def test_a_session_that_cannot_be_saved_lasts_as_long_as_the_process(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory.parent.mkdir()
    directory.write_text("not a directory")
    bench = Bench(directory)
    bench.sessions.start(PHONE, "111111")
    assert bench.credentials(PHONE) == "ASIAMFA1"
    assert "mfa_session_save_failed" in caplog.text


def test_each_profile_and_device_has_its_own_session(directory: Path) -> None:
    bench = Bench(directory)
    others = MfaSession(SourceProfile("others"), PHONE.serial)
    bench.sessions.start(PHONE, "111111")
    with pytest.raises(MfaCodeNeededError):
        bench.credentials(others)
    bench.sessions.start(others, "222222")
    assert bench.credentials(others) == "ASIAMFA2"
    assert bench.credentials(PHONE) == "ASIAMFA1"


def test_start_accepts_a_code_once(directory: Path) -> None:
    bench = Bench(directory)
    others = MfaSession(SourceProfile("others"), PHONE.serial)
    bench.sessions.start(PHONE, "111111")
    for source in (PHONE, others):
        with pytest.raises(MfaCodeRejectedError, match="already used") as refused:
            bench.sessions.start(source, "111111")
        assert "111111" not in str(refused.value)
    assert len(bench.sts.codes) == 1
    bench.clock.advance(2 * MINUTE)
    bench.sessions.start(others, "111111")


@pytest.mark.parametrize(
    "code", ["", "12345", "1234567", "12345a", "\u0661\u0662\u0663\u0664\u0665\u0666"]
)
def test_start_neither_sends_nor_quotes_an_invalid_code(directory: Path, code: str) -> None:
    bench = Bench(directory)
    with pytest.raises(UsageError) as refused:
        bench.sessions.start(PHONE, code)
    assert not code or code not in str(refused.value)
    assert bench.sts.codes == []


def test_start_requires_long_term_keys(directory: Path, aws_files: Path) -> None:
    aws_files.write_text(f"{KEYS}aws_session_token = a-token\n")
    bench = Bench(directory)
    with pytest.raises(SourceMissingError, match="requires long-term keys"):
        bench.sessions.start(PHONE, "111111")
    assert bench.sts.codes == []


KEY = MfaSession(PHONE.profile, PHONE.serial, process=("ykman",))


def test_a_command_runs_only_when_a_code_is_needed(directory: Path) -> None:
    bench = Bench(directory, "111111", "222222")
    assert [bench.credentials(KEY) for _ in range(3)] == ["ASIAMFA1"] * 3
    assert bench.device.times == 1
    bench.clock.advance(timedelta(hours=12))
    assert bench.credentials(KEY) == "ASIAMFA2"


def test_two_serials_of_one_device_wait_for_its_next_code(directory: Path) -> None:
    bench = Bench(directory, "111111", "222222")
    second = MfaSession(
        SourceProfile("others"), "arn:aws:iam::444455556666:mfa/me", process=("ykman",)
    )
    assert bench.credentials(KEY) == "ASIAMFA1"
    with pytest.raises(SourceUnavailableError, match="does not show its next code"):
        bench.credentials(second)
    assert bench.device.times == 1
    bench.clock.advance(timedelta(seconds=30))
    assert bench.credentials(second) == "ASIAMFA2"


def test_a_failing_command_runs_once_for_simultaneous_requests(directory: Path) -> None:
    bench = Bench(directory)
    for _ in range(4):
        with pytest.raises(SourceUnavailableError, match="no key"):
            bench.credentials(KEY)
    assert bench.device.times == 1
    bench.clock.advance(timedelta(seconds=1))
    bench.device.codes.append("111111")
    assert bench.credentials(KEY) == "ASIAMFA1"


def test_a_session_that_sts_rejects_is_not_used_again(directory: Path) -> None:
    bench = Bench(directory)
    bench.sessions.start(PHONE, "111111")
    lost = bench.sessions.resolve(PHONE)
    lost.credentials()
    lost.forget()
    with pytest.raises(MfaCodeNeededError):
        bench.credentials(PHONE)
    bench.sessions.start(PHONE, "222222")
    assert bench.credentials(PHONE) == "ASIAMFA2"


def test_forget_does_not_reject_a_session_that_was_started_meanwhile(
    directory: Path,
) -> None:
    bench = Bench(directory)
    bench.sessions.start(PHONE, "111111")
    lost = bench.sessions.resolve(PHONE)
    lost.credentials()
    bench.sessions.start(PHONE, "222222")
    lost.forget()
    assert bench.credentials(PHONE) == "ASIAMFA2"


def test_a_failed_start_keeps_the_current_session(directory: Path) -> None:
    bench = Bench(directory)
    bench.sessions.start(PHONE, "111111")
    bench.sts.failures.append(StsUnavailableError("no answer", hint="wait"))
    with pytest.raises(StsUnavailableError):
        bench.sessions.start(PHONE, "222222")
    assert bench.credentials(PHONE) == "ASIAMFA1"


def test_temporary_starts_a_replacement_if_a_command_gives_the_code(directory: Path) -> None:
    bench = Bench(directory, "111111", "222222")
    first = bench.sessions.resolve(KEY).temporary(other_than=None)
    bench.clock.advance(MINUTE)
    second = bench.sessions.resolve(KEY).temporary(other_than=first.access_key_id)
    assert (first.access_key_id, second.access_key_id) == ("ASIAMFA1", "ASIAMFA2")
    bench.sessions.start(PHONE, "333333")
    typed = bench.sessions.resolve(PHONE)
    assert typed.temporary(other_than="ASIAMFA3").access_key_id == "ASIAMFA3"


def test_the_expiration_of_a_login_is_logged_once_two_hours_ahead(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    simulation.sources.known[str(PHONE)] = simulation.sources.known["keys"]
    simulation.sources.logins.ends_at = simulation.clock.now() + timedelta(hours=3)
    first, second = role("first", source=PHONE), role("second", source=PHONE)
    simulation.start(first, second, role("child", parent="first"), role("plain"))
    simulation.run_for(timedelta(minutes=59))
    assert "login_expires_soon" not in caplog.text
    simulation.run_for(timedelta(minutes=30))
    assert caplog.text.count("login_expires_soon") == 1
    status = simulation.status("child")
    assert status.mfa_serial == PHONE.serial
    assert status.login_expires_at == simulation.sources.logins.ends_at
    assert simulation.status("plain").mfa_serial is None


def test_log_in_requires_a_profile_with_an_mfa_session(simulation: Simulation) -> None:
    simulation.sources.known[str(PHONE)] = simulation.sources.known["keys"]
    simulation.sources.logins.ends_at = simulation.clock.now() + timedelta(hours=12)
    simulation.start(role("first", source=PHONE), role("child", parent="first"), role("plain"))
    login = simulation.scheduler.log_in("child", "111111")
    assert (login.profile, login.mfa_serial) == ("child", PHONE.serial)
    for profile in ("plain", "nowhere"):
        with pytest.raises(UsageError):
            simulation.scheduler.log_in(profile, "222222")
    assert simulation.sources.logins.codes == ["111111"]


def test_mfa_serial_under_defaults_applies_to_source_profiles_only() -> None:
    text = """\
defaults:
  source_profile: keys
  mfa_serial: arn:aws:iam::111122223333:mfa/me
  mfa_process: ykman oath accounts code --single 'my AWS'
  mfa_session: 36h
profiles:
  hub: {role_arn: "arn:aws:iam::111122223333:role/hub", duration_seconds: 12h}
  deploy: {role_arn: "arn:aws:iam::111122223333:role/deploy", source_profile: hub}
  session: {}
"""
    profiles = loader.parse(text.encode(), Path("c"), user="me", host="here").profiles
    expected = MfaSession(
        SourceProfile("keys"),
        PHONE.serial,
        timedelta(hours=36),
        ("ykman", "oath", "accounts", "code", "--single", "my AWS"),
    )
    assert profiles["hub"].source == profiles["session"].source == expected
    assert profiles["deploy"].source == ManagedProfile("hub")
    assert profiles["session"].role_arn is None


@pytest.mark.parametrize("hanging", ["STS", "the command"])
def test_remaining_and_fingerprint_do_not_wait_for_a_start_that_hangs(
    directory: Path, hanging: str
) -> None:
    source = replace(PHONE, process=("ask-device",))
    bench = Bench(directory, "111111", "222222")
    bench.credentials(source)
    others = [source, PHONE]
    seen: list[object] = []

    def call_both() -> None:
        calling = Thread(
            target=lambda: seen.extend(
                (bench.sessions.remaining(other), bench.sessions.fingerprint(other))
                for other in others
            ),
            daemon=True,
        )
        calling.start()
        calling.join(timeout=10)

    bench.clock.advance(13 * 60 * MINUTE)
    ask_device, ask_sts = bench.device.__call__, bench.sts.get_session_token

    def hanging_device(command: tuple[str, ...]) -> str:
        call_both()
        return ask_device(command)

    def hanging_sts(*arguments: Any) -> Any:
        call_both()
        return ask_sts(*arguments)

    if hanging == "STS":
        bench.sts.get_session_token = hanging_sts  # type: ignore[method-assign,assignment]
    else:
        bench.sessions.codes._run = hanging_device
    assert bench.credentials(source) == "ASIAMFA2"
    assert len(seen) == len(others), "a call has waited"
