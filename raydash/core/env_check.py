"""What a look at an environment found: `raydash check-env`, and the button."""

from dataclasses import dataclass
from enum import StrEnum

TIME_LIMIT_S = 60.0
"""After so long a check counts as hung."""


class CheckPhase(StrEnum):
    """What a check is about to do, in this order; many agents are reset before their check."""

    IMPORT = "import"
    MAKE = "make"
    CHECK = "check"
    RESET = "reset"
    TIMING = "timing"
    TOGETHER = "together"


@dataclass(frozen=True, slots=True)
class EnvProblem:
    """One thing that is not as it should be.

    Attributes:
        is_error: It breaks Gymnasium's rules; else it is a warning, and may be meant so.
        text: Plain words.
        detail: A traceback.
    """

    is_error: bool
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AgentSpaces:
    """What one agent of a multi-agent environment sees and does, in Gymnasium's words."""

    agent: str
    observation_space: str
    action_space: str


@dataclass(frozen=True, slots=True)
class EnvCheck:
    """One environment, checked and timed with random actions in a process of its own.

    Times are None where nothing was timed.

    Attributes:
        env_id: Its name.
        observation_space: In Gymnasium's words; None: each agent has its own.
        action_space: Likewise.
        multi_agent: `parallel` (all agents act at once) or `aec` (they take turns); None: it has
            one agent.
        agents: Their spaces.
        max_episode_steps: Where Gymnasium truncates; None: nowhere, or that is not known.
        has_vector_entry_point: It brings a vector form of its own along.
        is_functional: It has a functional form (`FuncEnv`), whose state is all that a task needs.
        state_bytes: Of its pickled state, as the mode `tasks` carries it; None: it can't be so.
        state_time_s: To pickle the state and to unpickle it.
        make_time_s: What its constructor took; None: there is none alone, only pools of them.
        reset_time_median_s: Of `reset`.
        step_time_median_s: Of `step`.
        step_time_p95_s: Likewise, the 95th percentile.
        env_steps_per_s: In the whole timing, resets and random actions included.
        num_env_steps: Steps that were timed.
        num_terminated: Episodes that ended so.
        num_truncated: Likewise; an episode that ended both ways counts in both.
        num_episodes: Finished episodes.
        num_agent_steps: Actions of all agents in those steps; None: it has one agent.
        num_envs: How many were stepped together afterwards; 1: none were.
        vectorization: How, a word of `raydash.core.spec.VECTORIZATIONS`.
        together_env_steps_per_s: Of all of them together, random actions included; None where
            that was not timed.
        memory_bytes: Resident memory of the process at the end, Python and Gymnasium included.
        memory_growth_bytes: By how much it grew during the second half of the timing.
        problems: Errors first.
    """

    env_id: str
    observation_space: str | None = None
    action_space: str | None = None
    multi_agent: str | None = None
    agents: tuple[AgentSpaces, ...] = ()
    max_episode_steps: int | None = None
    has_vector_entry_point: bool = False
    is_functional: bool = False
    state_bytes: int | None = None
    state_time_s: float | None = None
    make_time_s: float | None = None
    reset_time_median_s: float | None = None
    step_time_median_s: float | None = None
    step_time_p95_s: float | None = None
    env_steps_per_s: float | None = None
    num_env_steps: int = 0
    num_terminated: int = 0
    num_truncated: int = 0
    num_episodes: int = 0
    num_agent_steps: int | None = None
    num_envs: int = 1
    vectorization: str = "none"
    together_env_steps_per_s: float | None = None
    memory_bytes: int | None = None
    memory_growth_bytes: int | None = None
    problems: tuple[EnvProblem, ...] = ()

    @property
    def ok(self) -> bool:
        """No error was found; warnings may have been."""
        return not any(problem.is_error for problem in self.problems)
