"""The generation plan of a run that learns: which worker plays which episodes of which candidates.

Part of `raydash.core.machine`, which decides for the run as a whole; just as pure. In each
generation the learner gives out parameters, workers play the episodes of its candidates, and the
learner is told how each candidate did. Every few generations the learner's best guess is evaluated;
if a target is set, an evaluation that reaches it is confirmed by 100 fresh episodes.

Episodes are handed out in portions that get smaller towards the end of a generation. A request
names episodes; those that its worker did not begin come back with the chunk and are handed out
again, so between requests a worker holds only the one episode that it is in the middle of. Each
candidate's episodes count exactly once: results of an earlier generation, and results that came
twice, are dropped and counted as stale.
"""

import math
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TypeVar

import numpy as np

from raydash.core.events import EventKind
from raydash.core.faults import Fault
from raydash.core.machine.stimuli import (
    AskLearner,
    CreateLearner,
    Instruction,
    LearnerDied,
    LearnerFaulted,
    LearnerNews,
    RecordEvent,
    SavePolicy,
)
from raydash.core.records import (
    GenerationResults,
    ObservationSums,
    ParametersReady,
    PlayedWork,
    PolicyWritten,
    Work,
)
from raydash.core.spec import RunSpec
from raydash.core.updates import GenerationRow, LearningFigures
from raydash.core.words import plain

CONFIRMING_EPISODES = 100
MAX_PORTION = 1000
"""Episodes in one request."""
PORTIONS_PER_WORKER = 2
MAX_LEARNER_DEATHS = 5
"""In a row, that is without a complete generation in between; then the run fails."""


@dataclass(frozen=True, slots=True)
class PastLearning:
    """What was learnt under earlier supervisors of the run; the defaults are those of a new run.

    Attributes:
        figures: The last figures of the learning that were recorded.
        generations_since_evaluation: Generations that finished after the newest evaluation.
        evaluation_number: The number of the newest evaluation; 0: none yet.
        best_evaluation_mean: Mean return of the best evaluation; NaN: none yet.
    """

    figures: LearningFigures = field(default_factory=LearningFigures)
    generations_since_evaluation: int = 0
    evaluation_number: int = 0
    best_evaluation_mean: float = math.nan


class _State(Enum):
    ASKING = auto()
    PLAYING = auto()
    OVER = auto()


@dataclass(frozen=True, slots=True)
class _PlannedEpisode:
    """One episode to be played."""

    weights_seq_no: int
    evaluation: bool
    candidate: int
    episode: int


@dataclass(slots=True)
class _Assigned:
    """What a worker was assigned.

    Attributes:
        requests: The requests it has, oldest first.
        begun: The episode that it is in the middle of.
        is_reassigned: That episode was handed out to others as well.
    """

    requests: deque[Work | None] = field(default_factory=deque)
    begun: _PlannedEpisode | None = None
    is_reassigned: bool = False

    @property
    def begun_alone(self) -> _PlannedEpisode | None:
        """The episode that it is in the middle of, unless others were given it as well."""
        return None if self.is_reassigned else self.begun


class _Evaluation:
    """An evaluation that is under way; `returns` holds NaN for an episode with an error."""

    def __init__(self, number: int, wanted: int, *, confirms: bool) -> None:
        self.number = number
        self.wanted = wanted
        self.confirms = confirms
        self.to_play = deque(range(wanted))
        self.returns: dict[int, float] = {}

    @property
    def is_complete(self) -> bool:
        return len(self.returns) >= self.wanted

    @property
    def mean(self) -> float:
        """The mean return; NaN if every episode ended in an error."""
        return _mean(self.returns.values())


