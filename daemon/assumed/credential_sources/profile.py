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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from botocore.loaders import create_loader

from assumed import paths
from assumed.credential_sources.aws_files_reader import (
    AwsFilesReader,
    FileState,
    file_state,
    wrong_kind,
)
from assumed.credential_sources.aws_files_snapshot import (
    AwsFilesSnapshot,
    Settings,
    SnapshotSession,
    read_aws_file,
)
from assumed.credential_sources.botocore_adapter import BotocoreSource, ResultT
from assumed.credential_sources.confirmed_processes import ConfirmedProcesses
from assumed.credential_sources.errors import translate_source_error
from assumed.errors import (
    AssumedError,
    LocalFaultError,
    SourceMissingError,
)
from assumed.file_calls import FileCalls, HangingFileError
from assumed.fsutil import (
    MAX_AWS_FILE_BYTES,
    FileTooLargeError,
    NotRegularFileError,
    is_missing,
    local_fault_hint,
    require_readable,
)
from assumed.sts.tls import reject_retry, reject_unsafe_request

_TOKEN_CACHES = {"sso_session": "sso", "sso_start_url": "sso", "login_session": "login"}
_LOGIN_KEYS = ("sso_account_id", "sso_role_name", *_TOKEN_CACHES)

# Keys of a profile that name another section of the config file.
_SECTIONS_NAMED_BY = {"sso_session": "sso_sessions", "services": "services"}

