"""`assumed adopt`: keep the name of a role profile of the AWS files.

The definition is written and the session refreshed first; the keys that take precedence are
commented out last. So the profile works at every moment: by its role keys, or by the refreshed
ones. If the command is killed, run it again to complete it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from assumed import paths
from assumed.app.adopted_files import AdoptedFiles, FileChange
from assumed.app.factory import credentials_path
from assumed.app.init.command import find_problem
from assumed.app.init.definition_text import definition_value
from assumed.app.init.generator import generate_config
from assumed.app.init.yaml_writer import scalar
from assumed.app.standalone import Standalone
from assumed.aws_files.adoption import comment_out_keys
from assumed.aws_files.profiles import AwsProfile
from assumed.aws_files.shadowing import FRESH_SUFFIX, choices_before_keys
from assumed.client.api_client import DaemonClient
from assumed.config.definition_editor import add_definition, new_configuration
from assumed.config.schema import ProfileModel
from assumed.config.yaml_loader import YamlDocument
from assumed.errors import (
    AdoptionRejectedError,
    CredentialsFileError,
    DaemonUnreachableError,
    UsageError,
)
from assumed.models import (
    Configuration,
    MfaDevice,
    Outcome,
    SourceProfile,
    StorageMode,
    is_profile_name,
)
from assumed.storage import CredentialsFile

_RELOAD_TIMEOUT_SECONDS = 15
_POLL_INTERVAL_SECONDS = 0.1
# A profile with one of these keys depends on what another profile's keys say.
_REFERENCES = ("source_profile", "include_profile", "parent_profile")


@dataclass(frozen=True, slots=True)
class AdoptionPlan:
    """What `adopt` or `release` does.

    Args:
        profiles: those with something to do; without those that are done already.
        changes: the files that change.
        configuration: the new content of the configuration file; None if it goes.
    """

    profiles: tuple[str, ...]
    changes: Sequence[FileChange]
    configuration: bytes | None


class Adoption:
    """One adoption.

    Raises:
        AssumedError: as `AdoptedFiles`.
    """

    def __init__(self, config_path: Path, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._files = AdoptedFiles(config_path, environ)

    def candidates(self) -> tuple[list[str], Mapping[str, str]]:
        """Return the role profiles that can be adopted together, and why the others cannot."""
        names = [
            name
            for name, profile in self._files.aws_files.profiles.items()
            if profile.value("role_arn")
        ]
        skipped: dict[str, str] = {}
        while reasons := self._reasons(names, self._definitions(names)):
            # Others may be sources of those that are skipped, so ask again.
            skipped |= reasons
            names = [name for name in names if name not in reasons]
        return names, skipped

    def plan(self, profiles: Sequence[str]) -> AdoptionPlan:
        """Return what the adoption of these profiles changes; change nothing.

        Raises:
            AdoptionRejectedError: with the reason for each profile that cannot be adopted.
        """
        files = self._files
        waiting = [name for name in dict.fromkeys(profiles) if not self._is_done(name)]
        definitions = self._definitions(waiting)
        if reasons := self._reasons(waiting, definitions):
            raise AdoptionRejectedError(
                "\n  ".join(
                    reason if f"profile {name}" in reason else f"profile {name}: {reason}"
                    for name, reason in reasons.items()
                ),
                hint="nothing was changed; `assumed init` gives each profile a second name instead",
            )
        edited = files.transform(files.aws_data, waiting, comment_out_keys)
        changes = files.aws_changes(edited)
        added = {name: lines for name, lines in definitions.items() if not isinstance(lines, str)}
        configuration = self._configuration(added)
        if added:
            changes.insert(0, FileChange(files.config_path, files.config_data, configuration))
        if configuration is not None and waiting:
            self._check_configuration(files.parse_configuration(configuration), waiting)
        return AdoptionPlan(tuple(waiting), changes, configuration)

    def adopt(
        self, plan: AdoptionPlan, daemon: DaemonClient | None
    ) -> tuple[Sequence[Outcome], Mapping[str, CredentialsFileError]]:
        """Carry out a plan: write the definitions, refresh, comment out the keys.

        A profile whose refresh fails keeps its role keys, and its definition.

        Args:
            plan: of this object.
            daemon: the running daemon; None to refresh here.

        Returns:
            The outcome of each refresh, and for each profile whose keys could not be commented
            out, the reason.

        Raises:
            AssumedError: the configuration could not be written, or the daemon did not read it.
        """
        if plan.configuration != self._files.config_data:
            self._files.write_configuration(plan.configuration)
        outcomes = self._refresh(plan.profiles, daemon)
        stored = CredentialsFile(self._credentials()).read()
        failures: dict[str, CredentialsFileError] = {}
        for outcome in outcomes:
            if not outcome.ok:
                continue
            try:
                if outcome.profile not in stored or not stored[outcome.profile].credentials():
                    raise CredentialsFileError(
                        f"the refreshed credentials are not in {self._credentials()}",
                        hint="the daemon writes another file: restart it with the variable "
                        "AWS_SHARED_CREDENTIALS_FILE of this shell, or unset the variable",
                    )
                self._files.edit_aws_files(outcome.profile, comment_out_keys)
            except CredentialsFileError as error:
                failures[outcome.profile] = error
        return outcomes, failures

    def _is_done(self, name: str) -> bool:
        files = self._files
        profile = files.aws_files.profiles.get(name)
        return (
            files.configuration is not None
            and name in files.configuration.profiles
            and profile is not None
            and profile.is_managed
            and files.is_adopted(name)
            and files.transform(files.aws_data, [name], comment_out_keys) == files.aws_data
        )

    def _definitions(self, names: Sequence[str]) -> dict[str, list[str] | str]:
        """Return the lines of each missing definition, or why it cannot be written."""
        aws = self._files.aws_files
        known = () if self._files.configuration is None else self._files.configuration.profiles
        generated = generate_config(
            aws,
            suffix=FRESH_SUFFIX,
            supported=ProfileModel.model_fields.keys(),
            find_problem=find_problem,
            home=Path(paths.home_directory()),
        )
        skipped = {each.profile: each.reason for each in generated.skipped}
        found = YamlDocument(generated.text).value
        by_profile = {
            profile: found["profiles"][name] for name, profile in generated.profiles.items()
        }
        definitions: dict[str, list[str] | str] = {}
        for name in names:
            if name in known:
                continue
            keys = by_profile.get(name)
            profile = aws.profiles.get(name)
            if profile is None or profile.value("role_arn") is None:
                definitions[name] = _no_role(name, profile)
                continue
            if keys is None:
                definitions[name] = skipped[name]
                continue
            source = keys.get("source_profile")
            if source is not None:
                keys["source_profile"] = generated.profiles.get(source, source)
            definitions[name] = [
                f"{scalar(name)}:",
                *(f"  {key}: {definition_value(key, value)}" for key, value in keys.items()),
            ]
        return definitions

    def _reasons(
        self, names: Sequence[str], definitions: Mapping[str, Sequence[str] | str]
    ) -> dict[str, str]:
        """Return why profiles cannot be adopted together; empty if they can."""
        reasons = {name: text for name, text in definitions.items() if isinstance(text, str)}
        for name in names:
            reason = self._reason(name, names)
            if reason is None and name not in reasons:
                reason = self._edit_problem(name)
            if reason is not None:
                reasons[name] = reason
        return reasons

    def _reason(self, name: str, adopted: Sequence[str]) -> str | None:
        """Return why a profile cannot be adopted, whatever its definition is."""
        aws = self._files.aws_files
        profile = aws.profiles.get(name)
        if profile is None:
            return "it is in no AWS file"
        if not is_profile_name(name):
            return "the AWS SDKs interpret this name differently"
        if profile.has_stored_keys and not profile.is_managed:
            location = profile.credentials["aws_access_key_id"].location
            return f"{location}: it has keys of its own, which the refreshed ones would replace"
        for other in aws.profiles.values():
            for key in _REFERENCES:
                if other.name not in {name, *adopted} and other.value(key) == name:
                    return (
                        f"{other.entries[key].location}: {key} of profile {other.name} refers to "
                        f"it; adopt both: `assumed adopt {name} {other.name}`"
                    )
        for definition in self._definitions_from(name):
            if definition not in adopted:
                return f"{self._files.config_path}: it is the source_profile of {definition}"
        return None

    def _definitions_from(self, name: str) -> Iterator[str]:
        configuration = self._files.configuration
        for other in () if configuration is None else configuration.profiles.values():
            source = other.source.profile if isinstance(other.source, MfaDevice) else other.source
            if source == SourceProfile(name):
                yield other.profile

    def _configuration(self, added: Mapping[str, Sequence[str]]) -> bytes | None:
        data = self._files.config_data
        if data is None:
            return new_configuration(list(added.values())).encode() if added else None
        for name, lines in added.items():
            data = add_definition(data, lines, name, path=self._files.config_path)
        return data

    def _check_configuration(self, configuration: Configuration, names: Sequence[str]) -> None:
        for name in names:
            definition = configuration.profiles[name]
            role = self._files.aws_files.profiles[name].value("role_arn")
            problem = None
            if not definition.enabled:
                problem = "it is disabled (`enabled: false`): remove that key"
            elif definition.store is not StorageMode.FILE:
                problem = "it is kept in memory (`store: memory`): write `store: file` under it"
            elif role is not None and definition.role_arn != role:
                problem = f"its definition has another role_arn than the AWS files, {role}"
            if problem is not None:
                raise AdoptionRejectedError(
                    f"{configuration.path}: profile {name}: {problem}", hint="nothing was changed"
                )

    def _edit_problem(self, name: str) -> str | None:
        """Return why the keys of a profile cannot be commented out."""
        files = self._files
        try:
            files.edit_order(name, comment_out_keys)
            edited = files.transform(files.aws_data, [name], comment_out_keys)
        except (AdoptionRejectedError, CredentialsFileError) as error:
            return f"{error.message}: {error.hint}"
        profile = files.parse(edited).profiles[name]
        for tool, choice in choices_before_keys(profile, files.aws_files.credentials).items():
            where = "" if choice.decided_by is None else f"{choice.decided_by.location}: "
            return f"{where}{tool} would not use the refreshed keys"
        return None

    def _refresh(self, names: Sequence[str], daemon: DaemonClient | None) -> Sequence[Outcome]:
        if not names:
            return ()
        if daemon is None:
            standalone = Standalone(self._files.config_path, self._environ)
            return standalone.refresh(names, force=False)
        wait_for_daemon(lambda: _knows(daemon, names), daemon)
        return daemon.refresh(names, force=False)

    def _credentials(self) -> Path:
        files = self._files
        if files.configuration is None:
            return files.aws_files.credentials
        return credentials_path(files.configuration, self._environ)


def wait_for_daemon(is_done: Callable[[], bool], daemon: DaemonClient) -> None:
    """Wait until the daemon has read the new configuration, which it notices by itself.

    Raises:
        DaemonUnreachableError: it has not read it within 15 s.
    """
    give_up_at = time.monotonic() + _RELOAD_TIMEOUT_SECONDS
    while not is_done():
        if time.monotonic() > give_up_at:
            status = daemon.status().daemon
            reason = "" if status is None or not status.config_error else status.config_error
            raise DaemonUnreachableError(
                "the daemon has not read the new configuration" + (reason and f": {reason}"),
                hint="`systemctl --user reload assumed`, and run the command again",
            )
        time.sleep(_POLL_INTERVAL_SECONDS)


def _knows(daemon: DaemonClient, names: Sequence[str]) -> bool:
    try:
        daemon.status(names)
    except UsageError:
        return False
    return True


def _no_role(name: str, profile: AwsProfile | None) -> str:
    if profile is None:
        return "it is in no AWS file"
    return (
        "it has no role_arn: its own keys or login are the source, which has to keep its name; "
        f"write a definition with `source_profile: {name}`"
    )
