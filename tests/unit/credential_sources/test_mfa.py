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
MINUTE = timedelta(minutes=1)


class Device:
    """Shows codes, one after the other."""

    def __init__(self, *codes: str) -> None:
        self.codes = list(codes)
        self.times = 0

    def __call__(self, command: tuple[str, ...]) -> str:
        self.times += 1
        if not self.codes:
            raise SourceUnavailableError(f"mfa_process {command[0]}: no key", hint="plug it in")
        return self.codes.pop(0)


class Bench:
    def __init__(self, folder: Path, *codes: str) -> None:
        self.clock = FakeClock()
        self.sts = FakeSts(self.clock)
        self.device = Device(*codes)
        self.folder = folder
        self.sessions = self.restarted()

    def restarted(self) -> MfaSessions:
        profiles = SourceProfiles()
        return MfaSessions(profiles, self.sts, self.clock, self.folder, run=self.device)

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
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "mfa"


def test_a_code_starts_a_session_that_lasts_until_it_ends(folder: Path) -> None:
    bench = Bench(folder)
    with pytest.raises(MfaCodeNeededError, match="no session of arn:aws:iam::111122223333:mfa/me"):
        bench.credentials(PHONE)
    assert bench.sessions.start(PHONE, "111111") == bench.clock.now() + timedelta(hours=12)
    assert bench.credentials(PHONE) == "ASIAMFA1"
    bench.clock.advance(timedelta(hours=12))
    assert bench.sessions.remaining(PHONE) == timedelta(0)
    with pytest.raises(MfaCodeNeededError):
        bench.credentials(PHONE)


def test_a_lifetime_is_told_by_the_clock_of_sts(folder: Path) -> None:
    bench = Bench(folder)
    bench.sts.skew = timedelta(hours=5)
    bench.sessions.start(PHONE, "111111")
    bench.clock.step_wall_clock(timedelta(days=-1))
    assert bench.sessions.remaining(PHONE) == timedelta(hours=12)


def test_a_session_survives_a_restart_in_a_file_that_nobody_else_can_read(folder: Path) -> None:
    bench = Bench(folder)
    bench.sessions.start(PHONE, "111111")
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    bench.clock.advance(timedelta(hours=1))
    bench.sessions = bench.restarted()
    assert bench.credentials(PHONE) == "ASIAMFA1"
    assert bench.sessions.remaining(PHONE) == timedelta(hours=11)


def test_a_session_that_another_process_has_started_is_a_change_and_is_taken(
    folder: Path,
) -> None:
    bench = Bench(folder)
    before = bench.sessions.fingerprint(PHONE)
    assert bench.sessions.remaining(PHONE) == timedelta(0)
    bench.restarted().start(PHONE, "111111")
    assert bench.sessions.fingerprint(PHONE) != before
    assert bench.credentials(PHONE) == "ASIAMFA1"


@pytest.mark.parametrize("spoil", ["mode", "link", "other", "garbage", "folder"])
def test_a_file_that_is_not_as_we_wrote_it_is_no_session(folder: Path, spoil: str) -> None:
    bench = Bench(folder)
    bench.sessions.start(PHONE, "111111")
    path = MfaCacheFile.of(folder, PHONE).path
    match spoil:
        case "mode":
            path.chmod(0o640)
        case "link":
            path.rename(folder / "real")
            path.symlink_to(folder / "real")
        case "other":
            path.write_text(path.read_text().replace("mfa/me", "mfa/you"))
        case "garbage":
            path.write_text("{")
        case "folder":
            path.unlink()
            path.mkdir()
    bench.sessions = bench.restarted()
    with pytest.raises(MfaCodeNeededError):
        bench.credentials(PHONE)


