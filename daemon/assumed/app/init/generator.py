"""Generation of the text of a first configuration from the profiles of the AWS files.

Pure: it touches no file, and it never reads the value of a key in the credentials file, so that no
secret can be copied.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from assumed.app.init.aws_vault import EQUALS
from assumed.app.init.config_blocks import is_block
from assumed.app.init.definition_text import configuration_text, ignored_headers, location
from assumed.app.init.draft import Definition, DefinitionValue, DraftDefinition
from assumed.app.init.sources import limit_duration, source_problem
from assumed.aws_files.ownership import other_manager
from assumed.aws_files.profiles import AwsFiles, AwsProfile, SourceLocation
from assumed.aws_files.sdk_precedence import CredentialKind, exported_profile, used_by_botocore
from assumed.aws_files.shadowing import unique_name
from assumed.config.fields import truncate_for_display
from assumed.config.schema import SOURCE_KEYS
from assumed.models import is_profile_name

_COPIED_KEYS = ("external_id", "mfa_serial", "role_session_name", "duration_seconds")
# AssumeRoleWithWebIdentity has no such parameters, and the AWS tools ignore these keys too.
_NOT_WITH_A_TOKEN = {"external_id", "mfa_serial", *EQUALS}
_LOGIN_COMMANDS = {CredentialKind.SSO: "aws sso login", CredentialKind.LOGIN: "aws login"}

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
        skipped: the profiles without a definition.
        ignored: sections that AWS tools ignore, as `FILE:LINE: …`.
    """

    text: str
    profiles: Mapping[str, str]
    skipped: Sequence[SkippedProfile]
    ignored: Sequence[str] = ()


