from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.messages import StartRun
from raydash.core.spec import (
    MAX_WORKERS,
    ClusterSpec,
    EnvSpec,
    LearnerSpec,
    PolicySpec,
    RolloutSpec,
    RunSpec,
    SinksSpec,
    StopSpec,
    WrapperSpec,
    table_from_spec,
)
from raydash.core.spec_rules import (
    FIELDS,
    SpecError,
    check_value,
    spec_from_table,
    violations_of,
)
from raydash.protocol.codec import decode, encode

PARTS = {
    "env": EnvSpec,
    "policy": PolicySpec,
    "learner": LearnerSpec,
    "rollout": RolloutSpec,
    "stop": StopSpec,
    "cluster": ClusterSpec,
    "sinks": SinksSpec,
}


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def refused(table: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(SpecError) as caught:
        spec_from_table(table)
    return {violation.key: violation.sentence() for violation in caught.value.violations}


def test_every_key_of_a_spec_has_a_rule_and_every_rule_a_key() -> None:
    keys = {f"{part}.{item.name}" for part, kind in PARTS.items() for item in fields(kind)}
    assert keys | {"name"} == set(FIELDS)
    assert {item.name for item in fields(RunSpec)} == {"name", *PARTS}


def test_empty_table_is_the_default_run() -> None:
    assert spec_from_table({}) == RunSpec()
    assert RunSpec().env.id == "CartPole-v1"
    assert violations_of(RunSpec()) == ()


def test_all_violations_come_at_once() -> None:
    found = refused(
        {
            "name": 3,
            "evn": {},
            "env": {"id": " ", "kwargs": []},
            "policy": 5,
            "rollout": {"num_workers": 0, "num_worker": 1, "seed": 1.5},
            "stop": {"seconds": "long"},
            "sinks": {"tensorboard": "runs", "wandb_mode": "never", "mlflow": "file:///x"},
        }
    )
    assert set(found) == {
        "name",
        "evn",
        "env.id",
        "env.kwargs",
        "policy",
        "rollout.num_workers",
        "rollout.num_worker",
        "rollout.seed",
        "stop.seconds",
        "sinks.tensorboard",
        "sinks.wandb_mode",
        "sinks.mlflow",
    }
    assert "did you mean env?" in found["evn"]
    assert "did you mean rollout.num_workers?" in found["rollout.num_worker"]
    assert found["rollout.num_workers"].endswith("allowed: a whole number from 1 to 10 000")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rollout.num_workers", 0),
        ("rollout.num_workers", -1),
        ("rollout.num_workers", MAX_WORKERS + 1),
        ("rollout.num_workers", 2.0),
        ("rollout.num_workers", True),
        ("rollout.num_workers", "2"),
        ("rollout.seed", -1),
        ("rollout.seed", 2**63),
        ("rollout.seed", None),
        ("rollout.stop_grace_s", 0),
        ("rollout.stop_grace_s", None),
        ("rollout.hang_timeout_s", -0.1),
        ("stop.seconds", 0),
        ("stop.seconds", float("nan")),
        ("stop.seconds", float("inf")),
        ("stop.seconds", False),
        ("stop.env_steps", 0),
        ("stop.episodes", 1.5),
        ("env.id", ""),
        ("env.id", 3),
        ("env.id", None),
        ("env.kwargs", {"x": object()}),
        ("env.kwargs", {"x": {1, 2}}),
        ("env.kwargs", {"x": [2**63]}),
        ("env.kwargs", {"x": -(10**5000)}),
        ("env.kwargs", {1: "x"}),
        ("env.kwargs", {"x": nested(40)}),
        ("env.kwargs", {"x": nested(100_000)}),
        ("env.wrappers", [{"name": "TimeLimit", "kwargs": {"max_episode_steps": 10**30}}]),
        ("policy.action", 10**400),
        ("policy.action", [10**30]),
        ("policy.action", nested(100_000)),
        ("stop.env_steps", 10**30),
        ("stop.seconds", 10**400),
        ("env.kwargs", "x"),
        ("policy.kind", "Random"),
        ("cluster.num_cpus", -1),
        ("cluster.resources", {"TPU": -1}),
        ("cluster.resources", {"TPU": True}),
        ("cluster.resources", {"TPU": "1"}),
        ("cluster.address", 6379),
        ("sinks.tensorboard", ""),
        ("sinks.tensorboard", "runs/tb"),
        ("sinks.wandb_project", " "),
        ("sinks.wandb_mode", None),
        ("sinks.wandb_mode", "disabled"),
        ("sinks.mlflow_uri", "mlruns"),
        ("sinks.mlflow_uri", "ftp://x"),
        ("sinks.mlflow_experiment", ""),
    ],
)
def test_value_that_is_not_allowed_is_refused_by_its_key(key: str, value: object) -> None:
    problem = check_value(key, value)
    assert problem is not None
    assert problem.key == key
    assert problem.allowed


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rollout.num_workers", 1),
        ("rollout.num_workers", MAX_WORKERS),
        ("rollout.num_workers", None),
        ("rollout.seed", 2**63 - 1),
        ("stop.seconds", 1),
        ("stop.seconds", 0.001),
        ("env.kwargs", {"a": [1, {"b": None}], "c": 2**63 - 1, "d": True}),
        ("env.kwargs", {"x": nested(20)}),
        ("cluster.resources", {"TPU": 0.5}),
        ("cluster.num_cpus", 0),
        ("cluster.address", None),
        ("sinks.tensorboard", "/data/tb"),
        ("sinks.tensorboard", "~/tb"),
        ("sinks.tensorboard", None),
        ("sinks.wandb_mode", "offline"),
        ("sinks.mlflow_uri", "file:///data/ml@home"),
        ("sinks.mlflow_uri", "https://tracking.example:5000/a@b"),
    ],
)
def test_allowed_value_is_accepted(key: str, value: object) -> None:
    assert check_value(key, value) is None


