"""What programs and prompts start again and again, and nobody may feel.

`assumed export-credentials` is started by every SDK at every use of a `credential_process`,
`assumed status --format` by each prompt, `assumed status --json` by scripts. They are answered here
where the file or the daemon can; what is left to `cli` is help, mistakes in the usage, and to
assume a role in this very process.

Nothing here or in what is imported imports an SDK, or any part of the standard library that Python
has not loaded already; a test holds that, and bench/export.py measures what it brings.
"""

import os
import sys

from assumed.fastpath.credentials_reader import (
    CredentialsReader,
    configured,
    is_whole,
    seconds_left,
)
from assumed.paths import configuration_files, expand_home, state_directory, user_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

FRESH_SECONDS = 15 * 60
"""Under that, SDKs ask for new credentials at each use."""
LEAST_SECONDS = 60
STATUS_FIELDS = ("profile", "state", "minutes_left", "seconds_left", "expires_at")

_FAILED, _WRONG_USAGE, _INTERRUPTED = 1, 2, 130
# STS may hang; a prompt must not.
_CREDENTIALS_TIMEOUT_SECONDS, _STATUS_TIMEOUT_SECONDS = 120.0, 5.0
_OK, _NOT_FOUND, _CONFLICT = 200, 404, 409
_TROUBLE = ("failing", "expired", "needs-login")
_COMMON_OPTIONS = {
    "--config": None,
    "--log-level": ("debug", "info", "warning", "error"),
    "--log-format": ("text", "json"),
    "--log-file": None,
}
_CHAIN = "ASSUMED_EXPORTING"
_turns: set[str] = set()


class CommandFailedError(Exception):
    """What a command prints instead of a result: `status` is its exit status."""

    def __init__(self, message: str, *, hint: str, status: int = _FAILED) -> None:
        super().__init__(message)
        self.message, self.hint, self.status = message, hint, status


def main(arguments: "Sequence[str]") -> int | None:
    """Run a command line; return its exit status, or None where `cli` has to."""
    try:
        text, status = _run(*arguments)
        if text is None:
            return None
        # A template may hold bytes that are no text here: they go out as they came in.
        sys.stdout.buffer.write(os.fsencode(text))
        sys.stdout.flush()
    except CommandFailedError as error:
        # A message can hold what a server has said: nothing of it may steer the terminal.
        told = f"assumed: {error.message}\n  {error.hint}\n"
        sys.stderr.write("".join(c if c.isprintable() or c == "\n" else "?" for c in told))
        return error.status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; the interpreter's last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    return status


def export(profile: str, shape: str, *, config: str | None) -> str | None:
    """Return a profile's credentials as text, from the file or else from the daemon.

    Where neither has them the turn of this process is awaited, so that of many one alone assumes
    the role, and the others find what it wrote.

    Args:
        profile: a name.
        shape: one of `formats.FORMATS`.
        config: `--config`.

    Returns:
        None where the caller has to assume the role itself; it has its turn.

    Raises:
        CommandFailedError: there are no valid credentials.
    """
    from assumed.fastpath.formats import FORMATS, formatted  # noqa: PLC0415 - `status` needs none

    if not profile or shape not in FORMATS:
        return None
    credentials = _stored(profile, config, FRESH_SECONDS) or _from_daemon(profile, config)
    if credentials is None:
        _take_turn(profile)
        credentials = _stored(profile, config, FRESH_SECONDS)
    return None if credentials is None else formatted(credentials, shape)


def status_lines(
    template: str, profiles: "Sequence[str]", *, config: str | None
) -> tuple[str | None, int]:
    """Return a line for each profile, and the exit status.

    The daemon tells; where none runs, the file does, of the profiles in it.

    Args:
        template: a line, with `STATUS_FIELDS` in braces; `{{` and `}}` stand for braces.
        profiles: names; none for all.
        config: `--config`.

    Raises:
        CommandFailedError: a field that is not there, or a profile that the daemon does not know.
    """
    query = {"profile": list(profiles), "config": config}
    answer = _ask("/v1/status", query, _STATUS_TIMEOUT_SECONDS)
    if answer is None:
        glance = CredentialsReader(os.environ)
        rows = [_glanced(glance, name) for name in profiles or glance.profiles()]
    else:
        rows = answer["profiles"]
    lines = [_filled(template, row) for row in rows]
    return "".join(f"{line}\n" for line in lines), int(
        any(row["state"] in _TROUBLE for row in rows)
    )


