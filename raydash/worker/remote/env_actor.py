"""The actor around one environment, for the mode `lockstep`: `ray.remote(EnvActor)`.

It is stepped one call at a time by whoever holds the policy (`stepping_loop.py`).
An episode's end resets the environment and never makes it anew; only an exception does.
"""

import os
import pickle
import time
from typing import Any

from raydash.core.faults import Fault, FaultError
from raydash.core.messages import StartRun
from raydash.core.records import WorkerFault, WorkerReady
from raydash.protocol.codec import decode, encode
from raydash.worker.envs.environments import Env, first_reset, make_env
from raydash.worker.envs.info_scalars import chosen_info
from raydash.worker.envs.seeds import env_seeds
from raydash.worker.node.process import (
    log_paths,
    lower_priority,
    node_address,
    tag_output_and_lower_priority,
)
from raydash.worker.remote.moves import Opened, Raised, Stepped, WasReset, pack
from raydash.worker.words import one_line


class EnvActor:
    """One life of one worker's environment. Its constructor only keeps its arguments.

    Answers of `opening`, `reset`, `renew` and `step` are packed (`raydash.worker.remote.moves`).
    """

    def __init__(
        self,
        order: bytes,
        worker_index: int,
        incarnation: int,
        *,
        run_id: str = "",
        progress_dir: str = "",
    ) -> None:
        """Keep what was asked for.

        Args:
            order: An encoded `StartRun`: its spec and source folders are used.
            worker_index: 1..N.
            incarnation: 0 for the worker's first life.
            run_id: For the tag of its output.
            progress_dir: As of a `RolloutWorker`; the stepping loop tells of its progress.
        """
        start: StartRun = decode(order)
        self._spec = start.spec.env
        self._info_keys = start.spec.rollout.info_keys
        self._source_dirs = start.source_dirs
        self._worker_index = worker_index
        self._incarnation = incarnation
        self._run_id = run_id
        self._seed = env_seeds(
            start.spec.rollout.seed, worker_index=worker_index, incarnation=incarnation
        ).reset
        self._env: Env | None = None
        self._observation: Any = None
        self._reset_time_s = 0.0

    def ping(self) -> None:
        """Answer: the process lives and its main thread is free."""

    def prepare(self) -> bytes:
        """Make the environment and reset it: `WorkerReady`, or `WorkerFault` if that failed."""
        tag_output_and_lower_priority(self._run_id, f"worker {self._worker_index}")
        try:
            env = self._env = make_env(self._spec, self._source_dirs)
            started_s = time.perf_counter()
            self._observation = first_reset(env, self._spec, self._seed)
            self._reset_time_s = time.perf_counter() - started_s
        except FaultError as error:
            return encode(WorkerFault(self._worker_index, self._incarnation, error.fault))
        node, node_id = node_address()
        if node_id:
            lower_priority()
        return encode(
            WorkerReady(
                worker_index=self._worker_index,
                incarnation=self._incarnation,
                pid=os.getpid(),
                node=node,
                node_id=node_id,
                seed=self._seed,
                log_paths=log_paths(),
            ),
        )

    def opening(self) -> bytes:
        """`Opened`: the spaces, and what the first reset gave."""
        env = self._made()
        return pack(
            Opened(env.observation_space, env.action_space, self._observation, self._reset_time_s)
        )

    def reset(self) -> bytes:
        """Begin the next episode: `WasReset` or `Raised`."""
        try:
            self._observation, _ = self._made().reset()
            return pack(WasReset(self._observation))
        except Exception as error:
            return self._broken("reset", error)

    def renew(self, seed: int) -> bytes:
        """Make the environment anew and reset it: `WasReset` or `Raised`."""
        where = "make"
        try:
            self._give_up()
            env = self._env = make_env(self._spec, self._source_dirs)
            where = "reset"
            self._observation, _ = env.reset(seed=seed)
            return pack(WasReset(self._observation))
        except Exception as error:
            return self._broken(where, error)

    def step(self, action: bytes) -> bytes:
        """One `env.step`: `Stepped` or `Raised`.

        Args:
            action: Packed.
        """
        try:
            observation, reward, terminated, truncated, info = self._made().step(
                pickle.loads(action)
            )
            self._observation = observation
            over = terminated or truncated
            return pack(
                Stepped(
                    observation,
                    float(reward),
                    bool(terminated),
                    bool(truncated),
                    chosen_info(info, self._info_keys) if over else None,
                )
            )
        except Exception as error:
            return self._broken("step", error)

    def get_state(self) -> Any:
        """The environment's state, as far as it can be had.

        What `get_state()` of the environment gives, else its attribute `state`; wrappers are asked
        before what they wrap. An environment that has neither is told by its last observation.
        """
        for layer in (self._made(), self._made().unwrapped):
            get_state = getattr(layer, "get_state", None)
            if callable(get_state):
                return get_state()
            if (state := getattr(layer, "state", None)) is not None:
                return state() if callable(state) else state
        return self._observation

    def close(self) -> bytes:
        """Close the environment: empty, or `WorkerFault` if its `close` raised."""
        env, self._env = self._env, None
        try:
            if env is not None:
                env.close()
        except Exception as error:
            fault = Fault(f"Closing the environment raised {type(error).__name__}", one_line(error))
            return encode(WorkerFault(self._worker_index, self._incarnation, fault))
        return b""

    def _made(self) -> Env:
        if self._env is None:
            raise RuntimeError("there is no environment: it was never prepared, failed, or closed")
        return self._env

    def _broken(self, where: str, error: Exception) -> bytes:
        self._give_up()
        return pack(Raised.of(where, error))

    def _give_up(self) -> None:
        env, self._env = self._env, None
        if env is not None:
            try:
                env.close()
            except Exception:
                # It is broken already, and what broke it is told.
                self._env = None
