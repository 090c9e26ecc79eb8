"""The environment variables of a command under `assumed exec`: a table by client.

Each SDK has its own order of credential providers and its own variables. The table names, for each
variable, the clients that read it and why `exec` sets or removes it.

Source: botocore/credentials.py, `create_credential_resolver` (a test checks it with botocore); the
others were found by running the clients beside a `[default]` profile with long-term keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from assumed import paths
from assumed.fastpath.formats import VARIABLES
from assumed.fsutil import MAX_AWS_FILE_BYTES, read_file
from assumed.models import EndpointAddress
from assumed.server.http import LOOPBACK

_OUTER = "ASSUMED_OUTER_"
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
# What `exec` replaces and `assumed` itself reads, so that it can be restored.
_RESTORED = (*paths.AWS_FILES, *_REGIONS, "AWS_EC2_METADATA_DISABLED")


@dataclass(frozen=True, slots=True)
class ExecContext:
    """What the values of the variables depend on.

    Args:
        environ: the environment of the user.
        config: replaces the AWS config file of the user.
        credentials: replaces the credentials file of the user; empty.
        provided: an endpoint, or credentials for one session by the names of a credential process.
        region: of the profile; None if it has none.
    """

    environ: Mapping[str, str]
    config: Path
    credentials: Path
    provided: EndpointAddress | Mapping[str, str]
    region: str | None = None

    def endpoint_url(self) -> str | None:
        """Return the URL of the endpoint; None with `--env`."""
        return self.provided.url if isinstance(self.provided, EndpointAddress) else None

    def token_file(self) -> str | None:
        """Return the token file of the endpoint; None with `--env`."""
        return str(self.provided.token_file) if isinstance(self.provided, EndpointAddress) else None

    def token(self) -> str | None:
        """Return the token of the endpoint; None with `--env`.

        Raises:
            OSError: the token file cannot be read.
        """
        if isinstance(self.provided, EndpointAddress):
            return self.provided.token_file.read_text()
        return None

    def static(self, name: str) -> str | None:
        """Return a value of static credentials; None without `--env`."""
        return None if isinstance(self.provided, EndpointAddress) else self.provided[name]

    def user_value(self, name: str) -> str | None:
        """Return the value that the user has set."""
        return self.environ.get(name)


Value = Callable[[ExecContext, str], str | None]
"""Returns the value of the variable with this name; None removes it."""


@dataclass(frozen=True, slots=True)
class Row:
    """Variables that `exec` sets or removes.

    Args:
        clients: who reads them.
        reason: why they are set or removed.
        names: the variables.
        value: their value; by default they are removed.
    """

    clients: str
    reason: str
    names: tuple[str, ...]
    value: Value = lambda _context, _name: None


def _credentials_file(context: ExecContext, _: str) -> str:
    return str(context.credentials)


def _region(context: ExecContext, name: str) -> str | None:
    if any(each in context.environ for each in _REGIONS):
        return context.user_value(name)
    return context.region


def _boto_2_file(context: ExecContext, name: str) -> str | None:
    for path in paths.boto_2_files(context.environ):
        with suppress(OSError):
            if b"aws_access_key_id" in read_file(Path(path), max_bytes=MAX_AWS_FILE_BYTES).lower():
                return str(context.credentials)
    return context.user_value(name)


def _no_proxy(context: ExecContext, name: str) -> str | None:
    if context.endpoint_url() is None:
        return context.user_value(name)
    present = context.environ.get("no_proxy") or context.environ.get("NO_PROXY") or ""
    if present.strip() == "*" or LOOPBACK in (each.strip() for each in present.split(",")):
        return present
    return f"{present},{LOOPBACK}" if present else LOOPBACK


TABLE: tuple[Row, ...] = (
    Row(
        "all SDKs",
        "keys and their account come before an endpoint; with `--env` they are set",
        (*VARIABLES, "AWS_ACCOUNT_ID"),
        lambda context, name: context.static(VARIABLES[name]) if name in VARIABLES else None,
    ),
    Row(
        "Java SDK v1, Go SDK v1",
        "older names of the keys",
        ("AWS_ACCESS_KEY", "AWS_SECRET_KEY"),
    ),
    Row(
        "boto 2",
        "knows the session token by its older name only",
        ("AWS_SECURITY_TOKEN",),
        lambda context, _: context.static("SessionToken"),
    ),
    Row(
        "all SDKs",
        "a profile of the user is not in the AWS files of the command",
        ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
    ),
    Row(
        "all SDKs",
        "a web identity comes before an endpoint",
        ("AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    ),
    Row(
        "botocore, old EC2 command line tools",
        "a file with keys comes before an endpoint",
        ("AWS_CREDENTIAL_FILE",),
    ),
    Row(
        "botocore",
        "prefers the keys in a file of boto 2 to an endpoint",
        ("BOTO_CONFIG",),
        _boto_2_file,
    ),
    Row(
        "all SDKs",
        "the AWS config file with the settings of the profile alone",
        ("AWS_CONFIG_FILE",),
        lambda context, _: str(context.config),
    ),
    Row(
        "all SDKs",
        "the keys in the credentials file of the user come before an endpoint",
        ("AWS_SHARED_CREDENTIALS_FILE",),
        _credentials_file,
    ),
    Row(
        "JavaScript SDK v2, Go SDK v1",
        "read the AWS config file, and the JavaScript SDK v2 the variables of both AWS files too, "
        "only with this variable",
        ("AWS_SDK_LOAD_CONFIG",),
        lambda _context, _name: "1",
    ),
    Row(
        "Java SDK v1",
        "its own name for AWS_SHARED_CREDENTIALS_FILE",
        ("AWS_CREDENTIAL_PROFILES_FILE",),
        _credentials_file,
    ),
    Row(
        "GDAL, QGIS, rasterio",
        "their own name for AWS_SHARED_CREDENTIALS_FILE",
        ("CPL_AWS_CREDENTIALS_FILE",),
        _credentials_file,
    ),
    Row(
        "JavaScript SDK v2, opendal",
        "use the role of the EC2 instance if the endpoint does not answer for a moment",
        ("AWS_EC2_METADATA_DISABLED",),
        lambda _context, _name: "true",
    ),
    Row(
        "obstore, deltalake, restic, htslib, JavaScript SDK v2, Go SDK v1",
        "do not read the region from the AWS config file",
        _REGIONS,
        _region,
    ),
    Row(
        "all SDKs",
        "another endpoint comes first",
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",),
    ),
    Row(
        "all SDKs",
        "the endpoint",
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI",),
        lambda context, _: context.endpoint_url(),
    ),
    Row(
        "SDKs since 2024",
        "the token of the endpoint, which changes when the daemon restarts",
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",),
        lambda context, _: context.token_file(),
    ),
    Row(
        "SDKs from before 2024, JavaScript SDK v2, Java SDK v1, Go SDK v1",
        "do not support the token file",
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN",),
        lambda context, _: context.token(),
    ),
    Row(
        "curl, Python, Go, Perl and all that use an HTTP proxy",
        "the proxy would receive the token; some read only one of the two variables, and most "
        "prefer the lower-case one",
        ("NO_PROXY", "no_proxy"),
        _no_proxy,
    ),
)
"""What `exec` sets and removes."""


def child_environ(context: ExecContext) -> dict[str, str]:
    """Return the environment of a command.

    Raises:
        OSError: the token file cannot be read.
    """
    user = restored_environ(context.environ)
    context = ExecContext(
        user, context.config, context.credentials, context.provided, context.region
    )
    child = dict(user)
    for name in _RESTORED:
        child[_OUTER + name] = user.get(name, "")
    for row in TABLE:
        for name in row.names:
            value = row.value(context, name)
            if value is None:
                child.pop(name, None)
            else:
                child[name] = value
    return child


def original_environ(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return the user's values of the variables that `exec` replaced and that `assumed` reads.

    Used if this program is started under `assumed exec`. Elsewhere the result is empty. A variable
    that was not set has botocore's default, or None if it has none.
    """
    return {
        name: environ[_OUTER + name] or paths.AWS_FILES.get(name)
        for name in _RESTORED
        if _OUTER + name in environ
    }


def restored_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with the user's values of the variables that `exec` replaced."""
    restored = {**environ, **original_environ(environ)}
    return {name: value for name, value in restored.items() if value is not None}
