"""`raydash bench learning`: how long a policy takes to learn with the defaults, for several seeds.

Each run is `raydash run --policy linear --learner cmaes --target ...` on one real cluster, one
after the other. Its time is measured on the run's own clock, from its start (before there are any
workers) until 100 fresh greedy episodes of the learner's best guess have confirmed the target. A
run counts if that was in time.
"""

from dataclasses import asdict, dataclass

from raydash.bench.report import print_progress, print_result
from raydash.core.events import EventKind
from raydash.core.faults import FaultError
from raydash.core.messages import Answer, Connect, StartRun
from raydash.core.spec import ClusterSpec, RunSpec
from raydash.core.spec_rules import spec_from_table
from raydash.core.states import EndedBy
from raydash.core.updates import RunUpdate
from raydash.terminal.engine_client import EngineClient

SEEDS = 5


@dataclass(frozen=True, slots=True)
class Goal:
    """What runs on one environment have to reach.

    Attributes:
        env_id: Id of the environment.
        target: Mean return over 100 fresh episodes.
        within_s: How long a run may take, on its own clock.
        at_least: How many of the seeds have to reach the target.
    """

    env_id: str
    target: float
    within_s: float
    at_least: int = SEEDS


GOALS = (
    Goal("CartPole-v1", 475.0, 15.0),
    Goal("MountainCarContinuous-v0", 90.0, 15.0),
    Goal("Acrobot-v1", -100.0, 30.0),
    Goal("LunarLander-v3", 200.0, 300.0, at_least=3),
)


@dataclass(frozen=True, slots=True)
class LearningResult:
    """How one run went.

    Attributes:
        seed: The run's seed.
        reached: Whether it reached the target in time.
        seconds: Time from the run's start to the target, or to its end if it was not reached.
        evaluation_mean: The newest mean return, over `evaluation_n` episodes.
        evaluation_n: How many episodes that evaluation had.
        num_generations: How many generations were finished.
        num_env_steps: How many steps the candidates played.
        num_restarts: How often the search began again.
    """

    seed: int
    reached: bool
    seconds: float
    evaluation_mean: float
    evaluation_n: int
    num_generations: int
    num_env_steps: int
    num_restarts: int


def run(*, as_json: bool) -> int:
    """Measure and print; 0 if all goals are reached, else 1."""
    table: dict[str, object] = {}
    all_reached = True
    with EngineClient() as client:
        client.send(Connect(0, ClusterSpec()))
        for goal in GOALS:
            runs = [_learn(client, goal, seed) for seed in range(SEEDS)]
            reached = sum(each.reached for each in runs)
            all_reached &= reached >= goal.at_least
            table[goal.env_id] = (
                {**asdict(goal), "reached": reached, "runs": [asdict(each) for each in runs]}
                if as_json
                else f"{goal.target:g} within {goal.within_s:g} s: {reached} of {SEEDS} seeds, "
                + ", ".join(f"{each.seconds:.1f} s" for each in runs if each.reached)
            )
    print_result("learning", table, as_json=as_json)
    return 0 if all_reached else 1


def _learn(client: EngineClient, goal: Goal, seed: int) -> LearningResult:
    spec = spec_from_table(
        {
            "env": {"id": goal.env_id},
            "policy": {"kind": "linear"},
            "learner": {"kind": "cmaes"},
            "rollout": {"seed": seed},
            "stop": {"target_return": goal.target, "seconds": goal.within_s},
        }
    )
    last, reached_s = _follow(client, spec)
    learning = last.learning
    assert learning is not None
    in_time = last.ended_by is EndedBy.TARGET and reached_s <= goal.within_s
    result = LearningResult(
        seed=seed,
        reached=in_time,
        seconds=round(reached_s, 2),
        evaluation_mean=learning.evaluation_episode_return_mean,
        evaluation_n=learning.evaluation_n,
        num_generations=learning.num_generations,
        num_env_steps=last.figures.num_env_steps_sampled_lifetime,
        num_restarts=learning.num_restarts,
    )
    print_progress(
        f"{goal.env_id} seed {seed}: {'reached' if in_time else 'NOT reached'} {goal.target:g} "
        f"after {result.seconds:.1f} s, mean {result.evaluation_mean:.1f} over "
        f"{result.evaluation_n} episodes, {result.num_generations} generations, "
        f"{result.num_env_steps:,} steps, {result.num_restarts} restarts"
    )
    return result


def _follow(client: EngineClient, spec: RunSpec) -> tuple[RunUpdate, float]:
    """Start a run and follow it; returns its last update and when it began to stop."""
    start_id = client.send(StartRun(0, spec))
    run_id, stopped_s = "", 0.0
    while True:
        message = client.receive(60.0)
        if isinstance(message, Answer) and message.fault is not None:
            raise FaultError(message.fault)
        if isinstance(message, Answer) and message.command_id == start_id:
            run_id = message.run_id
        if not isinstance(message, RunUpdate) or (run_id and message.run_id != run_id):
            continue
        for event in message.events:
            if event.kind is EventKind.RUN_STOPPING:
                stopped_s = event.t_s
        if message.last and message.run_id == run_id:
            return message, stopped_s