def test_password_in_a_tracking_server_is_refused_without_being_repeated() -> None:
    problem = check_value("sinks.mlflow_uri", "https://me:hush@tracking.example/")
    assert problem is not None
    assert "password" in problem.sentence()
    assert "hush" not in problem.sentence()


def test_whole_numbers_are_accepted_where_numbers_are_and_become_them() -> None:
    seconds = spec_from_table({"stop": {"seconds": 20}}).stop.seconds
    assert isinstance(seconds, float)
    assert seconds == 20.0


def test_spec_built_in_code_is_checked_alike() -> None:
    spec = replace(RunSpec(), rollout=RolloutSpec(num_workers=0), stop=StopSpec(seconds=-1.0))
    assert [v.key for v in violations_of(spec)] == ["rollout.num_workers", "stop.seconds"]


@pytest.mark.parametrize("count", [0, 1025, True, 1.5])
def test_number_of_environments_per_worker_is_1_to_1024(count: object) -> None:
    found = refused({"rollout": {"num_envs_per_worker": count}})
    assert "1 to 1 024" in found["rollout.num_envs_per_worker"]


def test_several_environments_without_vectorization_are_a_contradiction() -> None:
    found = refused({"rollout": {"num_envs_per_worker": 3, "vectorization": "none"}})
    assert found == {
        "rollout.vectorization": 'rollout.vectorization: "none" steps one environment, not 3; '
        "allowed: one of sync, vector_entry_point, envpool"
    }


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KEYS = st.sampled_from([key.split(".")[-1] for key in FIELDS]) | st.text(max_size=5)
TABLES = st.dictionaries(
    st.sampled_from(["name", *PARTS]) | st.text(max_size=5),
    st.dictionaries(KEYS, VALUES, max_size=3) | VALUES,
    max_size=4,
)


@given(TABLES)
def test_any_table_is_either_a_valid_spec_or_refused_in_words(table: dict[str, Any]) -> None:
    try:
        spec = spec_from_table(table)
    except SpecError as refusal:
        violations = refusal.violations
    else:
        violations = ()
        assert violations_of(spec) == ()
        assert spec_from_table(table_from_spec(spec)) == spec
        assert spec_from_table(asdict(spec)) == spec
    assert all(v.problem and v.allowed for v in violations)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"rollout": {"mode": "lockstep", "num_envs_per_worker": 2}}, "num_envs_per_worker"),
        ({"rollout": {"mode": "elsewhere"}}, "rollout.mode"),
        ({"rollout": {"info_keys": ["a", "a"]}}, "rollout.info_keys"),
        ({"rollout": {"info_keys": "a"}}, "rollout.info_keys"),
        ({"env": {"wrappers": [{"kwargs": {}}]}}, "env.wrappers"),
        ({"env": {"wrappers": [{"name": "A", "more": 1}]}}, "env.wrappers"),
        ({"policy": {"hidden": [0]}}, "policy.hidden"),
        ({"policy": {"trust": "yes"}}, "policy.trust"),
        ({"stop": {"target_return": 1.0}}, "stop.target_return"),
        ({"learner": {"kind": "cmaes"}}, "policy.kind"),
        ({"learner": {"kind": "sgd"}}, "learner.kind"),
        ({"learner": {"kind": "cmaes"}, "policy": {"kind": "mlp"}, "rollout": {"mode": "tasks"}},
         "rollout.mode"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused_by_its_key(table: dict[str, Any], key: str) -> None:
    assert any(name.endswith(key) for name in refused(table))


def test_wrappers_and_lists_come_out_as_they_are_kept() -> None:
    spec = spec_from_table(
        {
            "env": {"wrappers": [{"name": "TimeLimit", "kwargs": {"max_episode_steps": 5}}]},
            "policy": {"kind": "mlp", "hidden": [8, 8]},
            "learner": {"kind": "module:Own", "sigma": 1},
            "rollout": {"info_keys": ["x"]},
            "stop": {"target_return": 475},
        }
    )
    assert spec.env.wrappers == (WrapperSpec("TimeLimit", {"max_episode_steps": 5}),)
    assert spec.policy.hidden == (8, 8)
    assert spec.rollout.info_keys == ("x",)
    assert spec_from_table(table_from_spec(spec)) == spec


def accepted(table: dict[str, Any]) -> tuple[RunSpec | None, set[str]]:
    """Return the spec of a table, or the keys that it was refused for."""
    try:
        return spec_from_table(table), set()
    except SpecError as error:
        return None, {each.key for each in error.violations if each.sentence()}


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**400, 10**401)
    | st.floats()
    | st.text(max_size=8)
    | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
NAMES = sorted({key.rpartition(".")[2] for key in FIELDS})


@given(
    st.dictionaries(
        st.sampled_from(["name", *PARTS]) | st.text(max_size=4),
        ANYTHING | st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=4),
        max_size=4,
    )
)
def test_any_table_is_taken_or_refused_in_words_by_keys(table: dict[str, Any]) -> None:
    spec, keys = accepted(table)
    if spec is None:
        assert keys
    else:
        assert decode(encode(StartRun(0, spec))).spec.rollout == spec.rollout


@given(ANYTHING, ANYTHING)
def test_arguments_that_are_taken_travel(value: object, action: object) -> None:
    table = {"env": {"kwargs": {"x": value}}, "policy": {"kind": "constant", "action": action}}
    spec, keys = accepted(table)
    if spec is None:
        assert keys <= {"env.kwargs", "policy.action"}
    else:
        assert "x" in decode(encode(StartRun(0, spec))).spec.env.kwargs
