"""The AssumeRole call over botocore.

| to change | open |
| --- | --- |
| what is taken for an answer | `answer` |
| what a refusal means, and what to do about it | `refusal` |
| what is signed when this machine's clock is wrong | `skew` |
"""

from __future__ import annotations

import ipaddress
import logging
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from botocore import exceptions
from botocore.config import Config
from botocore.session import Session as BotocoreSession

from assumed import __version__
from assumed.clock import Clock
from assumed.errors import ClockSkewed, DurationTooLong, StsRequestRefused, StsUnavailable
from assumed.log import event
from assumed.model import CallingCredentials, RoleDefinition, Source
from assumed.sts.answer import AssumedRole, assumed_role, date
from assumed.sts.refusal import bad_endpoint, sort
from assumed.sts.skew import Skew

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient

__all__ = ["AssumedRole", "SecurityTokenService"]

_CONNECT_TIMEOUT_SECONDS = 3
_READ_TIMEOUT_SECONDS = 6
# What every role allows.
_SAFE_SECONDS = 3600
# For so long a region that was down comes last.
_AVOIDED_SECONDS = 60.0

# Where nobody names a region: the first one of the role's partition.
_FIRST_REGION = {
    "aws": "us-east-1",
    "aws-cn": "cn-north-1",
    "aws-us-gov": "us-gov-west-1",
    "aws-iso": "us-iso-east-1",
    "aws-iso-b": "us-isob-east-1",
    "aws-iso-e": "eu-isoe-west-1",
    "aws-iso-f": "us-isof-south-1",
    "aws-eusc": "eusc-de-east-1",
}


@dataclass(frozen=True, slots=True)
class _Client:
    caller: CallingCredentials
    session: BotocoreSession
    client: STSClient


