"""The content of the list of runs: live runs, runs of this window, opened recordings. Pure."""

import math
from dataclasses import dataclass, replace

from raydash.core.library import RunSource
from raydash.core.messages import RunSummary
from raydash.core.states import RunState
from raydash.core.words import numbers, spans
from raydash.link.session import Session
from raydash.link.store import RunStore
from raydash.ui.kit import run_words
from raydash.ui.kit.run_names import distinct_names


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run of the list.

    Attributes:
        run_id: Id of the run.
        name: Its name, which no other line has.
        state: Its state; None if nothing is known of it yet.
        elapsed_s: Its stepping time.
        owner: `user@host` of the person who started it.
        detail: Environment, workers, how it ended.
        is_own: It was started in this window.
        is_recording: It is shown from its file.
        execution: What chooses the actions, what improves that, and an unusual mode.
        paused: It has been asked to pause.
        return_mean: Mean of the last 100 episodes; NaN if there is none yet, or it is not known
            here.
        steps_per_s: Over the last 10 s, or the whole of a run that is over; NaN if it is not known.
        num_env_steps: Env steps of the whole run.
        is_shown: It is the one on screen.
        is_drawn: Its curves are in the plots.
    """

    run_id: str
    name: str
    state: RunState | None
    elapsed_s: float
    owner: str
    detail: str
    is_own: bool
    is_recording: bool = False
    execution: str = ""
    paused: bool = False
    return_mean: float = math.nan
    steps_per_s: float = math.nan
    num_env_steps: int = 0
    is_shown: bool = False
    is_drawn: bool = False

    @property
    def state_words(self) -> str:
        """Its state and time, and its owner if that is somebody else.

        The icon shows how a recording ended, so the text does not.
        """
        whose = "" if self.is_own or self.is_recording else f" · {self.owner}"
        state = run_words.run_state(self.state, paused=self.paused)
        kind = "recording" if self.is_recording else state
        return f"{kind} · {spans.clock(self.elapsed_s)}{whose}"

    @property
    def pace_words(self) -> str:
        """Env steps per second, or in total where the rate is not known."""
        if math.isfinite(self.steps_per_s):
            return numbers.rate(self.steps_per_s)
        return numbers.compact(self.num_env_steps) + " steps" if self.num_env_steps else ""

    @property
    def return_words(self) -> str:
        """The mean return; empty before the first episode has ended."""
        return numbers.decimal(self.return_mean) if math.isfinite(self.return_mean) else ""

    @property
    def tip(self) -> str:
        """Everything known of it, with what the figures mean, for a tool tip."""
        lines = [self.name, self.run_id, self.detail, self.execution]
        if self.return_words:
            lines.append(f"mean return of the last 100 episodes: {self.return_words}")
        if math.isfinite(self.steps_per_s):
            is_over = self.state is not None and self.state.is_over
            lines.append(
                f"env steps: {numbers.rate(self.steps_per_s)} over "
                f"{'the whole run' if is_over else 'the last 10 s'}"
            )
        if self.owner:
            lines.append(f"started by {self.owner}")
        return "\n".join(dict.fromkeys(line for line in lines if line))

    @property
    def spoken(self) -> str:
        """The line as a screen reader says it."""
        figures = (
            run_words.run_state(self.state) if self.is_recording else "",
            f"mean return {self.return_words}" if self.return_words else "",
            f"{self.pace_words}" if self.pace_words else "",
            "on screen" if self.is_shown else "overlaid" if self.is_drawn else "",
        )
        parts = (self.name, self.execution, self.state_words, *figures)
        return ", ".join(part for part in parts if part)


def run_lines(session: Session) -> tuple[RunLine, ...]:
    """Live runs, known runs and opened recordings, newest first."""
    store = session.store
    lines: dict[str, RunLine] = {
        live.run_id: _live_line(live, is_own=live.run_id in session.own_runs.ids)
        for live in store.live_runs
    }
    for run_id, run in store.runs.items():
        is_own = run_id in session.own_runs.ids
        is_closed = run.is_recording and run_id not in session.library.opened
        if run.latest is not None and not (is_closed and not is_own):
            lines[run_id] = _known_line(run, is_own=is_own)
    ordered = sorted(lines.values(), key=lambda line: line.run_id, reverse=True)
    known = [store.runs.get(line.run_id) for line in ordered]
    specs = [run.spec if run is not None else None for run in known]
    names = distinct_names(
        [line.name for line in ordered],
        [spec.rollout.seed if spec else None for spec in specs],
        [line.run_id for line in ordered],
    )
    return tuple(
        replace(
            line,
            name=name,
            is_shown=line.run_id == store.shown_run_id,
            is_drawn=line.run_id in (store.shown_run_id, *store.overlaid),
        )
        for line, name in zip(ordered, names, strict=True)
    )


def _live_line(live: RunSummary, *, is_own: bool) -> RunLine:
    return RunLine(
        live.run_id,
        live.name or live.env_id,
        live.state,
        live.elapsed_s,
        live.owner,
        f"{live.env_id}, {numbers.plural(live.num_workers, 'worker')}, since {live.started_utc}",
        is_own,
        execution=run_words.execution(live.mode, live.policy, live.learner),
        num_env_steps=live.num_env_steps_sampled_lifetime,
    )


def _execution(run: RunStore) -> str:
    is_ours = run.info is not None and run.info.source is RunSource.RAYDASH
    if run.spec is None or not is_ours:
        return ""
    return run_words.execution(run.spec.rollout.mode, run.spec.policy.kind, run.spec.learner.kind)


def _known_line(run: RunStore, *, is_own: bool) -> RunLine:
    latest = run.latest
    assert latest is not None
    env_id = run.spec.env.id if run.spec else ""
    detail = f"{env_id}, {numbers.plural(latest.num_workers, 'worker')}"
    figures, state = latest.figures, latest.state
    elapsed_s, per_s = figures.elapsed_s, figures.env_steps_per_s_10s
    return_mean = figures.recent_return_mean
    if state.is_over or run.is_recording:
        per_s = figures.num_env_steps_sampled_lifetime / elapsed_s if elapsed_s else math.nan
    if run.is_recording and not state.is_over:
        # Whichever time is shown, the line describes the whole run.
        return_mean = per_s = math.nan
    if run.is_recording and run.ended[0] is not None:
        state, elapsed_s = run.ended[0], run.recorded_until_s or elapsed_s
        detail += f", recording, {run_words.outcome(*run.ended)}"
    elif state.is_over:
        reason = latest.cause or run_words.ended_by(latest.ended_by)
        detail += f", {state.value}: {reason}"
    return RunLine(
        run.run_id,
        run.name,
        state,
        elapsed_s,
        run.info.owner if run.info else "",
        detail,
        is_own,
        run.is_recording,
        execution=_execution(run),
        paused=latest.paused,
        return_mean=return_mean,
        steps_per_s=per_s,
        num_env_steps=figures.num_env_steps_sampled_lifetime,
    )
