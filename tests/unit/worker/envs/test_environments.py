"""Environments are found by every kind of name, and every failure names the key at fault."""

import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from raydash.core.faults import Fault, FaultError
from raydash.core.spec import EnvSpec
from raydash.worker.envs.environments import first_reset, make_env, registry_ids
from raydash.worker.envs.vector_environments import make_vector_env
from tests.fakes.user_code.envs import CountingEnv

FAKES = "tests.fakes.user_code.envs"


def fault_of(env_id: str, **kwargs: object) -> Fault:
    with pytest.raises(FaultError) as caught:
        make_env(EnvSpec(env_id, kwargs))
    assert caught.value.fault.bad_input
    return caught.value.fault


def test_gymnasium_id_gives_the_environment_with_its_default_wrappers() -> None:
    env = make_env(EnvSpec("CartPole-v1"))
    assert env.spec is not None
    assert env.spec.max_episode_steps == 500


def test_kwargs_reach_the_constructor() -> None:
    env = make_env(EnvSpec(f"{FAKES}:CountingEnv", {"length": 4}))
    assert isinstance(env, CountingEnv)
    assert env.length == 4


def test_module_and_id_gives_the_environment_that_the_module_registered() -> None:
    env = make_env(EnvSpec(f"{FAKES}:raydash_tests/Counting-v0"))
    assert env.spec is not None
    assert env.spec.max_episode_steps == 7


def test_callable_of_a_module_is_called() -> None:
    assert isinstance(make_env(EnvSpec(f"{FAKES}:make_counting")), CountingEnv)


def test_source_dirs_are_searched_first_and_added_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_own_env.py").write_text(
        "from tests.fakes.user_code.envs import CountingEnv\nclass Mine(CountingEnv): pass\n"
    )
    for _ in range(2):
        make_env(EnvSpec("my_own_env:Mine"), [str(tmp_path)])
    assert sys.path[0] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


def test_unknown_id_is_answered_with_near_matches() -> None:
    fault = fault_of("CartPol-v1")
    assert fault.what == "There is no environment CartPol-v1"
    assert "CartPole-v1" in fault.remedy
    assert fault.keys == ("env.id",)


def test_unknown_version_is_answered_with_the_versions_that_exist() -> None:
    assert "Acrobot-v1" in fault_of("Acrobot-v9").remedy


def test_unknown_name_without_a_neighbour_says_how_names_are_written() -> None:
    assert "module:Id" in fault_of("Zzzzzz-v0").remedy


@pytest.mark.parametrize("env_id", ["a b", ":", ":y", "x:", "ns/"])
def test_malformed_id_is_refused_with_how_names_are_written(env_id: str) -> None:
    fault = fault_of(env_id)
    assert fault.what == f"There is no environment {env_id}"
    assert fault.keys == ("env.id",)
    assert "module:Id" in fault.remedy
    assert fault.detail == ""


@pytest.mark.parametrize("space", ["observation_space", "action_space"])
def test_environment_without_spaces_is_refused_with_what_to_set(space: str) -> None:
    fault = fault_of(f"{FAKES}:SpacelessEnv", without=space)
    assert fault.what == f"{FAKES}:SpacelessEnv has no {space}"
    assert f"self.{space}" in fault.remedy


def test_known_namespace_without_its_package_says_what_to_install_and_write() -> None:
    fault = fault_of("ALE/Pong-v5")
    assert 'pip install "gymnasium[atari]"' in fault.remedy
    assert "ale_py:ALE/Pong-v5" in fault.remedy


def test_missing_simulator_is_answered_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    fault = fault_of("Ant-v5")
    assert 'pip install "gymnasium[mujoco]"' in fault.remedy
    assert fault.keys == ("env.id",)


def test_envpool_has_no_single_environments() -> None:
    fault = fault_of("envpool:CartPole-v1")
    assert "--vectorization envpool" in fault.remedy


