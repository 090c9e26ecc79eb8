"""Run every measurement, and write the tables of bench/README.md.

`python -m bench` takes 15 minutes on two cores, and writes bench/results. With `--quick` it takes
about a minute, measures once, and keeps no results. A missed goal is shown in the table, and is
not an error.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.figures import RESULTS, table

_SUITES = ("refresh", "late", "export", "fleet")
_NOT_QUICK = ("tls", "idle", "endpoint")
_README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- measured -->\n", "<!-- /measured -->"
_TITLES = {
    "refresh": "A thousand roles",
    "late": "Lateness",
    "tls": "TLS",
    "idle": "Idle",
    "soak": "Soak",
    "fleet": "A fleet",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all benchmarks; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="take about a minute")
    parser.add_argument("--report", action="store_true", help="only write the tables of README.md")
    options = parser.parse_args(arguments)
    failed = []
    with tempfile.TemporaryDirectory() as directory:
        began_at = time.monotonic()
        for suite in () if options.report else (*_SUITES, *(() if options.quick else _NOT_QUICK)):
            sys.stdout.write(f"\n# {suite}\n\n")
            sys.stdout.flush()
            quick = ["--quick", "--output", directory] if options.quick else []
            command = [sys.executable, "-m", f"bench.{suite}", *quick]
            if subprocess.run(command, check=False).returncode != 0:  # noqa: S603
                failed.append(suite)
        seconds = round(time.monotonic() - began_at)
    if not options.quick:
        write_tables()
    sys.stdout.write(f"\n{seconds} s; not measured: {', '.join(failed) or 'nothing'}\n")
    return int(bool(failed))


def write_tables() -> None:
    """Write the results to bench/README.md."""
    parts = []
    for suite, title in _TITLES.items():
        if not (file := RESULTS / f"{suite}.json").exists():
            continue  # The soak has a target of its own.
        result = json.loads(file.read_text())
        parts.append(
            f"### {title}\n\n![{title}](results/{suite}.svg)\n\n{_machine(result)}"
            f"{_faults(result)}\n\n{table(result['figures'])}\n"
        )
    export = json.loads((RESULTS / "export.json").read_text())
    rows = ["| command | min | median | max | to bare Python | goal | |", "| --- " * 7 + "|"]
    for row in export["commands"]:
        goal = "" if row["limit"] is None else f"≤ {row['limit']:g} x"
        verdict = "" if not goal else "reached" if row["ratio"] <= row["limit"] else "**missed**"
        times = [f"{row[key]:g} ms" for key in ("min_ms", "median_ms", "max_ms")]
        rows.append(f"| {' | '.join([row['command'], *times, str(row['ratio']), goal, verdict])} |")
    modules = export["modules_of_export_credentials"]
    parts.append(
        f"### Fast commands\n\n![Commands](results/export.svg)\n\n"
        f"{_machine(export)} `export-credentials` from the file: {modules} modules in total.\n\n"
        + "\n".join(rows)
        + "\n"
    )
    before, _, rest = _README.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    _README.write_text(f"{before}{_BEGIN}\n{chr(10).join(parts)}\n{_END}{after}")


def _machine(result: dict[str, object]) -> str:
    return (
        f"Measured on {result['measured_at']}, {result['cpus']} CPUs, Linux {result['kernel']}, "
        f"Python {result['python']}."
    )


def _faults(result: dict[str, Any]) -> str:
    """Return the faults of the soak by kind, each with the longest time until all was well."""
    if "faults" not in result:
        return ""
    rows = [
        f"{kind} ({count}; {result['recovered_after'][kind]:g} s)"
        for kind, count in result["faults"].items()
    ]
    return (
        f" {result['minutes']:g} minutes, seed {result['seed']}. Faults by kind, with their number "
        f"and the longest time from their end until all profiles were valid: {', '.join(rows)}."
    )


if __name__ == "__main__":
    sys.exit(main())
