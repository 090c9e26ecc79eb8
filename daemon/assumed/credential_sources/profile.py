"""Source profiles: profiles of the AWS config and credentials files, read through botocore.

The daemon's environment never decides whose credentials are used. A source profile without
credentials of its own is an error, and no other source replaces it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore import exceptions
from botocore.loaders import create_loader

from assumed import paths
from assumed.aws_files import read
from assumed.aws_files.normalize import strip_managed_values
from assumed.credential_sources.aws_files_snapshot import (
    AwsFilesSnapshot,
    SnapshotSession,
    read_aws_file,
)
from assumed.credential_sources.botocore_adapter import BotocoreSource, ResultT
from assumed.credential_sources.errors import translate_source_error
from assumed.errors import (
    AssumedError,
    AwsFilesUnreadableError,
    CredentialsFileMalformedError,
    LocalFaultError,
    SourceMissingError,
)
from assumed.fsutil import (
    MAX_AWS_FILE_BYTES,
    FileTooLargeError,
    NotRegularFileError,
    is_missing,
    local_fault_hint,
    read_file,
    require_readable,
)
from assumed.logs import event
from assumed.sts.tls import reject_retry, reject_unsafe_request
from assumed.untrusted_text import clean

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
_NO_FILE = (0, 0, 0)


class ResolvedSource(BotocoreSource):
    """A source profile as botocore resolves it; safe to use from many threads.

    Args:
        name: the name of the profile.
        botocore_session: a botocore session of that profile: its region, endpoint and CA settings.
        fingerprint: changes with everything that the credentials depend on.
        login: the command that logs in to the profile; empty if it needs no login.
        caches: the directories of the logins that it depends on.
    """

    def __init__(
        self,
        name: str,
        botocore_session: SnapshotSession,
        fingerprint: str,
        login: str = "",
        caches: Iterable[Path] = (),
    ) -> None:
        super().__init__(
            f"source profile {name}", botocore_session, botocore_session.load_credentials
        )
        self.name = name
        self.fingerprint = fingerprint
        self._login = login
        self._caches = tuple(caches)

    def _resolve(self, load: Callable[[], ResultT | None]) -> ResultT:
        try:
            result = load()
        except Exception as error:  # noqa: BLE001 - botocore trusts the shape of responses
            # botocore takes a login that it cannot read for none.
            fault = _first_fault(self._caches)
            # The exceptions of libraries may quote secrets, also in a traceback.
            raise translate_source_error(self.name, error, login=self._login, fault=fault) from None
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
        self._snapshot: AwsFilesSnapshot | None = None
        self._fault: str | None = None
        """Why the files cannot be read again now, as the log says."""
        self._resolved: dict[str, ResolvedSource] = {}
        self._plain: tuple[str, SnapshotSession] | None = None

    def resolve(self, name: str) -> ResolvedSource:
        """Return the source profile `name`, without resolving its credentials.

        Raises:
            SourceMissingError: it does not exist.
            SourceUnavailableError: the AWS files cannot be read, and it is not known yet.
        """
        with self._lock:
            known = self._resolved.get(name)
            try:
                fingerprint = self._fingerprint(name)
            except LocalFaultError:
                if known is None:
                    raise
                return known
            if known is None or known.fingerprint != fingerprint:
                profiles = self._profiles()
                known = ResolvedSource(
                    name,
                    self._new_botocore_session(name),
                    fingerprint,
                    _login_command(name, profiles),
                    _caches_of(name, profiles),
                )
                self._resolved[name] = known
            return known

    def plain_botocore_session(self) -> SnapshotSession:
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

    @property
    def has_files(self) -> bool:
        """Whether one of the AWS files exists, also if it cannot be read now."""
        return any(state[1:] != _NO_FILE for state in map(file_state, self._paths))

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

    def login_command(self, name: str) -> str:
        """Return the command that logs in to a profile or its source; empty if none is needed.

        Raises:
            SourceUnavailableError: the AWS files cannot be read.
        """
        with self._lock:
            return _login_command(name, self._profiles())

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
            found = self._merged().get("services", {}).get(services, {})
            sections[f"services {services}"] = found
        return sections

    def _profiles(self) -> Mapping[str, Any]:
        """Return the profiles, read again if a file has changed.

        Raises:
            AwsFilesUnreadableError: a file is malformed.
            LocalFaultError: a file cannot be read now, and none was read before.
        """
        signature = tuple(file_state(path) for path in self._paths)
        if signature != self._signature:
            try:
                contents = [(path, read_aws_file(path)) for path in self._paths]
            except (NotRegularFileError, FileTooLargeError) as error:
                raise _wrong_kind(error) from None
            except OSError as error:
                self._keep_known(error)
            else:
                self._update(contents)
                self._signature = signature
                self._end_fault()
        else:
            self._end_fault()
        profiles: Mapping[str, Any] = self._merged().get("profiles", {})
        return profiles

    def _merged(self) -> Mapping[str, Any]:
        return {} if self._snapshot is None else self._snapshot.merged

    def _keep_known(self, error: OSError) -> None:
        """Go on with what was read before; it is read again at the next call."""
        fault = f"{error.filename}: cannot be read: {error.strerror}"
        if self._snapshot is None:
            raise LocalFaultError(fault, hint=local_fault_hint(error)) from error
        if fault != self._fault:
            self._fault = fault
            event(
                logging.WARNING,
                "aws_files_unreadable",
                error=fault,
                hint=f"{local_fault_hint(error)}; until then assumed uses what it has read before",
            )

    def _update(self, contents: Sequence[tuple[Path, bytes]]) -> None:
        # Each refresh changes the credentials file, and botocore takes 50 ms to parse one with
        # a thousand profiles.
        digest = self._digest_of(contents)
        if self._snapshot is None or digest != self._digest:
            try:
                self._snapshot = AwsFilesSnapshot.parse(*contents)
            except exceptions.ConfigParseError as error:
                raise self._unreadable(error) from error
        self._digest = digest
        self._fingerprints.clear()

    def _end_fault(self) -> None:
        if self._fault is not None:
            self._fault = None
            event(logging.INFO, "aws_files_readable")

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

    def _digest_of(self, contents: Iterable[tuple[Path, bytes]]) -> bytes:
        """Return a digest that refreshes do not change."""
        profiles: Mapping[str, Any] = self._merged().get("profiles", {})
        sources = {str(entries.get("source_profile")) for entries in profiles.values()}
        digest = hashlib.sha256()
        for _, data in contents:
            # The keys of source profiles count, even if this program wrote them.
            kept = strip_managed_values(data, keep=sources | self._resolved.keys())
            digest.update(hashlib.sha256(kept).digest())
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
        caches = _caches_of(name, profiles)
        for link in _chain(name, profiles):
            entries = profiles[link]
            _reject_mfa_prompt(name, link, entries)
            _reject_foreign_process(link, entries, self._paths)
            if (token_file := entries.get("web_identity_token_file")) is not None:
                _require_readable(Path(paths.expand_home(str(token_file))))
            inputs.append([link, entries])
            for key, sections in _SECTIONS_NAMED_BY.items():
                if (named := entries.get(key)) is not None:
                    inputs.append(self._merged().get(sections, {}).get(named))
        inputs.append([_files_in(cache) for cache in sorted(caches)])
        text = json.dumps(inputs, sort_keys=True, default=str)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        if not caches:
            self._fingerprints[name] = fingerprint
        return fingerprint

    def _new_botocore_session(
        self, name: str | None, variables: dict[str, Any] | None = None
    ) -> SnapshotSession:
        snapshot = self._snapshot
        assert snapshot is not None  # noqa: S101 - the profile was found in it
        # The sessions share the loader, which holds botocore's large models.
        botocore_session = SnapshotSession(variables, name, snapshot)
        botocore_session.register_component("data_loader", self._loader)
        # For a source profile with a role or SSO, botocore uses clients of its own.
        botocore_session.register("before-send", reject_unsafe_request)
        botocore_session.register("needs-retry", reject_retry)
        return botocore_session


def _token_cache(key: str) -> Path:
    """Return the directory where botocore and the AWS CLI cache the logins of this key."""
    return Path(paths.login_cache_directory(os.environ, _TOKEN_CACHES[key]))


def _require_readable(path: Path) -> None:
    """Raise `AwsFilesUnreadableError` for a FIFO and the like in the place of a file."""
    try:
        require_readable(path, max_bytes=MAX_AWS_FILE_BYTES)
    except (NotRegularFileError, FileTooLargeError) as error:
        raise _wrong_kind(error) from None
    except OSError:
        # The source reports it when it opens the file.
        return


def _wrong_kind(error: OSError) -> AwsFilesUnreadableError:
    return AwsFilesUnreadableError(
        f"no AWS tool can read the AWS files: {error.filename}: {error.strerror}",
        hint="replace it by a file, or correct the variable that names it",
    )


def _caches_of(name: str, profiles: Mapping[str, Any]) -> frozenset[Path]:
    """Return the directories of the logins that a profile and its sources depend on."""
    entries = (profiles[link] for link in _chain(name, profiles))
    return frozenset(_token_cache(key) for each in entries for key in _TOKEN_CACHES if key in each)


def _is_setting(key: str) -> bool:
    return not key.startswith(_CREDENTIAL_KEYS) and not any(word in key for word in _SECRET_WORDS)


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
    except OSError as error:
        # A fault is another state than a missing file, so that its end is noticed.
        return (str(path), *(_NO_FILE if is_missing(error) else (0, 0, error.errno or 0)))
    # Not mtime, which `cp -p` and rsync restore, and which chmod does not change.
    return (str(path), found.st_ino, found.st_size, found.st_ctime_ns)


def _files_in(directory: Path) -> list[FileState]:
    """Return the states of the logins in a cache.

    Raises:
        LocalFaultError: the directory cannot be read.
    """
    try:
        paths_in = [*directory.iterdir()]
    except OSError as error:
        if is_missing(error):
            return []
        raise LocalFaultError(
            f"{directory}: cannot be read: {error.strerror}", hint=local_fault_hint(error)
        ) from error
    return sorted(file_state(path) for path in paths_in if path.suffix == ".json")


def _first_fault(directories: Iterable[Path]) -> OSError | None:
    """Return why a login of these caches cannot be read now; None if all can."""
    for directory in directories:
        try:
            for path in directory.iterdir():
                if path.suffix == ".json":
                    read_aws_file(path)
        except OSError as error:
            if not is_missing(error):
                return error
    return None
