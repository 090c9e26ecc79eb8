"""The client for AssumeRole, AssumeRoleWithWebIdentity, GetSessionToken and GetCallerIdentity.

| to change | open |
| --- | --- |
| how a response is validated | `responses` |
| what an error response means, and its hint | `errors` |
| how requests are signed while this machine's clock is wrong | `clock_skew` |
| time-outs, endpoints and proxies of botocore's clients | `client_cache` |
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from botocore import exceptions
from botocore.session import Session as BotocoreSession

from assumed.arn import default_region, partition_of
from assumed.clock import Clock
from assumed.errors import (
    AssumedError,
    AssumeRoleDeniedError,
    ClockSkewedError,
    DurationTooLongError,
    MfaCodeRejectedError,
    StsUnavailableError,
)
from assumed.logs.events import event
from assumed.models import (
    MfaSession,
    ProfileDefinition,
    SessionTokenResponse,
    Source,
    SourceAuthentication,
    SourceCredentials,
    WebIdentityToken,
)
from assumed.sts.client_cache import ClientCache
from assumed.sts.clock_skew import ClockSkewTracker
from assumed.sts.errors import Call, denial_hint, translate_error
from assumed.sts.responses import (
    AssumedRole,
    CallerIdentity,
    parse_assumed_role,
    parse_caller_identity,
    parse_date,
    parse_session_token,
)

__all__ = ["AssumedRole", "CallerIdentity", "StsClient", "StsRequest"]

# Every role allows an hour.
_SAFE_SECONDS = 3600
# Source: the message of STS for a wrong code, "MultiFactorAuthentication failed with invalid MFA
# one time pass code".
_REJECTED_CODE = "MultiFactorAuthentication failed"
# A region that failed is the last choice for so long.
_REGION_COOLDOWN_SECONDS = 60.0


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


@dataclass(frozen=True, slots=True)
class _SessionTokenCall:
    profile: str
    source: Source
    role_arn: str | None = None


class StsClient:
    """Makes single requests to STS, without retries; safe to use from many threads.

    There are three exceptions, because the next request is known to differ: the next region after
    one that failed, an hour if the role allows no more, STS's time if this machine's clock is
    wrong. When to retry is the scheduler's decision.

    Args:
        clock: measures the clock skew, and how long a failed region is avoided.
        connections: how many requests there can be at once.
        on_request: called after each request, from the thread that made it.
        reports_identity: call GetCallerIdentity before AssumeRole, so that `on_request` learns
            whose credentials sign it.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        connections: int = 10,
        on_request: Callable[[StsRequest], None] = lambda _: None,
        reports_identity: bool = False,
    ) -> None:
        self._clock = clock
        self._on_request = on_request
        self._reports_identity = reports_identity
        self._skew = ClockSkewTracker(clock)
        self._clients = ClientCache(connections=connections, on_create=self._skew.install_signer)
        self._avoided_until: dict[tuple[Source, str], float] = {}
        self._too_long: set[tuple[str, int]] = set()

    @property
    def clock_ahead(self) -> timedelta:
        """How far STS's clock is ahead of this machine's; zero if it is less than a minute."""
        return self._skew.ahead

    def endpoint_url(self, definition: ProfileDefinition, botocore_session: BotocoreSession) -> str:
        """Return the URL that calls for a profile are sent to, as botocore resolves it.

        It is that of the profile's own region; a fallback region has another one. The network is
        not used, and the URL is cached for as long as the botocore session exists.

        Args:
            definition: whose region counts.
            botocore_session: as for `assume_role`.

        Raises:
            AssumedError: the settings lead to no usable endpoint.
        """
        region = _region(definition, botocore_session)
        return self._clients.endpoint_url(definition, region, botocore_session)

    def assume_role(
        self,
        definition: ProfileDefinition,
        credentials: SourceAuthentication,
        botocore_session: BotocoreSession,
    ) -> AssumedRole:
        """Call AssumeRole, or AssumeRoleWithWebIdentity for a token.

        Args:
            definition: the role and the parameters of the call.
            credentials: what signs the request, or the token that replaces a signature.
            botocore_session: of the source profile, for its region, endpoint and CA settings.

        Raises:
            AssumeRoleDeniedError: access denied by a policy.
            SourceRejectedError: the source credentials are invalid or expired.
            StsRequestRejectedError: STS rejects the parameters or the region.
            StsThrottledError: the rate limit is exceeded.
            StsUnavailableError: no region sent a usable response.
        """
        identity = None
        if self._reports_identity and isinstance(credentials, SourceCredentials):
            # A policy may forbid this call alone. Other failures are AssumeRole's too.
            with suppress(AssumedError):
                identity = self.get_caller_identity(definition, credentials, botocore_session)
        try:
            return self._try_regions(
                definition,
                botocore_session,
                lambda region: self._assume_role(definition, credentials, botocore_session, region),
                # A code is valid once.
                only_first=isinstance(credentials, SourceCredentials)
                and credentials.mfa is not None,
            )
        except AssumeRoleDeniedError as error:
            token = credentials.mfa if isinstance(credentials, SourceCredentials) else None
            if token is not None and _REJECTED_CODE in error.message:
                raise _rejected_code(error, token.serial) from None
            if identity is not None:
                error.hint = denial_hint(definition, identity_arn=identity.arn)
            raise

    def get_caller_identity(
        self,
        definition: ProfileDefinition,
        credentials: SourceCredentials,
        botocore_session: BotocoreSession,
    ) -> CallerIdentity:
        """Call GetCallerIdentity, which needs no permission.

        Args:
            definition: for its region and fallback regions.
            credentials: what signs the request.
            botocore_session: as for `assume_role`.

        Raises:
            AssumedError: as `assume_role`.
        """

        def request(region: str) -> CallerIdentity:
            client = self._clients.get(definition, region, credentials, botocore_session)
            return self._request(
                definition, "GetCallerIdentity", client.get_caller_identity, parse_caller_identity
            )

        return self._try_regions(definition, botocore_session, request)

    def get_session_token(
        self,
        source: MfaSession,
        code: str,
        credentials: SourceCredentials,
        botocore_session: BotocoreSession,
    ) -> SessionTokenResponse:
        """Call GetSessionToken with an MFA code, in one region only: a code is valid once.

        Args:
            source: the MFA device and the duration of the session.
            code: six digits.
            credentials: the long-term keys that sign the request.
            botocore_session: as for `assume_role`.

        Raises:
            MfaCodeRejectedError: STS rejects the code.
            AssumedError: as `assume_role`.
        """
        call = _SessionTokenCall(source.profile.name, source.profile)
        named = botocore_session.get_config_variable("region")
        region = named or default_region(partition_of(source.serial))
        client = self._clients.get(call, region, credentials, botocore_session)
        try:
            return self._request(
                call,
                "GetSessionToken",
                client.get_session_token,
                parse_session_token,
                DurationSeconds=round(source.lifetime.total_seconds()),
                SerialNumber=source.serial,
                TokenCode=code,
            )
        except AssumeRoleDeniedError as error:
            raise _rejected_code(error, source.serial) from None

    def _try_regions(
        self,
        definition: ProfileDefinition,
        botocore_session: BotocoreSession,
        request: Callable[[str], ResultT],
        *,
        only_first: bool = False,
    ) -> ResultT:
        """Return the result of the first region that is available."""
        first_error: StsUnavailableError | None = None
        regions = self._regions(definition, botocore_session)
        for region in regions[:1] if only_first else regions:
            key = (definition.source, region)
            try:
                result = request(region)
            except StsUnavailableError as error:
                self._avoided_until[key] = self._clock.boottime() + _REGION_COOLDOWN_SECONDS
                first_error = first_error or error
            else:
                self._avoided_until.pop(key, None)
                return result
        assert first_error is not None  # noqa: S101 - there is at least one region
        raise first_error

    def _regions(
        self, definition: ProfileDefinition, botocore_session: BotocoreSession
    ) -> list[str]:
        """Return the regions in the order of the attempts: those that failed recently come last."""
        now = self._clock.boottime()
        regions = [_region(definition, botocore_session), *definition.fallback_regions]
        return sorted(
            regions,
            key=lambda region: self._avoided_until.get((definition.source, region), now) > now,
        )

    def _assume_role(
        self,
        definition: ProfileDefinition,
        credentials: SourceAuthentication,
        botocore_session: BotocoreSession,
        region: str,
    ) -> AssumedRole:
        signer = credentials if isinstance(credentials, SourceCredentials) else None
        token = None if signer is None else signer.mfa
        # The code is no part of what signs: the client is used again.
        signer = None if signer is None else replace(signer, mfa=None)
        client = self._clients.get(definition, region, signer, botocore_session)
        parameters = _parameters(definition)
        if token is not None:
            parameters |= {"SerialNumber": token.serial, "TokenCode": token.code}
        operation: str = "AssumeRole"
        method: Callable[..., Mapping[str, Any]] = client.assume_role
        if isinstance(credentials, WebIdentityToken):
            operation, method = "AssumeRoleWithWebIdentity", client.assume_role_with_web_identity
            parameters["WebIdentityToken"] = credentials.token

        def assume(seconds: int) -> AssumedRole:
            return self._request(
                definition,
                operation,
                method,
                parse_assumed_role,
                **parameters,
                DurationSeconds=seconds,
            )

        seconds = definition.duration_seconds
        requested = (str(definition.role_arn), seconds)
        if requested in self._too_long:
            seconds = _SAFE_SECONDS
        try:
            return assume(seconds)
        except DurationTooLongError as error:
            if seconds <= _SAFE_SECONDS:
                raise
            self._too_long.add(requested)
            if token is not None:
                raise _spent_code(error) from None
            _log_shortened(definition, error)
        return assume(_SAFE_SECONDS)

    def _request(
        self,
        call: Call,
        operation: str,
        method: Callable[..., Mapping[str, Any]],
        parse: Callable[[Mapping[str, Any]], ResultT],
        **parameters: Any,
    ) -> ResultT:
        """Return the parsed response; repeat the request once if the clock skew was unknown."""
        try:
            return self._request_once(call, operation, method, parse, parameters)
        except ClockSkewedError as error:
            if not error.is_new:
                raise
            return self._request_once(call, operation, method, parse, parameters)

    def _request_once(
        self,
        call: Call,
        operation: str,
        method: Callable[..., Mapping[str, Any]],
        parse: Callable[[Mapping[str, Any]], ResultT],
        parameters: Mapping[str, Any],
    ) -> ResultT:
        started_at = self._clock.boottime()
        identity_arn = None
        try:
            result = parse(self._send(call, method, parameters))
            identity_arn = result.arn if isinstance(result, CallerIdentity) else None
            return result
        finally:
            took = timedelta(seconds=self._clock.boottime() - started_at)
            self._on_request(StsRequest(call.profile, operation, took, identity_arn))

    def _send(
        self,
        call: Call,
        method: Callable[..., Mapping[str, Any]],
        parameters: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        try:
            response = method(**parameters)
        except Exception as error:  # noqa: BLE001 - botocore's parser raises exceptions of any kind
            is_new_skew = isinstance(error, exceptions.ClientError) and self._update_skew(
                error.response
            )
            # botocore quotes a response that it cannot parse, and that can hold credentials.
            raise translate_error(call, error, is_new_skew=is_new_skew) from None
        self._update_skew(response)
        return response

    def _update_skew(self, response: Mapping[str, Any]) -> bool:
        # The parser of the response rejects one without a date.
        with suppress(LookupError, TypeError, ValueError):
            return self._skew.update(parse_date(response))
        return False


def _log_shortened(definition: ProfileDefinition, error: DurationTooLongError) -> None:
    event(
        logging.WARNING,
        "duration_shortened",
        profile=definition.profile,
        role_arn=definition.role_arn,
        error=error.message,
        hint="its sessions last an hour: lower duration_seconds, or raise the role's "
        "maximum session duration and restart the daemon if one runs",
    )


def _spent_code(error: DurationTooLongError) -> MfaCodeRejectedError:
    return MfaCodeRejectedError(
        error.message,
        hint="the code may be used up: enter the next one, whose session lasts an hour; or lower "
        "duration_seconds, or raise the role's maximum session duration",
    )


def _rejected_code(error: AssumedError, serial: str) -> MfaCodeRejectedError:
    return MfaCodeRejectedError(
        error.message,
        hint="enter the next code: each is valid once and for half a minute; check that the "
        f"device is {serial} and that its clock is right",
    )


def _region(definition: ProfileDefinition, botocore_session: BotocoreSession) -> str:
    region: str | None = definition.region or botocore_session.get_config_variable("region")
    return region or default_region(partition_of(definition.role_arn))


def _parameters(definition: ProfileDefinition) -> dict[str, Any]:
    optional = {
        "ExternalId": definition.external_id,
        "Policy": definition.policy,
        "PolicyArns": [{"arn": arn} for arn in definition.policy_arns],
        "Tags": [{"Key": key, "Value": value} for key, value in definition.tags.items()],
        "TransitiveTagKeys": list(definition.transitive_tag_keys),
        "SourceIdentity": definition.source_identity,
    }
    return {
        "RoleArn": definition.role_arn,
        "RoleSessionName": definition.role_session_name,
        **{name: value for name, value in optional.items() if value},
    }
