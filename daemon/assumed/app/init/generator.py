"""From the profiles of the AWS files to the text of a first configuration; no disk.

No key of the AWS files' credentials is read for its value, so that none can be copied.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assumed.app.init.yaml_writer import comment, remark, scalar
from assumed.aws_files.ownership import other_manager
from assumed.aws_files.profiles import AwsFiles, AwsProfile, SourceLocation
from assumed.aws_files.sdk_precedence import CredentialKind, used_by_botocore
from assumed.aws_files.shadowing import unique_name
from assumed.config.fields import MAX_CHAINED_SECONDS, truncate_for_display
from assumed.config.schema import SOURCE_KEYS

_CARRIED = ("external_id", "mfa_serial", "role_session_name", "duration_seconds", "region")
# What AssumeRoleWithWebIdentity takes none of; the AWS tools leave them out there too.
_NOT_WITH_A_TOKEN = {"external_id", "mfa_serial"}
_WORDS_OF_A_SOURCE = {
    CredentialKind.KEYS: "keys",
    CredentialKind.SSO: "an SSO login",
    CredentialKind.LOGIN: "a login",
    CredentialKind.PROCESS: "a credential_process",
    CredentialKind.WEB_IDENTITY: "a token",
}
_LOGINS = {CredentialKind.SSO: "aws sso login", CredentialKind.LOGIN: "aws login"}

Definition = Mapping[str, str]
FindMistake = Callable[[str, Mapping[str, Definition]], str | None]


@dataclass(frozen=True, slots=True)
class SkippedProfile:
    """A role profile that no definition was made of, and why."""

    profile: str
    place: SourceLocation
    reason: str


@dataclass(frozen=True, slots=True)
class GeneratedConfig:
    """A first configuration.

    Args:
        text: YAML.
        profiles: the names that it keeps fresh, and the profiles of the AWS files that they are of.
        left_out: the others.
    """

    text: str
    profiles: Mapping[str, str]
    left_out: Sequence[SkippedProfile]


@dataclass(slots=True)
class _DraftDefinition:
    """One definition on its way; `open` are keys to choose, `reason` says why it is left out."""

    profile: AwsProfile
    name: str
    keys: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    open: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reason: str | None = None
    parent: str | None = None


def propose(
    files: AwsFiles,
    *,
    suffix: str,
    known: Collection[str],
    find_mistake: FindMistake,
    home: Path,
) -> GeneratedConfig:
    """Return a configuration with a definition for every role profile of the AWS files.

    Where there is none, with one for every login.

    Args:
        files: the AWS files.
        suffix: what stands behind the name of a profile in that of its definition.
        known: the keys that a definition may have in this version.
        find_mistake: says what is wrong with a definition, given by its name and together with
            those that it is chained to.
        home: is shortened to `~`.
    """
    return _Generator(files, suffix, known, find_mistake, home).proposal()


class _Generator:
    def __init__(
        self,
        files: AwsFiles,
        suffix: str,
        known: Collection[str],
        find_mistake: FindMistake,
        home: Path,
    ) -> None:
        self._files = files
        self._suffix = suffix
        self._known = known
        self._find_mistake = find_mistake
        self._home = home
        self._names = self._free_names(suffix)
        self._drafts: dict[str, _DraftDefinition] = {}

    def proposal(self) -> GeneratedConfig:
        drafts = [self._draft(name, ()) for name in self._names]
        return GeneratedConfig(
            text="\n".join(self._lines(drafts)) + "\n",
            profiles={draft.name: draft.profile.name for draft in drafts if draft.reason is None},
            left_out=[
                SkippedProfile(draft.profile.name, draft.profile.location, draft.reason)
                for draft in drafts
                if draft.reason is not None
            ],
        )

    def _free_names(self, suffix: str) -> dict[str, str]:
        """Return a name that no profile has, for each role profile.

        Where there is no role at all, for each profile with a login that not every tool knows.
        """
        # What an earlier configuration keeps fresh is free for the next one.
        taken = {
            name
            for name, profile in self._files.profiles.items()
            if profile.config or not profile.is_managed
        }
        profiles = self._files.profiles.items()
        names: dict[str, str] = {}
        for name in [name for name, profile in profiles if profile.value("role_arn")] or [
            name for name, profile in profiles if used_by_botocore(profile).kind in _LOGINS
        ]:
            names[name] = unique_name(name, suffix, taken)
            taken.add(names[name])
        return names

    def _draft(self, name: str, above: tuple[str, ...]) -> _DraftDefinition:
        """Return the definition of a role profile, whose source is drafted before it."""
        if name not in self._drafts:
            draft = _DraftDefinition(self._files.profiles[name], self._names[name])
            self._carry_over(draft)
            draft.reason = self._reason(draft, (*above, name))
            if draft.reason is None:
                chain = dict(self._chain(draft))
                draft.reason = self._find_mistake(draft.name, chain)
            self._drafts[name] = draft
        return self._drafts[name]

    def _carry_over(self, draft: _DraftDefinition) -> None:
        profile = draft.profile
        source = self._lender(profile, SOURCE_KEYS)
        has_token = source.value("web_identity_token_file") is not None
        for key in ("role_arn", *SOURCE_KEYS, *_CARRIED):
            lender = source if key in SOURCE_KEYS else self._lender(profile, [key])
            value = lender.value(key)
            if value is not None and not (has_token and key in _NOT_WITH_A_TOKEN):
                draft.keys[key] = value
                if lender is not profile:
                    draft.remarks[key] = f"from {lender.name}, by include_profile"

    def _lender(self, profile: AwsProfile, keys: Sequence[str]) -> AwsProfile:
        """Return the profile that has one of the keys for this one: aws-vault's include_profile."""
        link: AwsProfile | None = profile
        seen: set[str] = set()
        while link is not None and link.name not in seen:
            if any(link.value(key) is not None for key in keys):
                return link
            seen.add(link.name)
            link = self._files.profiles.get(link.value("include_profile") or "")
        return profile

    def _reason(self, draft: _DraftDefinition, above: tuple[str, ...]) -> str | None:
        if draft.profile.value("role_arn") is None:
            draft.keys = {"source_profile": draft.profile.name}
            self._note_source(draft, draft.profile)
            return None
        sources = [key for key in SOURCE_KEYS if key in draft.keys]
        if not sources:
            return "it has a role_arn, and no source_profile whose credentials may assume it"
        if len(sources) > 1:
            return f"it has {' and '.join(sources)}: the AWS tools don't agree on what that means"
        for key in (*sources, *_CARRIED):
            if key in draft.keys and key not in self._known:
                return f"this version of assumed does not support {key} yet"
        if sources == ["source_profile"]:
            return self._about_source(draft, draft.keys["source_profile"], above)
        return None

    def _about_source(
        self, draft: _DraftDefinition, source: str, above: tuple[str, ...]
    ) -> str | None:
        found = self._files.profiles.get(source)
        if found is None:
            misplaced = self._files.misplaced.get(source)
            where = "in the AWS files" if misplaced is None else f"but for {self._at(misplaced)}"
            also = (
                ""
                if misplaced is None
                else f", where it has to be [{truncate_for_display(source)}]"
            )
            return f"there is no profile {truncate_for_display(source)} {where}{also}"
        if source in self._names and found.has_keys:
            return (
                f"profile {source} has keys and a role_arn under one name: move the keys to a "
                "profile of their own, and name that one as source_profile"
            )
        if source in above:
            return f"a chain that loops: {' -> '.join([*above[above.index(source) :], source])}"
        if source not in self._names:
            self._note_source(draft, found)
            return None
        parent = self._draft(source, above)
        if parent.reason is not None:
            return f"its source, profile {source}, is left out too"
        draft.parent = source
        draft.keys["source_profile"] = parent.name
        draft.remarks["source_profile"] = f"profile {source}, itself a role: a chain"
        self._shorten_chained(draft)
        return None

    def _shorten_chained(self, draft: _DraftDefinition) -> None:
        seconds = draft.keys.get("duration_seconds", "")
        if seconds.isascii() and seconds.isdigit() and int(seconds) > MAX_CHAINED_SECONDS:
            del draft.keys["duration_seconds"]
            draft.notes.append(
                f"duration_seconds = {seconds} is not carried over: STS gives a chained role an "
                "hour at most."
            )

    def _note_source(self, draft: _DraftDefinition, source: AwsProfile) -> None:
        used = used_by_botocore(source).kind
        if (login := _LOGINS.get(used)) is not None:
            draft.notes.append(
                f"Where the login of {source.name} has run out, refreshes wait for a new one: "
                f"`{login} --profile {source.name}`."
            )
        elif used is CredentialKind.KEYS and "aws_session_token" in source.credentials:
            marks = {
                key: entry.value
                for key, entry in source.credentials.items()
                if not key.startswith("aws_")
            }
            who = other_manager(marks) or "what wrote them"
            draft.notes.append(
                f"The keys of {source.name} are temporary: where they have run out, refreshes wait "
                f"for new ones from {who}."
            )
        serial = source.value("mfa_serial")
        if serial is not None and "mfa_serial" not in draft.keys:
            if "mfa_serial" in self._known:
                draft.open["mfa_serial"] = serial
                mend = "take the # from the line with mfa_serial"
            else:
                mend = "this version of assumed can't assume it yet"
            draft.notes.append(
                f"Open: {source.name} has an mfa_serial, which aws-vault and awsume use for this "
                f"role and the AWS tools don't. Where its trust policy asks for MFA, {mend}."
            )

    def _chain(self, draft: _DraftDefinition) -> Iterator[tuple[str, Definition]]:
        yield draft.name, draft.keys
        if draft.parent is not None:
            yield from self._chain(self._drafts[draft.parent])

    def _lines(self, drafts: Sequence[_DraftDefinition]) -> Iterator[str]:
        read = f"{self._short(self._files.config)} and {self._short(self._files.credentials)}"
        yield from comment(f"Written by `assumed init`, from {read}.")
        yield "#"
        about = (
            f"Each definition has a name of its own, with {self._suffix} behind it: where the AWS "
            "files give a profile a role_arn, the AWS tools assume that role by themselves, and "
            "never look at keys of the same name. To keep a name, take role_arn and source_profile "
            "out of that profile in the AWS files, and write the name here."
        )
        if not any("role_arn" in draft.keys for draft in drafts):
            about = (
                "There is no role to assume: each definition keeps the credentials of a login in "
                f"the credentials file, under a name with {self._suffix} behind it, for tools that "
                "know no such login. The AWS tools do: remove what nothing else needs."
            )
        yield from comment(about)
        yield "profiles:"
        for draft in drafts:
            yield from self._definition(draft)
        others = [
            f"{profile.name} ({_WORDS_OF_A_SOURCE[used]})"
            for name, profile in self._files.profiles.items()
            if name not in self._names
            and not profile.is_managed
            and (used := used_by_botocore(profile).kind) in _WORDS_OF_A_SOURCE
        ]
        if others:
            yield ""
            yield from comment(
                "Left as they are, for they have no role_arn; each can be a source_profile: "
                f"{', '.join(others)}."
            )

    def _definition(self, draft: _DraftDefinition) -> Iterator[str]:
        place = self._at(draft.profile.location)
        yield ""
        if draft.reason is None:
            about = (
                f"Profile {draft.profile.name} ({place}), kept fresh: use `--profile {draft.name}`."
            )
        else:
            about = f"Profile {draft.profile.name} ({place}) is left out: {draft.reason}."
        yield from comment(about, indent="  ")
        for note in draft.notes:
            yield from comment(note, indent="  ")
        mark = "" if draft.reason is None else "# "
        yield f"  {mark}{scalar(draft.name)}:"
        for key, value in draft.keys.items():
            plain = value if key == "duration_seconds" and value.isdigit() else scalar(value)
            behind = f"  # {remark(draft.remarks[key])}" if key in draft.remarks else ""
            yield f"  {mark}  {key}: {plain}{behind}"
        for key, value in draft.open.items():
            yield f"    # {key}: {scalar(value)}"

    def _short(self, path: Path) -> str:
        return f"~/{path.relative_to(self._home)}" if path.is_relative_to(self._home) else str(path)

    def _at(self, place: SourceLocation) -> str:
        return f"{self._short(place.file)}:{place.line}"
