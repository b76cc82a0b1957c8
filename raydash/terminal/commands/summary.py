"""Sums up a terminal run at its end: as one JSON object, or as a few lines for people."""

import json
import math
from dataclasses import asdict, dataclass

from raydash.core.analysis.run_table import RunFacts, env_steps_per_s
from raydash.core.faults import Fault
from raydash.core.spec import RunSpec
from raydash.core.states import EndedBy, RunState
from raydash.core.updates import (
    AgentFigures,
    LearningFigures,
    RunFigures,
    RunInfo,
    RunUpdate,
    ScalarFigures,
)
from raydash.core.words import plain
from raydash.terminal.commands.recordings.printing import printable

_SHOWN_AGENTS = 16


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that is known of a run when the terminal leaves it; None where nothing is.

    Attributes:
        spec: The spec that was asked for; None if it was refused.
        run_id: Empty if no run was started.
        update: The newest update.
        info: As the snapshot had it.
        state: The run's state, if it is not the one in `update`.
        ended_by: What ended the run, if it is not what `update` says.
        fault: What went wrong.
    """

    spec: RunSpec | None
    run_id: str = ""
    update: RunUpdate | None = None
    info: RunInfo | None = None
    state: RunState | None = None
    ended_by: EndedBy | None = None
    fault: Fault | None = None

    def table(self) -> dict[str, object]:
        """List the figures of the whole run under their stable names; None where there is none."""
        update = self.update
        wanted = self.spec.rollout.num_workers if self.spec else None
        facts = RunFacts(
            run_id=self.run_id,
            env_id=self.spec.env.id if self.spec else None,
            num_workers=update.num_workers if update else wanted,
            seed=self.spec.rollout.seed if self.spec else None,
            spec=asdict(self.spec) if self.spec else None,
            figures=update.figures if update else None,
            scalars=update.scalars if update else None,
            agents=update.agents if update else None,
            learning=update.learning if update else None,
            num_restarts=update.figures.num_restarts if update else None,
            state=self.state or (update.state if update else None),
            ended_by=self.ended_by or (update.ended_by if update else None),
            cause=update.cause if update else None,
            recording=self.info.recording if self.info else None,
            error=self.fault.sentence() if self.fault else self._recording_words() or None,
            keys=RunFacts.keys_of(self.fault),
        )
        return {name: _json_value(value) for name, value in facts.table().items()}

    def json(self) -> str:
        """Format the table as one line of JSON."""
        return json.dumps(self.table(), allow_nan=False)

    def text(self) -> str:
        """Format the table for people; empty if no run was started."""
        if not self.run_id:
            return ""
        table = self.table()
        lines = [("run", f"{self.run_id}  {_ending_words(table)}")]
        if self.spec:
            count = self.update.num_workers if self.update else self.spec.rollout.num_workers
            workers = f"{plain.plural(count, 'worker')}, " if count else ""
            lines.append(("env", f"{self.spec.env.id}, {workers}seed {table['seed']}"))
        if self.update:
            lines += _figure_lines(self.update.figures)
            lines += named_lines(self.update.scalars, self.update.agents)
            lines += learning_lines(self.update.learning)
        for key in ("cause", "recording"):
            if table[key]:
                lines.append((key, str(table[key])))
        if words := self._recording_words():
            lines.append(("", words))
        return "\n".join(f"{name:<10} {value}" for name, value in lines)

    def _recording_words(self) -> str:
        """Say what is wrong with the recording; empty if nothing is."""
        fault = self.update.health.recording_fault if self.update else ""
        return f"The recording is not whole: {fault}." if fault else ""


def named_lines(scalars: ScalarFigures, agents: AgentFigures | None) -> list[tuple[str, str]]:
    """Format the means of named scalars and of agents over the whole run, for people."""
    lines = [
        ("info", f"{printable(name)} mean {plain.decimal(mean)} of {plain.count(count)} episodes")
        for name, mean, count in zip(scalars.names, scalars.mean, scalars.count, strict=True)
    ]
    if agents is not None:
        rows = zip(
            agents.names[:_SHOWN_AGENTS],
            agents.episode_return_mean,
            agents.num_steps,
            strict=False,
        )
        lines += [
            (
                "agent",
                f"{printable(name)} return mean {plain.decimal(mean)}, {plain.count(steps)} steps",
            )
            for name, mean, steps in rows
        ]
        if (more := len(agents.names) - _SHOWN_AGENTS) > 0:
            lines.append(("agent", f"and {more} more: see --json"))
    return lines


def learning_lines(learning: LearningFigures | None) -> list[tuple[str, str]]:
    """Format how much was learnt, for people; empty if nothing learns."""
    if learning is None:
        return []
    text = plain.plural(learning.num_generations, "generation")
    if math.isfinite(learning.best_episode_return_mean):
        text += f", best candidate {plain.decimal(learning.best_episode_return_mean)}"
    if math.isfinite(learning.evaluation_episode_return_mean):
        text += (
            f"; evaluation {plain.decimal(learning.evaluation_episode_return_mean)}"
            f" (mean of {plain.plural(learning.evaluation_n, 'episode')})"
        )
    lines = [("learnt", text)]
    if learning.best_policy:
        lines.append(("policy", printable(learning.best_policy)))
    return lines


def _json_value(value: object) -> object:
    """Replace infinite values by None, because JSON cannot express them."""
    return None if isinstance(value, float) and math.isinf(value) else value


def _ending_words(table: dict[str, object]) -> str:
    by = f" by {str(table['ended_by']).replace('_', ' ')}" if table["ended_by"] else ""
    return f"{table['state'] or 'started'}{by}"


def _figure_lines(figures: RunFigures) -> list[tuple[str, str]]:
    rate = env_steps_per_s(figures)
    steps = plain.count(figures.num_env_steps_sampled_lifetime)
    lines = [
        (
            "stepped",
            f"{plain.duration(figures.elapsed_s)}, {steps} env steps"
            + (f", {plain.decimal(rate)} env steps/s" if rate is not None else ""),
        ),
        (
            "episodes",
            f"{plain.count(figures.num_episodes_lifetime)}: "
            f"terminated {plain.count(figures.num_episodes_terminated_lifetime)}, "
            f"truncated {plain.count(figures.num_episodes_truncated_lifetime)}, "
            f"error {plain.count(figures.num_episodes_error_lifetime)}",
        ),
    ]
    if math.isfinite(figures.episode_return_mean):
        low, high = figures.episode_return_min, figures.episode_return_max
        lines.append(
            (
                "return",
                f"mean {plain.decimal(figures.episode_return_mean)}, min {plain.decimal(low)}, "
                f"max {plain.decimal(high)}; "
                f"length mean {plain.decimal(figures.episode_len_mean)} (whole run)",
            )
        )
    lines.append(("restarts", plain.count(figures.num_restarts)))
    return lines
