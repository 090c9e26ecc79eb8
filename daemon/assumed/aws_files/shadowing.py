"""Where the AWS tools would not take the fresh credentials: what `check` finds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from assumed.aws_files.profiles import AwsFiles, AwsProfile, ConfigValue, SourceLocation
from assumed.aws_files.sdk_precedence import (
    STORED_KEYS,
    TOOLS,
    CredentialChoice,
    CredentialKind,
    listed,
    served_profile,
    use_today,
    used_by_botocore,
)
from assumed.config.fields import truncate_for_display
from assumed.models import Configuration, ManagedProfile, MfaSession, SourceProfile, StorageMode

Link = SourceProfile | ManagedProfile

# Shown where a name is proposed; `init` has the same default.
FRESH_SUFFIX = "-fresh"


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


def find_clashes(
    files: AwsFiles, configuration: Configuration, environ: Mapping[str, str]
) -> tuple[Finding, ...]:
    """Return where AWS tools would not use what the configuration means them to.

    Args:
        files: as they are now.
        configuration: whose profiles are kept fresh.
        environ: of the shell, for notes.
    """
    return (
        *_in_files(files, configuration),
        *_about_loops(files, configuration),
        *_in_environment(environ, files, configuration),
    )


def _in_files(files: AwsFiles, configuration: Configuration) -> Iterator[Finding]:
    managed = configuration.profiles
    found = (definition.source for definition in managed.values())
    behind = (source.profile if isinstance(source, MfaSession) else source for source in found)
    sources = {source.name for source in behind if isinstance(source, SourceProfile)}
    for name, profile in files.profiles.items():
        if name in managed and managed[name].store is StorageMode.FILE:
            yield from _about_fresh_keys(profile, files, configuration)
        elif name in managed or name in sources or served_profile(profile) is not None:
            yield from _about_process(profile, files)
    for name, place in files.misplaced.items():
        yield _about_header(name, place, files, configuration, is_source=name in sources)


def _about_fresh_keys(
    profile: AwsProfile, files: AwsFiles, configuration: Configuration
) -> Iterator[Finding]:
    """Find what comes before the keys that are kept fresh, and what they come before."""
    refreshed = _with_keys(profile, files.credentials)
    used = {tool: use(refreshed) for tool, use in TOOLS.items()}
    blind = [tool for tool, what in used.items() if what.kind is not CredentialKind.KEYS]
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
            f"profile {profile.name}: because of {key} {listed(blind)} never "
            f"look{'s' if len(blind) == 1 else ''} at the keys that are kept fresh",
            use_today(profile, files),
            f"{another_name}; or take {listed(present)} out of this profile",
        )
    elif (process := profile.entries.get("credential_process")) is not None:
        own = served_profile(profile) == profile.name
        yield Finding(
            str(process.place),
            f"profile {profile.name}: the keys that are kept fresh come before this "
            "credential_process, which then never runs",
            use_today(profile, files),
            f"{another_name}; or take credential_process out of this one"
            + ("; or write no keys: `store: memory`" if own else ""),
        )


def _about_process(profile: AwsProfile, files: AwsFiles) -> Iterator[Finding]:
    """Find what comes before a `credential_process` that is meant to be used."""
    process = profile.entries.get("credential_process")
    if process is None:
        return
    used = {tool: use(profile) for tool, use in TOOLS.items()}
    blind = [tool for tool, what in used.items() if what.kind is not CredentialKind.PROCESS]
    what = used[blind[0]] if blind else CredentialChoice(CredentialKind.PROCESS)
    if what.because_of is None or profile.is_ours:
        # What is ours there is taken away by the next refresh: the profile is kept in memory.
        return
    if what.kind is not CredentialKind.KEYS and served_profile(profile) is None:
        return
    key = _key_of(profile, what.because_of)
    present = [key for key in (*what.kind.value, "aws_session_token") if key in profile.entries]
    yield Finding(
        str(what.because_of.place),
        f"profile {profile.name}: because of {key} {listed(blind)} never "
        f"run{'s' if len(blind) == 1 else ''} the credential_process in {process.place}",
        use_today(profile, files),
        f"take {listed(present)} out of this profile, or credential_process out of it",
    )


def _about_header(
    name: str,
    place: SourceLocation,
    files: AwsFiles,
    configuration: Configuration,
    *,
    is_source: bool,
) -> Finding:
    is_managed = name in configuration.profiles
    profile = files.profiles.get(name)
    return Finding(
        str(place),
        f"[profile {name}] is not profile {name}: in the credentials file a header is the bare "
        "name, and nobody looks at what stands below this one",
        use_today(profile if profile is not None else AwsProfile(name, place), files),
        f"remove this section: assumed writes [{name}] itself" if is_managed else f"write [{name}]",
        is_note=not is_managed and not is_source,
    )


def _about_loops(files: AwsFiles, configuration: Configuration) -> Iterator[Finding]:
    """Find each `credential_process` that asks assumed for what is refreshed from it."""
    told: set[Link] = set()
    for name in configuration.profiles:
        chain: list[Link] = []
        link: Link | None = ManagedProfile(name)
        while link is not None and link not in chain:
            chain.append(link)
            link = _source_of(link, files, configuration)
        loop = [] if link is None else chain[chain.index(link) :]
        for each, asked in zip(loop, [*loop[1:], *loop[:1]], strict=True):
            if isinstance(each, ManagedProfile) or isinstance(asked, SourceProfile) or each in told:
                continue
            told.add(each)
            process = files.profiles[each.name].entries["credential_process"]
            yield Finding(
                str(process.place),
                f"profile {each.name}: this credential_process asks assumed for {asked.name}, "
                f"which itself hangs on profile {each.name}",
                "each waits for the other, and neither is ever refreshed",
                f"in {configuration.path} give {asked.name} another source, or take "
                "credential_process out of this profile",
            )


def _source_of(link: Link, files: AwsFiles, configuration: Configuration) -> Link | None:
    """Return the profile that another one's credentials come from; None where it is none."""
    if isinstance(link, ManagedProfile):
        source = configuration.profiles[link.name].source
        source = source.profile if isinstance(source, MfaSession) else source
        return source if isinstance(source, Link) else None
    profile = files.profiles.get(link.name)
    if profile is None:
        return None
    kind = used_by_botocore(profile).kind
    if kind is CredentialKind.ROLE and (name := profile.value("source_profile")) is not None:
        return SourceProfile(name)
    served = served_profile(profile) if kind is CredentialKind.PROCESS else None
    return ManagedProfile(served) if served and served in configuration.profiles else None


