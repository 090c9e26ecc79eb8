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
    """What may stand under a profile, or under `defaults` for all of them."""

    role_arn: Annotated[
        RoleArn,
        Field(
            description="The role that is assumed. Without one the profile holds the source's own "
            "temporary credentials (SSO, an MFA session, a credential_process with an "
            "Expiration, the machine's), for tools that understand nothing else; "
            "long-term keys are never copied."
        ),
    ] = ""
    source_profile: Annotated[
        Text,
        Field(
            description="Whose credentials make the call: a profile of the AWS files (keys, SSO, "
            "`aws login`, a credential_process), or another profile of this file (a "
            "chain)."
        ),
    ] = ""
    credential_source: Annotated[
        Machine,
        Field(
            description="In place of source_profile: the role of the EC2 instance, of the ECS task "
            "or the EKS pod, or the keys in the environment that assumed itself was "
            "started with."
        ),
    ] = None
    web_identity_token_file: Annotated[
        AbsolutePath,
        Field(
            description="In place of source_profile: a file with a token of an identity provider "
            "(EKS, GitLab, GitHub), read anew each time, for "
            "AssumeRoleWithWebIdentity. external_id, tags, transitive_tag_keys and "
            "source_identity can't go with it."
        ),
    ] = ""
    mfa_serial: Annotated[
        MfaSerial,
        Field(
            description="The MFA device of the source profile's user: one code a day starts a "
            "session from which the roles are assumed."
        ),
    ] = ""
    mfa_session: Annotated[
        MfaSessionLength,
        Field(description="How long one code lasts."),
    ] = timedelta(hours=12)
    mfa_process: Annotated[
        Command,
        Field(
            description="A command that prints a code, such as `ykman oath accounts code --single "
            "AWS`, run without a shell, for 30 s at most; its output is never logged. "
            "Where there is none, `assumed login` asks for the code."
        ),
    ] = ()
    role_session_name: Annotated[
        SessionName,
        Field(description="The name of the role session; assumed-USER@HOST where none is given."),
    ] = ""
    duration_seconds: Annotated[
        DurationSeconds,
        Field(
            description="How long a session lasts: no longer than the role allows, and of a chain "
            "1h at most."
        ),
    ] = 3600
    refresh_before: Annotated[
        RefreshBeforeValue,
        Field(
            description="How long before its end a session is refreshed, as a time or as a share "
            "of its lifetime; never more than half of it."
        ),
    ] = timedelta(minutes=15)
    region: Annotated[
        Region,
        Field(
            description="The region whose STS endpoint is called; else that of the source profile, "
            "else the first of the partition."
        ),
    ] = ""
    fallback_regions: Annotated[
        tuple[Region, ...],
        Field(description="Regions that are called, in this order, while `region` is down."),
    ] = ()
    external_id: Annotated[
        ExternalId, Field(description="What the role's trust policy asks for.")
    ] = ""
    policy: Annotated[
        Policy,
        Field(description="A session policy, as JSON or as a mapping, that narrows the role."),
    ] = ""
    policy_arns: Annotated[
        tuple[PolicyArn, ...],
        Field(max_length=10, description="Managed policies that narrow the role."),
    ] = ()
    tags: Annotated[dict[TagKey, TagValue], Field(max_length=50, description="Session tags.")] = {}
    transitive_tag_keys: Annotated[
        tuple[TagKey, ...],
        Field(max_length=50, description="The tags that go on to roles chained to this one."),
    ] = ()
    source_identity: Annotated[
        SessionName, Field(description="Who stands behind the session, for CloudTrail.")
    ] = ""
    store: Annotated[
        Store,
        Field(
            description="Where the session is kept: memory is never written anywhere, and had from "
            "the daemon alone (export-credentials, credential_process, exec)."
        ),
    ] = StorageMode.FILE
    overwrite: Annotated[
        Boolean,
        Field(
            description="Also replace long-term keys of that name and what another tool manages; "
            "replaced long-term keys are backed up first."
        ),
    ] = False
    enabled: Annotated[
        Boolean, Field(description="Whether it is kept fresh; a profile with false is left alone.")
    ] = True


class CredentialsFileModel(_StrictModel):
    """Which credentials file is kept fresh, and how it is written."""

    path: Annotated[
        Text,
        Field(
            description="The credentials file; ~/.aws/credentials or $AWS_SHARED_CREDENTIALS_FILE "
            "where none is given."
        ),
    ] = ""
    write: Annotated[
        Write,
        Field(
            description="How it is written: replaced whole, or in-place, for a file that is "
            "mounted into a container, and less safe."
        ),
    ] = WriteMode.REPLACE


class HooksModel(_StrictModel):
    """Commands that the daemon runs when something happens to a profile: lists, with no shell."""

    on_refresh: Annotated[Hook, Field(description="There is a new session.")] = ()
    on_failure: Annotated[
        Hook,
        Field(description="A refresh failed, at the first try; and once more when a session ends."),
    ] = ()
    on_needs_login: Annotated[
        Hook,
        Field(description="Somebody has to log in; also two hours before an MFA session ends."),
    ] = ()
    on_recovered: Annotated[Hook, Field(description="A refresh worked after failures.")] = ()


class MetricsModel(_StrictModel):
    """Where Prometheus finds what the daemon counts, beside the local socket."""

    port: Annotated[
        Port, Field(description="http://127.0.0.1:PORT/metrics, 9464 for instance.")
    ] = None
    textfile: Annotated[
        MetricsTextfile,
        Field(description="A file for the textfile collector of the node exporter, ….prom."),
    ] = ""


class ConfigurationModel(_StrictModel):
    """The configuration of assumed: the profiles that are kept fresh."""

    defaults: Annotated[
        ProfileModel, Field(description="What holds for every profile that says nothing else.")
    ] = ProfileModel()
    profiles: Annotated[
        dict[str, ProfileModel],
        Field(min_length=1, description="By name of the profile in the credentials file."),
    ]
    credentials_file: CredentialsFileModel = CredentialsFileModel()
    hooks: HooksModel = HooksModel()
    metrics: MetricsModel = MetricsModel()
