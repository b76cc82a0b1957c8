"""The result of checking an environment, with `raydash check-env` or the button in the window."""

from dataclasses import dataclass
from enum import StrEnum

TIME_LIMIT_S = 60.0
"""A check that takes longer counts as hung."""


class CheckPhase(StrEnum):
    """What a check is about to do, in this order; with many agents, RESET comes before CHECK."""

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
        is_error: It breaks Gymnasium's rules. Otherwise it is a warning, and may be intended.
        text: The problem in plain words.
        detail: A traceback, if there is one.
    """

    is_error: bool
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AgentSpaces:
    """The spaces of one agent of a multi-agent environment, as Gymnasium prints them."""

    agent: str
    observation_space: str
    action_space: str


@dataclass(frozen=True, slots=True)
class EnvCheck:
    """One environment, checked and timed with random actions in a process of its own.

    Times are None where nothing was timed.

    Attributes:
        observation_space: As Gymnasium prints it; None: each agent has its own.
        action_space: As Gymnasium prints it; None: each agent has its own.
        multi_agent: `parallel` (all agents act at once) or `aec` (they take turns); None: it has
            one agent.
        agents: The spaces of each agent.
        max_episode_steps: After how many steps Gymnasium truncates; None: never, or not known.
        has_vector_entry_point: It has a vector form of its own.
        is_functional: It has a functional form (`FuncEnv`), whose state is all that a task needs.
        state_bytes: Size of its pickled state, as the mode `tasks` carries it; None: it can't be
            pickled.
        state_time_s: Time to pickle and unpickle the state.
        make_time_s: Time its constructor took; None: it exists only in pools.
        env_steps_per_s: Over the whole timing, resets and random actions included.
        num_env_steps: Steps that were timed.
        num_terminated: Episodes that terminated; one that ended both ways counts in both.
        num_truncated: Episodes that were truncated; one that ended both ways counts in both.
        num_episodes: Finished episodes.
        num_agent_steps: Actions of all agents in those steps; None: it has one agent.
        num_envs: How many environments were then stepped together; 1: that was not tried.
        vectorization: How they were stepped together, one of `raydash.core.spec.VECTORIZATIONS`.
        together_env_steps_per_s: Steps of all of them together, random actions included; None:
            that was not timed.
        memory_bytes: Resident memory of the process at the end, Python and Gymnasium included.
        memory_growth_bytes: By how much it grew during the second half of the timing.
        problems: What is wrong, errors first.
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
        """No error was found, though there may be warnings."""
        return not any(problem.is_error for problem in self.problems)
