"""MFA codes that go with AssumeRole itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from assumed.credential_sources.mfa_codes import MfaCodes, parse_mfa_code
from assumed.errors import (
    MfaCodeNeededError,
    MfaCodeRejectedError,
    SourceUnavailableError,
    UsageError,
)
from assumed.models import MfaCode, SourceProfile
from tests.fakes import FakeClock

SERIAL = "arn:aws:iam::111122223333:mfa/jane"


def source(owner: str, *process: str) -> MfaCode:
    return MfaCode(SourceProfile("keys"), SERIAL, owner, process)


@pytest.mark.parametrize("typed", ["123456", "123 456", " 123\t456\n"])
def test_a_code_may_be_typed_in_groups(typed: str) -> None:
    assert parse_mfa_code(typed) == "123456"


@pytest.mark.parametrize(
    "typed", ["", "12345", "1234567", "12345a", "123-456", "\uff11\uff12\uff13\uff14\uff15\uff16"]
)
def test_anything_else_is_no_code(typed: str) -> None:
    with pytest.raises(UsageError, match="six digits"):
        parse_mfa_code(typed)


def test_an_entered_code_is_for_one_call_of_one_profile() -> None:
    codes = MfaCodes(FakeClock(), run=lambda _: "")
    codes.supply(source("one"), "123 456")
    with pytest.raises(MfaCodeNeededError) as raised:
        codes.pop(source("two"))
    assert raised.value.hint == "enter one with `assumed login two`"
    assert codes.pop(source("one")) == "123456"
    with pytest.raises(MfaCodeNeededError):
        codes.pop(source("one"))
    with pytest.raises(MfaCodeRejectedError, match="already used"):
        codes.supply(source("two"), "123456")


def test_an_entered_code_is_forgotten_when_sts_no_longer_accepts_it() -> None:
    clock = FakeClock()
    codes = MfaCodes(clock, run=lambda _: "")
    codes.supply(source("one"), "123456")
    clock.advance(timedelta(seconds=90))
    with pytest.raises(MfaCodeNeededError):
        codes.pop(source("one"))


def test_a_command_gives_one_code_in_half_a_minute_to_all_profiles_of_a_device() -> None:
    clock = FakeClock()
    printed = iter(["111111", "222222"])
    codes = MfaCodes(clock, run=lambda _: next(printed))
    assert codes.pop(source("one", "device")) == "111111"
    with pytest.raises(SourceUnavailableError, match="does not show its next code yet"):
        codes.pop(source("two", "device"))
    clock.advance(timedelta(seconds=30))
    assert codes.pop(source("two", "device")) == "222222"
