"""The error tree: every error that a user can meet has a code, a message and a hint."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, unique


@unique
class RetryPolicy(Enum):
    """When trying again may help; `schedule.retry_delay` turns it into a time."""

    BACK_OFF = "back off"
    """Trouble that passes: a network, a throttled or broken endpoint."""
    SOON = "soon"
    """Trouble of this machine alone, such as a full disk: to try again costs nobody anything."""
    SLOWLY = "slowly"
    """A refusal that a person has to mend elsewhere (IAM is eventually consistent)."""
    ON_CHANGE = "on change"
    """Not before the source of the calling credentials changes."""


class AssumedError(Exception):
    """The root of the tree.

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
    """The command line asks for something that does not exist, such as an unknown profile."""

    code = "Usage"
    exit_status = 2


class ConfigurationError(AssumedError):
    """The configuration is wrong; `problems` holds every mistake, one line each."""

    code = "Configuration"
    exit_status = 78  # EX_CONFIG of sysexits.h; the systemd units do not restart on it

    def __init__(self, problems: Sequence[str], *, hint: str) -> None:
        super().__init__("\n".join(problems), hint=hint)
        self.problems = tuple(problems)


class NoRoleProfilesError(AssumedError):
    """The AWS files have no role profile that a first configuration could be made of."""

    code = "NothingToPropose"


class ConfigurationNotWrittenError(AssumedError):
    """The operating system refused to write a first configuration."""

    code = "ConfigurationNotWritten"


class SourceMissingError(AssumedError):
    """The calling credentials are not there, or not valid any more, until somebody acts."""

    code = "SourceMissing"
    retry = RetryPolicy.ON_CHANGE


class LongTermKeysError(SourceMissingError):
    """The credentials of a source are none that end: they are never copied."""

    code = "LongTermKeys"


class MfaCodeNeededError(SourceMissingError):
    """There is no MFA session: somebody has to give a code."""

    code = "MfaCodeNeeded"


class MfaCodeRejectedError(AssumedError):
    """STS does not take the MFA code."""

    code = "MfaCodeRefused"
    retry = RetryPolicy.SLOWLY


class SourceUnavailableError(AssumedError):
    """The calling credentials can't be had just now: an endpoint or a process failed."""

    code = "SourceUnavailable"


class AwsFilesUnreadableError(SourceUnavailableError):
    """No AWS tool can read the AWS files, until somebody mends them."""

    code = "AwsFilesUnreadable"
    retry = RetryPolicy.SOON


class ParentNotReadyError(AssumedError):
    """The managed profile that a chained profile is assumed from has no valid session."""

    code = "ParentNotReady"
    retry = RetryPolicy.ON_CHANGE

    def __init__(self, *, profile: str, parent: str, because: str = "") -> None:
        super().__init__(
            f"profile {profile}: its source profile {parent} has no valid session"
            + (f": {because}" if because else " yet"),
            hint=f"it follows by itself once {parent} is refreshed: see `assumed status {parent}`",
        )
        self.profile, self.parent = profile, parent

    def because_of(self, code: str) -> ParentNotReadyError:
        """Return the same, with the code of what keeps the parent from being refreshed."""
        return ParentNotReadyError(profile=self.profile, parent=self.parent, because=code)


class AssumeRoleDeniedError(AssumedError):
    """STS refused AssumeRole: the trust policy or the caller's policy says no."""

    code = "AccessDenied"
    retry = RetryPolicy.SLOWLY


class StsRequestRejectedError(AssumedError):
    """STS understood the request and refused it for what it asks, or refused the caller's keys."""

    retry = RetryPolicy.SLOWLY

    def __init__(self, message: str, *, hint: str, code: str) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class DurationTooLongError(StsRequestRejectedError):
    """The role allows no session of this length."""


class SourceRejectedError(StsRequestRejectedError):
    """STS does not accept the calling credentials: expired, deleted, mistyped, or too new."""


class StsThrottledError(AssumedError):
    """STS asks for fewer calls."""

    code = "Throttling"


class StsUnavailableError(AssumedError):
    """No usable answer from STS: network, time-out, 5xx, or an answer that makes no sense."""

    def __init__(self, message: str, *, hint: str, code: str = "StsUnavailable") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class ClockSkewedError(StsUnavailableError):
    """STS refuses what this machine's wrong clock signed; `is_news` where it was right before."""

    def __init__(self, message: str, *, hint: str, is_news: bool) -> None:
        super().__init__(message, hint=hint, code="ClockSkewed")
        self.is_news = is_news


class RefreshFailedError(AssumedError):
    """No credentials that last: `code`, `message` and `hint` are why the last refresh failed."""

    def __init__(self, message: str, *, hint: str, code: str) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class CredentialsFileError(AssumedError):
    """The credentials file was left as it was."""

    code = "CredentialsFile"
    retry = RetryPolicy.SOON


class CredentialsFileMalformedError(CredentialsFileError):
    """The credentials file can't be read by botocore either, for any profile."""

    code = "CredentialsFileMalformed"

    def __init__(self, *, path: str, line: int, problem: str, hint: str) -> None:
        super().__init__(f"{path}:{line}: {problem}", hint=hint)
        self.path, self.line = path, line


class ProfileNotManagedError(CredentialsFileError):
    """The section holds credentials that somebody else put there."""

    code = "ProfileNotOurs"
    retry = RetryPolicy.SLOWLY


class ProfileAmbiguousError(CredentialsFileError):
    """The AWS SDKs would not read the same credentials from this section."""

    code = "ProfileAmbiguous"
    retry = RetryPolicy.SLOWLY


class CredentialsFileUnwritableError(CredentialsFileError):
    """The operating system refused to read or to replace the file."""

    code = "CredentialsFileUnwritable"


class CommandNotStartedError(AssumedError):
    """`assumed exec` could not become the command: it is not there, or can't be executed."""

    code = "CommandNotStarted"

    def __init__(self, message: str, *, hint: str, exit_status: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_status = exit_status


class AlreadyRunningError(AssumedError):
    """Another daemon holds this socket or this credentials file."""

    code = "AlreadyRunning"


class DaemonUnreachableError(AssumedError):
    """A daemon seems to be there and does not answer, or its socket can't be trusted."""

    code = "DaemonUnreachable"


class UnexpectedError(AssumedError):
    """A defect of this program, kept from taking other profiles down."""

    code = "Unexpected"