DiskT = TypeVar("DiskT")


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

    Args:
        how_to_confirm: a new `credential_process`; see `ConfirmedProcesses`.
    """

    def __init__(self, how_to_confirm: str = "start this command again") -> None:
        self._loader = create_loader()
        self._lock = threading.Lock()
        self._processes = ConfirmedProcesses(how_to_confirm)
        self._files = AwsFilesReader(
            Path(paths.aws_config_file(os.environ)), Path(paths.aws_credentials_file(os.environ))
        )
        self._version = self._files.version
        self._snapshot: AwsFilesSnapshot | None = None
        """What `_plain` and `_with_settings` were last checked against."""
        # A login may be on another file system than the AWS files.
        self._logins = FileCalls(str(_token_cache("sso_session").parent))
        self._fingerprints: dict[str, str] = {}
        """The current fingerprints of profiles that depend on nothing but the AWS files."""
        self._resolved: dict[str, ResolvedSource] = {}
        self._with_settings: dict[tuple[str, str], ResolvedSource] = {}
        """Sources with the settings of another profile, by name and settings."""
        self._plain: dict[str, SnapshotSession] = {}
        """Sessions without a profile, by settings."""

    def resolve(self, name: str, config_profiles: Sequence[str] = ()) -> ResolvedSource:
        """Return the source profile `name`, without resolving its credentials.

        Args:
            name: the profile.
            config_profiles: the settings of the first of these that has any replace its own, in
                its botocore session and in the calls that resolve its credentials.

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
                fingerprint = known.fingerprint
            if known is None or known.fingerprint != fingerprint:
                known = self._new_source(name, fingerprint)
                self._resolved[name] = known
            return self._by_settings(known, config_profiles)

    def plain_botocore_session(self, config_profiles: Sequence[str] = ()) -> SnapshotSession:
        """Return a botocore session without a profile, for sources that are not profiles.

        Its region, endpoint and CA settings are those of the first of these profiles that has any,
        or else of the default profile, as in every AWS tool. It is the same object until these
        settings change.

        Raises:
            SourceUnavailableError: the AWS files cannot be read.
        """
        with self._lock:
            snapshot = self._read()
            chosen = snapshot.first_existing(config_profiles) or "default"
            settings = snapshot.settings(chosen)
            key = _text_of(settings)
            if key not in self._plain:
                # This ignores AWS_PROFILE, too.
                no_profile = {"profile": (None, None, None, None)}
                self._plain[key] = self._new_botocore_session(None, no_profile, (chosen, settings))
            return self._plain[key]

    def fingerprint(self, name: str) -> str | None:
        """Return a digest of everything that the credentials depend on; None if unreadable."""
        with self._lock:
            try:
                return self._fingerprint(name)
            except AssumedError:
                return None

    def confirm_processes(self) -> None:
        """Let each `credential_process` run that the credentials file now has."""
        with self._lock:
            with suppress(AssumedError):  # then those of the last content
                self._read()
            if self._snapshot is not None:
                self._processes.confirm(self._snapshot.credentials)
            self._fingerprints.clear()

    @property
    def directories(self) -> frozenset[Path]:
        """The directories in which a file changes when the credentials of a source change."""
        files = self._files.paths
        real = {Path(os.path.realpath(path)) for path in files}
        caches = {_token_cache(key) for key in _TOKEN_CACHES}
        # The first login creates the cache in one of the directories above it.
        home = Path(paths.home_directory(), ".aws")
        above = {home} | {home / cache for cache in _TOKEN_CACHES.values()}
        return frozenset({path.parent for path in {*files, *real}} | caches | above)

    @property
    def has_files(self) -> bool:
        """Whether one of the AWS files exists, also if it cannot be read now."""
        return self._files.exist

    def names(self) -> tuple[str, ...]:
        """Return the names of all profiles of the AWS files, those of the config file first.

        Raises:
            SourceUnavailableError: the AWS files cannot be read.
        """
        with self._lock:
            return tuple(self._read().merged["profiles"])

    def entries(self, name: str) -> Mapping[str, Any]:
        """Return the entries of profile `name`, merged from both files; empty if there is none.

        Raises:
            SourceUnavailableError: the AWS files cannot be read.
        """
        with self._lock:
            entries: Mapping[str, Any] = self._read().merged["profiles"].get(name, {})
            return entries

    def login_command(self, name: str) -> str:
        """Return the command that logs in to a profile or its source; empty if none is needed.

        Raises:
            SourceUnavailableError: the AWS files cannot be read.
        """
        with self._lock:
            return _login_command(name, self._read().merged["profiles"])

    def settings(self, config_profiles: Sequence[str]) -> tuple[str | None, Settings]:
        """Return the first of these profiles that has settings, and its settings.

        Returns:
            The name, None if none has any; and the sections of `AwsFilesSnapshot.settings`.

        Raises:
            SourceUnavailableError: the AWS files cannot be read.
        """
        with self._lock:
            snapshot = self._read()
            chosen = snapshot.first_existing(config_profiles)
            return chosen, {} if chosen is None else snapshot.settings(chosen)

    def settings_fingerprint(self, config_profiles: Sequence[str]) -> str | None:
        """Return a digest of the settings that `settings` returns; None if unreadable."""
        try:
            _, settings = self.settings(config_profiles)
        except AssumedError:
            return None
        return hashlib.sha256(_text_of(settings).encode()).hexdigest()

    def _by_settings(
        self, source: ResolvedSource, config_profiles: Sequence[str]
    ) -> ResolvedSource:
        """Return a source with the settings of another profile; itself if they are the same."""
        snapshot = self._files.known()
        chosen = snapshot.first_existing(config_profiles)
        if chosen in {None, source.name}:
            return source
        settings = snapshot.settings(str(chosen))
        if settings == snapshot.settings(source.name):
            return source
        key = source.name, _text_of(settings)
        known = self._with_settings.get(key)
        if known is None or known.fingerprint != source.fingerprint:
            known = self._new_source(source.name, source.fingerprint, (str(chosen), settings))
            if not _calls_aws(source.name, snapshot.merged["profiles"]):
                # A credential_process runs once, whatever the settings of the roles are.
                known = source.with_settings_of(known.botocore_session)
            self._with_settings[key] = known
        return known

    def _new_source(
        self, name: str, fingerprint: str, settings: tuple[str, Settings] | None = None
    ) -> ResolvedSource:
        profiles = self._files.known().merged["profiles"]
        return ResolvedSource(
            name,
            self._new_botocore_session(name, settings=settings),
            fingerprint,
            _login_command(name, profiles),
            _caches_of(name, profiles),
        )

    def _read(self) -> AwsFilesSnapshot:
        """Return both files; forget what depended on an earlier version of them.

        Raises:
            AwsFilesUnreadableError, LocalFaultError: as `AwsFilesReader.read`.
        """
        snapshot = self._files.read(keep=self._resolved.keys())
        if self._files.version != self._version:
            self._version = self._files.version
            self._fingerprints.clear()
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self._processes.start_with(snapshot.credentials)
            names = {"default", *snapshot.merged["profiles"]}
            current = {_text_of(snapshot.settings(name)) for name in names}
            self._plain = {key: self._plain[key] for key in self._plain if key in current}
            known = self._with_settings.items()
            self._with_settings = {key: each for key, each in known if key[1] in current}
        return snapshot

    def _fingerprint(self, name: str) -> str:
        merged = self._read().merged
        profiles = merged["profiles"]
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
            if "credential_process" in entries:
                self._on_disk(partial(self._reject_process, name, link))
            if (token_file := entries.get("web_identity_token_file")) is not None:
                token = Path(paths.expand_home(str(token_file)))
                self._on_disk(partial(_require_readable, token))
            inputs.append([link, entries])
            for key, sections in _SECTIONS_NAMED_BY.items():
                if (named := entries.get(key)) is not None:
                    inputs.append(merged[sections].get(named))
        if caches:
            inputs.append(self._on_disk(lambda: [_files_in(cache) for cache in sorted(caches)]))
        else:
            inputs.append([])
        text = json.dumps(inputs, sort_keys=True, default=str)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        if not caches:
            self._fingerprints[name] = fingerprint
        return fingerprint

    def _reject_process(self, name: str, link: str) -> None:
        if os.geteuid() == 0:
            _reject_foreign_process(link, self._files.paths)
        in_file = self._files.known().credentials
        self._processes.require_confirmed(name, link, in_file, self._files.paths[1])

    def _on_disk(self, call: Callable[[], DiskT]) -> DiskT:
        """Return the result of a call on files, without waiting for one that hangs.

        Raises:
            LocalFaultError: they do not answer.
            AssumedError: raised by `call`.
        """
        try:
            return self._logins.run(call)
        except HangingFileError as error:
            raise LocalFaultError(
                f"{error.filename}: {error.strerror}", hint=local_fault_hint(error)
            ) from error

    def _new_botocore_session(
        self,
        name: str | None,
        variables: dict[str, Any] | None = None,
        settings: tuple[str, Settings] | None = None,
    ) -> SnapshotSession:
        snapshot = self._files.known()
        # The sessions share the loader, which holds botocore's large models.
        botocore_session = SnapshotSession(variables, name, snapshot, settings)
        botocore_session.register_component("data_loader", self._loader)
        # For a source profile with a role or SSO, botocore uses clients of its own.
        botocore_session.register("before-send", reject_unsafe_request)
        botocore_session.register("needs-retry", reject_retry)
        return botocore_session