def generate_config(
    files: AwsFiles,
    *,
    suffix: str,
    supported: Collection[str],
    find_problem: FindProblem,
    home: Path,
) -> GeneratedConfig:
    """Return a configuration with a definition for each role profile of the AWS files.

    If there are no role profiles, it has a definition for each profile with a login or a
    `credential_process`.

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
        self._drafts: dict[str, DraftDefinition] = {}

    def generate(self) -> GeneratedConfig:
        drafts = [self._draft(name, ()) for name in self._names]
        self._share_mfa_commands(drafts)
        return GeneratedConfig(
            text=configuration_text(drafts, self._files, self._suffix, self._home),
            profiles={draft.name: draft.profile.name for draft in drafts if draft.reason is None},
            skipped=[
                SkippedProfile(draft.profile.name, draft.profile.location, draft.reason)
                for draft in drafts
                if draft.reason is not None
            ],
            ignored=ignored_headers(self._files),
        )

    def _unique_names(self, suffix: str) -> dict[str, str]:
        """Return a new name for each role profile, or, without roles, for each other source.

        Long-term keys are no such source.
        """
        # The profiles of an earlier configuration may be used again.
        taken = {
            name
            for name, profile in self._files.profiles.items()
            if profile.config or not profile.is_managed
        }
        profiles = self._files.profiles.items()
        roles = [name for name, profile in profiles if profile.value("role_arn")]
        logins = [
            name
            for name, profile in profiles
            if used_by_botocore(profile).kind in {*_LOGIN_COMMANDS, CredentialKind.PROCESS}
            and exported_profile(profile) is None
        ]
        names: dict[str, str] = {}
        for name in roles or logins:
            # The JavaScript SDK cannot read the keys of `[two words]`.
            base = name if is_profile_name(f"{name}{suffix}") else "-".join(name.split())
            known = self._files.profiles.get(f"{base}{suffix}")
            if known is not None and is_block(known, self._files.profiles[name]):
                names[name] = known.name
            else:
                names[name] = unique_name(base, suffix, taken)
            taken.add(names[name])
        return names

    def _draft(self, name: str, children: tuple[str, ...]) -> DraftDefinition:
        """Return the draft for a profile; the draft of its source is created first."""
        if name not in self._drafts:
            draft = DraftDefinition(self._files.profiles[name], self._names[name])
            self._copy_keys(draft)
            draft.reason = self._reason_to_skip(draft, (*children, name))
            limit_duration(draft, self._files)
            if draft.reason is None:
                draft.reason = self._find_problem(draft.name, dict(self._chain(draft)))
            if draft.reason is None and (region := draft.profile.value("region")) is not None:
                # Not copied, but config_profile leads to it.
                checked = {**draft.keys, "region": region}
                chain = {**dict(self._chain(draft)), draft.name: checked}
                draft.reason = self._find_problem(draft.name, chain)
            self._drafts[name] = draft
        return self._drafts[name]

    def _copy_keys(self, draft: DraftDefinition) -> None:
        profile = draft.profile
        source_owner = self._owner_of(profile, SOURCE_KEYS)
        has_token = source_owner.value("web_identity_token_file") is not None
        for key in ("role_arn", *SOURCE_KEYS, *_COPIED_KEYS, *EQUALS, "region"):
            owner = source_owner if key in SOURCE_KEYS else self._owner_of(profile, [key])
            value = owner.value(key)
            if value is None or (has_token and key in _NOT_WITH_A_TOKEN):
                continue
            if key == "region" and owner is profile:
                # config_profile says it, and everything else about the call.
                continue
            name, convert = EQUALS.get(key, (key, str))
            draft.keys[name] = convert(value)
            if owner is not profile:
                draft.key_comments[name] = f"from {owner.name}, by include_profile"
        if "config_profile" in self._supported:
            draft.keys["config_profile"] = profile.name
        if "mfa_process" in draft.keys and "mfa_serial" not in draft.keys:
            draft.notes.append("mfa_process is not copied: there is no mfa_serial.")
            del draft.keys["mfa_process"]

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

    def _reason_to_skip(self, draft: DraftDefinition, children: tuple[str, ...]) -> str | None:
        if draft.profile.value("role_arn") is None:
            draft.keys = {"source_profile": draft.profile.name}
            self._add_source_notes(draft, draft.profile)
            return source_problem(draft.profile, self._files)
        sources = [key for key in SOURCE_KEYS if key in draft.keys]
        if not sources:
            return "it has a role_arn, but no source_profile to assume the role with"
        if len(sources) > 1:
            return f"it has {' and '.join(sources)}, and the AWS tools interpret that differently"
        for key in (*sources, *_COPIED_KEYS):
            if key in draft.keys and key not in self._supported:
                return f"this version of assumed does not support {key}"
        if sources == ["source_profile"]:
            return self._resolve_source(draft, draft.text("source_profile"), children)
        return None

    def _resolve_source(
        self, draft: DraftDefinition, source: str, children: tuple[str, ...]
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
            problem = source_problem(found, self._files)
            return None if problem is None else f"its source, profile {source}: {problem}"
        parent = self._draft(source, children)
        if parent.reason is not None:
            return f"its source, profile {source}, is skipped too"
        draft.parent = source
        draft.keys["source_profile"] = parent.name
        draft.key_comments["source_profile"] = f"profile {source}, which is a role (role chaining)"
        return None

    def _missing_source(self, source: str) -> str:
        name = truncate_for_display(source)
        misplaced = self._files.misplaced.get(source)
        if misplaced is None:
            return f"there is no profile {name} in the AWS files"
        return (
            f"there is no profile {name}: the header in {location(misplaced, self._home)} must be "
            f"[{name}]"
        )

    def _add_source_notes(self, draft: DraftDefinition, source: AwsProfile) -> None:
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
        elif kind is CredentialKind.PROCESS and "role_arn" not in draft.keys:
            draft.notes.append(
                f"The credential_process of {source.name} has to report an Expiration: credentials "
                "without one are never copied."
            )
        serial = source.value("mfa_serial")
        if serial is not None and "role_arn" in draft.keys and "mfa_serial" not in draft.keys:
            self._add_mfa_note(draft, source.name, serial)

    def _add_mfa_note(self, draft: DraftDefinition, source: str, serial: str) -> None:
        if "mfa_serial" in self._supported:
            draft.optional["mfa_serial"] = serial
            advice = "uncomment mfa_serial"
        else:
            advice = "this version of assumed cannot assume it"
        draft.notes.append(
            f"To decide: {source} has an mfa_serial. aws-vault and awsume use it for this role, "
            f"the AWS tools do not. If the role's trust policy requires MFA, {advice}."
        )

    def _chain(self, draft: DraftDefinition) -> Iterator[tuple[str, Definition]]:
        yield draft.name, draft.keys
        if draft.parent is not None:
            yield from self._chain(self._drafts[draft.parent])

    def _share_mfa_commands(self, drafts: Sequence[DraftDefinition]) -> None:
        """Give definitions with one MFA device one command: they share its session."""
        first: dict[tuple[str, str], DefinitionValue] = {}
        with_mfa = [draft for draft in drafts if "mfa_serial" in draft.keys and not draft.reason]
        for draft in with_mfa:
            if "mfa_process" in draft.keys:
                device = draft.text("source_profile"), draft.text("mfa_serial")
                first.setdefault(device, draft.keys["mfa_process"])
        for draft in with_mfa:
            command = first.get((draft.text("source_profile"), draft.text("mfa_serial")))
            if command is not None and draft.keys.get("mfa_process") != command:
                draft.keys["mfa_process"] = command
                draft.key_comments["mfa_process"] = "of another role with the same device"
