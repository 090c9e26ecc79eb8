"""What `assumed export-credentials` costs: its cold start beside that of Python and of the AWS CLI.

`python -m bench.export [--runs 100]` prints a table and writes bench/results/export.json. All
commands take turns in one run, and what counts is how they stand to `python -c pass`. The AWS CLI
is the first on the PATH that has `aws configure export-credentials`, which version 1 has not; it
reads the same profile of the same file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from assumed.demo.aws import EmbeddedAws
from assumed.model import CallingCredentials

_RESULTS = Path(__file__).parent / "results" / "export.json"
_BARE = "python -c pass"
_AWS = "aws configure export-credentials"
# At most so many times as long as bare Python; None for what is there to compare with.
_LIMITS: Mapping[str, float | None] = {
    _BARE: None,
    "export-credentials, from the file": 1.3,
    "export-credentials, through the socket": 1.5,
    "status --format, through the socket": 1.5,
    "click, with nothing done": None,
    _AWS: None,
}
_PATIENCE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Row:
    """What one command took.

    Args:
        command: which.
        median_ms: of all runs.
        least_ms: of all runs: the least disturbed one.
        ratio: of its median to that of bare Python.
        limit: of that ratio; None where there is none.
    """

    command: str
    median_ms: float
    least_ms: float
    ratio: float
    limit: float | None


def measure(
    commands: Mapping[str, Sequence[str]], environ: Mapping[str, str], runs: int
) -> list[Row]:
    """Run the commands in turn, so that what disturbs one disturbs all.

    Each round has an order of its own, for what comes behind a big program finds the caches cold.
    """
    took: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in random.sample(list(commands.items()), len(commands)):
            started_at = time.perf_counter()
            subprocess.run(  # noqa: S603
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=True,
            )
            took[name].append((time.perf_counter() - started_at) * 1000)
    bare = median(took[_BARE])
    return [
        Row(
            command=name,
            median_ms=round(median(times), 2),
            least_ms=round(min(times), 2),
            ratio=round(median(times) / bare, 2),
            limit=_LIMITS[name],
        )
        for name, times in took.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table and write the results; 1 where a limit is exceeded."""
    parser = argparse.ArgumentParser(prog="python -m bench.export", description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="of each command (100)")
    parser.add_argument("--output", type=Path, default=_RESULTS, help="where the results go")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as home, EmbeddedAws() as server:
        environ = _world(Path(home), server)
        assumed = str(Path(sys.executable).with_name("assumed"))
        export = [assumed, "export-credentials", "--profile"]
        commands = {
            _BARE: [sys.executable, "-c", "pass"],
            "export-credentials, from the file": [*export, "stored"],
            "export-credentials, through the socket": [*export, "held"],
            "status --format, through the socket": [
                assumed, "status", "--format", "{profile} {minutes_left}m",
            ],
            "click, with nothing done": [assumed, "--version"],
        }  # fmt: skip
        aws = _aws(environ)
        if aws is not None:
            commands[_AWS] = [*aws, "configure", "export-credentials", "--profile", "stored"]
        run, wait = [assumed, "run", "--log-level", "error"], [assumed, "wait"]
        with subprocess.Popen(run, env=environ) as daemon:  # noqa: S603
            try:
                subprocess.run(wait, env=environ, stdout=subprocess.DEVNULL, check=True)  # noqa: S603
                measure(commands, environ, 3)
                rows = measure(commands, environ, options.runs)
            finally:
                daemon.terminate()
    for row in rows:
        print(json.dumps(asdict(row)))  # noqa: T201 -- the result of a command
    if aws is None:
        print(f"not measured: no {_AWS} (AWS CLI 2) on the PATH")  # noqa: T201
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(
        json.dumps(
            {
                "measured_at": datetime.now(UTC).date().isoformat(),
                "kernel": platform.release().split("-")[0],
                "python": platform.python_version(),
                "cpus": os.cpu_count(),
                "runs": options.runs,
                "aws_cli": None if aws is None else _version(aws, environ),
                "commands": [asdict(row) for row in rows],
            },
            indent=1,
        )
        + "\n"
    )
    return int(any(row.limit is not None and row.ratio > row.limit for row in rows))


def _world(home: Path, server: EmbeddedAws) -> Mapping[str, str]:
    """Make a home with a profile that is kept in the file and one that is kept in memory."""
    keys = server.add_user(
        "bench", {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    )
    role = server.add_role("bench", trusts="arn:aws:iam::123456789012:user/bench")
    _write(home / ".aws" / "credentials", _credentials(keys))
    shape = {"role_arn": role, "source_profile": "keys"}
    profiles = {"stored": shape, "held": {**shape, "store": "memory"}}
    _write(home / ".config" / "assumed" / "config.yaml", json.dumps({"profiles": profiles}))
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "XDG_RUNTIME_DIR": str(home / "run"),
        "AWS_ENDPOINT_URL": server.endpoint_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }


def _credentials(keys: CallingCredentials) -> str:
    return (
        f"[keys]\naws_access_key_id = {keys.access_key_id}\n"
        f"aws_secret_access_key = {keys.secret_access_key}\n"
    )


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(mode=0o700, parents=True)
    file.touch(mode=0o600)
    file.write_text(text)


def _aws(environ: Mapping[str, str]) -> Sequence[str] | None:
    for folder in environ["PATH"].split(os.pathsep):
        command = shutil.which("aws", path=folder)
        if command is not None and _version([command], environ).startswith("aws-cli/2"):
            return [command]
    return None


def _version(aws: Sequence[str], environ: Mapping[str, str]) -> str:
    done = subprocess.run(  # noqa: S603
        [*aws, "--version"], env=environ, capture_output=True, text=True, check=False
    )
    return done.stdout.partition(" ")[0]


if __name__ == "__main__":
    sys.exit(main())
