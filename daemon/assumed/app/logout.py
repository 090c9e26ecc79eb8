"""`assumed logout`: removes the credentials that this program wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from assumed.app.factory import credentials_file, load_configuration, mfa_directory
from assumed.app.process_profiles import ProcessProfiles
from assumed.credential_sources.base import SourceProfiles
from assumed.errors import AlreadyRunningError
from assumed.models import Configuration, ProfileState, Status
from assumed.platform.systemd.process_unit import stop_command
from assumed.text import join_words


def log_out(
    config_path: Path | None,
    environ: Mapping[str, str],
    profiles: Sequence[str],
    *,
    daemon_status: Status | None,
) -> tuple[str, ...]:
    """Remove the managed credentials of profiles, and their NAME-live profiles.

    Without profiles, remove those of all managed profiles and the MFA sessions.

    Args:
        config_path: the configuration, which names the credentials file; None for the default
            credentials file of the AWS SDKs.
        environ: the environment, which may name the credentials file too.
        profiles: the names.
        daemon_status: the status of the running daemon; None if no daemon is running.

    Returns:
        The profiles that had credentials to remove.

    Raises:
        AlreadyRunningError: the daemon would write them again.
        ConfigurationError: with every problem in the configuration.
        CredentialsFileError: the file cannot be changed; nothing was removed.
    """
    configuration = (
        Configuration(path=Path(), profiles={})
        if config_path is None
        else load_configuration(config_path, SourceProfiles())
    )
    if daemon_status is not None:
        _require_not_refreshed(daemon_status, profiles)
    removed = credentials_file(configuration, environ).remove(profiles or None)
    removed += ProcessProfiles(configuration, environ).remove(profiles or None)
    if not profiles:
        # A process that was killed while it wrote one has left a file that begins with a dot.
        for pattern in ("*.json", ".*"):
            for session in mfa_directory(environ).glob(pattern):
                if not session.is_dir():
                    session.unlink(missing_ok=True)
    return removed


def _require_not_refreshed(daemon_status: Status, profiles: Sequence[str]) -> None:
    refreshed = [
        status.profile
        for status in daemon_status.profiles
        if status.state is not ProfileState.DISABLED
        and (not profiles or status.profile in profiles)
    ]
    if refreshed and daemon_status.daemon is not None:
        pid = daemon_status.daemon.pid
        raise AlreadyRunningError(
            f"the daemon with pid {pid} would write the credentials of {join_words(refreshed)} "
            "again",
            hint=f"stop it first (`{stop_command(pid)}`), or set `enabled: false` for the profile "
            "in the configuration",
        )
