"""The exceptions of this package. Each has a code, a message and a hint for the user.

The message says what happened, without the code. It names the profile only if the error can be
shown where no profile stands beside it. The hint is true wherever the error is shown: only the
daemon retries, so `retry_advice` says that for the daemon and for a standalone command.

The fast path imports nothing, so it has two exceptions of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, unique


@unique
class RetryPolicy(Enum):
    """When a retry may succeed; `engine.refresh_policy.retry_delay` turns it into a delay."""

    BACK_OFF = "back off"
    """A temporary failure outside this machine: the network, rate limits, a failing endpoint."""
    SOON = "soon"
    """A failure of this machine alone, such as a full disk: a retry costs no API call."""
    SLOWLY = "slowly"
    """A rejection that the user has to resolve elsewhere (IAM is eventually consistent)."""
    ON_CHANGE = "on change"
    """No retry before the source of the credentials changes."""


class AssumedError(Exception):
    """The base class of all errors that a user can meet.

    Args:
        message: what happened, to which file, line or profile; never a secret.
        hint: what to do next; never a secret.
    """

    code = "Error"
    exit_status = 1
    retry = RetryPolicy.BACK_OFF

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AssumedError):
    """The command line or the request is wrong, such as an unknown profile."""

    code = "Usage"
    exit_status = 2


class ConfigurationError(AssumedError):
    """The configuration is invalid; `problems` has one line for each problem."""

    code = "Configuration"
    exit_status = 78  # EX_CONFIG of sysexits.h; the systemd units do not restart on it

    def __init__(self, problems: Sequence[str], *, hint: str) -> None:
        super().__init__("\n".join(problems), hint=hint)
        self.problems = tuple(problems)


class InvalidConfigurationError(ConfigurationError):
    """The configuration file was read, and its content is invalid."""


class ConfigurationUnavailableError(AssumedError):
    """The configuration, or the AWS files that it names, cannot be read for now.

    It says nothing about their content, so its exit status is not the one of a wrong configuration.
    """

    code = "ConfigurationUnavailable"
    retry = RetryPolicy.SOON


class ConfigurationMissingError(ConfigurationError):
    """There is no configuration file, or none of the AWS files that it needs."""


class NoRoleProfilesError(AssumedError):
    """The AWS files have no role profile to generate a first configuration from."""

    code = "NoRoleProfiles"


class ConfigurationNotWrittenError(AssumedError):
    """The operating system did not let us write a first configuration."""

    code = "ConfigurationNotWritten"


class AdoptionRejectedError(AssumedError):
    """A profile of the AWS files cannot be adopted or released; no file was changed for it."""

    code = "AdoptionRejected"


class SourceMissingError(AssumedError):
    """The source credentials are missing or expired, and the user has to log in or add them."""

    code = "SourceMissing"
    retry = RetryPolicy.ON_CHANGE


class LongTermKeysError(SourceMissingError):
    """The source credentials do not expire; long-term keys are never copied."""

    code = "LongTermKeys"


class MfaCodeNeededError(SourceMissingError):
    """There is no MFA session, and the user has to enter an MFA code."""

    code = "MfaCodeNeeded"


class MfaCodeRejectedError(AssumedError):
    """STS rejected the MFA code, or the code was used before."""

    code = "MfaCodeRejected"
    retry = RetryPolicy.SLOWLY


class SourceUnavailableError(AssumedError):
    """The source credentials are unavailable: an endpoint or a process failed."""

    code = "SourceUnavailable"


class SourceTimeoutError(SourceUnavailableError):
    """A command that supplies credentials or an MFA code did not end in time."""

    code = "SourceTimeout"


class AwsFilesUnreadableError(SourceUnavailableError):
    """The AWS config or credentials file is malformed: no AWS tool can read it."""

    code = "AwsFilesUnreadable"
    retry = RetryPolicy.SOON


class LocalFaultError(SourceUnavailableError):
    """This machine could not open a file or start a process for now: descriptors, memory, I/O."""

    code = "LocalFault"
    retry = RetryPolicy.SOON


class ParentNotReadyError(AssumedError):
    """The managed profile that a chained profile is assumed from has no valid session."""

    code = "ParentNotReady"
    retry = RetryPolicy.ON_CHANGE

    def __init__(self, *, profile: str, parent: str, because: str = "") -> None:
        super().__init__(
            f"its source profile {parent} has no valid session"
            + (f": {because}" if because else " yet"),
            hint=f"`assumed refresh {parent}` shows why",
        )
        self.profile, self.parent = profile, parent

    def because_of(self, code: str) -> ParentNotReadyError:
        """Return the same error with the code of the parent's failure."""
        return ParentNotReadyError(profile=self.profile, parent=self.parent, because=code)


