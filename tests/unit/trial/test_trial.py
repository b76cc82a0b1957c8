"""A throwaway process answers for an environment, whatever that environment does to it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from raydash.core.clock import Clock
from raydash.core.faults import Fault
from raydash.core.spec import EnvSpec, LearnerSpec, PolicySpec, RolloutSpec
from raydash.trial.trial import list_names, try_environment
from tests.fakes.clock import clock_of_a_hang
from tests.fakes.places import ROOT

FAKES = "tests.fakes.user_code.envs"


@pytest.fixture(autouse=True)
def _importable_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def fault_of(env_id: str, clock: Clock = time.monotonic, **kwargs: object) -> Fault:
    fault = try_environment(EnvSpec(env_id, kwargs), PolicySpec(), clock=clock)
    assert fault is not None
    assert fault.bad_input
    return fault


def test_working_environment_has_no_fault() -> None:
    assert try_environment(EnvSpec(), PolicySpec()) is None


@pytest.mark.parametrize(
    ("env_id", "how"),
    [("CartPole-v1", "sync"), ("CartPole-v1", "vector_entry_point"), ("MountainCar-v0", None)],
)
def test_several_together_have_no_fault_where_they_work(env_id: str, how: str | None) -> None:
    rollout = RolloutSpec(num_envs_per_worker=64, vectorization=how)
    assert try_environment(EnvSpec(env_id), PolicySpec(), rollout=rollout) is None


def test_environment_without_a_vector_form_of_its_own_is_told_when_one_is_asked_for() -> None:
    rollout = RolloutSpec(num_envs_per_worker=4, vectorization="vector_entry_point")
    fault = try_environment(EnvSpec("MountainCar-v0"), PolicySpec(), rollout=rollout)
    assert fault is not None
    assert fault.bad_input
    assert fault.keys == ("rollout.vectorization", "env.id")
    assert "vectorization = sync" in fault.remedy


def test_source_dirs_reach_the_process(tmp_path: Path) -> None:
    (tmp_path / "here_only.py").write_text(
        "from tests.fakes.user_code.envs import CountingEnv\nclass Mine(CountingEnv): pass\n"
    )
    spec = EnvSpec("here_only:Mine", {"length": 2})
    assert try_environment(spec, PolicySpec(), [str(tmp_path)]) is None


def test_fault_of_the_environment_comes_back_as_it_is() -> None:
    fault = fault_of("CartPol-v1")
    assert fault.what == "There is no environment CartPol-v1"
    assert fault.keys == ("env.id",)


@pytest.mark.parametrize(
    ("where", "words"), [("constructor", "licence server"), ("reset", "level file")]
)
def test_exception_comes_back_in_words(where: str, words: str) -> None:
    assert words in fault_of(f"{FAKES}:RaisingEnv", where=where).why


@pytest.mark.parametrize(("where", "phase"), [("constructor", "constructor"), ("reset", "reset")])
def test_crash_is_told_with_its_signal_its_phase_and_its_last_words(where: str, phase: str) -> None:
    fault = fault_of(f"{FAKES}:CrashingEnv", where=where)
    assert phase in fault.what
    assert "SIGSEGV" in fault.why
    assert "last words of the environment" in fault.detail


def test_environment_that_leaves_python_is_told_with_its_exit_code() -> None:
    assert "exit code 3" in fault_of(f"{FAKES}:CrashingEnv", where="reset", how="exit").why


@pytest.mark.parametrize(("where", "phase"), [("constructor", "constructor"), ("reset", "reset")])
def test_hang_is_told_after_the_limit_with_its_phase(
    tmp_path: Path, where: str, phase: str
) -> None:
    note = tmp_path / "hangs"
    clock = clock_of_a_hang(note)
    fault = fault_of(f"{FAKES}:HangingEnv", clock, where=where, note=str(note))
    assert "within 20 s" in fault.what
    assert phase in fault.why


OWN = """
import os, pathlib, threading

def hang():
    pathlib.Path(__file__).with_name("hangs").touch()
    threading.Event().wait()

def hanging(observation_space, action_space):
    return lambda observation: hang()

def crashing(observation_space, action_space):
    return lambda observation: os._exit(5)

class Hanging:
    def __init__(self, **_): ...
    def ask(self):
        hang()
    def tell(self, returns): ...
"""


@pytest.mark.parametrize(
    ("policy", "learner", "key", "words"),
    [
        (PolicySpec("own:crashing"), LearnerSpec(), "policy.kind", "exit code 5"),
        (PolicySpec("own:hanging"), LearnerSpec(), "policy.kind", "It hung in its first action"),
        (PolicySpec("linear"), LearnerSpec("own:Hanging"), "learner.kind", "in its first ask"),
    ],
)
def test_policy_and_learner_that_hang_or_crash_are_named_and_not_the_environment(
    tmp_path: Path, policy: PolicySpec, learner: LearnerSpec, key: str, words: str
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    fault = try_environment(
        EnvSpec(),
        policy,
        [str(tmp_path)],
        learner=learner,
        clock=clock_of_a_hang(tmp_path / "hangs"),
    )
    assert fault is not None
    assert fault.keys == (key,)
    assert words in fault.why
    assert "CartPole" not in fault.what


def test_limit_is_of_time_as_it_passes() -> None:
    spec = EnvSpec(f"{FAKES}:HangingEnv", {"where": "reset"})
    fault = try_environment(spec, PolicySpec(), time_limit_s=0.2)
    assert fault is not None
    assert "within 0.2 s" in fault.what


def test_cancelling_ends_a_hanging_trial_without_a_fault(
    wait_until: Callable[..., None],
) -> None:
    asked: list[int] = []
    spec = EnvSpec(f"{FAKES}:HangingEnv", {"where": "reset"})

    def is_cancelled() -> bool:
        asked.append(1)
        return len(asked) > 4

    fault = try_environment(spec, PolicySpec(), cancelled=is_cancelled)
    assert fault is None


def test_printing_environment_disturbs_nothing() -> None:
    assert try_environment(EnvSpec(f"{FAKES}:ChattyEnv"), PolicySpec()) is None


def test_processes_that_the_environment_started_end_with_the_trial(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    (tmp_path / "leaving_children.py").write_text(
        "import subprocess, sys\n"
        "from tests.fakes.user_code.envs import CountingEnv\n"
        "class Mine(CountingEnv):\n"
        "    def __init__(self, note):\n"
        "        super().__init__()\n"
        "        child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "        open(note, 'w').write(str(child.pid))\n"
    )
    note = tmp_path / "pid"
    spec = EnvSpec("leaving_children:Mine", {"note": str(note)})
    assert try_environment(spec, PolicySpec(), [str(tmp_path)]) is None
    pid = int(note.read_text())
    wait_until(
        lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie",
        "the simulator's end",
    )


def test_listing_gives_the_ids_of_the_registry_and_the_names_of_wrappers() -> None:
    names = list_names()
    assert "CartPole-v1" in names.env_ids
    assert "TimeLimit" in names.wrapper_names


def test_callers_side_imports_neither_gymnasium_nor_ray() -> None:
    code = (
        "import sys, raydash.trial.trial;"
        "print([name for name in ('gymnasium', 'ray', 'PySide6') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"
