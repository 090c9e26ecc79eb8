"""Plain frozen types that every room shares. They know nothing of files, AWS or time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum, unique
from pathlib import Path
from types import MappingProxyType

from assumed.arn import Arn

LOGIN_EXPIRY_WARNING = timedelta(hours=2)
"""So long before the end of an MFA session somebody should give the code of the next one."""

_UNWRITABLE_NAME = re.compile(
    r"[\[\]\x00-\x1f\x7f\ufeff]|^[\s'\"]|[\s'\"]$|\s[#;]|^profile\s|^(?:__proto__|DEFAULT|)$"
    # Two words: JavaScript's SDK takes the first for a kind of section, such as `sso-session`.
    r"|^(?a:[\w-]+)\s(?a:[\w@+.%:/-]+)$"
)


def is_profile_name(name: str) -> bool:
    """Whether all AWS SDKs read a section of this name as this profile."""
    return _UNWRITABLE_NAME.search(name) is None


@dataclass(frozen=True, slots=True)
class SourceProfile:
    """A profile of the AWS config and credentials files that holds the calling credentials."""

    name: str

    def __str__(self) -> str:
        return f"profile {self.name}"


@dataclass(frozen=True, slots=True)
class ManagedProfile:
    """Another profile of this configuration: its session makes the call (role chaining)."""

    name: str

    def __str__(self) -> str:
        return f"managed profile {self.name}"


@dataclass(frozen=True, slots=True)
class WebIdentity:
    """A file with a token of an identity provider, which somebody else keeps fresh."""

    token_file: Path

    def __str__(self) -> str:
        return f"web identity {self.token_file}"


@dataclass(frozen=True, slots=True)
class MfaSession:
    """A session of GetSessionToken, which one MFA code starts on a source profile.

    There is one for each profile and device, whatever number of roles are assumed from it.

    Args:
        profile: holds long-term keys.
        serial: of the MFA device, as IAM names it.
        lifetime: that is asked for; 15 minutes to 36 hours.
        process: prints a code; empty where somebody types it.
    """

    profile: SourceProfile
    serial: str
    lifetime: timedelta = timedelta(hours=12)
    process: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.profile} with MFA"


@unique
class CredentialSource(StrEnum):
    """What the machine itself gives, by the names of `credential_source` in the AWS files."""

    ENVIRONMENT = "Environment"
    EC2 = "Ec2InstanceMetadata"
    ECS = "EcsContainer"


RootSource = SourceProfile | MfaSession | WebIdentity | CredentialSource
"""What a chain begins with."""
Source = RootSource | ManagedProfile


@dataclass(frozen=True, slots=True)
class LifetimeFraction:
    """A share of a session's lifetime: `50%` is `LifetimeShare(0.5)`."""

    fraction: float


RefreshBefore = timedelta | LifetimeFraction


@unique
class StorageMode(StrEnum):
    """Where a session is kept: in the credentials file, or in the daemon's memory alone."""

    FILE = "file"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileDefinition:
    """One profile that is kept fresh, and the AssumeRole call that does it.

    Names and units are those of STS and of the AWS config file. `role_arn` is None where no role
    is assumed, and the profile holds the source's own temporary credentials. `region` is None
    where neither the profile nor the defaults name one: `sts` then looks at the source profile's.
    """

    profile: str
    role_arn: str | None
    source: Source
    role_session_name: str
    duration_seconds: int = 3600
    refresh_before: RefreshBefore = timedelta(minutes=15)
    region: str | None = None
    fallback_regions: tuple[str, ...] = ()
    external_id: str | None = None
    policy: str | None = None
    policy_arns: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    transitive_tag_keys: tuple[str, ...] = ()
    source_identity: str | None = None
    store: StorageMode = StorageMode.FILE
    overwrite: bool = False
    enabled: bool = True

    @property
    def parent(self) -> str | None:
        """The managed profile that this one is chained to, if it is."""
        return self.source.name if isinstance(self.source, ManagedProfile) else None

    def is_same_call(self, other: ProfileDefinition) -> bool:
        """Whether both make the same AssumeRole call, whenever and wherever it is written."""
        return self == replace(
            other,
            refresh_before=self.refresh_before,
            store=self.store,
            overwrite=self.overwrite,
            enabled=self.enabled,
        )


@unique
class WriteMode(StrEnum):
    """How the credentials file changes: another takes its place, or it gets new bytes."""

    REPLACE = "replace"
    IN_PLACE = "in-place"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a configuration file says: definitions in the file's order, by profile name."""

    path: Path
    profiles: Mapping[str, ProfileDefinition]
    credentials_file: Path | None = None
    """None: where the AWS SDKs look (`AWS_SHARED_CREDENTIALS_FILE`, `~/.aws/credentials`)."""
    write: WriteMode = WriteMode.REPLACE
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """The commands, by key: `on_refresh` and the like."""
    metrics_port: int | None = None
    """Of 127.0.0.1."""
    metrics_textfile: Path | None = None


