"""The credential sources. Each kind of source is one module.

| source | open |
| --- | --- |
| a profile of the AWS files: keys, SSO, a `credential_process` | `profile` |
| an MFA session | `mfa`, `mfa_cache` |
| an MFA code with each AssumeRole | `mfa_codes` |
| where the codes of both come from | `mfa_codes`, `mfa_command` |
| the environment, an EC2 instance, a container | `ambient` |
| a token of an OIDC identity provider, in a file | `web_identity` |

The daemon's environment never decides whose credentials are used: the definition does.
`botocore_adapter` caches what botocore has resolved.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from botocore.session import Session as BotocoreSession

from assumed.arn import account_of
from assumed.credential_sources.ambient import AmbientCredentialSource
from assumed.credential_sources.aws_files_reader import file_state
from assumed.credential_sources.aws_files_snapshot import Settings
from assumed.credential_sources.mfa import MfaSessions
from assumed.credential_sources.mfa_codes import MfaCodeSource
from assumed.credential_sources.profile import ResolvedSource, SourceProfiles
from assumed.credential_sources.web_identity import WebIdentitySource
from assumed.file_calls import FileCalls, HangingFileError
from assumed.models import (
    CredentialSource,
    MfaCode,
    MfaSession,
    RootSource,
    SourceAuthentication,
    SourceProfile,
    TemporaryCredentials,
    WebIdentity,
)

__all__ = [
    "CredentialProvider",
    "CredentialSources",
    "ResolvedSource",
    "Settings",
    "SourceProfiles",
]


class CredentialProvider(Protocol):
    """A source of any kind; safe to use from many threads."""

    @property
    def botocore_session(self) -> BotocoreSession:
        """A botocore session, for region, endpoint and CA settings."""
        ...

    def credentials(self) -> SourceAuthentication:
        """Return what authenticates calls now, as one set.

        Raises:
            SourceMissingError: there is nothing, and the user has to act.
            SourceUnavailableError: an endpoint or a process failed.
        """
        ...

    def temporary(self, *, other_than: str | None) -> TemporaryCredentials:
        """Return the source's own temporary credentials, for a profile that assumes no role.

        Args:
            other_than: the access key id of the credentials to replace; a source that still has
                these is asked for new ones.

        Raises:
            LongTermKeysError: they do not expire, or their expiration is unknown.
            SourceMissingError, SourceUnavailableError: as `credentials`.
        """
        ...

    def forget(self) -> None:
        """Drop cached credentials, so that the next `credentials` resolves them again."""
        ...


class CredentialSources:
    """Resolves sources of every kind; safe to use from many threads."""

    def __init__(self, profiles: SourceProfiles, mfa: MfaSessions) -> None:
        self.mfa = mfa
        self._profiles = profiles
        self._lock = threading.Lock()
        self._token_files: set[Path] = set()
        self._tokens = FileCalls("a file with a web identity token")
        self._ambient: dict[CredentialSource, AmbientCredentialSource] = {}

    def resolve(
        self, source: RootSource, config_profiles: Sequence[str] = ()
    ) -> CredentialProvider:
        """Return a source, without resolving its credentials.

        Args:
            source: which.
            config_profiles: profiles of the AWS files; the settings of the first that has any
                apply to all calls, also to those that resolve the credentials.

        Raises:
            SourceMissingError: it does not exist.
            SourceUnavailableError: the AWS files cannot be read.
        """
        match source:
            case SourceProfile(name):
                return self._profiles.resolve(name, config_profiles)
            case MfaSession():
                return self.mfa.resolve(source, config_profiles)
            case MfaCode():
                keys = self._profiles.resolve(source.profile.name, config_profiles)
                return MfaCodeSource(self.mfa.codes, source, keys)
            case WebIdentity(path):
                return WebIdentitySource(
                    path, self._profiles.plain_botocore_session(config_profiles)
                )
            case CredentialSource():
                return self._ambient_source(source).with_settings_of(
                    self._profiles.plain_botocore_session(config_profiles)
                )

    def fingerprint(self, source: RootSource, config_profiles: Sequence[str] = ()) -> str | None:
        """Return a text that changes with the credentials or the settings; None if unreadable."""
        settings = self._profiles.settings_fingerprint(config_profiles)
        own = None if settings is None else self._fingerprint(source)
        return None if own is None else f"{own} {settings}"

    def _fingerprint(self, source: RootSource) -> str | None:
        match source:
            case SourceProfile(name):
                return self._profiles.fingerprint(name)
            case MfaSession():
                return self.mfa.fingerprint(source)
            case MfaCode():
                return self._profiles.fingerprint(source.profile.name)
            case WebIdentity(path):
                with self._lock:
                    self._token_files.add(path)
                try:
                    return str(self._tokens.run(lambda: file_state(path)))
                except HangingFileError:
                    return None
            case CredentialSource():
                return str(source)

    def account_id(self, source: RootSource) -> str | None:
        """Return the account that a source's calls count against; None if the files don't say.

        Raises:
            SourceUnavailableError: the AWS files can't be read.
        """
        match source:
            case SourceProfile(name):
                return _account_of_profile(self._profiles.entries(name))
            case MfaSession(profile, serial) | MfaCode(profile, serial):
                return account_of(serial) or _account_of_profile(
                    self._profiles.entries(profile.name)
                )
            case WebIdentity() | CredentialSource():
                return None

    @property
    def directories(self) -> frozenset[Path]:
        """The directories in which a file changes when the credentials of a source change."""
        with self._lock:
            token_files = {path.parent for path in self._token_files}
        return self._profiles.directories | token_files | {self.mfa.directory}

    def _ambient_source(self, kind: CredentialSource) -> AmbientCredentialSource:
        botocore_session = self._profiles.plain_botocore_session()
        with self._lock:
            known = self._ambient.get(kind)
            if known is None or known.botocore_session is not botocore_session:
                known = self._ambient[kind] = AmbientCredentialSource(kind, botocore_session)
            return known


def _account_of_profile(entries: Mapping[str, Any]) -> str | None:
    """Return the account of a profile of the AWS files, by the first key that names one."""
    role_arn = str(entries.get("role_arn", ""))
    named = (
        account_of(role_arn),
        entries.get("sso_account_id"),
        entries.get("aws_account_id"),
    )
    return next((str(account) for account in named if account), None)
