"""Profiles with a `credential_process` of assumed, which it keeps in both AWS files.

Pure: bytes in, bytes out. Such a section is recognised by a comment below its header, so that a
section that the user wrote is never changed. All other lines stay byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from assumed.aws_files.adoption import AwsFileKind
from assumed.aws_files.config_text import header
from assumed.aws_files.ini import IniDocument
from assumed.aws_files.profiles import profile_name
from assumed.aws_files.sdk_dialects import read_like_javascript, read_like_shared_sdks
from assumed.errors import ProfileAmbiguousError

SUFFIX = "-live"
"""What a definition's name is followed by in the name of such a profile."""

MARK = "# kept by assumed; `assumed logout` removes it"

_OWN_KEY = re.compile(r"(?:credential_process|region) = ")


@dataclass(frozen=True, slots=True)
class ProcessProfileEdit:
    """The result of an edit.

    Args:
        data: the new bytes.
        written: the profiles that are new or have changed.
        removed: the profiles that are gone.
        foreign: the profiles that the user or another tool wrote; they stay as they are.
    """

    data: bytes = field(repr=False)
    written: tuple[str, ...]
    removed: tuple[str, ...]
    foreign: tuple[str, ...]


def kept_profiles(data: bytes, kind: AwsFileKind, *, path: str) -> Mapping[str, str]:
    """Return the profiles of a file that assumed keeps, with the command of each.

    Raises:
        CredentialsFileMalformedError: the file cannot be read.
    """
    if MARK.encode() not in data:
        return {}
    document = IniDocument(data, path)
    lines = {name: block.start for name, block in _blocks(document, kind).items()}
    return {
        name: section.values().get("credential_process", "")
        for name, line in lines.items()
        for section in document.sections.values()
        if section.line == line
    }


def edit_process_profiles(
    data: bytes,
    kind: AwsFileKind,
    wanted: Mapping[str, Mapping[str, str]],
    *,
    stays: Collection[str] = (),
    path: str,
) -> ProcessProfileEdit:
    """Add and change the wanted profiles, and remove the others that assumed keeps.

    Args:
        data: the whole file.
        kind: which of the two files it is.
        wanted: the settings of each profile, in the order in which they are written.
        stays: profiles that are not removed although they are not wanted.
        path: for messages.

    Raises:
        CredentialsFileMalformedError: the file cannot be read.
        ProfileAmbiguousError: an AWS SDK would read another profile differently afterwards.
    """
    document = IniDocument(data, path)
    blocks = _blocks(document, kind)
    known = {name for each in document.sections if (name := _name(each, kind)) is not None}
    lines: list[str | None] = [*document.lines]
    end = "\r" if document.lines[0].endswith("\r") else ""
    written: list[str] = []
    added: list[str] = []
    for name, settings in wanted.items():
        text = [f"[{_header(name, kind)}]", MARK, *(f"{k} = {v}" for k, v in settings.items())]
        block = blocks.get(name)
        if block is not None:
            if [document.lines[index].removesuffix("\r") for index in block] != text:
                lines[block.start : block.stop] = [
                    "\n".join(f"{line}{end}" for line in text),
                    *[None] * (len(block) - 1),
                ]
                written.append(name)
        elif name not in known:
            added += [*([""] if added or data.strip() else []), *text]
            written.append(name)
    removed = tuple(name for name in blocks if name not in wanted and name not in stays)
    for name in removed:
        for index in _removable(document, blocks[name]):
            lines[index] = None
    result = _joined(lines, added, end)
    _require_same(document, IniDocument(result, path), kind, {*written, *removed})
    foreign = tuple(name for name in wanted if name in known and name not in blocks)
    return ProcessProfileEdit(result, tuple(written), removed, foreign)


def _blocks(document: IniDocument, kind: AwsFileKind) -> dict[str, range]:
    """Return the lines of each section that assumed keeps: its header, the mark and its keys."""
    blocks = {}
    for each, section in document.sections.items():
        name, start = _name(each, kind), section.line
        stop = start + 2
        if name is None or [line.rstrip() for line in document.lines[start + 1 : stop]] != [MARK]:
            continue
        while stop < len(document.lines) and _OWN_KEY.match(document.lines[stop]):
            stop += 1
        blocks[name] = range(start, stop)
    return blocks


def _removable(document: IniDocument, block: range) -> Iterator[int]:
    """Yield the lines to remove; the header stays if the user has added something below it."""
    following = next((line for line in document.lines[block.stop :] if line.strip()), "[")
    is_alone = following[0] == "["
    yield from block if is_alone else block[1:]
    before = block.start - 1
    if is_alone and before >= 0 and not document.lines[before].strip():
        yield before


def _joined(lines: list[str | None], added: list[str], end: str) -> bytes:
    kept = [line for line in lines if line is not None]
    if added:
        if kept and kept[-1] == "":
            kept.pop()
        elif kept:
            kept[-1] += end
        kept += [*(f"{line}{end}" for line in added), ""]
    return "\n".join(kept).encode()


def _require_same(
    before: IniDocument, after: IniDocument, kind: AwsFileKind, edited: set[str]
) -> None:
    """Require that every SDK reads all other sections as before."""

    def others(document: IniDocument) -> list[Any]:
        javascript = read_like_javascript(document.lines, ())
        readings = (
            document.values(),
            _values(read_like_javascript(document.lines, javascript.keys())),
            _values(read_like_shared_sdks(document.lines, None).sections),
        )
        return [
            {each: values for each, values in reading.items() if not _is_edited(each)}
            for reading in readings
        ]

    def _is_edited(each: str) -> bool:
        # The JavaScript SDK reads `[profile NAME]` as `profile.NAME`.
        name = each.removeprefix("profile.")
        return name in edited or _name(each, kind) in edited

    if others(before) != others(after):
        raise ProfileAmbiguousError(
            f"{before.path}: the AWS SDKs would read another profile differently after a change of "
            f"{', '.join(sorted(edited))}",
            hint="remove the indentation of the lines beside these profiles",
        )


def _values(sections: Mapping[str, Mapping[str, tuple[str, int]]]) -> dict[str, dict[str, str]]:
    return {
        name: {key: value for key, (value, _) in section.items()}
        for name, section in sections.items()
    }


def _header(name: str, kind: AwsFileKind) -> str:
    return header("profile", name) if kind is AwsFileKind.CONFIG else name


def _name(text: str, kind: AwsFileKind) -> str | None:
    return profile_name(text) if kind is AwsFileKind.CONFIG else text
