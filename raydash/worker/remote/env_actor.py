"""The actor around one environment, for the mode `lockstep`: `ray.remote(EnvActor)`.

The loop that holds the policy (`stepping_loop.py`) steps it, one call at a time. After an episode's
end the environment is reset; only an exception makes it be remade.
"""

import os
import pickle
import time
from typing import Any

from raydash.core.faults import Fault, FaultError
from raydash.core.messages import StartRun
from raydash.core.records import WorkerFault, WorkerReady
from raydash.core.words.texts import one_line
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


class EnvActor:
    """One incarnation of one worker's environment. Its constructor only stores arguments.

    `opening`, `reset`, `remake` and `step` return packed answers (`raydash.worker.remote.moves`).
    """

    def __init__(
        self,
        start_run: bytes,
        worker_index: int,
        incarnation: int,
        *,
        run_id: str = "",
        progress_dir: str = "",
    ) -> None:
        """Store the arguments.

        Args:
            start_run: An encoded `StartRun`, of which the spec and the source folders are used.
            worker_index: The worker's number, 1..N.
            incarnation: How often the worker was restarted; 0 for the first incarnation.
            run_id: The run that the tag of this worker's output names.
            progress_dir: Not used; it makes the signature that of `RolloutWorker`. The stepping
                loop writes this worker's progress.
        """
        start: StartRun = decode(start_run)
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
        """Show by returning that the process is alive and its main thread is free."""

    def prepare(self) -> bytes:
        """Make the environment and reset it; return `WorkerReady`, or `WorkerFault` on failure."""
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
        """Return `Opened`: the spaces and the observation of the first reset."""
        env = self._made()
        return pack(
            Opened(env.observation_space, env.action_space, self._observation, self._reset_time_s)
        )

    def reset(self) -> bytes:
        """Begin the next episode; return `WasReset` or `Raised`."""
        try:
            self._observation, _ = self._made().reset()
            return pack(WasReset(self._observation))
        except Exception as error:
            return self._fail("reset", error)

    def remake(self, seed: int) -> bytes:
        """Remake the environment and reset it; return `WasReset` or `Raised`."""
        where = "make"
        try:
            self._discard_env()
            env = self._env = make_env(self._spec, self._source_dirs)
            where = "reset"
            self._observation, _ = env.reset(seed=seed)
            return pack(WasReset(self._observation))
        except Exception as error:
            return self._fail(where, error)

    def step(self, action: bytes) -> bytes:
        """Step with a packed action; return `Stepped` or `Raised`."""
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
            return self._fail("step", error)

    def get_state(self) -> Any:
        """Return the environment's state if it has one, else its last observation.

        The state is what `get_state()` of the environment returns or else its attribute `state`;
        wrappers are asked before the environment that they wrap.
        """
        for layer in (self._made(), self._made().unwrapped):
            get_state = getattr(layer, "get_state", None)
            if callable(get_state):
                return get_state()
            if (state := getattr(layer, "state", None)) is not None:
                return state() if callable(state) else state
        return self._observation

    def close(self) -> bytes:
        """Close the environment; return no bytes, or `WorkerFault` if its `close` raised."""
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

    def _fail(self, where: str, error: Exception) -> bytes:
        self._discard_env()
        return pack(Raised.of(where, error))

    def _discard_env(self) -> None:
        env, self._env = self._env, None
        if env is not None:
            try:
                env.close()
            except Exception:
                # It was broken before, and the cause is reported anyway.
                self._env = None
