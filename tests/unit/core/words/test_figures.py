"""Figures of runs, and values of their specs, in words."""

import math

import pytest

from raydash.core.analysis.compare import FIGURES
from raydash.core.words.figures import LABELS, figure, spec_value
from raydash.core.words.plain import plainly


def test_every_figure_by_which_runs_are_compared_has_a_label() -> None:
    assert list(LABELS) == list(FIGURES)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("elapsed_s", 200_000.0, "2 d 7 h"),
        ("env_steps_per_s", 3160.4, "3 160"),
        ("episode_return_mean", 187.43, "187.4"),
        ("num_episodes_lifetime", 1204.0, "1 204"),
        ("num_restarts", math.nan, "-"),
    ],
)
def test_figures_are_said_by_their_key(key: str, value: float, said: str) -> None:
    assert plainly(figure(key, value)) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), ("", "–"), ("mlp", "mlp"), (0, "0"), ({"é": [1, True]}, '{"é": [1, true]}')],
)
def test_values_of_a_spec_are_json_but_for_texts(value: object, said: str) -> None:
    assert spec_value(value) == said