class SecurityTokenService:
    """AssumeRole through one client for each source and region; safe to use from many threads."""

    def __init__(self, clock: Clock, *, connections: int = 10) -> None:
        """Make no client yet.

        Args:
            clock: tells how far STS's clock is from ours, and how long a region is avoided.
            connections: how many calls there can be at once.
        """
        self._clock = clock
        self._connections = connections
        self._skew = Skew(clock)
        self._lock = threading.Lock()
        self._clients: dict[tuple[Source, str], _Client] = {}
        self._avoided_until: dict[tuple[Source, str], float] = {}
        self._too_long: set[tuple[str, int]] = set()

    @property
    def clock_ahead(self) -> timedelta:
        """By how much STS's clock is ahead of this machine's; zero where it is under a minute."""
        return self._skew.ahead

    def assume_role(
        self,
        definition: RoleDefinition,
        caller: CallingCredentials,
        session: BotocoreSession,
    ) -> AssumedRole:
        """Call AssumeRole once, with no retry: when to try again is the scheduler's to say.

        There are three exceptions, for the next call is known to differ: the next region where one
        is down, an hour where the role allows no more, the right time where the clock is wrong.

        Args:
            definition: the role and the parameters of the call.
            caller: what signs it.
            session: the botocore session of the source profile, for its region, endpoint and
                CA settings.

        Raises:
            AssumeRoleDenied: a policy says no.
            SourceRejected: the calling credentials are not valid.
            StsRequestRefused: STS refuses the parameters or the region.
            StsThrottled: too many calls.
            StsUnavailable: no usable answer of any region.
        """
        first_error: StsUnavailable | None = None
        for region in self._regions(definition, session):
            place = (definition.source, region)
            try:
                answer = self._assume_role(definition, caller, session, region)
            except StsUnavailable as error:
                self._avoided_until[place] = self._clock.boottime() + _AVOIDED_SECONDS
                first_error = first_error or error
            else:
                self._avoided_until.pop(place, None)
                return answer
        assert first_error is not None  # noqa: S101 - there is at least one region
        raise first_error

    def _regions(self, definition: RoleDefinition, session: BotocoreSession) -> list[str]:
        """Return the regions to call, those that were down a moment ago last."""
        now = self._clock.boottime()
        regions = [_region(definition, session), *definition.fallback_regions]
        return sorted(
            regions,
            key=lambda region: self._avoided_until.get((definition.source, region), now) > now,
        )

    def _assume_role(
        self,
        definition: RoleDefinition,
        caller: CallingCredentials,
        session: BotocoreSession,
        region: str,
    ) -> AssumedRole:
        seconds = definition.duration_seconds
        asked = (definition.role_arn, seconds)
        if asked in self._too_long:
            seconds = _SAFE_SECONDS
        try:
            client = self._client(definition, caller, session, region)
        except ValueError as error:
            raise bad_endpoint(definition, error) from None
        except (exceptions.BotoCoreError, OSError) as error:
            raise sort(definition, error) from None
        try:
            return self._call(client, definition, seconds)
        except ClockSkewed as error:
            if not error.is_news:
                raise
            return self._call(client, definition, seconds)
        except DurationTooLong as error:
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
            return self._call(client, definition, _SAFE_SECONDS)

    def _call(self, client: STSClient, definition: RoleDefinition, seconds: int) -> AssumedRole:
        parameters = _parameters(definition, seconds)
        try:
            answer = client.assume_role(**parameters)
        except Exception as error:  # noqa: BLE001 - the parser of botocore raises what it likes
            is_news = self._learn_time(error)
            # botocore quotes an answer that it can't read, and the answer is the secret.
            raise sort(definition, error, is_news=is_news) from None
        assumed = assumed_role(answer)
        self._skew.learn(assumed.answered_at)
        return assumed

    def _learn_time(self, error: Exception) -> bool:
        if not isinstance(error, exceptions.ClientError):
            return False
        try:
            return self._skew.learn(date(error.response))
        except (LookupError, TypeError, ValueError):
            return False

    def _client(
        self,
        definition: RoleDefinition,
        caller: CallingCredentials,
        session: BotocoreSession,
        region: str,
    ) -> STSClient:
        key = (definition.source, region)
        with self._lock:
            known = self._clients.get(key)
            if known is None or known.caller != caller or known.session is not session:
                client = self._new_client(region, caller, session)
                self._skew.sign(client)
                known = _Client(caller, session, client)
                self._clients[key] = known
            return known.client

    def _new_client(
        self, region: str, caller: CallingCredentials, session: BotocoreSession
    ) -> STSClient:
        def create(settings: Config) -> STSClient:
            client = session.create_client(
                "sts",
                region,
                config=settings,
                aws_access_key_id=caller.access_key_id,
                aws_secret_access_key=caller.secret_access_key,
                aws_session_token=caller.session_token,
            )
            return cast("STSClient", client)

        settings = Config(
            connect_timeout=_CONNECT_TIMEOUT_SECONDS,
            read_timeout=_READ_TIMEOUT_SECONDS,
            retries={"total_max_attempts": 1},
            max_pool_connections=self._connections,
            user_agent_extra=f"assumed/{__version__}",
        )
        client = create(settings)
        endpoint = client.meta.endpoint_url
        if endpoint.startswith("https://"):
            return client
        if not _is_loopback(endpoint):
            raise StsRequestRefused(
                f"http://{urlsplit(endpoint).hostname} is plain http, and what STS answers is the "
                "secret",
                hint="use https in AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_STS and endpoint_url",
                code="PlainHttp",
            )
        # A proxy would carry the answer over the network after all.
        return create(settings.merge(Config(proxies={})))


def _region(definition: RoleDefinition, session: BotocoreSession) -> str:
    partition = definition.role_arn.split(":")[1]
    region: str | None = definition.region or session.get_config_variable("region")
    return region or _FIRST_REGION.get(partition, "us-east-1")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parameters(definition: RoleDefinition, seconds: int) -> dict[str, Any]:
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
        "DurationSeconds": seconds,
        **{name: value for name, value in optional.items() if value},
    }
