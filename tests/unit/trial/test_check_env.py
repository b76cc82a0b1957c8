"""`check-env` measures an environment and names what is wrong with it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from raydash.core.analysis.env_check_words import lines_of, rows_of, verdict_of
from raydash.core.env_check import AgentSpaces, CheckPhase, EnvCheck, EnvProblem
from raydash.core.faults import FaultError
from raydash.core.spec import EnvSpec, RolloutSpec
from raydash.terminal.cli import app
from raydash.trial.checking import examine
from raydash.trial.trial import check_environment
from tests.fakes.clock import clock_of_a_hang
from tests.fakes.places import ROOT

FAKES = "tests.fakes.user_code.envs"


@pytest.fixture(autouse=True)
def _importable_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def examined(name: str, **kwargs: object) -> EnvCheck:
    return examine(EnvSpec(name, kwargs), timing_s=0.05)


def errors(found: EnvCheck) -> str:
    return " / ".join(problem.text for problem in found.problems if problem.is_error)


def test_good_environment_is_timed_and_has_no_problems() -> None:
    found = examined(f"{FAKES}:CountingEnv", length=4)
    assert found.ok
    assert found.problems == ()
    assert (found.observation_space, found.action_space) == (
        "Box(-1.0, 1.0, (2,), float32)",
        "Discrete(2)",
    )
    assert found.num_episodes == found.num_terminated == found.num_env_steps // 4 > 10
    assert found.num_truncated == 0
    assert found.step_time_median_s is not None
    assert found.step_time_p95_s is not None
    assert 0 < found.step_time_median_s <= found.step_time_p95_s
    assert found.reset_time_median_s is not None
    assert found.env_steps_per_s is not None
    assert found.env_steps_per_s == pytest.approx(found.num_env_steps / 0.05, rel=0.5)
    assert found.memory_bytes is not None
    assert found.memory_bytes > 10 * 2**20


def test_registered_environment_tells_its_limit_and_its_vector_form() -> None:
    found = examined("CartPole-v1")
    assert (found.max_episode_steps, found.has_vector_entry_point) == (500, True)
    assert not examined("MountainCar-v0").has_vector_entry_point


def test_warnings_of_the_checker_are_plain_words_and_no_errors() -> None:
    found = examined("CartPole-v1")
    assert found.ok
    assert [problem.text for problem in found.problems] == [
        "A Box observation space minimum value is -infinity. This is probably too low",
        "A Box observation space maximum value is infinity. This is probably too high",
    ]


@pytest.mark.parametrize(
    ("name", "kwargs", "words"),
    [
        ("RuleBreakingEnv", {}, "Gymnasium's checker says"),
        ("OddEnv", {}, " rewards were NaN or infinite"),
        ("OddEnv", {}, "observations were outside the observation space"),
        (
            "RaisingEnv",
            {"where": "step"},
            "step raised after 0 random steps: RuntimeError: the sim",
        ),
        ("UnclosableEnv", {}, "close raised: RuntimeError: cannot close"),
    ],
)
def test_environment_that_breaks_the_rules_is_told_how(
    name: str, kwargs: dict[str, object], words: str
) -> None:
    found = examined(f"{FAKES}:{name}", **kwargs)
    assert not found.ok
    assert words in errors(found)
    assert "\x1b" not in errors(found)


def test_environment_whose_episodes_do_not_end_is_warned_of() -> None:
    found = examined(f"{FAKES}:CountingEnv", length=10**9)
    assert found.ok
    assert [problem.text for problem in found.problems if "No episode ended" in problem.text]


def test_phases_are_told_before_they_begin() -> None:
    phases: list[str] = []
    examine(EnvSpec(f"{FAKES}:CountingEnv"), on_phase=phases.append, timing_s=0.0)
    assert phases == ["make", "check", "reset", "timing"]
    phases.clear()
    examine(EnvSpec("tests.fakes.user_code.agents:Pair"), on_phase=phases.append, timing_s=0.0)
    assert phases == ["make", "reset", "check", "timing"]


def test_environment_that_cannot_be_reset_is_a_fault() -> None:
    with pytest.raises(FaultError, match="level file is missing"):
        examined(f"{FAKES}:RaisingEnv", where="reset")


def test_process_of_its_own_gives_the_same_findings() -> None:
    found = check_environment(EnvSpec(f"{FAKES}:OddEnv"))
    assert found is not None
    assert "rewards were NaN" in errors(found)
    assert found.num_env_steps > 1000


@pytest.mark.parametrize(
    ("name", "kwargs", "words"),
    [
        ("HangingEnv", {"where": "step"}, "gave no answer within 60 s. It hung in the checker"),
        (
            "HangingEnv",
            {"where": "step", "after_steps": 500},
            "gave no answer within 60 s. It hung in stepping",
        ),
        ("CrashingEnv", {"where": "step"}, "took its process down in the checker"),
        ("CrashingEnv", {"where": "constructor"}, "took its process down in the constructor"),
    ],
)
def test_environment_that_hangs_or_crashes_is_a_fault_with_its_place(
    tmp_path: Path, name: str, kwargs: dict[str, object], words: str
) -> None:
    note = tmp_path / "hangs"
    if name == "HangingEnv":
        kwargs = {**kwargs, "note": str(note)}
    with pytest.raises(FaultError) as caught:
        check_environment(EnvSpec(f"{FAKES}:{name}", kwargs), clock=clock_of_a_hang(note))
    assert words in caught.value.fault.sentence()


def test_cancelled_check_finds_nothing() -> None:
    assert check_environment(EnvSpec("CartPole-v1"), cancelled=lambda: True) is None


def test_lines_name_every_figure_and_every_problem() -> None:
    found = EnvCheck(
        "Mine-v0",
        "Box",
        "Discrete(2)",
        make_time_s=0.25,
        step_time_median_s=0.0000123,
        step_time_p95_s=0.0456,
        reset_time_median_s=1.5,
        env_steps_per_s=81234.5,
        num_env_steps=2000,
        num_episodes=3,
        num_terminated=2,
        num_truncated=1,
        memory_bytes=50 * 2**20,
        memory_growth_bytes=-(2**20),
        problems=(EnvProblem(True, "it is broken"), EnvProblem(False, "it is odd")),
    )
    text = "\n".join(lines_of(found))
    for words in (
        "12.3 µs median, 45.6 ms p95",
        "1.5 s median",
        "52.4 MB, -1.05 MB in its last second",
        "2 terminated, 1 truncated",
        "ERROR         it is broken",
        "warning       it is odd",
    ):
        assert words in text


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, ["check-env", *words])


def test_command_prints_the_findings_and_leaves_with_0() -> None:
    result = typed(f"{FAKES}:CountingEnv", "--env-kwargs", '{"length": 5}')
    assert result.exit_code == 0
    assert "no problems found" in result.stdout


def test_command_leaves_with_2_when_rules_are_broken_and_gives_one_json_object() -> None:
    result = typed(f"{FAKES}:RuleBreakingEnv", "--json")
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert (found["ok"], found["fault"]) == (False, None)
    assert found["problems"][0]["is_error"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["CartPol-v1"], "There is no environment CartPol-v1"),
        (["CartPole-v1", "--env-kwargs", "{oops"], "--env-kwargs is not JSON"),
        ([""], "env.id: is empty"),
    ],
)
def test_bad_input_of_the_command_is_refused_by_name(words: list[str], named: str) -> None:
    plain, as_json = typed(*words), typed(*words, "--json")
    assert plain.exit_code == as_json.exit_code == 2
    assert named in plain.stderr
    assert plain.stdout == ""
    assert named in as_json.stdout
    assert json.loads(as_json.stdout)["ok"] is False


# --- several together ---------------------------------------------------------------------------


def test_command_takes_how_many_are_stepped_together() -> None:
    words = ("CartPole-v1", "--envs-per-worker", "4", "--vectorization", "vector_entry_point")
    found = json.loads(typed(*words, "--json").stdout)
    assert (found["num_envs"], found["vectorization"]) == (4, "vector_entry_point")
    assert found["together_env_steps_per_s"] > 0


def test_contradiction_in_how_many_are_stepped_together_is_refused() -> None:
    result = typed("CartPole-v1", "--envs-per-worker", "4", "--vectorization", "none")
    assert result.exit_code == 2
    assert '"none" steps one environment, not 4' in result.stderr


def test_several_together_are_timed_as_a_worker_steps_them() -> None:
    spec = EnvSpec(f"{FAKES}:CountingEnv", {"length": 4})
    found = examine(spec, num_envs=3, vectorization="sync", timing_s=0.1)
    assert found.ok
    assert (found.num_envs, found.vectorization) == (3, "sync")
    assert found.together_env_steps_per_s is not None
    assert found.together_env_steps_per_s > 0
    assert any(text.startswith("3 by sync: ") for name, text in rows_of(found))


@pytest.mark.parametrize(
    ("spec", "vectorization", "words"),
    [
        (EnvSpec("MountainCar-v0"), "vector_entry_point", "has no vector form of its own"),
        (EnvSpec("tests.fakes.user_code.agents:Pair"), "sync", "is a multi-agent environment"),
        (
            EnvSpec(f"{FAKES}:RaisingEnv", {"where": "step"}),
            "sync",
            "2 together, in step: environment 0: RuntimeError",
        ),
    ],
)
def test_what_cannot_be_stepped_together_is_a_problem_and_the_rest_is_still_told(
    spec: EnvSpec, vectorization: str, words: str
) -> None:
    found = examine(spec, num_envs=2, vectorization=vectorization, timing_s=0.05)
    assert words in errors(found)
    assert found.make_time_s is not None


# --- many agents --------------------------------------------------------------------------------


def test_parallel_environment_is_tested_and_timed_with_the_spaces_of_each_agent() -> None:
    found = examined("tests.fakes.user_code.agents:Pair", length=5)
    assert found.ok, errors(found)
    assert (found.multi_agent, found.observation_space, found.action_space) == (
        *("parallel", None, None),
    )
    assert found.agents == (
        AgentSpaces("player_0", "Box(-1.0, 1.0, (2,), float32)", "Discrete(3)"),
        AgentSpaces("player_1", "Box(-1.0, 1.0, (2,), float32)", "Discrete(3)"),
    )
    assert found.num_episodes == found.num_terminated == found.num_env_steps // 5 > 5
    assert found.num_agent_steps == 2 * found.num_env_steps
    assert found.step_time_median_s is not None
    assert found.reset_time_median_s is not None


@pytest.mark.parametrize(
    ("env_id", "kind", "agents"),
    [
        ("pettingzoo.classic.rps_v2:parallel_env", "parallel", ["player_0", "player_1"]),
        ("pettingzoo.classic.tictactoe_v3:env", "aec", ["player_1", "player_2"]),
    ],
)
def test_environments_of_pettingzoo_pass_its_own_test(
    env_id: str, kind: str, agents: list[str]
) -> None:
    found = examined(env_id)
    assert found.ok, errors(found)
    assert found.multi_agent == kind
    assert [each.agent for each in found.agents] == agents
    assert found.num_episodes > 0
    assert found.num_env_steps > 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        # A new agent has no flags yet in the step at which it joins.
        ("Flock", "PettingZoo's test says: KeyError"),
        ("OddPair", "The return of an agent was NaN or infinite in"),
        ("OddPair", "observations were outside their agent's space"),
    ],
)
def test_multi_agent_environment_that_breaks_the_rules_is_told_how(name: str, words: str) -> None:
    found = examined(f"tests.fakes.user_code.agents:{name}")
    assert not found.ok
    assert words in errors(found)


def test_assertion_without_words_is_told_by_what_does_not_hold() -> None:
    # This needs its own process: pytest rewrites the assertions of PettingZoo's test, too.
    found = check_environment(EnvSpec("tests.fakes.user_code.agents:WordlessPair"))
    assert found is not None
    assert "PettingZoo's test says: this does not hold: isinstance(infos, dict)" in errors(found)


@pytest.mark.parametrize("name", ["Flock", "Queue"])
def test_multi_agent_environment_is_timed_whatever_the_test_says(name: str) -> None:
    found = examined(f"tests.fakes.user_code.agents:{name}")
    assert found.num_episodes > 0
    assert not any("random steps:" in problem.text for problem in found.problems)


def test_environment_without_agents_is_a_fault() -> None:
    with pytest.raises(FaultError, match="there is no agent after reset"):
        examined("tests.fakes.user_code.agents:Nobody")


def test_process_of_its_own_checks_agents_and_several_together_and_tells_its_phases() -> None:
    phases: list[CheckPhase] = []
    agents = check_environment(EnvSpec("tests.fakes.user_code.agents:Pair"), tell=phases.append)
    assert agents is not None
    assert len(agents.agents) == 2
    assert phases  # the check takes seconds, but short phases may be left out
    rollout = RolloutSpec(num_envs_per_worker=2)
    several = check_environment(EnvSpec(f"{FAKES}:CountingEnv"), rollout=rollout)
    assert several is not None
    assert several.num_envs == 2


def test_command_tells_the_agents_as_json_and_in_words() -> None:
    result = typed("tests.fakes.user_code.agents:Pair", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["multi_agent"] == "parallel"
    assert found["observation_space"] is None
    assert [each["agent"] for each in found["agents"]] == ["player_0", "player_1"]
    plain = typed("tests.fakes.user_code.agents:Pair")
    assert "2, acting all at once: player_0, player_1" in plain.stdout


def test_agents_with_equal_spaces_share_a_line_and_many_names_are_cut_short() -> None:
    agents = tuple(AgentSpaces(f"a_{n}", f"Box({n // 6})", "Discrete(2)") for n in range(12))
    rows = rows_of(EnvCheck("m", multi_agent="aec", agents=agents))
    assert rows[0] == (
        *("agents", "12, taking turns: a_0, a_1, a_2, a_3, a_4, a_5, a_6, a_7 and 4 more"),
    )
    assert rows[1] == ("observations", "Box(0) of a_0, a_1, a_2, a_3, a_4, a_5")
    assert rows[3] == ("actions", "Discrete(2)")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "no problems found"),
        ((True,), "1 error"),
        ((True, False, False), "1 error, 2 warnings"),
        ((False,), "1 warning"),
    ],
)
def test_verdict_counts_errors_and_warnings(flags: tuple[bool, ...], words: str) -> None:
    problems = tuple(EnvProblem(flag, "text") for flag in flags)
    assert verdict_of(EnvCheck("e", problems=problems)) == words
