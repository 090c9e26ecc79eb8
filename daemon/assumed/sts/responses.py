"""What STS answered, checked before anybody relies on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from assumed.arn import Arn
from assumed.errors import StsUnavailableError
from assumed.models import Credentials, SessionTokenResponse, TemporaryCredentials


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
class CallerIdentity:
    """Whose credentials made a call, by their ARN; `answered_at` as in `AssumedRole`."""

    arn: str
    answered_at: datetime


def assumed_role(answer: Mapping[str, Any]) -> AssumedRole:
    """Return the answer to AssumeRole, as botocore gives it.

    Raises:
        StsUnavailableError: it is not whole.
    """
    try:
        issued = answer["Credentials"]
        credentials = Credentials(
            access_key_id=issued["AccessKeyId"],
            secret_access_key=issued["SecretAccessKey"],
            session_token=issued["SessionToken"],
            expiration=_utc(issued["Expiration"]),
            principal_arn=answer["AssumedRoleUser"]["Arn"],
        )
        answered_at = date(answer)
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
        raise garbage(f"{type(error).__name__} in it") from None
    if not is_whole:
        raise garbage("a part of the credentials is missing")
    if credentials.expiration <= answered_at:
        raise garbage("the session had expired when it was issued")
    return AssumedRole(credentials, answered_at)


def issued_session(answer: Mapping[str, Any]) -> SessionTokenResponse:
    """Return the answer to GetSessionToken, as botocore gives it.

    Raises:
        StsUnavailableError: it is not whole.
    """
    # The same shape as AssumeRole's, but for whose session it is.
    whole = assumed_role({**answer, "AssumedRoleUser": {"Arn": "arn:aws:sts::0:session/mfa"}})
    issued = whole.credentials
    credentials = TemporaryCredentials(
        issued.access_key_id, issued.secret_access_key, issued.session_token, issued.expiration
    )
    return SessionTokenResponse(credentials, whole.answered_at)


def caller_identity(answer: Mapping[str, Any]) -> CallerIdentity:
    """Return the answer to GetCallerIdentity, as botocore gives it.

    Raises:
        StsUnavailableError: it is not whole.
    """
    try:
        arn = answer["Arn"]
        answered_at = date(answer)
        is_whole = (
            arn.isascii() and arn.isprintable() and " " not in arn and bool(Arn.parse(arn).resource)
        )
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise garbage(f"{type(error).__name__} in it") from None
    if not is_whole:
        raise garbage("it names nobody")
    return CallerIdentity(arn, answered_at)


def date(answer: Mapping[str, Any]) -> datetime:
    """Return STS's own time, which every answer has, a refusal too; aware UTC.

    Raises:
        LookupError, TypeError, ValueError: this one has not.
    """
    return _utc(parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]))


def _utc(moment: datetime) -> datetime:
    # A date of HTTP that names no zone is UTC (RFC 9110, 5.6.7), not the local time.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def garbage(why: str) -> StsUnavailableError:
    """Return the error for an answer that can't be used; `why` quotes nothing of it."""
    return StsUnavailableError(
        f"STS sent an answer that makes no sense: {why}",
        hint="see what stands between this machine and STS: a proxy, a VPN's portal",
        code="BadAnswer",
    )
