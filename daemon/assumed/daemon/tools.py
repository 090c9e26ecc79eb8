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

from assumed.config.fields import shown
from assumed.daemon.aws_files import AwsFiles, AwsProfile, Entry

_SSO_KEYS = ("sso_account_id", "sso_role_name")
_SSO_KEYS_OF_JAVASCRIPT = (*_SSO_KEYS, "sso_session", "sso_start_url", "sso_region")
STORED_KEYS = ("aws_access_key_id", "aws_secret_access_key")


@unique
class Kind(Enum):
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
    Kind.ROLE: "a session of its own of that role",
    Kind.WEB_IDENTITY: "a session of its own by web_identity_token_file",
    Kind.SSO: "its SSO login",
    Kind.KEYS: "its keys",
    Kind.LOGIN: "its login",
    Kind.PROCESS: "its credential_process",
    Kind.BROKEN: "nothing, and stop at a key that another one is missing for, or contradicts",
    Kind.NOTHING: "nothing: there are no credentials in it yet",
}


@dataclass(frozen=True, slots=True)
class Used:
    """What a tool uses of a profile, and the entry because of which; None for `NOTHING`."""

    kind: Kind
    because_of: Entry | None = None


def used_by_botocore(profile: AwsProfile) -> Used:
    """Return what boto3 and the AWS CLI v2 use of a profile that is named to them."""
    entries = profile.entries
    if "role_arn" in entries and "web_identity_token_file" not in entries:
        has_one_source = ("source_profile" in entries) is not ("credential_source" in entries)
        return Used(Kind.ROLE if has_one_source else Kind.BROKEN, entries["role_arn"])
    if profile.value("web_identity_token_file") is not None:
        kind = Kind.WEB_IDENTITY if profile.value("role_arn") else Kind.BROKEN
        return Used(kind, entries["web_identity_token_file"])
    if (key := _first(entries, _SSO_KEYS)) is not None:
        return Used(Kind.SSO, entries[key])
    if profile.has_stored_keys:
        return Used(Kind.KEYS, profile.credentials["aws_access_key_id"])
    for kind in (Kind.LOGIN, Kind.PROCESS, Kind.KEYS):
        if (key := _first(entries, kind.value[:1])) is not None:
            return Used(kind, entries[key])
    return Used(Kind.NOTHING)


def used_by_javascript(profile: AwsProfile) -> Used:
    """Return what the JavaScript SDK uses of a profile that is named to it."""
    entries = profile.entries
    has_one_source = ("source_profile" in entries) is not ("credential_source" in entries)
    if "role_arn" in entries and has_one_source:
        return Used(Kind.ROLE, entries["role_arn"])
    if profile.has_keys:
        return Used(Kind.KEYS, entries["aws_access_key_id"])
    if {"role_arn", "web_identity_token_file"} <= entries.keys():
        return Used(Kind.WEB_IDENTITY, entries["web_identity_token_file"])
    for kind, keys in (
        (Kind.PROCESS, Kind.PROCESS.value),
        (Kind.SSO, _SSO_KEYS_OF_JAVASCRIPT),
        (Kind.LOGIN, Kind.LOGIN.value),
    ):
        if (key := _first(entries, keys)) is not None:
            return Used(kind, entries[key])
    return Used(Kind.NOTHING)


TOOLS: Mapping[str, Callable[[AwsProfile], Used]] = {
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


def _described(used: Used, profile: AwsProfile, files: AwsFiles) -> str:
    what = _WORDS[used.kind]
    if used.kind is Kind.ROLE:
        source = profile.value("source_profile")
        lender = f"profile {shown(source)}" if source else profile.value("credential_source")
        if source and source not in files.profiles:
            what = f"nothing, and stop, for there is no {lender}"
        else:
            what = f"{what}, from {lender}"
    elif used.kind is Kind.KEYS and profile.is_ours:
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


def _first(entries: Mapping[str, Entry], keys: tuple[str, ...]) -> str | None:
    return next((key for key in keys if key in entries), None)


def listed(words: list[str]) -> str:
    """Return words as a sentence has them: `a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
