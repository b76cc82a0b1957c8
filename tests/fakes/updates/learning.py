"""Handmade updates of a run that learns, as a supervisor would send them.

Deterministic, like `updates.py`: CMA-ES on CartPole, two generations a second. The mean
of the population rises from 20 to nearly 500 within a minute; every fifth generation is evaluated.
"""

from dataclasses import replace

import numpy as np

from raydash.core.spec import LearnerSpec, PolicySpec, RunSpec, StopSpec
from raydash.core.states import RunState
from raydash.core.updates import Generations, LearningFigures, RunUpdate
from raydash.link.store import RunStore, Store
from tests.fakes.updates.updates import RUN_ID, make_spec, make_update

GENERATION_S = 0.5
POPULATION = 16
TARGET = 475.0
BEST_POLICY = f"/home/ada/.local/share/raydash/{RUN_ID}.best.npz"


def make_generations(end: int, first: int = 1) -> Generations:
    """Generations `first` to `end`, both included."""
    number = np.arange(1, end + 1, dtype=np.int64)
    rng = np.random.default_rng(5)
    skill = 20.0 + 475.0 / (1.0 + np.exp(-(number * GENERATION_S - 18.0) / 5.0))
    noise = rng.standard_normal((end, 3)).T
    mean = np.clip(skill * (1.0 + 0.08 * noise[0]), 9.0, 490.0)
    is_evaluated = number % 5 == 0
    evaluation = np.where(is_evaluated, np.clip(1.15 * skill + 9.0 * noise[2], 9.0, 500.0), np.nan)
    whole = Generations(
        number=number,
        end_s=number.astype(np.float64) * GENERATION_S,
        num_env_steps=np.cumsum((POPULATION * mean).astype(np.int64)),
        return_mean=mean,
        return_best=np.clip(1.6 * mean + 20.0 * np.abs(noise[1]), None, 500.0),
        return_worst=np.clip(0.35 * mean, 8.0, None),
        evaluation_mean=evaluation,
        evaluation_n=np.where(is_evaluated, 10, 0),
        sigma=0.5 * 0.99 ** number.astype(np.float64),
    )
    return Generations(
        *(getattr(whole, name)[first - 1 :] for name in Generations.__slots__),
    )


def make_learning(t_s: float, since_s: float = 0.0) -> LearningFigures:
    """The figures of the learning at a time, with the generations since `since_s`."""
    finished = int(t_s / GENERATION_S)
    known = make_generations(finished)
    evaluated = np.flatnonzero(np.isfinite(known.evaluation_mean))
    return LearningFigures(
        weights_seq_no=finished + 1,
        weights_age_s=t_s % GENERATION_S,
        population=POPULATION,
        num_played=int(POPULATION * (t_s % GENERATION_S) / GENERATION_S),
        num_generations=finished,
        num_parameters=10,
        best_episode_return_mean=float(known.return_best.max()) if finished else float("nan"),
        evaluation_episode_return_mean=(
            float(known.evaluation_mean[evaluated[-1]]) if len(evaluated) else float("nan")
        ),
        evaluation_n=10 if len(evaluated) else 0,
        num_evaluation_episodes_lifetime=10 * len(evaluated),
        target_return=TARGET,
        best_policy=BEST_POLICY if finished else "",
        num_stale=3,
        num_restarts=0,
        generations=make_generations(finished, int(since_s / GENERATION_S) + 1),
    )


def learning_spec(num_workers: int = 2, seed: int = 0) -> RunSpec:
    """The spec of CartPole, learnt by CMA-ES with a linear policy."""
    return replace(
        make_spec(num_workers, seed),
        name="cartpole-cmaes",
        policy=PolicySpec("linear"),
        learner=LearnerSpec("cmaes", population=POPULATION),
        stop=StopSpec(target_return=TARGET),
    )


def make_learning_update(
    num_workers: int = 2,
    seq: int = 1,
    since_seq: int = 0,
    t_s: float = 40.0,
    *,
    since_s: float = 0.0,
    state: RunState = RunState.RUNNING,
) -> RunUpdate:
    """One update; a snapshot when `since_seq` is 0.

    Args:
        num_workers: Number of workers, 1 or more.
        seq: Sequence number of the state to which the update leads.
        since_seq: Sequence number of the state from which it starts.
        t_s: The run's clock.
        since_s: The clock of the state from which it starts.
        state: State of the run.
    """
    made = make_update(num_workers, seq, since_seq, t_s, state=state, troubles=False)
    learning = make_learning(t_s, since_s)
    version = np.full(num_workers, learning.weights_seq_no, np.int32)
    return replace(
        made,
        spec=learning_spec(num_workers) if made.spec else None,
        workers=replace(made.workers, weights_seq_no=version),
        weights_seq_no=learning.weights_seq_no,
        learning=learning,
    )


def make_store_that_learns(num_workers: int = 2, t_s: float = 40.0) -> tuple[Store, RunStore]:
    """A store that shows one run that learns, whose snapshot it has just received."""
    store = Store(clock=lambda: t_s)
    store.receive(make_learning_update(num_workers, t_s=t_s))
    store.show_run(RUN_ID)
    run = store.shown
    assert run is not None
    return store, run
