"""Settings of the AWS config file: which keys are settings, and the text of new sections.

Pure: it is given settings as botocore parses them, and returns lines that parse as these.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from assumed.aws_files.ini import IniDocument
from assumed.aws_files.profiles import profile_name
from assumed.errors import UnexpectedError

# What the SDKs that share the rules of Rust, C and Java accept as a name unquoted. The AWS CLI
# quotes other names as a shell does (`aws configure`), and only botocore understands these.
_PLAIN_NAME = re.compile(r"[\w+./%@:-]+", re.ASCII)

# Keys that are no settings: credentials, where they come from, whose they are; and what other
# tools (aws-vault, granted, aws-mfa) have added about these.
_CREDENTIAL_KEYS = (
    "assumed_role", "aws_", "common_fate_", "credential_", "duration_seconds", "expiration",
    "external_id", "granted_", "include_profile", "login_session", "manager", "mfa_",
    "parent_profile", "role_", "session_tags", "source_", "sso_", "transitive_session_tags",
    "web_identity_", "x_",
)  # fmt: skip
_SECRET_WORDS = ("secret", "token", "password")


def is_setting(key: str) -> bool:
    """Return whether a key of a profile is a setting, and neither leads to credentials nor is one.

    Args:
        key: in lower case.
    """
    return not key.startswith(_CREDENTIAL_KEYS) and not any(word in key for word in _SECRET_WORDS)


def header(kind: str, name: str) -> str:
    """Return the header of a section without its brackets.

    Args:
        kind: `profile`, `services` or `sso-session`.
        name: the name of the section.
    """
    if (kind, name) == ("profile", "default"):
        return name
    return f"{kind} {name}" if _PLAIN_NAME.fullmatch(name) else f"{kind} {shlex.quote(name)}"


def append_sections(data: bytes, sections: Mapping[str, Mapping[str, str]], *, path: str) -> bytes:
    """Return the file with these sections at its end; one that it has already is left out.

    Every byte that was there stays.

    Args:
        data: the whole file.
        sections: settings by header, without its brackets.
        path: for messages.

    Raises:
        CredentialsFileMalformedError: botocore cannot read the file.
        UnexpectedError: it would not read as intended afterwards: a bug in this module.
    """
    before = IniDocument(data, path)
    known = {profile_name(each) or each for each in before.sections}
    added = {
        each: settings
        for each, settings in sections.items()
        if (profile_name(each) or each) not in known
    }
    if not added:
        return data
    text = sections_text(added)
    if before.lines != [""]:
        text = f"\n{text}" if not before.lines[-1] else f"\n\n{text}"
    line_end = "\r\n" if before.lines[0].endswith("\r") else "\n"
    result = data + text.replace("\n", line_end).encode()
    after = IniDocument(result, path).values()
    kept = {each: values for each, values in after.items() if each not in added}
    if kept != before.values() or any(
        _without_blank_lines(after[each]) != _without_blank_lines(added[each]) for each in added
    ):
        raise UnexpectedError(
            f"{path}: the file would not read as intended with the new sections",
            hint="the file is unchanged; please report this as a bug",
        )
    return result


def sections_text(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Return sections with a blank line between them."""
    return "\n".join(section(each, settings) for each, settings in sections.items())


def section(header: str, settings: Mapping[str, Any]) -> str:
    """Return a section with the settings; a value that is a mapping becomes a nested block."""
    return f"[{header}]\n" + "".join(_lines(settings))


def _without_blank_lines(settings: Mapping[str, str]) -> dict[str, list[str]]:
    return {key: list(filter(None, value.split("\n"))) for key, value in settings.items()}


def _lines(settings: Mapping[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield f"{key} =\n"
            yield from (f"  {inner} = {text}\n" for inner, text in value.items())
        else:
            first, *rest = str(value).split("\n")
            yield f"{key} = {first}".rstrip() + "\n"
            yield from (f"  {line}\n" for line in rest if line)
