"""Prints the progress of a terminal run: one line that is rewritten on a tty, else one per 2 s."""

import math
import shutil
from collections import Counter
from typing import TextIO

from raydash.core.clock import Clock
from raydash.core.messages import ClusterStatus
from raydash.core.states import Activity, RunState
from raydash.core.updates import LearningFigures, RunUpdate
from raydash.core.words import plain

LINE_INTERVAL_S = 2.0
REWRITE_INTERVAL_S = 0.1
_CLEAR = "\r\x1b[K"
_GAP = "  "


class ProgressLine:
    """The line with the newest progress, written no more often than people can read it."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._is_tty = stream.isatty()
        self._interval_s = REWRITE_INTERVAL_S if self._is_tty else LINE_INTERVAL_S
        self._printed_s = -math.inf
        self._topic = ""
        self._is_line_shown = False

    def show(self, text: str, topic: str = "") -> None:
        """Show the progress: at once if the topic is new, else not if it comes too soon."""
        now = self._clock()
        if topic == self._topic and now - self._printed_s < self._interval_s:
            return
        self._printed_s, self._topic = now, topic
        if self._is_tty:
            self._write(_CLEAR + fit_parts(text, shutil.get_terminal_size().columns - 1))
            self._is_line_shown = True
        else:
            self._write(text + "\n")

    def print_line(self, text: str) -> None:
        """Print a line that stays."""
        self.end()
        self._write(text + "\n")

    def end(self) -> None:
        """Remove the line that is rewritten, if it is there."""
        if self._is_line_shown:
            self._write(_CLEAR)
            self._is_line_shown = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # nobody reads any more, which must not harm the run


def fit_parts(text: str, width: int) -> str:
    """Drop parts (which are two spaces apart) from the end until the text fits."""
    while len(text) > width and _GAP in text:
        text = text.rpartition(_GAP)[0]
    return text[:width]


def cluster_line(status: ClusterStatus) -> str:
    """Format the phase of a cluster, with the seconds since it began."""
    if status.is_simulated:
        return "no cluster: the workers are simulated"
    where = f" at {status.address}" if status.address else ""
    elapsed = plain.duration(status.elapsed_s)
    return f"cluster {status.phase.value}{where}  {elapsed}  {status.text}".rstrip()


def run_line(update: RunUpdate) -> str:
    """Format a run's clock, counters, rates and workers on one line."""
    figures, learning = update.figures, update.learning
    if learning is not None:
        return _learning_line(update, learning)
    steps = figures.num_env_steps_sampled_lifetime
    if figures.num_episodes_lifetime:
        mean = figures.recent_return_mean
        episodes = f"{plain.plural(figures.num_episodes_lifetime, 'episode')}  return " + (
            f"{plain.decimal(mean)} (last {figures.recent_n})" if math.isfinite(mean) else "-"
        )
    else:
        episodes = "no episode finished yet"
    state = "" if update.state is RunState.RUNNING else f"{update.state.value}  "
    return (
        f"{state}{plain.duration(figures.elapsed_s)}  {plain.count(steps)} steps  "
        f"{plain.decimal(figures.env_steps_per_s_10s)}/s  {episodes}  {_workers(update)}"
    )


def _learning_line(update: RunUpdate, learning: LearningFigures) -> str:
    """Format the generation under way, the returns of the last ones, and the evaluation."""
    figures = update.figures
    parts = [
        plain.duration(figures.elapsed_s),
        f"generation {plain.count(learning.weights_seq_no)}",
    ]
    if update.state is not RunState.RUNNING:
        parts.insert(0, update.state.value)
    if math.isfinite(learning.generation_return_mean):
        parts.append(f"mean {plain.decimal(learning.generation_return_mean)}")
    if math.isfinite(learning.best_episode_return_mean):
        parts.append(f"best {plain.decimal(learning.best_episode_return_mean)}")
    if math.isfinite(learning.evaluation_episode_return_mean):
        evaluation = f"evaluation {plain.decimal(learning.evaluation_episode_return_mean)}"
        if learning.target_return is not None:
            evaluation += f" of {plain.decimal(learning.target_return)}"
        parts.append(evaluation)
    steps = plain.count(figures.num_env_steps_sampled_lifetime)
    parts += [f"{steps} steps", f"{plain.decimal(figures.env_steps_per_s_10s)}/s", _workers(update)]
    return _GAP.join(parts)


def _workers(update: RunUpdate) -> str:
    counts = Counter(int(number) for number in update.workers.activity)
    parts = [f"{count} {Activity(number).word}" for number, count in sorted(counts.items())]
    return ", ".join(parts) if parts else f"{update.num_workers} workers to come"
