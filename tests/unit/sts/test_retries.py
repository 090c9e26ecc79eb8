from __future__ import annotations

import pytest
from botocore import exceptions

from assumed.sts.response_limits import ResponseLimitError
from assumed.sts.tls import reject_retry


@pytest.mark.parametrize("kind", [exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError])
def test_botocore_repeats_no_request_that_had_no_answer_in_time(
    kind: type[exceptions.HTTPClientError],
) -> None:
    error = kind(endpoint_url="https://portal.example.com")
    with pytest.raises(kind):
        reject_retry(caught_exception=error)


def test_botocore_repeats_no_request_whose_response_was_over_the_limits() -> None:
    with pytest.raises(ResponseLimitError):
        reject_retry(
            caught_exception=exceptions.HTTPClientError(error=ResponseLimitError("too large"))
        )


def test_botocore_repeats_other_requests() -> None:
    reject_retry(caught_exception=exceptions.EndpointConnectionError(endpoint_url="https://a"))
    reject_retry()
