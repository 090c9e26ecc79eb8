"""A race for the credentials file: a daemon rewrites it without a pause, beside other writers.

`python -m bench.race [--edits 800]` prints a table and writes bench/results/race.json;
each row is run twice, without a daemon (the baseline) and with one. tests/integration runs a
short form.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

from awscli.customizations.configure.writer import (  # type: ignore[import-untyped]
    ConfigFileWriter,
)
from botocore.configloader import raw_config_parse
from botocore.exceptions import ConfigNotFound, ConfigParseError

from assumed.aws_files import SetCredentials, edit
from assumed.errors import AssumedError, CredentialsFileUnwritableError
from assumed.models import Credentials
from assumed.storage import CredentialsFile

LONG_TERM_KEYS = {
    "aws_access_key_id": "AKIALONGTERMKEYSOFKIM",
    "aws_secret_access_key": "the/only/copy",
}
_FIRST = "# mine\n[default]\n" + "".join(f"{k} = {v}\n" for k, v in LONG_TERM_KEYS.items()) + "\n"
# As long as a file of many accounts, so that a write takes some time.
_BALLAST = "".join(
    f"[account-{number}]\nregion = eu-west-1\nnote = {'x' * 200}\n\n" for number in range(20)
)
_TORN_FOR_GOOD_SECONDS = 1.0
_CARELESS_SECONDS = 0.02
_PAUSE_SECONDS = 0.012
_RESULTS = Path(__file__).parent / "results" / "race.json"

Writer = Callable[[Path, str, int], None]
"""Makes one edit: the file, the writer's own name, the edit's number."""


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one race.

    Args:
        writers: which programs wrote beside the daemon.
        daemon: which daemon; `none` is the baseline.
        edits: of all other writers together.
        edits_lost: how many of them are not in the file afterwards.
        edits_lost_of: the same by writer: a rename drops what another one appended meanwhile.
        long_term_keys_lost: the keys that no writer touches are not in the file afterwards.
        commits: of the daemon.
        commits_refused: how many of them failed, because others wrote without a pause.
        commits_lost: the daemon's last credentials are not in the file after the race.
        reads: of botocore's loader.
        torn: how many of them failed, or lacked the long-term keys: others write in place.
        torn_for_good: how many of those on a file that no one was writing.
        settled_reads: through the daemon's own reader.
        settled_torn: how many of them failed, or lacked the long-term keys.
        seconds: of wall time.
    """

    writers: str
    daemon: str
    edits: int
    edits_lost: int
    edits_lost_of: dict[str, int]
    long_term_keys_lost: bool
    commits: int
    commits_refused: int
    commits_lost: int
    reads: int
    torn: int
    torn_for_good: int
    settled_reads: int
    settled_torn: int
    seconds: float


def awscli_edit(path: Path, name: str, number: int) -> None:
    """Write with the writer of awscli: it truncates the file and writes it, without a lock."""
    ConfigFileWriter().update_config({"__section__": name, f"edit_{number}": "x"}, str(path))


def append_edit(path: Path, name: str, number: int) -> None:
    """Append a section, as `cat >>` does."""
    with path.open("a") as file:
        file.write(f"[{name}-{number}]\nregion = x\n")


def rename_edit(path: Path, name: str, number: int) -> None:
    """Read, edit, write another file and rename it over the first, as careful tools do."""
    new = path.with_name(f"{name}.tmp")
    new.write_bytes(path.read_bytes() + f"[{name}-{number}]\nregion = x\n".encode())
    new.replace(path)


WRITERS: dict[str, Writer] = {
    "awscli": awscli_edit,
    "append": append_edit,
    "rename": rename_edit,
}


