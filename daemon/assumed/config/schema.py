"""The keys of the configuration file; the JSON Schema and the reference are generated from them.

A text that is not set is empty.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from assumed.config.fields import (
    AbsolutePath,
    Boolean,
    Command,
    CredentialSourceValue,
    DurationSeconds,
    ExternalId,
    Hook,
    MetricsTextfile,
    MfaSerial,
    MfaSessionLength,
    Policy,
    PolicyArn,
    Port,
    RefreshBeforeValue,
    Region,
    RoleArn,
    SessionName,
    StorageModeValue,
    TagKey,
    TagValue,
    Text,
    WriteModeValue,
)
from assumed.models import DEFAULT_REFRESH_BEFORE, StorageMode, WriteMode

SOURCE_KEYS = ("source_profile", "credential_source", "web_identity_token_file")
"""The keys that name where the source credentials come from; a profile has one of them."""


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProfileModel(_StrictModel):
    """The keys of a profile, or of `defaults` for all profiles."""

    role_arn: Annotated[
        RoleArn,
        Field(
            description="The role to assume. Without it, the profile holds the temporary "
            "credentials of the source itself (SSO, an MFA session, a credential_process that "
            "reports an Expiration, an instance role), for tools that cannot use that source. "
            "Long-term keys are never copied."
        ),
    ] = ""
    source_profile: Annotated[
        Text,
        Field(
            description="The profile whose credentials assume the role: a profile of the AWS files "
            "(keys, SSO, `aws login`, a credential_process), or another profile of this file (role "
            "chaining)."
        ),
    ] = ""
    credential_source: Annotated[
        CredentialSourceValue,
        Field(
            description="Instead of source_profile: the role of the EC2 instance, of the ECS task "
            "or the EKS pod, or the keys in the environment of assumed."
        ),
    ] = None
    web_identity_token_file: Annotated[
        AbsolutePath,
        Field(
            description="Instead of source_profile: a file with a token of an identity provider "
            "(EKS, GitLab, GitHub) for AssumeRoleWithWebIdentity. It is read for each call. "
            "Excludes external_id, tags, transitive_tag_keys and source_identity."
        ),
    ] = ""
    mfa_serial: Annotated[
        MfaSerial,
        Field(
            description="The MFA device of the source profile's user. One code starts a session "
            "(see mfa_session) that assumes the roles."
        ),
    ] = ""
    mfa_session: Annotated[
        MfaSessionLength,
        Field(
            description="How long the session that an MFA code starts is valid. With none, the "
            "code goes with AssumeRole itself: one code for each session of the role, which may "
            "then last up to 12h. STS limits roles that are assumed from an MFA session to 1h."
        ),
    ] = timedelta(hours=12)
    mfa_process: Annotated[
        Command,
        Field(
            description="A command that prints an MFA code, such as `ykman oath accounts code "
            "--single AWS`. It runs without a shell for at most 120 s, and its output is never "
            "logged. Without it, `assumed login` asks for the code."
        ),
    ] = ()
    role_session_name: Annotated[
        SessionName,
        Field(description="The name of the role session; by default assumed-USER@HOST."),
    ] = ""
    duration_seconds: Annotated[
        DurationSeconds,
        Field(
            description="The lifetime of a session. The role may limit it, and STS limits chained "
            "roles to 1h."
        ),
    ] = 3600
    refresh_before: Annotated[
        RefreshBeforeValue,
        Field(
            description="How long before its expiration a session is refreshed, as a duration or a "
            "percentage of its lifetime; never more than half of it."
        ),
    ] = DEFAULT_REFRESH_BEFORE
    config_profile: Annotated[
        Text,
        Field(
            description="The profile of the AWS config file whose settings decide where STS is "
            "called (region, use_fips_endpoint, use_dualstack_endpoint, endpoint_url, services, "
            "ca_bundle, sts_regional_endpoints), and which `assumed exec` passes on; by default "
            "the profile of the same name if it has settings, or else the source profile."
        ),
    ] = ""
    region: Annotated[
        Region,
        Field(
            description="The region of the STS endpoint; by default the region of config_profile, "
            "or else the first of the partition."
        ),
    ] = ""
    fallback_regions: Annotated[
        tuple[Region, ...],
        Field(description="Regions to try in this order while the STS of `region` is unavailable."),
    ] = ()
    external_id: Annotated[
        ExternalId, Field(description="The external ID that the role's trust policy requires.")
    ] = ""
    policy: Annotated[
        Policy,
        Field(
            description="A session policy, as JSON or as a mapping, that limits the permissions of "
            "the role."
        ),
    ] = ""
    policy_arns: Annotated[
        tuple[PolicyArn, ...],
        Field(
            max_length=10, description="Managed policies that limit the permissions of the role."
        ),
    ] = ()
    tags: Annotated[dict[TagKey, TagValue], Field(max_length=50, description="Session tags.")] = {}
    transitive_tag_keys: Annotated[
        tuple[TagKey, ...],
        Field(max_length=50, description="The session tags that chained roles inherit."),
    ] = ()
    source_identity: Annotated[
        SessionName,
        Field(description="The source identity of the session, which CloudTrail records."),
    ] = ""
    store: Annotated[
        StorageModeValue,
        Field(
            description="Where the session is kept: in the credentials file, or in memory only, "
            "where the daemon serves it to export-credentials, credential_process and exec."
        ),
    ] = StorageMode.FILE
    overwrite: Annotated[
        Boolean,
        Field(
            description="Replace long-term keys and the credentials of other tools in this profile "
            "too; long-term keys are backed up first."
        ),
    ] = False
    credential_process: Annotated[
        Boolean,
        Field(
            description="Also keep a profile NAME-live in both AWS files, whose credential_process "
            "prints this session, for SDKs that would otherwise keep the keys that they have read. "
            "`assumed logout` removes it."
        ),
    ] = False
    enabled: Annotated[
        Boolean, Field(description="Whether the profile is refreshed; false leaves it as it is.")
    ] = True


class CredentialsFileModel(_StrictModel):
    """Which credentials file is written, and how."""

    path: Annotated[
        AbsolutePath,
        Field(
            description="The credentials file; by default $AWS_SHARED_CREDENTIALS_FILE, or else "
            "~/.aws/credentials."
        ),
    ] = ""
    write: Annotated[
        WriteModeValue,
        Field(
            description="How the file is written: replaced atomically, or in-place, which is less "
            "safe, for a file that is mounted into a container."
        ),
    ] = WriteMode.REPLACE


class HooksModel(_StrictModel):
    """Commands that the daemon runs on events of a profile: lists of words, without a shell."""

    on_refresh: Annotated[Hook, Field(description="A profile has a new session.")] = ()
    on_failure: Annotated[
        Hook,
        Field(
            description="A refresh failed for the first time, or a session expired while refreshes "
            "failed."
        ),
    ] = ()
    on_needs_login: Annotated[
        Hook,
        Field(description="A login is required, or an MFA session expires within two hours."),
    ] = ()
    on_recovered: Annotated[Hook, Field(description="A refresh succeeded after failed ones.")] = ()


class MetricsModel(_StrictModel):
    """Where the daemon publishes Prometheus metrics, besides the API socket."""

    port: Annotated[
        Port, Field(description="A port for http://127.0.0.1:PORT/metrics, such as 9464.")
    ] = None
    textfile: Annotated[
        MetricsTextfile,
        Field(
            description="A file for the textfile collector of the node exporter; it ends in .prom. "
            "`{user}` stands for the name of the user."
        ),
    ] = ""


class ConfigurationModel(_StrictModel):
    """The configuration of assumed: the profiles to refresh."""

    defaults: Annotated[
        ProfileModel, Field(description="Values for all profiles that do not set them themselves.")
    ] = ProfileModel()
    profiles: Annotated[
        dict[str, ProfileModel],
        Field(min_length=1, description="Profiles by their name in the credentials file."),
    ]
    credentials_file: CredentialsFileModel = CredentialsFileModel()
    hooks: HooksModel = HooksModel()
    metrics: MetricsModel = MetricsModel()
