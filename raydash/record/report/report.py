"""Writes one self-contained HTML file about one or more recordings.

The file opens offline and executes nothing: there is no script in it, a content security policy
forbids any, and every text of a recording is escaped.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template

from raydash.core.analysis.compare import figures_table, interval, seed_groups, spec_differences
from raydash.core.faults import Fault, FaultError
from raydash.core.words import figures, numbers, spans
from raydash.record.export.staging import staged_output
from raydash.record.report.facts import ReportedRun, read_facts, spec_rows
from raydash.record.report.pictures import overlay_pictures, run_pictures
from raydash.version import __version__

MAX_RUNS = 50
MAX_WORKERS = 500
_SUFFIXES = (".html", ".htm")


def write_report(
    paths: Sequence[Path],
    out: Path,
    *,
    force: bool = False,
    titles: Sequence[str] | None = None,
    now: datetime | None = None,
) -> None:
    """Write a report; nothing is left at `out` or beside it if that fails.

    Args:
        paths: Recordings, at most `MAX_RUNS`, in the order of the report. Live ones are refused.
        out: The file, `.html`; its folder must be there.
        force: Replace what is there.
        titles: What to call the runs; if None or a title is empty, the spec's name is used.
        now: The time that the report names as its own; None means the present.

    Raises:
        FaultError: if a recording can't be read, or the file not be written.
    """
    out = out.absolute()
    if out.suffix.lower() not in _SUFFIXES:
        raise _refused(out, "a report is an HTML file", f"Call it {out.stem}.html")
    if not paths or len(paths) > MAX_RUNS:
        why = f"it can tell of 1 to {MAX_RUNS} runs, not of {len(paths)}"
        raise _refused(out, why, "Choose other runs")
    with staged_output(out, [out.name], force=force) as staging:
        runs = [read_facts(path) for path in paths]
        text = render(runs, titles=titles, now=now or datetime.now(UTC))
        # One character that can't be encoded (a lone surrogate) must not spoil the rest.
        (staging / out.name).write_text(text, encoding="utf-8", errors="replace", newline="\n")


def render(
    runs: Sequence[ReportedRun], *, now: datetime, titles: Sequence[str] | None = None
) -> str:
    """Render the page as text."""
    labels = _labels(runs, titles or [""] * len(runs))
    page = _template().render(
        title=labels[0] if len(runs) == 1 else f"{len(runs)} runs compared",
        labels=labels,
        runs=runs,
        figures=_figure_rows(runs),
        groups=_group_rows(runs),
        differences=spec_differences([facts.spec for facts in runs]) if len(runs) > 1 else (),
        overlays=overlay_pictures(runs, labels) if len(runs) > 1 else [],
        pictures=[run_pictures(number, facts) for number, facts in enumerate(runs)],
        spec_rows=spec_rows,
        max_workers=MAX_WORKERS,
        numbers=numbers,
        spans=spans,
        spec_value=figures.spec_value,
        version=__version__,
        now=now,
        style=resources.files("raydash.record.report").joinpath("report.css").read_text("utf-8"),
    )
    return _NOT_IN_HTML.sub("\ufffd", page)


_NOT_IN_HTML = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\u202a-\u202e\u2066-\u2069]"
)
"""Control characters, lone surrogates, and characters that reverse all text that follows."""


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files("raydash.record.report").joinpath("report.html.j2")
    return environment.from_string(source.read_text("utf-8"))


def _labels(runs: Sequence[ReportedRun], titles: Sequence[str]) -> list[str]:
    """Name the runs, adding the seed or the end of the id where names would be the same."""
    plain = [title or facts.title for title, facts in zip(titles, runs, strict=True)]
    seeds = [facts.spec.rollout.seed for facts in runs]
    labels = []
    for name, seed, facts in zip(plain, seeds, runs, strict=True):
        twins = [other for same, other in zip(plain, seeds, strict=True) if same == name]
        tail = f"seed {seed}" if twins.count(seed) == 1 else facts.info.run_id[-4:]
        labels.append(name if len(twins) == 1 else f"{name} · {tail}")
    return labels


def _figure_rows(runs: Sequence[ReportedRun]) -> list[tuple[str, list[tuple[str, bool]]]]:
    """List the figures: a label, then for each run the figure and whether it is the best."""
    table = figures_table([facts.figures for facts in runs], [facts.spec.env.id for facts in runs])
    return [
        (
            figures.LABELS[row.key],
            [
                (figures.figure(row.key, value), best)
                for value, best in zip(row.values, row.best, strict=True)
            ],
        )
        for row in table
    ]


def _group_rows(runs: Sequence[ReportedRun]) -> list[tuple[str, list[tuple[str, str]]]]:
    """List groups of runs that differ only in their seed: a name, and figures with intervals."""
    table = figures_table([facts.figures for facts in runs])
    groups = []
    for group in seed_groups([facts.known_spec for facts in runs]):
        if len(group) < 2:
            continue
        cells = []
        for row in table:
            middle, low, high, n = interval([row.values[member] for member in group])
            text = figures.figure(row.key, middle)
            if n > 1:
                text += f" [{figures.figure(row.key, low)}, {figures.figure(row.key, high)}]"
            cells.append((figures.LABELS[row.key], text))
        groups.append((f"{runs[group[0]].title}, n = {len(group)}", cells))
    return groups


def _refused(out: Path, why: str, remedy: str) -> FaultError:
    return FaultError(Fault(f"{out.name} was not written", why, remedy, str(out), bad_input=True))
