"""The rules for a spec, and specs made of tables, which are checked by them.

One table (`FIELDS`) gives the type, the bounds and the meaning of every key. The TOML reader, the
command line and the form all use it, and a bad spec is refused with *all* its violations at once.
"""

import difflib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from raydash.core.spec import (
    FILE_POLICY_KINDS,
    LEARNED_POLICY_KINDS,
    LEARNER_KINDS,
    MAX_ENVS_PER_WORKER,
    MAX_WORKERS,
    MODES,
    POLICY_KINDS,
    VECTORIZATIONS,
    WANDB_MODES,
    ClusterSpec,
    EnvSpec,
    LearnerSpec,
    PolicySpec,
    RolloutSpec,
    RunSpec,
    SinksSpec,
    StopSpec,
    WrapperSpec,
)
from raydash.core.words import plain

MAX_WHOLE = 2**63 - 1
"""Larger numbers do not travel between processes."""
MAX_DEPTH = 32
MAX_HIDDEN = 4096
MAX_INFO_KEYS = 16


@dataclass(frozen=True, slots=True)
class Field:
    """The rule for the values of one spec key.

    Attributes:
        kind: `str`, `int`, `float`, `bool`, `table`, `action`, `words`, `sizes` or `wrappers`.
        help: One line for people.
        minimum: The smallest value allowed.
        maximum: The largest value allowed; for `words`, how many.
        above: The value must be greater than this one.
        choices: The words allowed.
        optional: The key may be left out or None.
        begins: A text must begin with one of these.
        filled: A text must not be blank.
        or_callable: `module:callable` (or `module:Class`) is allowed besides the choices.
    """

    kind: str
    help: str
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False
    begins: tuple[str, ...] = ()
    filled: bool = False
    or_callable: bool = False

    def allowed(self) -> str:
        """Say in words what is allowed."""
        if self.choices:
            own = ", or module:callable" if self.or_callable else ""
            return "one of " + ", ".join(self.choices) + own
        noun = {
            "str": "a text",
            "int": "a whole number",
            "float": "a number",
            "table": "a table of keys and values",
            "action": "a number, or a list of numbers",
            "bool": "true or false",
            "words": "a list of texts",
            "sizes": f"a list of whole numbers from 1 to {MAX_HIDDEN}",
            "wrappers": "a list of tables with name and kwargs",
        }[self.kind]
        if self.kind == "words" and self.maximum is not None:
            return f"{noun}, at most {self.maximum:g}"
        if self.begins:
            return "a text that begins with " + " or ".join(self.begins)
        if self.minimum is not None and self.maximum is not None:
            return f"{noun} from {plain.count(self.minimum)} to {plain.count(self.maximum)}"
        if self.minimum is not None:
            return f"{noun}, {self.minimum:g} or more"
        if self.above is not None:
            return f"{noun} above {self.above:g}"
        return noun


