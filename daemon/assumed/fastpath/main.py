"""The commands that SDKs and shell prompts start again and again.

Every SDK starts `assumed export-credentials` at each use of a `credential_process`, each prompt
starts `assumed status --format`, and scripts start `assumed status --json`. The credentials file or
the daemon answers them here. `cli` does the rest: help, usage errors, and assuming a role in this
process.

README.md states what this package may import and cost; tests/integration/test_export.py holds it
to that.
"""

import os
import sys

from assumed.fastpath.credentials_reader import (
    CredentialsReader,
    is_complete,
    read_configuration,
    remaining_seconds,
)
from assumed.paths import configuration_files, expand_home, state_directory, user_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeVar

    from assumed.fastpath.unix_http import Response

    T = TypeVar("T")

FRESH_SECONDS = 21 * 60
"""How long credentials should last when an SDK gets them.

SDKs choose how long before the expiration they fetch again by what remains at the fetch: 5 minutes
if it is 20 minutes or less, 15 if it is less than 90, else 60. After a failed fetch they wait for 5
to 10 minutes, so with 20 minutes or less, one failed fetch can be the end of the session. The
minute on top is for the transfer, and for the difference between two clocks.
"""
MIN_SECONDS = 60
"""Credentials with less remaining are never printed."""
STATUS_FIELDS = ("profile", "state", "minutes_left", "seconds_left", "expires_at")

_FAILED, _WRONG_USAGE = 1, 2
# The codes of assumed.errors, which is too slow to import here.
_USAGE, _UNREACHABLE = "Usage", "DaemonUnreachable"
# A refresh may take long; a prompt must not.
_CREDENTIALS_TIMEOUT_SECONDS, _STATUS_TIMEOUT_SECONDS = 120.0, 5.0
_OK, _NOT_FOUND, _CONFLICT = 200, 404, 409
_FAILED_STATES = ("failing", "expired", "needs-login")
_COMMON_OPTIONS = {
    "--config": None,
    "--log-level": ("debug", "info", "warning", "error"),
    "--log-format": ("text", "json"),
    "--log-file": None,
}
_POSITIONAL = ""
# The profiles that this process and its ancestors are exporting.
_CHAIN_VARIABLE = "ASSUMED_EXPORTING"
_locked_profiles: set[str] = set()


class CommandFailedError(Exception):
    """What a command prints instead of a result.

    Args:
        message: what happened.
        hint: what to do about it.
        code: that of `assumed.errors`.
        status: the exit status of the command.
    """

    def __init__(
        self, message: str, *, hint: str, code: str = _UNREACHABLE, status: int = _FAILED
    ) -> None:
        super().__init__(message)
        self.message, self.hint, self.code, self.status = message, hint, code, status

    @property
    def text(self) -> str:
        """The error as `cli.output` prints errors."""
        from assumed.text import printable_lines  # noqa: PLC0415 - only a failure needs it

        return printable_lines(f"assumed: {self.code}: {self.message}\n  {self.hint}")


def main(arguments: "Sequence[str]") -> int | None:
    """Run a command line; return its exit status, or None if `cli` has to run it."""
    try:
        text, status = _dispatch(*arguments)
        if text is None:
            return None
        # A template may hold bytes that are not text in this locale: they are printed unchanged.
        sys.stdout.buffer.write(os.fsencode(text))
        sys.stdout.flush()
    except CommandFailedError as error:
        sys.stderr.write(f"{error.text}\n")
        return error.status
    except BrokenPipeError:
        # The reader has closed the pipe; the interpreter's last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    return status


def export_credentials(profile: str, output_format: str, *, config: str | None) -> str | None:
    """Return a profile's credentials as text, from the credentials file or from the daemon.

    If neither has them, wait for a lock, so that only one of many processes assumes the role and
    the others read its session from the file.

    Args:
        profile: a name.
        output_format: one of `formats.FORMATS`.
        config: `--config`.

    Returns:
        None if the caller has to assume the role itself; this process then holds the lock.

    Raises:
        CommandFailedError: there are no valid credentials.
    """
    from assumed.fastpath.formats import FORMATS, format_credentials  # noqa: PLC0415 - not for `status`

    if not profile or output_format not in FORMATS:
        return None
    credentials = _from_file(profile, config, FRESH_SECONDS) or _from_daemon(profile, config)
    if credentials is None:
        _acquire_export_lock(profile)
        credentials = _from_file(profile, config, FRESH_SECONDS)
    return None if credentials is None else format_credentials(credentials, output_format)


def format_status(
    template: str, profiles: "Sequence[str]", *, config: str | None
) -> tuple[str | None, int]:
    """Return a line for each profile, and the exit status.

    Reads from the daemon, or from the credentials file if no daemon is running.

    Args:
        template: a line with `STATUS_FIELDS` in braces; `{{` and `}}` stand for braces.
        profiles: names; empty for all.
        config: `--config`.

    Raises:
        CommandFailedError: an unknown field, or a profile that the daemon does not know.
    """
    response = _request_status(profiles, config)
    if response is None:
        reader = CredentialsReader(os.environ)
        rows = [_status_from_file(reader, name) for name in profiles or reader.profiles()]
        return _format_rows(template, rows)
    return _decode(response, lambda body: _format_rows(template, body["profiles"]))


