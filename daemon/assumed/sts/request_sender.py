"""Sends one request to STS, and learns the time of the endpoint from the response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from botocore import exceptions, xform_name

from assumed.clock import Clock
from assumed.errors import ClockSkewedError
from assumed.progress import waiting_for
from assumed.sts.clock_skew import ClockSkewTracker
from assumed.sts.direct_calls import DirectClient
from assumed.sts.errors import Call, translate_error
from assumed.sts.responses import CallerIdentity, parse_date

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class StsRequest:
    """A request that STS has answered, or that has failed.

    Args:
        profile: the profile that it was made for.
        operation: such as `AssumeRole`.
        took: until the response or the failure.
        identity_arn: the response to GetCallerIdentity; None for other operations.
    """

    profile: str
    operation: str
    took: timedelta
    identity_arn: str | None = None


class RequestSender:
    """Sends requests with botocore's clients; safe to use from many threads.

    Args:
        clock: measures how long a request takes.
        skew: gets the time of each response.
        on_request: called after each request, from the thread that made it.
    """

    def __init__(
        self, clock: Clock, skew: ClockSkewTracker, on_request: Callable[[StsRequest], None]
    ) -> None:
        self._clock = clock
        self._skew = skew
        self._on_request = on_request

    def request(
        self,
        call: Call,
        client: STSClient | DirectClient,
        operation: str,
        parse: Callable[[Mapping[str, Any]], ResultT],
        **parameters: Any,
    ) -> ResultT:
        """Send a request; repeat it once if the clock skew was unknown.

        Args:
            call: what the request is for.
            client: sends and signs it.
            operation: as STS names it, such as `AssumeRole`.
            parse: validates the response.
            **parameters: of the operation.

        Returns:
            The parsed response.

        Raises:
            AssumedError: an error response, or none.
        """
        try:
            return self._request_once(call, client, operation, parse, parameters)
        except ClockSkewedError as error:
            if not error.is_new:
                raise
            return self._request_once(call, client, operation, parse, parameters)

    def _request_once(
        self,
        call: Call,
        client: STSClient | DirectClient,
        operation: str,
        parse: Callable[[Mapping[str, Any]], ResultT],
        parameters: Mapping[str, Any],
    ) -> ResultT:
        started_at = self._clock.boottime()
        identity_arn = None
        try:
            result = parse(self._send(call, client, operation, parameters))
            identity_arn = result.arn if isinstance(result, CallerIdentity) else None
            return result
        finally:
            took = timedelta(seconds=self._clock.boottime() - started_at)
            self._on_request(StsRequest(call.profile, operation, took, identity_arn))

    def _send(
        self,
        call: Call,
        client: STSClient | DirectClient,
        operation: str,
        parameters: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        method: Callable[..., Mapping[str, Any]] = getattr(client, xform_name(operation))
        url = client.meta.endpoint_url
        try:
            with waiting_for(f"STS endpoint {url}"):
                response = _call(method, parameters)
        except Exception as error:  # noqa: BLE001 - botocore's parser raises exceptions of any kind
            is_new_skew = isinstance(error, exceptions.ClientError) and self._update_skew(
                url, error.response
            )
            # botocore quotes a response that it cannot parse, and that can hold credentials.
            raise translate_error(call, error, is_new_skew=is_new_skew) from None
        self._update_skew(url, response)
        return response

    def _update_skew(self, endpoint_url: str, response: Mapping[str, Any]) -> bool:
        # The parser of the response rejects one without a date.
        with suppress(LookupError, TypeError, ValueError):
            return self._skew.update(endpoint_url, parse_date(response))
        return False


def _call(
    method: Callable[..., Mapping[str, Any]], parameters: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Make a request; repeat it once if the server has closed the connection.

    STS closes a connection that has been idle for a while, also at the moment when it is used
    again. Not repeated: a request with an MFA code, which is valid once.
    """
    try:
        return method(**parameters)
    except exceptions.ConnectionClosedError:
        if "TokenCode" in parameters:
            raise
        return method(**parameters)
