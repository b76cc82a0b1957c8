"""What all benches share: medians, percentiles, and printing for people or as JSON."""

import json
import math
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def median(values: Iterable[float]) -> float:
    """The median; NaN of nothing."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def stolen_s() -> float:
    """CPU seconds that a virtual machine's host gave to others meanwhile, from /proc/stat."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    return int(fields[7]) / 100.0


def print_progress(text: str) -> None:
    """Progress, to stderr."""
    print(text, file=sys.stderr, flush=True)


def print_result(title: str, figures: Mapping[str, object], *, as_json: bool) -> None:
    """The result: one JSON object on stdout, or a table."""
    if as_json:
        print(json.dumps({"bench": title, "at": time.strftime("%Y-%m-%dT%H:%M:%S"), **figures}))
        return
    print(f"bench {title}")
    width = max(len(name) for name in figures)
    for name, value in figures.items():
        shown = f"{value:,.4g}" if isinstance(value, float) and abs(value) < 1e4 else value
        shown = f"{value:,.0f}" if isinstance(value, float) and abs(value) >= 1e4 else shown
        print(f"  {name:<{width}}  {shown}")