def race(
    writers: Sequence[str], *, daemon: str, edits: int, readers: int = 1, ballast: bool = True
) -> Row:
    """Run one race in its own directory and count what was lost.

    Args:
        writers: names of `WRITERS`, one process each.
        daemon: `none`; `assumed`; or `careless`, which reads, edits, and renames a new file over
            the old one: it shows that the race loses edits.
        edits: of each writer.
        readers: how many processes read with botocore's loader all the time.
        ballast: make the file as long as one of many accounts.
    """
    spawn = multiprocessing.get_context("spawn")
    stop = spawn.Event()
    results: Queue[tuple[str, int, int, int]] = spawn.Queue()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "credentials")
        path.write_text(_FIRST + (_BALLAST if ballast else ""))
        path.chmod(0o600)
        beside = [
            spawn.Process(target=_read, args=(kind, path, stop, results))
            for kind in ["plain"] * readers + ["settled"]
        ]
        if daemon != "none":
            beside.append(spawn.Process(target=_keep, args=(daemon, path, stop, results)))
        ready = spawn.Barrier(len(writers) + 1)
        writing = [
            spawn.Process(target=_write, args=(kind, f"{kind}-{place}", path, edits, ready))
            for place, kind in enumerate(writers)
        ]
        for process in [*beside, *writing]:
            process.start()
        # Every reader and daemon reports when it is ready, so that the writers do not run alone.
        for _ in beside:
            results.get(timeout=60)
        ready.wait(timeout=60)
        start = time.monotonic()
        for process in writing:
            process.join()
        seconds = time.monotonic() - start
        stop.set()
        counts = {kind: [0, 0, 0] for kind in ("plain", "settled", "daemon")}
        for _ in beside:
            kind, *numbers = results.get(timeout=60)
            counts[kind] = [a + b for a, b in zip(counts[kind], numbers, strict=True)]
        for process in beside:
            process.join()
        if any(process.exitcode for process in [*beside, *writing]):
            raise RuntimeError("a process of the race failed")
        lost, keys_lost = _lost(path, writers, edits)
    return Row(
        writers=" + ".join(writers),
        daemon=daemon,
        edits=edits * len(writers),
        edits_lost=sum(lost.values()),
        edits_lost_of=lost,
        long_term_keys_lost=keys_lost,
        commits=counts["daemon"][0],
        commits_refused=counts["daemon"][1],
        commits_lost=counts["daemon"][2],
        reads=counts["plain"][0],
        torn=counts["plain"][1],
        torn_for_good=counts["plain"][2],
        settled_reads=counts["settled"][0],
        settled_torn=counts["settled"][1],
        seconds=round(seconds, 2),
    )


def _lost(path: Path, writers: Sequence[str], edits: int) -> tuple[dict[str, int], bool]:
    try:
        sections = raw_config_parse(str(path))
    except (ConfigParseError, ConfigNotFound):
        return dict.fromkeys(writers, edits), True
    lost = {}
    for place, kind in enumerate(writers):
        name = f"{kind}-{place}"
        own = sections.get(name, {})
        lost[kind] = sum(
            f"edit_{number}" not in own if kind == "awscli" else f"{name}-{number}" not in sections
            for number in range(edits)
        )
    return lost, sections.get("default") != LONG_TERM_KEYS


def _write(kind: str, name: str, path: Path, edits: int, ready: Barrier) -> None:
    pauses = random.Random(name)  # noqa: S311 -- repeatable, not secret
    os.umask(0o077)
    ready.wait(timeout=60)
    for number in range(edits):
        WRITERS[kind](path, name, number)
        time.sleep(pauses.uniform(0, 2 * _PAUSE_SECONDS))


def _read(kind: str, path: Path, stop: Event, results: Queue[tuple[str, int, int, int]]) -> None:
    read = _read_plainly if kind == "plain" else _read_settled
    reads = torn = for_good = 0
    results.put(("ready", 0, 0, 0))
    while not stop.is_set():
        was_torn, was_for_good = read(path)
        reads, torn, for_good = reads + 1, torn + was_torn, for_good + was_for_good
        if kind != "plain":
            # The lease of a reader delays writers: not all the time.
            time.sleep(0.005)
    results.put((kind, reads, torn, for_good))


