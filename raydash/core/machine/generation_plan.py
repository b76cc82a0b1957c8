"""The generation plan of a run that learns: which episodes of which candidates are played by whom.

Part of `raydash.core.machine`, which decides for the run as a whole; pure like it. Generation by
generation: the learner gives out parameters, workers play the episodes of its candidates, the
learner hears how each did. Every so many generations the learner's best guess is evaluated, and
where a target is set, an evaluation that reaches it is confirmed by 100 fresh episodes.

What is to be played is handed out in portions that get smaller towards the end of a generation.
A request names episodes; what its worker did not begin comes back with its chunk and is handed out
again, so a worker holds nothing but the one episode that it is in the middle of. Each candidate's
episodes count exactly once: what comes of an earlier generation, or beyond, is let go and counted.
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
    ParametersArrived,
    PolicySaved,
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

CONFIRMING_EPISODES = 100
MAX_PORTION = 1000
"""Episodes in one request."""
PORTIONS_PER_WORKER = 2
MAX_LEARNER_DEATHS = 5
"""In a row, without a generation that was played to its end in between."""


@dataclass(frozen=True, slots=True)
class PastLearning:
    """What earlier lives of the run's supervisor learnt; the defaults are those of a new run.

    Attributes:
        figures: As they were last told.
        generations_since_evaluation: That finished after the newest evaluation.
        evaluation_number: Of the newest evaluation.
        best_evaluation_mean: Of the best one; NaN: none yet.
    """

    figures: LearningFigures = field(default_factory=LearningFigures)
    generations_since_evaluation: int = 0
    evaluation_number: int = 0
    best_evaluation_mean: float = math.nan


class _Phase(Enum):
    ASKING = auto()
    PLAYING = auto()
    OVER = auto()


@dataclass(frozen=True, slots=True)
class _Unit:
    """One episode to be played."""

    weights_seq_no: int
    evaluation: bool
    candidate: int
    episode: int


@dataclass(slots=True)
class _Assigned:
    """What a worker has: its requests, oldest first, and the episode that it is in the middle of.

    `is_taken`: that episode was handed out to others as well.
    """

    requests: deque[Work | None] = field(default_factory=deque)
    begun: _Unit | None = None
    is_taken: bool = False


class _Evaluation:
    """One that is under way; `returns` has NaN for an error episode."""

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
        """NaN: there are no episodes without an error."""
        return _mean(self.returns.values())


class GenerationPlan:
    """Decides what is played. All times are on the run's clock.

    Attributes:
        num_stale: Results that came too late to count.
        has_reached_target: A confirmed evaluation did: the run is to end.
        fault: Why nothing can be learnt any more; None: it can.
        best_policy: Where the best policy was saved; empty: nowhere yet.
    """

    def __init__(
        self, spec: RunSpec, out: list[Instruction], past: PastLearning | None = None
    ) -> None:
        """Nothing is asked for yet.

        Args:
            spec: Of the run; it has a learner.
            out: Where instructions go.
            past: What the run learnt before.
        """
        past = past or PastLearning()
        self._spec = spec.learner
        self._target = spec.stop.target_return
        self._out = out
        before = past.figures
        self.num_stale = before.num_stale
        self.has_reached_target = False
        self.fault: Fault | None = None
        self.best_policy = before.best_policy
        self._phase = _Phase.ASKING
        self._seq_no = before.weights_seq_no
        self._num_generations = before.num_generations
        self._since_evaluation = past.generations_since_evaluation
        self._best_candidate = before.best_episode_return_mean
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
        self._missing = 0
        self._to_play: deque[tuple[int, int]] = deque()
        self._evaluation: _Evaluation | None = None
        self._observations: list[ObservationSums] = []
        self._hands: dict[int, _Assigned] = {}
        self._waiting_row: GenerationRow | None = None
        self._rows: list[GenerationRow] = []

    # --- what others may read ----------------------------------------------------------------

    @property
    def is_thinking(self) -> bool:
        """The learner was asked: workers wait for it, not for anybody's leave."""
        return self._phase is _Phase.ASKING and self._num_parameters > 0

    @property
    def is_saving(self) -> bool:
        """The best policy is on its way to the disk."""
        return bool(self._saving)

    @property
    def has_work(self) -> bool:
        """Something is there to be handed out."""
        return self._phase is _Phase.PLAYING and bool(
            self._to_play or (self._evaluation is not None and self._evaluation.to_play)
        )

    @property
    def weights_seq_no(self) -> int:
        """The generation that is being played, or asked for."""
        return self._seq_no

    def take_rows(self) -> list[GenerationRow]:
        """Generations that are complete since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def figures(self, t_s: float) -> LearningFigures:
        """How the learning stands, without its generations."""
        wanted = self._spec.episodes_per_candidate
        return LearningFigures(
            weights_seq_no=self._seq_no,
            weights_age_s=max(0.0, t_s - self._arrived_s) if self._num_parameters else 0.0,
            population=len(self._results),
            num_played=sum(len(results) >= wanted for results in self._results),
            num_generations=self._num_generations,
            num_parameters=self._num_parameters,
            best_episode_return_mean=self._best_candidate,
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
        """Have the learner made, and ask for its first parameters."""
        self._out.append(CreateLearner())
        self._ask()

    def end(self) -> None:
        """The run stops: nothing more is handed out, and what waits for an evaluation is done."""
        self._phase = _Phase.OVER
        self._release_row()

    def on_learner(
        self, stimulus: ParametersArrived | LearnerFaulted | LearnerDied | PolicySaved
    ) -> None:
        """Take in what the learner did."""
        match stimulus:
            case ParametersArrived(ready=ready):
                self._begin(ready, stimulus.t_s)
            case LearnerFaulted(fault=fault):
                self._fail(fault)
            case LearnerDied():
                self._on_learner_died(stimulus)
            case PolicySaved(written=written):
                self._saved(written)

    def _ask(self, results: GenerationResults | None = None) -> None:
        self._phase = _Phase.ASKING
        self._seq_no += 1
        nothing = GenerationResults(None, None)
        self._out.append(AskLearner(self._seq_no, results or nothing))

    def _begin(self, news: ParametersReady, t_s: float) -> None:
        if self._phase is not _Phase.ASKING or news.weights_seq_no != self._seq_no:
            return
        self._tell_of_restart(news)
        self._phase = _Phase.PLAYING
        self._arrived_s = t_s
        self._num_parameters = news.num_parameters
        self._sigma, self._num_restarts = news.sigma, news.num_restarts
        self._results = [{} for _ in range(news.population)]
        episodes = self._spec.episodes_per_candidate
        self._missing = news.population * episodes
        self._to_play = deque(
            (candidate, episode)
            for candidate in range(news.population)
            for episode in range(episodes)
        )
        if self._since_evaluation >= self._spec.evaluation_interval:
            self._evaluate(self._spec.evaluation_episodes, confirms=False)
        else:
            self._release_row()

    def _evaluate(self, episodes: int, *, confirms: bool) -> None:
        self._evaluation_number += 1
        self._evaluation = _Evaluation(self._evaluation_number, episodes, confirms=confirms)

    def _fail(self, fault: Fault) -> None:
        if self.fault is None:
            self.fault = fault
            text = f"{fault.what}: {fault.why}" if fault.why else fault.what
            self._out.append(RecordEvent(EventKind.LEARNER_FAILED, text, None, fault.detail))

    def _on_learner_died(self, death: LearnerDied) -> None:
        """Its process is gone, and with it what it knew of the generation that is being played."""
        self._saving.clear()
        if self._phase is _Phase.OVER:
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
        self._out.append(CreateLearner())
        self._ask()

    def _tell_of_restart(self, news: ParametersReady) -> None:
        """A process that is not the first one of the run has given its first parameters."""
        death, self._death = self._death, None
        text = ""
        if news.went_on_from is not None and self._seq_no > 1:
            why = f"its process ended: {death.text}" if death is not None else "with the supervisor"
            since = (
                f"it goes on from generation {news.went_on_from}"
                if news.went_on_from
                else "it begins anew: nothing of it was kept"
            )
            text = f"the learner was made anew ({why}); {since}"
        elif news.num_restarts > self._num_restarts:
            text = f"the search began anew in generation {self._seq_no}"
        if text:
            detail = death.detail if death is not None else ""
            self._out.append(RecordEvent(EventKind.LEARNER_RESTARTED, text, None, detail))

    def _forget_generation(self) -> None:
        self._to_play.clear()
        self._evaluation = None
        self._observations = []
        self._missing = 0

    # --- the workers -------------------------------------------------------------------------

    def has_begun(self, worker_index: int) -> bool:
        """A worker is in the middle of an episode that nobody else was given."""
        hand = self._hands.get(worker_index)
        return hand is not None and hand.begun is not None and not hand.is_taken

    def next_work(self, num_workers: int) -> Work | None:
        """The next portion; None: everything is handed out.

        Args:
            num_workers: That share what there is.
        """
        if not self.has_work:
            return None
        evaluation = self._evaluation
        if evaluation is not None and evaluation.to_play:
            episodes = tuple(_portion(evaluation.to_play, num_workers))
            numbers = (evaluation.number,) * len(episodes)
            return Work(self._seq_no, numbers, episodes, evaluation=True)
        candidates, episodes = zip(*_portion(self._to_play, num_workers), strict=True)
        return Work(self._seq_no, candidates, episodes)

    def note_sent(self, worker_index: int, work: Work | None) -> None:
        """A request went out to a worker."""
        self._hands.setdefault(worker_index, _Assigned()).requests.append(work)

    def reclaim(self, worker_index: int, *, is_gone: bool) -> None:
        """A worker died, or waits for somebody's leave: others play what it has.

        One that waits keeps the episode that it is in the middle of, and may be in time with it.
        """
        hand = self._hands.get(worker_index)
        if hand is None:
            return
        if hand.begun is not None and not hand.is_taken:
            hand.is_taken = True
            self._put_back([hand.begun])
        if is_gone:
            for work in hand.requests:
                self._put_back(_units(work))
            del self._hands[worker_index]

    def on_worker(
        self, worker_index: int, played: PlayedWork, t_s: float, num_env_steps: int
    ) -> None:
        """A request was answered.

        Args:
            worker_index: By whom.
            played: With what.
            t_s: When.
            num_env_steps: Of the whole run by then.
        """
        hand = self._hands.get(worker_index)
        if hand is None or not hand.requests:
            return
        given = _units(hand.requests.popleft())
        queue = [hand.begun, *given] if hand.begun is not None else given
        num_done = len(played.candidate)
        was_taken, hand_begun = hand.is_taken, hand.begun
        hand.begun = queue[num_done] if len(queue) - played.work_left > num_done else None
        hand.is_taken = was_taken and hand.begun is not None and hand.begun is hand_begun
        self._put_back(given[len(given) - played.work_left :])
        for place, value in enumerate(played.episode_return):
            self._count(queue[place], float(value), was_taken=was_taken and place == 0)
        if played.evaluation:
            self._num_evaluation_episodes += num_done
        elif played.observations is not None and self._phase is _Phase.PLAYING:
            self._observations.append(played.observations)
        self._finish_evaluation(t_s)
        self._finish_generation(t_s, num_env_steps)

    def _put_back(self, units: Iterable[_Unit]) -> None:
        """What was not played is the first to be handed out again."""
        for unit in reversed(list(units)):
            if self._is_wanted(unit):
                if unit.evaluation:
                    assert self._evaluation is not None
                    self._evaluation.to_play.appendleft(unit.episode)
                else:
                    self._to_play.appendleft((unit.candidate, unit.episode))

    def _is_wanted(self, unit: _Unit) -> bool:
        if self._phase is not _Phase.PLAYING or unit.weights_seq_no != self._seq_no:
            return False
        if unit.evaluation:
            now = self._evaluation
            is_now = now is not None and now.number == unit.candidate
            return is_now and now is not None and unit.episode not in now.returns
        return unit.episode not in self._results[unit.candidate]

    def _count(self, unit: _Unit, value: float, *, was_taken: bool) -> None:
        if not self._is_wanted(unit):
            self.num_stale += self._phase is not _Phase.OVER
            return
        if unit.evaluation:
            assert self._evaluation is not None
            self._evaluation.returns[unit.episode] = value
            if was_taken and unit.episode in self._evaluation.to_play:
                self._evaluation.to_play.remove(unit.episode)
            return
        self._results[unit.candidate][unit.episode] = value
        self._missing -= 1
        again = (unit.candidate, unit.episode)
        if was_taken and again in self._to_play:
            self._to_play.remove(again)

    # --- ends --------------------------------------------------------------------------------

    def _finish_evaluation(self, t_s: float) -> None:
        done = self._evaluation
        if done is None or not done.is_complete:
            return
        self._evaluation = None
        self._since_evaluation = 0
        self._evaluated_mean, self._evaluated_n = done.mean, done.wanted
        if self._waiting_row is not None:
            self._waiting_row = replace(
                self._waiting_row, evaluation_mean=done.mean, evaluation_n=done.wanted
            )
        best_seq_no, best = self._best_evaluation
        is_same = best_seq_no == self._seq_no
        if is_same or (math.isfinite(done.mean) and not done.mean <= best):
            self._best_evaluation = (self._seq_no, done.mean)
            if not is_same:
                self._saving[self._seq_no] = (done.mean, done.wanted)
                self._out.append(SavePolicy(self._seq_no))
        if self._target is not None and done.mean >= self._target:
            if done.confirms:
                self.has_reached_target = True
            else:
                self._evaluate(CONFIRMING_EPISODES, confirms=True)
                return
        self._release_row()

    def _release_row(self) -> None:
        if self._waiting_row is not None:
            self._rows.append(self._waiting_row)
            self._waiting_row = None

    def _finish_generation(self, t_s: float, num_env_steps: int) -> None:
        if self._phase is not _Phase.PLAYING or self._missing or self._evaluation is not None:
            return
        if self.has_reached_target:
            return
        self._deaths = 0
        returns = np.array([_mean(results.values()) for results in self._results])
        good = returns[np.isfinite(returns)]
        self._num_generations += 1
        self._since_evaluation += 1
        if len(good):
            self._best_candidate = float(np.fmax(self._best_candidate, good.max()))
        self._newest_mean = float(good.mean()) if len(good) else math.nan
        self._waiting_row = GenerationRow(
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
        self._ask(GenerationResults(returns if len(good) else None, observations))

    def _saved(self, news: PolicyWritten) -> None:
        mean, episodes = self._saving.pop(news.weights_seq_no, (math.nan, 0))
        if news.trouble:
            text = f"the best policy could not be saved: {news.trouble}"
            self._out.append(RecordEvent(EventKind.POLICY_NOT_SAVED, text))
            return
        self.best_policy = news.path
        text = f"the policy improved: mean return {mean:.2f} over {episodes} evaluation episodes"
        self._out.append(RecordEvent(EventKind.POLICY_IMPROVED, text, None, news.path))

    def give_up_saving(self, waited_s: float) -> None:
        """The learner does not answer: say what is lost, and wait for it no longer.

        Args:
            waited_s: So long it was waited for.
        """
        number, (mean, episodes) = max(self._saving.items())
        self._saving.clear()
        text = (
            f"the best policy was not saved (generation {number}, mean return {mean:.2f} over "
            f"{episodes} evaluation episodes): the learner did not answer for {waited_s:g} s"
        )
        if self.best_policy:
            text += "; the one before it is kept"
        self._out.append(RecordEvent(EventKind.POLICY_NOT_SAVED, text))

    # --- for tests ---------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise AssertionError if a rule is broken."""
        episodes = self._spec.episodes_per_candidate
        assert all(len(results) <= episodes for results in self._results)
        if self._phase is not _Phase.PLAYING:
            assert not self.has_work
            return
        afoot = {
            unit
            for hand in self._hands.values()
            for unit in (
                *((hand.begun,) if hand.begun is not None and not hand.is_taken else ()),
                *(unit for work in hand.requests for unit in _units(work)),
            )
        } | {_Unit(self._seq_no, False, *each) for each in self._to_play}
        missing = {
            _Unit(self._seq_no, False, candidate, episode)
            for candidate, results in enumerate(self._results)
            for episode in range(episodes)
            if episode not in results
        }
        assert len(missing) == self._missing
        if self._evaluation is not None:
            now = self._evaluation
            wanted = {_Unit(self._seq_no, True, now.number, each) for each in range(now.wanted)}
            missing |= {unit for unit in wanted if unit.episode not in now.returns}
            afoot |= {_Unit(self._seq_no, True, now.number, each) for each in now.to_play}
        assert missing <= afoot, missing - afoot
        assert len(set(self._to_play)) == len(self._to_play)


_Any = TypeVar("_Any")


def _portion(left: deque[_Any], num_workers: int) -> list[_Any]:
    """A fair share of what is left, smaller and smaller, so that all end at the same time."""
    share = math.ceil(len(left) / (PORTIONS_PER_WORKER * max(1, num_workers)))
    return [left.popleft() for _ in range(min(share, MAX_PORTION))]


def _units(work: Work | None) -> list[_Unit]:
    if work is None:
        return []
    return [
        _Unit(work.weights_seq_no, work.evaluation, candidate, episode)
        for candidate, episode in zip(work.candidates, work.episodes, strict=True)
    ]


def _mean(results: Collection[float]) -> float:
    """Of the episodes without an error; NaN if there is none."""
    good = [value for value in results if math.isfinite(value)]
    return sum(good) / len(good) if good else math.nan
