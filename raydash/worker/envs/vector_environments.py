"""Makes Gymnasium's vector environments, which step several environments as one, from a spec.

With `sync` the sub-environments are stepped one after the other, and each is guarded: one that
raises ends its own episode and is remade, while the others go on. An environment's own vector form
(`vector_entry_point`) and a pool of EnvPool can only fail as a whole.
"""

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import gymnasium
from gymnasium.envs.registration import registry
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from typing_extensions import override

from raydash.core.clock import Clock
from raydash.core.faults import Fault, FaultError, FaultKind
from raydash.core.spec import EnvSpec
from raydash.core.words.texts import one_line
from raydash.worker.envs.environments import Env, add_source_dirs, make_env, register_own
from raydash.worker.envs.envpool_env import EnvPoolEnv
from raydash.worker.envs.seeds import remade_seed

VectorEnv: TypeAlias = gymnasium.vector.VectorEnv[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class SubEnvFailure:
    """An exception that ended the episode of a guarded sub-environment.

    Attributes:
        env_index: The sub-environment's number.
        where: What raised: `make`, `reset` or `step`.
        error: The exception.
    """

    env_index: int
    where: str
    error: Exception


class GuardedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A sub-environment whose exceptions become terminated episodes and a `SubEnvFailure`.

    After a failure in `step` the next reset remakes the environment. A failure in that reset is
    reported by the step that follows it, which then does not count as a step either.
    """

    def __init__(
        self,
        env_index: int,
        make: Callable[[], Env],
        failures: list[SubEnvFailure],
        resets_s: list[float],
        clock: Clock,
    ) -> None:
        super().__init__(make())
        self.env: Env  # the name is that of Gymnasium's wrappers; it may be remade
        self._env_index = env_index
        self._make = make
        self._failures = failures
        self._resets_s = resets_s
        self._clock = clock
        self._seed = 0
        self._num_remakes = 0
        self._is_broken = False
        self._pending_failure: SubEnvFailure | None = None

    @override
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment; if it is broken, remake it first.

        Raises:
            Exception: whatever the first reset, which has a seed, raises.
        """
        started_s = self._clock()
        if seed is not None:
            self._seed = seed
            observation, info = self.env.reset(seed=seed, options=options)
            return observation, info
        self._pending_failure = None
        where = "make"
        try:
            if self._is_broken:
                self._num_remakes += 1
                self.env = self._make()
                self._is_broken = False
                seed = remade_seed(self._seed, self._num_remakes)
            where = "reset"
            observation, info = self.env.reset(seed=seed, options=options)
        except Exception as error:
            self._mark_broken()
            self._pending_failure = SubEnvFailure(self._env_index, where, error)
            return self.observation_space.sample(), {}
        self._resets_s.append(self._clock() - started_s)
        return observation, info

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step; a failure becomes a terminated step whose observation and reward mean nothing."""
        if self._pending_failure is None:
            try:
                observation, reward, terminated, truncated, info = self.env.step(action)
                return observation, float(reward), bool(terminated), bool(truncated), info
            except Exception as error:
                self._mark_broken()
                self._pending_failure = SubEnvFailure(self._env_index, "step", error)
        self._failures.append(self._pending_failure)
        self._pending_failure = None
        return self.observation_space.sample(), 0.0, True, False, {}

    @override
    def close(self) -> None:
        """Close the environment, unless that was done when it broke."""
        if not self._is_broken:
            self.env.close()

    def _mark_broken(self) -> None:
        if not self._is_broken:
            self._is_broken = True
            try:
                self.env.close()
            except Exception:
                # The exception that broke it is reported anyway.
                self._is_broken = True


class GuardedVectorEnv(SyncVectorEnv):
    """Steps guarded sub-environments one after the other.

    The loop that steps them clears both lists.

    Attributes:
        failures: The exceptions of sub-environments.
        resets_s: The durations of resets, without those that had a seed.
    """

    def __init__(
        self,
        make: Callable[[], Env],
        num_envs: int,
        *,
        clock: Clock = time.perf_counter,
        autoreset_mode: AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> None:
        self.failures: list[SubEnvFailure] = []
        self.resets_s: list[float] = []

        def guarded(env_index: int) -> Callable[[], GuardedEnv]:
            return lambda: GuardedEnv(env_index, make, self.failures, self.resets_s, clock)

        super().__init__(
            [guarded(env_index) for env_index in range(num_envs)], autoreset_mode=autoreset_mode
        )


def make_vector_env(
    env: EnvSpec, num_envs: int, vectorization: str, source_dirs: Sequence[str] = ()
) -> VectorEnv:
    """Make a vector environment from the spec of a single one; it is not reset yet.

    `vectorization` is `sync`, `vector_entry_point` or `envpool`. The user's modules are imported
    from `source_dirs`.

    Raises:
        FaultError: in every case of failure, with the spec keys at fault.
    """
    if vectorization == "sync":
        # Making the first one alone gives its faults in plain words.
        first: list[Env] = [make_env(env, source_dirs)]
        try:
            return GuardedVectorEnv(lambda: first.pop() if first else make_env(env), num_envs)
        except FaultError:
            raise
        except Exception as error:
            raise _raised(env, "could not be stepped together", error) from error
    if env.wrappers:
        raise FaultError(
            Fault(
                f"With {vectorization}, {env.id} takes no wrappers",
                f"{env.wrappers[0].name} wraps a single environment, and there is none in it",
                "Use rollout.vectorization = sync, or leave env.wrappers out",
                keys=("env.wrappers", "rollout.vectorization"),
                bad_input=True,
            )
        )
    if vectorization == "envpool":
        return EnvPoolEnv(env, num_envs)
    return _own_vector_form(env, num_envs, source_dirs)


def _own_vector_form(env: EnvSpec, num_envs: int, source_dirs: Sequence[str]) -> VectorEnv:
    register_own()
    add_source_dirs(source_dirs)
    _check_vector_entry_point(env, source_dirs)
    try:
        made = gymnasium.make_vec(
            env.id, num_envs, vectorization_mode="vector_entry_point", **env.kwargs
        )
    except Exception as error:
        raise _raised(env, "could not be made in its vector form", error) from error
    try:
        autoreset_mode(made)
    except ValueError as error:
        raise _refused(
            f"The vector form of {env.id} does not say how it resets",
            str(error),
            'Put a gymnasium.vector.AutoresetMode into its metadata["autoreset_mode"], or use '
            "rollout.vectorization = sync",
        ) from error
    return made


def autoreset_mode(env: VectorEnv) -> AutoresetMode:
    """Return when a vector environment resets sub-environments whose episode is over.

    Raises:
        ValueError: if it does not say.
    """
    found = env.metadata.get("autoreset_mode")
    if found is None:
        raise ValueError("its metadata has no autoreset_mode")
    return AutoresetMode(found)


def first_seed(env: VectorEnv, seeds: Sequence[int]) -> int | list[int]:
    """Return what the first reset takes: all seeds or, if one generator serves all, the first.

    Gymnasium's own vectorizers and EnvPool take lists; of other vector environments it is only
    known that they take a number.
    """
    takes_list = isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv | EnvPoolEnv)
    return list(seeds) if takes_list else seeds[0]


def _check_vector_entry_point(env: EnvSpec, source_dirs: Sequence[str]) -> None:
    entry = registry.get(env.id.rpartition(":")[2])
    if entry is None:
        # Either the id is not registered, or its module is not imported yet: `make_env` finds out.
        make_env(env, source_dirs).close()
        entry = registry.get(env.id.rpartition(":")[2])
    if entry is None or entry.vector_entry_point is None:
        raise _refused(
            f"{env.id} has no vector form of its own",
            "It is registered without a vector_entry_point" if entry else "It is no registered id",
            "Use rollout.vectorization = sync",
        )


def _raised(env: EnvSpec, what: str, error: Exception) -> FaultError:
    return FaultError(
        Fault(
            f"{env.id} {what}",
            f"{type(error).__name__}: {one_line(error)}",
            "The traceback names the line",
            detail=traceback.format_exc(),
            keys=("env.id", "rollout.vectorization"),
            bad_input=True,
            kind=FaultKind.USER_CODE,
        )
    )


def _refused(what: str, why: str, remedy: str) -> FaultError:
    return FaultError(
        Fault(what, why, remedy, keys=("rollout.vectorization", "env.id"), bad_input=True)
    )
