"""The texts of a comparison: metrics, axes, figures and values of specs. Pure."""

from collections.abc import Mapping
from datetime import datetime, tzinfo

from raydash.core.analysis.compare import Centre, Metric, XAxis
from raydash.core.analysis.learning_curve import LearningMetric
from raydash.core.words import figures, numbers, spans
from raydash.core.words.ticks import Ticks, clock_ticks, multiples, time_step, value_ticks

AnyMetric = Metric | LearningMetric

METRICS: Mapping[AnyMetric, str] = {
    Metric.EPISODE_RETURN_MEAN: "episode return",
    Metric.EPISODE_LEN_MEAN: "episode length",
    Metric.ENV_STEPS_PER_S: "env steps/s",
    Metric.EPISODES_PER_S: "episodes/s",
    Metric.TERMINATED_SHARE: "terminated share",
    LearningMetric.EVALUATION_MEAN: "evaluation return",
    LearningMetric.POPULATION_MEAN: "population mean",
    LearningMetric.POPULATION_BEST: "population best",
}
UNITS: Mapping[AnyMetric, str] = {
    Metric.EPISODE_RETURN_MEAN: "mean return",
    Metric.EPISODE_LEN_MEAN: "mean length, steps",
    Metric.ENV_STEPS_PER_S: "env steps/s",
    Metric.EPISODES_PER_S: "episodes/s",
    Metric.TERMINATED_SHARE: "% of episodes",
    LearningMetric.EVALUATION_MEAN: "mean return of an evaluation",
    LearningMetric.POPULATION_MEAN: "mean return of a generation",
    LearningMetric.POPULATION_BEST: "return of its best candidate",
}
AXES: Mapping[XAxis, str] = {
    XAxis.TIME: "time since start",
    XAxis.ENV_STEPS: "env steps",
    XAxis.EPISODES: "episodes",
    XAxis.WALL_CLOCK: "wall clock",
    XAxis.GENERATION: "generations",
}
GROUPINGS: Mapping[Centre | None, str] = {
    None: "each run",
    Centre.MEDIAN: "seeds: median, 95 %",
    Centre.IQM: "seeds: IQM, 95 %",
}
CENTRES: Mapping[Centre, str] = {Centre.MEDIAN: "median", Centre.IQM: "interquartile mean"}
SMOOTHINGS: Mapping[int, str] = {
    1200: "not smoothed",
    300: "lightly smoothed",
    75: "smoothed",
    20: "very smooth",
}
"""By the largest number of points of a whole curve."""

FIGURES: Mapping[str, str] = {
    key: label.lower() if label[0].isupper() else f"  {label}"
    for key, label in figures.LABELS.items()
}
"""In small letters, so that those that belong to the one above them are indented instead."""


def metric_of(word: str) -> AnyMetric:
    """The metric of this name."""
    learning = {each.value: each for each in LearningMetric}
    return learning[word] if word in learning else Metric(word)


def metric_value(metric: AnyMetric, value: float) -> str:
    """A value of a curve in words, as the curve shows it."""
    match metric:
        case Metric.ENV_STEPS_PER_S | Metric.EPISODES_PER_S:
            return numbers.rate(value)
        case Metric.TERMINATED_SHARE:
            return f"{numbers.decimal(100 * value)}{numbers.NBSP}%"
        case _:
            return numbers.decimal(value)


def axis_value(axis: XAxis, value: float, zone: tzinfo | None = None) -> str:
    """A place on the x axis in words."""
    match axis:
        case XAxis.TIME:
            return spans.clock(value)
        case XAxis.WALL_CLOCK:
            return datetime.fromtimestamp(value, zone).strftime("%Y-%m-%d %H:%M:%S")
        case XAxis.ENV_STEPS:
            return numbers.plural(value, "env step")
        case XAxis.EPISODES:
            return numbers.plural(value, "episode")
        case XAxis.GENERATION:
            return f"generation {numbers.count(value)}"


def axis_ticks(
    axis: XAxis, low: float, high: float, max_ticks: int, zone: tzinfo | None = None
) -> Ticks:
    """Ticks of the x axis."""
    match axis:
        case XAxis.TIME:
            return clock_ticks(low, high, max_ticks)
        case XAxis.WALL_CLOCK:
            return wall_ticks(low, high, max_ticks, zone)
        case _:
            return [tick for tick in value_ticks(low, high, max_ticks, whole=True) if tick[0] >= 0]


def wall_ticks(low: float, high: float, max_ticks: int, zone: tzinfo | None = None) -> Ticks:
    """Ticks at whole local times: `14:05`, `14:05:30`, or `23 Nov` where ticks are days apart.

    Args:
        low: Seconds since 1970, UTC.
        high: Seconds since 1970, UTC.
        max_ticks: About the largest number of ticks.
        zone: The time zone of the labels; None: this machine's.
    """
    step = max(1.0, time_step(high - low, max_ticks))
    offset = datetime.fromtimestamp(low, zone).astimezone(zone).utcoffset()
    shift = offset.total_seconds() if offset else 0.0
    form = "%d %b" if step >= 86400 else "%H:%M" if step >= 60 else "%H:%M:%S"
    if step < 86400 and high - low > 86400:
        form = "%d %b %H:%M"
    return [
        (local - shift, datetime.fromtimestamp(local - shift, zone).strftime(form))
        for local in multiples(low + shift, high + shift, step)
    ]
