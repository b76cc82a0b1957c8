"""The mode `tasks`: every move is a stateless Ray task; the state goes in and comes out again.

Ray's workers keep nothing between two tasks: law, state and generator are arguments, and the next
state (which holds the generator) is a result. The loop passes it on without ever looking at it.
"""

import os
import pickle
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from raydash.core.faults import FaultError
from raydash.core.spec import EnvSpec
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
"""Steps behind the words about what carrying the state costs."""


class TaskTransport(RayTransport):
    """A `Transport` that keeps of every environment just references to its law and state.

    Args of the constructor:
        spec: Of the environments.
        source_dirs: Folders to import the user's modules from.
        info_keys: Scalars of the last step's info to keep of every episode.
        demand: What a task reserves: `CPU`, `GPU` and custom resources.
        run_id: For the tags of what tasks print; empty: no tags.
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
        self._order = pack((spec, tuple(source_dirs), tuple(info_keys), run_id))
        options: dict[str, Any] = {
            "num_cpus": demand.get("CPU", 0.0),
            "num_gpus": demand.get("GPU", 0.0),
            "resources": {k: v for k, v in demand.items() if k not in ("CPU", "GPU")},
            "max_retries": 0,
        }
        self._open = ray.remote(open_env).options(num_returns=3, **options)
        self._reset = ray.remote(reset_env).options(num_returns=2, **options)
        self._step = ray.remote(step_env).options(num_returns=2, **options)
        self._laws: dict[WorkerKey, Any] = {}
        self._states: dict[WorkerKey, Any] = {}
        self._sent_s: dict[WorkerKey, float] = {}
        self._round_trips_s: list[float] = []
        self._inside_s: list[float] = []
        self._num_bytes: list[int] = []
        self._costs: list[str] = []

    def open(self, key: WorkerKey, handle: Any, seed: int) -> None:
        """See `Transport`."""
        self._begin(key, seed, is_first=True)

    def renew(self, key: WorkerKey, seed: int) -> None:
        """See `Transport`."""
        self._begin(key, seed, is_first=False)

    def reset(self, key: WorkerKey) -> None:
        """See `Transport`."""
        self._states[key], answer = self._reset.remote(self._laws[key], self._states[key])
        self._send(key, answer)

    def step(self, key: WorkerKey, action: Any) -> None:
        """See `Transport`."""
        if len(self._inside_s) < NUM_TIMED:
            self._sent_s[key] = time.perf_counter()
        self._states[key], answer = self._step.remote(
            self._laws[key], self._states[key], pack(action)
        )
        self._send(key, answer)

    def forget(self, key: WorkerKey) -> None:
        """See `Transport`."""
        for ref in self._drop(key):
            ray.cancel(ref, force=True)
        for kept in (self._laws, self._states, self._sent_s):
            kept.pop(key, None)

    def costs(self) -> Sequence[str]:
        """See `Transport`."""
        costs, self._costs = self._costs, []
        return costs

    def _begin(self, key: WorkerKey, seed: int, *, is_first: bool) -> None:
        self._laws[key], self._states[key], answer = self._open.remote(
            self._order, f"worker {key[0]}", seed, is_first
        )
        self._send(key, answer)

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
        whole_ms = 1000 * statistics.median(self._round_trips_s)
        inside_ms = 1000 * statistics.median(self._inside_s)
        size = statistics.median(self._num_bytes)
        self._costs.append(
            f"each step carries the state ({size:,.0f} bytes pickled) there and back: "
            f"{whole_ms - inside_ms:.2f} ms of its {whole_ms:.2f} ms"
        )


# --- what runs as a task: nothing is kept between two of them ---------------------------------


def open_env(order: bytes, who: str, seed: int, is_first: bool) -> tuple[bytes, bytes, bytes]:
    """Make an environment and reset it: its law, its first state, and the answer.

    What it prints is tagged as that of `who`, and so is what is printed under its law later.
    """
    spec, source_dirs, info_keys, run_id = pickle.loads(order)
    _settle_in(source_dirs)
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
            packed_law, packed = pack_state(dynamics), pack_state(state)
        answer = Opened(*spaces, observation, reset_s) if is_first else WasReset(observation)
        return pack((source_dirs, info_keys, run_id, who, packed_law)), packed, _told(answer)
    except FaultError as error:
        answer = Refused(error.fault) if is_first else Raised.of(where, error)
    except Exception as error:
        answer = Raised.of(where, error)
    return b"", b"", _told(answer)


def reset_env(dynamics: bytes, state: bytes) -> tuple[bytes, bytes]:
    """Begin the next episode: its first state, and the answer."""
    try:
        source_dirs, _, run_id, who, packed = pickle.loads(dynamics)
        _settle_in(source_dirs)
        with TaggedOutput(run_id, who):
            known: Dynamics = pickle.loads(packed)
            first, observation = known.reset(pickle.loads(state))
            return pack_state(first), _told(WasReset(observation))
    except Exception as error:
        return b"", _told(Raised.of("reset", error))


def step_env(dynamics: bytes, state: bytes, action: bytes) -> tuple[bytes, bytes]:
    """Make one step: the next state, and the answer."""
    try:
        source_dirs, info_keys, run_id, who, packed_law = pickle.loads(dynamics)
        _settle_in(source_dirs)
        with TaggedOutput(run_id, who):
            known: Dynamics = pickle.loads(packed_law)
            before = pickle.loads(state)
            started_s = time.perf_counter()
            after, stepped = known.step(before, pickle.loads(action))
            inside_s = time.perf_counter() - started_s
            packed = pack_state(after)
        over = stepped.terminated or stepped.truncated
        info = chosen_info(stepped.info, info_keys) if over else None
        return packed, _told(stepped._replace(info=info), inside_s, len(packed))
    except Exception as error:
        return b"", _told(Raised.of("step", error))


def _settle_in(source_dirs: Sequence[str]) -> None:
    be_nice()
    # Ray sets it to a debugger that waits for someone to connect:
    # https://github.com/ray-project/ray/issues/17023
    os.environ["PYTHONBREAKPOINT"] = "0"
    add_source_dirs(source_dirs)


def _told(answer: Answer, inside_s: float = 0.0, num_bytes: int = 0) -> bytes:
    return pack((answer, inside_s, num_bytes))
