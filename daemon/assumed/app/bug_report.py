"""What a bug report needs: versions, platform, units, configuration, status and events.

Nothing in it is a secret. ARNs, account IDs and access key IDs are hidden unless they are wanted.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from assumed import __version__
from assumed.config.yaml_loader import YamlDocument
from assumed.logs import redact
from assumed.models import Status
from assumed.paths import home_directory
from assumed.platform.systemd.systemctl import complete_command
from assumed.server.serialization import status_to_json
from assumed.text import printable_lines

_EVENTS = 200
_TIMEOUT_SECONDS = 20
_LIBRARIES = (
    "boto3", "botocore", "urllib3", "APScheduler", "PyYAML", "pydantic", "click", "rich",
    "watchdog", "h11", "prometheus-client", "awscrt",
)  # fmt: skip
# Of a definition, what cannot be confidential. Of all other keys, only the names are printed.
_PLAIN_KEYS = frozenset(
    {
        "credential_source",
        "duration_seconds",
        "enabled",
        "fallback_regions",
        "mfa_duration_seconds",
        "overwrite",
        "refresh_before",
        "region",
        "role_arn",
        "source_profile",
        "store",
    }
)
_SHOWN = (
    "--property=LoadState,ActiveState,SubState,Result,UnitFileState,FragmentPath,DropInPaths,"
    "MainPID,NRestarts"
)
_VARIABLES = re.compile(r"AWS_\w+|ASSUMED_\w+|XDG_\w+|(?:https?|no)_proxy", re.IGNORECASE)
_ARN = re.compile(r"arn:aws[\w-]*:[^\s\"',;)]+")
_ACCOUNT = re.compile(r"(?<!\d)\d{12}(?!\d)")
_ACCESS_KEY_ID = re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{12,}\b")


def bug_report(
    environ: Mapping[str, str], config: Path | None, status: Status | None, *, with_arns: bool
) -> str:
    """Return the report as Markdown.

    Args:
        environ: only the names of its variables are printed.
        config: the configuration file; None if there is none.
        status: None if it cannot be read.
        with_arns: leave ARNs, account IDs and access key IDs as they are.
    """
    parts = {
        "Versions": "\n".join(_versions()),
        "Service": _output("systemctl", "--user", "--no-pager", "show", "assumed.service", _SHOWN),
        "Variables": " ".join(sorted(filter(_VARIABLES.fullmatch, environ))) or "none",
        "Configuration": "none" if config is None else _configuration(config),
        "Status": "none" if status is None else json.dumps(status_to_json(status), indent=2),
        f"Last {_EVENTS} events": _output(
            "journalctl", "--no-pager", f"--lines={_EVENTS}", "--output=short-iso",
            "--user-unit=assumed.service" if os.geteuid() else "--unit=assumed@*.service",
        ),
    }  # fmt: skip
    text = "\n\n".join(f"## {title}\n\n```\n{body.strip()}\n```" for title, body in parts.items())
    return printable_lines(hide(text, with_arns=with_arns))


def hide(text: str, *, with_arns: bool) -> str:
    """Return text without secrets and without the home directory; also without ARNs by default."""
    text = redact(text)
    if not with_arns:
        text = _ARN.sub("arn:[hidden]", text)
        text = _ACCOUNT.sub("[account]", text)
        text = _ACCESS_KEY_ID.sub(r"\1[hidden]", text)
    home = home_directory()
    return text if home in {"/", "~"} else text.replace(home, "~")


def _versions() -> Iterator[str]:
    yield f"assumed {__version__}, {Path(__file__).parents[1]}"
    yield f"Python {platform.python_version()}, {sys.executable}"
    system = {}
    with suppress(OSError):
        system = platform.freedesktop_os_release()
    yield f"{system.get('PRETTY_NAME', 'Linux')}, kernel {platform.release()}"
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            yield f"{name} {metadata.version(name)}"


def _configuration(path: Path) -> str:
    """Return the keys of a configuration, and the values that cannot be confidential."""
    try:
        document = YamlDocument(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        return f"{path}: {error.strerror}"
    problems = [f"line {problem.line}: {problem.text}" for problem in document.problems]
    return "\n".join([str(path), *problems, json.dumps(_outline(document.value), indent=2)])


def _outline(content: object, key: str = "") -> object:
    if isinstance(content, dict):
        return {str(name): _outline(value, str(name)) for name, value in content.items()}
    return content if key in _PLAIN_KEYS else "[set]"


def _output(*command: str) -> str:
    """Return the output of a program of systemd, or why there is none."""
    try:
        done = complete_command(command, timeout_seconds=_TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    return done.stdout if done.returncode == 0 else done.stderr
