"""The AssumeRole call over botocore, and its refusals sorted by what can be done about them."""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from botocore import exceptions
from botocore.config import Config
from botocore.parsers import ResponseParserError
from botocore.session import Session as BotocoreSession

from assumed import __version__
from assumed.errors import (
    AssumedError,
    AssumeRoleDenied,
    SourceRejected,
    StsRequestRefused,
    StsThrottled,
    StsUnavailable,
)
from assumed.model import CallingCredentials, Credentials, RoleDefinition, Source

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient

_CONNECT_TIMEOUT_SECONDS = 3
_READ_TIMEOUT_SECONDS = 10

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

_CALLER = re.compile(r"User: (?P<arn>arn:\S+) is not authorized")

_THROTTLED = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "TooManyRequestsException",
    "SlowDown",
}
_REJECTED_KEYS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
# STS takes a signature for 15 minutes around its own time.
_SKEWED = {"RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"}
_SIGNED_AT_ANOTHER_TIME = "Signature "  # "expired: …" or "not yet current: …"
_HINT_OF_REFUSAL = {
    "MalformedPolicyDocument": "mend `policy` of this profile",
    "PackedPolicyTooLarge": "STS packs policy, policy_arns and tags together: shorten one of them",
    "RegionDisabledException": "activate STS for this region in the IAM console of the caller's "
    "account, or name another `region`",
    "ValidationError": "compare duration_seconds with the role's maximum session duration, and "
    "the other keys of this profile with what the role allows",
}


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """What STS answered.

    Args:
        credentials: the role session's.
        answered_at: STS's own `Date`, aware UTC.
    """

    credentials: Credentials
    answered_at: datetime


@dataclass(frozen=True, slots=True)
class _Client:
    caller: CallingCredentials
    session: BotocoreSession
    client: STSClient


class SecurityTokenService:
    """AssumeRole through one client for each source and region; safe to use from many threads."""

    def __init__(self, *, connections: int = 10) -> None:
        """Make no client yet.

        Args:
            connections: how many calls there can be at once.
        """
        self._connections = connections
        self._lock = threading.Lock()
        self._clients: dict[tuple[Source, str], _Client] = {}

    def assume_role(
        self,
        definition: RoleDefinition,
        caller: CallingCredentials,
        session: BotocoreSession,
    ) -> AssumedRole:
        """Call AssumeRole once, with no retry: when to try again is the scheduler's to say.

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
            StsUnavailable: no usable answer.
        """
        try:
            client = self._client(definition, caller, session)
        except ValueError as error:
            raise _bad_endpoint(definition, error) from None
        except (exceptions.BotoCoreError, OSError) as error:
            raise _sorted(definition, error) from None
        parameters = _parameters(definition)
        try:
            answer = client.assume_role(**parameters)
        except Exception as error:  # noqa: BLE001 - the parser of botocore raises what it likes
            # botocore quotes an answer that it can't read, and the answer is the secret.
            raise _sorted(definition, error) from None
        return _assumed_role(answer)

    def _client(
        self, definition: RoleDefinition, caller: CallingCredentials, session: BotocoreSession
    ) -> STSClient:
        region = _region(definition, session)
        key = (definition.source, region)
        with self._lock:
            known = self._clients.get(key)
            if known is None or known.caller != caller or known.session is not session:
                known = _Client(caller, session, self._new_client(region, caller, session))
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


def _parameters(definition: RoleDefinition) -> dict[str, Any]:
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
        "DurationSeconds": definition.duration_seconds,
        **{name: value for name, value in optional.items() if value},
    }


