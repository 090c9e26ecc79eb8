"""Profiles in which other credentials take precedence over the refreshed ones: found by `check`."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from assumed.arn import Arn, is_arn
from assumed.aws_files.profiles import AwsFiles, AwsProfile, ConfigValue, SourceLocation
from assumed.aws_files.sdk_precedence import (
    STORED_KEYS,
    TOOLS,
    CredentialChoice,
    CredentialKind,
    describe_current_choice,
    describe_kind,
    exported_profile,
    used_by_botocore,
)
from assumed.config.fields import truncate_for_display
from assumed.models import Configuration, ManagedProfile, MfaDevice, SourceProfile, StorageMode
from assumed.paths import home_directory
from assumed.text import join_words, printable

Link = SourceProfile | ManagedProfile

# For names that are proposed here; `init` has the same default.
FRESH_SUFFIX = "-fresh"


@dataclass(frozen=True, slots=True)
class Finding:
    """A result of `check`.

    Args:
        where: `FILE:LINE`, a file, or an environment variable.
        problem: what is wrong there.
        used: the consequence, such as which credentials the AWS tools use today.
        fix: what to do.
        is_note: the user need not do anything.
        profiles: the definitions that it concerns; empty if it concerns none in particular.
    """

    where: str
    problem: str
    used: str
    fix: str
    is_note: bool = False
    profiles: tuple[str, ...] = ()


def unique_name(name: str, suffix: str, taken: Collection[str]) -> str:
    """Return `name` with `suffix`, and with a number if that name is taken."""
    free, number = f"{name}{suffix}", 2
    while free in taken:
        free, number = f"{name}{suffix}-{number}", number + 1
    return free


def choices_before_keys(profile: AwsProfile, credentials: Path) -> Mapping[str, CredentialChoice]:
    """Return what tools use of a profile that would not use keys of it in the credentials file.

    Args:
        profile: the profile, with or without such keys.
        credentials: the path of the credentials file.
    """
    refreshed = _with_keys(profile, credentials)
    choices = {tool: use(refreshed) for tool, use in TOOLS.items()}
    return {
        tool: choice for tool, choice in choices.items() if choice.kind is not CredentialKind.KEYS
    }


def shadowing_notes(files: AwsFiles, profiles: Iterable[str]) -> Mapping[str, str]:
    """Return what the AWS CLI uses instead of the refreshed keys, in one line for each profile.

    Args:
        files: the AWS files as they are now.
        profiles: the profiles that are written to the credentials file.

    Returns:
        Such as "valid, but `aws --profile dev` uses role/reader (~/.aws/config:12)", by profile;
        nothing for a profile whose refreshed keys are used.
    """
    notes = {}
    for name in profiles:
        profile = files.profiles.get(name)
        if profile is None:
            continue
        choice = choices_before_keys(profile, files.credentials).get("the AWS CLI v2")
        if choice is None or choice.decided_by is None:
            continue
        role_arn = profile.value("role_arn") or ""
        used = Arn.parse(role_arn).resource if is_arn(role_arn) else describe_kind(choice.kind)
        location = choice.decided_by.location
        home = f"{home_directory()}/"
        shown = str(location)
        shown = f"~/{shown.removeprefix(home)}" if shown.startswith(home) else shown
        argument = shlex.quote(printable(name))
        notes[name] = f"valid, but `aws --profile {argument}` uses {printable(used)} ({shown})"
    return notes


def find_clashes(
    files: AwsFiles, configuration: Configuration, environ: Mapping[str, str]
) -> tuple[Finding, ...]:
    """Return where AWS tools would use other credentials than the configuration intends.

    Args:
        files: the AWS files as they are now.
        configuration: defines the managed profiles.
        environ: the environment of the shell, for notes.
    """
    return (
        *_in_files(files, configuration),
        *_in_loops(files, configuration),
        *_in_environment(environ, files, configuration),
        *_unreadable(files),
    )


def _unreadable(files: AwsFiles) -> Iterator[Finding]:
    """Note the files that botocore can read and other SDKs cannot."""
    for found in files.unreadable:
        yield Finding(
            str(found.location),
            str(found),
            f"these SDKs find no profile of {found.location.file}; the AWS CLI and boto3 do",
            found.fix,
            is_note=True,
        )


def _in_files(files: AwsFiles, configuration: Configuration) -> Iterator[Finding]:
    managed = configuration.profiles
    sources: dict[str, tuple[str, ...]] = {}
    for name, definition in managed.items():
        given = definition.source
        root = given.profile if isinstance(given, MfaDevice) else given
        if isinstance(root, SourceProfile):
            sources[root.name] = (*sources.get(root.name, ()), name)
    for name, profile in files.profiles.items():
        if name in managed and managed[name].store is StorageMode.FILE:
            yield from _around_refreshed_keys(profile, files, configuration)
        elif name in managed or name in sources or exported_profile(profile) is not None:
            users = (name,) if name in managed else sources.get(name, ())
            yield from _before_process(profile, files, users)
    for name, location in files.misplaced.items():
        yield _misplaced_header(name, location, files, configuration, sources.get(name, ()))


def _around_refreshed_keys(
    profile: AwsProfile, files: AwsFiles, configuration: Configuration
) -> Iterator[Finding]:
    """Find what takes precedence over the refreshed keys, and what they take precedence over."""
    choices = choices_before_keys(profile, files.credentials)
    others = list(choices)
    rename = (
        f"in {configuration.path}, give profile {profile.name} another name, such as "
        f"{unique_name(profile.name, FRESH_SUFFIX, {*files.profiles, *configuration.profiles})}"
    )
    if others:
        choice = choices[others[0]]
        entry = choice.decided_by
        assert entry is not None  # noqa: S101 - a profile with keys is never `NOTHING`
        key = _key_of(profile, entry)
        present = [key for key in choice.kind.keys if key in profile.entries]
        yield Finding(
            str(entry.location),
            f"profile {profile.name}: because of {key}, {join_words(others)} never "
            f"use{'s' if len(others) == 1 else ''} the refreshed keys",
            describe_current_choice(profile, files),
            f"{rename}; or remove {join_words(present)} from this profile",
            profiles=(profile.name,),
        )
    elif (process := profile.entries.get("credential_process")) is not None:
        exports_itself = exported_profile(profile) == profile.name
        yield Finding(
            str(process.location),
            f"profile {profile.name}: the refreshed keys take precedence over this "
            "credential_process, which then never runs",
            describe_current_choice(profile, files),
            f"{rename}; or remove credential_process from this one"
            + ("; or write no keys: `store: memory`" if exports_itself else ""),
            profiles=(profile.name,),
        )


def _before_process(
    profile: AwsProfile, files: AwsFiles, users: tuple[str, ...]
) -> Iterator[Finding]:
    """Find what takes precedence over a `credential_process` that is meant to be used."""
    process = profile.entries.get("credential_process")
    if process is None:
        return
    choices = {tool: use(profile) for tool, use in TOOLS.items()}
    others = [tool for tool, choice in choices.items() if choice.kind is not CredentialKind.PROCESS]
    choice = choices[others[0]] if others else CredentialChoice(CredentialKind.PROCESS)
    if choice.decided_by is None or profile.is_managed:
        # The next refresh removes managed keys: the profile is stored in memory.
        return
    if choice.kind is not CredentialKind.KEYS and exported_profile(profile) is None:
        return
    key = _key_of(profile, choice.decided_by)
    present = [key for key in (*choice.kind.keys, "aws_session_token") if key in profile.entries]
    yield Finding(
        str(choice.decided_by.location),
        f"profile {profile.name}: because of {key}, {join_words(others)} never "
        f"run{'s' if len(others) == 1 else ''} the credential_process at {process.location}",
        describe_current_choice(profile, files),
        f"remove {join_words(present)} from this profile, or remove credential_process from it",
        profiles=users,
    )


def _misplaced_header(
    name: str,
    location: SourceLocation,
    files: AwsFiles,
    configuration: Configuration,
    users: tuple[str, ...],
) -> Finding:
    is_managed = name in configuration.profiles
    profile = files.profiles.get(name, AwsProfile(name, location))
    return Finding(
        str(location),
        f"[profile {name}] does not define profile {name}: a header of the credentials file is the "
        "bare name, and AWS tools ignore this section",
        describe_current_choice(profile, files),
        f"remove this section: assumed writes [{name}] itself"
        if is_managed
        else f"rename it to [{name}]",
        is_note=not is_managed and not users,
        profiles=(name,) if is_managed else users,
    )


def _in_loops(files: AwsFiles, configuration: Configuration) -> Iterator[Finding]:
    """Find each `credential_process` that calls assumed for a profile that depends on it."""
    reported: set[Link] = set()
    for name in configuration.profiles:
        chain: list[Link] = []
        link: Link | None = ManagedProfile(name)
        while link is not None and link not in chain:
            chain.append(link)
            link = _source_of(link, files, configuration)
        loop = [] if link is None else chain[chain.index(link) :]
        for each, source in zip(loop, [*loop[1:], *loop[:1]], strict=True):
            if isinstance(each, ManagedProfile) or isinstance(source, SourceProfile):
                continue
            if each in reported:
                continue
            reported.add(each)
            process = files.profiles[each.name].entries["credential_process"]
            yield Finding(
                str(process.location),
                f"profile {each.name}: this credential_process calls assumed for {source.name}, "
                f"which itself depends on profile {each.name}",
                "each waits for the other, and neither is ever refreshed",
                f"in {configuration.path}, give {source.name} another source, or remove "
                "credential_process from this profile",
                profiles=tuple(link.name for link in loop if isinstance(link, ManagedProfile)),
            )


def _source_of(link: Link, files: AwsFiles, configuration: Configuration) -> Link | None:
    """Return the profile that supplies the credentials of `link`; None if no profile does."""
    if isinstance(link, ManagedProfile):
        source = configuration.profiles[link.name].source
        source = source.profile if isinstance(source, MfaDevice) else source
        return source if isinstance(source, Link) else None
    profile = files.profiles.get(link.name)
    if profile is None:
        return None
    kind = used_by_botocore(profile).kind
    if kind is CredentialKind.ROLE and (name := profile.value("source_profile")) is not None:
        return SourceProfile(name)
    exported = exported_profile(profile) if kind is CredentialKind.PROCESS else None
    return ManagedProfile(exported) if exported and exported in configuration.profiles else None


def _in_environment(
    environ: Mapping[str, str], files: AwsFiles, configuration: Configuration
) -> Iterator[Finding]:
    yield from _in_credential_variables(environ)
    named = environ.get("AWS_PROFILE", "")
    default = environ.get("AWS_DEFAULT_PROFILE", "")
    if default and default != named:
        yield Finding(
            "AWS_DEFAULT_PROFILE",
            f"it is set in this shell, to {_profile_text(default, files, configuration)}, and the "
            "tools interpret it differently",
            "boto3 and the AWS CLI v1 prefer it to AWS_PROFILE, the AWS CLI v2 uses it without "
            "AWS_PROFILE, and the JavaScript SDK ignores it",
            "`unset AWS_DEFAULT_PROFILE`, and set AWS_PROFILE, which all of them support",
            is_note=True,
        )
    if named:
        profile = files.profiles.get(named)
        first = next(iter(configuration.profiles))
        yield Finding(
            "AWS_PROFILE",
            f"it is set in this shell, to {_profile_text(named, files, configuration)}",
            describe_current_choice(profile, files)
            if profile is not None
            else "no tool finds credentials for it",
            "nothing to do while the daemon runs; `assumed status` shows whether it does"
            if named in configuration.profiles
            else f"`export AWS_PROFILE={first}` for a refreshed profile, or `unset AWS_PROFILE`",
            is_note=True,
        )


def _in_credential_variables(environ: Mapping[str, str]) -> Iterator[Finding]:
    named = environ.get("AWS_PROFILE", "")
    used_by = (
        "boto3 and the AWS CLI v2 use it unless code or --profile names a profile, "
        "regardless of AWS_PROFILE"
    )
    if environ.get("AWS_ACCESS_KEY_ID"):
        javascript = (
            f"because of AWS_PROFILE, the JavaScript SDK uses profile {truncate_for_display(named)}"
            if named
            else "so does the JavaScript SDK"
        )
        yield Finding(
            "AWS_ACCESS_KEY_ID",
            "it is set in this shell, and its keys take precedence over every profile of both "
            "files",
            f"{used_by}; {javascript}",
            "`unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN`, and find out what "
            "sets it",
            is_note=True,
        )
    if environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        yield Finding(
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "it is set in this shell, and a session from that token takes precedence over the "
            "keys of every profile",
            f"{used_by}; the JavaScript SDK uses it if the profile has no credentials",
            "`unset AWS_WEB_IDENTITY_TOKEN_FILE AWS_ROLE_ARN`, or name the profile with --profile",
            is_note=True,
        )


def _profile_text(name: str, files: AwsFiles, configuration: Configuration) -> str:
    if name in configuration.profiles:
        return f"{truncate_for_display(name)}, which assumed refreshes"
    status = "assumed does not refresh" if name in files.profiles else "is in no AWS file"
    return f"{truncate_for_display(name)}, which {status}"


def _with_keys(profile: AwsProfile, credentials: Path) -> AwsProfile:
    """Return the profile as it is once its keys are written."""
    keys = {key: ConfigValue("…", SourceLocation(credentials, 1)) for key in STORED_KEYS}
    return replace(profile, credentials={**profile.credentials, **keys})


def _key_of(profile: AwsProfile, entry: ConfigValue) -> str:
    return next(key for key, found in profile.entries.items() if found is entry)
