"""The mode `tasks`: every move is a stateless Ray task; the state is an argument and a result.

Ray's workers keep nothing between two tasks: dynamics and state are arguments, and the next state
(which includes the random generator) is a result. The loop passes it on without looking at it.
"""

import os
import pickle
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from typing_extensions import override

from raydash.core.faults import FaultError
from raydash.core.spec import EnvSpec
from raydash.core.words import plain
from raydash.worker.envs.environments import add_source_dirs, make_env
from raydash.worker.envs.info_scalars import chosen_info
from raydash.worker.node.process import be_nice
from raydash.worker.node.tag import TaggedOutput
from raydash.worker.remote.dynamics import Dynamics, dynamics_of, pack_state
from raydash.worker.remote.moves import (
    Answer,
    Opened,
    Raised,
    Refused,
    Stepped,
    WasReset,
    WorkerKey,
    pack,
)
from raydash.worker.remote.ray_transport import RayTransport

NUM_TIMED = 20
"""The cost of carrying the state is the median over this many steps."""


class TaskTransport(RayTransport):
    """A `Transport` that holds only references to each environment's dynamics and state.

    Each task reserves `demand`: `CPU`, `GPU` and custom resources. What tasks print is tagged with
    `run_id`; empty: without tags.
    """

    def __init__(
        self,
        spec: EnvSpec,
        source_dirs: Sequence[str],
        info_keys: Sequence[str],
        demand: Mapping[str, float],
        *,
        run_id: str = "",
    ) -> None:
        super().__init__()
        self._env_arguments = pack((spec, tuple(source_dirs), tuple(info_keys), run_id))
        options: dict[str, Any] = {
            "num_cpus": demand.get("CPU", 0.0),
            "num_gpus": demand.get("GPU", 0.0),
            "resources": {k: v for k, v in demand.items() if k not in ("CPU", "GPU")},
            "max_retries": 0,
        }
        self._open = ray.remote(open_env).options(num_returns=3, **options)
        self._reset = ray.remote(reset_env).options(num_returns=2, **options)
        self._step = ray.remote(step_env).options(num_returns=2, **options)
        self._dynamics: dict[WorkerKey, Any] = {}
        self._states: dict[WorkerKey, Any] = {}
        self._sent_s: dict[WorkerKey, float] = {}
        self._round_trips_s: list[float] = []
        self._inside_s: list[float] = []
        self._num_bytes: list[int] = []
        self._costs: list[str] = []

    @override
    def open(self, key: WorkerKey, handle: Any, seed: int) -> None:
        self._open_env(key, seed, is_first=True)

    @override
    def remake(self, key: WorkerKey, seed: int) -> None:
        self._open_env(key, seed, is_first=False)

    @override
    def reset(self, key: WorkerKey) -> None:
        self._states[key], answer = self._reset.remote(self._dynamics[key], self._states[key])
        self._send(key, answer)

    @override
    def step(self, key: WorkerKey, action: Any) -> None:
        if len(self._inside_s) < NUM_TIMED:
            self._sent_s[key] = time.perf_counter()
        self._states[key], answer = self._step.remote(
            self._dynamics[key], self._states[key], pack(action)
        )
        self._send(key, answer)

    @override
    def forget(self, key: WorkerKey) -> None:
        for ref in self._drop(key):
            ray.cancel(ref, force=True)
        for kept in (self._dynamics, self._states, self._sent_s):
            kept.pop(key, None)

    @override
    def costs(self) -> Sequence[str]:
        costs, self._costs = self._costs, []
        return costs

    def _open_env(self, key: WorkerKey, seed: int, *, is_first: bool) -> None:
        self._dynamics[key], self._states[key], answer = self._open.remote(
            self._env_arguments, f"worker {key[0]}", seed, is_first
        )
        self._send(key, answer)

    @override
    def _unpacked(self, key: WorkerKey, value: bytes) -> Answer:
        answer, inside_s, num_bytes = pickle.loads(value)
        sent_s = self._sent_s.pop(key, None)
        if sent_s is not None and isinstance(answer, Stepped):
            self._round_trips_s.append(time.perf_counter() - sent_s)
            self._inside_s.append(inside_s)
            self._num_bytes.append(num_bytes)
            if len(self._inside_s) == NUM_TIMED:
                self._note_costs()
        known: Answer = answer
        return known

    def _note_costs(self) -> None:
        whole_s = statistics.median(self._round_trips_s)
        inside_s = statistics.median(self._inside_s)
        size = statistics.median(self._num_bytes)
        self._costs.append(
            f"each step carries the state ({plain.size(size)} pickled) there and back: "
            f"{plain.short_time(whole_s - inside_s)} of its {plain.short_time(whole_s)}"
        )