FIELDS: Mapping[str, Field] = {
    "name": Field("str", "A name for people; empty: derived from the environment."),
    "env.id": Field("str", "Gymnasium id, module:Id or package.module:callable.", filled=True),
    "env.kwargs": Field("table", "Keyword arguments of the environment's constructor."),
    "env.wrappers": Field("wrappers", "Gymnasium's wrappers by name, or module:callable."),
    "policy.kind": Field(
        "str", "What chooses the actions.", choices=POLICY_KINDS, or_callable=True
    ),
    "policy.path": Field(
        "str", "Weights (.npz), .onnx or .zip file, or an RLlib checkpoint.", optional=True
    ),
    "policy.action": Field("action", "What the constant policy does.", optional=True),
    "policy.hidden": Field("sizes", "Hidden layers of an mlp policy that is learnt."),
    "policy.trust": Field(
        "bool",
        "Somebody agreed to load a file that can execute code (sb3, rllib); what a spec file says "
        "of it counts for nothing.",
    ),
    "learner.kind": Field(
        "str",
        "What improves the policy; absent: nothing.",
        choices=LEARNER_KINDS,
        optional=True,
        or_callable=True,
    ),
    "learner.population": Field(
        "int", "Candidates a generation.", minimum=2, maximum=100_000, optional=True
    ),
    "learner.sigma": Field("float", "First step size of the search.", above=0),
    "learner.episodes_per_candidate": Field(
        "int", "Episodes that each candidate plays.", minimum=1, maximum=10_000
    ),
    "learner.evaluation_episodes": Field(
        "int", "Episodes of an evaluation.", minimum=1, maximum=10_000
    ),
    "learner.evaluation_interval": Field(
        "int", "Generations between two evaluations.", minimum=1, maximum=1_000_000
    ),
    "learner.normalize_observations": Field(
        "bool", "Scale observations by their running mean and deviation."
    ),
    "learner.options": Field("table", "Keyword arguments of your own learner."),
    "rollout.mode": Field("str", "Where the steps are made.", choices=MODES),
    "rollout.num_workers": Field(
        "int",
        "Rollout workers; default: one per core.",
        minimum=1,
        maximum=MAX_WORKERS,
        optional=True,
    ),
    "rollout.num_envs_per_worker": Field(
        "int",
        "Environments that each worker steps together.",
        minimum=1,
        maximum=MAX_ENVS_PER_WORKER,
    ),
    "rollout.vectorization": Field(
        "str",
        "sync: one after the other; vector_entry_point: the environment's own vector form; "
        "envpool: EnvPool's environment of that name.",
        choices=VECTORIZATIONS,
        optional=True,
    ),
    "rollout.info_keys": Field(
        "words", "Scalars of info to keep of every episode.", maximum=MAX_INFO_KEYS
    ),
    "rollout.seed": Field(
        "int",
        "The run's seed; every worker derives its own.",
        minimum=0,
        maximum=MAX_WHOLE,
    ),
    "rollout.hang_timeout_s": Field(
        "float",
        "Restart a worker that is silent for so long; off when absent.",
        above=0,
        optional=True,
    ),
    "rollout.stop_grace_s": Field(
        "float",
        "How long a stopping worker may take before it is killed.",
        above=0,
    ),
    "rollout.orphan_timeout_s": Field(
        "float",
        "A run that nobody chose to keep ends so long after its last window.",
        above=0,
    ),
    "stop.seconds": Field(
        "float", "End after so many seconds of stepping.", above=0, optional=True
    ),
    "stop.env_steps": Field(
        "int", "End after so many environment steps.", minimum=1, optional=True
    ),
    "stop.episodes": Field("int", "End after so many episodes.", minimum=1, optional=True),
    "stop.target_return": Field(
        "float", "End when the evaluated mean return reaches this.", optional=True
    ),
    "cluster.address": Field(
        "str", "HOST:PORT of a running Ray; absent: launch one here.", optional=True
    ),
    "cluster.token_path": Field("str", "File with the cluster's Ray token.", optional=True),
    "cluster.num_cpus": Field("float", "CPUs a worker reserves.", minimum=0, optional=True),
    "cluster.num_gpus": Field("float", "GPUs a worker reserves.", minimum=0),
    "cluster.resources": Field("table", "Custom Ray resources a worker reserves."),
    "sinks.tensorboard": Field(
        "str",
        "Folder for TensorBoard; each run writes to a folder of its own in it.",
        optional=True,
        begins=("/", "~/"),
    ),
    "sinks.wandb_project": Field("str", "Project at Weights & Biases.", optional=True, filled=True),
    "sinks.wandb_mode": Field(
        "str", "Whether W&B sends at once, or keeps a folder for wandb sync.", choices=WANDB_MODES
    ),
    "sinks.mlflow_uri": Field(
        "str",
        "MLflow tracking server or folder.",
        optional=True,
        begins=("file:///", "http://", "https://"),
    ),
    "sinks.mlflow_experiment": Field("str", "Experiment in MLflow.", filled=True),
}


