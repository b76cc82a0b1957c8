"""Two runs live at once on one cluster: each is paused, stopped and counted by itself."""

from pathlib import Path

from raydash.core.messages import FollowRuns, Verb
from raydash.core.states import EndedBy, RunState
from tests.fakes.engines.terminal import SeenRun, Terminal
from tests.fakes.runs.recount import check_recording

TAPED = "tests.fakes.user_code.envs:TapedEnv"


def steps(run: SeenRun) -> int:
    return run.latest.figures.num_env_steps_sampled_lifetime


def test_one_run_is_paused_while_another_steps_on_and_each_is_stopped_alone(
    terminal: Terminal, tmp_path: Path
) -> None:
    taped = terminal.start_stepping(env={"id": TAPED, "kwargs": {"folder": str(tmp_path)}})
    other = terminal.start_stepping(env={"id": "Acrobot-v1"}, rollout={"num_workers": 1})
    # As a window does that shows the other one only.
    terminal.done(FollowRuns(0, (other.run_id,)))
    assert {taped.run_id, other.run_id} <= {run.run_id for run in terminal.listed.runs}

    assert terminal.ask(taped, Verb.PAUSE) is None
    terminal.wait(lambda: taped.latest.state is RunState.PAUSED, "the first is paused")
    held, before = steps(taped), steps(other)
    terminal.wait(lambda: steps(other) > before + 2000, "the other steps on")
    assert other.latest.state is RunState.RUNNING
    assert steps(taped) == held

    stopped = terminal.stop(other)
    assert (stopped.state, stopped.ended_by) == (RunState.STOPPED, EndedBy.USER)
    check_recording(other)
    assert taped.latest.state is RunState.PAUSED
    assert terminal.ask(taped, Verb.RESUME) is None
    terminal.wait(lambda: steps(taped) > held, "the first goes on")
    last = terminal.stop(taped)
    check_recording(taped)

    # What the environments themselves have counted, an episode a line.
    played = [line for tape in tmp_path.glob("*.tape") for line in tape.read_text().splitlines()]
    assert last.figures.num_episodes_lifetime == len(played)
    finished_steps = sum(int(line.split()[1]) for line in played)
    assert last.figures.num_env_steps_sampled_lifetime == (
        finished_steps + last.workers.partial_len.sum()
    )
    assert taped.snapshots == other.snapshots == 1, "read without a gap, closely or not"