# --- what runs as a task: nothing is kept between two of them ---------------------------------


def open_env(
    env_arguments: bytes, who: str, seed: int, is_first: bool
) -> tuple[bytes, bytes, bytes]:
    """Make an environment and reset it; return its dynamics, its first state, and the answer.

    What this task and later ones with these dynamics print is tagged as that of `who`.
    """
    spec, source_dirs, info_keys, run_id = pickle.loads(env_arguments)
    _set_up_process(source_dirs)
    where = "make"
    answer: Answer
    try:
        with TaggedOutput(run_id, who):
            env = make_env(spec)
            spaces = env.observation_space, env.action_space
            where = "reset"
            dynamics = dynamics_of(env, spec)
            started_s = time.perf_counter()
            state, observation = dynamics.open(env, seed)
            reset_s = time.perf_counter() - started_s
            packed_dynamics, packed = pack_state(dynamics), pack_state(state)
        answer = Opened(*spaces, observation, reset_s) if is_first else WasReset(observation)
        return (
            pack((source_dirs, info_keys, run_id, who, packed_dynamics)),
            packed,
            _pack_answer(answer),
        )
    except FaultError as error:
        answer = Refused(error.fault) if is_first else Raised.of(where, error)
    except Exception as error:
        answer = Raised.of(where, error)
    return b"", b"", _pack_answer(answer)


def reset_env(dynamics: bytes, state: bytes) -> tuple[bytes, bytes]:
    """Begin the next episode; return its first state and the answer."""
    try:
        source_dirs, _, run_id, who, packed = pickle.loads(dynamics)
        _set_up_process(source_dirs)
        with TaggedOutput(run_id, who):
            known: Dynamics = pickle.loads(packed)
            first, observation = known.reset(pickle.loads(state))
            return pack_state(first), _pack_answer(WasReset(observation))
    except Exception as error:
        return b"", _pack_answer(Raised.of("reset", error))


def step_env(dynamics: bytes, state: bytes, action: bytes) -> tuple[bytes, bytes]:
    """Make one step; return the next state and the answer."""
    try:
        source_dirs, info_keys, run_id, who, packed_dynamics = pickle.loads(dynamics)
        _set_up_process(source_dirs)
        with TaggedOutput(run_id, who):
            known: Dynamics = pickle.loads(packed_dynamics)
            before = pickle.loads(state)
            started_s = time.perf_counter()
            after, stepped = known.step(before, pickle.loads(action))
            inside_s = time.perf_counter() - started_s
            packed = pack_state(after)
        over = stepped.terminated or stepped.truncated
        info = chosen_info(stepped.info, info_keys) if over else None
        return packed, _pack_answer(stepped._replace(info=info), inside_s, len(packed))
    except Exception as error:
        return b"", _pack_answer(Raised.of("step", error))


def _set_up_process(source_dirs: Sequence[str]) -> None:
    be_nice()
    # Ray sets it to a debugger that waits for a connection, which would hang the task.
    # https://github.com/ray-project/ray/issues/17023
    os.environ["PYTHONBREAKPOINT"] = "0"
    add_source_dirs(source_dirs)


def _pack_answer(answer: Answer, inside_s: float = 0.0, num_bytes: int = 0) -> bytes:
    return pack((answer, inside_s, num_bytes))
