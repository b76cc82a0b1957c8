"""What a supervisor does only when its run learns: it connects the plan with the learner.

The plan (`raydash.core.machine.generation_plan`) decides. Here the learner is asked, its replies
become stimuli for the machine, and what it has learnt is collected for recording and readers. A run
that does not learn has a `Learning` too, which does nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from raydash.core.machine.generation_plan import GenerationPlan
from raydash.core.machine.stimuli import AskLearner, CreateLearner, LearnerNews, SavePolicy
from raydash.core.records import PlayedWork, RolloutChunk, WorkerReady
from raydash.core.updates import Generations, LearningFigures
from raydash.supervise.account.backlog import FIRST_SEQ
from raydash.supervise.pools.learner_client import LearnerClient, NoLearner

LEARNING_TURN_S = 0.02
"""How long a turn waits for the first answer of a worker or of the learner."""


class Learning:
    """Connects the plan of a run that learns with its learner.

    Attributes:
        is_on: Whether the run learns.
    """

    def __init__(
        self,
        plan: GenerationPlan | None = None,
        client: LearnerClient | None = None,
        past: Generations | None = None,
    ) -> None:
        """Connect both; a run that does not learn has neither plan nor client.

        `past` are the run's generations so far, which belong to the account's first version.
        """
        self.is_on = client is not None
        self._plan = plan
        self._client = client or NoLearner()
        self._log = GenerationLog(past or Generations(), seq=FIRST_SEQ)

    # --- the learner -------------------------------------------------------------------------

    def on_worker_ready(self, ready: WorkerReady) -> None:
        """Tell the learner how long observations and actions are, which a ready worker knows."""
        self._client.on_worker_ready(ready)

    def collect(self) -> list[LearnerNews]:
        """Return what the learner reported since the last call. Never waits."""
        return self._client.collect()

    def perform(self, instruction: CreateLearner | AskLearner | SavePolicy) -> None:
        """Carry out an instruction of the plan."""
        match instruction:
            case CreateLearner():
                self._client.create()
            case AskLearner(weights_seq_no=number, results=results):
                self._client.request_generation(number, results)
            case SavePolicy(weights_seq_no=number):
                self._client.save_policy(number)

    def parameters(self) -> Any:
        """Return the newest generation's parameters, in the form that a pool's `play` takes."""
        return self._client.parameters()

    def wait(self, other_refs: Sequence[Any]) -> None:
        """Wait for the learner's reply or one of the pool's refs, for a turn at most."""
        self._client.wait(other_refs, LEARNING_TURN_S)

    def shut_down(self) -> None:
        """End the learner."""
        self._client.shut_down()

    # --- what is learnt ----------------------------------------------------------------------

    def played_work(self, chunk: RolloutChunk) -> PlayedWork | None:
        """Return what a chunk says of the candidates it played; None if the run does not learn."""
        return PlayedWork.of(chunk) if self.is_on else None

    def take_generations(self, seq: int) -> Generations:
        """Return the generations since the last version; they become part of the version `seq`."""
        plan = self._plan
        generations = Generations.of(plan.take_rows() if plan is not None else ())
        self._log.add(generations, seq)
        return generations

    def figures(self, t_s: float) -> LearningFigures | None:
        """Return how learning stands, without generations; None if the run does not learn."""
        return None if self._plan is None else self._plan.figures(t_s)

    def with_generations_since(
        self, figures: LearningFigures | None, since_seq: int
    ) -> LearningFigures | None:
        """Add to the figures the generations that are newer than a reader's version."""
        return figures and replace(figures, generations=self._log.since(since_seq))


class GenerationLog:
    """Keeps all generations while they are few; later it drops every second one of the older."""

    def __init__(self, generations: Generations, *, seq: int) -> None:
        """Begin at version `seq` with the generations of the recording."""
        self._generations = Generations()
        self._seqs = np.empty(0, np.int64)
        self.add(generations, seq)

    def add(self, generations: Generations, seq: int) -> None:
        """Append generations that belong to the version `seq`."""
        if not len(generations):
            return
        rows = Generations.joined([self._generations, generations])
        seqs = np.concatenate([self._seqs, np.full(len(generations), seq, np.int64)])
        kept = Generations.kept_of(len(rows))
        self._generations, self._seqs = rows.rows(kept), seqs[kept]

    def since(self, seq: int) -> Generations:
        """Return the generations of later versions; with 0 all that are kept."""
        first = int(np.searchsorted(self._seqs, seq, side="right"))
        return self._generations.rows(np.arange(first, len(self._generations)))
