"""What `check --live` prints of one profile."""

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
    hint: str = "mend it",
    seen: CallTrace | None = None,
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
        seen=seen or CallTrace(ME, timedelta(milliseconds=84.4)),
    )
    return format_live_check(check).splitlines()


def test_who_it_became_for_how_long_and_from_whom() -> None:
    assert lines(lifetime=timedelta(hours=12)) == [
        "deploy: arn:aws:sts::111122223333:assumed-role/deploy/me, valid for 12h00m, answered in "
        "84 ms",
        f"  from profile keys: {ME}",
    ]


def test_a_session_that_is_shorter_than_asked_for_is_told() -> None:
    assert "valid for 1h00m instead of 12h00m" in lines(lifetime=timedelta(hours=1))[0]


def test_of_credentials_of_its_own_nobody_asked_for_a_length() -> None:
    own = replace(DEFINITION, role_arn=None)
    shown = lines(definition=own, lifetime=timedelta(hours=8))[0]
    assert shown.endswith("/deploy/me, valid for 8h00m, answered in 84 ms")


def test_what_was_not_seen_is_not_told() -> None:
    assert lines(seen=CallTrace(), code="SourceMissing") == [
        "deploy: SourceMissing: no",
        "  from profile keys",
        "  mend it",
    ]


def test_a_denial_has_its_likely_causes_and_a_statement_to_paste() -> None:
    statement = {"Effect": "Allow", "Principal": {"AWS": ME}, "Action": "sts:AssumeRole"}
    shown = lines(hint=f"allow it. In the trust policy: {json.dumps(statement)}")
    assert shown[:3] == [
        "deploy: AccessDenied: no",
        f"  from profile keys: {ME}, answered in 84 ms",
        "  allow it",
    ]
    start = shown.index("{")
    assert shown[start - 1] == "  for the trust policy of arn:aws:iam::111122223333:role/deploy:"
    assert json.loads("\n".join(shown[start:])) == statement
    assert all(line.startswith("  - ") for line in shown[3 : start - 1])


def test_what_a_server_or_a_program_has_said_steers_no_terminal() -> None:
    said = CallTrace("arn:\x1b[2J", timedelta(seconds=1))
    shown = "\n".join(lines(seen=said, hint="a\x1b]0;title\x07b"))
    assert "\x1b" not in shown
    assert r"a\x1b]0;title\x07b" in shown


def test_a_token_goes_with_no_external_id() -> None:
    by_token = replace(DEFINITION, source=WebIdentity(Path("/token")))
    assert "external_id" not in "\n".join(lines(definition=by_token))


@pytest.mark.parametrize(
    ("definition", "cause"),
    [
        (DEFINITION, "it sends no external_id"),
        (replace(DEFINITION, external_id="abc"), "it sends an external_id"),
        (replace(DEFINITION, tags={"team": "build"}), "sts:TagSession"),
        (replace(DEFINITION, source_identity="me"), "sts:SetSourceIdentity"),
    ],
)
def test_what_a_definition_sends_may_be_why_it_is_denied(
    definition: ProfileDefinition, cause: str
) -> None:
    assert cause in "\n".join(lines(definition=definition))
    assert "  - " not in "\n".join(lines(definition=definition, code="Throttling"))
