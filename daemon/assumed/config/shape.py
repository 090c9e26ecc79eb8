"""The keys of the configuration file and what each holds: the JSON Schema is made of these.

A text that is not written is empty.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from assumed.config.values import (
    AbsolutePath,
    Boolean,
    Command,
    DurationSeconds,
    ExternalId,
    Machine,
    MfaSerial,
    MfaSessionLength,
    Policy,
    PolicyArn,
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
from assumed.model import StoredIn, WriteMode


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProfileShape(_Shape):
    """What may stand under a profile, or under `defaults` for all of them."""

    role_arn: Annotated[
        RoleArn,
        Field(
            description="The role that is assumed; without one the profile holds the source's own "
            "temporary credentials."
        ),
    ] = ""
    source_profile: Annotated[
        Text,
        Field(
            description="Whose credentials make the call: a profile of the AWS files, or another "
            "profile of this file (a chain)."
        ),
    ] = ""
    credential_source: Annotated[
        Machine,
        Field(
            description="In place of source_profile: what the machine itself gives, the "
            "environment of assumed, an EC2 instance, or an ECS or EKS container."
        ),
    ] = None
    web_identity_token_file: Annotated[
        AbsolutePath,
        Field(
            description="In place of source_profile: a file with a token of an identity provider, "
            "for AssumeRoleWithWebIdentity; read anew each time."
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
        Field(description="How long one code lasts: 15m to 36h, 12h where nothing is given."),
    ] = timedelta(hours=12)
    mfa_process: Annotated[
        Command,
        Field(
            description="A command that prints a code, as a text or as a list; it is run without a "
            "shell. Where there is none, `assumed login` asks for the code."
        ),
    ] = ()
    role_session_name: Annotated[
        SessionName,
        Field(description="The name of the role session; assumed-USER@HOST where none is given."),
    ] = ""
    duration_seconds: Annotated[
        DurationSeconds,
        Field(description="How long a session lasts: 900 s to 12h; chained at most 1h."),
    ] = 3600
    refresh_before: Annotated[
        RefreshBeforeValue,
        Field(
            description="How long before its end a session is refreshed, 15m where nothing is "
            "given, or a share of its lifetime (50%); never more than half."
        ),
    ] = timedelta(minutes=15)
    region: Annotated[Region, Field(description="The region whose STS endpoint is called.")] = ""
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
            description="memory: never written to the credentials file, and served by the daemon "
            "alone (export-credentials, credential_process, exec); file is the default."
        ),
    ] = StoredIn.FILE
    overwrite: Annotated[
        Boolean,
        Field(
            description="Also replace long-term keys and what another tool manages; replaced "
            "long-term keys are backed up first."
        ),
    ] = False
    enabled: Annotated[Boolean, Field(description="false: the profile is left alone.")] = True


class CredentialsFileShape(_Shape):
    """Which credentials file is kept fresh, and how it is written."""

    path: Annotated[
        Text,
        Field(
            description="~/.aws/credentials or $AWS_SHARED_CREDENTIALS_FILE where none is given."
        ),
    ] = ""
    write: Annotated[
        Write,
        Field(
            description="in-place keeps the very file, for one that is mounted into a container; "
            "replace, the default, is safer."
        ),
    ] = WriteMode.REPLACE


class ConfigurationShape(_Shape):
    """The configuration of assumed: the profiles that are kept fresh."""

    defaults: Annotated[
        ProfileShape, Field(description="What holds for every profile that says nothing else.")
    ] = ProfileShape()
    profiles: Annotated[
        dict[str, ProfileShape],
        Field(min_length=1, description="By name of the profile in the credentials file."),
    ]
    credentials_file: CredentialsFileShape = CredentialsFileShape()