def _text_of(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def _token_cache(key: str) -> Path:
    """Return the directory where botocore and the AWS CLI cache the logins of this key."""
    return Path(paths.login_cache_directory(os.environ, _TOKEN_CACHES[key]))


def _require_readable(path: Path) -> None:
    """Raise `AwsFilesUnreadableError` for a FIFO and the like in the place of a file."""
    try:
        require_readable(path, max_bytes=MAX_AWS_FILE_BYTES)
    except (NotRegularFileError, FileTooLargeError) as error:
        raise wrong_kind(error) from None
    except OSError:
        # The source reports it when it opens the file.
        return


def _caches_of(name: str, profiles: Mapping[str, Any]) -> frozenset[Path]:
    """Return the directories of the logins that a profile and its sources depend on."""
    entries = (profiles[link] for link in _chain(name, profiles))
    return frozenset(_token_cache(key) for each in entries for key in _TOKEN_CACHES if key in each)


def _chain(name: str, profiles: Mapping[str, Any]) -> Iterator[str]:
    seen: set[str] = set()
    link: str | None = name
    while link is not None and link in profiles and link not in seen:
        seen.add(link)
        yield link
        link = profiles[link].get("source_profile")


def _calls_aws(name: str, profiles: Mapping[str, Any]) -> bool:
    """Whether AWS is called to resolve the credentials of a profile."""
    entries = (profiles[link] for link in _chain(name, profiles))
    return any(key in each for each in entries for key in ("role_arn", *_LOGIN_KEYS))


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


def _reject_foreign_process(link: str, paths: Iterable[Path]) -> None:
    """Keep root from running a command that another user configured, such as with `sudo -E`."""
    for path in paths:
        with suppress(OSError):
            if path.stat().st_uid != 0:
                raise SourceMissingError(
                    f"source profile {link} has a credential_process that root would run, but "
                    f"{path} belongs to another user",
                    hint="run assumed as that user, or use AWS files that belong to root",
                )


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
