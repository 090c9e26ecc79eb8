"""Source profiles: profiles of the AWS config and credentials files, read through botocore.

The daemon's environment never decides whose credentials are used. A source profile without
credentials of its own is an error, and no other source replaces it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore import exceptions
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.loaders import create_loader
from botocore.session import Session as BotocoreSession

from assumed import paths
from assumed.aws_files import read
from assumed.aws_files.normalize import strip_managed_values
from assumed.credential_sources.botocore_adapter import BotocoreSource, ResultT, credential_resolver
from assumed.credential_sources.errors import translate_source_error
from assumed.errors import (
    AssumedError,
    AwsFilesUnreadableError,
    CredentialsFileMalformedError,
    SourceMissingError,
)
from assumed.fsutil import (
    MAX_AWS_FILE_BYTES,
    FileTooLargeError,
    NotRegularFileError,
    read_file,
    require_readable,
)
from assumed.sts.tls import reject_retry, reject_unsafe_request
from assumed.sts.tls_context import SharedTlsSession
from assumed.untrusted_text import clean

# If a profile has no credentials, botocore continues with these: the machine's own identity, which
# is not the one that the configuration names.
_OUTSIDE_THE_PROFILE = ("env", "ec2-credentials-file", "boto-config", "container-role", "iam-role")

_TOKEN_CACHES = {"sso_session": "sso", "sso_start_url": "sso", "login_session": "login"}

# Keys of a profile that name another section of the config file.
_SECTIONS_NAMED_BY = {"sso_session": "sso_sessions", "services": "services"}

# Keys that are no settings: credentials, where they come from, whose they are.
_CREDENTIAL_KEYS = (
    "aws_", "credential_", "duration_seconds", "expiration", "external_id", "login_session",
    "manager", "mfa_", "role_", "source_", "sso_", "web_identity_", "x_",
)  # fmt: skip
_SECRET_WORDS = ("secret", "token", "password")

FileState = tuple[str, int, int, int]


class ResolvedSource(BotocoreSource):
    """A source profile as botocore resolves it; safe to use from many threads.

    Args:
        name: the name of the profile.
        botocore_session: a botocore session of that profile: its region, endpoint and CA settings.
        fingerprint: changes with everything that the credentials depend on.
        login: the command that logs in to the profile; empty if it needs no login.
    """

    def __init__(
        self, name: str, botocore_session: BotocoreSession, fingerprint: str, login: str = ""
    ) -> None:
        super().__init__(
            f"source profile {name}", botocore_session, lambda: _load_credentials(botocore_session)
        )
        self.name = name
        self.fingerprint = fingerprint
        self._login = login

    def _resolve(self, load: Callable[[], ResultT | None]) -> ResultT:
        try:
            result = load()
        except Exception as error:  # noqa: BLE001 - botocore trusts the shape of responses
            # The exceptions of libraries may quote secrets, also in a traceback.
            raise translate_source_error(self.name, error, login=self._login) from None
        if result is None:
            raise SourceMissingError(
                f"source profile {self.name} holds no credentials",
                hint="store long-term keys in it with "
                f"`aws configure --profile {shlex.quote(self.name)}`",
            )
        return result


class SourceProfiles:
    """The profiles of the AWS config and credentials files; safe to use from many threads.

    The files are read again when they have changed on disk. A profile whose own entries have not
    changed keeps its botocore session, and with it the temporary credentials that a
    `credential_process` or SSO has returned.
    """

    def __init__(self) -> None:
        self._loader = create_loader()
        self._lock = threading.Lock()
        self._paths = tuple(
            Path(find(os.environ)) for find in (paths.aws_config_file, paths.aws_credentials_file)
        )
        self._signature: tuple[FileState, ...] | None = None
        self._digest: bytes | None = None
        self._fingerprints: dict[str, str] = {}
        """The current fingerprints of profiles that depend on nothing but the AWS files."""
        self._config: Mapping[str, Any] = {}
        self._resolved: dict[str, ResolvedSource] = {}
        self._plain: tuple[str, BotocoreSession] | None = None

    def resolve(self, name: str) -> ResolvedSource:
        """Return the source profile `name`, without resolving its credentials.

        Raises:
            SourceMissingError: it does not exist.
            SourceUnavailableError: the AWS files cannot be read.
        """
        with self._lock:
            fingerprint = self._fingerprint(name)
            known = self._resolved.get(name)
            if known is None or known.fingerprint != fingerprint:
                login = _login_command(name, self._profiles())
                known = ResolvedSource(name, self._new_botocore_session(name), fingerprint, login)
                self._resolved[name] = known
            return known

    def plain_botocore_session(self) -> BotocoreSession:
        """Return a botocore session without a profile, for sources that are not profiles.

        Its region, endpoint and CA settings are those of the default profile, as in every AWS
        tool. It is the same object until these settings change.

        Raises:
            SourceUnavailableError: the AWS files cannot be read.
        """
        with self._lock:
            settings = json.dumps(self._settings("default"), sort_keys=True, default=str)
            if self._plain is None or self._plain[0] != settings:
                # This ignores AWS_PROFILE, too.
                no_profile = {"profile": (None, None, None, None)}
                self._plain = settings, self._new_botocore_session(None, no_profile)
            return self._plain[1]

    def fingerprint(self, name: str) -> str | None:
        """Return a digest of everything that the credentials depend on; None if unreadable."""
        with self._lock:
            try:
                return self._fingerprint(name)
            except AssumedError:
                return None

    @property
    def directories(self) -> frozenset[Path]:
        """The directories in which a file changes when the credentials of a source change."""
        real = {Path(os.path.realpath(path)) for path in self._paths}
        caches = {_token_cache(key) for key in _TOKEN_CACHES}
        # The first login creates the cache in one of the directories above it.
        home = Path(paths.home_directory(), ".aws")
        above = {home} | {home / cache for cache in _TOKEN_CACHES.values()}
        return frozenset({path.parent for path in {*self._paths, *real}} | caches | above)

    def names(self) -> tuple[str, ...]:
        """Return the names of all profiles of the AWS files, those of the config file first.

        Raises:
            SourceUnavailableError: the AWS files cannot be read.
        """
        with self._lock:
            return tuple(self._profiles())

    def entries(self, name: str) -> Mapping[str, Any]:
        """Return the entries of profile `name`, merged from both files; empty if there is none.

        Raises:
            SourceUnavailableError: the AWS files cannot be read.
        """
        with self._lock:
            entries: Mapping[str, Any] = self._profiles().get(name, {})
            return entries

    def settings(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the settings of profile `name`, without anything that leads to credentials.

        Returns:
            Its own entries under `profile`, and the section that its `services` names under
            `services NAME`.

        Raises:
            SourceUnavailableError: the AWS files cannot be read.
        """
        with self._lock:
            return self._settings(name)

    def _settings(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        entries = self._profiles().get(name, {})
        sections = {"profile": {key: entries[key] for key in entries if _is_setting(key)}}
        services = entries.get("services")
        if services is not None:
            found = self._config.get("services", {}).get(services, {})
            sections[f"services {services}"] = found
        return sections

    def _profiles(self) -> Mapping[str, Any]:
        signature = tuple(file_state(path) for path in self._paths)
        if signature != self._signature:
            # botocore would wait for ever for the other end of a FIFO.
            _require_readable(self._paths)
            # Each refresh changes the credentials file, and botocore takes 50 ms to parse one with
            # a thousand profiles.
            digest = self._digest_of_files()
            if digest is None or digest != self._digest:
                try:
                    self._config = self._new_botocore_session(None).full_config
                except exceptions.ConfigParseError as error:
                    raise self._unreadable(error) from error
            self._signature, self._digest = signature, digest
            self._fingerprints.clear()
        profiles: Mapping[str, Any] = self._config.get("profiles", {})
        return profiles

    def _unreadable(self, error: exceptions.ConfigParseError) -> AwsFilesUnreadableError:
        """Return the error with its line; botocore reports only the file."""
        for path in self._paths:
            try:
                read(read_file(path, max_bytes=MAX_AWS_FILE_BYTES), path=str(path))
            except CredentialsFileMalformedError as malformed:
                return AwsFilesUnreadableError(
                    f"no AWS tool can read the AWS files: {malformed.message}",
                    hint=malformed.hint,
                )
            except OSError:
                continue
        return AwsFilesUnreadableError(
            f"no AWS tool can read the AWS files: {clean(str(error))}",
            hint="correct that file",
        )

    def _digest_of_files(self) -> bytes | None:
        """Return a digest that refreshes do not change; None if a file is unreadable."""
        profiles: Mapping[str, Any] = self._config.get("profiles", {})
        sources = {str(entries.get("source_profile")) for entries in profiles.values()}
        digest = hashlib.sha256()
        try:
            for path in self._paths:
                data = path.read_bytes() if path.is_file() else b""
                # The keys of source profiles count, even if this program wrote them.
                kept = strip_managed_values(data, keep=sources | self._resolved.keys())
                digest.update(hashlib.sha256(kept).digest())
        except OSError:
            return None
        return digest.digest()

    def _fingerprint(self, name: str) -> str:
        profiles = self._profiles()
        if (known := self._fingerprints.get(name)) is not None:
            return known
        if name not in profiles:
            raise SourceMissingError(
                f"source profile {name} is not in the AWS config or credentials file",
                hint=f"add it with `aws configure --profile {shlex.quote(name)}`, or correct "
                "source_profile",
            )
        inputs: list[object] = []
        caches: set[Path] = set()
        for link in _chain(name, profiles):
            entries = profiles[link]
            _reject_mfa_prompt(name, link, entries)
            _reject_foreign_process(link, entries, self._paths)
            if (token_file := entries.get("web_identity_token_file")) is not None:
                _require_readable([Path(paths.expand_home(str(token_file)))])
            inputs.append([link, entries])
            for key, sections in _SECTIONS_NAMED_BY.items():
                if (named := entries.get(key)) is not None:
                    inputs.append(self._config.get(sections, {}).get(named))
            caches |= {_token_cache(key) for key in _TOKEN_CACHES if key in entries}
        inputs.append([_files_in(cache) for cache in sorted(caches)])
        text = json.dumps(inputs, sort_keys=True, default=str)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        if not caches:
            self._fingerprints[name] = fingerprint
        return fingerprint

    def _new_botocore_session(
        self, name: str | None, variables: dict[str, Any] | None = None
    ) -> BotocoreSession:
        # Each botocore session reads the files again. They share the loader, which holds botocore's
        # large models.
        botocore_session = SharedTlsSession(variables, profile=name)
        botocore_session.register_component("data_loader", self._loader)
        # For a source profile with a role or SSO, botocore uses clients of its own.
        botocore_session.register("before-send", reject_unsafe_request)
        botocore_session.register("needs-retry", reject_retry)
        return botocore_session


def _token_cache(key: str) -> Path:
    """Return the directory where botocore and the AWS CLI cache the logins of this key."""
    return Path(paths.login_cache_directory(os.environ, _TOKEN_CACHES[key]))


def _require_readable(files: Iterable[Path]) -> None:
    """Raise `AwsFilesUnreadableError` for a FIFO and the like in the place of a file."""
    for path in files:
        try:
            require_readable(path, max_bytes=MAX_AWS_FILE_BYTES)
        except (NotRegularFileError, FileTooLargeError) as error:
            raise AwsFilesUnreadableError(
                f"no AWS tool can read the AWS files: {path}: {error.strerror}",
                hint="replace it by a file, or correct the variable that names it",
            ) from None
        except OSError:
            # botocore takes such a file for an empty one.
            continue


def _is_setting(key: str) -> bool:
    return not key.startswith(_CREDENTIAL_KEYS) and not any(word in key for word in _SECRET_WORDS)


def _load_credentials(botocore_session: BotocoreSession) -> BotocoreCredentials | None:
    resolver = credential_resolver(botocore_session)
    for provider in _OUTSIDE_THE_PROFILE:
        resolver.remove(provider)
    return resolver.load_credentials()


def _chain(name: str, profiles: Mapping[str, Any]) -> Iterator[str]:
    seen: set[str] = set()
    link: str | None = name
    while link is not None and link in profiles and link not in seen:
        seen.add(link)
        yield link
        link = profiles[link].get("source_profile")


def _login_command(name: str, profiles: Mapping[str, Any]) -> str:
    """Return the command that logs in to a profile or its source; empty if none needs a login."""
    for link in _chain(name, profiles):
        entries = profiles[link]
        if (sso_session := entries.get("sso_session")) is not None:
            return f"aws sso login --sso-session {shlex.quote(str(sso_session))}"
        if "sso_start_url" in entries:
            return f"aws sso login --profile {shlex.quote(link)}"
        if "login_session" in entries:
            return f"aws login --profile {shlex.quote(link)}"
    return ""


def _reject_mfa_prompt(name: str, link: str, entries: Mapping[str, Any]) -> None:
    # botocore would ask for the code on the daemon's terminal and wait.
    if "role_arn" in entries and "mfa_serial" in entries:
        raise SourceMissingError(
            f"source profile {name} is unusable: profile {link} of the AWS config file has an "
            "mfa_serial, and a refresh cannot ask for an MFA code",
            hint="set source_profile to the profile with the keys and add mfa_serial beside it in "
            "the configuration of assumed, or use a source_profile that needs no code",
        )


def _reject_foreign_process(link: str, entries: Mapping[str, Any], paths: Iterable[Path]) -> None:
    """Keep root from running a command that another user configured, such as with `sudo -E`."""
    if os.geteuid() != 0 or "credential_process" not in entries:
        return
    for path in paths:
        with suppress(OSError):
            if path.stat().st_uid != 0:
                raise SourceMissingError(
                    f"source profile {link} has a credential_process that root would run, but "
                    f"{path} belongs to another user",
                    hint="run assumed as that user, or use AWS files that belong to root",
                )


def file_state(path: Path) -> FileState:
    """Return a value that changes with a file, or with the target of a link."""
    try:
        found = path.stat()
    except OSError:
        return (str(path), 0, 0, 0)
    # Not mtime, which `cp -p` and rsync restore, and which chmod does not change.
    return (str(path), found.st_ino, found.st_size, found.st_ctime_ns)


def _files_in(directory: Path) -> list[FileState]:
    return sorted(file_state(path) for path in directory.glob("*.json"))
