from dataclasses import replace

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from raydash.core.states import Activity, RunState
from raydash.core.updates import RunFigures, RunUpdate
from raydash.core.words import numbers
from raydash.ui.figures.tile_text import TileText
from raydash.ui.figures.tile_words import TILES, tile_texts
from raydash.ui.figures.tiles import FittedLabel, TilesRow
from raydash.ui.kit.theme import DARK
from tests.fakes.updates.updates import make_store_with_run, make_update


def plain(text: str) -> str:
    return text.replace(numbers.THIN, " ").replace(numbers.NBSP, " ")


def longest(text: TileText) -> str:
    return plain(text.small[0])


def with_activities(*activities: Activity, age_s: float = 14.0) -> RunUpdate:
    update = make_update(len(activities), troubles=False)
    workers = replace(
        update.workers,
        activity=np.array(activities, np.uint8),
        activity_age_s=np.full(len(activities), age_s, np.float32),
    )
    return replace(update, workers=workers)


def test_return_says_its_span_and_n() -> None:
    figures = RunFigures(
        recent_return_mean=187.43, recent_return_min=112.0, recent_return_max=500.0, recent_n=100
    )
    text = tile_texts(replace(make_update(), figures=figures))["episode_return"]
    assert text.value == "187.4"
    assert longest(text) == (
        "last 100 episodes by finish time, all workers pooled · n = 100 · min 112 · max 500"
    )


def test_before_the_first_episode_the_steps_so_far_are_said() -> None:
    figures = RunFigures(num_env_steps_sampled_lifetime=812)
    text = tile_texts(replace(make_update(), figures=figures))["episode_return"]
    assert text.value == numbers.UNKNOWN
    assert longest(text) == "no episode finished yet, 812 steps so far"


def test_env_steps_say_their_spans() -> None:
    figures = RunFigures(
        env_steps_per_s_1s=212_900.4,
        env_steps_per_s_10s=212_480.2,
        env_steps_per_s_60s=209_900.0,
        num_env_steps_sampled_lifetime=1_000_000,
    )
    text = tile_texts(replace(make_update(), figures=figures))["env_steps"]
    assert plain(text.value) == "212 480"
    assert longest(text) == "last 10 s · 1 s: 212 900 · 60 s: 209 900 · 1 000 000 steps in total"


def test_env_steps_of_a_run_that_is_over_are_over_the_whole_of_it() -> None:
    figures = RunFigures(num_env_steps_sampled_lifetime=1_000_000, elapsed_s=100.0)
    update = replace(make_update(), figures=figures, state=RunState.FINISHED)
    text = tile_texts(update)["env_steps"]
    assert plain(text.value) == "10 000"
    assert longest(text) == "mean of the whole run, 00:01:40 · 1 000 000 steps"


def test_episodes_are_parted_by_their_flags() -> None:
    figures = RunFigures(
        num_episodes_lifetime=1_204_331,
        num_episodes_terminated_lifetime=1_201_008,
        num_episodes_truncated_lifetime=3_310,
        num_episodes_error_lifetime=13,
    )
    text = tile_texts(replace(make_update(), figures=figures))["episodes"]
    assert plain(text.value) == "1 204 331"
    assert longest(text).startswith("terminated 1 201 008 · truncated 3 310 · error 13")


def test_workers_in_trouble_are_named_and_coloured() -> None:
    stepping = [Activity.STEPPING] * 61 + [Activity.RESETTING]
    text = tile_texts(with_activities(*stepping, Activity.PAUSED, Activity.STALLED))["workers"]
    assert plain(text.value) == "62 stepping"
    assert longest(text).startswith("1 stalled 14 s · 1 paused")
    assert text.tone == "warn"


def test_workers_that_all_step_are_not_coloured() -> None:
    text = tile_texts(with_activities(*[Activity.STEPPING] * 8))["workers"]
    assert (plain(text.value), text.tone) == ("8 stepping", "text")
    assert longest(text).startswith("all 8 workers")


def test_workers_that_wait_for_the_learner_are_named_and_no_trouble() -> None:
    text = tile_texts(with_activities(*[Activity.IDLE] * 3, Activity.STEPPING))["workers"]
    assert (plain(text.value), text.tone) == ("1 stepping", "text")
    assert longest(text).startswith("3 idle")
    text = tile_texts(with_activities(*[Activity.IDLE] * 4))["workers"]
    assert (plain(text.value), text.tone) == ("4 idle", "text")


def test_paused_run_is_no_trouble() -> None:
    update = replace(with_activities(*[Activity.PAUSED] * 8), state=RunState.PAUSED, paused=True)
    text = tile_texts(update)["workers"]
    assert (plain(text.value), text.tone) == ("8 paused", "text")


def test_run_with_no_worker_left_is_bad() -> None:
    text = tile_texts(with_activities(Activity.FAILED, Activity.FAILED))["workers"]
    assert (plain(text.value), text.tone) == ("2 failed", "bad")


def test_worker_without_a_place_says_why() -> None:
    update = replace(
        with_activities(Activity.STEPPING, Activity.STARTING), pending={2: "no CPU is free"}
    )
    assert "1 not placed: no CPU is free" in longest(tile_texts(update)["workers"])


def test_time_share_leads_with_the_largest() -> None:
    figures = RunFigures(share_step=0.2, share_policy=0.7, share_reset=0.012, share_idle=0.02)
    text = tile_texts(replace(make_update(), figures=figures))["time_share"]
    assert plain(text.value) == "policy 70 %"
    assert longest(text) == "step 20 % · reset 1.2 % · idle 2 % · last 10 s"


@pytest.mark.parametrize("width", [60, 110, 160, 200, 260, 400, 900])
def test_small_print_is_never_cut_within_a_word(qtbot: QtBot, width: int) -> None:
    for text in tile_texts(make_update(64)).values():
        label = FittedLabel()
        qtbot.addWidget(label)
        label.resize(width, label.sizeHint().height())
        label.set_wordings(text.small)
        shown = label.text().removesuffix(" …")
        rests = [wording[len(shown) :] for wording in text.small if wording.startswith(shown)]
        assert any(not rest or rest[0] in (" ", numbers.NBSP) for rest in rests)
    assert text.small[0] == label.full_text()


def test_tiles_show_the_newest_update_when_they_are_drawn(qtbot: QtBot) -> None:
    row = TilesRow()
    qtbot.addWidget(row)
    row.set_theme(DARK)
    assert row.is_dirty()
    row.draw()
    assert row.tiles["workers"].value.full_text() == numbers.UNKNOWN
    _, run = make_store_with_run(64)
    row.set_run(run)
    assert row.is_dirty()
    row.draw()
    assert not row.is_dirty()
    assert row.tiles["workers"].value.full_text() == "62 stepping"
    run.apply(make_update(64, seq=2, since_seq=1, t_s=600.01), 0.0)
    assert not row.is_dirty()
    run.apply(make_update(64, seq=3, since_seq=2, t_s=601.0), 0.0)
    assert row.is_dirty()


def test_tiles_can_be_found_and_say_what_they_mean(qtbot: QtBot) -> None:
    row = TilesRow()
    qtbot.addWidget(row)
    row.draw()
    assert [tile.objectName() for tile in row.tiles.values()] == [
        "tile_evaluation",
        "tile_generation",
        "tile_episode_return",
        "tile_env_steps",
        "tile_episodes",
        "tile_workers",
        "tile_time_share",
    ]
    for kind in TILES:
        tile = row.tiles[kind.key]
        assert tile.accessibleName() == kind.label
        assert kind.definition in tile.toolTip()
        assert "no run yet" in tile.accessibleDescription()