def _read_plainly(path: Path) -> tuple[bool, bool]:
    """Read with botocore's loader, through a descriptor that shows later changes of the file."""
    with path.open("rb") as file:
        data = file.read()
        if _is_whole(data):
            return False, False
        # The daemon never writes into an existing file: if its bytes change after all, another
        # program was writing them.
        give_up = time.monotonic() + _TORN_FOR_GOOD_SECONDS
        while time.monotonic() < give_up:
            if os.pread(file.fileno(), len(data) + 1, 0) != data:
                return True, False
            time.sleep(0.001)
    return True, True


def _is_whole(data: bytes) -> bool:
    with tempfile.NamedTemporaryFile(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as copy:  # noqa: S108
        copy.write(data)
        copy.flush()
        try:
            sections = raw_config_parse(copy.name)
        except ConfigParseError:
            return False
    return bool(sections.get("default") == LONG_TERM_KEYS)


def _read_settled(path: Path) -> tuple[bool, bool]:
    try:
        default = CredentialsFile(path).read()["default"]
    except (AssumedError, KeyError):
        return True, False
    return default.secret_access_key != LONG_TERM_KEYS["aws_secret_access_key"], False


def _credentials(number: int) -> Credentials:
    return Credentials(
        access_key_id=f"ASIA{number:016}",
        secret_access_key="secret",  # noqa: S106
        session_token=f"token-{number}",
        expiration=datetime(2026, 11, 24, 13, tzinfo=UTC) + timedelta(seconds=number),
        principal_arn="arn:aws:sts::222222222222:assumed-role/deploy/kim",
    )


def _keep(kind: str, path: Path, stop: Event, results: Queue[tuple[str, int, int, int]]) -> None:
    write = partial(_write_carelessly if kind == "careless" else _write_to, path)
    commits = refused = 0
    results.put(("ready", 0, 0, 0))
    while not stop.is_set():
        try:
            write("kept", _credentials(commits))
        except CredentialsFileUnwritableError:
            refused += 1
        commits += 1
    last = _credentials(commits)
    write("kept", last)
    kept = None
    with suppress(AssumedError, KeyError):
        kept = CredentialsFile(path).read()["kept"].credentials()
    results.put(("daemon", commits, refused, kept != last))


def _write_to(path: Path, profile: str, credentials: Credentials) -> None:
    CredentialsFile(path).write(profile, credentials).result()


def _write_carelessly(path: Path, profile: str, credentials: Credentials) -> None:
    new = path.with_name("careless.tmp")
    with suppress(AssumedError):
        change = {profile: SetCredentials(credentials)}
        new.write_bytes(edit(path.read_bytes(), change, path=str(path)).data)
        time.sleep(_CARELESS_SECONDS)
        new.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all races, print a table and write the results; return 1 if assumed lost anything."""
    parser = argparse.ArgumentParser(prog="python -m bench.race", description=__doc__)
    parser.add_argument("--edits", type=int, default=800, help="of each writer (800)")
    parser.add_argument("--output", type=Path, default=_RESULTS, help="file of the results")
    options = parser.parse_args(arguments)
    rows = []
    for writers in (["awscli"], ["append"], ["rename"], ["append", "rename"]):
        for daemon in ("none", "assumed", "careless"):
            row = race(writers, daemon=daemon, edits=options.edits)
            rows.append(row)
            print(json.dumps(asdict(row)), flush=True)  # noqa: T201 -- the result of a command
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(
        json.dumps(
            {
                "measured_at": datetime.now(UTC).date().isoformat(),
                "kernel": platform.release().split("-")[0],
                "python": platform.python_version(),
                "cpus": os.cpu_count(),
                "races": [asdict(row) for row in rows],
            },
            indent=1,
        )
        + "\n"
    )
    return int(
        any(
            # A rename drops what another one appended meanwhile, with or without a daemon.
            (row.edits_lost if row.writers in WRITERS else row.edits_lost_of["rename"])
            or row.long_term_keys_lost
            or row.commits_lost
            or row.torn_for_good
            or row.settled_torn
            for row in rows
            if row.daemon == "assumed"
        )
    )


if __name__ == "__main__":
    sys.exit(main())
