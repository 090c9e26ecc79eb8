"""Parses and validates the responses of STS, before anything relies on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from assumed.arn import Arn
from assumed.errors import StsUnavailableError
from assumed.models import Credentials, SessionTokenResponse, TemporaryCredentials

PROXY_HINT = "check for a proxy, a VPN or a captive portal between this machine and STS"


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """The response to AssumeRole.

    Args:
        credentials: of the role session.
        answered_at: the `Date` header of STS, aware UTC.
    """

    credentials: Credentials
    answered_at: datetime


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """The response to GetCallerIdentity: the ARN of an identity, and when STS answered."""

    arn: str
    answered_at: datetime


def parse_assumed_role(response: Mapping[str, Any]) -> AssumedRole:
    """Return the response to AssumeRole or AssumeRoleWithWebIdentity.

    Args:
        response: as botocore returns it.

    Raises:
        StsUnavailableError: it is malformed or incomplete.
    """
    try:
        issued = response["Credentials"]
        credentials = Credentials(
            access_key_id=issued["AccessKeyId"],
            secret_access_key=issued["SecretAccessKey"],
            session_token=issued["SessionToken"],
            expiration=_utc(issued["Expiration"]),
            principal_arn=response["AssumedRoleUser"]["Arn"],
        )
        answered_at = parse_date(response)
        texts = (
            credentials.access_key_id,
            credentials.secret_access_key,
            credentials.session_token,
            credentials.principal_arn,
            credentials.account_id,
        )
        # STS sends nothing that could not stand as one word in the credentials file.
        is_complete = all(
            text and text.isascii() and text.isprintable() and " " not in text for text in texts
        )
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise malformed_response(type(error).__name__) from None
    if not is_complete:
        raise malformed_response("the credentials are incomplete")
    if credentials.expiration <= answered_at:
        raise malformed_response("the session had already expired when it was issued")
    return AssumedRole(credentials, answered_at)


def parse_session_token(response: Mapping[str, Any]) -> SessionTokenResponse:
    """Return the response to GetSessionToken.

    Args:
        response: as botocore returns it.

    Raises:
        StsUnavailableError: it is malformed or incomplete.
    """
    # The same shape as AssumeRole's, without the role.
    parsed = parse_assumed_role({**response, "AssumedRoleUser": {"Arn": "arn:aws:sts::0:session"}})
    issued = parsed.credentials
    credentials = TemporaryCredentials(
        issued.access_key_id, issued.secret_access_key, issued.session_token, issued.expiration
    )
    return SessionTokenResponse(credentials, parsed.answered_at)


def parse_caller_identity(response: Mapping[str, Any]) -> CallerIdentity:
    """Return the response to GetCallerIdentity.

    Args:
        response: as botocore returns it.

    Raises:
        StsUnavailableError: it is malformed or incomplete.
    """
    try:
        arn = response["Arn"]
        answered_at = parse_date(response)
        is_whole = (
            arn.isascii() and arn.isprintable() and " " not in arn and bool(Arn.parse(arn).resource)
        )
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise malformed_response(type(error).__name__) from None
    if not is_whole:
        raise malformed_response("it contains no ARN")
    return CallerIdentity(arn, answered_at)


def parse_date(response: Mapping[str, Any]) -> datetime:
    """Return the `Date` header, which error responses have too; aware UTC.

    Raises:
        LookupError, TypeError, ValueError: there is none, or it is no date.
    """
    return _utc(parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"]))


def _utc(moment: datetime) -> datetime:
    # A date of HTTP that names no zone is UTC (RFC 9110, 5.6.7), not the local time.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def malformed_response(problem: str) -> StsUnavailableError:
    """Return the error for a response that cannot be used; `problem` does not quote it."""
    return StsUnavailableError(
        f"malformed response from STS: {problem}",
        hint=PROXY_HINT,
        code="BadAnswer",
    )