class AssumeRoleDeniedError(AssumedError):
    """STS denied AssumeRole: the trust policy or an identity policy does not allow it."""

    code = "AccessDenied"
    retry = RetryPolicy.SLOWLY


class StsRequestRejectedError(AssumedError):
    """STS rejected the request: invalid parameters, a disabled region, rejected credentials."""

    retry = RetryPolicy.SLOWLY

    def __init__(self, message: str, *, hint: str, code: str) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class DurationTooLongError(StsRequestRejectedError):
    """The requested duration exceeds the role's maximum session duration."""


class SourceRejectedError(StsRequestRejectedError):
    """STS rejected the source credentials: expired token, deleted or mistyped keys."""


class StsThrottledError(AssumedError):
    """STS throttled the request: the rate limit is exceeded."""

    code = "Throttling"


class StsUnavailableError(AssumedError):
    """STS sent no usable response: network failure, time-out, 5xx, or a malformed response."""

    def __init__(self, message: str, *, hint: str, code: str = "StsUnavailable") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class ClockSkewedError(StsUnavailableError):
    """STS rejected a signature because this machine's clock is wrong.

    `is_new` is True if the skew was not known before, so that one more call with the corrected
    time can succeed.
    """

    def __init__(self, message: str, *, hint: str, is_new: bool) -> None:
        super().__init__(message, hint=hint, code="ClockSkewed")
        self.is_new = is_new


class RefreshFailedError(AssumedError):
    """There are no valid credentials; code, message and hint are of the last failed refresh."""

    def __init__(self, message: str, *, hint: str, code: str) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class CredentialsFileError(AssumedError):
    """The credentials file was not changed."""

    code = "CredentialsFile"
    retry = RetryPolicy.SOON


class CredentialsFileMalformedError(CredentialsFileError):
    """The credentials file has a syntax error: botocore cannot read it for any profile."""

    code = "CredentialsFileMalformed"

    def __init__(self, *, path: str, line: int, problem: str, hint: str) -> None:
        super().__init__(f"{path}:{line}: {problem}", hint=hint)
        self.path, self.line = path, line


class ProfileNotManagedError(CredentialsFileError):
    """The profile holds credentials that assumed did not write."""

    code = "ProfileNotManaged"
    retry = RetryPolicy.SLOWLY


class ProfileAmbiguousError(CredentialsFileError):
    """The AWS SDKs would read different credentials from this profile."""

    code = "ProfileAmbiguous"
    retry = RetryPolicy.SLOWLY


class CredentialsFileUnwritableError(CredentialsFileError):
    """The operating system did not let us read or replace the credentials file."""

    code = "CredentialsFileUnwritable"


class CommandNotStartedError(AssumedError):
    """`assumed exec` could not execute the command: not found, or permission denied."""

    code = "CommandNotStarted"

    def __init__(self, message: str, *, hint: str, exit_status: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_status = exit_status


class HookFailedError(AssumedError):
    """A hook could not be started, failed, or took too long.

    `hook_status` is its exit status, or None if it did not exit by itself.
    """

    code = "HookFailed"

    def __init__(self, message: str, *, hint: str, hook_status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.hook_status = hook_status


class AlreadyRunningError(AssumedError):
    """Another daemon holds this socket or this credentials file."""

    code = "AlreadyRunning"


class DaemonUnreachableError(AssumedError):
    """The daemon does not respond, or its socket is not trusted."""

    code = "DaemonUnreachable"


class OtherConfigurationError(AssumedError):
    """The client asked for a daemon with another configuration file."""

    code = "OtherConfiguration"


class ServiceManagerError(AssumedError):
    """systemd does not run, or it rejected the request."""

    code = "ServiceManager"


class UnexpectedError(AssumedError):
    """An internal error of assumed; it does not affect other profiles."""

    code = "Unexpected"


def retry_advice(error: AssumedError, *, by_daemon: bool) -> str | None:
    """Return what follows the hint: that the daemon will retry, or that the user has to.

    Args:
        error: why a refresh failed.
        by_daemon: whether a daemon keeps the profile refreshed; else a command ends with this
            error.

    Returns:
        None if a retry does not help: the command line or the configuration has to change.
    """
    if isinstance(error, UsageError | ConfigurationError):
        return None
    if not by_daemon:
        return "then run the command again"
    if isinstance(error, ParentNotReadyError):
        return f"the daemon refreshes this profile as soon as {error.parent} has a session"
    if error.retry is RetryPolicy.ON_CHANGE:
        return "the daemon will retry after that"
    return "the daemon will retry"
