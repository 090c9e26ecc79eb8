"""The keys of the configuration file and what each holds: the JSON Schema is made of these.

A text that is not written is empty.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from assumed.config.fields import (
    AbsolutePath,
    Boolean,
    Command,
    DurationSeconds,
    ExternalId,
    Hook,
    Machine,
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
    Store,
    TagKey,
    TagValue,
    Text,
    Write,
)
from assumed.models import StorageMode, WriteMode


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProfileModel(_StrictModel):
    """The keys of a profile, or of `defaults` for all profiles."""

    role_arn: Annotated[
        RoleArn,
        Field(
            description="The role to assume. Without it the profile holds the temporary "
            "credentials of its source (SSO, an MFA session, a credential_process with an "
            "Expiration, the EC2 instance), for tools that only read the credentials file. "
            "Long-term keys are never copied."
        ),
    ] = ""
    source_profile: Annotated[
        Text,
        Field(
            description="The profile whose credentials call AssumeRole: a profile of the AWS files "
            "(keys, SSO, `aws login`, a credential_process), or another profile of this file "
            "(a chain)."
        ),
    ] = ""
    credential_source: Annotated[
        Machine,
        Field(
            description="Instead of source_profile: the role of the EC2 instance, of the ECS task "
            "or the EKS pod, or the keys in the environment of assumed itself."
        ),
    ] = None
    web_identity_token_file: Annotated[
        AbsolutePath,
        Field(
            description="Instead of source_profile: a file with a token of an identity provider "
            "(EKS, GitLab, GitHub) for AssumeRoleWithWebIdentity. The file is read at every call. "
            "Cannot be combined with external_id, tags, transitive_tag_keys or "
            "source_identity."
        ),
    ] = ""
    mfa_serial: Annotated[
        MfaSerial,
        Field(
            description="The MFA device of the source profile's user. One code starts an MFA "
            "session, from which the roles are assumed."
        ),
    ] = ""
    mfa_session: Annotated[
        MfaSessionLength,
        Field(description="Lifetime of the MFA session that one code starts."),
    ] = timedelta(hours=12)
    mfa_process: Annotated[
        Command,
        Field(
            description="A command that prints the MFA code, such as `ykman oath accounts code "
            "--single AWS`. It runs without a shell for at most 30 s, and its output is never "
            "logged. Without this key, `assumed login` asks for the code."
        ),
    ] = ()
    role_session_name: Annotated[
        SessionName,
        Field(description="The name of the role session. Default: assumed-USER@HOST."),
    ] = ""
    duration_seconds: Annotated[
        DurationSeconds,
        Field(
            description="Lifetime of a role session: at most what the role allows, and at most 1h "
            "for a chained role."
        ),
    ] = 3600
    refresh_before: Annotated[
        RefreshBeforeValue,
        Field(
            description="How long before its expiration a session is refreshed: a duration or a "
            "percentage of its lifetime, at most half of the lifetime."
        ),
    ] = timedelta(minutes=15)
    region: Annotated[
        Region,
        Field(
            description="The region whose STS endpoint is called. Default: the region of the "
            "source profile, else the first region of the partition."
        ),
    ] = ""
    fallback_regions: Annotated[
        tuple[Region, ...],
        Field(description="Regions to call, in this order, while `region` is down."),
    ] = ()
    external_id: Annotated[
        ExternalId, Field(description="The external ID that the role's trust policy requires.")
    ] = ""
    policy: Annotated[
        Policy,
        Field(description="A session policy that narrows the role, as JSON or as a mapping."),
    ] = ""
    policy_arns: Annotated[
        tuple[PolicyArn, ...],
        Field(max_length=10, description="ARNs of managed policies that narrow the role."),
    ] = ()
    tags: Annotated[dict[TagKey, TagValue], Field(max_length=50, description="Session tags.")] = {}
    transitive_tag_keys: Annotated[
        tuple[TagKey, ...],
        Field(max_length=50, description="Tags that are passed on to roles chained to this one."),
    ] = ()
    source_identity: Annotated[
        SessionName, Field(description="The source identity that CloudTrail records.")
    ] = ""
    store: Annotated[
        Store,
        Field(
            description="Where the session is kept. With memory it is never written to disk: only "
            "the daemon has it (export-credentials, credential_process, exec)."
        ),
    ] = StorageMode.FILE
    overwrite: Annotated[
        Boolean,
        Field(
            description="Also replace long-term keys in this profile, or credentials that another "
            "tool manages. Long-term keys are backed up first."
        ),
    ] = False
    enabled: Annotated[
        Boolean, Field(description="Whether to refresh this profile. With false it is not touched.")
    ] = True


class CredentialsFileModel(_StrictModel):
    """Which credentials file to write, and how."""

    path: Annotated[
        Text,
        Field(
            description="The credentials file. Default: $AWS_SHARED_CREDENTIALS_FILE, else "
            "~/.aws/credentials."
        ),
    ] = ""
    write: Annotated[
        Write,
        Field(
            description="How to write it: replace swaps in a new file; in-place overwrites the "
            "file, for one that is mounted into a container, and is less safe."
        ),
    ] = WriteMode.REPLACE


class HooksModel(_StrictModel):
    """Commands that the daemon runs on events of a profile: lists, run without a shell."""

    on_refresh: Annotated[Hook, Field(description="A profile has a new session.")] = ()
    on_failure: Annotated[
        Hook,
        Field(
            description="A refresh failed for the first time; once more when the session expires."
        ),
    ] = ()
    on_needs_login: Annotated[
        Hook,
        Field(description="A login is required; also two hours before an MFA session expires."),
    ] = ()
    on_recovered: Annotated[Hook, Field(description="A refresh succeeded after failures.")] = ()


class MetricsModel(_StrictModel):
    """Where Prometheus finds the metrics, besides the API socket."""

    port: Annotated[
        Port, Field(description="Serve http://127.0.0.1:PORT/metrics. Example: 9464.")
    ] = None
    textfile: Annotated[
        MetricsTextfile,
        Field(description="Write a *.prom file for the textfile collector of the node exporter."),
    ] = ""


class ConfigurationModel(_StrictModel):
    """The configuration of assumed."""

    defaults: Annotated[
        ProfileModel, Field(description="Values for every profile that does not set its own.")
    ] = ProfileModel()
    profiles: Annotated[
        dict[str, ProfileModel],
        Field(min_length=1, description="Definitions by profile name in the credentials file."),
    ]
    credentials_file: CredentialsFileModel = CredentialsFileModel()
    hooks: HooksModel = HooksModel()
    metrics: MetricsModel = MetricsModel()
