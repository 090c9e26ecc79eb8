"""The skew of this machine's clock, if endpoints differ."""

from __future__ import annotations

from datetime import timedelta

import pytest

from assumed.app.daemon_api import clock_skew_seconds

AWS, OWN = "https://sts.us-east-1.amazonaws.com", "http://127.0.0.1:4566"
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("skews", "expected"),
    [
        ({}, (0, {})),
        ({AWS: HOUR}, (3600, {})),
        ({AWS: HOUR, OWN: HOUR + timedelta(seconds=30)}, (3600, {})),
        ({AWS: timedelta(0), OWN: -HOUR}, (0, {OWN: -3600})),
        ({AWS: HOUR, OWN: 3 * HOUR}, (3600, {OWN: 10800})),
    ],
)
def test_the_clock_of_an_endpoint_is_wrong_if_another_one_agrees_with_this_machine(
    skews: dict[str, timedelta], expected: tuple[int, dict[str, int]]
) -> None:
    assert clock_skew_seconds(skews) == expected
