"""The AssumeRole family, over botocore.

| to change | open |
| --- | --- |
| what is taken for an answer | `answer` |
| what a refusal means, and what to do about it | `refusal` |
| what is signed when this machine's clock is wrong | `skew` |
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakKeyDictionary

from botocore import UNSIGNED, exceptions
from botocore.config import Config
from botocore.session import Session as BotocoreSession

from assumed import __version__
from assumed.arn import default_region, partition_of
from assumed.clock import Clock
from assumed.errors import (
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
from assumed.sts.clock_skew import ClockSkewTracker
from assumed.sts.errors import Call, bad_endpoint, sort
from assumed.sts.responses import (
    AssumedRole,
    CallerIdentity,
    assumed_role,
    caller_identity,
    date,
    issued_session,
)
from assumed.sts.tls import is_loopback, plain_http

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient

__all__ = ["AssumedRole", "CallerIdentity", "StsClient"]

_CONNECT_TIMEOUT_SECONDS = 3
_READ_TIMEOUT_SECONDS = 6
# What every role allows.
_SAFE_SECONDS = 3600
# For so long a region that was down comes last.
_AVOIDED_SECONDS = 60.0


AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class _SessionCall:
    profile: str
    source: Source
    role_arn: str | None = None


@dataclass(frozen=True, slots=True)
class _Client:
    signer: SourceCredentials | None
    botocore_session: BotocoreSession
    client: STSClient


class StsClient:
    """AssumeRole through one client for each source and region; safe to use from many threads."""

    def __init__(self, clock: Clock, *, connections: int = 10) -> None:
        """Make no client yet.

        Args:
            clock: tells how far STS's clock is from ours, and how long a region is avoided.
            connections: how many calls there can be at once.
        """
        self._clock = clock
        self._connections = connections
        self._skew = ClockSkewTracker(clock)
        self._lock = threading.Lock()
        self._clients: dict[tuple[Source, str], _Client] = {}
        self._avoided_until: dict[tuple[Source, str], float] = {}
        self._too_long: set[tuple[str, int]] = set()
        self._endpoint_urls: WeakKeyDictionary[BotocoreSession, dict[str, str]] = (
            WeakKeyDictionary()
        )

    @property
    def clock_ahead(self) -> timedelta:
        """By how much STS's clock is ahead of this machine's; zero where it is under a minute."""
        return self._skew.ahead

    def endpoint_url(self, definition: ProfileDefinition, session: BotocoreSession) -> str:
        """Return the URL that calls for a profile are sent to, as botocore resolves it.

        It is that of the profile's own region; a fallback region has another one. The network is
        not used, and the URL is cached for as long as the session exists.

        Args:
            definition: whose region counts.
            session: as for `assume_role`.

        Raises:
            AssumedError: the settings lead to no usable endpoint.
        """
        try:
            region = _region(definition, session)
            with self._lock:
                urls = self._endpoint_urls.setdefault(session, {})
                if region not in urls:
                    client = self._new_client(region, None, session)
                    urls[region] = client.meta.endpoint_url.rstrip("/")
                return urls[region]
        except ValueError as error:
            raise bad_endpoint(definition, error) from None
        except (exceptions.BotoCoreError, OSError) as error:
            raise sort(definition, error) from None

    def assume_role(
        self,
        definition: ProfileDefinition,
        credentials: SourceAuthentication,
        botocore_session: BotocoreSession,
    ) -> AssumedRole:
        """Call AssumeRole once, with no retry: when to try again is the scheduler's to say.

        There are three exceptions, for the next call is known to differ: the next region where one
        is down, an hour where the role allows no more, the right time where the clock is wrong.

        Args:
            definition: the role and the parameters of the call.
            credentials: what signs it, or the token that stands in for a signature.
            botocore_session: of the source profile, for its region, endpoint and
                CA settings.

        Raises:
            AssumeRoleDeniedError: a policy says no.
            SourceRejectedError: the calling credentials are not valid.
            StsRequestRejectedError: STS refuses the parameters or the region.
            StsThrottledError: too many calls.
            StsUnavailableError: no usable answer of any region.
        """
        return self._in_a_region(
            definition,
            botocore_session,
            lambda region: self._assume_role(definition, credentials, botocore_session, region),
        )

    def get_caller_identity(
        self,
        definition: ProfileDefinition,
        credentials: SourceCredentials,
        botocore_session: BotocoreSession,
    ) -> CallerIdentity:
        """Ask once whose credentials these are; every caller may.

        Args:
            definition: whose region and fallback regions are called.
            credentials: the credentials.
            botocore_session: as for `assume_role`.

        Raises:
            AssumedError: as `assume_role`.
        """

        def ask(region: str) -> CallerIdentity:
            client = self._client(definition, credentials, botocore_session, region)
            return caller_identity(self._answer(definition, client.get_caller_identity))

        return self._in_a_region(definition, botocore_session, ask)

    def get_session_token(
        self,
        source: MfaSession,
        code: str,
        credentials: SourceCredentials,
        botocore_session: BotocoreSession,
    ) -> SessionTokenResponse:
        """Start a session with an MFA code; in one region alone, for a code is good for one call.

        Args:
            source: the device, and how long the session is to last.
            code: six digits.
            credentials: long-term keys, which sign the call.
            botocore_session: as for `assume_role`.

        Raises:
            MfaCodeRejectedError: STS does not take the code.
            AssumedError: as `assume_role`.
        """
        call = _SessionCall(source.profile.name, source.profile)
        named = botocore_session.get_config_variable("region")
        region = named or default_region(partition_of(source.serial))
        client = self._client(call, credentials, botocore_session, region)
        try:
            answer = self._answer(
                call,
                client.get_session_token,
                DurationSeconds=round(source.lifetime.total_seconds()),
                SerialNumber=source.serial,
                TokenCode=code,
            )
        except AssumeRoleDeniedError as error:
            raise MfaCodeRejectedError(
                error.message,
                hint="a code is good once, and for half a minute: give the next one; see that the "
                f"device is {source.serial}, and that the clock of an app is right",
            ) from None
        return issued_session(answer)

    def _in_a_region(
        self,
        definition: ProfileDefinition,
        botocore_session: BotocoreSession,
        ask: Callable[[str], AnswerT],
    ) -> AnswerT:
        """Return the answer of the first region that is not down."""
        first_error: StsUnavailableError | None = None
        for region in self._regions(definition, botocore_session):
            place = (definition.source, region)
            try:
                answer = ask(region)
            except StsUnavailableError as error:
                self._avoided_until[place] = self._clock.boottime() + _AVOIDED_SECONDS
                first_error = first_error or error
            else:
                self._avoided_until.pop(place, None)
                return answer
        assert first_error is not None  # noqa: S101 - there is at least one region
        raise first_error

    def _regions(
        self, definition: ProfileDefinition, botocore_session: BotocoreSession
    ) -> list[str]:
        """Return the regions to call, those that were down a moment ago last."""
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
        client = self._client(definition, signer, botocore_session, region)
        assume: Callable[..., Mapping[str, Any]] = client.assume_role
        parameters = _parameters(definition)
        if isinstance(credentials, WebIdentityToken):
            assume = client.assume_role_with_web_identity
            parameters["WebIdentityToken"] = credentials.token
        seconds = definition.duration_seconds
        asked = (str(definition.role_arn), seconds)
        if asked in self._too_long:
            seconds = _SAFE_SECONDS
        try:
            answer = self._answer(definition, assume, **parameters, DurationSeconds=seconds)
            return assumed_role(answer)
        except DurationTooLongError as error:
            if seconds <= _SAFE_SECONDS:
                raise
            self._too_long.add(asked)
            event(
                logging.WARNING,
                "duration_shortened",
                profile=definition.profile,
                role_arn=definition.role_arn,
                error=error.message,
                hint="its sessions last an hour: raise the role's maximum session duration and "
                "restart, or lower duration_seconds",
            )
        answer = self._answer(definition, assume, **parameters, DurationSeconds=_SAFE_SECONDS)
        return assumed_role(answer)

    def _answer(
        self, call: Call, ask: Callable[..., Mapping[str, Any]], **parameters: Any
    ) -> Mapping[str, Any]:
        """Return STS's answer; asked again once where the clock has turned out to be wrong."""
        try:
            return self._answer_once(call, ask, parameters)
        except ClockSkewedError as error:
            if not error.is_new:
                raise
            return self._answer_once(call, ask, parameters)

    def _answer_once(
        self,
        call: Call,
        ask: Callable[..., Mapping[str, Any]],
        parameters: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        try:
            answer = ask(**parameters)
        except Exception as error:  # noqa: BLE001 - the parser of botocore raises what it likes
            is_new = self._learn_time(error)
            # botocore quotes an answer that it can't read, and the answer is the secret.
            raise sort(call, error, is_new=is_new) from None
        # An answer with no time is refused by whoever reads it.
        with suppress(LookupError, TypeError, ValueError):
            self._skew.learn(date(answer))
        return answer

    def _learn_time(self, error: Exception) -> bool:
        if not isinstance(error, exceptions.ClientError):
            return False
        try:
            return self._skew.learn(date(error.response))
        except (LookupError, TypeError, ValueError):
            return False

    def _client(
        self,
        call: Call,
        signer: SourceCredentials | None,
        botocore_session: BotocoreSession,
        region: str,
    ) -> STSClient:
        try:
            return self._known_client(call, signer, botocore_session, region)
        except ValueError as error:
            raise bad_endpoint(call, error) from None
        except (exceptions.BotoCoreError, OSError) as error:
            raise sort(call, error) from None

    def _known_client(
        self,
        call: Call,
        signer: SourceCredentials | None,
        botocore_session: BotocoreSession,
        region: str,
    ) -> STSClient:
        key = (call.source, region)
        with self._lock:
            known = self._clients.get(key)
            if (
                known is None
                or known.signer != signer
                or known.botocore_session is not botocore_session
            ):
                client = self._new_client(region, signer, botocore_session)
                if signer is not None:
                    self._skew.sign(client)
                known = _Client(signer, botocore_session, client)
                self._clients[key] = known
            return known.client

    def _new_client(
        self, region: str, signer: SourceCredentials | None, botocore_session: BotocoreSession
    ) -> STSClient:
        def create(settings: Config) -> STSClient:
            client = botocore_session.create_client(
                "sts",
                region,
                config=settings,
                aws_access_key_id=signer.access_key_id if signer else None,
                aws_secret_access_key=signer.secret_access_key if signer else None,
                aws_session_token=signer.session_token if signer else None,
            )
            return cast("STSClient", client)

        settings = Config(
            connect_timeout=_CONNECT_TIMEOUT_SECONDS,
            read_timeout=_READ_TIMEOUT_SECONDS,
            retries={"total_max_attempts": 1},
            max_pool_connections=self._connections,
            user_agent_extra=f"assumed/{__version__}",
        )
        if signer is None:
            settings = settings.merge(Config(signature_version=UNSIGNED))
        client = create(settings)
        endpoint = client.meta.endpoint_url
        if endpoint.startswith("https://"):
            return client
        if not is_loopback(endpoint):
            raise plain_http(endpoint)
        # A proxy would carry the answer over the network after all.
        return create(settings.merge(Config(proxies={})))


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
