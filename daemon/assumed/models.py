"""Plain frozen types that every package shares. They use no file, no AWS API and no clock."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum, unique
from pathlib import Path
from types import MappingProxyType

from assumed.arn import Arn

LOGIN_EXPIRY_WARNING = timedelta(hours=2)
"""How long before the expiration of an MFA session its user is asked for the next code."""

_UNSUPPORTED_NAME = re.compile(
    r"[\[\]\x00-\x1f\x7f\ufeff]|^[\s'\"]|[\s'\"]$|\s[#;]|^profile\s|^(?:__proto__|DEFAULT|)$"
    # Two words: the JavaScript SDK takes the first for a type of section, such as `sso-session`.
    r"|^(?a:[\w-]+)\s(?a:[\w@+.%:/-]+)$"
)


def is_profile_name(name: str) -> bool:
    """Return whether all AWS SDKs read a section of this name as this profile."""
    return _UNSUPPORTED_NAME.search(name) is None


@dataclass(frozen=True, slots=True)
class SourceProfile:
    """A profile of the AWS config and credentials files that holds the source credentials."""

    name: str

    def __str__(self) -> str:
        return f"profile {self.name}"


@dataclass(frozen=True, slots=True)
class ManagedProfile:
    """Another profile of this configuration, whose role session is the source (role chaining)."""

    name: str

    def __str__(self) -> str:
        return f"managed profile {self.name}"


@dataclass(frozen=True, slots=True)
class WebIdentity:
    """A file with a token of an OIDC identity provider, which another program keeps current."""

    token_file: Path

    def __str__(self) -> str:
        return f"web identity {self.token_file}"


@dataclass(frozen=True, slots=True)
class MfaSession:
    """A session of GetSessionToken, started on a source profile with an MFA code.

    All roles of one source profile and device share one session.

    Args:
        profile: the source profile, which holds long-term keys.
        serial: the serial number or ARN of the MFA device.
        lifetime: the requested duration, 15 minutes to 36 hours.
        process: the command that prints a code; empty if the user enters it.
        region: the region of the call; None for that of the settings.
        config_profiles: as in `ProfileDefinition`.
        partition: of the role, for a call without a region; None for that of the serial.

    The last three only say where GetSessionToken is called, so that two roles of different regions
    share one session.
    """

    profile: SourceProfile
    serial: str
    lifetime: timedelta = timedelta(hours=12)
    process: tuple[str, ...] = ()
    region: str | None = field(default=None, compare=False)
    config_profiles: tuple[str, ...] = field(default=(), compare=False)
    partition: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.profile} with MFA"


@dataclass(frozen=True, slots=True)
class MfaCode:
    """A source profile whose AssumeRole calls carry an MFA code themselves: no session of its own.

    STS limits a role that is assumed from an MFA session to an hour, but not this one. Each code is
    valid once, so each definition needs its own.

    Args:
        profile: the source profile, which holds long-term keys.
        serial: the serial number or ARN of the MFA device.
        owner: the managed profile that the codes are for.
        process: the command that prints a code; empty if the user enters it.
    """

    profile: SourceProfile
    serial: str
    owner: str
    process: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.profile} with MFA"


@unique
class CredentialSource(StrEnum):
    """Credentials of the machine, by the values of `credential_source` in the AWS config file."""

    ENVIRONMENT = "Environment"
    EC2 = "Ec2InstanceMetadata"
    ECS = "EcsContainer"


MfaDevice = MfaSession | MfaCode
RootSource = SourceProfile | MfaDevice | WebIdentity | CredentialSource
"""The source at the start of a chain of roles."""
Source = RootSource | ManagedProfile


@dataclass(frozen=True, slots=True)
class LifetimeFraction:
    """A fraction of a role session's lifetime: `50%` is `LifetimeFraction(0.5)`."""

    fraction: float


RefreshBefore = timedelta | LifetimeFraction

DEFAULT_REFRESH_BEFORE = LifetimeFraction(0.4)
"""24 minutes of an hour: SDKs get more than 20, see `fastpath.main.FRESH_SECONDS`."""


@unique
class StorageMode(StrEnum):
    """Where a role session is stored: in the credentials file, or only in the daemon's memory."""

    FILE = "file"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileDefinition:
    """A managed profile, and the AssumeRole call that refreshes it.

    Names and units are those of STS and of the AWS config file. If `role_arn` is None, no role is
    assumed and the profile gets the temporary credentials of the source. `config_profiles` are
    profiles of the AWS files: the settings of the first that has any decide where STS is called
    (region, endpoint, CA bundle), or else those of the source. If `region` is None, so does their
    region.
    """

    profile: str
    role_arn: str | None
    source: Source
    role_session_name: str
    duration_seconds: int = 3600
    refresh_before: RefreshBefore = DEFAULT_REFRESH_BEFORE
    config_profiles: tuple[str, ...] = ()
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
    credential_process: bool = False
    enabled: bool = True

    @property
    def parent(self) -> str | None:
        """The managed profile that this one is chained to; None if its source is another."""
        return self.source.name if isinstance(self.source, ManagedProfile) else None

    def is_same_call(self, other: ProfileDefinition) -> bool:
        """Return whether both make the same AssumeRole call, whenever and wherever it is stored."""
        return self == replace(
            other,
            refresh_before=self.refresh_before,
            store=self.store,
            overwrite=self.overwrite,
            credential_process=self.credential_process,
            enabled=self.enabled,
        )


