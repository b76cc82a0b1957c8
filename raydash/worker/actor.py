"""The actor around a rollout loop: `ray.remote(RolloutWorker)`. It answers with bytes of the codec.

It is thin on purpose: everything worth testing without Ray is in `rollout` and `environments`. It
runs one call at a time, on the main thread, where an environment's signals and graphics work.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from raydash.core.faults import Fault, FaultError
from raydash.core.messages import StartRun
from raydash.core.records import Parameters, PolicySet, Work, WorkerFault, WorkerReady
from raydash.core.spec import PolicySpec
from raydash.core.words.texts import one_line
from raydash.protocol.codec import decode, encode
from raydash.worker.envs.environments import first_reset, make_any_env, make_env
from raydash.worker.envs.multi_agent import is_multi_agent
from raydash.worker.envs.seeds import env_seeds, policy_seed
from raydash.worker.envs.vector_environments import make_vector_env
from raydash.worker.loops.account import Incarnation
from raydash.worker.loops.candidates import CandidateLoop
from raydash.worker.loops.multi_agent_rollout import MultiAgentLoop
from raydash.worker.loops.rollout import RolloutLoop
from raydash.worker.loops.vector_rollout import VectorRolloutLoop
from raydash.worker.node.process import (
    log_paths,
    lower_priority,
    node_address,
    tag_output_and_lower_priority,
)
from raydash.worker.node.progress import ProgressWriter
from raydash.worker.policies.agents import AgentPolicies
from raydash.worker.policies.batch import BatchSpaces, make_batch_policy
from raydash.worker.policies.network import num_inputs, num_outputs
from raydash.worker.policies.policy import Policy, forget_module, make_policy

AnyLoop: TypeAlias = RolloutLoop | VectorRolloutLoop | MultiAgentLoop


class RolloutWorker:
    """One incarnation of one worker. Its constructor only stores arguments, so it can't fail."""

    def __init__(
        self,
        start_run: bytes,
        worker_index: int,
        incarnation: int,
        *,
        weights_seq_no: int = 0,
        run_id: str = "",
        progress_dir: str = "",
    ) -> None:
        """Store the arguments.

        Args:
            start_run: An encoded `StartRun`, of which the spec and the source folders are used.
            worker_index: The worker's number, 1..N.
            incarnation: How often the worker was restarted; 0 for the first incarnation.
            weights_seq_no: How often the run's policy had been changed before the spec's.
            run_id: The run that the tag of this worker's output names.
            progress_dir: Folder on this node for the progress file; empty: none is written.
        """
        start: StartRun = decode(start_run)
        self._spec = start.spec
        self._source_dirs = start.source_dirs
        self._worker_index = worker_index
        self._number = incarnation
        self._seeds = [
            env_seeds(
                start.spec.rollout.seed,
                worker_index=worker_index,
                incarnation=incarnation,
                env_index=env_index,
            )
            for env_index in range(start.spec.rollout.num_envs_per_worker)
        ]
        name = f"w{worker_index}-{incarnation}-{os.getpid()}"
        self._progress = ProgressWriter(Path(progress_dir) / name if progress_dir else None)
        info_keys = start.spec.rollout.info_keys
        self._incarnation = Incarnation(
            worker_index, incarnation, time.perf_counter, self._progress, info_keys
        )
        self._loop: AnyLoop | None = None
        self._sizes = (0, 0)
        self._weights_seq_no = weights_seq_no
        self._take_policy: Callable[[PolicySpec, int], None] | None = None
        self._run_id = run_id

    def ping(self) -> None:
        """Show by returning that the process is alive and its main thread is free."""

    def prepare(self) -> bytes:
        """Make the environment and reset it; return `WorkerReady`, or `WorkerFault` on failure."""
        tag_output_and_lower_priority(self._run_id, f"worker {self._worker_index}")
        try:
            self._loop = self._make_loop()
            self._loop.account.weights_seq_no = self._weights_seq_no
            self._loop.prepare(lambda env, seed: first_reset(env, self._spec.env, seed))
        except FaultError as error:
            return self._failed(error.fault)
        except Exception as error:
            return self._failed(
                Fault(f"The policy or the action space raised {type(error).__name__}", str(error)),
            )
        node, node_id = node_address()
        if node_id:
            lower_priority()
        return encode(
            WorkerReady(
                worker_index=self._worker_index,
                incarnation=self._number,
                pid=os.getpid(),
                node=node,
                node_id=node_id,
                seed=self._seeds[0].reset,
                log_paths=log_paths(),
                progress_path=self._progress.path,
                num_inputs=self._sizes[0],
                num_outputs=self._sizes[1],
            ),
        )

    def rollout(self, budget_s: float, drain: bool = False) -> bytes:
        """Step one slice; return a `RolloutChunk`, or `WorkerFault` if the worker is not ready."""
        if self._loop is None:
            return self._failed(Fault("The worker was asked to step before it was prepared"))
        if isinstance(self._loop, CandidateLoop):
            self._loop.assign(None, None)
        return encode(self._loop.run(budget_s, drain=drain))

    def play(self, budget_s: float, work: Work, parameters: bytes) -> bytes:
        """Finish the episode that is under way, then play a learner's candidates for a slice.

        `parameters` are the encoded `Parameters` of the generation of `work`; the caller passes
        them as an object reference.
        """
        loop = self._loop
        if not isinstance(loop, CandidateLoop):
            return self._failed(Fault("A worker that does not learn was asked to play candidates"))
        fresh: Parameters | None = None
        if not loop.has_parameters(work.weights_seq_no):
            fresh = decode(parameters)
        loop.assign(work, fresh)
        return encode(loop.run(budget_s))

    def set_policy(self, policy: PolicySpec, weights_seq_no: int) -> bytes:
        """Use another policy from the next slice on.

        Returns:
            An encoded `PolicySet`, with a fault if the policy can't be used and the old one stays.
        """
        fault: Fault | None = None
        if self._loop is None or self._take_policy is None:
            fault = Fault("There is nothing that another policy could choose for")
        else:
            try:
                # Its file may have changed since it was imported: that is what swapping is for.
                forget_module(policy.kind)
                self._take_policy(policy, weights_seq_no)
                self._loop.account.weights_seq_no = weights_seq_no
            except FaultError as error:
                fault = error.fault
            except Exception as error:
                fault = Fault(f"The policy raised {type(error).__name__}", one_line(error))
        return encode(PolicySet(self._worker_index, self._number, weights_seq_no, fault))

    def close(self) -> bytes:
        """Close the environment; return no bytes, or `WorkerFault` if its `close` raised."""
        loop, self._loop = self._loop, None
        try:
            if loop is not None:
                loop.close()
        except Exception as error:
            return self._failed(
                Fault(f"Closing the environment raised {type(error).__name__}", one_line(error)),
            )
        finally:
            self._progress.close()
        return b""

    def _make_loop(self) -> AnyLoop:
        """Make the loop that the spec asks for; its environments are not reset yet."""
        spec, seeds, source_dirs = self._spec, self._seeds, self._source_dirs
        vectorization, count = spec.rollout.chosen_vectorization, spec.rollout.num_envs_per_worker
        if spec.learner.kind is not None:
            env = make_env(spec.env, source_dirs)
            self._sizes = num_inputs(env.observation_space), num_outputs(env.action_space)
            return CandidateLoop(
                self._incarnation,
                env,
                reset_seed=seeds[0].reset,
                make_env=lambda: make_env(spec.env),
                run_seed=spec.rollout.seed,
                gathers_observations=spec.learner.normalize_observations,
            )
        if vectorization == "none":
            env = make_any_env(spec.env, source_dirs)
            if is_multi_agent(env):
                return self._multi_agent_loop(env)
            spaces = env.observation_space, env.action_space

            def policy_of(policy: PolicySpec, number: int) -> Policy:
                seed = policy_seed(seeds[0].action_space, number)
                return make_policy(policy, *spaces, seed, source_dirs)

            loop = RolloutLoop(
                self._incarnation,
                env,
                policy_of(spec.policy, self._weights_seq_no),
                reset_seed=seeds[0].reset,
                make_env=lambda: make_env(spec.env),
            )
            self._take_policy = lambda policy, number: loop.set_policy(policy_of(policy, number))
            return loop
        return self._vector_loop(count, vectorization)

    def _multi_agent_loop(self, env: Any) -> MultiAgentLoop:
        spec, seeds = self._spec, self._seeds[0]
        seed = policy_seed(seeds.action_space, self._weights_seq_no)
        policies = AgentPolicies(spec.policy, seed, self._source_dirs)
        self._take_policy = lambda policy, number: policies.swap(
            policy, policy_seed(seeds.action_space, number)
        )
        return MultiAgentLoop(
            self._incarnation,
            policies.game_of(env),
            reset_seed=seeds.reset,
            make_env=lambda: policies.game_of(make_any_env(spec.env)),
        )

    def _vector_loop(self, count: int, vectorization: str) -> VectorRolloutLoop:
        spec, seeds, source_dirs = self._spec, self._seeds, self._source_dirs
        envs = make_vector_env(spec.env, count, vectorization, source_dirs)
        batch_spaces = BatchSpaces.of(envs)

        def policy_of(policy: PolicySpec, number: int) -> Policy:
            seed = policy_seed(seeds[0].action_space, number)
            return make_batch_policy(policy, batch_spaces, seed, source_dirs)

        loop = VectorRolloutLoop(
            self._incarnation,
            envs,
            policy_of(spec.policy, self._weights_seq_no),
            reset_seeds=[each.reset for each in seeds],
            make_env=lambda: make_vector_env(spec.env, count, vectorization),
        )
        self._take_policy = lambda policy, number: loop.set_policy(policy_of(policy, number))
        return loop

    def _failed(self, fault: Fault) -> bytes:
        return encode(WorkerFault(self._worker_index, self._number, fault))
