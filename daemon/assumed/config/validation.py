"""What holds between the keys of a profile, and between profiles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from assumed.arn import partition_of, partition_of_region
from assumed.config.fields import MOST_CHAINED_SECONDS, shown
from assumed.config.schema import ConfigurationModel, ProfileModel
from assumed.config.yaml_loader import Path as KeyPath
from assumed.models import (
    Configuration,
    ManagedProfile,
    MfaSession,
    ProfileDefinition,
    Source,
    SourceProfile,
    WebIdentity,
    is_profile_name,
)
from assumed.paths import expand_home

_NOT_IN_A_SESSION_NAME = re.compile(r"[^\w+=,.@-]", re.ASCII)
_LONGEST_SESSION_NAME = 64
# A profile has one of these; its own takes the place of whichever the defaults name.
_SOURCE_KEYS = ("source_profile", "credential_source", "web_identity_token_file")
# What AssumeRoleWithWebIdentity does not take; tags and the like are claims of the token.
_NOT_OF_A_WEB_IDENTITY = ("external_id", "tags", "transitive_tag_keys", "source_identity")


# What only AssumeRole makes use of.
_OF_A_ROLE = (
    "role_session_name", "duration_seconds", "external_id", "policy", "policy_arns", "tags",
    "transitive_tag_keys", "source_identity",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """What is wrong, and the key that it is about; `meant` is the key that it should have been."""

    where: KeyPath
    text: str
    meant: KeyPath = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "meant", self.meant or self.where)


def default_session_name(user: str, host: str) -> str:
    """Return `assumed-USER@HOST`, made valid by the rules of STS."""
    name = f"assumed-{user}@{host.split('.', maxsplit=1)[0]}"
    return _NOT_IN_A_SESSION_NAME.sub("-", name)[:_LONGEST_SESSION_NAME]


class ConfigurationValidator:
    """The profiles of one configuration, each with the defaults filled in.

    Args:
        shape: every key of it is well-formed.
        default_name: the role session name of profiles that have none.
        source_exists: whether the AWS files have a profile; None to take every name.
        withheld: keys that were written, and are not in `shape`, for they are wrong.
    """

    def __init__(
        self,
        shape: ConfigurationModel,
        *,
        default_name: str,
        source_exists: Callable[[str], bool] | None,
        withheld: Set[KeyPath],
    ) -> None:
        self._shape = shape
        self._default_name = default_name
        self._source_exists = source_exists
        self._withheld = withheld
        self._profiles = {
            name: _merged(shape.defaults, profile) for name, profile in shape.profiles.items()
        }

    def configuration(self, path: Path) -> Configuration:
        """Return what the file says; `mistakes` has to be empty."""
        file = self._shape.credentials_file
        textfile = self._shape.metrics.textfile
        return Configuration(
            path=path,
            profiles=MappingProxyType(
                {name: self._definition(name) for name in self._profiles},
            ),
            credentials_file=Path(expand_home(file.path)) if file.path else None,
            write=file.write,
            hooks=MappingProxyType(
                {name: command for name, command in self._shape.hooks if command},
            ),
            metrics_port=self._shape.metrics.port,
            metrics_textfile=Path(expand_home(textfile)) if textfile else None,
        )

    def mistakes(self) -> Iterator[ConfigProblem]:
        """Find everything that is wrong."""
        file = self._shape.credentials_file.path
        if file and not Path(expand_home(file)).is_absolute():
            yield ConfigProblem(("credentials_file", "path"), "write it whole, from / or ~ on")
        yield from _about_two_sources(self._shape.defaults, ("defaults",))
        looping: set[str] = set()
        for name, profile in self._profiles.items():
            if not is_profile_name(name):
                yield ConfigProblem(
                    ("profiles", name),
                    "the AWS SDKs don't agree on a profile of this name: use letters, digits and "
                    "any of ._-/@+",
                )
            if not profile.role_arn and not self._is_withheld(name, "role_arn"):
                yield from self._about_no_role(name, profile)
            yield from _about_two_sources(self._shape.profiles[name], ("profiles", name))
            if profile.web_identity_token_file:
                yield from self._about_web_identity(name, profile)
            elif profile.credential_source is None:
                yield from self._about_source(name, profile, looping)
            yield from self._about_mfa(name, profile)
            yield from self._about_partition(name, profile)
            yield from self._about_tags(name, profile)

    def _about_source(
        self, name: str, profile: ProfileModel, looping: set[str]
    ) -> Iterator[ConfigProblem]:
        where = self._where(name, "source_profile")
        source = profile.source_profile
        if not source:
            if not any(self._is_withheld(name, key) for key in _SOURCE_KEYS):
                yield ConfigProblem(
                    ("profiles", name),
                    "it has no source_profile, here or under defaults: add `source_profile: NAME`, "
                    "the profile whose credentials may assume the role",
                )
        elif source == name:
            yield ConfigProblem(
                where, "a profile can't be its own source: name the one with the keys"
            )
        elif source in self._profiles:
            loop = self._loop(name)
            if loop and name not in looping:
                looping.update(loop)
                yield ConfigProblem(
                    where, f"a chain that loops: {' -> '.join([*loop, loop[0]])}: break it"
                )
            if profile.enabled and not self._profiles[source].enabled:
                yield ConfigProblem(
                    where, f"{source} is disabled (`enabled: false`), so nothing follows"
                )
            if profile.duration_seconds > MOST_CHAINED_SECONDS and self._profiles[source].role_arn:
                yield ConfigProblem(
                    self._where(name, "duration_seconds"),
                    f"{profile.duration_seconds} s, and {source} is a role itself: STS gives a "
                    "chained role at most 3600: write 1h or less",
                )
        elif not self._exists(source):
            yield ConfigProblem(
                where,
                f"there is no profile {shown(source)}, neither in this file nor in the AWS files: "
                f"`aws configure --profile {shown(source)}` adds it",
            )

    def _about_no_role(self, name: str, profile: ProfileModel) -> Iterator[ConfigProblem]:
        mend = "add `role_arn: arn:aws:iam::ACCOUNT:role/NAME`"
        if profile.web_identity_token_file or profile.source_profile in self._profiles:
            yield ConfigProblem(
                ("profiles", name), f"it has no role_arn, and nothing of its own: {mend}"
            )
        own = self._shape.profiles[name].model_fields_set
        for key in _OF_A_ROLE:
            if key in own:
                yield ConfigProblem(
                    ("profiles", name, key), f"it is of a role, and there is no role_arn: {mend}"
                )

    def _about_mfa(self, name: str, profile: ProfileModel) -> Iterator[ConfigProblem]:
        own = self._shape.profiles[name].model_fields_set
        if "mfa_serial" in own and not self._has_mfa(profile):
            yield ConfigProblem(
                ("profiles", name, "mfa_serial"),
                "a code goes with long-term keys: name a source_profile of the AWS files that has "
                "them, or remove it",
            )
        for key in ("mfa_session", "mfa_process"):
            if key in own and not profile.mfa_serial and not self._is_withheld(name, "mfa_serial"):
                yield ConfigProblem(
                    ("profiles", name, key), "it goes with mfa_serial, which is missing"
                )
        if not self._has_mfa(profile):
            return
        first = next(
            other
            for other, shape in self._profiles.items()
            if self._has_mfa(shape)
            and (shape.source_profile, shape.mfa_serial)
            == (profile.source_profile, profile.mfa_serial)
        )
        for key in ("mfa_session", "mfa_process"):
            if getattr(profile, key) != getattr(self._profiles[first], key):
                yield ConfigProblem(
                    self._where(name, key) if key in own else ("profiles", name),
                    f"{key} is another one in {first}, and both share one session of that device: "
                    "write it under defaults, or the same in both",
                )

    def _has_mfa(self, profile: ProfileModel) -> bool:
        is_profile = bool(profile.source_profile) and profile.source_profile not in self._profiles
        return bool(profile.mfa_serial) and is_profile

    def _about_web_identity(self, name: str, profile: ProfileModel) -> Iterator[ConfigProblem]:
        for key in _NOT_OF_A_WEB_IDENTITY:
            if getattr(profile, key):
                yield ConfigProblem(
                    self._where(name, key),
                    f"{name} has a web_identity_token_file, and AssumeRoleWithWebIdentity takes "
                    f"no {key}: remove it",
                )

    def _about_partition(self, name: str, profile: ProfileModel) -> Iterator[ConfigProblem]:
        partition = _partition(profile)
        if not partition:
            return
        named = [(profile.region, self._where(name, "region"))] if profile.region else []
        fallback = self._where(name, "fallback_regions")
        named += [
            (region, (*fallback, index)) for index, region in enumerate(profile.fallback_regions)
        ]
        for region, where in named:
            if partition_of_region(region) != partition:
                yield ConfigProblem(
                    where,
                    f"{region} is not in the partition {partition} of the role_arn: name a region "
                    "of that partition",
                )
        parent = self._profiles.get(profile.source_profile)
        if parent is not None and _partition(parent) not in {partition, ""}:
            yield ConfigProblem(
                self._where(name, "role_arn"),
                f"it is in the partition {partition}, and its source {profile.source_profile} in "
                f"{_partition(parent)}: no role can be assumed across partitions",
            )
        for index, arn in enumerate(profile.policy_arns):
            if partition_of(arn) != partition:
                yield ConfigProblem(
                    (*self._where(name, "policy_arns"), index),
                    f"it is not in the partition {partition} of the role_arn",
                )

    def _about_tags(self, name: str, profile: ProfileModel) -> Iterator[ConfigProblem]:
        first: dict[str, str] = {}
        for key in profile.tags:
            other = first.setdefault(key.lower(), key)
            if other != key:
                yield ConfigProblem(
                    (*self._where(name, "tags"), key),
                    f"the same as {other} to STS, which does not look at capitals: remove one",
                )

    def _is_withheld(self, name: str, key: str) -> bool:
        places = {("profiles", name, key), ("defaults", key), ("defaults",)}
        return not places.isdisjoint(self._withheld)

    def _exists(self, source: str) -> bool:
        if self._source_exists is None or ("profiles", source) in self._withheld:
            return True
        return self._source_exists(source)

    def _where(self, name: str, key: str) -> KeyPath:
        own = key in self._shape.profiles[name].model_fields_set
        is_default = not own and key in self._shape.defaults.model_fields_set
        return ("defaults", key) if is_default else ("profiles", name, key)

    def _loop(self, name: str) -> list[str]:
        """Return the chain from `name` back to itself; empty where it leads out."""
        chain = [name]
        while (source := self._profiles[chain[-1]].source_profile) in self._profiles:
            if source == name:
                return chain
            if source in chain:
                break
            chain.append(source)
        return []

    def _definition(self, name: str) -> ProfileDefinition:
        profile = self._profiles[name]
        return ProfileDefinition(
            profile=name,
            role_arn=profile.role_arn or None,
            source=self._source(profile),
            role_session_name=profile.role_session_name or self._default_name,
            duration_seconds=profile.duration_seconds,
            refresh_before=profile.refresh_before,
            region=profile.region or None,
            fallback_regions=profile.fallback_regions,
            external_id=profile.external_id or None,
            policy=profile.policy or None,
            policy_arns=profile.policy_arns,
            tags=MappingProxyType(dict(profile.tags)),
            transitive_tag_keys=profile.transitive_tag_keys,
            source_identity=profile.source_identity or None,
            store=profile.store,
            overwrite=profile.overwrite,
            enabled=profile.enabled,
        )

    def _source(self, profile: ProfileModel) -> Source:
        if profile.web_identity_token_file:
            return WebIdentity(Path(expand_home(profile.web_identity_token_file)))
        if profile.credential_source is not None:
            return profile.credential_source
        if profile.source_profile in self._profiles:
            return ManagedProfile(profile.source_profile)
        named = SourceProfile(profile.source_profile)
        if not profile.mfa_serial:
            return named
        return MfaSession(named, profile.mfa_serial, profile.mfa_session, profile.mfa_process)


def _merged(defaults: ProfileModel, profile: ProfileModel) -> ProfileModel:
    has_source = not profile.model_fields_set.isdisjoint(_SOURCE_KEYS)
    return defaults.model_copy(
        update={key: ProfileModel.model_fields[key].default for key in _SOURCE_KEYS if has_source}
        | {key: getattr(profile, key) for key in profile.model_fields_set}
    )


def _about_two_sources(shape: ProfileModel, where: KeyPath) -> Iterator[ConfigProblem]:
    first, *others = [key for key in _SOURCE_KEYS if key in shape.model_fields_set] or [""]
    for key in others:
        yield ConfigProblem((*where, key), f"there is a {first} beside it: keep one of them")


def _partition(profile: ProfileModel) -> str:
    return partition_of(profile.role_arn) if profile.role_arn else ""
