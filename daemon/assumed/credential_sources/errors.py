"""Translates botocore's exceptions while it resolves credentials: expired login, missing keys."""

from __future__ import annotations

import shlex

from botocore import exceptions

from assumed.errors import (
    AssumedError,
    LocalFaultError,
    SourceMissingError,
    SourceUnavailableError,
)
from assumed.fsutil import is_local_fault, local_fault_hint
from assumed.sts.botocore_errors import describe, own_error
from assumed.text import printable


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
    own = own_error(error)
    if isinstance(own, AssumedError):
        return own
    if fault is None and isinstance(error, OSError) and is_local_fault(error):
        fault = error
    # It contains what a `credential_process` wrote to standard error.
    reason = describe(error)
    argument = shlex.quote(printable(name))
    match error:
        case _ if fault is not None and not isinstance(error, exceptions.HTTPClientError):
            where = f"{fault.filename}: " if fault.filename else ""
            return LocalFaultError(
                f"source profile {name}: {where}{fault.strerror}", hint=local_fault_hint(fault)
            )
        case exceptions.SSOError() | exceptions.TokenRetrievalError():
            message = f"the SSO login of source profile {name} is missing or expired: {reason}"
            hint = f"run `{login or 'aws sso login'}`"
        case exceptions.LoginError():
            message = f"the login of source profile {name} is missing or expired: {reason}"
            hint = f"run `{login or 'aws login'}`"
        case exceptions.MissingDependencyException():
            message = f"source profile {name} has a kind of login for which botocore needs awscrt"
            hint = "install it with `pipx inject assumed awscrt`, and restart a running daemon"
        case exceptions.PartialCredentialsError() | exceptions.ProfileNotFound():
            message = f"source profile {name}: {reason}"
            hint = f"store long-term keys in it with `aws configure --profile {argument}`"
        case _:
            return SourceUnavailableError(
                f"source profile {name}: credentials unavailable: {reason}",
                hint=f"reproduce it with `aws sts get-caller-identity --profile {argument}`",
            )
    return SourceMissingError(message, hint=hint)
