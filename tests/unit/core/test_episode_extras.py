import numpy as np

from raydash.core.records import AgentEpisodes, EpisodeExtras, EpisodeScalars


def extras(count: int, scalars: dict[str, float], agents: dict[str, float]) -> EpisodeExtras:
    return EpisodeExtras(
        weights_seq_no=np.full(count, 3, np.int32),
        candidate=np.arange(count, dtype=np.int32),
        scalars=EpisodeScalars(tuple(scalars), np.tile([*scalars.values()], (count, 1))),
        agents=AgentEpisodes(
            tuple(agents),
            np.tile([*agents.values()], (count, 1)),
            np.full((count, len(agents)), 7, np.int64),
        ),
    )


def test_joined_extras_have_every_name_once_and_nan_where_it_is_not_known() -> None:
    whole = EpisodeExtras.joined(
        [
            extras(2, {"a": 1.0, "b": 2.0}, {"left": 5.0}),
            EpisodeExtras(),
            extras(1, {"b": 3.0, "c": 4.0}, {"right": 6.0, "left": 8.0}),
        ]
    )
    assert whole.scalars.names == ("a", "b", "c")
    np.testing.assert_array_equal(
        whole.scalars.values, [[1, 2, np.nan], [1, 2, np.nan], [np.nan, 3, 4]]
    )
    assert whole.agents.names == ("left", "right")
    np.testing.assert_array_equal(whole.agents.episode_return, [[5, np.nan], [5, np.nan], [8, 6]])
    np.testing.assert_array_equal(whole.agents.num_steps, [[7, 0], [7, 0], [7, 7]])
    assert whole.candidate.tolist() == [0, 1, 0]


def test_joining_what_nobody_knows_anything_of_keeps_a_row_an_episode() -> None:
    whole = EpisodeExtras.joined([EpisodeExtras.unknown(2), EpisodeExtras.unknown(3)])
    assert len(whole) == 5
    assert whole.scalars.values.shape == (5, 0)
    assert whole.candidate.tolist() == [-1] * 5
