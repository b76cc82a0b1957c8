"""Which tiles there are, what their figures mean, and their texts. Pure functions of an update."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from raydash.core.spec import IS_SUCCESS
from raydash.core.states import Activity, RunState
from raydash.core.updates import LearningFigures, RunFigures, RunUpdate, ScalarFigures
from raydash.core.words import numbers, spans
from raydash.ui.figures.learning_tiles import evaluation_text, generation_text
from raydash.ui.figures.tile_text import TileText, join_parts, with_steady_width
from raydash.ui.kit import run_words


@dataclass(frozen=True, slots=True)
class TileKind:
    """A tile: its name, and what its figure means.

    Attributes:
        key: Stable name.
        label: The heading that people see.
        definition: What the figure means.
        stretch: Its share of the row's width.
        learns: Only runs that learn have this tile.
        gives_way: It is hidden when a run learns and the window has its usual width.
    """

    key: str
    label: str
    definition: str
    stretch: int
    learns: bool = False
    gives_way: bool = False


TILES = (
    TileKind(
        "evaluation",
        "Evaluation",
        "The mean return of the newest evaluation: the learner's best guess plays some episodes "
        "that count nowhere else. The run ends when it reaches the target return, if it has one, "
        "and fresh episodes confirm it. The best candidate is the best mean return of any so far.",
        13,
        learns=True,
    ),
    TileKind(
        "generation",
        "Generation",
        "The version of the parameters that is being played, the time since they came from the "
        "learner, and how many of its candidates have played all their episodes. Stale results "
        "are those of earlier generations that came too late and were let go.",
        11,
        learns=True,
    ),
    TileKind(
        "episode_return",
        "Episode return, mean",
        "The return of an episode is the undiscounted sum of its rewards. Shown is the mean over "
        "the last 100 episodes by finish time, all workers pooled; episodes that ended in an error "
        "have no return and are left out. Success is the mean of is_success in their last infos.",
        12,
        gives_way=True,
    ),
    TileKind(
        "env_steps",
        "Env steps/s",
        "Calls of env.step that returned, all workers together, taken from two totals over the "
        "last 10 s; once the run is over: over the whole run, without the time in which it was "
        "paused or had no worker.",
        10,
    ),
    TileKind(
        "episodes",
        "Episodes",
        "Episodes that ended since the run's start. Terminated and truncated count Gymnasium's "
        "flags: an episode with both flags counts in both. An error episode ended in an exception.",
        12,
    ),
    TileKind(
        "workers",
        "Workers",
        "What the workers are doing now. Resetting between two episodes counts as stepping. "
        "A stalled worker has been silent for the time shown.",
        10,
    ),
    TileKind(
        "time_share",
        "Time share",
        "Where the workers' time of the last 10 s went: env.step, env.reset, the policy, and "
        "waiting for the next request. In the modes lockstep and tasks, step is the way there and "
        "back, as the stepping loop sees it. What is missing to 100 % is the loop around them.",
        10,
        gives_way=True,
    ),
)


def tile_texts(update: RunUpdate | None, *, is_starting: bool = False) -> dict[str, TileText]:
    """The text of each tile, by key; `is_starting` when a run has been requested."""
    if update is None:
        text = (
            ("the run is starting",) if is_starting else ("no run yet: press Start", "no run yet")
        )
        nothing = TileText(numbers.UNKNOWN, text, "muted")
        return {tile.key: nothing for tile in TILES}
    learning = update.learning or LearningFigures()
    return {
        "evaluation": evaluation_text(learning),
        "generation": generation_text(update, learning),
        "episode_return": _episode_return(update.figures, update.scalars),
        "env_steps": _env_steps(update),
        "episodes": _episodes(update.figures),
        "workers": _workers(update),
        "time_share": _time_share(update),
    }


def _episode_return(figures: RunFigures, scalars: ScalarFigures) -> TileText:
    if not figures.recent_n or not math.isfinite(figures.recent_return_mean):
        steps = numbers.plural(figures.num_env_steps_sampled_lifetime, "step")
        return TileText(numbers.UNKNOWN, (f"no episode finished yet, {steps} so far",), "muted")
    n = numbers.count(figures.recent_n)
    low = numbers.decimal(figures.recent_return_min)
    high = numbers.decimal(figures.recent_return_max)
    success = ""
    if IS_SUCCESS in scalars.names:
        rate = float(scalars.recent_mean[scalars.names.index(IS_SUCCESS)])
        success = f"success {numbers.percent(rate)}"
    figures_text = join_parts(success, f"n = {n}", f"min {low}", f"max {high}")
    return TileText(
        with_steady_width(figures.recent_return_mean),
        (
            join_parts("last 100 episodes by finish time, all workers pooled", figures_text),
            join_parts("last 100 episodes, all workers pooled", figures_text),
            join_parts("last 100 episodes", figures_text),
            join_parts(f"n = {n}", f"{low} to {high}"),
        ),
    )


def _env_steps(update: RunUpdate) -> TileText:
    figures = update.figures
    total = figures.num_env_steps_sampled_lifetime
    if update.state.is_over:
        mean = total / figures.elapsed_s if figures.elapsed_s > 0 else 0.0
        over = f"mean of the whole run, {spans.long_clock(figures.elapsed_s)}"
        return TileText(
            numbers.count(mean),
            (join_parts(over, f"{numbers.count(total)} steps"), over, "whole run"),
        )
    last_second = f"1{numbers.NBSP}s: {numbers.count(figures.env_steps_per_s_1s)}"
    last_minute = f"60{numbers.NBSP}s: {numbers.count(figures.env_steps_per_s_60s)}"
    span = f"last 10{numbers.NBSP}s"
    return TileText(
        numbers.count(figures.env_steps_per_s_10s),
        (
            join_parts(span, last_second, last_minute, f"{numbers.count(total)} steps in total"),
            join_parts(span, last_second, last_minute, f"{numbers.compact(total)} in total"),
            join_parts(span, last_second, last_minute),
            join_parts(span, last_minute),
            span,
        ),
    )


def _episodes(figures: RunFigures) -> TileText:
    def kinds(number_words: Callable[[float], str], *, both: bool) -> str:
        parts = [
            f"terminated {number_words(figures.num_episodes_terminated_lifetime)}",
            f"truncated {number_words(figures.num_episodes_truncated_lifetime)}",
        ]
        if both and figures.num_episodes_both_lifetime:
            parts.append(f"both {number_words(figures.num_episodes_both_lifetime)}")
        parts.append(f"error {number_words(figures.num_episodes_error_lifetime)}")
        return join_parts(*parts)

    return TileText(
        numbers.count(figures.num_episodes_lifetime),
        (
            join_parts(
                kinds(numbers.count, both=True),
                f"{numbers.compact(figures.episodes_per_s_10s)} per s",
            ),
            kinds(numbers.count, both=True),
            kinds(numbers.count, both=False),
            kinds(numbers.compact, both=False),
        ),
    )


_TROUBLE = (Activity.STALLED, Activity.UNREACHABLE, Activity.FAILED, Activity.RESTARTING)
_ACTIVITY_ORDER = (
    *_TROUBLE,
    Activity.PAUSED,
    Activity.PAUSING,
    Activity.STARTING,
    Activity.IDLE,
    Activity.DRAINING,
    Activity.STOPPING,
    Activity.STOPPED,
)


def _workers(update: RunUpdate) -> TileText:
    activities = update.workers.activity.copy()
    ages_s = update.workers.activity_age_s
    if not len(activities):
        return TileText("0", ("none has been made yet", "none yet"), "muted")
    activities[activities == Activity.RESETTING] = Activity.STEPPING
    counts = {
        activity: int(np.count_nonzero(activities == activity))
        for activity in (Activity.STEPPING, *_ACTIVITY_ORDER)
    }
    main = (
        Activity.STEPPING
        if counts[Activity.STEPPING]
        else max(_ACTIVITY_ORDER, key=lambda activity: counts[activity])
    )
    others: list[str] = []
    for activity in _ACTIVITY_ORDER:
        if activity is main or not counts[activity]:
            continue
        age_s = float(np.max(ages_s[activities == activity]))
        others.append(f"{counts[activity]}{numbers.NBSP}{run_words.activity(activity, age_s)}")
    if update.pending:
        why = next(iter(update.pending.values()))
        others.append(f"{len(update.pending)}{numbers.NBSP}not placed: {why}")
    tone = "text"
    if any(counts[activity] for activity in _TROUBLE):
        tone = "warn" if counts[Activity.STEPPING] else "bad"
    elif update.state is RunState.RUNNING and not update.paused and counts[Activity.PAUSED]:
        tone = "warn"
    restarts = numbers.plural(update.figures.num_restarts, "restart")
    everyone = f"all {numbers.plural(len(activities), 'worker')}"
    if len(activities) == 1:
        everyone = "the only worker"
    small = (
        (join_parts(*others, restarts), join_parts(*others), others[0])
        if others
        else (join_parts(everyone, restarts), everyone)
    )
    return TileText(f"{numbers.count(counts[main])} {main.word}", small, tone)


def _time_share(update: RunUpdate) -> TileText:
    figures = update.figures
    shares = {
        "step": figures.share_step,
        "policy": figures.share_policy,
        "reset": figures.share_reset,
        "idle": figures.share_idle,
    }
    if update.state.is_over or not any(share > 0 for share in shares.values()):
        why = "the run is over" if update.state.is_over else "nothing stepped in the last 10 s"
        return TileText(numbers.UNKNOWN, (why,), "muted")
    main = max(shares, key=lambda name: shares[name])
    parts = [f"{name} {numbers.percent(share)}" for name, share in shares.items() if name != main]
    return TileText(
        f"{main} {numbers.percent(shares[main])}",
        (join_parts(*parts, f"last 10{numbers.NBSP}s"), join_parts(*parts)),
    )
