"""Translates botocore's exceptions while it resolves credentials: expired login, missing keys."""

from __future__ import annotations

import shlex

from botocore import exceptions

from assumed.errors import AssumedError, SourceMissingError, SourceUnavailableError
from assumed.sts.botocore_errors import describe, own_error
from assumed.text import printable


def translate_source_error(name: str, error: Exception, *, login: str = "") -> AssumedError:
    """Return the error of the tree for an exception of botocore.

    Args:
        name: of the source profile.
        error: of any kind.
        login: the command that logs in to the profile; empty if it needs no login.
    """
    own = own_error(error)
    if isinstance(own, AssumedError):
        return own
    # It contains what a `credential_process` wrote to standard error.
    reason = describe(error)
    argument = shlex.quote(printable(name))
    match error:
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
