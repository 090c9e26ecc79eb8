"""Which of a profile's credentials each AWS tool uses.

Each tool has its own order of precedence:

| | first … last |
| --- | --- |
| boto3, AWS CLI v2 | role, web identity, SSO, credentials file, login, process, config file |
| JavaScript SDK v3 | role, keys of either file, web identity, process, SSO, login |

Sources: botocore/credentials.py, `create_credential_resolver` and `ProfileProviderBuilder`; AWS CLI
user guide, "Configuration and credential precedence"; aws-sdk-js-v3, credential-provider-ini,
resolveProfileData.ts, and credential-provider-node, defaultProvider.ts. A test runs each of them.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, unique

from assumed.aws_files.profiles import AwsFiles, AwsProfile, ConfigValue
from assumed.config.fields import truncate_for_display
from assumed.text import join_words

_SSO_KEYS = ("sso_account_id", "sso_role_name")
_JAVASCRIPT_SSO_KEYS = (*_SSO_KEYS, "sso_session", "sso_start_url", "sso_region")
STORED_KEYS = ("aws_access_key_id", "aws_secret_access_key")


@unique
class CredentialKind(Enum):
    """Where a tool gets a profile's credentials from."""

    ROLE = "role"
    WEB_IDENTITY = "web identity"
    SSO = "SSO"
    KEYS = "keys"
    LOGIN = "login"
    PROCESS = "process"
    BROKEN = "broken"
    NOTHING = "nothing"

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the AWS files that name this source; the first one selects it."""
        return _KEYS.get(self, ())


_KEYS = {
    CredentialKind.ROLE: ("role_arn", "source_profile", "credential_source"),
    CredentialKind.WEB_IDENTITY: ("web_identity_token_file", "role_arn"),
    CredentialKind.SSO: (
        "sso_session", "sso_start_url", "sso_region", "sso_account_id", "sso_role_name",
    ),
    CredentialKind.KEYS: STORED_KEYS,
    CredentialKind.LOGIN: ("login_session",),
    CredentialKind.PROCESS: ("credential_process",),
    CredentialKind.BROKEN: (
        "role_arn", "web_identity_token_file", "source_profile", "credential_source",
    ),
}  # fmt: skip


# Parameters of a role; without it, they mean nothing to any AWS tool.
_ROLE_PARAMETERS = ("mfa_serial", "role_session_name", "external_id", "duration_seconds")
_PRECEDING_KEYS = frozenset(_ROLE_PARAMETERS).union(
    *(kind.keys for kind in CredentialKind if kind is not CredentialKind.KEYS)
)

_DESCRIPTIONS = {
    CredentialKind.ROLE: "a separate session of that role",
    CredentialKind.WEB_IDENTITY: "a separate session from web_identity_token_file",
    CredentialKind.SSO: "its SSO login",
    CredentialKind.KEYS: "its keys",
    CredentialKind.LOGIN: "its login session",
    CredentialKind.PROCESS: "its credential_process",
    CredentialKind.BROKEN: "nothing: a required key is missing, or two keys contradict each other",
    CredentialKind.NOTHING: "nothing: it has no credentials yet",
}


@dataclass(frozen=True, slots=True)
class CredentialChoice:
    """What a tool uses of a profile, and the entry that decides it; None for `NOTHING`."""

    kind: CredentialKind
    decided_by: ConfigValue | None = None


def used_by_botocore(profile: AwsProfile) -> CredentialChoice:
    """Return what boto3 and the AWS CLI v2 use for a profile that they are given by name."""
    entries = profile.entries
    if "role_arn" in entries and "web_identity_token_file" not in entries:
        has_one_source = ("source_profile" in entries) is not ("credential_source" in entries)
        return CredentialChoice(
            CredentialKind.ROLE if has_one_source else CredentialKind.BROKEN, entries["role_arn"]
        )
    if profile.value("web_identity_token_file") is not None:
        kind = CredentialKind.WEB_IDENTITY if profile.value("role_arn") else CredentialKind.BROKEN
        return CredentialChoice(kind, entries["web_identity_token_file"])
    if (key := _first(entries, _SSO_KEYS)) is not None:
        return CredentialChoice(CredentialKind.SSO, entries[key])
    if profile.has_stored_keys:
        return CredentialChoice(CredentialKind.KEYS, profile.credentials["aws_access_key_id"])
    for kind in (CredentialKind.LOGIN, CredentialKind.PROCESS, CredentialKind.KEYS):
        if (key := _first(entries, kind.keys[:1])) is not None:
            return CredentialChoice(kind, entries[key])
    return CredentialChoice(CredentialKind.NOTHING)


def used_by_javascript(profile: AwsProfile) -> CredentialChoice:
    """Return what the JavaScript SDK uses for a profile that it is given by name."""
    entries = profile.entries
    has_one_source = ("source_profile" in entries) is not ("credential_source" in entries)
    if "role_arn" in entries and has_one_source:
        return CredentialChoice(CredentialKind.ROLE, entries["role_arn"])
    if profile.has_keys:
        return CredentialChoice(CredentialKind.KEYS, entries["aws_access_key_id"])
    if {"role_arn", "web_identity_token_file"} <= entries.keys():
        return CredentialChoice(CredentialKind.WEB_IDENTITY, entries["web_identity_token_file"])
    for kind, keys in (
        (CredentialKind.PROCESS, CredentialKind.PROCESS.keys),
        (CredentialKind.SSO, _JAVASCRIPT_SSO_KEYS),
        (CredentialKind.LOGIN, CredentialKind.LOGIN.keys),
    ):
        if (key := _first(entries, keys)) is not None:
            return CredentialChoice(kind, entries[key])
    return CredentialChoice(CredentialKind.NOTHING)


def precedes_stored_keys(key: str) -> bool:
    """Whether a key of a profile makes some AWS tool use other credentials than stored keys.

    Includes the keys that go with such a key, such as `external_id` with `role_arn`.
    """
    return key in _PRECEDING_KEYS or key.startswith("sso_")


TOOLS: Mapping[str, Callable[[AwsProfile], CredentialChoice]] = {
    "boto3": used_by_botocore,
    "the AWS CLI v2": used_by_botocore,
    "the JavaScript SDK": used_by_javascript,
}


def describe_kind(kind: CredentialKind) -> str:
    """Return the words for a kind of credentials, such as `its SSO login`."""
    return _DESCRIPTIONS[kind]


def describe_current_choice(profile: AwsProfile, files: AwsFiles) -> str:
    """Return which tool uses which credentials; tools with the same choice are named together."""
    users: dict[str, list[str]] = {}
    for tool, use in TOOLS.items():
        users.setdefault(_describe(use(profile), profile, files), []).append(tool)
    return "; ".join(
        f"{join_words(tools)} use{'s' if len(tools) == 1 else ''} {choice}"
        for choice, tools in users.items()
    )


def _describe(choice: CredentialChoice, profile: AwsProfile, files: AwsFiles) -> str:
    text = _DESCRIPTIONS[choice.kind]
    if choice.kind is CredentialKind.ROLE:
        source = profile.value("source_profile")
        if source is None:
            text = f"{text}, from {profile.value('credential_source')}"
        elif source in files.profiles:
            text = f"{text}, from profile {truncate_for_display(source)}"
        else:
            text = f"nothing: profile {truncate_for_display(source)} does not exist"
    elif choice.kind is CredentialKind.KEYS and profile.is_managed:
        text = "the refreshed keys"
    return text if choice.decided_by is None else f"{text} ({choice.decided_by.location})"


def exported_profile(profile: AwsProfile) -> str | None:
    """Return the profile whose credentials its `credential_process` exports from assumed.

    Empty if it names none; None if it does not run `assumed export-credentials`.
    """
    command = profile.value("credential_process") or ""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    if "export-credentials" not in words or not any("assumed" in word for word in words):
        return None
    for index, word in enumerate(words):
        if word == "--profile":
            return next(iter(words[index + 1 :]), "")
        if word.startswith("--profile="):
            return word.partition("=")[2]
    return ""


def _first(entries: Mapping[str, ConfigValue], keys: tuple[str, ...]) -> str | None:
    return next((key for key in keys if key in entries), None)
