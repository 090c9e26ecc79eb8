"""Which of a profile's credentials each AWS tool takes.

Each tool has an order of its own in which it looks at a profile:

| | first … last |
| --- | --- |
| boto3, AWS CLI v2 | role, web identity, SSO, credentials file, login, process, config file |
| JavaScript SDK v3 | role, keys of either file, web identity, process, SSO, login |

Sources: botocore/credentials.py, `create_credential_resolver` and `ProfileProviderBuilder`; AWS CLI
user guide, "Configuration and credential precedence"; aws-sdk-js-v3, credential-provider-ini,
resolveProfileData.ts, and credential-provider-node, defaultProvider.ts. A test asks each of them.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, unique

from assumed.aws_files.profiles import AwsFiles, AwsProfile, ConfigValue
from assumed.config.fields import truncate_for_display

_SSO_KEYS = ("sso_account_id", "sso_role_name")
_SSO_KEYS_OF_JAVASCRIPT = (*_SSO_KEYS, "sso_session", "sso_start_url", "sso_region")
STORED_KEYS = ("aws_access_key_id", "aws_secret_access_key")


@unique
class CredentialKind(Enum):
    """What a tool takes a profile's credentials from; the value names its keys."""

    ROLE = ("role_arn", "source_profile", "credential_source")
    WEB_IDENTITY = ("web_identity_token_file", "role_arn")
    SSO = ("sso_session", "sso_start_url", "sso_region", "sso_account_id", "sso_role_name")
    KEYS = STORED_KEYS
    LOGIN = ("login_session",)
    PROCESS = ("credential_process",)
    BROKEN = ("role_arn", "web_identity_token_file", "source_profile", "credential_source")
    NOTHING = ()


_WORDS = {
    CredentialKind.ROLE: "a session of its own of that role",
    CredentialKind.WEB_IDENTITY: "a session of its own by web_identity_token_file",
    CredentialKind.SSO: "its SSO login",
    CredentialKind.KEYS: "its keys",
    CredentialKind.LOGIN: "its login",
    CredentialKind.PROCESS: "its credential_process",
    CredentialKind.BROKEN: "nothing: they stop at a key that lacks another one, or contradicts it",
    CredentialKind.NOTHING: "nothing: there are no credentials in it yet",
}


@dataclass(frozen=True, slots=True)
class CredentialChoice:
    """What a tool uses of a profile, and the entry because of which; None for `NOTHING`."""

    kind: CredentialKind
    because_of: ConfigValue | None = None


def used_by_botocore(profile: AwsProfile) -> CredentialChoice:
    """Return what boto3 and the AWS CLI v2 use of a profile that is named to them."""
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
        if (key := _first(entries, kind.value[:1])) is not None:
            return CredentialChoice(kind, entries[key])
    return CredentialChoice(CredentialKind.NOTHING)


def used_by_javascript(profile: AwsProfile) -> CredentialChoice:
    """Return what the JavaScript SDK uses of a profile that is named to it."""
    entries = profile.entries
    has_one_source = ("source_profile" in entries) is not ("credential_source" in entries)
    if "role_arn" in entries and has_one_source:
        return CredentialChoice(CredentialKind.ROLE, entries["role_arn"])
    if profile.has_keys:
        return CredentialChoice(CredentialKind.KEYS, entries["aws_access_key_id"])
    if {"role_arn", "web_identity_token_file"} <= entries.keys():
        return CredentialChoice(CredentialKind.WEB_IDENTITY, entries["web_identity_token_file"])
    for kind, keys in (
        (CredentialKind.PROCESS, CredentialKind.PROCESS.value),
        (CredentialKind.SSO, _SSO_KEYS_OF_JAVASCRIPT),
        (CredentialKind.LOGIN, CredentialKind.LOGIN.value),
    ):
        if (key := _first(entries, keys)) is not None:
            return CredentialChoice(kind, entries[key])
    return CredentialChoice(CredentialKind.NOTHING)


TOOLS: Mapping[str, Callable[[AwsProfile], CredentialChoice]] = {
    "boto3": used_by_botocore,
    "the AWS CLI v2": used_by_botocore,
    "the JavaScript SDK": used_by_javascript,
}


def use_today(profile: AwsProfile, files: AwsFiles) -> str:
    """Return who uses what, tools that use the same together."""
    users: dict[str, list[str]] = {}
    for tool, use in TOOLS.items():
        users.setdefault(_described(use(profile), profile, files), []).append(tool)
    return "; ".join(
        f"{listed(tools)} use{'s' if len(tools) == 1 else ''} {what}"
        for what, tools in users.items()
    )


def _described(used: CredentialChoice, profile: AwsProfile, files: AwsFiles) -> str:
    what = _WORDS[used.kind]
    if used.kind is CredentialKind.ROLE:
        source = profile.value("source_profile")
        lender = (
            f"profile {truncate_for_display(source)}"
            if source
            else profile.value("credential_source")
        )
        if source and source not in files.profiles:
            what = f"nothing, and stop, for there is no {lender}"
        else:
            what = f"{what}, from {lender}"
    elif used.kind is CredentialKind.KEYS and profile.is_ours:
        what = "the keys that are kept fresh"
    return what if used.because_of is None else f"{what} ({used.because_of.place})"


def served_profile(profile: AwsProfile) -> str | None:
    """Return the profile that its `credential_process` has of assumed; None where it is no such."""
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


def listed(words: list[str]) -> str:
    """Return words as a sentence has them: `a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