_PARTS: Mapping[str, type] = {
    "env": EnvSpec,
    "policy": PolicySpec,
    "learner": LearnerSpec,
    "rollout": RolloutSpec,
    "stop": StopSpec,
    "cluster": ClusterSpec,
    "sinks": SinksSpec,
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with a spec.

    Attributes:
        key: The dotted key, `rollout.num_workers`.
        problem: What is wrong with it.
        allowed: What it may be.
    """

    key: str
    problem: str
    allowed: str

    def sentence(self) -> str:
        """Write the key, the problem and what is allowed on one line."""
        return f"{self.key}: {self.problem}; allowed: {self.allowed}"


class SpecError(ValueError):
    """Raised for a spec that can't be run; it holds every violation."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__("\n".join(violation.sentence() for violation in violations))
        self.violations = violations


def check_value(key: str, value: object) -> Violation | None:
    """Check one value against the rule that `FIELDS` has for its key."""
    rule = FIELDS[key]
    if value is None:
        return None if rule.optional else Violation(key, "is missing", rule.allowed())

    def refused(problem: str) -> Violation:
        return Violation(key, problem, rule.allowed())

    try:
        shown = json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):  # thousands of digits, or of nested brackets
        return refused("is beyond measure")
    match rule.kind:
        case "table":
            if not isinstance(value, Mapping):
                return refused(f"{shown} is not a table")
            problem = _why_not_serializable(value)
            if problem:
                return refused(problem)
            if key == "cluster.resources" and not all(
                isinstance(v, int | float) and not isinstance(v, bool) and v >= 0
                for v in value.values()
            ):
                return refused("holds a value that is no amount")
            return None
        case "str":
            if not isinstance(value, str):
                return refused(f"{shown} is not a text")
            is_callable = rule.or_callable and all(value.partition(":"))
            if rule.choices and value not in rule.choices and not is_callable:
                return refused(f"{shown} is unknown")
            if rule.filled and not value.strip():
                return refused("is empty")
            if rule.begins and not value.startswith(rule.begins):
                return refused(f"{shown} begins otherwise")
            if key == "sinks.mlflow_uri" and "@" in value.partition("://")[2].partition("/")[0]:
                # The value is not repeated, because it holds a password.
                return refused("holds a password, which belongs into MLflow's own environment")
            return None
        case "action":
            return None if _is_action(value) else refused(f"{shown} is no action")
        case "bool":
            return None if isinstance(value, bool) else refused(f"{shown} is neither")
        case "words":
            if not isinstance(value, list | tuple) or not all(
                isinstance(word, str) and word for word in value
            ):
                return refused(f"{shown} is no such list")
            if rule.maximum is not None and len(value) > rule.maximum:
                return refused(f"{len(value)} are too many")
            return refused("names one twice") if len(set(value)) < len(value) else None
        case "sizes":
            return None if _are_sizes(value) else refused(f"{shown} is no such list")
        case "wrappers":
            return None if _are_wrappers(value) else refused(f"{shown} is no such list")
        case _:
            return _check_number(value, rule, refused, shown)


def _why_not_serializable(value: object, depth: int = 0) -> str:
    """Say why a value can't be sent to another process; empty if it can."""
    if depth > MAX_DEPTH:
        return f"is nested more than {MAX_DEPTH} deep"
    match value:
        case None | bool() | str() | float():
            return ""
        case int():
            return (
                ""
                if -MAX_WHOLE - 1 <= value <= MAX_WHOLE
                else f"holds {_digit_count(value)}, which is too large"
            )
        case list() | tuple():
            inside: Iterable[object] = value
        case Mapping():
            if not all(isinstance(name, str) for name in value):
                return "holds a key that is no text"
            inside = value.values()
        case _:
            return f"holds a {type(value).__name__}, which JSON cannot carry"
    return next(filter(None, (_why_not_serializable(each, depth + 1) for each in inside)), "")


def _digit_count(number: int) -> str:
    return f"a number of {math.ceil(number.bit_length() * math.log10(2))} digits"


def _is_action(value: object) -> bool:
    if isinstance(value, list | tuple):
        return not _why_not_serializable(value) and all(map(_is_action, value))
    if isinstance(value, int):
        return abs(value) <= MAX_WHOLE
    return isinstance(value, float) and math.isfinite(value)


def _are_sizes(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= MAX_HIDDEN
        for size in value
    )


def _are_wrappers(value: object) -> bool:
    """Check for tables with a name and JSON-like keyword arguments, and nothing else."""
    if not isinstance(value, list | tuple):
        return False
    for each in value:
        table = asdict(each) if isinstance(each, WrapperSpec) else each
        if not isinstance(table, Mapping) or not {"name"} <= set(table) <= {"name", "kwargs"}:
            return False
        if not (isinstance(table["name"], str) and table["name"].strip()):
            return False
        if check_value("env.kwargs", table.get("kwargs", {})) is not None:
            return False
    return True


def _check_number(
    value: object, rule: Field, refused: Callable[[str], Violation], shown: str
) -> Violation | None:
    wanted = int if rule.kind == "int" else (int, float)
    if isinstance(value, bool) or not isinstance(value, wanted):
        return refused(f"{shown} is not {'a whole number' if rule.kind == 'int' else 'a number'}")
    if value != value or value in (float("inf"), float("-inf")):
        return refused(f"{shown} is not finite")
    if isinstance(value, int) and abs(value) > MAX_WHOLE:
        return refused(f"{_digit_count(value)} is too {'large' if value > 0 else 'small'}")
    too_small = rule.minimum is not None and value < rule.minimum
    if too_small or (rule.above is not None and value <= rule.above):
        return refused(f"{shown} is too small")
    if rule.maximum is not None and value > rule.maximum:
        return refused(f"{shown} is too large")
    return None


