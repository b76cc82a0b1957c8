"""The class inside a worker's actor, called directly, always returns bytes and never raises."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydash.core.messages import StartRun
from raydash.core.records import PolicySet, RolloutChunk, WorkerFault, WorkerReady
from raydash.core.spec import EnvSpec, PolicySpec, RolloutSpec, RunSpec
from raydash.protocol.codec import decode, encode
from raydash.worker.actor import RolloutWorker
from raydash.worker.envs.seeds import env_seeds
from raydash.worker.node.progress import Phase, ProgressReader

FAKES = "tests.fakes.user_code.envs"


def worker_of(env_id: str, progress_dir: str = "", **kwargs: Any) -> RolloutWorker:
    spec = RunSpec(env=EnvSpec(env_id, kwargs), rollout=RolloutSpec(seed=5))
    return RolloutWorker(encode(StartRun(1, spec)), 3, 2, progress_dir=progress_dir)


def test_prepared_worker_tells_its_process_seed_and_progress_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONBREAKPOINT", "ray.util.rpdb._breakpoint")
    worker = worker_of("CartPole-v1", str(tmp_path))
    ready = decode(worker.prepare())
    assert isinstance(ready, WorkerReady)
    assert (ready.worker_index, ready.incarnation, ready.pid) == (3, 2, os.getpid())
    assert ready.seed == env_seeds(5, worker_index=3, incarnation=2).reset
    progress = ProgressReader(ready.progress_path).read()
    assert progress is not None
    assert progress.phase is Phase.IDLE
    assert os.environ["PYTHONBREAKPOINT"] == "0"
    assert worker.close() == b""
    assert list(tmp_path.iterdir()) == []


def test_rollout_gives_a_chunk_that_goes_on_from_the_last() -> None:
    worker = worker_of(f"{FAKES}:CountingEnv", length=10**9)
    worker.prepare()
    first, second = (decode(worker.rollout(0.01)) for _ in range(2))
    assert isinstance(first, RolloutChunk)
    assert (first.worker_index, first.incarnation) == (3, 2)
    assert 0 < first.partial_len[0] < second.partial_len[0] == second.totals.num_env_steps
    worker.close()


@pytest.mark.parametrize("how", ["sync", "vector_entry_point"])
def test_worker_with_several_environments_counts_them_all(how: str) -> None:
    rollout = RolloutSpec(seed=5, num_envs_per_worker=4, vectorization=how)
    start_run = encode(StartRun(1, RunSpec(env=EnvSpec("CartPole-v1"), rollout=rollout)))
    worker = RolloutWorker(start_run, 3, 2)
    ready = decode(worker.prepare())
    assert isinstance(ready, WorkerReady)
    assert ready.seed == env_seeds(5, worker_index=3, incarnation=2).reset
    chunk = decode(worker.rollout(0.1))
    assert set(chunk.env_index.tolist()) == {0, 1, 2, 3}
    assert chunk.totals.num_env_steps == chunk.episode_len.sum() + chunk.partial_len.sum()
    while not (drained := decode(worker.rollout(0.1, True))).drained:
        pass
    assert drained.partial_len.tolist() == [0, 0, 0, 0]
    assert worker.close() == b""


def test_draining_worker_ends_between_episodes() -> None:
    worker = worker_of(f"{FAKES}:CountingEnv", length=5)
    worker.prepare()
    worker.rollout(0.0)
    assert decode(worker.rollout(1.0, True)).drained
    worker.close()


@pytest.mark.parametrize(
    ("env_id", "kwargs", "words"),
    [
        ("CartPol-v1", {}, "no environment"),
        (f"{FAKES}:RaisingEnv", {"where": "constructor"}, "constructor"),
        (f"{FAKES}:RaisingEnv", {"where": "reset"}, "first reset"),
        (f"{FAKES}:NotAnEnv", {}, "not a Gymnasium environment"),
    ],
)
def test_fault_of_the_environment_is_an_answer(
    env_id: str, kwargs: dict[str, Any], words: str
) -> None:
    worker = worker_of(env_id, **kwargs)
    answer = decode(worker.prepare())
    assert isinstance(answer, WorkerFault)
    assert (answer.worker_index, answer.incarnation) == (3, 2)
    assert words in answer.fault.what
    worker.close()


def test_stepping_an_unprepared_worker_is_answered_with_a_fault() -> None:
    assert isinstance(decode(worker_of("CartPole-v1").rollout(0.1)), WorkerFault)


def test_failing_close_is_answered_with_a_fault_and_the_progress_file_goes(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    worker = worker_of(f"{FAKES}:UnclosableEnv", str(tmp_path / "p"))
    worker.prepare()
    answer = decode(worker.close())
    assert isinstance(answer, WorkerFault)
    assert "cannot close" in answer.fault.why
    assert list((tmp_path / "p").iterdir()) == []
    assert worker.close() == b""


# --- another policy in the middle of a run ----------------------------------------------------


def always(action: int) -> PolicySpec:
    return PolicySpec("constant", action=action)


@pytest.mark.parametrize("num_envs", [1, 4])
def test_swapped_policy_chooses_from_the_next_slice_on_and_counts_go_on(num_envs: int) -> None:
    spec = RunSpec(
        env=EnvSpec(f"{FAKES}:EchoEnv"),
        policy=always(0),
        rollout=RolloutSpec(num_envs_per_worker=num_envs),
    )
    worker = RolloutWorker(encode(StartRun(1, spec)), 1, 0)
    worker.prepare()
    first = decode(worker.rollout(0.02))
    answer = decode(worker.set_policy(always(1), 1))
    assert answer == PolicySet(1, 0, 1)
    second = decode(worker.rollout(0.02))
    assert (first.weights_seq_no, second.weights_seq_no) == (0, 1)
    assert first.partial_return.tolist() == [0.0] * num_envs
    # The reward is the action: each step since the swap had the new one, and none was lost.
    since = second.partial_len - first.partial_len
    assert (since > 0).all()
    np.testing.assert_array_equal(second.partial_return, since)
    assert second.totals.num_env_steps == second.partial_len.sum()
    worker.close()


def test_policy_that_can_not_be_had_leaves_the_old_one(tmp_path: Path) -> None:
    spec = RunSpec(env=EnvSpec(f"{FAKES}:EchoEnv"), policy=always(1))
    worker = RolloutWorker(encode(StartRun(1, spec)), 1, 0)
    worker.prepare()
    for bad in (
        PolicySpec("onnx", str(tmp_path / "gone.onnx")),
        PolicySpec("sb3", str(tmp_path)),
        PolicySpec(f"{__name__}:missing"),
        always(7),
    ):
        answer = decode(worker.set_policy(bad, 1))
        assert answer.fault is not None
    chunk = decode(worker.rollout(0.02))
    assert chunk.weights_seq_no == 0
    np.testing.assert_array_equal(chunk.partial_return, chunk.partial_len)
    worker.close()


def test_module_that_was_changed_since_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    source = "def make(observations, actions):\n    return lambda observation: {}\n"
    (tmp_path / "leaning.py").write_text(source.format(0))
    spec = RunSpec(env=EnvSpec(f"{FAKES}:EchoEnv"), policy=PolicySpec("leaning:make"))
    worker = RolloutWorker(encode(StartRun(1, spec, (str(tmp_path),))), 1, 0)
    worker.prepare()
    worker.rollout(0.01)
    (tmp_path / "leaning.py").write_text(source.format(1))
    assert decode(worker.set_policy(spec.policy, 1)).fault is None
    assert decode(worker.rollout(0.02)).partial_return[0] > 0
    worker.close()


def test_worker_made_after_a_swap_tells_its_number() -> None:
    spec = RunSpec(env=EnvSpec(f"{FAKES}:EchoEnv"), policy=always(1))
    worker = RolloutWorker(encode(StartRun(1, spec)), 1, 0, weights_seq_no=3)
    worker.prepare()
    assert decode(worker.rollout(0.01)).weights_seq_no == 3
    worker.close()