def _in_environment(
    environ: Mapping[str, str], files: AwsFiles, configuration: Configuration
) -> Iterator[Finding]:
    named = environ.get("AWS_PROFILE", "")
    whenever = (
        "boto3 and the AWS CLI v2 use it wherever no profile is named to them in code or by "
        "--profile, whatever AWS_PROFILE says"
    )
    if environ.get("AWS_ACCESS_KEY_ID"):
        javascript = (
            f"the JavaScript SDK uses profile {truncate_for_display(named)}, for AWS_PROFILE is set"
            if named
            else "the JavaScript SDK likewise"
        )
        yield Finding(
            "AWS_ACCESS_KEY_ID",
            "it is set in this shell, and its keys come before every profile of both files",
            f"{whenever}; {javascript}",
            "`unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN`, and look for what "
            "sets it",
            is_note=True,
        )
    if environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        yield Finding(
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "it is set in this shell, and a session by that token comes before the keys of every "
            "profile",
            f"{whenever}; the JavaScript SDK uses it where the profile gives nothing",
            "`unset AWS_WEB_IDENTITY_TOKEN_FILE AWS_ROLE_ARN`, or name the profile with --profile",
            is_note=True,
        )
    default = environ.get("AWS_DEFAULT_PROFILE", "")
    if default and default != named:
        yield Finding(
            "AWS_DEFAULT_PROFILE",
            f"it is set in this shell, to {_named(default, files, configuration)}, and the tools "
            "don't agree on it",
            "boto3 and the AWS CLI v1 take it before AWS_PROFILE, the AWS CLI v2 where there is no "
            "AWS_PROFILE, and the JavaScript SDK never",
            "`unset AWS_DEFAULT_PROFILE`, and set AWS_PROFILE, which all of them know",
            is_note=True,
        )
    if named:
        profile = files.profiles.get(named)
        first = next(iter(configuration.profiles))
        yield Finding(
            "AWS_PROFILE",
            f"it is set in this shell, to {_named(named, files, configuration)}",
            use_today(profile, files) if profile is not None else "no tool finds credentials by it",
            "nothing to do"
            if named in configuration.profiles
            else f"`export AWS_PROFILE={first}` for one that is kept fresh, or `unset AWS_PROFILE`",
            is_note=True,
        )


def _named(name: str, files: AwsFiles, configuration: Configuration) -> str:
    if name in configuration.profiles:
        return f"{truncate_for_display(name)}, which is kept fresh here"
    known = "is not kept fresh here" if name in files.profiles else "is in no AWS file"
    return f"{truncate_for_display(name)}, which {known}"


def _with_keys(profile: AwsProfile, credentials: Path) -> AwsProfile:
    """Return the profile as it is once its keys are written."""
    keys = {key: ConfigValue("…", SourceLocation(credentials, 1)) for key in STORED_KEYS}
    return replace(profile, credentials={**profile.credentials, **keys})


def _key_of(profile: AwsProfile, entry: ConfigValue) -> str:
    return next(key for key, found in profile.entries.items() if found is entry)
