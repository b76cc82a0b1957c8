"""What each picture shows: `scenes.py NAME [RUN...]` takes those of one scene in a real window.

scripts/screenshots starts the display and makes the recordings that some of them show.
"""

import sys

from stage import EXAMPLES, Scene, Stage, play

from raydash.core.events import EventKind


def window(stage: Stage) -> Scene:
    """What `scripts/run` opens."""
    yield from stage.start()
    yield stage.stepped(30)
    yield from stage.save("window")


def learning(stage: Stage) -> Scene:
    """A lunar lander learns to land."""
    yield from stage.start(EXAMPLES / "lunar_lander_learns.toml")
    yield stage.over()
    yield from stage.save("learning")


def modes(stage: Stage) -> Scene:
    """The same environment in each mode, one after the other, then laid over each other."""
    yield from stage.start(EXAMPLES / "lockstep.toml")
    lockstep = stage.run.run_id
    yield stage.stepped(12)
    yield from stage.save("docs/lockstep")
    yield stage.over()
    yield from stage.start(EXAMPLES / "tasks.toml")
    tasks = stage.run.run_id
    stage.show_tab("bottom_tabs", "Events")
    yield stage.happened(EventKind.COST_FOUND)
    yield stage.stepped(12)
    yield from stage.save("docs/tasks")
    yield stage.over()
    stage.show_tab("bottom_tabs", "Workers")
    yield from stage.start(EXAMPLES / "actors.toml")
    yield stage.stepped(12)
    stage.window.bottom.workers.select((1, 2))
    yield from stage.save("docs/actors")
    yield stage.over()
    stage.window.bottom.workers.select(())
    stage.overlay(lockstep, tasks)
    stage.choose("view_axis", "run clock")
    yield from stage.save("docs/modes")


def many_agents(stage: Stage) -> Scene:
    """Two players of tic-tac-toe, each with a return of its own."""
    yield from stage.start(EXAMPLES / "many_agents.toml")
    yield stage.stepped(20)
    stage.show_tab("bottom_tabs", "Agents")
    stage.window.bottom.agents.chosen.emit("player_1")  # a double click on its line
    yield from stage.save("docs/many_agents")


def environments(stage: Stage) -> Scene:
    """64 environments in each worker, stepped as one."""
    yield from stage.start(EXAMPLES / "vector_env.toml")
    yield stage.stepped(20)
    yield from stage.save("docs/environments")


def policies(stage: Stage) -> Scene:
    """Another policy for a run that goes on."""
    yield from stage.start(EXAMPLES / "cartpole.toml")
    yield stage.stepped(12)
    stage.choose_policy("own_policy:leaning")
    stage.click("form_apply_policy")
    yield stage.happened(EventKind.POLICY_SWAPPED)
    stage.show_tab("bottom_tabs", "Events")
    yield stage.stepped(26)
    yield from stage.save("docs/policies")


def several_runs(stage: Stage) -> Scene:
    """Three runs on one cluster: one acts at random, one learns, one leans and is paused."""
    yield from stage.start(EXAMPLES / "own_policy.toml")
    leaning = stage.run.run_id
    yield from stage.start(EXAMPLES / "cartpole_learns.toml")
    learns = stage.run.run_id
    yield from stage.start(EXAMPLES / "cartpole.toml")
    stage.overlay(leaning, learns)
    yield stage.stepped(10)
    stage.click_in_menu(leaning, "run_list_pause")
    yield stage.happened(EventKind.RUN_PAUSED, leaning)
    yield stage.stepped(15)
    yield from stage.save("docs/several_runs")


def library(stage: Stage) -> Scene:
    """All recordings, and what one of them holds."""
    yield "the library is read", lambda: bool(stage.window.library.selected)
    yield stage.cluster_up()
    newest = stage.window.library.model.rows[0].run.run_id
    stage.window.library.select((newest,))
    yield from stage.save("library")


def compare(stage: Stage) -> Scene:
    """Two policies that learn, three seeds each."""
    runs = tuple(sys.argv[2:])
    yield (
        "the recordings are read",
        lambda: all(run in stage.store.runs and stage.store.runs[run].latest for run in runs),
    )
    stage.choose("compare_metric", "population mean")
    stage.choose("compare_axis", "env steps")
    stage.choose("compare_group", "seeds: median, 95 %")
    stage.choose("compare_smooth", "smoothed")
    yield from stage.save("compare")


def recording(stage: Stage) -> Scene:
    """A recording, at a moment of its past."""
    yield "it is read", lambda: stage.store.shown is not None and stage.run.is_recording
    until_s = stage.run.recorded_until_s or 0.0
    stage.window.strip.slider.setValue(round(0.6 * stage.window.strip.slider.maximum()))
    yield (
        "the moment is shown",
        lambda: stage.run.latest is not None and stage.run.latest.t_s < 0.7 * until_s,
    )
    yield from stage.save("docs/recording")


SCENES = (
    *(window, learning, modes, many_agents, environments, policies, several_runs),
    *(library, compare, recording),
)

if __name__ == "__main__":
    scene = next(each for each in SCENES if each.__name__ == sys.argv[1])
    wanted = tuple(sys.argv[2:])
    raise SystemExit(play(scene, recordings=wanted, shows_library=scene is library))
