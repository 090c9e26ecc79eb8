"""Where the calling credentials come from: profiles of the AWS files, read through botocore.

The environment of the daemon never decides whose credentials are used: a source profile's own
entries do, and where they hold none that is an error, not a reason to look elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from botocore import exceptions
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.credentials import create_credential_resolver
from botocore.loaders import create_loader
from botocore.session import Session as BotocoreSession

from assumed.errors import AssumedError, SourceMissing, SourceUnavailable
from assumed.log import redact
from assumed.model import CallingCredentials

# botocore's chain goes on to these where a profile holds nothing: the machine's own identity,
# which is not what the configuration names.
_OUTSIDE_THE_PROFILE = ("env", "ec2-credentials-file", "boto-config", "container-role", "iam-role")

_TOKEN_CACHES = {"sso_session": "sso", "sso_start_url": "sso", "login_session": "login"}

# Keys of a profile that name another section of the config file: the session's or endpoints'.
_SECTIONS_NAMED_BY = {"sso_session": "sso_sessions", "services": "services"}

# What is no setting of a profile: its credentials, where they come from, whose they are.
_CREDENTIAL_KEYS = (
    "aws_", "credential_", "duration_seconds", "expiration", "external_id", "login_session",
    "manager", "mfa_", "role_", "source_", "sso_", "web_identity_", "x_",
)  # fmt: skip
_WORDS_OF_SECRETS = ("secret", "token", "password")

_Signature = tuple[tuple[str, int, int, int], ...]


class ResolvedSource:
    """A source profile as botocore understands it; safe to use from many threads.

    Args:
        name: of the profile.
        session: a botocore session of that profile: its region, endpoint and CA settings.
        fingerprint: changes when anything that the credentials depend on does.
    """

    def __init__(self, name: str, session: BotocoreSession, fingerprint: str) -> None:
        self.name = name
        self.session = session
        self.fingerprint = fingerprint
        self._lock = threading.Lock()
        self._credentials: BotocoreCredentials | None = None

    def credentials(self) -> CallingCredentials:
        """Return what signs calls now, as one set, refreshed by botocore where it can.

        Raises:
            SourceMissing: the profile holds none, or a login has run out: somebody has to act.
            SourceUnavailable: an endpoint or a `credential_process` failed.
        """
        try:
            with self._lock:
                if self._credentials is None:
                    self._credentials = _load_credentials(self.session)
            if self._credentials is None:
                raise _empty(self.name)
            frozen = self._credentials.get_frozen_credentials()
        except Exception as error:
            raise _source_error(self.name, error) from error
        if not frozen.access_key or not frozen.secret_key:
            raise _empty(self.name)
        return CallingCredentials(frozen.access_key, frozen.secret_key, frozen.token or None)

    def forget(self) -> None:
        """Have the next `credentials` asked for anew."""
        with self._lock:
            self._credentials = None


class SourceProfiles:
    """The profiles of the AWS config and credentials files; safe to use from many threads.

    The files are read anew whenever they have changed on disk. A profile whose own entries are
    the same as before keeps its botocore session, and with it the temporary credentials that a
    `credential_process` or SSO gave it.
    """

    def __init__(self) -> None:
        self._loader = create_loader()
        self._lock = threading.Lock()
        session = self._new_session(None)
        self._paths = tuple(
            Path(os.path.expandvars(session.get_config_variable(key))).expanduser()
            for key in ("config_file", "credentials_file")
        )
        self._signature: _Signature | None = None
        self._config: Mapping[str, Any] = {}
        self._resolved: dict[str, ResolvedSource] = {}

    def resolve(self, name: str) -> ResolvedSource:
        """Return the source profile `name`; its credentials are not asked for yet.

        Raises:
            SourceMissing: there is no such profile.
            SourceUnavailable: the AWS files can't be read.
        """
        with self._lock:
            fingerprint = self._fingerprint(name)
            known = self._resolved.get(name)
            if known is None or known.fingerprint != fingerprint:
                known = ResolvedSource(name, self._new_session(name), fingerprint)
                self._resolved[name] = known
            return known

    def fingerprint(self, name: str) -> str | None:
        """Return a digest of all that the credentials of `name` depend on; None if unreadable."""
        with self._lock:
            try:
                return self._fingerprint(name)
            except AssumedError:
                return None

    @property
    def folders(self) -> frozenset[Path]:
        """Where something changes when the credentials of a source may have."""
        real = {Path(os.path.realpath(path)) for path in self._paths}
        caches = {Path.home() / ".aws" / cache / "cache" for cache in _TOKEN_CACHES.values()}
        return frozenset({path.parent for path in {*self._paths, *real}} | caches)

    def names(self) -> tuple[str, ...]:
        """Return the names of all profiles of the AWS files, the configuration file's first.

        Raises:
            SourceUnavailable: the AWS files can't be read.
        """
        with self._lock:
            return tuple(self._profiles())

    def entries(self, name: str) -> Mapping[str, Any]:
        """Return the entries of profile `name`, merged from both files; empty if there is none.

        Raises:
            SourceUnavailable: the AWS files can't be read.
        """
        with self._lock:
            entries: Mapping[str, Any] = self._profiles().get(name, {})
            return entries

    def settings(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        """Return what profile `name` sets, less all that leads to credentials.

        Returns:
            Under `profile` its own entries; under `services NAME` that section, if it names one.

        Raises:
            SourceUnavailable: the AWS files can't be read.
        """
        with self._lock:
            entries = self._profiles().get(name, {})
            sections = {"profile": {key: entries[key] for key in entries if _is_setting(key)}}
            services = entries.get("services")
            if services is not None:
                found = self._config.get("services", {}).get(services, {})
                sections[f"services {services}"] = found
            return sections

    def _profiles(self) -> Mapping[str, Any]:
        signature = tuple(_stat(path) for path in self._paths)
        if signature != self._signature:
            try:
                self._config = self._new_session(None).full_config
            except exceptions.ConfigParseError as error:
                raise _source_error("", error) from error
            self._signature = signature
        profiles: Mapping[str, Any] = self._config.get("profiles", {})
        return profiles

    def _fingerprint(self, name: str) -> str:
        profiles = self._profiles()
        if name not in profiles:
            raise SourceMissing(
                f"profile {name} is in neither the AWS config file nor the credentials file",
                hint=f"`aws configure --profile {name}` adds it; or mend the source_profile",
            )
        inputs: list[object] = []
        for link in _chain(name, profiles):
            entries = profiles[link]
            _refuse_mfa_prompt(name, link, entries)
            inputs.append([link, entries])
            for key, sections in _SECTIONS_NAMED_BY.items():
                if (named := entries.get(key)) is not None:
                    inputs.append(self._config.get(sections, {}).get(named))
            caches = {cache for key, cache in _TOKEN_CACHES.items() if key in entries}
            inputs.append([_files_in(Path.home() / ".aws" / cache / "cache") for cache in caches])
        text = json.dumps(inputs, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def _new_session(self, name: str | None) -> BotocoreSession:
        # A session of its own reads the files anew; the loader, which holds botocore's big
        # models, is shared.
        session = BotocoreSession(profile=name)
        session.register_component("data_loader", self._loader)
        return session


def _is_setting(key: str) -> bool:
    return not key.startswith(_CREDENTIAL_KEYS) and not any(
        word in key for word in _WORDS_OF_SECRETS
    )


def _load_credentials(session: BotocoreSession) -> BotocoreCredentials | None:
    resolver = create_credential_resolver(session)
    for provider in _OUTSIDE_THE_PROFILE:
        resolver.remove(provider)
    return resolver.load_credentials()


def _empty(name: str) -> SourceMissing:
    return SourceMissing(
        f"profile {name} holds no credentials",
        hint=f"`aws configure --profile {name}` stores long-term keys in it",
    )


def _chain(name: str, profiles: Mapping[str, Any]) -> Iterator[str]:
    seen: set[str] = set()
    link: str | None = name
    while link is not None and link in profiles and link not in seen:
        seen.add(link)
        yield link
        link = profiles[link].get("source_profile")


def _refuse_mfa_prompt(name: str, link: str, entries: Mapping[str, Any]) -> None:
    # botocore would ask for the code on the daemon's terminal and wait.
    if "role_arn" in entries and "mfa_serial" in entries:
        raise SourceMissing(
            f"source profile {name}: profile {link} of the AWS config file asks for an MFA code, "
            "which nobody is there to type",
            hint="name a source_profile that needs no code",
        )


def _stat(path: Path) -> tuple[str, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (str(path), 0, 0, 0)
    # Not mtime, which `cp -p` and rsync set back, and which chmod leaves alone.
    return (str(path), found.st_ino, found.st_size, found.st_ctime_ns)


def _files_in(folder: Path) -> list[tuple[str, int, int, int]]:
    return sorted(_stat(path) for path in folder.glob("*.json"))


def _source_error(name: str, error: Exception) -> AssumedError:
    """Sort what botocore raises while it finds credentials."""
    match error:
        case AssumedError():
            return error
        case exceptions.ConfigParseError():
            return SourceUnavailable(
                f"the AWS files can't be read: {error}",
                hint="no AWS tool can read that file now: mend it, and nothing else is needed",
            )
        case exceptions.SSOError() | exceptions.TokenRetrievalError():
            return SourceMissing(
                f"profile {name}: its SSO login has run out: {error}",
                hint=f"`aws sso login --profile {name}`; refreshes go on by themselves after it",
            )
        case exceptions.LoginError():
            return SourceMissing(
                f"profile {name}: its login has run out: {error}",
                hint=f"`aws login --profile {name}`; refreshes go on by themselves after it",
            )
        case exceptions.PartialCredentialsError() | exceptions.ProfileNotFound():
            return SourceMissing(
                f"profile {name}: {error}",
                hint=f"`aws configure --profile {name}` stores long-term keys in it",
            )
        case exceptions.BotoCoreError() | exceptions.ClientError() | OSError():
            # What a `credential_process` writes to standard error is in it.
            why = redact(str(error))
        case _:
            # botocore takes the shape of what a process printed or a cache holds for granted.
            why = f"{type(error).__name__}: {redact(str(error))}"
    return SourceUnavailable(
        f"profile {name}: no credentials to be had: {why}",
        hint=f"`aws sts get-caller-identity --profile {name}` shows the same by hand",
    )