@dataclass(frozen=True, slots=True)
class SourceCredentials:
    """Whatever signs the AssumeRole call; `session_token` is None for long-term keys."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class TemporaryCredentials:
    """Credentials that are no role's, and end; `expiration` is aware UTC, as the issuer tells."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expiration: datetime


@dataclass(frozen=True, slots=True)
class SessionTokenResponse:
    """What GetSessionToken answered; `answered_at` is STS's own `Date`, aware UTC."""

    credentials: TemporaryCredentials
    answered_at: datetime


@dataclass(frozen=True, slots=True)
class WebIdentityToken:
    """What stands in for a signature in AssumeRoleWithWebIdentity."""

    token: str = field(repr=False)


SourceAuthentication = SourceCredentials | WebIdentityToken
"""On whose behalf a role is assumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A role session's credentials as STS issued them, always handed on as one set.

    `expiration` is aware UTC and by STS's clock. `principal_arn` is the assumed-role ARN,
    `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION-NAME`.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expiration: datetime
    principal_arn: str

    def is_same_as(self, other: Credentials) -> bool:
        """Whether both are one session's, whatever fraction of a second its expiration has."""
        return (self.access_key_id, self.secret_access_key, self.session_token) == (
            other.access_key_id,
            other.secret_access_key,
            other.session_token,
        )

    @property
    def account_id(self) -> str:
        """The twelve digits of the account that the role is in."""
        return Arn.parse(self.principal_arn).account


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSession:
    """Credentials on the clock that counts suspend, so that no wall clock can lie about them.

    Args:
        credentials: what STS issued.
        expires_at: seconds of `Clock.boottime()`.
        lifetime: from STS's own `Date` to `Expiration`.
        refreshed_at: aware UTC, by the local wall clock: for people to read; None where the
            session was found in the file.
        is_stored: it is in the credentials file.
        trusts_wall_clock: `expires_at` was reckoned with the local wall clock, for STS had not
            told its time yet.
    """

    credentials: Credentials
    expires_at: float
    lifetime: timedelta
    refreshed_at: datetime | None = None
    is_stored: bool = False
    trusts_wall_clock: bool = False


@unique
class ProfileState(StrEnum):
    """What `status` says of a profile."""

    PENDING = "pending"
    VALID = "valid"
    FAILING = "failing"
    EXPIRED = "expired"
    NEEDS_LOGIN = "needs-login"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why the last refresh of a profile failed: `last_error` of `status --json`."""

    code: str
    message: str
    hint: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileStatus:
    """One row of `status`. Times are aware UTC by the local wall clock; ends of sessions, STS's.

    `seconds_left` is None where no session is known, and never negative; `lifetime_seconds` is how
    long that session lasts in all. `store` is a `StorageMode`.
    `mfa_serial` is the device whose code starts the session that the role is assumed from, and
    `login_expires_at` the end of that session.
    """

    profile: str
    role_arn: str | None
    source: str
    store: str = StorageMode.FILE
    state: ProfileState
    expires_at: datetime | None = None
    seconds_left: int | None = None
    lifetime_seconds: int | None = None
    refreshed_at: datetime | None = None
    next_attempt_at: datetime | None = None
    refreshes: int = 0
    consecutive_failures: int = 0
    last_error: Failure | None = None
    mfa_serial: str | None = None
    login_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStatus:
    """The daemon itself, as `status --json` shows it."""

    pid: int
    version: str
    started_at: datetime
    config: str
    config_error: str | None = None
    clock_skew_seconds: int = 0
    """How far this machine's clock is ahead of STS's; 0 where it is under a minute either way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The answer to `assumed status`; `daemon` is None where none runs."""

    daemon: DaemonStatus | None
    profiles: tuple[ProfileStatus, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one asked-for refresh came to: refreshed, still fresh and left alone, or failed."""

    profile: str
    was_fresh: bool = False
    expires_at: datetime | None = None
    failure: Failure | None = None

    @property
    def ok(self) -> bool:
        """Whether the profile holds a session that need not be refreshed now."""
        return self.failure is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """An MFA session that a code has started for a profile; `expires_at` is STS's, aware UTC."""

    profile: str
    mfa_serial: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAddress:
    """Where an AWS SDK finds one profile's credentials, and the file with what opens them."""

    url: str
    token_file: Path
