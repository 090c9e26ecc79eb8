"""Which of a profile's credentials the AWS tools use, and where those are not the fresh ones.

Each tool has an order of its own in which it looks at a profile:

| | first … last |
| --- | --- |
| boto3, AWS CLI v2 | role, web identity, SSO, credentials file, login, process, config file |
| JavaScript SDK v3 | role, keys of either file, web identity, process, SSO, login |

Sources: botocore/credentials.py, `create_credential_resolver` and `ProfileProviderBuilder`; AWS CLI
user guide, "Configuration and credential precedence"; aws-sdk-js-v3, credential-provider-ini,
resolveProfileData.ts, and credential-provider-node, defaultProvider.ts. A test asks botocore.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, unique
from pathlib import Path

from assumed.config.values import shown
from assumed.daemon.aws_files import AwsFiles, AwsProfile, Entry, Place
from assumed.model import Configuration, MfaSession, SourceProfile, StoredIn

_SSO_KEYS = ("sso_account_id", "sso_role_name")
_SSO_KEYS_OF_JAVASCRIPT = (*_SSO_KEYS, "sso_session", "sso_start_url", "sso_region")
_KEYS = ("aws_access_key_id", "aws_secret_access_key")
# Shown where a name is proposed; `init` has the same default.
FRESH_SUFFIX = "-fresh"


@unique
class Kind(Enum):
    """What a tool takes a profile's credentials from; the value names its keys."""

    ROLE = ("role_arn", "source_profile", "credential_source")
    WEB_IDENTITY = ("web_identity_token_file", "role_arn")
    SSO = ("sso_session", "sso_start_url", "sso_region", "sso_account_id", "sso_role_name")
    KEYS = _KEYS
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


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` has found.

    Args:
        where: `FILE:LINE`, or the variable of the environment.
        problem: what is wrong there.
        used: whose credentials the AWS tools use today.
        mend: what to do.
        is_note: nothing has to be done.
    """

    where: str
    problem: str
    used: str
    mend: str
    is_note: bool = False


def free_name(name: str, suffix: str, taken: Collection[str]) -> str:
    """Return `name` with `suffix` behind it, and a number where that is taken."""
    free, number = f"{name}{suffix}", 2
    while free in taken:
        free, number = f"{name}{suffix}-{number}", number + 1
    return free


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


_TOOLS: Mapping[str, Callable[[AwsProfile], Used]] = {
    "boto3": used_by_botocore,
    "the AWS CLI v2": used_by_botocore,
    "the JavaScript SDK": used_by_javascript,
}


def find_clashes(
    files: AwsFiles, configuration: Configuration, environ: Mapping[str, str]
) -> tuple[Finding, ...]:
    """Return where AWS tools would not use what the configuration means them to.

    Args:
        files: as they are now.
        configuration: whose profiles are kept fresh.
        environ: of the shell, for notes.
    """
    return (*_in_files(files, configuration), *_in_environment(environ, files, configuration))


def _in_files(files: AwsFiles, configuration: Configuration) -> Iterator[Finding]:
    managed = configuration.profiles
    found = (definition.source for definition in managed.values())
    behind = (source.profile if isinstance(source, MfaSession) else source for source in found)
    sources = {source.name for source in behind if isinstance(source, SourceProfile)}
    for name, profile in files.profiles.items():
        if name in managed and managed[name].store is StoredIn.FILE:
            yield from _about_fresh_keys(profile, files, configuration)
        elif name in managed or name in sources or _served_profile(profile) is not None:
            yield from _about_process(profile, files)
    for name, place in files.misplaced.items():
        yield _about_header(name, place, files, configuration, is_source=name in sources)


def _about_fresh_keys(
    profile: AwsProfile, files: AwsFiles, configuration: Configuration
) -> Iterator[Finding]:
    """Find what comes before the keys that are kept fresh, and what they come before."""
    refreshed = _with_keys(profile, files.credentials)
    used = {tool: use(refreshed) for tool, use in _TOOLS.items()}
    blind = [tool for tool, what in used.items() if what.kind is not Kind.KEYS]
    another_name = (
        f"in {configuration.path} give profile {profile.name} another name, such as "
        f"{free_name(profile.name, FRESH_SUFFIX, {*files.profiles, *configuration.profiles})}"
    )
    if blind:
        what = used[blind[0]]
        entry = what.because_of
        assert entry is not None  # noqa: S101 - a profile with keys has something
        key = _key_of(profile, entry)
        present = [key for key in what.kind.value if key in profile.entries]
        yield Finding(
            str(entry.place),
            f"profile {profile.name}: because of {key} {_listed(blind)} never "
            f"look{'s' if len(blind) == 1 else ''} at the keys that are kept fresh",
            _use_today(profile, files),
            f"{another_name}; or take {_listed(present)} out of this profile",
        )
    elif (process := profile.entries.get("credential_process")) is not None:
        own = _served_profile(profile) == profile.name
        yield Finding(
            str(process.place),
            f"profile {profile.name}: the keys that are kept fresh come before this "
            "credential_process, which then never runs",
            _use_today(profile, files),
            f"{another_name}; or take credential_process out of this one"
            + ("; or write no keys: `store: memory`" if own else ""),
        )


def _about_process(profile: AwsProfile, files: AwsFiles) -> Iterator[Finding]:
    """Find what comes before a `credential_process` that is meant to be used."""
    process = profile.entries.get("credential_process")
    if process is None:
        return
    used = {tool: use(profile) for tool, use in _TOOLS.items()}
    blind = [tool for tool, what in used.items() if what.kind is not Kind.PROCESS]
    what = used[blind[0]] if blind else Used(Kind.PROCESS)
    if what.because_of is None or profile.is_ours:
        # What is ours there is taken away by the next refresh: the profile is kept in memory.
        return
    if what.kind is not Kind.KEYS and _served_profile(profile) is None:
        return
    key = _key_of(profile, what.because_of)
    present = [key for key in (*what.kind.value, "aws_session_token") if key in profile.entries]
    yield Finding(
        str(what.because_of.place),
        f"profile {profile.name}: because of {key} {_listed(blind)} never "
        f"run{'s' if len(blind) == 1 else ''} the credential_process in {process.place}",
        _use_today(profile, files),
        f"take {_listed(present)} out of this profile, or credential_process out of it",
    )


def _about_header(
    name: str, place: Place, files: AwsFiles, configuration: Configuration, *, is_source: bool
) -> Finding:
    is_managed = name in configuration.profiles
    profile = files.profiles.get(name)
    return Finding(
        str(place),
        f"[profile {name}] is not profile {name}: in the credentials file a header is the bare "
        "name, and nobody looks at what stands below this one",
        _use_today(profile if profile is not None else AwsProfile(name, place), files),
        f"remove this section: assumed writes [{name}] itself" if is_managed else f"write [{name}]",
        is_note=not is_managed and not is_source,
    )


def _in_environment(
    environ: Mapping[str, str], files: AwsFiles, configuration: Configuration
) -> Iterator[Finding]:
    named = environ.get("AWS_PROFILE", "")
    if environ.get("AWS_ACCESS_KEY_ID"):
        javascript = (
            f"the JavaScript SDK uses profile {shown(named)}, for AWS_PROFILE is set"
            if named
            else "the JavaScript SDK likewise"
        )
        yield Finding(
            "AWS_ACCESS_KEY_ID",
            "it is set in this shell, and its keys come before every profile of both files",
            "boto3 and the AWS CLI v2 use it wherever no profile is named to them in code or by "
            f"--profile, whatever AWS_PROFILE says; {javascript}",
            "`unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN`, and look for what "
            "sets it",
            is_note=True,
        )
    if named:
        profile = files.profiles.get(named)
        if named in configuration.profiles:
            whose, mend = "is kept fresh here", "nothing to do"
        else:
            whose = "is not kept fresh here" if profile is not None else "is in no AWS file"
            first = next(iter(configuration.profiles))
            mend = (
                f"`export AWS_PROFILE={first}` for one that is kept fresh, or `unset AWS_PROFILE`"
            )
        yield Finding(
            "AWS_PROFILE",
            f"it is set in this shell, to {shown(named)}, which {whose}",
            _use_today(profile, files)
            if profile is not None
            else "no tool finds credentials by it",
            mend,
            is_note=True,
        )


def _with_keys(profile: AwsProfile, credentials: Path) -> AwsProfile:
    """Return the profile as it is once its keys are written."""
    keys = {key: Entry("…", Place(credentials, 1)) for key in _KEYS}
    return replace(profile, credentials={**profile.credentials, **keys})


def _use_today(profile: AwsProfile, files: AwsFiles) -> str:
    """Return who uses what, tools that use the same together."""
    users: dict[str, list[str]] = {}
    for tool, use in _TOOLS.items():
        users.setdefault(_described(use(profile), profile, files), []).append(tool)
    return "; ".join(
        f"{_listed(tools)} use{'s' if len(tools) == 1 else ''} {what}"
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


def _served_profile(profile: AwsProfile) -> str | None:
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


def _key_of(profile: AwsProfile, entry: Entry) -> str:
    return next(key for key, found in profile.entries.items() if found is entry)


def _first(entries: Mapping[str, Entry], keys: tuple[str, ...]) -> str | None:
    return next((key for key in keys if key in entries), None)


def _listed(words: list[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
