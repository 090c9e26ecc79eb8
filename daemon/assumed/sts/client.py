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
from datetime import datetime, timedelta
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from botocore.session import Session as BotocoreSession

from assumed.arn import default_region, partition_of
from assumed.clock import Clock
from assumed.errors import (
    AssumedError,
    AssumeRoleDeniedError,
    DurationTooLongError,
    MfaCodeRejectedError,
    StsUnavailableError,
)
from assumed.logs.events import event
from assumed.models import (
    Credentials,
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
from assumed.sts.errors import denial_hint
from assumed.sts.request_sender import RequestSender, StsRequest
from assumed.sts.responses import (
    AssumedRole,
    CallerIdentity,
    parse_assumed_role,
    parse_caller_identity,
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
class _SessionTokenCall:
    profile: str
    source: Source
    role_arn: str | None = None


class StsClient:
    """Makes single requests to STS, without retries; safe to use from many threads.

    There are four exceptions, because the next request is known to differ: a new connection after
    one that the server has closed, the next region after one that failed, an hour if the role
    allows no more, STS's time if this machine's clock is wrong. When to retry is the scheduler's
    decision.

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
        self._reports_identity = reports_identity
        self._skew = ClockSkewTracker(clock)
        self._sender = RequestSender(clock, self._skew, on_request)
        self._clients = ClientCache(connections=connections, on_create=self._skew.install_signer)
        self._avoided_until: WeakKeyDictionary[BotocoreSession, dict[tuple[Source, str], float]] = (
            WeakKeyDictionary()
        )
        self._too_long: set[tuple[str, int]] = set()

    @property
    def clock_ahead(self) -> Mapping[str, timedelta]:
        """How far the clock of each endpoint that has answered is ahead of this machine's.

        By URL; zero if it is less than a minute.
        """
        return self._skew.ahead_by_endpoint()

    def mfa_clock_ahead(self, source: MfaSession, botocore_session: BotocoreSession) -> timedelta:
        """Return how far the clock of the endpoint for `get_session_token` is ahead.

        Zero if it is less than a minute, or if that endpoint has not answered yet.

        Raises:
            AssumedError: as `endpoint_url`.
        """
        call = _SessionTokenCall(source.profile.name, source.profile)
        region = _mfa_region(source, botocore_session)
        return self._skew.ahead(self._clients.endpoint_url(call, region, botocore_session))

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
            botocore_session: for its region, endpoint and CA settings.

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
            return self._sender.request(
                definition, client, "GetCallerIdentity", parse_caller_identity
            )

        return self._try_regions(definition, botocore_session, request)

    def check_session(
        self,
        definition: ProfileDefinition,
        session: Credentials,
        botocore_session: BotocoreSession,
    ) -> datetime:
        """Call GetCallerIdentity with a role session; return the endpoint's time, aware UTC.

        It needs no permission, and no policy can deny it, so a session that a policy has revoked
        passes (STS API reference, "GetCallerIdentity").

        Args:
            definition: the profile that the session belongs to.
            session: what signs the request.
            botocore_session: as for `assume_role`.

        Raises:
            SourceRejectedError: the session does not work: it has expired, or its role is gone.
            AssumedError: as `assume_role`.
        """
        signer = SourceCredentials(
            session.access_key_id, session.secret_access_key, session.session_token
        )

        def request(region: str) -> datetime:
            with self._clients.temporary(definition, region, signer, botocore_session) as client:
                identity = self._sender.request(
                    definition, client, "GetCallerIdentity", parse_caller_identity
                )
            return identity.answered_at

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
        region = _mfa_region(source, botocore_session)
        client = self._clients.get(call, region, credentials, botocore_session)
        try:
            return self._sender.request(
                call,
                client,
                "GetSessionToken",
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
        avoided_until = self._avoided_until.setdefault(botocore_session, {})
        regions = self._regions(definition, botocore_session)
        for region in regions[:1] if only_first else regions:
            key = (definition.source, region)
            try:
                result = request(region)
            except StsUnavailableError as error:
                avoided_until[key] = self._clock.boottime() + _REGION_COOLDOWN_SECONDS
                first_error = first_error or error
            else:
                avoided_until.pop(key, None)
                return result
        assert first_error is not None  # noqa: S101 - there is at least one region
        raise first_error

    def _regions(
        self, definition: ProfileDefinition, botocore_session: BotocoreSession
    ) -> list[str]:
        """Return the regions in the order of the attempts: those that failed recently come last."""
        now = self._clock.boottime()
        avoided_until = self._avoided_until.get(botocore_session, {})
        regions = [_region(definition, botocore_session), *definition.fallback_regions]
        return sorted(
            regions,
            key=lambda region: avoided_until.get((definition.source, region), now) > now,
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
        operation = "AssumeRole"
        if isinstance(credentials, WebIdentityToken):
            operation = "AssumeRoleWithWebIdentity"
            parameters["WebIdentityToken"] = credentials.token

        def assume(seconds: int) -> AssumedRole:
            return self._sender.request(
                definition,
                client,
                operation,
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


def _mfa_region(source: MfaSession, botocore_session: BotocoreSession) -> str:
    region: str | None = source.region or botocore_session.get_config_variable("region")
    return region or default_region(source.partition or partition_of(source.serial))


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
