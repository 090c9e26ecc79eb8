"""The result of `check --live` for one profile, and how it is printed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from assumed.app.live_check import CallTrace, LiveCheck
from assumed.cli.output import format_live_check
from assumed.errors import AssumeRoleDeniedError
from assumed.models import (
    Credentials,
    Failure,
    Outcome,
    ProfileDefinition,
    RoleSession,
    SourceProfile,
    WebIdentity,
)
from tests.fakes import NOON

DEFINITION = ProfileDefinition(
    profile="deploy",
    role_arn="arn:aws:iam::111122223333:role/deploy",
    source=SourceProfile("keys"),
    role_session_name="me",
    duration_seconds=43200,
)
CREDENTIALS = Credentials(
    access_key_id="ASIA",
    secret_access_key="no-secret",
    session_token="no-token",
    expiration=NOON,
    principal_arn="arn:aws:sts::111122223333:assumed-role/deploy/me",
)
ME = "arn:aws:iam::111122223333:user/me"


def lines(
    *,
    definition: ProfileDefinition = DEFINITION,
    lifetime: timedelta | None = None,
    code: str = AssumeRoleDeniedError.code,
    hint: str = "fix it",
    trace: CallTrace | None = None,
) -> list[str]:
    failure = Failure(code=code, message="no", hint=hint, at=NOON)
    session = (
        None
        if lifetime is None
        else RoleSession(credentials=CREDENTIALS, expires_at=0, lifetime=lifetime)
    )
    check = LiveCheck(
        definition=definition,
        outcome=Outcome(profile="deploy", failure=None if session else failure),
        session=session,
        trace=trace or CallTrace(ME, timedelta(milliseconds=84.4)),
    )
    return format_live_check(check).splitlines()


def test_live_check_lines_show_role_lifetime_and_source() -> None:
    assert lines(lifetime=timedelta(hours=12)) == [
        "deploy: arn:aws:sts::111122223333:assumed-role/deploy/me, valid for 12h00m, answered in "
        "84 ms",
        f"  from profile keys: {ME}",
    ]


def test_format_live_check_reports_a_shorter_session_than_requested() -> None:
    assert "valid for 1h00m instead of 12h00m" in lines(lifetime=timedelta(hours=1))[0]


def test_live_check_lines_compare_no_lifetime_without_a_role() -> None:
    own = replace(DEFINITION, role_arn=None)
    shown = lines(definition=own, lifetime=timedelta(hours=8))[0]
    assert shown.endswith("/deploy/me, valid for 8h00m, answered in 84 ms")


def test_live_check_lines_omit_the_caller_if_unknown() -> None:
    assert lines(trace=CallTrace(), code="SourceMissing") == [
        "deploy: SourceMissing: no",
        "  from profile keys",
        "  fix it",
    ]


def test_a_denial_has_likely_causes_and_a_statement_to_paste() -> None:
    statement = {"Effect": "Allow", "Principal": {"AWS": ME}, "Action": "sts:AssumeRole"}
    shown = lines(hint=f"allow it. In the trust policy: {json.dumps(statement)}")
    assert shown[:3] == [
        "deploy: AccessDenied: no",
        f"  from profile keys: {ME}, failed after 84 ms",
        "  allow it",
    ]
    start = shown.index("{")
    assert shown[start - 1] == "  for the trust policy of arn:aws:iam::111122223333:role/deploy:"
    assert json.loads("\n".join(shown[start:])) == statement
    assert all(line.startswith("  - ") for line in shown[3 : start - 1])


def test_live_check_lines_escape_control_characters() -> None:
    trace = CallTrace("arn:\x1b[2J", timedelta(seconds=1))
    shown = "\n".join(lines(trace=trace, hint="a\x1b]0;title\x07b"))
    assert "\x1b" not in shown
    assert r"a\x1b]0;title\x07b" in shown


def test_causes_do_not_mention_external_id_for_a_web_identity() -> None:
    by_token = replace(DEFINITION, source=WebIdentity(Path("/token")))
    assert "external_id" not in "\n".join(lines(definition=by_token))


@pytest.mark.parametrize(
    ("definition", "cause"),
    [
        (DEFINITION, "has no external_id"),
        (replace(DEFINITION, external_id="abc"), "has an external_id"),
        (replace(DEFINITION, tags={"team": "build"}), "sts:TagSession"),
        (replace(DEFINITION, source_identity="me"), "sts:SetSourceIdentity"),
    ],
)
def test_causes_mention_what_the_definition_sends(
    definition: ProfileDefinition, cause: str
) -> None:
    assert cause in "\n".join(lines(definition=definition))
    assert "  - " not in "\n".join(lines(definition=definition, code="Throttling"))
