"""Credentials as text: the output of a credential process, and assignments for each shell.

Names and lines are those of `aws configure export-credentials`, which does not quote values;
here, special characters of the shell are quoted.
"""

from assumed.fastpath.credentials_reader import FILE_KEYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PROCESS_VERSION = 1
"""`Version` in the output of a credential process."""
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "AccessKeyId",
    "AWS_SECRET_ACCESS_KEY": "SecretAccessKey",
    "AWS_SESSION_TOKEN": "SessionToken",
    "AWS_CREDENTIAL_EXPIRATION": "Expiration",
}
"""The environment variables of the SDKs, and the keys of a credential process."""

_NEEDS_NO_QUOTES = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-.,:@"
)
# PowerShell accepts typographic quotes as quotes too (CharExtensions.IsDoubleQuote).
_SPECIAL_IN_POWERSHELL = frozenset('`$"\u201c\u201d\u201e')
_SPECIAL_IN_CMD = frozenset("&|<>^()")


def format_credentials(credentials: "Mapping[str, str]", output_format: str) -> str:
    """Return credentials as text, with a final line feed.

    Args:
        credentials: by credential process key: `AccessKeyId`, `SecretAccessKey`, `SessionToken`,
            `Expiration`, `AccountId`.
        output_format: one of `FORMATS`.

    Raises:
        ValueError: a value contains a line feed or another control character, which ends a line
            in every shell.
    """
    if not all(credentials[key].isprintable() for key in FILE_KEYS):
        raise ValueError("a control character in credentials")
    return FORMATS[output_format](credentials)


def _format_process(credentials: "Mapping[str, str]") -> str:
    lines = [f'  "{key}": {_quote_json(credentials[key])}' for key in FILE_KEYS]
    return "{\n" + ",\n".join([f'  "Version": {PROCESS_VERSION}', *lines]) + "\n}\n"


def _assignments(format_line: "Callable[[str, str], str]") -> "Callable[[Mapping[str, str]], str]":
    return lambda credentials: "".join(
        format_line(name, credentials[key]) + "\n" for name, key in VARIABLES.items()
    )


def _quote_json(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _quote_posix(value: str) -> str:
    """Quote for sh, bash and zsh: between single quotes only the single quote is special."""
    # zsh expands `=ls` to the path of a program, at the start and after a colon.
    if value and _NEEDS_NO_QUOTES.issuperset(value) and value[0] != "=" and ":=" not in value:
        return value
    return "'" + value.replace("'", "'\\''") + "'"


def _quote_fish(value: str) -> str:
    """Quote for fish: between double quotes a backslash, `"` and `$` are special."""
    return '"' + "".join(f"\\{char}" if char in '\\"$' else char for char in value) + '"'


def _quote_powershell(value: str) -> str:
    """Quote for PowerShell, whose escape character is the backtick."""
    special = _SPECIAL_IN_POWERSHELL
    return '"' + "".join(f"`{char}" if char in special else char for char in value) + '"'


def _assign_cmd(name: str, value: str) -> str:
    """Return an assignment for a batch file of cmd.

    `set "NAME=VALUE"` takes everything up to the last quote; each quote before it switches the
    meaning of `&` and similar characters on or off; `%` starts a variable unless it is doubled.
    """
    if value and _NEEDS_NO_QUOTES.issuperset(value):
        return f"set {name}={value}"
    escaped, is_quoted = "", True
    for char in value:
        is_quoted ^= char == '"'
        escaped += "^" if char in _SPECIAL_IN_CMD and not is_quoted else ""
        escaped += "%%" if char == "%" else char
    return f'set "{name}={escaped}"'


FORMATS: "Mapping[str, Callable[[Mapping[str, str]], str]]" = {
    "process": _format_process,
    "env": _assignments(lambda name, value: f"export {name}={_quote_posix(value)}"),
    "env-no-export": _assignments(lambda name, value: f"{name}={_quote_posix(value)}"),
    "fish": _assignments(lambda name, value: f"set -gx {name} {_quote_fish(value)}"),
    "powershell": _assignments(lambda name, value: f"$Env:{name}={_quote_powershell(value)}"),
    "windows-cmd": _assignments(_assign_cmd),
}
