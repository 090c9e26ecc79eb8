"""Source credentials that no refresh can use: missing or half keys, a dead login, a lost command.

Reads files, and sends no request: whether STS accepts what it finds is for `check --live`.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from assumed.app.check.inspection import Inspection, source_profile_of
from assumed.aws_files.ownership import is_long_term
from assumed.aws_files.profiles import AwsProfile
from assumed.aws_files.sdk_precedence import (
    STORED_KEYS,
    CredentialChoice,
    CredentialKind,
    used_by_botocore,
)
from assumed.aws_files.shadowing import Finding
from assumed.credential_sources.logins import login_problem, sso_login_problem
from assumed.errors import AssumedError
from assumed.models import (
    CredentialSource,
    MfaCode,
    MfaDevice,
    MfaSession,
    RootSource,
    SourceProfile,
    StorageMode,
    WebIdentity,
)
from assumed.paths import expand_home
from assumed.text import join_words

_TOKEN_KEY = "web_identity_token_file"  # noqa: S105 - the name of a key
_SSO_KEYS = ("sso_start_url", "sso_region", "sso_account_id", "sso_role_name")
_SESSION_KEYS = ("sso_start_url", "sso_region")
_TOKENS = ("aws_session_token", "aws_security_token")
_CONTAINER_VARIABLES = (
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_EXPIRATIONS = ("x_security_token_expires", "aws_session_expiration", "expiration")


@dataclass(frozen=True, slots=True)
class _Problem:
    where: str
    text: str
    fix: str
    is_note: bool = False
    needs_login: bool = False


def find_source_problems(view: Inspection) -> Iterator[Finding]:
    """Yield why the refreshes of definitions cannot get source credentials; each reason once."""
    users_by_problem: dict[_Problem, tuple[str, ...]] = {}
    for source, users in view.users_by_source().items():
        problem = _problem_of(view, source, users)
        if problem is not None:
            users_by_problem[problem] = (*users_by_problem.get(problem, ()), *users)
    for problem, users in users_by_problem.items():
        refreshes = "the refresh" if len(users) == 1 else "each refresh"
        verb = "would fail here" if problem.is_note else "fails"
        yield Finding(
            problem.where,
            problem.text,
            f"{refreshes} of {join_words(users)} {verb}",
            problem.fix,
            is_note=problem.is_note,
            profiles=users,
        )


def login_commands(
    view: Inspection, profiles: Collection[str], *, also: Collection[str]
) -> Mapping[str, tuple[str, ...]]:
    """Return the commands that log in to sources, and the profiles that wait for each.

    Args:
        view: has the sources.
        profiles: the profiles to consider.
        also: profiles that need a login even if the cached one looks valid.

    Raises:
        SourceUnavailableError: the AWS files cannot be read.
    """
    commands: dict[str, tuple[str, ...]] = {}
    for source, users in view.users_by_source().items():
        name = source_profile_of(source)
        command = "" if name is None else view.sources.login_command(name)
        if name is None or not command:
            continue
        problem = _problem_of_profile(view, name, ())
        is_missing = problem is not None and problem.needs_login
        waiting = tuple(user for user in users if user in profiles and (is_missing or user in also))
        if waiting:
            commands[command] = (*commands.get(command, ()), *waiting)
    return commands


def find_login_problems(view: Inspection) -> Iterator[Finding]:
    """Yield the MFA sessions that someone has to start."""
    for source, users in view.users_by_source().items():
        if not isinstance(source, MfaDevice) or source.process or _is_fido(source.serial):
            continue
        if isinstance(source, MfaCode):
            text = f"its next session needs a code of {source.serial}"
            is_missing = not _has_session(view, source.owner)
        else:
            text = f"there is no valid MFA session of {source.serial}"
            is_missing = view.logins.expires_at(source) is None
        if is_missing:
            yield Finding(
                view.keys.of_profile(users[0], "mfa_serial"),
                text,
                f"{join_words(users)} need{'s' if len(users) == 1 else ''} an MFA code",
                f"enter one with `assumed login {shlex.quote(users[0])}`",
                profiles=users,
            )


def _has_session(view: Inspection, name: str) -> bool:
    """Whether a managed profile has a valid session, or one that only the daemon knows."""
    if view.enabled[name].store is StorageMode.MEMORY:
        return True
    profile = view.files.profiles.get(name)
    expires_at = None if profile is None or not profile.is_managed else _expiration(profile)
    return expires_at is not None and expires_at > view.now


def _problem_of(view: Inspection, source: RootSource, users: tuple[str, ...]) -> _Problem | None:
    name = source_profile_of(source)
    if name is not None:
        profile = view.files.profiles.get(name)
        problem = _problem_of_profile(view, name, ())
        if problem is None and profile is not None:
            problem = _problem_of_use(view, source, profile, users)
        return problem or _unresolved(view, name)
    if isinstance(source, WebIdentity):
        return _problem_of_token(source.token_file, view.keys.of_profile(users[0], _TOKEN_KEY))
    assert isinstance(source, CredentialSource)  # noqa: S101 - the other sources are above
    return _problem_of_machine(view, source, view.keys.of_profile(users[0], "credential_source"))


def _unresolved(view: Inspection, name: str) -> _Problem | None:
    """Return what only the source itself finds, such as a command that root must not run."""
    try:
        view.sources.resolve(name)
    except AssumedError as error:
        profile = view.files.profiles.get(name)
        where = view.files.config if profile is None else profile.location
        return _Problem(str(where), error.message, error.hint)
    return None


def _problem_of_use(
    view: Inspection, source: RootSource, profile: AwsProfile, users: tuple[str, ...]
) -> _Problem | None:
    """Return why credentials that are complete are the wrong kind for these definitions."""
    choice = used_by_botocore(profile)
    is_lasting = choice.kind is CredentialKind.KEYS and not _token_of(profile)
    name = profile.name
    if isinstance(source, MfaDevice):
        if _is_fido(source.serial):
            return _Problem(
                view.keys.of_profile(users[0], "mfa_serial"),
                f"{source.serial} is a FIDO security key, which STS does not accept: it has no "
                "code of six digits",
                "register a virtual device (TOTP) for the same user beside it, and set mfa_serial "
                "to its ARN (…:mfa/NAME); or use `aws login` or SSO, which accept the key",
            )
        if not is_lasting and choice.kind is not CredentialKind.PROCESS:
            return _Problem(
                _where(profile, choice),
                f"profile {name} holds no long-term keys, which an MFA code requires",
                "set source_profile to the profile with the long-term keys, or remove mfa_serial",
            )
        if source.process and (reason := view.problem_of_command(source.process[0])) is not None:
            return _Problem(
                view.keys.of_profile(users[0], "mfa_process"),
                f"mfa_process {source.process[0]} {reason}",
                "install it, or write its absolute path; or remove mfa_process and use `assumed "
                "login`",
            )
        return None
    without_role = [user for user in users if view.enabled[user].role_arn is None]
    if is_lasting and without_role:
        return _Problem(
            view.keys.of_profile(without_role[0], "source_profile"),
            f"profile {name} holds long-term keys, which are never copied, and {without_role[0]} "
            "has no role_arn",
            "add the `role_arn` to assume; tools can use the source profile itself without assumed",
        )
    return None


def _problem_of_profile(view: Inspection, name: str, above: tuple[str, ...]) -> _Problem | None:
    """Return why a profile of the AWS files has no usable credentials.

    Args:
        view: has the files.
        name: of the profile.
        above: the profiles whose `source_profile` leads here, the first one first.
    """
    profile = view.files.profiles.get(name)
    if profile is None:
        # A source that the configuration names exists; that is checked when it is read.
        if not above:
            return None
        entry = view.files.profiles[above[-1]].entries["source_profile"]
        return _Problem(
            str(entry.location),
            f"profile {above[-1]}: its source_profile {name} is in neither AWS file",
            f"add it with `aws configure --profile {shlex.quote(name)}`, or correct the name",
        )
    kind = used_by_botocore(profile).kind
    if kind is CredentialKind.ROLE:
        return _problem_of_role(view, profile, above)
    return _PROBLEMS[kind](view, profile)


def _without_credentials(_: Inspection, profile: AwsProfile) -> _Problem:
    name, entries = profile.name, profile.entries
    if "credential_source" in entries:
        entry = entries["credential_source"]
        return _Problem(
            str(entry.location),
            f"profile {name}: credential_source without role_arn: AWS tools ignore it",
            f"in the configuration, set `credential_source: {entry.value}` instead of "
            "source_profile, or add the role_arn here",
        )
    if "source_profile" in entries:
        return _Problem(
            str(entries["source_profile"].location),
            f"profile {name}: source_profile without role_arn: AWS tools ignore it",
            f"name {entries['source_profile'].value} as the source in the configuration, or add "
            "the role_arn here",
        )
    half = next((key for key in ("aws_secret_access_key", *_TOKENS) if key in entries), None)
    if half is not None:
        return _Problem(
            str(entries[half].location),
            f"profile {name} has {half}, but no aws_access_key_id",
            f"store both keys with `aws configure --profile {shlex.quote(name)}`",
        )
    return _Problem(
        str(profile.location),
        f"profile {name} holds no credentials",
        f"store long-term keys in it with `aws configure --profile {shlex.quote(name)}`, or name "
        "another source",
    )


def _problem_of_keys(view: Inspection, profile: AwsProfile) -> _Problem | None:
    # botocore takes both keys from one file.
    entries = profile.credentials if profile.has_stored_keys else profile.config
    name = profile.name
    store = f"store both keys with `aws configure --profile {shlex.quote(name)}`"
    for key in STORED_KEYS:
        if key not in entries:
            other = entries["aws_access_key_id"]
            return _Problem(
                str(other.location), f"profile {name} has aws_access_key_id, but no {key}", store
            )
        if not entries[key].value:
            return _Problem(str(entries[key].location), f"profile {name}: {key} is empty", store)
    entry = entries["aws_access_key_id"]
    token = _token_of(profile)
    if entry.value.startswith("ASIA") and not token:
        return _Problem(
            str(entry.location),
            f"profile {name} has temporary keys without their aws_session_token",
            "add it, or replace all three keys: STS accepts them only together",
        )
    expires_at = _expiration(profile) if token else None
    if expires_at is not None and expires_at <= view.now:
        return _Problem(
            str(entry.location),
            f"profile {name}: its temporary keys expired at {expires_at:%Y-%m-%d %H:%M} UTC",
            "renew them with the tool that wrote them, or name another source",
        )
    return None


def _problem_of_role(
    view: Inspection, profile: AwsProfile, above: tuple[str, ...]
) -> _Problem | None:
    entries, name = profile.entries, profile.name
    if "mfa_serial" in entries:
        return _Problem(
            str(entries["mfa_serial"].location),
            f"profile {name} assumes a role with an MFA code, which a refresh cannot ask for",
            "in the configuration, set source_profile to the profile with the long-term keys, and "
            "mfa_serial beside it",
        )
    source = profile.value("source_profile")
    if source is None:
        return None
    if source == name:
        # AWS tools take its own keys then.
        return (
            _problem_of_keys(view, profile)
            if profile.has_keys
            else _without_credentials(view, profile)
        )
    if source in above:
        return _Problem(
            str(entries["source_profile"].location),
            f"profile {name}: its source_profile leads back to itself",
            "name the profile that has the keys",
        )
    return _problem_of_profile(view, source, (*above, name))


def _problem_of_sso(view: Inspection, profile: AwsProfile) -> _Problem | None:
    entries, name = dict(profile.entries), profile.name
    reference = entries.get("sso_session")
    required = _SSO_KEYS
    where = str(profile.location)
    if reference is not None:
        section = view.files.sso_sessions.get(reference.value)
        if section is None:
            return _Problem(
                str(reference.location),
                f"profile {name}: there is no [sso-session {reference.value}]",
                "add it with `aws configure sso-session`, or correct the name",
            )
        for key in _SESSION_KEYS:
            own, common = entries.get(key), section.get(key)
            if own is not None and common is not None and own.value != common.value:
                return _Problem(
                    str(own.location),
                    f"profile {name}: {key} differs from that of [sso-session {reference.value}] "
                    f"({common.location}), and AWS tools reject both",
                    f"remove {key} from the profile",
                )
        entries = {**entries, **section}
    missing = [key for key in required if key not in entries]
    if missing:
        return _Problem(
            where,
            f"profile {name}: its SSO settings lack {join_words(missing)}",
            f"complete them with `aws configure sso --profile {shlex.quote(name)}`",
        )
    reason = sso_login_problem(
        view.environ,
        session=None if reference is None else reference.value,
        start_url=entries["sso_start_url"].value,
        now=view.now,
    )
    if reason is None:
        return None
    return _Problem(
        where,
        f"the SSO login of profile {name} {reason}",
        f"run `{view.sources.login_command(name)}`, or `assumed login`",
        needs_login=True,
    )


def _problem_of_login(view: Inspection, profile: AwsProfile) -> _Problem | None:
    reason = login_problem(view.environ, profile.entries["login_session"].value)
    if reason is None:
        return None
    return _Problem(
        str(profile.location),
        f"the login of profile {profile.name} {reason}",
        f"run `{view.sources.login_command(profile.name)}`, or `assumed login`",
        needs_login=True,
    )


def _problem_of_process(view: Inspection, profile: AwsProfile) -> _Problem | None:
    entry = profile.entries["credential_process"]
    try:
        words = shlex.split(entry.value)
    except ValueError as error:
        words, reason = [], f"is malformed: {error}"
    else:
        reason = "is empty" if not words else view.problem_of_command(words[0]) or ""
    if not reason:
        return None
    program = f" {words[0]}" if words else ""
    return _Problem(
        str(entry.location),
        f"profile {profile.name}: its credential_process{program} {reason}",
        "install it, write its absolute path, or name another source",
    )


def _problem_of_token(path: Path, where: str) -> _Problem | None:
    try:
        is_empty = path.stat().st_size == 0
        reason = "is empty" if is_empty else "" if os.access(path, os.R_OK) else "is not readable"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    if not reason:
        return None
    return _Problem(
        where,
        f"the token file {path} {reason}",
        "the identity provider's program has to write it: a projected volume, the runner of the "
        "CI system",
    )


def _problem_of_machine(view: Inspection, source: CredentialSource, where: str) -> _Problem | None:
    """Return why the credentials of the machine are missing in this environment.

    Only a note: the daemon's environment may be another one.
    """
    environ = view.environ
    match source:
        case CredentialSource.EC2:
            if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true":
                return None
            text = "AWS_EC2_METADATA_DISABLED is true in this environment"
        case CredentialSource.ECS:
            if any(environ.get(name) for name in _CONTAINER_VARIABLES):
                return None
            text = "this environment has neither " + " nor ".join(_CONTAINER_VARIABLES)
        case _:
            if environ.get("AWS_ACCESS_KEY_ID"):
                return None
            text = "this environment has no AWS_ACCESS_KEY_ID"
    return _Problem(
        where,
        f"credential_source: {source}, but {text}",
        "nothing to do if the daemon's environment differs; `assumed check --live` tries it",
        is_note=True,
    )


def _problem_of_choice(_: Inspection, profile: AwsProfile) -> _Problem:
    return _Problem(
        _where(profile, used_by_botocore(profile)),
        f"profile {profile.name}: AWS tools use none of its credentials: a role_arn requires one "
        "of source_profile, credential_source and web_identity_token_file, and a token file "
        "requires a role_arn",
        "add the missing key, or remove the one too many",
    )


def _problem_of_token_entry(_: Inspection, profile: AwsProfile) -> _Problem | None:
    entry = profile.entries[_TOKEN_KEY]
    return _problem_of_token(Path(expand_home(entry.value)), str(entry.location))


_PROBLEMS: Mapping[CredentialKind, Callable[[Inspection, AwsProfile], _Problem | None]] = {
    CredentialKind.NOTHING: _without_credentials,
    CredentialKind.KEYS: _problem_of_keys,
    CredentialKind.BROKEN: _problem_of_choice,
    CredentialKind.WEB_IDENTITY: _problem_of_token_entry,
    CredentialKind.SSO: _problem_of_sso,
    CredentialKind.LOGIN: _problem_of_login,
    CredentialKind.PROCESS: _problem_of_process,
}


def _token_of(profile: AwsProfile) -> str:
    entries = profile.credentials if profile.has_stored_keys else profile.config
    values = {key: entry.value for key, entry in entries.items()}
    if is_long_term(values):
        return ""
    return next((values[key] for key in _TOKENS if values.get(key)), "")


def _expiration(profile: AwsProfile) -> datetime | None:
    """Return the expiration that a tool has noted beside temporary keys; None if unclear.

    A time without a zone may be local or UTC, depending on the tool.
    """
    for key in _EXPIRATIONS:
        try:
            found = datetime.fromisoformat(profile.value(key) or "")
        except ValueError:
            continue
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    return None


def _is_fido(serial: str) -> bool:
    """Whether a serial is a FIDO security key's: `arn:aws:iam::ACCOUNT:u2f/…`.

    Source: IAM user guide, "Assigning FIDO2 security keys": they work for sign-in, and not with
    the API operations of STS.
    """
    return ":u2f/" in serial


def _where(profile: AwsProfile, choice: CredentialChoice) -> str:
    return str(profile.location if choice.decided_by is None else choice.decided_by.location)


def limits_roles_to_an_hour(view: Inspection, source: RootSource) -> str | None:
    """Return why STS issues no session of over an hour to a source; None if it may.

    Source: IAM user guide, "Role chaining": an hour at most for a role that is assumed with the
    credentials of a role; and "Comparing AWS STS API operations" for GetSessionToken.
    """
    match source:
        case MfaSession():
            return "it is assumed from a session of GetSessionToken (mfa_serial)"
        case CredentialSource.EC2 | CredentialSource.ECS:
            return f"{source} is a role itself, and STS limits chained roles"
        case SourceProfile(name) if (profile := view.files.profiles.get(name)) is not None:
            kind = used_by_botocore(profile).kind
            if kind is CredentialKind.SSO:
                return f"the SSO login of profile {name} is a role itself, which STS chains"
            if kind in {CredentialKind.ROLE, CredentialKind.WEB_IDENTITY}:
                return f"profile {name} is a role itself, and STS limits chained roles"
            if kind is CredentialKind.KEYS and _token_of(profile):
                return f"the keys of profile {name} are those of a session"
    return None