def status_json(profiles: "Sequence[str]", *, config: str | None) -> tuple[str | None, int]:
    """Return what the daemon tells as JSON, a line for each profile, and the exit status.

    Args:
        profiles: names; none for all.
        config: `--config`.

    Returns:
        None in place of the text where no daemon runs.

    Raises:
        CommandFailedError: a profile that the daemon does not know.
    """
    from assumed.fastpath.unix_http import to_json  # noqa: PLC0415 - not needed where the file answers

    query = {"profile": list(profiles), "config": config}
    answer = _ask("/v1/status", query, _STATUS_TIMEOUT_SECONDS)
    if answer is None:
        return None, 0
    rows = answer.pop("profiles")
    head = to_json(answer).removesuffix("}")
    lines = ",\n".join(f"  {to_json(row)}" for row in rows)
    text = f'{head}, "profiles": [\n{lines}\n]}}\n'
    return text, int(any(row["state"] in _TROUBLE for row in rows))


def _stored(profile: str, config: str | None, least: int) -> "dict[str, str] | None":
    files = configuration_files(os.environ, config)
    if len(files) == 1:
        # It is named: the file was likely written by the usual one, whose profiles are others.
        return None
    changed_at, configuration = configured(files)
    glance = CredentialsReader(os.environ, newer_than=changed_at, configuration=configuration)
    credentials = glance.credentials(profile)
    if credentials is None or seconds_left(credentials) < least:
        return None
    return credentials


def _from_daemon(profile: str, config: str | None) -> "dict[str, str] | None":
    """Return what the daemon gives; None where none runs, or not with this `--config`."""
    query = {"profile": profile, "min_left": FRESH_SECONDS, "config": config}
    try:
        answer: dict[str, str] | None = _ask("/v1/credentials", query, _CREDENTIALS_TIMEOUT_SECONDS)
    except CommandFailedError:
        # A daemon that is in a bad way is no reason to withhold what is valid.
        left = _stored(profile, config, LEAST_SECONDS)
        if left is None:
            raise
        return left
    if answer is None:
        return None
    if not is_whole(answer):
        raise CommandFailedError(
            f"profile {profile}: the daemon's answer makes no sense",
            hint="it may be of another version: restart it, `systemctl --user restart assumed`",
        )
    if seconds_left(answer) <= 0:
        raise CommandFailedError(
            f"profile {profile}: by this machine's clock its credentials expired at "
            f"{answer['Expiration']}, and by that of STS they are valid",
            hint="set the clock: `timedatectl status`; AWS refuses requests of another time",
        )
    return answer


def _ask(target: str, query: "Mapping[str, object]", timeout_seconds: float) -> "Any":
    """Return the daemon's answer; None where none runs, or not with this `--config`."""
    from assumed.fastpath.unix_http import DaemonNotAnsweringError, ask  # noqa: PLC0415

    config = query.get("config")
    named = {**query, "config": os.path.abspath(expand_home(str(config))) if config else None}  # noqa: PTH100
    try:
        answered = ask(os.environ, user_name(), target, named, timeout_seconds=timeout_seconds)
        if answered is None or answered[0] in {_NOT_FOUND, _CONFLICT}:
            return None
        status, answer = answered
        if status == _OK:
            return answer
        error = answer["error"]
        raise CommandFailedError(
            error["message"],
            hint=error["hint"],
            status=_WRONG_USAGE if error["code"] == "Usage" else _FAILED,
        )
    except DaemonNotAnsweringError as error:
        raise CommandFailedError(str(error), hint=error.hint) from error
    except (KeyError, TypeError) as error:
        raise CommandFailedError(
            "the daemon's answer makes no sense",
            hint="it may be of another version: restart it, `systemctl --user restart assumed`",
        ) from error


