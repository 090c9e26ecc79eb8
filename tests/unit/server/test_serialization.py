from __future__ import annotations

import json
from dataclasses import replace

import pytest

from assumed.models import Outcome, ProfileState, Status
from assumed.server.serialization import (
    outcome_from_json,
    outcome_to_json,
    status_from_json,
    status_to_json,
)
from tests.fake_daemon import DEPLOY, FAILURE, FRESH, STATUS
from tests.fakes import NOON


def test_status_to_json_has_the_documented_fields_in_order() -> None:
    content = status_to_json(STATUS)
    assert json.loads(json.dumps(content)) == content
    assert list(content) == ["version", "daemon", "profiles"]
    assert list(content["daemon"]) == [
        "pid",
        "version",
        "started_at",
        "config",
        "config_error",
        "clock_skew_seconds",
        "endpoint_clock_skew_seconds",
        "log_error",
        "local_fault",
    ]
    assert list(content["profiles"][0]) == [
        "profile",
        "role_arn",
        "source",
        "store",
        "state",
        "expires_at",
        "seconds_left",
        "lifetime_seconds",
        "refreshed_at",
        "next_attempt_at",
        "refreshes",
        "consecutive_failures",
        "last_error",
        "mfa_serial",
        "login_expires_at",
        "waiting_for",
        "waiting_seconds",
        "region",
        "config_profiles",
    ]
    assert content == {
        "version": 1,
        "daemon": {
            "pid": 812,
            "version": "0.1.0",
            "started_at": "2026-11-24T12:00:00Z",
            "config": "config.yaml",
            "config_error": "line 3: no",
            "clock_skew_seconds": 0,
            "endpoint_clock_skew_seconds": {},
            "log_error": None,
            "local_fault": None,
        },
        "profiles": [
            {
                "profile": "deploy",
                "role_arn": "arn:aws:iam::111122223333:role/deploy",
                "source": "profile keys",
                "store": "file",
                "state": "failing",
                "expires_at": "2026-11-24T13:00:00Z",
                "seconds_left": 2710,
                "lifetime_seconds": 3600,
                "refreshed_at": "2026-11-24T12:00:00Z",
                "next_attempt_at": "2026-11-24T12:30:00Z",
                "refreshes": 31,
                "consecutive_failures": 2,
                "last_error": {
                    "code": "AccessDenied",
                    "message": "no",
                    "hint": "ask",
                    "at": "2026-11-24T12:00:00Z",
                },
                "mfa_serial": None,
                "login_expires_at": None,
                "waiting_for": None,
                "waiting_seconds": None,
                "region": None,
                "config_profiles": [],
            },
            {
                "profile": "fresh",
                "role_arn": "arn:aws:iam::111122223333:role/fresh",
                "source": "managed profile deploy",
                "store": "file",
                "state": "pending",
                "expires_at": None,
                "seconds_left": None,
                "lifetime_seconds": None,
                "refreshed_at": None,
                "next_attempt_at": None,
                "refreshes": 0,
                "consecutive_failures": 0,
                "last_error": None,
                "mfa_serial": None,
                "login_expires_at": None,
                "waiting_for": None,
                "waiting_seconds": None,
                "region": None,
                "config_profiles": [],
            },
        ],
    }


def test_status_to_json_has_a_null_daemon_if_none_runs() -> None:
    assert status_to_json(Status(daemon=None, profiles=())) == {
        "version": 1,
        "daemon": None,
        "profiles": [],
    }


@pytest.mark.parametrize("state", ProfileState)
def test_status_from_json_is_the_inverse_of_status_to_json(state: ProfileState) -> None:
    status = replace(STATUS, profiles=(replace(DEPLOY, state=state), FRESH))
    assert status_from_json(json.loads(json.dumps(status_to_json(status)))) == status
    empty = Status(daemon=None, profiles=())
    assert status_from_json(status_to_json(empty)) == empty


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(profile="deploy"),
        Outcome(profile="deploy", was_fresh=True, expires_at=NOON),
        Outcome(profile="deploy", failure=FAILURE),
    ],
)
def test_outcome_from_json_is_the_inverse_of_outcome_to_json(outcome: Outcome) -> None:
    content = json.loads(json.dumps(outcome_to_json(outcome)))
    assert list(content) == ["profile", "was_fresh", "expires_at", "failure"]
    assert outcome_from_json(content) == outcome


def test_the_status_of_a_daemon_of_an_earlier_version_is_read() -> None:
    content = status_to_json(Status(daemon=None, profiles=(DEPLOY,)))
    for field in ("region", "config_profiles"):
        del content["profiles"][0][field]
    assert status_from_json(content).profiles == (DEPLOY,)
