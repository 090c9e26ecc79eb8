"""Paths that environment variables decide; no other module reads these variables.

Variables of AWS and of assumed itself follow botocore's rule (`configloader.raw_config_parse`):
`$VAR` and `${VAR}` are expanded, then `~` and `~user`, and a relative path is relative to the
working directory. An empty value names no file. Variables of the XDG Base Directory Specification
are never expanded, and a relative path in them is ignored.

The fast path imports this module, so it imports nothing but `os`, and paths are plain text.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SOCKET_PATH_BYTES = 107
"""sockaddr_un(7): 108 bytes with the final NUL."""

AWS_FILES = {
    "AWS_CONFIG_FILE": "~/.aws/config",
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
}
"""The variables that name the AWS files, and the default of each."""

_LOGIN_CACHES = {
    "sso": (None, "~/.aws/sso/cache"),
    "login": ("AWS_LOGIN_CACHE_DIRECTORY", "~/.aws/login/cache"),
}
_BOTO_2_FILES = ("/etc/boto.cfg", "~/.boto")
_SYSTEM_CONFIGURATION = "/etc/assumed/config.yaml"
_SYSTEM_RUNTIME_DIRECTORY = "/run/assumed"
_SOCKET = "assumed.sock"


def expand(path: str) -> str:
    """Expand variables, then the home directory, from this process's environment."""
    return expand_home(os.path.expandvars(path))


def expand_home(path: str) -> str:
    """Expand `~` and `~user` alone, as in command-line options and in the configuration.

    An unknown user stays as it is, as in botocore; `Path.expanduser` raises RuntimeError.
    """
    return os.path.expanduser(path)  # noqa: PTH111


def home_directory() -> str:
    """Return the home directory of this user; `~` if it is unknown."""
    return expand_home("~")


def is_home_known() -> bool:
    """Return whether `HOME` or the user database names the home directory of this user."""
    return home_directory() != "~"


def user_name() -> str:
    """Return the name of this user, or the number if it has no name, as in many containers."""
    import pwd  # noqa: PLC0415 - the fast path needs no name to read the credentials file

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def aws_config_file(environ: "Mapping[str, str]") -> str:
    """Return the AWS config file of the SDKs."""
    return _aws_file(environ, "AWS_CONFIG_FILE")


def aws_credentials_file(environ: "Mapping[str, str]") -> str:
    """Return the credentials file of the SDKs; empty if the variable is, and they read no file."""
    return _aws_file(environ, "AWS_SHARED_CREDENTIALS_FILE")


def login_cache_directory(environ: "Mapping[str, str]", kind: str) -> str:
    """Return where botocore and the AWS CLI keep the tokens of logins.

    Args:
        environ: may name it.
        kind: `sso` (`aws sso login`) or `login` (`aws login`).
    """
    variable, default = _LOGIN_CACHES[kind]
    return expand(environ.get(variable, default) if variable else default)


def boto_2_files(environ: "Mapping[str, str]") -> tuple[str, ...]:
    """Return where botocore looks for the keys of boto 2."""
    named = environ.get("BOTO_CONFIG")
    return tuple(map(expand, _BOTO_2_FILES if named is None else (named,)))


def configuration_files(
    environ: "Mapping[str, str]", explicit: str | None = None
) -> tuple[str, ...]:
    """Return where the configuration of assumed may be, in order; one path if it is named.

    Args:
        environ: names it (`ASSUMED_CONFIG`), or the directory (`XDG_CONFIG_HOME`).
        explicit: `--config`, in which the shell has expanded the variables.
    """
    if explicit:
        return (expand_home(explicit),)
    if named := environ.get("ASSUMED_CONFIG"):
        return (expand(named),)
    return f"{config_home(environ)}/assumed/config.yaml", _SYSTEM_CONFIGURATION


def config_home(environ: "Mapping[str, str]") -> str:
    """Return `$XDG_CONFIG_HOME`, or `~/.config`."""
    return _xdg_directory(environ, "XDG_CONFIG_HOME") or expand_home("~/.config")


def state_directory(environ: "Mapping[str, str]") -> str:
    """Return where assumed keeps its state: `$XDG_STATE_HOME/assumed`."""
    base = _xdg_directory(environ, "XDG_STATE_HOME") or expand_home("~/.local/state")
    return f"{base}/assumed"


def runtime_directory(environ: "Mapping[str, str]") -> str | None:
    """Return `$XDG_RUNTIME_DIR`; None if this environment belongs to no login session."""
    return _xdg_directory(environ, "XDG_RUNTIME_DIR")


def daemon_socket(environ: "Mapping[str, str]") -> str:
    """Return where a daemon with this environment listens.

    That is in `$RUNTIME_DIRECTORY`, which systemd sets for a unit (`/run/assumed/USER`), else in
    `$XDG_RUNTIME_DIR/assumed`, else in `run` in the state directory.
    """
    if of_unit := environ.get("RUNTIME_DIRECTORY"):
        return f"{of_unit.split(':')[0]}/{_SOCKET}"
    return _session_socket(environ) or _state_socket(environ)


def client_sockets(environ: "Mapping[str, str]", user: str) -> tuple[str, ...]:
    """Return where a client looks for the daemon of `user`, in order."""
    of_session = _session_socket(environ)
    of_unit = f"{_SYSTEM_RUNTIME_DIRECTORY}/{user}/{_SOCKET}"
    return *((of_session,) if of_session else ()), of_unit, _state_socket(environ)


def _aws_file(environ: "Mapping[str, str]", variable: str) -> str:
    return expand(environ.get(variable, AWS_FILES[variable]))


def _xdg_directory(environ: "Mapping[str, str]", variable: str) -> str | None:
    base = environ.get(variable, "")
    return base if base.startswith("/") else None


def _session_socket(environ: "Mapping[str, str]") -> str | None:
    base = runtime_directory(environ)
    return f"{base}/assumed/{_SOCKET}" if base else None


def _state_socket(environ: "Mapping[str, str]") -> str:
    return f"{state_directory(environ)}/run/{_SOCKET}"
