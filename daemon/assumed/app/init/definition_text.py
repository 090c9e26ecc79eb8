"""The text of a first configuration, and of what `init` says about the AWS files."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from assumed.app.init.draft import DefinitionValue, DraftDefinition
from assumed.app.init.yaml_writer import comment, flow, inline_comment, scalar
from assumed.aws_files.profiles import AwsFiles, SourceLocation
from assumed.aws_files.sdk_precedence import CredentialKind, used_by_botocore

_KIND_NAMES = {
    CredentialKind.KEYS: "keys",
    CredentialKind.SSO: "an SSO login",
    CredentialKind.LOGIN: "a login",
    CredentialKind.PROCESS: "a credential_process",
    CredentialKind.WEB_IDENTITY: "a token",
}


def configuration_text(
    drafts: Sequence[DraftDefinition], files: AwsFiles, suffix: str, home: Path
) -> str:
    """Return the YAML of a first configuration.

    Args:
        drafts: the definitions; one with a `reason` is a comment.
        files: the AWS files.
        suffix: appended to the name of a profile to get the name of its definition.
        home: abbreviated to `~`.
    """
    return "\n".join(_lines(drafts, files, suffix, home)) + "\n"


def skeleton(files: AwsFiles, home: Path) -> str:
    """Return a configuration to complete, for a home without a profile to start from.

    Args:
        files: the AWS files.
        home: abbreviated to `~`.
    """
    keys = [name for name, profile in files.profiles.items() if profile.has_keys]
    source = scalar(keys[0]) if keys else "default"
    return f"""\
# Written by `assumed init`: there is no role profile in {_abbreviate(files.config, home)} to start
# from. Replace the values, remove the `#` in front of the first three lines below `profiles:`, and
# test it with `assumed check --live`.
profiles:
  # my-profile:                        # Use it as `--profile my-profile`.
  #   role_arn: arn:aws:iam::111122223333:role/my-role
  #   source_profile: {source}           # Its keys or login assume the role: `aws configure`.
  #   region: eu-west-1                # Of STS, and of the commands under `assumed exec`.
  #   external_id: abc                 # If the role's trust policy requires one.
  #   mfa_serial: arn:aws:iam::444455556666:mfa/me  # If it requires MFA.
"""


def ignored_headers(files: AwsFiles) -> list[str]:
    """Return a line for each section of the AWS files that AWS tools ignore."""
    lines = [
        f"{each.location}: AWS tools ignore the section [{each.header}]: {each.reason}"
        for each in files.ignored
    ]
    return lines + [
        f"{place}: [profile {name}] is not profile {name} for AWS tools: a header of this file is "
        f"the bare name, [{name}]"
        for name, place in files.misplaced.items()
    ]


def location(place: SourceLocation, home: Path) -> str:
    """Return `~/FILE:LINE`."""
    return f"{_abbreviate(place.file, home)}:{place.line}"


def _lines(
    drafts: Sequence[DraftDefinition], files: AwsFiles, suffix: str, home: Path
) -> Iterator[str]:
    config, credentials = (_abbreviate(path, home) for path in (files.config, files.credentials))
    yield from comment(f"Written by `assumed init` from {config} and {credentials}.")
    yield "#"
    if any("role_arn" in draft.keys for draft in drafts):
        about = (
            f"The name of each definition is the name of a profile with {suffix} appended. The AWS "
            "tools assume the role of a profile with a role_arn themselves, and ignore keys of the "
            "same name in the credentials file. To keep a name, use `assumed adopt`. "
            "config_profile is the profile whose region, endpoint and other settings apply."
        )
    else:
        about = (
            "There are no role profiles. Each definition keeps the credentials of a login or a "
            "credential_process in the credentials file, under the name of the profile with "
            f"{suffix} appended, for tools that only read that file. The AWS tools use the login "
            "or the command itself. Remove the definitions that you do not need."
        )
    yield from comment(about)
    yield "profiles:"
    for draft in drafts:
        yield from _definition(draft, home)
    names = {draft.profile.name for draft in drafts}
    others = [
        f"{profile.name} ({_KIND_NAMES[kind]})"
        for name, profile in files.profiles.items()
        if name not in names
        and not profile.is_managed
        and (kind := used_by_botocore(profile).kind) in _KIND_NAMES
    ]
    if others:
        yield ""
        yield from comment(
            "Profiles without a role_arn, each of which can be a source_profile: "
            f"{', '.join(others)}."
        )
    if ignored := ignored_headers(files):
        yield ""
        for line in ignored:
            yield from comment(line.replace(f"{home}/", "~/"))


def _definition(draft: DraftDefinition, home: Path) -> Iterator[str]:
    place = location(draft.profile.location, home)
    yield ""
    if draft.reason is None:
        option = f"--profile {shlex.quote(draft.name)}"
        about = f"Profile {draft.profile.name} ({place}): use `{option}`."
    else:
        about = f"Profile {draft.profile.name} ({place}) is skipped: {draft.reason}."
    yield from comment(about, indent="  ")
    for note in draft.notes:
        yield from comment(note, indent="  ")
    mark = "" if draft.reason is None else "# "
    yield f"  {mark}{scalar(draft.name)}:"
    for key, value in draft.keys.items():
        key_comment = draft.key_comments.get(key)
        behind = f"  # {inline_comment(key_comment)}" if key_comment is not None else ""
        yield f"  {mark}  {key}: {definition_value(key, value)}{behind}"
    for key, value in draft.optional.items():
        yield f"    # {key}: {definition_value(key, value)}"


def definition_value(key: str, value: DefinitionValue) -> str:
    """Return the value of a key of a definition as YAML on one line."""
    is_number = key == "duration_seconds" and isinstance(value, str) and value.isdigit()
    return str(value) if is_number else flow(value)


def _abbreviate(path: Path, home: Path) -> str:
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
