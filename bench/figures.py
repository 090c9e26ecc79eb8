"""Publishes results: figures with their goals, as JSON, tables and plots."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """A quantity that was measured several times.

    Args:
        what: its name.
        unit: of the values, such as `s`; `x` for a ratio to the baseline of the same round.
        values: one for each round.
        goal: the limit for the median, in that unit; None for a baseline.
        at_least: whether the goal is a minimum.
    """

    what: str
    unit: str
    values: Sequence[float]
    goal: float | None = None
    at_least: bool = False

    @property
    def median(self) -> float:
        """The value that is compared with the goal."""
        return statistics.median(self.values)

    @property
    def is_reached(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        if self.goal is None:
            return None
        return self.median >= self.goal if self.at_least else self.median <= self.goal

    def shape(self) -> dict[str, object]:
        """Return it as JSON."""
        return {
            "what": self.what,
            "unit": self.unit,
            "min": _short(min(self.values)),
            "median": _short(self.median),
            "max": _short(max(self.values)),
            "goal": self.goal,
            "at_least": self.at_least,
            "is_reached": self.is_reached,
            "values": [_short(value) for value in self.values],
        }


def machine() -> dict[str, object]:
    """Return the date and the machine of a measurement."""
    return {
        "measured_at": f"{datetime.now(UTC):%Y-%m-%d}",
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
    }


def ratios(values: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Return the ratio of each value to the baseline of its round."""
    return [value / base for value, base in zip(values, baseline, strict=True)]


def publish(name: str, figures: Sequence[Figure], *, directory: Path, **more: Any) -> None:
    """Print a table, and write `name`.json and `name`.svg."""
    directory.mkdir(exist_ok=True)
    result = {**machine(), **more, "figures": [figure.shape() for figure in figures]}
    (directory / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(table(result["figures"]) + "\n")
    sys.stdout.flush()
    plot(directory / f"{name}.svg", lambda axes: _bars(axes, figures))


def table(figures: Sequence[Mapping[str, Any]]) -> str:
    """Return figures, as the JSON has them, as a Markdown table."""
    rows = [
        "| measurement | min | median | max | goal | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for figure in figures:
        unit = figure["unit"]
        goal = "" if figure["goal"] is None else f"{'≥' if figure['at_least'] else '≤'} "
        goal += "" if figure["goal"] is None else f"{figure['goal']:g} {unit}"
        is_reached = {None: "", True: "reached", False: "**missed**"}[figure["is_reached"]]
        values = [f"{figure[key]:g} {unit}" for key in ("min", "median", "max")]
        rows.append("| " + " | ".join([figure["what"], *values, goal, is_reached]) + " |")
    return "\n".join(rows)


def plot(path: Path, draw: Callable[[Any], None], *, rows: int = 1, height: float = 4) -> None:
    """Write a plot; the same figures give the same bytes.

    Args:
        path: of the SVG file.
        draw: called with the axes; with a list of them if there are several rows.
        rows: how many axes, below each other.
        height: in inches.
    """
    import matplotlib as mpl  # noqa: PLC0415 - only the plot needs it

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = path.stem
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(rows, 1, figsize=(9, height))
    draw(axes)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _bars(axes: Any, figures: Sequence[Figure]) -> None:
    """Draw each figure with a goal as a fraction of that goal, from minimum to maximum."""
    shown = [figure for figure in reversed(figures) if figure.goal]
    for row, figure in enumerate(shown):
        fractions = [value / figure.goal for value in figure.values if figure.goal]
        colour = "tab:green" if figure.is_reached else "tab:red"
        axes.plot(
            [min(fractions), max(fractions)], [row, row], color=colour, linewidth=6, alpha=0.3
        )
        axes.plot(statistics.median(fractions), row, "o", color=colour)
    axes.set_yticks(range(len(shown)), [figure.what for figure in shown], fontsize=7)
    axes.axvline(1, color="grey", linewidth=0.8, linestyle="--")
    axes.set_xlabel("fraction of the goal (dashed): minimum, median, maximum of all rounds")
    axes.set_xlim(left=0)
    axes.margins(y=0.1)


def _short(value: float) -> float:
    return float(f"{value:.4g}")