def test_what_can_not_be_kept_lasts_as_long_as_the_process(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.parent.mkdir()
    folder.write_text("no folder")
    bench = Bench(folder)
    bench.sessions.start(PHONE, "111111")
    assert bench.credentials(PHONE) == "ASIAMFA1"
    assert "mfa_session_save_failed" in caplog.text


def test_profiles_and_devices_have_a_session_each(folder: Path) -> None:
    bench = Bench(folder)
    others = MfaSession(SourceProfile("others"), PHONE.serial)
    bench.sessions.start(PHONE, "111111")
    with pytest.raises(MfaCodeNeededError):
        bench.credentials(others)
    bench.sessions.start(others, "222222")
    assert bench.credentials(others) == "ASIAMFA2"
    assert bench.credentials(PHONE) == "ASIAMFA1"


def test_a_code_is_used_once(folder: Path) -> None:
    bench = Bench(folder)
    others = MfaSession(SourceProfile("others"), PHONE.serial)
    bench.sessions.start(PHONE, "111111")
    for source in (PHONE, others):
        with pytest.raises(MfaCodeRejectedError, match="used already") as refused:
            bench.sessions.start(source, "111111")
        assert "111111" not in str(refused.value)
    assert len(bench.sts.codes) == 1
    bench.clock.advance(2 * MINUTE)
    bench.sessions.start(others, "111111")


@pytest.mark.parametrize(
    "code", ["", "12345", "1234567", "12345a", "\u0661\u0662\u0663\u0664\u0665\u0666"]
)
def test_what_is_no_code_is_sent_nowhere_and_quoted_nowhere(folder: Path, code: str) -> None:
    bench = Bench(folder)
    with pytest.raises(UsageError) as refused:
        bench.sessions.start(PHONE, code)
    assert not code or code not in str(refused.value)
    assert bench.sts.codes == []


def test_temporary_credentials_can_start_no_session(folder: Path, aws_files: Path) -> None:
    aws_files.write_text(f"{KEYS}aws_session_token = a-token\n")
    bench = Bench(folder)
    with pytest.raises(SourceMissingError, match="starts from long-term keys alone"):
        bench.sessions.start(PHONE, "111111")
    assert bench.sts.codes == []


KEY = MfaSession(PHONE.profile, PHONE.serial, process=("ykman",))


def test_a_command_gives_a_code_when_one_is_needed_and_no_sooner(folder: Path) -> None:
    bench = Bench(folder, "111111", "222222")
    assert [bench.credentials(KEY) for _ in range(3)] == ["ASIAMFA1"] * 3
    assert bench.device.times == 1
    bench.clock.advance(timedelta(hours=12))
    assert bench.credentials(KEY) == "ASIAMFA2"


def test_two_serials_of_one_device_wait_for_its_next_code(folder: Path) -> None:
    bench = Bench(folder, "111111", "222222")
    second = MfaSession(
        SourceProfile("others"), "arn:aws:iam::444455556666:mfa/me", process=("ykman",)
    )
    assert bench.credentials(KEY) == "ASIAMFA1"
    with pytest.raises(SourceUnavailableError, match="not shown its next code"):
        bench.credentials(second)
    assert bench.device.times == 1
    bench.clock.advance(timedelta(seconds=30))
    assert bench.credentials(second) == "ASIAMFA2"


def test_many_who_ask_at_once_run_a_command_that_fails_once(folder: Path) -> None:
    bench = Bench(folder)
    for _ in range(4):
        with pytest.raises(SourceUnavailableError, match="no key"):
            bench.credentials(KEY)
    assert bench.device.times == 1
    bench.clock.advance(timedelta(seconds=1))
    bench.device.codes.append("111111")
    assert bench.credentials(KEY) == "ASIAMFA1"


def test_a_session_that_sts_rejects_is_not_used_again(folder: Path) -> None:
    bench = Bench(folder)
    bench.sessions.start(PHONE, "111111")
    lost = bench.sessions.resolve(PHONE)
    lost.credentials()
    lost.forget()
    with pytest.raises(MfaCodeNeededError):
        bench.credentials(PHONE)
    bench.sessions.start(PHONE, "222222")
    assert bench.credentials(PHONE) == "ASIAMFA2"


def test_a_session_that_was_started_meanwhile_is_not_rejected_with_the_one_before(
    folder: Path,
) -> None:
    bench = Bench(folder)
    bench.sessions.start(PHONE, "111111")
    lost = bench.sessions.resolve(PHONE)
    lost.credentials()
    bench.sessions.start(PHONE, "222222")
    lost.forget()
    assert bench.credentials(PHONE) == "ASIAMFA2"


def test_a_failed_start_keeps_the_session_that_there_is(folder: Path) -> None:
    bench = Bench(folder)
    bench.sessions.start(PHONE, "111111")
    bench.sts.failures.append(StsUnavailableError("no answer", hint="wait"))
    with pytest.raises(StsUnavailableError):
        bench.sessions.start(PHONE, "222222")
    assert bench.credentials(PHONE) == "ASIAMFA1"


def test_the_session_itself_is_renewed_where_a_command_can(folder: Path) -> None:
    bench = Bench(folder, "111111", "222222")
    first = bench.sessions.resolve(KEY).temporary(other_than=None)
    bench.clock.advance(MINUTE)
    second = bench.sessions.resolve(KEY).temporary(other_than=first.access_key_id)
    assert (first.access_key_id, second.access_key_id) == ("ASIAMFA1", "ASIAMFA2")
    bench.sessions.start(PHONE, "333333")
    typed = bench.sessions.resolve(PHONE)
    assert typed.temporary(other_than="ASIAMFA3").access_key_id == "ASIAMFA3"


def test_the_end_of_a_login_is_told_once_two_hours_ahead(
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


def test_a_login_is_for_profiles_that_hang_on_a_code(simulation: Simulation) -> None:
    simulation.sources.known[str(PHONE)] = simulation.sources.known["keys"]
    simulation.sources.logins.ends_at = simulation.clock.now() + timedelta(hours=12)
    simulation.start(role("first", source=PHONE), role("child", parent="first"), role("plain"))
    login = simulation.scheduler.log_in("child", "111111")
    assert (login.profile, login.mfa_serial) == ("child", PHONE.serial)
    for profile in ("plain", "nowhere"):
        with pytest.raises(UsageError):
            simulation.scheduler.log_in(profile, "222222")
    assert simulation.sources.logins.codes == ["111111"]


def test_a_device_under_defaults_is_that_of_source_profiles_alone() -> None:
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
def test_nobody_who_looks_waits_for_a_login_that_hangs(folder: Path, hanging: str) -> None:
    source = replace(PHONE, process=("ask-device",))
    bench = Bench(folder, "111111", "222222")
    bench.credentials(source)
    others = [source, PHONE]
    seen: list[object] = []

    def look() -> None:
        looking = Thread(
            target=lambda: seen.extend(
                (bench.sessions.remaining(other), bench.sessions.fingerprint(other))
                for other in others
            ),
            daemon=True,
        )
        looking.start()
        looking.join(timeout=10)

    bench.clock.advance(13 * 60 * MINUTE)
    ask_device, ask_sts = bench.device.__call__, bench.sts.get_session_token

    def hanging_device(command: tuple[str, ...]) -> str:
        look()
        return ask_device(command)

    def hanging_sts(*arguments: Any) -> Any:
        look()
        return ask_sts(*arguments)

    if hanging == "STS":
        bench.sts.get_session_token = hanging_sts  # type: ignore[method-assign,assignment]
    else:
        bench.sessions._run = hanging_device
    assert bench.credentials(source) == "ASIAMFA2"
    assert len(seen) == len(others), "both were told while it hung"