def test_envpool_that_is_not_installed_is_answered_with_its_pip_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(FaultError) as caught:
        make_vector_env(EnvSpec("CartPole-v1"), 2, "envpool")
    fault = caught.value.fault
    assert fault.bad_input
    assert fault.what == "EnvPool is not installed"
    assert "pip install 'raydash[envpool]'" in fault.remedy


def test_missing_module_is_named() -> None:
    fault = fault_of("no_such_package_here.envs:Thing")
    assert "no_such_package_here" in fault.what
    assert "folder" in fault.remedy


def test_module_that_raises_on_import_is_answered_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_env_module.py").write_text("1 / 0\n")
    fault = fault_of("broken_env_module:Thing")
    assert "ZeroDivisionError" in fault.what
    assert "broken_env_module.py" in fault.detail


def test_module_without_that_name_offers_what_it_has() -> None:
    assert "CountingEnv" in fault_of(f"{FAKES}:CountinEnv").remedy


@pytest.mark.parametrize("env_id", ["CartPole-v1", f"{FAKES}:CountingEnv"])
def test_wrong_keyword_argument_is_named_with_those_that_exist(env_id: str) -> None:
    fault = fault_of(env_id, lenth=3)
    assert "lenth" in fault.what
    assert fault.keys == ("env.kwargs",)
    assert "length" in fault.remedy or "render_mode" in fault.remedy


def test_missing_keyword_argument_is_a_fault_of_the_kwargs() -> None:
    assert fault_of("gymnasium:Wrapper").keys == ("env.kwargs",)


def test_constructor_that_raises_is_answered_with_its_words_and_traceback() -> None:
    fault = fault_of(f"{FAKES}:RaisingEnv", where="constructor")
    assert fault.why == "the licence server is away"
    assert fault.keys == ("env.id", "env.kwargs")
    assert "envs.py" in fault.detail


def test_wrong_value_of_a_keyword_argument_is_answered_in_the_constructors_words() -> None:
    assert "sour" in fault_of(f"{FAKES}:CountingEnv", flavour="sour").why


@pytest.mark.parametrize("name", ["NotAnEnv", "Step"])
def test_thing_that_is_no_gymnasium_environment_is_refused(name: str) -> None:
    fault = fault_of(f"{FAKES}:{name}")
    assert "not a Gymnasium environment" in fault.what
    assert fault.keys == ("env.id",)


def test_vector_environment_is_refused_with_advice() -> None:
    gymnasium.register(
        "raydash_tests/Vector-v0",
        entry_point=lambda: gymnasium.make_vec("CartPole-v1", num_envs=1),
        disable_env_checker=True,
    )
    assert fault_of("raydash_tests/Vector-v0").keys == ("env.id",)


@pytest.mark.parametrize(
    ("name", "kwargs", "words"),
    [
        ("RaisingEnv", {"where": "reset"}, "level file is missing"),
        ("SeedlessEnv", {}, "seed=None"),
    ],
)
def test_first_reset_that_raises_is_a_fault_in_plain_words(
    name: str, kwargs: dict[str, object], words: str
) -> None:
    spec = EnvSpec(f"{FAKES}:{name}", kwargs)
    env = make_env(spec)
    with pytest.raises(FaultError, match=words) as caught:
        first_reset(env, spec, 1)
    assert "first reset" in caught.value.fault.what


@pytest.mark.parametrize("given", [np.zeros(2), (np.zeros(4),), None])
def test_first_reset_that_gives_no_pair_is_a_fault_in_plain_words(given: object) -> None:
    spec = EnvSpec(f"{FAKES}:CountingEnv")
    env = make_env(spec)
    env.reset = lambda **_: given
    with pytest.raises(FaultError, match=r"Let it return \(observation, \{\}\)") as caught:
        first_reset(env, spec, 1)
    assert type(given).__name__ in caught.value.fault.what


def test_registry_lists_ids_without_adapters_for_old_apis() -> None:
    ids = registry_ids()
    assert "CartPole-v1" in ids
    assert list(ids) == sorted(ids)
    assert not [name for name in ids if name.startswith("GymV")]
