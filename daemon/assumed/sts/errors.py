"""The refusals of STS and of the network, sorted by what can be done about them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol

from botocore import exceptions
from botocore.parsers import ResponseParserError

from assumed.arn import Arn, is_arn
from assumed.errors import (
    AssumedError,
    AssumeRoleDeniedError,
    ClockSkewedError,
    DurationTooLongError,
    SourceRejectedError,
    StsRequestRejectedError,
    StsThrottledError,
    StsUnavailableError,
)
from assumed.models import Source, WebIdentity
from assumed.sts.responses import garbage

_BEFORE_STATEMENT = ". In the trust policy: "
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
    "IDPRejectedClaim",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
# STS takes a signature for 15 minutes around its own time.
_SKEWED = {"RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"}
_SIGNED_AT_ANOTHER_TIME = "Signature "  # "expired: …" or "not yet current: …"
_PASSING = {"IDPCommunicationError", "Unknown"}
_MOST_DURATION = "MaxSessionDuration"
_HINT_OF_REFUSAL = {
    "MalformedPolicyDocument": "mend `policy` of this profile",
    "PackedPolicyTooLarge": "STS packs policy, policy_arns and tags together: shorten one of them",
    "RegionDisabledException": "activate STS for this region in the IAM console of the caller's "
    "account, or name another `region`",
    "ValidationError": "compare duration_seconds with the role's maximum session duration, and "
    "the other keys of this profile with what the role allows",
}


class Call(Protocol):
    """What was asked of STS, for messages: a definition is one."""

    @property
    def profile(self) -> str:
        """Whose call it is."""
        ...

    @property
    def source(self) -> Source:
        """Who makes it."""
        ...

    @property
    def role_arn(self) -> str | None:
        """None where it is about no role."""
        ...


def sort(call: Call, error: Exception, *, is_new: bool = False) -> AssumedError:
    """Return what botocore raised as an error of ours.

    Args:
        call: that came to this.
        error: any.
        is_new: STS's own time is another than it was known to be.
    """
    match error:
        case exceptions.ClientError():
            return _refusal(call, error, is_new=is_new)
        case exceptions.ParamValidationError():
            return StsRequestRejectedError(
                f"profile {call.profile}: {error}",
                hint="mend this profile in the configuration",
                code="ParamValidation",
            )
        case exceptions.BotoCoreError() | OSError():
            return StsUnavailableError(
                f"profile {call.profile}: {error}",
                hint="see whether this machine reaches that endpoint: network, VPN, proxy, "
                "certificate; it is tried again until it does",
                code=type(error).__name__,
            )
        case ResponseParserError():
            return garbage("it is no XML that botocore can read")
        case _:
            # The parser takes the shape of the answer for granted.
            return garbage(f"{type(error).__name__} in it")


def bad_endpoint(call: Call, error: ValueError) -> StsRequestRejectedError:
    """Return the error for an endpoint or a region that can be none."""
    return StsRequestRejectedError(
        f"profile {call.profile}: no client of STS can be made: {error}",
        hint="mend AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_STS, the endpoint_url of the source profile "
        "or the region, whichever it names",
        code="BadEndpoint",
    )


def _refusal(call: Call, error: exceptions.ClientError, *, is_new: bool) -> AssumedError:
    code = str(error.response.get("Error", {}).get("Code") or "Unknown")
    text = str(error.response.get("Error", {}).get("Message") or "no reason given")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    message = f"profile {call.profile}: {call.role_arn or 'its own credentials'}: {code}: {text}"
    if code in _THROTTLED or status == HTTPStatus.TOO_MANY_REQUESTS:
        return StsThrottledError(message, hint="nothing to do: it is tried again, more slowly")
    if code in {"AccessDenied", "AccessDeniedException"}:
        return AssumeRoleDeniedError(message, hint=_hint_of_denial(call, text))
    if code in _SKEWED or (code == "SignatureDoesNotMatch" and _SIGNED_AT_ANOTHER_TIME in text):
        return ClockSkewedError(
            message,
            hint="this machine's clock is wrong by minutes: set it (`timedatectl set-ntp true`)",
            is_new=is_new,
        )
    if code in _REJECTED_KEYS:
        return SourceRejectedError(
            message,
            hint=f"STS does not accept the credentials of {call.source}: renew them; "
            "refreshes go on by themselves after it",
            code=code,
        )
    is_down = status >= HTTPStatus.INTERNAL_SERVER_ERROR or code in _PASSING
    if is_down or code.isdigit():
        return StsUnavailableError(message, hint="nothing to do: it is tried again", code=code)
    hint = _HINT_OF_REFUSAL.get(code, "look the code up in the reference of AssumeRole")
    kind = DurationTooLongError if _MOST_DURATION in text else StsRequestRejectedError
    return kind(message, hint=hint, code=code)


def _hint_of_denial(call: Call, text: str) -> str:
    if isinstance(call.source, WebIdentity):
        return (
            f"the trust policy of {call.role_arn} must allow sts:AssumeRoleWithWebIdentity "
            "for the token's identity provider, and its conditions must hold for the token's "
            "`aud` and `sub`"
        )
    found = _CALLER.search(text)
    caller = found["arn"] if found else f"the caller ({call.source})"
    hint = (
        f"two places must allow sts:AssumeRole: the trust policy of {call.role_arn} (is there such "
        f"a role?), for {caller}; and the policies of that caller"
    )
    if found is None:
        return hint
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": _principal(caller)},
        "Action": "sts:AssumeRole",
    }
    return f"{hint}{_BEFORE_STATEMENT}{json.dumps(statement)}"


def split_statement(hint: str) -> tuple[str, Mapping[str, Any] | None]:
    """Return a hint of these without its trust-policy statement, and that statement if it has one.

    For whoever shows both apart, also where the hint has come as text from a daemon.
    """
    advice, _, statement = hint.partition(_BEFORE_STATEMENT)
    return advice, json.loads(statement) if statement else None


def _principal(caller: str) -> str:
    """Return whom a trust policy names for a caller: of a session, its role.

    A role's path is not in the ARN of its sessions, so it may have to be added.
    """
    role = Arn.parse(caller).role if is_arn(caller) else None
    return str(role) if role else caller