class GenerationPlan:
    """Decides which episodes are played. All times are on the run's clock.

    Attributes:
        num_stale: Results that came too late to count.
        has_reached_target: A confirmed evaluation reached the target, so the run should end.
        fault: Why nothing more can be learnt; None: all is well.
        best_policy: Path of the best policy; empty: none was saved yet.
    """

    def __init__(
        self, spec: RunSpec, instructions: list[Instruction], past: PastLearning | None = None
    ) -> None:
        """Begin without asking the learner for anything; `spec` must have a learner.

        Instructions are appended to the machine's own list.
        """
        past = past or PastLearning()
        self._spec = spec.learner
        self._target = spec.stop.target_return
        self._instructions = instructions
        before = past.figures
        self.num_stale = before.num_stale
        self.has_reached_target = False
        self.fault: Fault | None = None
        self.best_policy = before.best_policy
        self._state = _State.ASKING
        self._seq_no = before.weights_seq_no
        self._num_generations = before.num_generations
        self._since_evaluation = past.generations_since_evaluation
        self._best_return_mean = before.best_episode_return_mean
        self._evaluated_mean = before.evaluation_episode_return_mean
        self._evaluated_n = before.evaluation_n
        self._evaluation_number = past.evaluation_number
        self._num_evaluation_episodes = before.num_evaluation_episodes_lifetime
        self._best_evaluation = (0, past.best_evaluation_mean)
        self._num_parameters = 0
        self._sigma = math.nan
        self._num_restarts = before.num_restarts
        self._newest_mean = before.generation_return_mean
        self._arrived_s = 0.0
        self._deaths = 0
        self._death: LearnerDied | None = None
        self._saving: dict[int, tuple[float, int]] = {}
        self._results: list[dict[int, float]] = []
        self._num_missing = 0
        self._to_play: deque[tuple[int, int]] = deque()
        self._evaluation: _Evaluation | None = None
        self._observations: list[ObservationSums] = []
        self._assignments: dict[int, _Assigned] = {}
        self._pending_row: GenerationRow | None = None
        self._rows: list[GenerationRow] = []

    # --- what others may read ----------------------------------------------------------------

    @property
    def waits_for_learner(self) -> bool:
        """The learner computes the next parameters, and workers wait for them."""
        return self._state is _State.ASKING and self._num_parameters > 0

    @property
    def is_saving(self) -> bool:
        """The learner was told to save the best policy and has not answered."""
        return bool(self._saving)

    @property
    def has_work(self) -> bool:
        """There are episodes that no worker was given yet."""
        return self._state is _State.PLAYING and bool(
            self._to_play or (self._evaluation is not None and self._evaluation.to_play)
        )

    @property
    def weights_seq_no(self) -> int:
        """The number of the generation that is being played or was asked for."""
        return self._seq_no

    def take_rows(self) -> list[GenerationRow]:
        """Return the generations that were completed since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def figures(self, t_s: float) -> LearningFigures:
        """Return how the learning stands, without the rows of its generations."""
        wanted = self._spec.episodes_per_candidate
        return LearningFigures(
            weights_seq_no=self._seq_no,
            weights_age_s=max(0.0, t_s - self._arrived_s) if self._num_parameters else 0.0,
            population=len(self._results),
            num_played=sum(len(results) >= wanted for results in self._results),
            num_generations=self._num_generations,
            num_parameters=self._num_parameters,
            best_episode_return_mean=self._best_return_mean,
            evaluation_episode_return_mean=self._evaluated_mean,
            evaluation_n=self._evaluated_n,
            num_evaluation_episodes_lifetime=self._num_evaluation_episodes,
            target_return=self._target,
            best_policy=self.best_policy,
            num_stale=self.num_stale,
            num_restarts=self._num_restarts,
            generation_return_mean=self._newest_mean,
        )

    # --- the learner -------------------------------------------------------------------------

    def start(self) -> None:
        """Have the learner's process started, and ask for its first parameters."""
        self._instructions.append(CreateLearner())
        self._ask_learner()

    def end(self) -> None:
        """Hand out nothing more, and complete a generation that waits for its evaluation."""
        self._state = _State.OVER
        self._release_row()

    def on_learner(self, stimulus: LearnerNews, t_s: float) -> None:
        """Take in what happened to the learner at `t_s`, on the run's clock."""
        match stimulus:
            case ParametersReady():
                self._on_parameters(stimulus, t_s)
            case LearnerFaulted(fault=fault):
                self._fail(fault)
            case LearnerDied():
                self._on_learner_died(stimulus)
            case PolicyWritten():
                self._on_policy_saved(stimulus)

    def _ask_learner(self, results: GenerationResults | None = None) -> None:
        self._state = _State.ASKING
        self._seq_no += 1
        nothing = GenerationResults(None, None)
        self._instructions.append(AskLearner(self._seq_no, results or nothing))

    def _on_parameters(self, ready: ParametersReady, t_s: float) -> None:
        if self._state is not _State.ASKING or ready.weights_seq_no != self._seq_no:
            return
        self._record_restart(ready)
        self._state = _State.PLAYING
        self._arrived_s = t_s
        self._num_parameters = ready.num_parameters
        self._sigma, self._num_restarts = ready.sigma, ready.num_restarts
        self._results = [{} for _ in range(ready.population)]
        episodes = self._spec.episodes_per_candidate
        self._num_missing = ready.population * episodes
        self._to_play = deque(
            (candidate, episode)
            for candidate in range(ready.population)
            for episode in range(episodes)
        )
        if self._since_evaluation >= self._spec.evaluation_interval:
            self._begin_evaluation(self._spec.evaluation_episodes, confirms=False)
        else:
            self._release_row()

    def _begin_evaluation(self, episodes: int, *, confirms: bool) -> None:
        self._evaluation_number += 1
        self._evaluation = _Evaluation(self._evaluation_number, episodes, confirms=confirms)

    def _fail(self, fault: Fault) -> None:
        if self.fault is None:
            self.fault = fault
            text = f"{fault.what}: {fault.why}" if fault.why else fault.what
            self._instructions.append(
                RecordEvent(EventKind.LEARNER_FAILED, text, None, fault.detail)
            )

    def _on_learner_died(self, death: LearnerDied) -> None:
        """Drop the generation that is being played, which died with the process, and start over."""
        self._saving.clear()
        if self._state is _State.OVER:
            return
        self._deaths += 1
        if self._deaths >= MAX_LEARNER_DEATHS:
            what = f"The learner's process ended {MAX_LEARNER_DEATHS} times in a row"
            remedy = "See what it needs: memory, most often; fewer parameters need less"
            fault = Fault(what, death.text, remedy, death.detail, keys=("learner.kind",))
            self._fail(fault)
            return
        self._death = death
        self._forget_generation()
        self._release_row()
        self._instructions.append(CreateLearner())
        self._ask_learner()

    def _record_restart(self, ready: ParametersReady) -> None:
        """Record that the learner's process, or its search, has started again."""
        death, self._death = self._death, None
        text = ""
        if ready.went_on_from is not None and self._seq_no > 1:
            why = f"its process ended: {death.text}" if death is not None else "with the supervisor"
            since = (
                f"it goes on from generation {ready.went_on_from}"
                if ready.went_on_from
                else "it begins anew: nothing of it was kept"
            )
            text = f"the learner was made anew ({why}); {since}"
        elif ready.num_restarts > self._num_restarts:
            text = f"the search began anew in generation {self._seq_no}"
        if text:
            detail = death.detail if death is not None else ""
            self._instructions.append(RecordEvent(EventKind.LEARNER_RESTARTED, text, None, detail))

    def _forget_generation(self) -> None:
        self._to_play.clear()
        self._evaluation = None
        self._observations = []
        self._num_missing = 0

    # --- the workers -------------------------------------------------------------------------

    def has_begun(self, worker_index: int) -> bool:
        """Tell whether a worker is in the middle of an episode that nobody else was given."""
        assignment = self._assignments.get(worker_index)
        return assignment is not None and assignment.begun_alone is not None

    def next_work(self, num_workers: int) -> Work | None:
        """Take the next portion of episodes, a fair share for one of `num_workers`.

        Returns:
            None if everything is handed out.
        """
        if not self.has_work:
            return None
        evaluation = self._evaluation
        if evaluation is not None and evaluation.to_play:
            episodes = tuple(_take_portion(evaluation.to_play, num_workers))
            numbers = (evaluation.number,) * len(episodes)
            return Work(self._seq_no, numbers, episodes, evaluation=True)
        candidates, episodes = zip(*_take_portion(self._to_play, num_workers), strict=True)
        return Work(self._seq_no, candidates, episodes)

    def note_sent(self, worker_index: int, work: Work | None) -> None:
        """Note that a request with this work was sent to a worker."""
        self._assignments.setdefault(worker_index, _Assigned()).requests.append(work)

    def reclaim(self, worker_index: int, *, is_gone: bool) -> None:
        """Let others play what a worker has, because it died, is paused or is stopping.

        Unless it is gone, it keeps the episode that it is in the middle of: that still counts if it
        is finished before the others' copy.
        """
        assignment = self._assignments.get(worker_index)
        if assignment is None:
            return
        begun = assignment.begun_alone
        if begun is not None:
            assignment.is_reassigned = True
            self._put_back([begun])
        if is_gone:
            for work in assignment.requests:
                self._put_back(_planned_episodes(work))
            del self._assignments[worker_index]

    def on_played(
        self, worker_index: int, played: PlayedWork, t_s: float, num_env_steps: int
    ) -> None:
        """Count what a worker played for its oldest request.

        `num_env_steps` is the number of steps of the whole run at `t_s`.
        """
        assignment = self._assignments.get(worker_index)
        if assignment is None or not assignment.requests:
            return
        given = _planned_episodes(assignment.requests.popleft())
        queue = [assignment.begun, *given] if assignment.begun is not None else given
        num_done = len(played.candidate)
        was_reassigned, begun_before = assignment.is_reassigned, assignment.begun
        assignment.begun = queue[num_done] if len(queue) - played.work_left > num_done else None
        assignment.is_reassigned = (
            was_reassigned and assignment.begun is not None and assignment.begun is begun_before
        )
        self._put_back(given[len(given) - played.work_left :])
        for i, value in enumerate(played.episode_return):
            self._count(queue[i], float(value), was_reassigned=was_reassigned and i == 0)
        if played.evaluation:
            self._num_evaluation_episodes += num_done
        elif played.observations is not None and self._state is _State.PLAYING:
            self._observations.append(played.observations)
        self._finish_evaluation(t_s)
        self._finish_generation(t_s, num_env_steps)

    def _put_back(self, planned_episodes: Iterable[_PlannedEpisode]) -> None:
        """Put episodes that were not played at the front of what is handed out next."""
        for planned in reversed(list(planned_episodes)):
            if self._is_wanted(planned):
                if planned.evaluation:
                    assert self._evaluation is not None
                    self._evaluation.to_play.appendleft(planned.episode)
                else:
                    self._to_play.appendleft((planned.candidate, planned.episode))

    def _is_wanted(self, planned: _PlannedEpisode) -> bool:
        if self._state is not _State.PLAYING or planned.weights_seq_no != self._seq_no:
            return False
        if planned.evaluation:
            current = self._evaluation
            is_current = current is not None and current.number == planned.candidate
            return is_current and current is not None and planned.episode not in current.returns
        return planned.episode not in self._results[planned.candidate]

    def _count(self, planned: _PlannedEpisode, value: float, *, was_reassigned: bool) -> None:
        if not self._is_wanted(planned):
            self.num_stale += self._state is not _State.OVER
            return
        if planned.evaluation:
            assert self._evaluation is not None
            self._evaluation.returns[planned.episode] = value
            if was_reassigned and planned.episode in self._evaluation.to_play:
                self._evaluation.to_play.remove(planned.episode)
            return
        self._results[planned.candidate][planned.episode] = value
        self._num_missing -= 1
        again = (planned.candidate, planned.episode)
        if was_reassigned and again in self._to_play:
            self._to_play.remove(again)

    # --- ends --------------------------------------------------------------------------------

    def _finish_evaluation(self, t_s: float) -> None:
        done = self._evaluation
        if done is None or not done.is_complete:
            return
        self._evaluation = None
        self._since_evaluation = 0
        self._evaluated_mean, self._evaluated_n = done.mean, done.wanted
        if self._pending_row is not None:
            self._pending_row = replace(
                self._pending_row, evaluation_mean=done.mean, evaluation_n=done.wanted
            )
        best_seq_no, best = self._best_evaluation
        is_same = best_seq_no == self._seq_no
        if is_same or (math.isfinite(done.mean) and not done.mean <= best):
            self._best_evaluation = (self._seq_no, done.mean)
            if not is_same:
                self._saving[self._seq_no] = (done.mean, done.wanted)
                self._instructions.append(SavePolicy(self._seq_no))
        if self._target is not None and done.mean >= self._target:
            if done.confirms:
                self.has_reached_target = True
            else:
                self._begin_evaluation(CONFIRMING_EPISODES, confirms=True)
                return
        self._release_row()

    def _release_row(self) -> None:
        if self._pending_row is not None:
            self._rows.append(self._pending_row)
            self._pending_row = None

    def _finish_generation(self, t_s: float, num_env_steps: int) -> None:
        if self._state is not _State.PLAYING or self._num_missing or self._evaluation is not None:
            return
        if self.has_reached_target:
            return
        self._deaths = 0
        returns = np.array([_mean(results.values()) for results in self._results])
        good = returns[np.isfinite(returns)]
        self._num_generations += 1
        self._since_evaluation += 1
        if len(good):
            self._best_return_mean = float(np.fmax(self._best_return_mean, good.max()))
        self._newest_mean = float(good.mean()) if len(good) else math.nan
        self._pending_row = GenerationRow(
            number=self._seq_no,
            end_s=t_s,
            num_env_steps=num_env_steps,
            return_mean=self._newest_mean,
            return_best=float(good.max()) if len(good) else math.nan,
            return_worst=float(good.min()) if len(good) else math.nan,
            sigma=self._sigma,
        )
        observations = ObservationSums.merged(self._observations)
        self._forget_generation()
        if len(good):
            # An episode that ended in an error is as bad as the worst of the others.
            returns = np.where(np.isfinite(returns), returns, good.min())
        self._ask_learner(GenerationResults(returns if len(good) else None, observations))

    def _on_policy_saved(self, written: PolicyWritten) -> None:
        mean, episodes = self._saving.pop(written.weights_seq_no, (math.nan, 0))
        if written.trouble:
            text = f"the best policy could not be saved: {written.trouble}"
            self._instructions.append(RecordEvent(EventKind.POLICY_NOT_SAVED, text))
            return
        self.best_policy = written.path
        what = f"mean return {plain.decimal(mean)} over {episodes} evaluation episodes"
        text = f"the policy improved: {what}"
        self._instructions.append(RecordEvent(EventKind.POLICY_IMPROVED, text, None, written.path))

    def give_up_saving(self, waited_s: float) -> None:
        """Stop waiting for a learner that did not answer within `waited_s`; record what is lost."""
        number, (mean, episodes) = max(self._saving.items())
        self._saving.clear()
        text = (
            f"the best policy was not saved (generation {number}, mean return "
            f"{plain.decimal(mean)} over {episodes} evaluation episodes): the learner did not "
            f"answer for {waited_s:g} s"
        )
        if self.best_policy:
            text += "; the one before it is kept"
        self._instructions.append(RecordEvent(EventKind.POLICY_NOT_SAVED, text))

    # --- for tests ---------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise AssertionError if a rule is broken."""
        episodes = self._spec.episodes_per_candidate
        assert all(len(results) <= episodes for results in self._results)
        if self._state is not _State.PLAYING:
            assert not self.has_work
            return
        accounted_for = {
            planned
            for assignment in self._assignments.values()
            for planned in (
                *((assignment.begun_alone,) if assignment.begun_alone is not None else ()),
                *(planned for work in assignment.requests for planned in _planned_episodes(work)),
            )
        } | {_PlannedEpisode(self._seq_no, False, *each) for each in self._to_play}
        missing = {
            _PlannedEpisode(self._seq_no, False, candidate, episode)
            for candidate, results in enumerate(self._results)
            for episode in range(episodes)
            if episode not in results
        }
        assert len(missing) == self._num_missing
        if self._evaluation is not None:
            current = self._evaluation
            wanted = {
                _PlannedEpisode(self._seq_no, True, current.number, each)
                for each in range(current.wanted)
            }
            missing |= {planned for planned in wanted if planned.episode not in current.returns}
            accounted_for |= {
                _PlannedEpisode(self._seq_no, True, current.number, each)
                for each in current.to_play
            }
        assert missing <= accounted_for, missing - accounted_for
        assert len(set(self._to_play)) == len(self._to_play)


_T = TypeVar("_T")


def _take_portion(left: deque[_T], num_workers: int) -> list[_T]:
    """Take a fair share of what is left; shares shrink, so that all workers end together."""
    share = math.ceil(len(left) / (PORTIONS_PER_WORKER * max(1, num_workers)))
    return [left.popleft() for _ in range(min(share, MAX_PORTION))]


def _planned_episodes(work: Work | None) -> list[_PlannedEpisode]:
    if work is None:
        return []
    return [
        _PlannedEpisode(work.weights_seq_no, work.evaluation, candidate, episode)
        for candidate, episode in zip(work.candidates, work.episodes, strict=True)
    ]


def _mean(results: Collection[float]) -> float:
    """Average the episodes without an error; NaN if there is none."""
    good = [value for value in results if math.isfinite(value)]
    return sum(good) / len(good) if good else math.nan