def status_json(profiles: "Sequence[str]", *, config: str | None) -> tuple[str | None, int]:
    """Return the status from the daemon as JSON, one profile on a line, and the exit status.

    Args:
        profiles: names; empty for all.
        config: `--config`.

    Returns:
        None instead of the text if no daemon is running.

    Raises:
        CommandFailedError: a profile that the daemon does not know.
    """
    response = _request_status(profiles, config)
    return (None, 0) if response is None else _decode(response, _format_json)


def _format_json(status: "dict[str, Any]") -> tuple[str, int]:
    from assumed.fastpath.unix_http import to_json  # noqa: PLC0415 - the file needs none

    rows = status.pop("profiles")
    head = to_json(status).removesuffix("}")
    lines = ",\n".join(f"  {to_json(row)}" for row in rows)
    return f'{head}, "profiles": [\n{lines}\n]}}\n', _exit_status(rows)


def _format_rows(template: str, rows: "Sequence[Mapping[str, Any]]") -> tuple[str, int]:
    lines = [f"{_fill_template(template, row)}\n" for row in rows]
    return "".join(lines), _exit_status(rows)


def _exit_status(rows: "Sequence[Mapping[str, Any]]") -> int:
    return int(any(row["state"] in _FAILED_STATES for row in rows))


def _from_file(profile: str, config: str | None, min_seconds: int) -> "dict[str, str] | None":
    files = configuration_files(os.environ, config)
    changed_at, configuration = read_configuration(files)
    credentials = None
    # If it is named, the file was likely written for the usual one, with other profiles.
    if len(files) != 1:
        reader = CredentialsReader(os.environ, newer_than=changed_at, configuration=configuration)
        credentials = reader.credentials(profile)
    if credentials is None:
        from assumed.fastpath.checked_sessions import (  # noqa: PLC0415 - most commands need none
            checked_principal,
        )

        principal_arn = checked_principal(os.environ, files, changed_at, profile)
        if principal_arn is None:
            return None
        credentials = CredentialsReader(os.environ, principal_arn=principal_arn).credentials(
            profile
        )
    if credentials is None or remaining_seconds(credentials) < min_seconds:
        return None
    return credentials


def _from_daemon(profile: str, config: str | None) -> "dict[str, str] | None":
    """Return the credentials that the daemon has; None if none runs with this configuration."""
    query = {"profile": profile, "min_left": FRESH_SECONDS}
    try:
        response = _request("/v1/credentials", query, config, _CREDENTIALS_TIMEOUT_SECONDS)
    except CommandFailedError:
        # Credentials that are still valid are better than an error.
        credentials = _from_file(profile, config, MIN_SECONDS)
        if credentials is None:
            raise
        return credentials
    if response is None:
        return None
    credentials = _decode(response, _require_complete)
    if remaining_seconds(credentials) <= 0:
        raise CommandFailedError(
            f"profile {profile}: its credentials, valid by the clock of STS, expired at "
            f"{credentials['Expiration']} by this machine's clock",
            hint="set the clock (see `timedatectl status`): AWS rejects requests with a wrong time",
            code="ClockSkewed",
        )
    return credentials


def _require_complete(credentials: "dict[str, str]") -> "dict[str, str]":
    if not is_complete(credentials):
        raise ValueError("incomplete credentials")
    return credentials


def _request_status(profiles: "Sequence[str]", config: str | None) -> "Response | None":
    return _request("/v1/status", {"profile": list(profiles)}, config, _STATUS_TIMEOUT_SECONDS)


def _request(
    target: str, query: "Mapping[str, object]", config: str | None, timeout_seconds: float
) -> "Response | None":
    """Return the daemon's response; None if no daemon runs with this configuration."""
    from assumed.fastpath.unix_http import DaemonNotAnsweringError, request_json  # noqa: PLC0415

    path = os.path.abspath(expand_home(config)) if config else None  # noqa: PTH100
    try:
        response = request_json(
            os.environ,
            user_name(),
            target,
            {**query, "config": path},
            timeout_seconds=timeout_seconds,
        )
    except DaemonNotAnsweringError as error:
        raise CommandFailedError(error.message, hint=error.hint) from error
    if response is None or response.status in {_NOT_FOUND, _CONFLICT}:
        return None
    if response.status != _OK:
        raise _decode(response, _rejection)
    return response


def _rejection(body: "Mapping[str, Mapping[str, str]]") -> CommandFailedError:
    error = body["error"]
    code = error["code"]
    status = _WRONG_USAGE if code == _USAGE else _FAILED
    return CommandFailedError(error["message"], hint=error["hint"], code=code, status=status)


def _decode(response: "Response", decode: "Callable[[Any], T]") -> "T":
    """Return what `decode` makes of the response.

    Raises:
        CommandFailedError: the response is not of the expected form.
    """
    from assumed.fastpath.unix_http import describe_failure  # noqa: PLC0415 - the file needs none

    try:
        return decode(response.body)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        message, hint = describe_failure(response.path, error)
        raise CommandFailedError(message, hint=hint) from error


