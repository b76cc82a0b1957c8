"""The specification of a run, as a user asks for it: a frozen `RunSpec`, its defaults and words.

What is allowed, and how a spec is made of tables, is in `spec_rules`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

MAX_WORKERS = 10_000
MAX_ENVS_PER_WORKER = 1024
POLICY_KINDS = ("random", "constant", "linear", "mlp", "onnx", "sb3", "rllib")
FILE_POLICY_KINDS = ("linear", "mlp", "onnx", "sb3", "rllib")
"""Policies that come in a file, which is optional for those that a learner improves."""
TRUSTED_POLICY_KINDS = ("sb3", "rllib")
"""Loading one can execute code (it unpickles the file), so the user has to agree first."""
LEARNED_POLICY_KINDS = ("linear", "mlp")
MODES = ("actors", "lockstep", "tasks")
LEARNER_KINDS = ("cmaes",)
IS_SUCCESS = "is_success"
"""The key of info that says whether an episode reached its goal; it is always kept."""
VECTORIZATIONS = ("none", "sync", "vector_entry_point", "envpool")
WANDB_MODES = ("online", "offline")


@dataclass(frozen=True, slots=True)
class WrapperSpec:
    """A wrapper around each environment: the name of one of Gymnasium's, or `module:callable`."""

    name: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EnvSpec:
    """Which environment to step: a Gymnasium id, `module:Id`, or `package.module:callable`.

    `wrappers` are put around it in their order, with the first one innermost.
    """

    id: str = "CartPole-v1"
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    wrappers: tuple[WrapperSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """What chooses the actions.

    `kind` is one of `POLICY_KINDS`, or `module:callable`, which is called with the observation
    space and the action space and returns a function from an observation to an action. `path` is
    the `.npz` file of a linear policy or MLP, the `.onnx` or `.zip` file, or the folder of an RLlib
    checkpoint; `action` is what a constant policy does; `hidden` holds the hidden layers of an MLP
    that is learnt from nothing. `trust` allows a file of `TRUSTED_POLICY_KINDS` to be loaded.
    """

    kind: str = "random"
    path: str | None = None
    action: Any = None
    hidden: tuple[int, ...] = (16,)
    trust: bool = False


@dataclass(frozen=True, slots=True)
class RolloutSpec:
    """How the environments are stepped.

    `mode` is one of `MODES`: `actors` steps inside each worker, `lockstep` steps environment actors
    one call at a time, `tasks` sends the state through stateless tasks. `vectorization` None means
    `none` with one environment per worker, and `sync` with more. `info_keys` names scalars of the
    last step's info to keep for every episode, besides `is_success`.
    """

    mode: str = "actors"
    num_workers: int | None = None
    num_envs_per_worker: int = 1
    vectorization: str | None = None
    info_keys: tuple[str, ...] = ()
    seed: int = 0
    hang_timeout_s: float | None = None
    stop_grace_s: float = 10.0
    orphan_timeout_s: float = 600.0

    @property
    def chosen_vectorization(self) -> str:
        """One of `VECTORIZATIONS`: the one that was asked for, or the one that fits."""
        return self.vectorization or ("none" if self.num_envs_per_worker == 1 else "sync")


@dataclass(frozen=True, slots=True)
class LearnerSpec:
    """What improves the policy's parameters; nothing does if `kind` is None.

    `kind` is one of `LEARNER_KINDS`, or `module:Class` (a `raydash.learn.learner.Learner`), which
    gets `options` as keyword arguments. Each generation has `population` candidates (None: as many
    as the learner likes), each of which plays `episodes_per_candidate` episodes. Every
    `evaluation_interval` generations the learner's best guess plays `evaluation_episodes`, which
    count in no other figure.
    """

    kind: str | None = None
    population: int | None = None
    sigma: float = 0.5
    episodes_per_candidate: int = 1
    evaluation_episodes: int = 10
    evaluation_interval: int = 5
    normalize_observations: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StopSpec:
    """When the run ends by itself: at whichever condition comes first. None means never.

    `target_return` needs a learner, and is reached when the mean return of an evaluation is.
    """

    seconds: float | None = None
    env_steps: int | None = None
    episodes: int | None = None
    target_return: float | None = None


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """Which cluster, and what each worker needs of it.

    `address` None launches (or joins) raydash's own local cluster. `num_cpus` None means 0 on a
    launched cluster, where workers may share cores, and 1 on an attached one.
    """

    address: str | None = None
    token_path: str | None = None
    num_cpus: float | None = None
    num_gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SinksSpec:
    """Other tools to which a live run is reported; None switches one off, as all are by default.

    Keys and passwords are never kept here: W&B and MLflow take them from their own environment
    variables and credential files on the cluster's side.
    """

    tensorboard: str | None = None
    wandb_project: str | None = None
    wandb_mode: str = "online"
    mlflow_uri: str | None = None
    mlflow_experiment: str = "raydash"


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One rollout job."""

    name: str = ""
    env: EnvSpec = field(default_factory=EnvSpec)
    policy: PolicySpec = field(default_factory=PolicySpec)
    learner: LearnerSpec = field(default_factory=LearnerSpec)
    rollout: RolloutSpec = field(default_factory=RolloutSpec)
    stop: StopSpec = field(default_factory=StopSpec)
    cluster: ClusterSpec = field(default_factory=ClusterSpec)
    sinks: SinksSpec = field(default_factory=SinksSpec)


SIMULATED = "simulated"
"""What the name of a run with simulated workers begins with. It also stands for the address of a
cluster where there is none, and for the node of workers that have none."""


def named_simulated(spec: RunSpec) -> RunSpec:
    """Let the name of a run say that its workers are simulated."""
    name = spec.name or spec.env.id
    return replace(spec, name=name if name.startswith(SIMULATED) else f"{SIMULATED} {name}")


def table_from_spec(spec: RunSpec) -> dict[str, Any]:
    """Turn a spec into nested tables, without the keys that hold their default."""
    table: dict[str, Any] = {"name": spec.name} if spec.name else {}
    default = asdict(RunSpec())
    for part, values in asdict(spec).items():
        if part == "name":
            continue
        chosen = {
            name: value
            for name, value in values.items()
            if value is not None and (value != default[part][name] or f"{part}.{name}" == "env.id")
        }
        if chosen:
            table[part] = chosen
    return table


def ways_of(table: Mapping[str, Any]) -> dict[str, str | None]:
    """Read from the nested tables of a spec how its run was executed, under the names of its JSON.

    The spec may be of any version of raydash. If it is empty nothing is known, and all are None.
    """
    if not table:
        return {"mode": None, "policy": None, "learner": None}
    parts = {name: table.get(name) or {} for name in ("rollout", "policy", "learner")}
    return {
        "mode": parts["rollout"].get("mode", "actors"),
        "policy": parts["policy"].get("kind", "random"),
        "learner": parts["learner"].get("kind"),
    }
