"""Helpers of all benches: medians, percentiles, and printing for people or as JSON."""

import json
import math
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def median(values: Iterable[float]) -> float:
    """Return the median of values that are not NaN; NaN if there is none."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share (0 to 1) of the values lies; NaN if there is none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def stolen_s() -> float:
    """Return the CPU seconds since boot that a virtual machine's host gave to other machines."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    return int(fields[7]) / 100.0


def print_progress(text: str) -> None:
    """Print progress to stderr."""
    print(text, file=sys.stderr, flush=True)


def print_result(title: str, figures: Mapping[str, object], *, as_json: bool) -> None:
    """Print the result to stdout, as one JSON object or as a table."""
    if as_json:
        print(json.dumps({"bench": title, "at": time.strftime("%Y-%m-%dT%H:%M:%S"), **figures}))
        return
    print(f"bench {title}")
    width = max(len(name) for name in figures)
    for name, value in figures.items():
        shown = f"{value:,.4g}" if isinstance(value, float) and abs(value) < 1e4 else value
        shown = f"{value:,.0f}" if isinstance(value, float) and abs(value) >= 1e4 else shown
        print(f"  {name:<{width}}  {shown}")
