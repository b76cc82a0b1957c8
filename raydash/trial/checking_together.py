"""Times several environments together, stepped as a worker would step them."""

from collections.abc import Sequence

from raydash.core.clock import Clock
from raydash.core.env_check import EnvProblem
from raydash.core.faults import FaultError
from raydash.core.spec import EnvSpec, PolicySpec
from raydash.trial.check_timing import close_env
from raydash.worker.envs.environments import first_reset
from raydash.worker.envs.vector_environments import make_vector_env
from raydash.worker.loops.account import Incarnation
from raydash.worker.loops.vector_rollout import VectorRolloutLoop
from raydash.worker.node.progress import ProgressWriter
from raydash.worker.policies.batch import BatchSpaces, make_batch_policy


def time_vector_env(
    spec: EnvSpec,
    num_envs: int,
    vectorization: str,
    source_dirs: Sequence[str],
    timing_s: float,
    clock: Clock,
) -> tuple[float | None, list[EnvProblem]]:
    """Measure the steps per second of several environments together, with random actions.

    `vectorization` is a word of `raydash.core.spec.VECTORIZATIONS` other than `none`.

    Returns:
        The rate, or None if they can't be stepped together, and the problems that were met.
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
    return rate, problems + close_env(loop.close)
