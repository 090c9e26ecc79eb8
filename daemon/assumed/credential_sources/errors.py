"""What botocore's exceptions mean, for whoever has to do something about them."""

from __future__ import annotations

from botocore import exceptions

from assumed.errors import AssumedError, SourceMissingError, SourceUnavailableError
from assumed.logs import redact


def source_error(name: str, error: Exception, *, login: str = "") -> AssumedError:
    """Return what an exception means that botocore raised while it found credentials.

    Args:
        name: of the profile.
        error: of whatever kind.
        login: the command that a login of the profile takes, if it takes one.
    """
    match error:
        case AssumedError():
            return error
        case exceptions.SSOError() | exceptions.TokenRetrievalError():
            problem = f"its SSO login has run out: {error}"
            hint = f"`{login or 'aws sso login'}`; refreshes go on by themselves after it"
        case exceptions.LoginError():
            problem = f"its login has run out: {error}"
            hint = f"`{login or 'aws login'}`; refreshes go on by themselves after it"
        case exceptions.MissingDependencyException():
            problem = "botocore takes a login of this kind only with the library awscrt"
            hint = "`pipx inject assumed awscrt`, and start the daemon again"
        case exceptions.PartialCredentialsError() | exceptions.ProfileNotFound():
            problem = str(error)
            hint = f"`aws configure --profile {name}` stores long-term keys in it"
        case _:
            return SourceUnavailableError(
                f"profile {name}: no credentials to be had: {_reason(error)}",
                hint=f"`aws sts get-caller-identity --profile {name}` shows the same by hand",
            )
    return SourceMissingError(f"profile {name}: {problem}", hint=hint)


def _reason(error: Exception) -> str:
    if isinstance(error, exceptions.BotoCoreError | exceptions.ClientError | OSError):
        # What a `credential_process` writes to standard error is in it.
        return redact(str(error)).strip()
    # botocore takes the shape of what a process printed or a cache holds for granted.
    return f"{type(error).__name__}: {redact(str(error))}"