@unique
class WriteMode(StrEnum):
    """How the credentials file is written: atomically replaced, or rewritten in place."""

    REPLACE = "replace"
    IN_PLACE = "in-place"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A validated configuration file; the definitions are in the file's order."""

    path: Path
    profiles: Mapping[str, ProfileDefinition]
    credentials_file: Path | None = None
    """None for that of the AWS SDKs (`AWS_SHARED_CREDENTIALS_FILE`, `~/.aws/credentials`)."""
    write: WriteMode = WriteMode.REPLACE
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """The commands by hook, such as `on_refresh`."""
    metrics_port: int | None = None
    """A port of 127.0.0.1."""
    metrics_textfile: Path | None = None


@dataclass(frozen=True, slots=True)
class MfaToken:
    """An MFA code for one call of AssumeRole, and the serial number or ARN of its device."""

    serial: str
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SourceCredentials:
    """The credentials that sign AssumeRole; `session_token` is None for long-term keys.

    `mfa` is sent with that call; None without a code.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(repr=False)
    mfa: MfaToken | None = None


@dataclass(frozen=True, slots=True)
class TemporaryCredentials:
    """Temporary credentials of a source, not of an assumed role; `expiration` is aware UTC."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expiration: datetime


@dataclass(frozen=True, slots=True)
class SessionTokenResponse:
    """The response to GetSessionToken; `answered_at` is its `Date` header, aware UTC."""

    credentials: TemporaryCredentials
    answered_at: datetime


@dataclass(frozen=True, slots=True)
class WebIdentityToken:
    """A token that authenticates AssumeRoleWithWebIdentity in place of a signature."""

    token: str = field(repr=False)


SourceAuthentication = SourceCredentials | WebIdentityToken
"""What authenticates the call that assumes a role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The credentials of a role session as STS issued them, never passed on in parts.

    `expiration` is aware UTC by STS's clock. `principal_arn` is the assumed-role ARN,
    `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION-NAME`.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expiration: datetime
    principal_arn: str

    def is_same_as(self, other: Credentials) -> bool:
        """Return whether both are of one session; fractions of a second in `expiration` differ."""
        return (self.access_key_id, self.secret_access_key, self.session_token) == (
            other.access_key_id,
            other.secret_access_key,
            other.session_token,
        )

    @property
    def account_id(self) -> str:
        """The twelve digits of the role's account."""
        return Arn.parse(self.principal_arn).account


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSession:
    """The temporary credentials of a role with their expiration on `Clock.boottime()`.

    That clock counts suspend, and no step of the wall clock changes it.

    Args:
        credentials: as STS issued them.
        expires_at: seconds of `Clock.boottime()`.
        lifetime: from the `Date` of the response to `Expiration`.
        refreshed_at: aware UTC by the local wall clock, for display; None if the role session
            was loaded from the file.
        is_stored: whether it is in the credentials file.
        trusts_wall_clock: whether `expires_at` was computed with the local wall clock, because
            STS has not confirmed the session yet. A step of that clock may only shorten it.
    """

    credentials: Credentials
    expires_at: float
    lifetime: timedelta
    refreshed_at: datetime | None = None
    is_stored: bool = False
    trusts_wall_clock: bool = False


@unique
class ProfileState(StrEnum):
    """The state of a profile in `assumed status`."""

    PENDING = "pending"
    VALID = "valid"
    FAILING = "failing"
    EXPIRED = "expired"
    NEEDS_LOGIN = "needs-login"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why the last refresh of a profile failed: `last_error` of `assumed status --json`.

    It is shown beside the profile, so `message` has neither the profile's name nor the code.
    `hint` may end with who retries.
    """

    code: str
    message: str
    hint: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileStatus:
    """One row of `assumed status`. Times are aware UTC by the local wall clock.

    `expires_at` and `login_expires_at` are by STS's clock. `seconds_left` is None if there is no
    session, and never negative; `lifetime_seconds` is the whole lifetime of that session. `store`
    is a `StorageMode`. `mfa_serial` is the device of the MFA session that the role is assumed
    from, and `login_expires_at` the expiration of that session; with `mfa_session: none`, the
    device whose code each role session needs, and the expiration of the role session. `waiting_for`
    is what a refresh that is under way waits for, and `waiting_seconds` since how long. `region`
    and `config_profiles` are those of the definition.
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
    waiting_for: str | None = None
    waiting_seconds: int | None = None
    region: str | None = None
    config_profiles: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStatus:
    """The daemon, as `assumed status --json` shows it."""

    pid: int
    version: str
    started_at: datetime
    config: str
    config_error: str | None = None
    clock_skew_seconds: int = 0
    """How far this machine's clock is ahead of STS's; 0 if the skew is less than a minute.

    If endpoints differ, it is the smallest skew: this machine's clock is wrong only if no endpoint
    agrees with it.
    """
    endpoint_clock_skew_seconds: Mapping[str, int] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """The skew of each endpoint that differs from `clock_skew_seconds`, by URL."""
    log_error: str | None = None
    """Why events are not logged where they should be; None if they are."""
    local_fault: str | None = None
    """What this machine lacks now: a resource that is used up, a file that does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The result of `assumed status`; `daemon` is None if no daemon runs."""

    daemon: DaemonStatus | None
    profiles: tuple[ProfileStatus, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a requested refresh: refreshed, skipped because it was fresh, or failed."""

    profile: str
    was_fresh: bool = False
    expires_at: datetime | None = None
    failure: Failure | None = None

    @property
    def ok(self) -> bool:
        """Whether the profile has a session that is not due for refresh."""
        return self.failure is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """An MFA session started for a profile; `expires_at` is by STS's clock, aware UTC."""

    profile: str
    mfa_serial: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAddress:
    """A profile's URL at the container credentials endpoint, and the file with its token."""

    url: str
    token_file: Path