def _take_turn(profile: str) -> None:
    """Wait until no other process is about to assume this role; the turn ends with the process."""
    import fcntl  # noqa: PLC0415 - not needed where the file or the daemon has the answer
    from hashlib import sha256  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from assumed.fsutil import create_directory, open_or_create  # noqa: PLC0415

    if profile in _turns:
        return
    _turns.add(profile)
    chain = os.environ.get(_CHAIN, "").split()
    if profile in chain:
        raise CommandFailedError(
            f"profile {profile} is its own source: {' -> '.join([*chain, profile])}",
            hint="the credential_process of a source_profile leads back to it: name another one",
        )
    # For the credential_process of the source, which this process may start.
    os.environ[_CHAIN] = " ".join([*chain, profile])
    folder = Path(state_directory(os.environ))
    try:
        create_directory(folder)
        descriptor = open_or_create(folder / "export.lock")
        # One byte a profile, so that none waits for another's endpoint, nor for itself where the
        # source of one is another.
        byte = int.from_bytes(sha256(os.fsencode(profile)).digest()[:7], "big")
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, byte)
    except OSError:
        # Such as a home that can't be written: then each assumes for itself.
        return


def _run(command: str, *arguments: str) -> tuple[str | None, int]:
    if command == "export-credentials":
        options = _options(arguments, ("--profile", "--format"))
        if options is None or options[""]:
            return None, 0
        profile, shape = _last(options, "--profile"), _last(options, "--format")
        return export(profile or "", shape or "process", config=_last(options, "--config")), 0
    if "--json" in arguments:
        options = _options([word for word in arguments if word != "--json"], ())
        if options is None:
            return None, 0
        return status_json(options[""], config=_last(options, "--config"))
    options = _options(arguments, ("--format",))
    template = None if options is None else _last(options, "--format")
    if options is None or template is None:
        return None, 0
    return status_lines(template, options[""], config=_last(options, "--config"))


def _options(arguments: "Sequence[str]", own: tuple[str, ...]) -> dict[str, list[str]] | None:
    """Return the values of each option, and what is none under the empty name.

    None where click has to look: for help, for mistakes, for other options.
    """
    options: dict[str, list[str]] = {"": []}
    words = iter(arguments)
    for word in words:
        if not word.startswith("-"):
            options[""].append(word)
            continue
        name, equals, value = word.partition("=")
        if name not in own and name not in _COMMON_OPTIONS:
            return None
        if not equals:
            value = next(words, "")
        known = _COMMON_OPTIONS.get(name)
        if not value or (known is not None and value not in known):
            return None
        options.setdefault(name, []).append(value)
    return options


def _last(options: "Mapping[str, Sequence[str]]", name: str) -> str | None:
    return options[name][-1] if name in options else None


def _glanced(glance: CredentialsReader, profile: str) -> "dict[str, Any]":
    credentials = glance.credentials(profile)
    if credentials is None:
        return {"profile": profile, "state": "pending", "seconds_left": 0, "expires_at": None}
    left = seconds_left(credentials)
    return {
        "profile": profile,
        "state": "valid" if left > 0 else "expired",
        "seconds_left": max(0, left),
        "expires_at": credentials["Expiration"],
    }


def _filled(template: str, row: "Mapping[str, Any]") -> str:
    """Fill the fields in; `str.format` would let a template look into any object."""
    left = row["seconds_left"] or 0
    values = {
        "profile": row["profile"],
        "state": row["state"],
        "minutes_left": str(left // 60),
        "seconds_left": str(left),
        "expires_at": row["expires_at"] or "-",
    }
    filled, place = "", 0
    while place < len(template):
        if template.startswith(("{{", "}}"), place):
            filled, place = filled + template[place], place + 2
        elif template[place] == "{":
            name, brace, _ = template[place + 1 :].partition("}")
            if not brace or name not in values:
                raise CommandFailedError(
                    f"--format: there is no field {{{name}}}",
                    hint=f"fields are {', '.join(f'{{{field}}}' for field in values)}",
                    status=_WRONG_USAGE,
                )
            filled, place = filled + values[name], place + len(name) + 2
        else:
            filled, place = filled + template[place], place + 1
    return filled
