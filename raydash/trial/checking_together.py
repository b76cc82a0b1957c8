"""The check of several environments together: stepped as a worker steps them, and timed."""

from collections.abc import Sequence

from raydash.core.clock import Clock
from raydash.core.env_check import EnvProblem
from raydash.core.faults import FaultError
from raydash.core.spec import EnvSpec, PolicySpec
from raydash.trial.check_timing import close_told
from raydash.worker.envs.environments import first_reset
from raydash.worker.envs.vector_environments import make_vector_env
from raydash.worker.loops.sliced import Incarnation
from raydash.worker.loops.vector_rollout import VectorRolloutLoop
from raydash.worker.node.progress import ProgressWriter
from raydash.worker.policies.batch import BatchSpaces, make_batch_policy


def time_together(
    spec: EnvSpec,
    num_envs: int,
    vectorization: str,
    source_dirs: Sequence[str],
    timing_s: float,
    clock: Clock,
) -> tuple[float | None, list[EnvProblem]]:
    """Steps per second of several together, with random actions.

    Args:
        spec: Which environment.
        num_envs: How many.
        vectorization: How, a word of `raydash.core.spec.VECTORIZATIONS` but `none`.
        source_dirs: Folders to import the user's modules from.
        timing_s: How long to step.
        clock: Monotonic seconds.

    Returns:
        The rate, None if they can't be stepped together; and what is wrong.
    """
    try:
        envs = make_vector_env(spec, num_envs, vectorization, source_dirs)
        loop = VectorRolloutLoop(
            Incarnation(1, 0, clock, ProgressWriter()),
            envs,
            make_batch_policy(PolicySpec(), BatchSpaces.of(envs), 0, source_dirs),
            reset_seeds=range(num_envs),
            make_env=lambda: make_vector_env(spec, num_envs, vectorization, source_dirs),
        )
        loop.prepare(lambda made, seed: first_reset(made, spec, seed))
    except FaultError as error:
        return None, [EnvProblem(True, error.fault.sentence(), error.fault.detail)]
    started_s = clock()
    chunk = loop.run(timing_s)
    while not chunk.errors and clock() - started_s < timing_s:
        chunk = loop.run(timing_s - (clock() - started_s))
    took_s = clock() - started_s
    problems = [
        EnvProblem(True, f"{num_envs} together, in {error.where}: {error.message}", error.traceback)
        for error in chunk.errors[:1]
    ]
    num_steps = chunk.totals.num_env_steps
    rate = num_steps / took_s if num_steps and took_s > 0 else None
    return rate, problems + close_told(loop.close)
