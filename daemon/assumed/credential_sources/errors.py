"""Translates botocore's exceptions while it resolves credentials: expired login, missing keys."""

from __future__ import annotations

from botocore import exceptions

from assumed.errors import (
    AssumedError,
    LocalFaultError,
    SourceMissingError,
    SourceUnavailableError,
)
from assumed.fsutil import is_local_fault, local_fault_hint
from assumed.logs import redact


def translate_source_error(
    name: str, error: Exception, *, login: str = "", fault: OSError | None = None
) -> AssumedError:
    """Return the error of the tree for an exception of botocore.

    Args:
        name: of the source profile.
        error: of any kind.
        login: the command that logs in to the profile; empty if it needs no login.
        fault: why a cached login cannot be read now; None if all can.
    """
    if fault is None and isinstance(error, OSError) and is_local_fault(error):
        fault = error
    match error:
        case AssumedError():
            return error
        case _ if fault is not None and not isinstance(error, exceptions.HTTPClientError):
            where = f"{fault.filename}: " if fault.filename else ""
            return LocalFaultError(
                f"source profile {name}: {where}{fault.strerror}", hint=local_fault_hint(fault)
            )
        case exceptions.SSOError() | exceptions.TokenRetrievalError():
            message = f"the SSO login of source profile {name} is missing or expired: {error}"
            hint = f"run `{login or 'aws sso login'}`"
        case exceptions.LoginError():
            message = f"the login of source profile {name} is missing or expired: {error}"
            hint = f"run `{login or 'aws login'}`"
        case exceptions.MissingDependencyException():
            message = f"source profile {name} has a kind of login for which botocore needs awscrt"
            hint = "install it with `pipx inject assumed awscrt`, and restart a running daemon"
        case exceptions.PartialCredentialsError() | exceptions.ProfileNotFound():
            message = f"source profile {name}: {error}"
            hint = f"store long-term keys in it with `aws configure --profile {name}`"
        case _:
            return SourceUnavailableError(
                f"source profile {name}: credentials unavailable: {_reason(error)}",
                hint=f"reproduce it with `aws sts get-caller-identity --profile {name}`",
            )
    return SourceMissingError(message, hint=hint)


def _reason(error: Exception) -> str:
    if isinstance(error, exceptions.BotoCoreError | exceptions.ClientError | OSError):
        # It contains what a `credential_process` wrote to standard error.
        return redact(str(error)).strip()
    # botocore trusts the shape of what a process prints and of cached logins.
    return f"{type(error).__name__}: {redact(str(error))}"
