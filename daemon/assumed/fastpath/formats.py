"""Credentials as text: what `credential_process` reads, and what each shell evaluates.

Names and lines are those of `aws configure export-credentials`; unlike it, what a shell would take
for more than a value is quoted. As all that `quick` needs, this imports nothing.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "AccessKeyId",
    "AWS_SECRET_ACCESS_KEY": "SecretAccessKey",
    "AWS_SESSION_TOKEN": "SessionToken",
    "AWS_CREDENTIAL_EXPIRATION": "Expiration",
}
_PROCESS_KEYS = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration", "AccountId")
_PLAIN_TO_SHELLS = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-.,:@"
)
# PowerShell takes typographic quotes for quotes too (CharExtensions.IsDoubleQuote).
_SPECIAL_TO_POWERSHELL = frozenset('`$"\u201c\u201d\u201e')
_SPECIAL_TO_CMD = frozenset("&|<>^()")


def formatted(credentials: "Mapping[str, str]", shape: str) -> str:
    """Return credentials as the text that `--format` asks for, with its last line feed.

    Args:
        credentials: by the names of a credential process: `AccessKeyId`, `SecretAccessKey`,
            `SessionToken`, `Expiration`, `AccountId`.
        shape: one of `FORMATS`.

    Raises:
        ValueError: a value with a line feed or another control character, which ends a line in
            every shell.
    """
    if not all(credentials[key].isprintable() for key in _PROCESS_KEYS):
        raise ValueError("a control character in credentials")
    return FORMATS[shape](credentials)


def _process(credentials: "Mapping[str, str]") -> str:
    lines = [f'  "{key}": {_json_text(credentials[key])}' for key in _PROCESS_KEYS]
    return "{\n" + ",\n".join(['  "Version": 1', *lines]) + "\n}\n"


def _lines(line: "Callable[[str, str], str]") -> "Callable[[Mapping[str, str]], str]":
    return lambda credentials: "".join(
        line(name, credentials[key]) + "\n" for name, key in _VARIABLES.items()
    )


def _json_text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _posix(value: str) -> str:
    """Quote for sh, bash and zsh: nothing is special between single quotes but the end of them."""
    if value and _PLAIN_TO_SHELLS.issuperset(value):
        return value
    return "'" + value.replace("'", "'\\''") + "'"


def _fish(value: str) -> str:
    """Quote for fish: between double quotes a backslash, `"` and `$` are special."""
    return '"' + "".join(f"\\{char}" if char in '\\"$' else char for char in value) + '"'


def _powershell(value: str) -> str:
    """Quote for PowerShell, whose escape is the backtick."""
    special = _SPECIAL_TO_POWERSHELL
    return '"' + "".join(f"`{char}" if char in special else char for char in value) + '"'


def _cmd(name: str, value: str) -> str:
    """Return the line for a batch file of cmd.

    `set "NAME=VALUE"` takes all up to the last quote; each quote before it turns the meaning of
    `&` and its like on or off; and `%` is a variable anywhere, unless it is doubled.
    """
    if value and _PLAIN_TO_SHELLS.issuperset(value):
        return f"set {name}={value}"
    written, is_quoted = "", True
    for char in value:
        is_quoted ^= char == '"'
        written += "^" if char in _SPECIAL_TO_CMD and not is_quoted else ""
        written += "%%" if char == "%" else char
    return f'set "{name}={written}"'


FORMATS: "Mapping[str, Callable[[Mapping[str, str]], str]]" = {
    "process": _process,
    "env": _lines(lambda name, value: f"export {name}={_posix(value)}"),
    "env-no-export": _lines(lambda name, value: f"{name}={_posix(value)}"),
    "fish": _lines(lambda name, value: f"set -gx {name} {_fish(value)}"),
    "powershell": _lines(lambda name, value: f"$Env:{name}={_powershell(value)}"),
    "windows-cmd": _lines(_cmd),
}