def _assumed_role(answer: Mapping[str, Any]) -> AssumedRole:
    """Check that the answer is whole before anybody relies on it."""
    try:
        issued = answer["Credentials"]
        credentials = Credentials(
            access_key_id=issued["AccessKeyId"],
            secret_access_key=issued["SecretAccessKey"],
            session_token=issued["SessionToken"],
            expiration=_utc(issued["Expiration"]),
            principal_arn=answer["AssumedRoleUser"]["Arn"],
        )
        answered_at = _utc(parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]))
        texts = (
            credentials.access_key_id,
            credentials.secret_access_key,
            credentials.session_token,
            credentials.principal_arn,
            credentials.account_id,
        )
        # What can't stand as one word in the credentials file was no answer of STS.
        is_whole = all(
            text and text.isascii() and text.isprintable() and " " not in text for text in texts
        )
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise _garbage(f"{type(error).__name__} in it") from None
    if not is_whole:
        raise _garbage("a part of the credentials is missing")
    if credentials.expiration <= answered_at:
        raise _garbage("the session had expired when it was issued")
    return AssumedRole(credentials, answered_at)


def _utc(moment: datetime) -> datetime:
    # A date of HTTP that names no zone is UTC (RFC 9110, 5.6.7), not the local time.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _garbage(why: str) -> StsUnavailable:
    return StsUnavailable(
        f"STS sent an answer that makes no sense: {why}",
        hint="see what stands between this machine and STS: a proxy, a VPN's portal",
        code="BadAnswer",
    )


def _sorted(definition: RoleDefinition, error: Exception) -> AssumedError:
    match error:
        case exceptions.ClientError():
            return _refusal(definition, error)
        case exceptions.ParamValidationError():
            return StsRequestRefused(
                f"profile {definition.profile}: {error}",
                hint="mend this profile in the configuration",
                code="ParamValidation",
            )
        case exceptions.BotoCoreError() | OSError():
            return StsUnavailable(
                f"profile {definition.profile}: {error}",
                hint="see whether this machine reaches that endpoint: network, VPN, proxy, "
                "certificate; it is tried again until it does",
                code=type(error).__name__,
            )
        case ResponseParserError():
            return _garbage("it is no XML that botocore can read")
        case _:
            # The parser takes the shape of the answer for granted.
            return _garbage(f"{type(error).__name__} in it")


def _bad_endpoint(definition: RoleDefinition, error: ValueError) -> StsRequestRefused:
    return StsRequestRefused(
        f"profile {definition.profile}: no client of STS can be made: {error}",
        hint="mend AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_STS, the endpoint_url of the source profile "
        "or the region, whichever it names",
        code="BadEndpoint",
    )


def _refusal(definition: RoleDefinition, error: exceptions.ClientError) -> AssumedError:
    code = str(error.response.get("Error", {}).get("Code") or "Unknown")
    text = str(error.response.get("Error", {}).get("Message") or "no reason given")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    message = f"profile {definition.profile}: {definition.role_arn}: {code}: {text}"
    if code in _THROTTLED or status == HTTPStatus.TOO_MANY_REQUESTS:
        return StsThrottled(message, hint="nothing to do: it is tried again, more slowly")
    if code in {"AccessDenied", "AccessDeniedException"}:
        found = _CALLER.search(text)
        caller = found["arn"] if found else f"the caller ({definition.source})"
        return AssumeRoleDenied(
            message,
            hint=f"two places must allow sts:AssumeRole: the trust policy of "
            f"{definition.role_arn}, for {caller}; and the policies of {caller}, for that role",
        )
    if code in _SKEWED or (code == "SignatureDoesNotMatch" and _SIGNED_AT_ANOTHER_TIME in text):
        return StsUnavailable(
            message,
            hint="this machine's clock is wrong by minutes: set it (`timedatectl set-ntp true`)",
            code="ClockSkewed",
        )
    if code in _REJECTED_KEYS:
        return SourceRejected(
            message,
            hint=f"STS does not accept the credentials of {definition.source}: renew them; "
            "refreshes go on by themselves after it",
            code=code,
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or code == "Unknown" or code.isdigit():
        return StsUnavailable(message, hint="nothing to do: it is tried again", code=code)
    hint = _HINT_OF_REFUSAL.get(code, "look the code up in the reference of AssumeRole")
    return StsRequestRefused(message, hint=hint, code=code)
