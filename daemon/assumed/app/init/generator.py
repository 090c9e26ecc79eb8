"""Generation of the text of a first configuration from the profiles of the AWS files.

Pure: it touches no file, and it never reads the value of a key in the credentials file, so that no
secret can be copied.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assumed.app.init.yaml_writer import comment, inline_comment, scalar
from assumed.aws_files.ownership import other_manager
from assumed.aws_files.profiles import AwsFiles, AwsProfile, SourceLocation
from assumed.aws_files.sdk_precedence import CredentialKind, used_by_botocore
from assumed.aws_files.shadowing import unique_name
from assumed.config.fields import MAX_CHAINED_SECONDS, truncate_for_display
from assumed.config.schema import SOURCE_KEYS

_COPIED_KEYS = ("external_id", "mfa_serial", "role_session_name", "duration_seconds", "region")
# AssumeRoleWithWebIdentity has no such parameters, and the AWS tools ignore these keys too.
_NOT_WITH_A_TOKEN = {"external_id", "mfa_serial"}
_KIND_NAMES = {
    CredentialKind.KEYS: "keys",
    CredentialKind.SSO: "an SSO login",
    CredentialKind.LOGIN: "a login",
    CredentialKind.PROCESS: "a credential_process",
    CredentialKind.WEB_IDENTITY: "a token",
}
_LOGIN_COMMANDS = {CredentialKind.SSO: "aws sso login", CredentialKind.LOGIN: "aws login"}

Definition = Mapping[str, str]
FindProblem = Callable[[str, Mapping[str, Definition]], str | None]


@dataclass(frozen=True, slots=True)
class SkippedProfile:
    """A role profile without a definition, and the reason."""

    profile: str
    place: SourceLocation
    reason: str


@dataclass(frozen=True, slots=True)
class GeneratedConfig:
    """A first configuration.

    Args:
        text: the YAML.
        profiles: the names of the definitions, and the profiles of the AWS files they are from.
        skipped: the role profiles without a definition.
    """

    text: str
    profiles: Mapping[str, str]
    skipped: Sequence[SkippedProfile]


@dataclass(slots=True)
class _DraftDefinition:
    """A definition before it is written.

    `optional` are keys that the user may have to add, and are written as comments. `reason` is why
    the whole definition is a comment.
    """

    profile: AwsProfile
    name: str
    keys: dict[str, str] = field(default_factory=dict)
    key_comments: dict[str, str] = field(default_factory=dict)
    optional: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reason: str | None = None
    parent: str | None = None


def generate_config(
    files: AwsFiles,
    *,
    suffix: str,
    supported: Collection[str],
    find_problem: FindProblem,
    home: Path,
) -> GeneratedConfig:
    """Return a configuration with a definition for each role profile of the AWS files.

    If there are no role profiles, it has a definition for each profile with a login.

    Args:
        files: the AWS files.
        suffix: appended to the name of a profile to get the name of its definition.
        supported: the keys that a definition may have in this version.
        find_problem: returns what is wrong with a definition, given its name and the definitions of
            its role chain.
        home: abbreviated to `~`.
    """
    return _Generator(files, suffix, supported, find_problem, home).generate()


class _Generator:
    def __init__(
        self,
        files: AwsFiles,
        suffix: str,
        supported: Collection[str],
        find_problem: FindProblem,
        home: Path,
    ) -> None:
        self._files = files
        self._suffix = suffix
        self._supported = supported
        self._find_problem = find_problem
        self._home = home
        self._names = self._unique_names(suffix)
        self._drafts: dict[str, _DraftDefinition] = {}

    def generate(self) -> GeneratedConfig:
        drafts = [self._draft(name, ()) for name in self._names]
        return GeneratedConfig(
            text="\n".join(self._lines(drafts)) + "\n",
            profiles={draft.name: draft.profile.name for draft in drafts if draft.reason is None},
            skipped=[
                SkippedProfile(draft.profile.name, draft.profile.location, draft.reason)
                for draft in drafts
                if draft.reason is not None
            ],
        )

    def _unique_names(self, suffix: str) -> dict[str, str]:
        """Return a new name for each role profile, or, without roles, for each login profile."""
        # The profiles of an earlier configuration may be used again.
        taken = {
            name
            for name, profile in self._files.profiles.items()
            if profile.config or not profile.is_managed
        }
        profiles = self._files.profiles.items()
        roles = [name for name, profile in profiles if profile.value("role_arn")]
        logins = [
            name for name, profile in profiles if used_by_botocore(profile).kind in _LOGIN_COMMANDS
        ]
        names: dict[str, str] = {}
        for name in roles or logins:
            names[name] = unique_name(name, suffix, taken)
            taken.add(names[name])
        return names

    def _draft(self, name: str, children: tuple[str, ...]) -> _DraftDefinition:
        """Return the draft for a profile; the draft of its source is created first."""
        if name not in self._drafts:
            draft = _DraftDefinition(self._files.profiles[name], self._names[name])
            self._copy_keys(draft)
            draft.reason = self._reason_to_skip(draft, (*children, name))
            if draft.reason is None:
                chain = dict(self._chain(draft))
                draft.reason = self._find_problem(draft.name, chain)
            self._drafts[name] = draft
        return self._drafts[name]

    def _copy_keys(self, draft: _DraftDefinition) -> None:
        profile = draft.profile
        source_owner = self._owner_of(profile, SOURCE_KEYS)
        has_token = source_owner.value("web_identity_token_file") is not None
        for key in ("role_arn", *SOURCE_KEYS, *_COPIED_KEYS):
            owner = source_owner if key in SOURCE_KEYS else self._owner_of(profile, [key])
            value = owner.value(key)
            if value is not None and not (has_token and key in _NOT_WITH_A_TOKEN):
                draft.keys[key] = value
                if owner is not profile:
                    draft.key_comments[key] = f"from {owner.name}, by include_profile"

    def _owner_of(self, profile: AwsProfile, keys: Sequence[str]) -> AwsProfile:
        """Return the profile that sets one of the keys: itself, or by aws-vault's include_profile.

        If none does, return the profile itself.
        """
        candidate: AwsProfile | None = profile
        seen: set[str] = set()
        while candidate is not None and candidate.name not in seen:
            if any(candidate.value(key) is not None for key in keys):
                return candidate
            seen.add(candidate.name)
            candidate = self._files.profiles.get(candidate.value("include_profile") or "")
        return profile

    def _reason_to_skip(self, draft: _DraftDefinition, children: tuple[str, ...]) -> str | None:
        if draft.profile.value("role_arn") is None:
            draft.keys = {"source_profile": draft.profile.name}
            self._add_source_notes(draft, draft.profile)
            return None
        sources = [key for key in SOURCE_KEYS if key in draft.keys]
        if not sources:
            return "it has a role_arn, but no source_profile to assume the role with"
        if len(sources) > 1:
            return f"it has {' and '.join(sources)}, and the AWS tools interpret that differently"
        for key in (*sources, *_COPIED_KEYS):
            if key in draft.keys and key not in self._supported:
                return f"this version of assumed does not support {key}"
        if sources == ["source_profile"]:
            return self._resolve_source(draft, draft.keys["source_profile"], children)
        return None

    def _resolve_source(
        self, draft: _DraftDefinition, source: str, children: tuple[str, ...]
    ) -> str | None:
        """Set the source of a draft; return the reason if that is not possible."""
        found = self._files.profiles.get(source)
        if found is None:
            return self._missing_source(source)
        if source in self._names and found.has_keys:
            return (
                f"profile {source} has both keys and a role_arn: move the keys to another profile, "
                "and use that one as source_profile"
            )
        if source in children:
            loop = [*children[children.index(source) :], source]
            return f"its role chain is a loop: {' -> '.join(loop)}"
        if source not in self._names:
            self._add_source_notes(draft, found)
            return None
        parent = self._draft(source, children)
        if parent.reason is not None:
            return f"its source, profile {source}, is skipped too"
        draft.parent = source
        draft.keys["source_profile"] = parent.name
        draft.key_comments["source_profile"] = f"profile {source}, which is a role (role chaining)"
        self._limit_chained_duration(draft)
        return None

    def _missing_source(self, source: str) -> str:
        name = truncate_for_display(source)
        misplaced = self._files.misplaced.get(source)
        if misplaced is None:
            return f"there is no profile {name} in the AWS files"
        return (
            f"there is no profile {name}: the header in {self._location(misplaced)} must be "
            f"[{name}]"
        )

    def _limit_chained_duration(self, draft: _DraftDefinition) -> None:
        seconds = draft.keys.get("duration_seconds", "")
        if seconds.isascii() and seconds.isdigit() and int(seconds) > MAX_CHAINED_SECONDS:
            del draft.keys["duration_seconds"]
            draft.notes.append(
                f"duration_seconds = {seconds} is not copied: with role chaining, STS limits "
                "sessions to an hour."
            )

    def _add_source_notes(self, draft: _DraftDefinition, source: AwsProfile) -> None:
        kind = used_by_botocore(source).kind
        if (login := _LOGIN_COMMANDS.get(kind)) is not None:
            draft.notes.append(
                f"When the login of {source.name} has expired, refreshes wait for a new one: "
                f"`{login} --profile {shlex.quote(source.name)}`."
            )
        elif kind is CredentialKind.KEYS and "aws_session_token" in source.credentials:
            marks = {
                key: entry.value
                for key, entry in source.credentials.items()
                if not key.startswith("aws_")
            }
            tool = other_manager(marks) or "the tool that wrote them"
            draft.notes.append(
                f"The keys of {source.name} are temporary. When they have expired, refreshes wait "
                f"for new ones from {tool}."
            )
        serial = source.value("mfa_serial")
        if serial is not None and "mfa_serial" not in draft.keys:
            self._add_mfa_note(draft, source.name, serial)

    def _add_mfa_note(self, draft: _DraftDefinition, source: str, serial: str) -> None:
        if "mfa_serial" in self._supported:
            draft.optional["mfa_serial"] = serial
            advice = "uncomment mfa_serial"
        else:
            advice = "this version of assumed cannot assume it"
        draft.notes.append(
            f"To decide: {source} has an mfa_serial. aws-vault and awsume use it for this role, "
            f"the AWS tools do not. If the role's trust policy requires MFA, {advice}."
        )

    def _chain(self, draft: _DraftDefinition) -> Iterator[tuple[str, Definition]]:
        yield draft.name, draft.keys
        if draft.parent is not None:
            yield from self._chain(self._drafts[draft.parent])

    def _lines(self, drafts: Sequence[_DraftDefinition]) -> Iterator[str]:
        config = self._abbreviate(self._files.config)
        credentials = self._abbreviate(self._files.credentials)
        yield from comment(f"Written by `assumed init` from {config} and {credentials}.")
        yield "#"
        if any("role_arn" in draft.keys for draft in drafts):
            about = (
                f"The name of each definition is the name of a profile with {self._suffix} "
                "appended. The AWS tools assume the role of a profile with a role_arn themselves, "
                "and ignore keys of the same name in the credentials file. To keep a name, remove "
                "role_arn and source_profile from that profile in the AWS files, and use its name "
                "here."
            )
        else:
            about = (
                "There are no role profiles. Each definition keeps the credentials of a login in "
                f"the credentials file, under the name of the profile with {self._suffix} "
                "appended, for tools that only read that file. The AWS tools use the login "
                "itself. Remove the definitions that you do not need."
            )
        yield from comment(about)
        yield "profiles:"
        for draft in drafts:
            yield from self._definition(draft)
        others = [
            f"{profile.name} ({_KIND_NAMES[kind]})"
            for name, profile in self._files.profiles.items()
            if name not in self._names
            and not profile.is_managed
            and (kind := used_by_botocore(profile).kind) in _KIND_NAMES
        ]
        if others:
            yield ""
            yield from comment(
                "Profiles without a role_arn, each of which can be a source_profile: "
                f"{', '.join(others)}."
            )

    def _definition(self, draft: _DraftDefinition) -> Iterator[str]:
        location = self._location(draft.profile.location)
        yield ""
        if draft.reason is None:
            option = f"--profile {shlex.quote(draft.name)}"
            about = f"Profile {draft.profile.name} ({location}): use `{option}`."
        else:
            about = f"Profile {draft.profile.name} ({location}) is skipped: {draft.reason}."
        yield from comment(about, indent="  ")
        for note in draft.notes:
            yield from comment(note, indent="  ")
        mark = "" if draft.reason is None else "# "
        yield f"  {mark}{scalar(draft.name)}:"
        for key, value in draft.keys.items():
            plain = value if key == "duration_seconds" and value.isdigit() else scalar(value)
            key_comment = draft.key_comments.get(key)
            behind = f"  # {inline_comment(key_comment)}" if key_comment is not None else ""
            yield f"  {mark}  {key}: {plain}{behind}"
        for key, value in draft.optional.items():
            yield f"    # {key}: {scalar(value)}"

    def _abbreviate(self, path: Path) -> str:
        return f"~/{path.relative_to(self._home)}" if path.is_relative_to(self._home) else str(path)

    def _location(self, place: SourceLocation) -> str:
        return f"{self._abbreviate(place.file)}:{place.line}"