def spec_from_table(table: Mapping[str, Any]) -> RunSpec:
    """Build a spec from nested tables, as TOML and the form give them.

    Raises:
        SpecError: with every unknown key, wrong type and value out of bounds.
    """
    violations: list[Violation] = []
    parts: dict[str, Any] = {}
    for key, value in table.items():
        if key == "name":
            problem = check_value("name", value)
            violations += [problem] if problem else []
            parts["name"] = value
        elif key not in _PARTS:
            violations.append(_unknown(key, ["name", *_PARTS], "tables"))
        elif not isinstance(value, Mapping):
            violations.append(Violation(key, "is not a table", f"[{key}] with keys"))
        else:
            parts[key] = _build_part(key, value, violations)
    if violations:
        raise SpecError(tuple(violations))
    spec = RunSpec(**parts)
    violations += _contradictions(spec)
    if violations:
        raise SpecError(tuple(violations))
    return spec


def _contradictions(spec: RunSpec) -> list[Violation]:
    """Find values that are allowed on their own, but not together."""
    found: list[Violation] = []
    rollout, policy, learner = spec.rollout, spec.policy, spec.learner
    if rollout.vectorization == "none" and rollout.num_envs_per_worker > 1:
        problem = f'"none" steps one environment, not {rollout.num_envs_per_worker}'
        allowed = "one of " + ", ".join(VECTORIZATIONS[1:])
        found.append(Violation("rollout.vectorization", problem, allowed))
    if rollout.mode != "actors" and rollout.chosen_vectorization != "none":
        problem = f"{rollout.mode} steps one environment per worker"
        found.append(Violation("rollout.num_envs_per_worker", problem, "1; use more workers"))
    if policy.kind == "constant" and policy.action is None:
        found.append(Violation("policy.action", "is missing", FIELDS["policy.action"].allowed()))
    if policy.kind in FILE_POLICY_KINDS and not policy.path and learner.kind is None:
        found.append(
            Violation("policy.path", "is missing", f"the file of the {policy.kind} policy")
        )
    if learner.kind is None:
        if spec.stop.target_return is not None:
            problem = "nothing is evaluated without a learner"
            found.append(Violation("stop.target_return", problem, "only with learner.kind"))
        return found
    if policy.kind not in LEARNED_POLICY_KINDS:
        problem = f'the parameters of "{policy.kind}" can\'t be learnt'
        allowed = "one of " + ", ".join(LEARNED_POLICY_KINDS)
        found.append(Violation("policy.kind", problem, allowed))
    if rollout.mode != "actors" or rollout.chosen_vectorization != "none":
        problem = "candidates are played by workers with one environment each"
        key = "rollout.mode" if rollout.mode != "actors" else "rollout.num_envs_per_worker"
        found.append(Violation(key, problem, "actors, with 1 environment per worker"))
    return found


def _build_part(part: str, table: Mapping[str, Any], violations: list[Violation]) -> object:
    names = [item.name for item in fields(_PARTS[part])]
    values: dict[str, Any] = {}
    for name, value in table.items():
        key = f"{part}.{name}"
        if name not in names:
            violations.append(_unknown(key, [f"{part}.{n}" for n in names], "keys"))
            continue
        problem = check_value(key, value)
        if problem:
            violations.append(problem)
            continue
        values[name] = _to_field_type(value, FIELDS[key].kind)
    return _PARTS[part](**values) if not violations else None


def _to_field_type(value: Any, kind: str) -> Any:
    """Convert a checked value to the type that its dataclass has."""
    if value is None:
        return None
    match kind:
        case "float":
            return float(value)
        case "words" | "sizes":
            return tuple(value)
        case "wrappers":
            return tuple(
                each if isinstance(each, WrapperSpec) else WrapperSpec(**each) for each in value
            )
    return value


def _unknown(key: str, known: list[str], what: str) -> Violation:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return Violation(key, f"is unknown{hint}", f"the {what} " + ", ".join(known))


def violations_of(spec: RunSpec) -> tuple[Violation, ...]:
    """List everything that is wrong with a spec that was built in code."""
    try:
        spec_from_table(asdict(spec))
    except SpecError as error:
        return error.violations
    return ()
