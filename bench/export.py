"""The cold start of the fast path's commands, compared with Python and the AWS CLI.

`python -m bench.export [--runs 100] [--quick]` prints a line of JSON for each command, and writes
export.json and export.svg to bench/results. All commands take turns in one run; the result is the
ratio to `python -c pass`. The AWS CLI is the first one on the PATH with the command
`aws configure export-credentials`, which version 1 lacks; it reads the same profile of the same
file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures import RESULTS, machine, plot
from bench.stub import StubSts
from bench.world import Home

_BARE = "python -c pass"
_AWS = "aws configure export-credentials"
_FROM_FILE = "export-credentials, from the file"
# The highest ratio to bare Python; None for a command to compare with.
LIMITS: Mapping[str, float | None] = {
    _BARE: None,
    _FROM_FILE: 1.3,
    "export-credentials, through the socket": 1.5,
    "export-credentials, from a file of 5,000 profiles": 1.8,
    "status --format, through the socket": 1.5,
    "status --json of 1,000 profiles, through the socket": 4.5,
    "click, with nothing done": None,
    _AWS: None,
}
_COUNT_MODULES = "import sys; from assumed.__main__ import main; main(); print(len(sys.modules))"


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, and the home that it runs in."""

    arguments: Sequence[str]
    home: Home


@dataclass(frozen=True, slots=True)
class Row:
    """The times of one command.

    Args:
        command: its name in `LIMITS`.
        median_ms: of all runs.
        min_ms: of all runs.
        max_ms: of all runs.
        ratio: of its median to the median of bare Python.
        limit: of that ratio; None for a command to compare with.
    """

    command: str
    median_ms: float
    min_ms: float
    max_ms: float
    ratio: float
    limit: float | None


def measure(commands: Mapping[str, Command], runs: int) -> list[Row]:
    """Run the commands in turn, so that other load on the machine affects all of them.

    The order changes in each round: a command that follows a big program finds cold caches.
    """
    took: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in random.sample(list(commands.items()), len(commands)):
            started_at = time.perf_counter()
            subprocess.run(  # noqa: S603
                command.arguments,
                env=command.home.environ,
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
            min_ms=round(min(times), 2),
            max_ms=round(max(times), 2),
            ratio=round(median(times) / bare, 2),
            limit=LIMITS[name],
        )
        for name, times in took.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.export", description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="of each command (100)")
    parser.add_argument("--quick", action="store_true", help="5 runs")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the results")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        stub = stack.enter_context(StubSts())
        homes = [
            Home(Path(stack.enter_context(tempfile.TemporaryDirectory())), stub.endpoint_url)
            for _ in range(3)
        ]
        few, many, most = homes
        few.configure(["stored", "memory"], in_memory=["memory"])
        few.store(["stored"])
        for home, count in ((many, 1000), (most, 5000)):
            home.configure(count)
            home.store(count)
        for home in (few, many):
            stack.enter_context(home.daemon()).ready()
        commands = _commands(few, many, most)
        aws = _aws(few.environ)
        if aws is not None:
            export = [*aws, "configure", "export-credentials", "--profile", "role-stored"]
            commands[_AWS] = Command(export, few)
        measure(commands, 1 if options.quick else 3)
        rows = measure(commands, 5 if options.quick else options.runs)
        modules = _modules(few)
    for row in rows:
        print(json.dumps(asdict(row)))  # noqa: T201 - the result of the command
    if aws is None:
        print(f"not measured: no {_AWS} (AWS CLI 2) on the PATH")  # noqa: T201
    options.output.mkdir(exist_ok=True)
    result = {
        **machine(),
        "runs": options.runs,
        "aws_cli": None if aws is None else _version(aws, few.environ),
        "modules_of_export_credentials": modules,
        "commands": [asdict(row) for row in rows],
    }
    (options.output / "export.json").write_text(json.dumps(result, indent=1) + "\n")
    plot(options.output / "export.svg", lambda axes: _draw(axes, rows))
    return 0


def _commands(few: Home, many: Home, most: Home) -> dict[str, Command]:
    export = few.assumed("export-credentials", "--profile")
    template = few.assumed("status", "--format", "{profile} {minutes_left}m")
    arguments = {
        _BARE: ([sys.executable, "-c", "pass"], few),
        _FROM_FILE: ([*export, "role-stored"], few),
        "export-credentials, through the socket": ([*export, "role-memory"], few),
        "export-credentials, from a file of 5,000 profiles": ([*export, "role-4999"], most),
        "status --format, through the socket": (template, few),
        "status --json of 1,000 profiles, through the socket": (
            few.assumed("status", "--json"), many,
        ),
        "click, with nothing done": (few.assumed("--version"), few),
    }  # fmt: skip
    return {name: Command(*command) for name, command in arguments.items()}


def _modules(home: Home) -> int:
    """Return how many modules `export-credentials` imports, including those of Python itself."""
    done = home.python("-c", _COUNT_MODULES, "export-credentials", "--profile", "role-stored")
    return int(done.output.splitlines()[-1])


def _draw(axes: Any, rows: Sequence[Row]) -> None:
    shown = [row for row in reversed(rows) if row.command != _AWS]
    axes.barh([row.command for row in shown], [row.ratio for row in shown], height=0.5)
    for place, row in enumerate(shown):
        if row.limit is not None:
            axes.plot([row.limit, row.limit], [place - 0.4, place + 0.4], color="tab:red")
    axes.set_xlabel("ratio to bare Python, median; red: the limit")


def _aws(environ: Mapping[str, str]) -> Sequence[str] | None:
    for directory in environ["PATH"].split(os.pathsep):
        command = shutil.which("aws", path=directory)
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
