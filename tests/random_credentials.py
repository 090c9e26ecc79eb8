"""Random credentials files, each edited and then read by every family of AWS SDKs.

    python -m tests.random_credentials [FILES [SEED]]

The readers are botocore and the SDK for C (awscrt) themselves, and the rules of the JavaScript SDK
and of the SDKs for Rust, Java and Kotlin. What they read of all other keys may not change, and what
they read of the edited profile is what was written, or nothing where `check` says so.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from awscrt.auth import AwsCredentialsProvider
from awscrt.exceptions import AwsCrtError

from assumed.aws_files import RemoveCredentials, SetCredentials, edit
from assumed.aws_files.ownership import EDITED_KEYS
from assumed.aws_files.sdk_dialects import (
    RejectedLine,
    SharedReader,
    read_like_javascript,
    read_like_shared_sdks,
)
from assumed.errors import CredentialsFileMalformedError
from tests.credentials_files import as_botocore_reads, credentials, written

PROFILE = "deploy"
_OTHERS = ("default", "second", "kim@team/x", "a b", "équipe", "z")
_VALUES = ("eu-west-1", "a=b", "x: y", '"quoted"', "a b", "%(x)s", "a ; b", "a # b", "", "[a]", "é")
_COMMENTS = ("# note", "; note", "#", "# [deploy]", "; aws_session_token = x", "# a = b")
_FOREIGN_KEYS = ("region", "output", "x-note", "Role_Session_Name", "expiration")
_ODD = 0.03

Section = Mapping[str, str]
Sections = Mapping[str, Section]


def random_file(random: Random) -> bytes:
    """Return a credentials file; botocore cannot read every one of them."""
    names = random.sample((PROFILE, *_OTHERS), random.randint(0, 4))
    lines = _asides(random, 0.3)
    for name in names:
        lines += _section(random, name)
    end = random.choice(("\n", "\n", "\n", "\r\n"))
    return (end.join(lines) + random.choice((end, end, end, ""))).encode()


def _section(random: Random, name: str) -> list[str]:
    header = random.choices(
        (
            f"[{name}]",
            f"[{name}] # mine",
            f"[{name}]  ",
            f"[{name}] x",
            f" [{name}]",
            f"[ {name} ]",
        ),
        (120, 12, 6, 1, 1, 1),
    )[0]
    indent = random.choices(("", "  ", "\t"), (40, 1, 1))[0]
    keys = random.sample(_FOREIGN_KEYS, random.randint(0, 3))
    if random.random() < 0.7:
        keys += random.sample(sorted(EDITED_KEYS), random.randint(1, len(EDITED_KEYS)))
    if random.random() < 0.1:
        keys.append("s3")
    if random.random() < _ODD:
        keys.append(random.choice(("a key", "clé")))
    random.shuffle(keys)
    lines = [header, *_asides(random, 0.1)]
    for key in keys:
        lines += _key(random, key, indent if random.random() > _ODD else "  ")
        lines += _asides(random, 0.15)
    return lines


def _key(random: Random, key: str, indent: str) -> list[str]:
    delimiter = random.choices(
        (" = ", "=", "\t=\t", "   =  ", ": ", "\u00a0=\u00a0"), (60, 30, 9, 9, 1, 1)
    )[0]
    if key == "s3":
        inside = random.choice(("a = b", "a=", "# c = d", "# note"))
        return [f"{indent}s3 =", f"{indent}    {inside}", f"{indent}    c = d"]
    if key not in EDITED_KEYS:
        return [f"{indent}{key}{delimiter}{random.choice(_VALUES)}"]
    value = {"manager": "assumed", "aws_access_key_id": "ASIAOLD"}.get(key, "old")
    shown = random.choices((key, key.upper()), (12, 1))[0]
    trailing = random.choices(("", " ", "\t", "\x0b", "\u00a0"), (12, 2, 2, 1, 1))[0]
    return [f"{indent}{shown}{delimiter}{value}{trailing}"]


def _asides(random: Random, chance: float) -> list[str]:
    lines = []
    while random.random() < chance:
        kind = random.random()
        if kind < 0.4:
            lines.append(random.choice(("", "", "  ", "\t")))
        elif kind < 0.4 + _ODD:
            lines.append("\x0c")
        else:
            lines.append(("" if kind < 0.9 else "  ") + random.choice(_COMMENTS))
    return lines


@dataclass(frozen=True)
class Readings:
    """A file as each family of SDKs reads it; `crt` has only credentials, None if unreadable."""

    botocore: Sections
    javascript: Sections
    shared: Sections
    rejected: Mapping[SharedReader, RejectedLine]
    crt: Mapping[str, tuple[str, str, str | None] | None]

    @classmethod
    def of(cls, data: bytes, path: Path) -> Readings:
        path.write_bytes(data)
        lines = data.decode().split("\n")
        names = read_like_javascript(lines, ()).keys()
        shared = read_like_shared_sdks(lines, None)
        return cls(
            botocore=as_botocore_reads(path),
            javascript=_values(read_like_javascript(lines, names)),
            shared=_values(shared.sections),
            rejected=shared.rejected,
            crt={name: _read_by_crt(path, name) for name in (PROFILE, "default", "second", "z")},
        )

    def has_the_foreign_keys_of(self, before: Readings) -> bool:
        """Whether every SDK reads what an edit of PROFILE may not change, if it could before."""
        readings = [(self.botocore, before.botocore), (self.javascript, before.javascript)]
        if len(before.rejected) < len(SharedReader):
            readings.append((self.shared, before.shared))
        return all(_foreign(after) == _foreign(old) for after, old in readings) and (
            SharedReader.LENIENT in before.rejected
            or all(self.crt[name] == found for name, found in before.crt.items() if name != PROFILE)
        )


def _values(sections: Mapping[str, Mapping[str, tuple[str, int]]]) -> Sections:
    return {
        name: {key: value for key, (value, _line) in section.items()}
        for name, section in sections.items()
    }


def _foreign(sections: Sections) -> Sections:
    kept = {
        name: {
            key: value
            for key, value in section.items()
            if name != PROFILE or key.lower().rpartition(".")[2].strip() not in EDITED_KEYS
        }
        for name, section in sections.items()
    }
    return {name: section for name, section in kept.items() if section or name != PROFILE}


def _read_by_crt(path: Path, profile: str) -> tuple[str, str, str | None] | None:
    try:
        provider = AwsCredentialsProvider.new_profile(
            profile_name=profile, config_filepath="/dev/null", credentials_filepath=str(path)
        )
        found = provider.get_credentials().result(30)
    except (RuntimeError, AwsCrtError):
        return None
    return found.access_key_id, found.secret_access_key, found.session_token


@dataclass
class Verdict:
    """How many files there were of each kind, and those that are read wrongly."""

    kinds: Counter[str] = field(default_factory=Counter)
    misread: list[tuple[str, bytes]] = field(default_factory=list)

    def judge(self, data: bytes, number: int, path: Path) -> None:
        """Edit a file, and compare what is read before and afterwards."""
        new = credentials(number)
        try:
            result = edit(data, {PROFILE: SetCredentials(new, overwrite=True)}, path="file")
        except CredentialsFileMalformedError:
            self.kinds["not readable by botocore"] += 1
            return
        before = Readings.of(data, path)
        if PROFILE in result.rejected:
            self.kinds["profile rejected"] += 1
            self._require(result.data == data, "changed although rejected", data)
        else:
            after = Readings.of(result.data, path)
            self.kinds["edited"] += 1
            self._judge_own(after, data, number)
            self._judge_others(before, after, data)
            before, data = after, result.data
        removed = edit(data, {PROFILE: RemoveCredentials()}, path="file")
        if PROFILE not in removed.rejected:
            self.kinds["removed"] += removed.data != data
            self._judge_others(before, Readings.of(removed.data, path), data)

    def _judge_own(self, after: Readings, data: bytes, number: int) -> None:
        new = credentials(number)
        intended = written(number).items()
        keys = (new.access_key_id, new.secret_access_key, new.session_token)
        self._require(after.botocore[PROFILE].items() >= intended, "botocore", data)
        self._require(after.javascript[PROFILE].items() >= intended, "JavaScript", data)
        if len(after.rejected) < len(SharedReader):
            own = after.shared.get(PROFILE, {})
            self._require(own.items() >= intended, "shared rules", data)
        for kind in after.rejected:
            self.kinds[f"reported as unreadable by {', '.join(kind.value)}"] += 1
        found = after.crt[PROFILE]
        is_reported = SharedReader.LENIENT in after.rejected
        self._require(found == keys or (found is None and is_reported), "awscrt", data)
        self.kinds["read by awscrt"] += found == keys

    def _judge_others(self, before: Readings, after: Readings, data: bytes) -> None:
        self._require(after.has_the_foreign_keys_of(before), "other keys", data)
        self._require(
            after.rejected.keys() <= before.rejected.keys(), "unreadable only afterwards", data
        )

    def _require(self, holds: bool, reader: str, data: bytes) -> None:
        if not holds:
            self.misread.append((reader, data))


def judge_files(count: int, seed: int) -> Verdict:
    """Edit `count` random files and read each of them."""
    random = Random(seed)  # noqa: S311 - reproducible, not secret
    verdict = Verdict()
    with tempfile.TemporaryDirectory() as directory:
        for number in range(count):
            verdict.judge(random_file(random), number % 10, Path(directory, "credentials"))
    return verdict


def main() -> int:
    count, seed = (*map(int, sys.argv[1:]), *(1000, 0)[len(sys.argv) - 1 :])
    verdict = judge_files(count, seed)
    sys.stdout.write(f"{count} files, seed {seed}\n")
    for kind, files in verdict.kinds.most_common():
        sys.stdout.write(f"{files:7} {kind}\n")
    sys.stdout.write(f"{len(verdict.misread):7} misread or changed\n")
    for reader, data in verdict.misread[:10]:
        sys.stdout.write(f"{reader}: {data!r}\n")
    return 1 if verdict.misread else 0


if __name__ == "__main__":
    sys.exit(main())
