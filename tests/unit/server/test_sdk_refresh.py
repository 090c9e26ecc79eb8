"""`tests.sdk_refresh` refreshes as the AWS SDKs do.

It is checked by cases of our own, and by the suite that the SDKs share, if that is on this machine.
`tests/slow/test_sdk_clients.py` uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from tests.aws_suites import suite
from tests.fakes import NOON
from tests.sdk_refresh import (
    Fetched,
    FetchFailedError,
    FinalError,
    NoCredentialsError,
    SdkCredentials,
    advisory_window,
)

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
PAUSES = (5 * MINUTE, 10 * MINUTE)


class Source:
    """Returns what the test puts into `answer`, and counts."""

    def __init__(self, answer: Fetched | Exception) -> None:
        self.answer = answer
        self.fetches = 0

    def fetch(self) -> Fetched:
        self.fetches += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("remaining", "window"),
    [
        (7.5, 5), (20, 5), (20.1, 15), (24, 15), (60, 15), (89.9, 15), (90, 60), (720, 60),
    ],
)  # fmt: skip
def test_the_window_depends_on_what_remains_at_the_fetch(remaining: float, window: int) -> None:
    assert advisory_window(remaining * MINUTE) == window * MINUTE


@pytest.mark.parametrize("pause", PAUSES)
def test_after_a_failed_fetch_a_client_uses_what_it_has_until_the_pause_ends(
    pause: timedelta,
) -> None:
    source = Source(Fetched(NOON + HOUR))
    client = SdkCredentials(source.fetch, pause=pause)
    first = client.get(NOON)
    assert client.get(NOON + 44 * MINUTE) is first
    assert source.fetches == 1
    failed_at = NOON + 45 * MINUTE
    for answer in (FetchFailedError(), Fetched(NOON)):
        source.answer = answer
        assert client.get(failed_at) is first
        assert client.get(failed_at + pause - SECOND) is first
        failed_at += pause
    assert source.fetches == 3
    source.answer = second = Fetched(NOON + 2 * HOUR)
    assert client.get(failed_at) is second


def test_a_final_error_is_raised_and_asked_for_again_after_five_seconds() -> None:
    source = Source(FinalError())
    client = SdkCredentials(source.fetch)
    for at, fetches in ((0, 1), (4, 1), (5, 2)):
        with pytest.raises(FinalError):
            client.get(NOON + at * SECOND)
        assert source.fetches == fetches
    source.answer = Fetched(NOON + HOUR)
    assert client.get(NOON + 10 * SECOND) is source.answer


def test_the_client_passes_the_suite_of_the_sdks() -> None:
    cases = suite(
        "smithy-rs/credential-refresh-tests.json", "the refresh rule of the SDKs by their suite"
    )
    assert len(cases) >= 24
    for case in cases:
        run_case(case)


REMAINING = {
    "valid": HOUR,
    "advisory": 10 * MINUTE,
    "mandatory": 30 * SECOND,
    "expired": -MINUTE,
}


def run_case(case: Mapping[str, Any]) -> None:
    """Take the steps of a case of the suite."""
    given, now = case["given"], NOON
    source = Source(FetchFailedError())
    client = SdkCredentials(
        source.fetch,
        pause=timedelta(seconds=given.get("refreshBackoffSeconds", 600)),
        window=_seconds(given.get("configuredAdvisoryWindowSeconds")),
    )
    key = given.get("accessKeyId")
    if given["cachedCredentials"] != "none":
        # Fetched an hour before, so that the window is 15 minutes.
        expiration = now + REMAINING[given["cachedCredentials"]]
        client.store(Fetched(expiration, "cached"), expiration - HOUR)
    for step in case["steps"]:
        if step["type"] == "advanceTime":
            now += timedelta(seconds=step["seconds"])
        elif step["type"] == "invalidate":
            if step["rejectedAccessKeyId"] == key:
                client.invalidate()
        else:
            lifetime = timedelta(seconds=step.get("lifetimeSeconds", 3600))
            answers: dict[str | None, Fetched | Exception] = {
                "freshCredentials": Fetched(now + lifetime),
                "staleCredentials": Fetched(now),
                "nonRecoverableError": FinalError(),
            }
            source.answer = answers.get(step.get("response"), FetchFailedError())
            before = source.fetches
            found = {
                "result": _result(client, now),
                "sourceContacted": source.fetches > before,
                "rateLimited": client.is_paused,
                "advisoryWindowSeconds": client.window.total_seconds(),
            }
            expected = step["expected"]
            assert {name: found[name] for name in expected} == expected, case["documentation"]


def _result(client: SdkCredentials, now: Any) -> str:
    try:
        return f"{client.get(now).name}Credentials"
    except NoCredentialsError:
        return "noCredentialsError"
    except FinalError:
        return "nonRecoverableError"


def _seconds(seconds: int | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
