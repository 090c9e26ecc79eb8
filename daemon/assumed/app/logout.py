"""`assumed logout`: takes what assumed wrote out of the credentials file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from assumed.app.factory import credentials_file, load_configuration, mfa_folder
from assumed.credential_sources.base import SourceProfiles
from assumed.errors import AlreadyRunningError
from assumed.models import Configuration, ProfileState, Status


def log_out(
    config_path: Path | None,
    environ: Mapping[str, str],
    profiles: Sequence[str],
    *,
    kept_by: Status | None,
) -> tuple[str, ...]:
    """Remove our keys from these profiles, from all with our mark where none is named.

    Where none is named the MFA sessions go too: any profile may hang on one of them.

    Args:
        config_path: says which credentials file; None for the one where the AWS SDKs look.
        environ: for the same.
        profiles: names.
        kept_by: the status of the running daemon; None where none runs.

    Returns:
        The profiles that there was something to remove from.

    Raises:
        AlreadyRunningError: a daemon would write them again.
        ConfigurationError: with every mistake in it.
        CredentialsFileError: the file can't be changed; it is as it was.
    """
    configuration = (
        Configuration(path=Path(), profiles={})
        if config_path is None
        else load_configuration(config_path, SourceProfiles())
    )
    if kept_by is not None:
        _refuse_while_kept(kept_by, profiles)
    removed = credentials_file(configuration, environ).remove(profiles or None)
    if not profiles:
        for session in mfa_folder(environ).glob("*.json"):
            session.unlink(missing_ok=True)
    return removed


def _refuse_while_kept(kept_by: Status, profiles: Sequence[str]) -> None:
    kept = [
        status.profile
        for status in kept_by.profiles
        if status.state is not ProfileState.DISABLED
        and (not profiles or status.profile in profiles)
    ]
    if kept and kept_by.daemon is not None:
        raise AlreadyRunningError(
            f"the daemon with pid {kept_by.daemon.pid} keeps {', '.join(kept)} fresh, and would "
            "write it again",
            hint="stop it first (`systemctl --user stop assumed`), or write `enabled: false` under "
            "the profile in the configuration",
        )
