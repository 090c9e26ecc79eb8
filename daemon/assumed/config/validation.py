"""Rules between the keys of a profile, and between profiles."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from difflib import get_close_matches

from assumed.arn import partition_of, partition_of_region
from assumed.config.fields import MAX_CHAINED_SECONDS, NO_MFA_SESSION, truncate_for_display
from assumed.config.schema import SOURCE_KEYS, ConfigurationModel, ProfileModel
from assumed.config.yaml_loader import KeyPath
from assumed.models import is_profile_name

# AssumeRoleWithWebIdentity takes tags and the like from the claims of the token.
_NOT_FOR_WEB_IDENTITY = ("external_id", "tags", "transitive_tag_keys", "source_identity")
# Only AssumeRole uses these.
_ROLE_KEYS = (
    "role_session_name", "duration_seconds", "external_id", "policy", "policy_arns", "tags",
    "transitive_tag_keys", "source_identity",
)  # fmt: skip
_ADD_ROLE_ARN = "add `role_arn: arn:aws:iam::ACCOUNT:role/NAME`"


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """A problem with a key; `meant` is the key that was probably meant, if it is misspelled."""

    where: KeyPath
    text: str
    meant: KeyPath = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "meant", self.meant or self.where)


class ConfigurationValidator:
    """Checks what must hold between the keys and the profiles of one configuration.

    Args:
        model: the keys of the file, each valid by itself.
        profiles: those of the model, with the defaults filled in.
        source_exists: whether the AWS files have a profile; None to accept every name.
        source_names: the profiles of the AWS files, to propose one for a misspelled name.
        rejected: keys that the file has, but not the model, because they are invalid.
    """

    def __init__(
        self,
        model: ConfigurationModel,
        profiles: Mapping[str, ProfileModel],
        *,
        source_exists: Callable[[str], bool] | None,
        source_names: Collection[str] = (),
        rejected: Set[KeyPath],
    ) -> None:
        self._model = model
        self._profiles = profiles
        self._source_exists = source_exists
        self._source_names = source_names
        self._rejected = rejected

    def problems(self) -> Iterator[ConfigProblem]:
        """Yield every problem."""
        yield from check_single_source(self._model.defaults, ("defaults",))
        reported_chains: set[str] = set()
        for name, profile in self._profiles.items():
            if not is_profile_name(name):
                yield ConfigProblem(
                    ("profiles", name),
                    "AWS SDKs disagree about this profile name: use letters, digits and ._-/@+",
                )
            if not profile.role_arn and not self._is_rejected(name, "role_arn"):
                yield from self._check_without_role(name, profile)
            yield from check_single_source(self._model.profiles[name], ("profiles", name))
            if profile.web_identity_token_file:
                yield from self._check_web_identity(name, profile)
            elif profile.credential_source is None:
                yield from self._check_source_profile(name, profile, reported_chains)
            yield from self._check_mfa(name, profile)
            yield from self._check_config_profile(name, profile)
            yield from self._check_partition(name, profile)
            yield from self._check_tags(name, profile)

    def _check_source_profile(
        self, name: str, profile: ProfileModel, reported_chains: set[str]
    ) -> Iterator[ConfigProblem]:
        where = self._where(name, "source_profile")
        source = profile.source_profile
        if not source:
            if not any(self._is_rejected(name, key) for key in SOURCE_KEYS):
                yield ConfigProblem(
                    ("profiles", name),
                    "no source_profile here or under defaults: add `source_profile: NAME`, the "
                    "profile whose credentials may assume the role",
                )
        elif source == name:
            yield ConfigProblem(
                where, "a profile cannot be its own source: name the profile that has the keys"
            )
        elif source in self._profiles:
            yield from self._check_parent(name, profile, reported_chains)
        elif not self._exists(source):
            shown = truncate_for_display(source)
            known = [*self._profiles.keys() - {name}, *self._source_names]
            nearest = get_close_matches(source, sorted(known), 1)
            meant = f"did you mean {truncate_for_display(nearest[0])}? Or " if nearest else ""
            yield ConfigProblem(
                where,
                f'profile "{shown}" is not defined here or in the AWS files: {meant}add it with '
                f"`aws configure --profile {shlex.quote(shown)}`",
            )

    def _check_parent(
        self, name: str, profile: ProfileModel, reported_chains: set[str]
    ) -> Iterator[ConfigProblem]:
        where = self._where(name, "source_profile")
        source = profile.source_profile
        chain = self._circular_chain(name)
        if chain and name not in reported_chains:
            reported_chains.update(chain)
            yield ConfigProblem(
                where, f"circular chain: {' -> '.join([*chain, chain[0]])}: name another source"
            )
        if profile.enabled and not self._profiles[source].enabled:
            yield ConfigProblem(
                where, f'source profile "{source}" is disabled (`enabled: false`): enable it'
            )
        if profile.duration_seconds > MAX_CHAINED_SECONDS and self._profiles[source].role_arn:
            yield ConfigProblem(
                self._where(name, "duration_seconds"),
                f'{profile.duration_seconds} s is too long: source profile "{source}" is a role '
                "too, and STS limits a chained role to 3600 s (1h)",
            )

    def _check_without_role(self, name: str, profile: ProfileModel) -> Iterator[ConfigProblem]:
        if profile.web_identity_token_file or profile.source_profile in self._profiles:
            yield ConfigProblem(("profiles", name), f"no role_arn: {_ADD_ROLE_ARN}")
        own = self._model.profiles[name].model_fields_set
        for key in _ROLE_KEYS:
            if key in own:
                yield ConfigProblem(
                    ("profiles", name, key), f"this key requires a role_arn: {_ADD_ROLE_ARN}"
                )

    def _check_mfa(self, name: str, profile: ProfileModel) -> Iterator[ConfigProblem]:
        own = self._model.profiles[name].model_fields_set
        if "mfa_serial" in own and not self._has_mfa(profile):
            yield ConfigProblem(
                ("profiles", name, "mfa_serial"),
                "an MFA code requires long-term keys: name a source_profile of the AWS files that "
                "has them, or remove this key",
            )
        for key in ("mfa_session", "mfa_process"):
            if key in own and not profile.mfa_serial and not self._is_rejected(name, "mfa_serial"):
                yield ConfigProblem(("profiles", name, key), "it requires mfa_serial: add it")
        if not self._has_mfa(profile):
            return
        if profile.mfa_session == NO_MFA_SESSION:
            if not profile.role_arn and not self._is_rejected(name, "role_arn"):
                yield ConfigProblem(
                    self._where(name, "mfa_session"),
                    f"none: the code goes with AssumeRole, which requires a role: {_ADD_ROLE_ARN}",
                )
            return
        first = next(
            other
            for other, model in self._profiles.items()
            if self._has_mfa(model)
            and model.mfa_session != NO_MFA_SESSION
            and (model.source_profile, model.mfa_serial)
            == (profile.source_profile, profile.mfa_serial)
        )
        for key in ("mfa_session", "mfa_process"):
            if getattr(profile, key) != getattr(self._profiles[first], key):
                yield ConfigProblem(
                    self._where(name, key) if key in own else ("profiles", name),
                    f'{key} differs from that of profile "{first}", and both share one session of '
                    "the MFA device: write it under defaults, or the same in both",
                )

    def _check_config_profile(self, name: str, profile: ProfileModel) -> Iterator[ConfigProblem]:
        chosen = profile.config_profile
        if chosen and self._source_exists is not None and not self._source_exists(chosen):
            shown = truncate_for_display(chosen)
            yield ConfigProblem(
                self._where(name, "config_profile"),
                f'profile "{shown}" is not in the AWS files: name one whose settings apply, or add '
                f"it with `aws configure set region REGION --profile {shlex.quote(shown)}`",
            )

    def _has_mfa(self, profile: ProfileModel) -> bool:
        is_profile = bool(profile.source_profile) and profile.source_profile not in self._profiles
        return bool(profile.mfa_serial) and is_profile

    def _check_web_identity(self, name: str, profile: ProfileModel) -> Iterator[ConfigProblem]:
        for key in _NOT_FOR_WEB_IDENTITY:
            if getattr(profile, key):
                yield ConfigProblem(
                    self._where(name, key),
                    f'profile "{name}" has a web_identity_token_file, and '
                    f"AssumeRoleWithWebIdentity does not accept {key}: remove it",
                )

    def _check_partition(self, name: str, profile: ProfileModel) -> Iterator[ConfigProblem]:
        partition = _partition(profile)
        if not partition:
            return
        regions = [(profile.region, self._where(name, "region"))] if profile.region else []
        fallback = self._where(name, "fallback_regions")
        regions += [
            (region, (*fallback, index)) for index, region in enumerate(profile.fallback_regions)
        ]
        for region, where in regions:
            if partition_of_region(region) != partition:
                yield ConfigProblem(
                    where,
                    f"{region} is not in {partition}, the partition of the role_arn: name a region "
                    "of that partition",
                )
        parent = self._profiles.get(profile.source_profile)
        if parent is not None and _partition(parent) not in {partition, ""}:
            yield ConfigProblem(
                self._where(name, "role_arn"),
                f'this role is in partition {partition}, but source profile "'
                f'{profile.source_profile}" is in {_partition(parent)}: roles cannot be assumed '
                "across partitions",
            )
        for index, arn in enumerate(profile.policy_arns):
            if partition_of(arn) != partition:
                yield ConfigProblem(
                    (*self._where(name, "policy_arns"), index),
                    f"the policy is not in {partition}, the partition of the role_arn",
                )

    def _check_tags(self, name: str, profile: ProfileModel) -> Iterator[ConfigProblem]:
        first: dict[str, str] = {}
        for key in profile.tags:
            other = first.setdefault(key.lower(), key)
            if other != key:
                yield ConfigProblem(
                    (*self._where(name, "tags"), key),
                    f"the same key as {other}, since STS ignores case: remove one",
                )

    def _is_rejected(self, name: str, key: str) -> bool:
        paths = {("profiles", name, key), ("defaults", key), ("defaults",)}
        return not paths.isdisjoint(self._rejected)

    def _exists(self, source: str) -> bool:
        if self._source_exists is None or ("profiles", source) in self._rejected:
            return True
        return self._source_exists(source)

    def _where(self, name: str, key: str) -> KeyPath:
        """Return the path of the key that gives the profile its value."""
        own = key in self._model.profiles[name].model_fields_set
        is_default = not own and key in self._model.defaults.model_fields_set
        return ("defaults", key) if is_default else ("profiles", name, key)

    def _circular_chain(self, name: str) -> list[str]:
        """Return the chain from `name` back to itself; empty if there is none."""
        chain = [name]
        while (source := self._profiles[chain[-1]].source_profile) in self._profiles:
            if source == name:
                return chain
            if source in chain:
                break
            chain.append(source)
        return []


def check_single_source(model: ProfileModel, where: KeyPath) -> Iterator[ConfigProblem]:
    """Yield a problem for each source after the first that `where` names."""
    first, *others = [key for key in SOURCE_KEYS if key in model.model_fields_set] or [""]
    for key in others:
        yield ConfigProblem((*where, key), f"conflicts with {first}: keep one of them")


def _partition(profile: ProfileModel) -> str:
    return partition_of(profile.role_arn) if profile.role_arn else ""
