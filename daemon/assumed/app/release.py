"""`assumed release`: give an adopted profile back to the AWS files, byte for byte.

The role keys become active first; the definition and the refreshed keys go last. So the profile
works at every moment. If the command is killed, run it again to complete it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from assumed.app.adopt import AdoptionPlan, wait_for_daemon
from assumed.app.adopted_files import AdoptedFiles, FileChange
from assumed.aws_files.adoption import AwsFileKind, restore_keys
from assumed.client.api_client import DaemonClient
from assumed.config.definition_editor import is_adopted_definition, remove_definition
from assumed.errors import AdoptionRejectedError, UsageError
from assumed.models import ManagedProfile
from assumed.storage import CredentialsFile


class Release:
    """One release.

    Raises:
        AssumedError: as `AdoptedFiles`.
    """

    def __init__(self, config_path: Path, environ: Mapping[str, str]) -> None:
        self._files = AdoptedFiles(config_path, environ)

    def plan(self, profiles: Sequence[str]) -> AdoptionPlan:
        """Return what the release of these profiles changes; change nothing.

        Raises:
            UsageError: a profile is not adopted.
            AdoptionRejectedError: other definitions depend on a profile.
            ConfigurationError: a definition cannot be removed.
            ProfileAmbiguousError: the keys of a profile conflict with what it has now.
        """
        files = self._files
        names = tuple(dict.fromkeys(profiles))
        for name in names:
            self._check(name, names)
        edited = files.transform(files.aws_data, names, restore_keys)
        changes = files.aws_changes(edited)
        configuration = files.config_data
        for name in names:
            if configuration is not None and is_adopted_definition(configuration, name):
                configuration = remove_definition(configuration, name, path=files.config_path)
        if configuration != files.config_data:
            changes.append(FileChange(files.config_path, files.config_data, configuration))
            if configuration is not None:
                files.parse_configuration(configuration)
        return AdoptionPlan(names, changes, configuration)

    def release(self, plan: AdoptionPlan, daemon: DaemonClient | None) -> tuple[str, ...]:
        """Carry out a plan: activate the role keys, remove the definitions and the session.

        Args:
            plan: of this object.
            daemon: the running daemon, which has to forget the profiles first.

        Returns:
            The profiles whose definition stays, because `adopt` did not write it.

        Raises:
            AdoptionRejectedError: the last definition goes, and a daemon is running.
            AssumedError: a file could not be written, or the daemon did not read the new one.
        """
        files = self._files
        if daemon is not None and files.config_data is not None and plan.configuration is None:
            raise AdoptionRejectedError(
                f"no definition remains in {files.config_path}, and the daemon still uses it",
                hint="stop the daemon first: `systemctl --user stop assumed`",
            )
        for name in plan.profiles:
            files.edit_aws_files(name, restore_keys)
        if plan.configuration != files.config_data:
            files.write_configuration(plan.configuration)
        kept = tuple(name for name in plan.profiles if self._is_defined(name, plan))
        gone = [name for name in plan.profiles if name not in kept]
        if daemon is not None and plan.configuration is not None:
            wait_for_daemon(lambda: not _known_names(daemon).intersection(gone), daemon)
        if gone:
            CredentialsFile(files.aws_paths[AwsFileKind.CREDENTIALS]).remove(gone)
        return kept

    def _check(self, name: str, released: Sequence[str]) -> None:
        files = self._files
        defined = {} if files.configuration is None else files.configuration.profiles
        profile = files.aws_files.profiles.get(name)
        is_written = files.config_data is not None and is_adopted_definition(
            files.config_data, name
        )
        # A session without a definition is what a release leaves that was killed near its end.
        is_leftover = profile is not None and profile.is_managed and name not in defined
        if not (files.is_adopted(name) or is_written or is_leftover):
            raise UsageError(
                f"profile {name} is not adopted",
                hint="`assumed logout` removes the refreshed keys of other profiles",
            )
        for other in defined.values():
            if other.source == ManagedProfile(name) and other.profile not in released:
                raise AdoptionRejectedError(
                    f"profile {name}: it is the source_profile of {other.profile}",
                    hint=f"release both: `assumed release {name} {other.profile}`, or give "
                    f"{other.profile} another source",
                )
        files.edit_order(name, restore_keys)

    def _is_defined(self, name: str, plan: AdoptionPlan) -> bool:
        data = plan.configuration
        return data is not None and name in self._files.parse_configuration(data).profiles


def _known_names(daemon: DaemonClient) -> set[str]:
    return {status.profile for status in daemon.status().profiles}
