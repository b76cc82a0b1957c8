"""What a supervisor does only because its run learns: it stands between its plan and its learner.

The plan (`raydash.core.machine.generation_plan`) decides; the learner is asked here, what it
answers becomes stimuli, and what has been learnt is gathered for recording and readers. Of a run
that does not learn there is one too, which has nothing to say.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from raydash.core.machine.generation_plan import GenerationPlan
from raydash.core.machine.stimuli import AskLearner, CreateLearner, SavePolicy
from raydash.core.records import PlayedWork, RolloutChunk, WorkerReady
from raydash.core.updates import Generations, LearningFigures
from raydash.supervise.pools.learner_client import LearnerClient, LearnerReport

LEARNING_TURN_S = 0.02
"""How long a turn waits for the first answer of a worker or of the learner."""


class Learning:
    """A plan and its learner, as a supervisor needs them.

    Attributes:
        is_on: The run learns.
    """

    def __init__(
        self,
        plan: GenerationPlan | None,
        client: LearnerClient | None,
        past: Generations,
        *,
        seq: int,
    ) -> None:
        """Both or neither.

        Args:
            plan: The machine's; None: nothing learns.
            client: Of its learner.
            past: Generations of the run so far.
            seq: The version that they belong to.
        """
        self.is_on = client is not None
        self._plan = plan
        self._client = client
        self._log = GenerationLog(past, seq=seq)

    # --- the learner -------------------------------------------------------------------------

    def fit(self, ready: WorkerReady) -> None:
        """A worker stands, and says how long observations and actions are."""
        if self._client is not None:
            self._client.fit(ready)

    def collect(self, t_s: float) -> list[LearnerReport]:
        """What the learner did since the last call. Never waits."""
        return self._client.collect(t_s) if self._client is not None else []

    def perform(self, instruction: CreateLearner | AskLearner | SavePolicy) -> None:
        """Do what the plan wants of the learner."""
        assert self._client is not None
        match instruction:
            case CreateLearner():
                self._client.create()
            case AskLearner(weights_seq_no=number, results=results):
                self._client.ask(number, results)
            case SavePolicy(weights_seq_no=number):
                self._client.save(number)

    def parameters(self) -> Any:
        """Those of the newest generation, as a pool's `play` wants them."""
        assert self._client is not None
        return self._client.parameters()

    def wait(self, others: Sequence[Any]) -> None:
        """Wait for the learner's next answer, or the first of others, for a turn at most.

        Args:
            others: A pool's `pending`.
        """
        assert self._client is not None
        self._client.wait(others, LEARNING_TURN_S)

    def shut_down(self) -> None:
        """End the learner."""
        if self._client is not None:
            self._client.shut_down()

    # --- what is learnt ----------------------------------------------------------------------

    def played(self, chunk: RolloutChunk) -> PlayedWork | None:
        """What a chunk says of the candidates that it played; None: nothing learns."""
        return PlayedWork.of(chunk) if self.is_on else None

    def close(self, seq: int) -> Generations:
        """Generations since the last version, which become part of the version `seq`."""
        plan = self._plan
        generations = Generations.of(plan.take_rows() if plan is not None else ())
        self._log.add(generations, seq)
        return generations

    def figures(self, t_s: float) -> LearningFigures | None:
        """How the learning stands, without its generations; None: nothing learns."""
        return None if self._plan is None else self._plan.figures(t_s)

    def told(self, figures: LearningFigures | None, since_seq: int) -> LearningFigures | None:
        """Figures with the generations that a reader has not been told of."""
        return figures and replace(figures, generations=self._log.since(since_seq))


class GenerationLog:
    """All of them while they are few; then every second one of the older ones is let go."""

    def __init__(self, generations: Generations, *, seq: int) -> None:
        """A log that begins at version `seq`, with what the recording holds."""
        self._rows = Generations()
        self._seqs = np.empty(0, np.int64)
        self.add(generations, seq)

    def add(self, generations: Generations, seq: int) -> None:
        """These belong to the version `seq`."""
        if not len(generations):
            return
        rows = Generations.joined([self._rows, generations])
        seqs = np.concatenate([self._seqs, np.full(len(generations), seq, np.int64)])
        kept = Generations.kept_of(len(rows))
        self._rows, self._seqs = rows.rows(kept), seqs[kept]

    def since(self, seq: int) -> Generations:
        """Those of later versions; 0: all that are left."""
        first = int(np.searchsorted(self._seqs, seq, side="right"))
        return self._rows.rows(np.arange(first, len(self._rows)))
