"""Translates botocore's exceptions into the error tree: access denied, expired token, rate limit.

The class of an error decides how it is retried. No message contains the code, and no hint says
that something is retried: only the daemon retries.
"""

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
    LocalFaultError,
    SourceRejectedError,
    StsRequestRejectedError,
    StsThrottledError,
    StsUnavailableError,
)
from assumed.fsutil import local_fault_hint, shortage
from assumed.models import Source, WebIdentity
from assumed.sts.botocore_errors import describe, own_error
from assumed.sts.response_limits import ResponseLimitError
from assumed.sts.responses import PROXY_HINT, malformed_response
from assumed.untrusted_text import clean, error_code

_BEFORE_STATEMENT = ". In the trust policy: "
_PRINCIPAL = re.compile(r"User: (?P<arn>arn:\S+) is not authorized")

_THROTTLED = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "TooManyRequestsException",
    "SlowDown",
}
REJECTED_CREDENTIALS = {
    "AuthFailure",
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
"""The codes of `SourceRejectedError`: the user has to log in, or replace the keys."""
# STS accepts a signature for 15 minutes around its own time.
_SKEWED = {"RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"}
_SKEWED_SIGNATURE = "Signature "  # "expired: …" or "not yet current: …"
_TEMPORARY = {"IDPCommunicationError", "Unknown"}
# Both limits of STS: that of the role, and the hour of a role that is assumed from a session.
_MAX_DURATION = ("MaxSessionDuration", "1 hour session limit")
_HEALTH_HINT = "STS has a temporary failure: see the AWS Health Dashboard if it lasts"
# The answers of a server without STS, such as a plain S3 one, to AssumeRole.
_NOT_STS = {"InvalidAction", "MethodNotAllowed", "NotImplemented"}
_NOT_STS_HINT = (
    "this server does not implement AssumeRole: check endpoint_url of the source profile, "
    "AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_STS"
)
_STATUS_HINTS = {
    "404": _NOT_STS_HINT,
    "405": _NOT_STS_HINT,
    "407": "the proxy requires a user name and a password: put them into HTTPS_PROXY, or ask for "
    "an exception for STS",
}
_HINTS = {
    **dict.fromkeys(_NOT_STS, _NOT_STS_HINT),
    "MalformedPolicyDocument": "correct `policy` of this profile",
    "PackedPolicyTooLarge": "shorten policy, policy_arns or tags: STS packs them together",
    "RegionDisabledException": "activate STS for this region in the IAM console of the source "
    "credentials' account, or set another `region`",
    "ValidationError": "compare duration_seconds with the role's maximum session duration, and "
    "the other keys of this profile with what the role allows",
}


class Call(Protocol):
    """What a request to STS is for; a `ProfileDefinition` is one."""

    @property
    def profile(self) -> str:
        """The profile that the request is made for."""
        ...

    @property
    def source(self) -> Source:
        """The source of the credentials that sign it."""
        ...

    @property
    def role_arn(self) -> str | None:
        """The role; None if no role is assumed."""
        ...


def translate_error(call: Call, error: Exception, *, is_new_skew: bool = False) -> AssumedError:
    """Return the error of the tree for an exception of botocore.

    Args:
        call: what the request was for.
        error: what botocore raised; of any kind.
        is_new_skew: whether the response has changed the known clock skew.
    """
    own = own_error(error)
    if isinstance(own, AssumedError):
        return own
    match own or error:
        case ResponseLimitError() as limit:
            translated: AssumedError = StsUnavailableError(
                str(limit), hint=PROXY_HINT, code="ResponseLimit"
            )
        case exceptions.ClientError() as response:
            translated = _translate_error_response(call, response, is_new_skew=is_new_skew)
        case exceptions.ParamValidationError():
            translated = StsRequestRejectedError(
                clean(str(error)),
                hint="correct this profile in the configuration",
                code="ParamValidation",
            )
        case exceptions.BotoCoreError() | OSError() if (fault := shortage(error)) is not None:
            return LocalFaultError(
                f"the connection to STS cannot be opened: {fault.strerror}",
                hint=local_fault_hint(fault),
            )
        case exceptions.BotoCoreError() | OSError():
            translated = StsUnavailableError(
                describe(error),
                hint="check network, VPN, proxy and CA settings",
                code=type(error).__name__,
            )
        case ResponseParserError():
            translated = malformed_response("it is not XML that botocore can parse")
        case _:
            # botocore's parser trusts the shape of a response.
            translated = malformed_response(type(error).__name__)
    return translated


def bad_endpoint(error: ValueError) -> StsRequestRejectedError:
    """Return the error for an invalid endpoint URL or region."""
    return StsRequestRejectedError(
        f"invalid STS endpoint or region: {clean(str(error))}",
        hint="correct what the message names: `region`, the endpoint_url of the source profile, "
        "AWS_ENDPOINT_URL or AWS_ENDPOINT_URL_STS",
        code="BadEndpoint",
    )


def _error_element(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return code and message of an error response.

    Ceph RGW sends `<Error>` without `<ErrorResponse>` around it, and botocore then has its elements
    at the top level.
    """
    found = response.get("Error")
    return found if isinstance(found, Mapping) and found else response


def _translate_error_response(
    call: Call, error: exceptions.ClientError, *, is_new_skew: bool
) -> AssumedError:
    found = _error_element(error.response)
    code = error_code(found.get("Code"))
    text = clean(str(found.get("Message") or "no reason given"))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    subject = call.role_arn or str(call.source)
    message = text if subject in text else f"{subject}: {text}"
    if code in _THROTTLED or status == HTTPStatus.TOO_MANY_REQUESTS:
        return StsThrottledError(
            message, hint="the rate limit of STS is exceeded: see what else calls it in the account"
        )
    if code in {"AccessDenied", "AccessDeniedException"}:
        return AssumeRoleDeniedError(message, hint=denial_hint(call, text=text))
    if code in _SKEWED or (code == "SignatureDoesNotMatch" and _SKEWED_SIGNATURE in text):
        return ClockSkewedError(
            message,
            hint="this machine's clock is wrong: set it (`timedatectl set-ntp true`)",
            is_new=is_new_skew,
        )
    if code in REJECTED_CREDENTIALS:
        return SourceRejectedError(
            message, hint=f"renew the credentials of {call.source}", code=code
        )
    # A number is the status of an HTTP server, such as a proxy, and no error code of STS.
    is_failing = status >= HTTPStatus.INTERNAL_SERVER_ERROR and code not in _NOT_STS
    if is_failing or code in _TEMPORARY or code.isdigit():
        is_of_sts = not code.isdigit() and status >= HTTPStatus.INTERNAL_SERVER_ERROR
        hint = _HEALTH_HINT if is_of_sts else _STATUS_HINTS.get(code, PROXY_HINT)
        return StsUnavailableError(message, hint=hint, code=code)
    hint = _HINTS.get(code, "look the code up in the API reference of AssumeRole")
    kind = (
        DurationTooLongError
        if any(limit in text for limit in _MAX_DURATION)
        else StsRequestRejectedError
    )
    return kind(message, hint=hint, code=code)


def denial_hint(call: Call, *, identity_arn: str | None = None, text: str = "") -> str:
    """Return what to do about a denied role.

    Args:
        call: what the request was for.
        identity_arn: the identity of the caller by GetCallerIdentity. Only for this one does the
            hint have a statement to copy: anything could stand in the message of an error.
        text: the message of the error.
    """
    if isinstance(call.source, WebIdentity):
        return (
            f"the trust policy of {call.role_arn} must allow sts:AssumeRoleWithWebIdentity "
            "for the token's identity provider, and its conditions must match the token's "
            "`aud` and `sub`"
        )
    found = _PRINCIPAL.search(text)
    principal = identity_arn or (found["arn"] if found else "")
    shown = principal if is_arn(principal) else f"the identity of {call.source}"
    hint = (
        f"sts:AssumeRole must be allowed twice: by the trust policy of {call.role_arn} for "
        f"{shown}, and by a policy of {shown}; the role may also not exist"
    )
    if identity_arn is None:
        return f"{hint}. `assumed check --live` prints the statement for the trust policy"
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": _trusted_principal(identity_arn)},
        "Action": "sts:AssumeRole",
    }
    return f"{hint}{_BEFORE_STATEMENT}{json.dumps(statement)}"


def split_statement(hint: str) -> tuple[str, Mapping[str, Any] | None]:
    """Return a hint without its trust-policy statement, and the statement; None if it has none.

    The hint may come from a daemon as text, and retry advice may follow the statement.
    """
    advice, _, rest = hint.partition(_BEFORE_STATEMENT)
    if not rest:
        return advice, None
    try:
        statement, end = json.JSONDecoder().raw_decode(rest)
    except ValueError:
        return hint, None
    return advice + rest[end:], statement


def _trusted_principal(arn: str) -> str:
    """Return what a trust policy names for an identity: for a session, its role.

    A role's path is not in the ARN of its sessions, so the user may have to add it.
    """
    role = Arn.parse(arn).role if is_arn(arn) else None
    return str(role) if role else arn
