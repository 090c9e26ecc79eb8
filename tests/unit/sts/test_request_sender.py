from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore import exceptions

from assumed.errors import ClockSkewedError, StsUnavailableError
from assumed.sts.clock_skew import ClockSkewTracker
from assumed.sts.request_sender import RequestSender, StsRequest
from assumed.sts.responses import CallerIdentity, parse_caller_identity
from tests.fakes import FakeClock, role

URL = "https://sts.us-east-1.amazonaws.com"
DATE = "Tue, 24 Nov 2026 12:00:00 GMT"
METADATA = {"HTTPHeaders": {"date": DATE}, "HTTPStatusCode": 403}
ARN = "arn:aws:iam::111122223333:user/me"
CLOSED = exceptions.ConnectionClosedError(endpoint_url=URL)
SKEWED = exceptions.ClientError(
    {
        "Error": {"Code": "SignatureDoesNotMatch", "Message": "Signature expired: ..."},
        "ResponseMetadata": METADATA,  # type: ignore[typeddict-item]  # the rest is not read
    },
    "GetCallerIdentity",
)


class Server:
    """A client of botocore that fails some times; each request takes two seconds."""

    def __init__(self, *failures: Exception) -> None:
        self.clock = FakeClock()
        self._failures = list(failures)
        self.requests: list[Mapping[str, Any]] = []
        self.measured: list[StsRequest] = []
        self.client: Any = SimpleNamespace(
            meta=SimpleNamespace(endpoint_url=URL), get_caller_identity=self._answer
        )
        self.sender = RequestSender(self.clock, ClockSkewTracker(self.clock), self.measured.append)

    def _answer(self, **parameters: Any) -> Mapping[str, Any]:
        self.requests.append(parameters)
        self.clock.advance(timedelta(seconds=2))
        if self._failures:
            raise self._failures.pop(0)
        return {"Arn": ARN, "ResponseMetadata": METADATA}

    def request(self, **parameters: Any) -> CallerIdentity:
        return self.sender.request(
            role("deploy"), self.client, "GetCallerIdentity", parse_caller_identity, **parameters
        )


def test_a_request_is_measured_and_names_who_was_asked_for() -> None:
    server = Server()
    assert server.request().arn == ARN
    assert server.measured == [StsRequest("deploy", "GetCallerIdentity", timedelta(seconds=2), ARN)]


def test_a_request_on_a_connection_that_sts_has_closed_is_repeated_once() -> None:
    server = Server(CLOSED)
    assert server.request(Tag="x").arn == ARN
    assert server.requests == [{"Tag": "x"}, {"Tag": "x"}]
    server = Server(CLOSED, CLOSED)
    with pytest.raises(StsUnavailableError):
        server.request()
    assert len(server.requests) == 2
    assert [(each.took, each.identity_arn) for each in server.measured] == [
        (timedelta(seconds=4), None)
    ]


def test_a_request_with_an_mfa_code_is_never_repeated() -> None:
    server = Server(CLOSED)
    with pytest.raises(StsUnavailableError):
        server.request(TokenCode="123456")
    assert len(server.requests) == 1


def test_a_signature_with_the_wrong_time_is_repeated_once_the_time_is_known() -> None:
    server = Server(SKEWED)
    server.clock.step_wall_clock(timedelta(hours=2))
    assert server.request().arn == ARN
    assert len(server.requests) == len(server.measured) == 2


def test_a_signature_that_is_rejected_with_the_known_time_is_not_repeated() -> None:
    server = Server(SKEWED)
    with pytest.raises(ClockSkewedError):
        server.request()
    assert len(server.requests) == 1


def test_a_response_without_a_date_is_rejected() -> None:
    server = Server()
    server.client.get_caller_identity = lambda: {"Arn": ARN}
    with pytest.raises(StsUnavailableError):
        server.request()
