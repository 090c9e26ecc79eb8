"""Run all benchmarks, one after the other, and write the results into bench/README.md.

`python -m bench` takes a quarter of an hour on two cores, and writes bench/results. With `--quick`
it takes about a minute, measures a part once, and keeps no result. A goal that is missed is shown
in the table; it is no failure.
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

from bench.figures import RESULTS, table

_SUITES = ("refresh", "late", "export", "fleet")
_NOT_QUICK = ("idle", "endpoint")
_README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- measured -->\n", "<!-- /measured -->"
_TITLES = {
    "refresh": "A thousand roles",
    "late": "In time",
    "idle": "At rest",
    "soak": "Over half an hour",
    "fleet": "A fleet",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all benchmarks; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="take about a minute")
    parser.add_argument("--readme", action="store_true", help="only write README.md")
    options = parser.parse_args(arguments)
    failed = []
    with tempfile.TemporaryDirectory() as directory:
        began_at = time.monotonic()
        for suite in () if options.readme else (*_SUITES, *(() if options.quick else _NOT_QUICK)):
            sys.stdout.write(f"\n# {suite}\n\n")
            sys.stdout.flush()
            quick = ["--quick", "--output", directory] if options.quick else []
            command = [sys.executable, "-m", f"bench.{suite}", *quick]
            if subprocess.run(command, check=False).returncode != 0:  # noqa: S603
                failed.append(suite)
        seconds = round(time.monotonic() - began_at)
    if not options.quick:
        write_readme()
    sys.stdout.write(f"\n{seconds} s; not measured: {', '.join(failed) or 'nothing'}\n")
    return int(bool(failed))


def write_readme() -> None:
    """Write the results into bench/README.md."""
    parts = []
    for suite, title in _TITLES.items():
        if not (file := RESULTS / f"{suite}.json").exists():
            continue  # The soak has a target of its own.
        result = json.loads(file.read_text())
        parts.append(
            f"### {title}\n\n![{title}](results/{suite}.svg)\n\n{_machine(result)}\n\n"
            f"{table(result['figures'])}\n"
        )
    export = json.loads((RESULTS / "export.json").read_text())
    rows = ["| command | least | median | most | to bare Python | goal | |", "| --- " * 7 + "|"]
    for row in export["commands"]:
        goal = "" if row["limit"] is None else f"≤ {row['limit']:g} x"
        verdict = "" if not goal else "reached" if row["ratio"] <= row["limit"] else "**missed**"
        times = [f"{row[key]:g} ms" for key in ("least_ms", "median_ms", "most_ms")]
        rows.append(f"| {' | '.join([row['command'], *times, str(row['ratio']), goal, verdict])} |")
    modules = export["modules_of_export_credentials"]
    parts.append(
        f"### Commands in prompts and SDKs\n\n![Commands](results/export.svg)\n\n"
        f"{_machine(export)} `export-credentials` from the file: {modules} modules in all.\n\n"
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


if __name__ == "__main__":
    sys.exit(main())
