"""Specs know their defaults, and can be written as tables."""

from typing import Any

import pytest

from raydash.core.spec import RolloutSpec, RunSpec, StopSpec, table_from_spec, ways_of
from raydash.core.spec_rules import spec_from_table


def test_table_of_a_spec_holds_what_differs_and_the_environment() -> None:
    assert table_from_spec(RunSpec()) == {"env": {"id": "CartPole-v1"}}
    spec = RunSpec("n", rollout=RolloutSpec(num_workers=3), stop=StopSpec(episodes=5))
    assert table_from_spec(spec) == {
        "name": "n",
        "env": {"id": "CartPole-v1"},
        "rollout": {"num_workers": 3},
        "stop": {"episodes": 5},
    }


def test_several_environments_are_stepped_by_sync_unless_something_else_is_asked_for() -> None:
    def chosen(**rollout: Any) -> str:
        return spec_from_table({"rollout": rollout}).rollout.chosen_vectorization

    assert chosen() == "none"
    assert chosen(num_envs_per_worker=2) == "sync"
    assert chosen(num_envs_per_worker=2, vectorization="vector_entry_point") == "vector_entry_point"
    assert chosen(num_envs_per_worker=1, vectorization="sync") == "sync"


@pytest.mark.parametrize(
    ("table", "ways"),
    [
        ({}, (None, None, None)),
        ({"env": {"id": "CartPole-v1"}}, ("actors", "random", None)),
        ({"rollout": {"mode": "tasks"}, "policy": None}, ("tasks", "random", None)),
        (
            {"policy": {"kind": "mlp"}, "learner": {"kind": "cmaes"}},
            ("actors", "mlp", "cmaes"),
        ),
    ],
)
def test_ways_of_an_old_table_are_its_words_or_what_was_the_default(
    table: dict[str, Any], ways: tuple[str | None, ...]
) -> None:
    assert tuple(ways_of(table).values()) == ways