def _acquire_export_lock(profile: str) -> None:
    """Wait until no other process assumes this role; the lock ends with this process."""
    import fcntl  # noqa: PLC0415 - not needed if the file or the daemon has the credentials
    from hashlib import sha256  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from assumed.fsutil import create_directory, open_or_create  # noqa: PLC0415

    if profile in _locked_profiles:
        return
    _locked_profiles.add(profile)
    chain = os.environ.get(_CHAIN_VARIABLE, "").split()
    if profile in chain:
        raise CommandFailedError(
            f"profile {profile} is its own source: {' -> '.join([*chain, profile])}",
            hint="the credential_process of its source_profile exports this profile: name another "
            "source_profile",
            code="SourceMissing",
        )
    # For the credential_process of the source profile, which this process may start.
    os.environ[_CHAIN_VARIABLE] = " ".join([*chain, profile])
    directory = Path(state_directory(os.environ))
    try:
        create_directory(directory)
        descriptor = open_or_create(directory / "export.lock")
        # One byte for each profile, so that a profile waits neither for the endpoint of another
        # one, nor for itself if it is the source of another.
        byte = int.from_bytes(sha256(os.fsencode(profile)).digest()[:7], "big")
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, byte)
    except OSError:
        # For example a read-only home directory: each process then assumes the role itself.
        return


def _dispatch(command: str, *arguments: str) -> tuple[str | None, int]:
    """Return the output and the exit status; None instead of the output if `cli` has to run."""
    if command == "export-credentials":
        options = _parse_options(arguments, ("--profile", "--format"))
        if options is None or options[_POSITIONAL]:
            return None, 0
        profile, config = _last_value(options, "--profile"), _last_value(options, "--config")
        output_format = _last_value(options, "--format") or "process"
        return export_credentials(profile or "", output_format, config=config), 0
    if "--json" in arguments:
        options = _parse_options([word for word in arguments if word != "--json"], ())
        if options is None:
            return None, 0
        return status_json(options[_POSITIONAL], config=_last_value(options, "--config"))
    options = _parse_options(arguments, ("--format",))
    template = None if options is None else _last_value(options, "--format")
    if options is None or template is None:
        return None, 0
    return format_status(template, options[_POSITIONAL], config=_last_value(options, "--config"))


def _parse_options(arguments: "Sequence[str]", own: tuple[str, ...]) -> dict[str, list[str]] | None:
    """Return the values of each option, and the positional arguments under the empty name.

    None if click has to parse them: for help, usage errors and other options.
    """
    options: dict[str, list[str]] = {_POSITIONAL: []}
    words = iter(arguments)
    for word in words:
        if not word.startswith("-"):
            options[_POSITIONAL].append(word)
            continue
        name, equals, value = word.partition("=")
        if name not in own and name not in _COMMON_OPTIONS:
            return None
        if not equals:
            value = next(words, "")
        choices = _COMMON_OPTIONS.get(name)
        if not value or (choices is not None and value not in choices):
            return None
        options.setdefault(name, []).append(value)
    return options


def _last_value(options: "Mapping[str, Sequence[str]]", name: str) -> str | None:
    return options[name][-1] if name in options else None


def _status_from_file(reader: CredentialsReader, profile: str) -> "dict[str, Any]":
    credentials = reader.credentials(profile)
    if credentials is None:
        return {"profile": profile, "state": "pending", "seconds_left": 0, "expires_at": None}
    remaining = remaining_seconds(credentials)
    return {
        "profile": profile,
        "state": "valid" if remaining > 0 else "expired",
        "seconds_left": max(0, remaining),
        "expires_at": credentials["Expiration"],
    }


def _printable(text: str) -> str:
    """Return text without control characters; see `assumed.text.printable`."""
    if text.isprintable():
        return text
    from assumed.text import printable  # noqa: PLC0415 - rarely needed

    return printable(text)


def _fill_template(template: str, row: "Mapping[str, Any]") -> str:
    """Fill in the fields; `str.format` would let a template read attributes of any object."""
    remaining = row["seconds_left"] or 0
    values = {
        "profile": _printable(str(row["profile"])),
        "state": row["state"],
        "minutes_left": str(remaining // 60),
        "seconds_left": str(remaining),
        "expires_at": row["expires_at"] or "-",
    }
    filled, position = "", 0
    while position < len(template):
        if template.startswith(("{{", "}}"), position):
            filled, position = filled + template[position], position + 2
        elif template[position] == "{":
            name, brace, _ = template[position + 1 :].partition("}")
            if not brace or name not in values:
                raise CommandFailedError(
                    f"--format: there is no field {{{name}}}",
                    hint=f"the fields are {', '.join(f'{{{field}}}' for field in values)}",
                    code=_USAGE,
                    status=_WRONG_USAGE,
                )
            filled, position = filled + values[name], position + len(name) + 2
        else:
            filled, position = filled + template[position], position + 1
    return filled
