"""A reader that applies deltas holds what the writer holds, however the deltas were merged."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.history.series import HistorySeries
from raydash.core.updates import HistoryDelta


def delta(
    first: int, steps: list[float], *, oldest: int = 0, bucket_s: float = 0.5, workers: int = 1
) -> HistoryDelta:
    count = len(steps)
    floats = np.array(steps, np.float64)
    counts = np.arange(count, dtype=np.int64)
    grid = np.tile(floats[:, None], (1, workers)).astype(np.float32)
    return HistoryDelta(
        bucket_s,
        first,
        oldest,
        floats,
        *(counts,) * 5,
        *(floats,) * 5,
        worker_steps=grid,
        worker_return_mean=grid,
    )


def applied(*deltas: HistoryDelta) -> HistorySeries:
    series = HistorySeries()
    for one in deltas:
        series.apply(one)
    return series


def test_new_series_is_empty() -> None:
    series = HistorySeries()
    assert len(series) == 0
    assert series.times_s().shape == (0,)
    assert series.num_complete(10.0, 1.0) == 0


def test_delta_extends_and_replaces_the_tail() -> None:
    series = applied(delta(0, [1, 2, 3]), delta(2, [30, 4]))
    assert series.num_env_steps.tolist() == [1, 2, 30, 4]
    assert series.times_s().tolist() == [0.25, 0.75, 1.25, 1.75]
    assert series.version == 2


def test_buckets_that_the_writer_dropped_are_dropped() -> None:
    series = applied(delta(0, [1, 2, 3]), delta(3, [4], oldest=2))
    assert series.first_bucket == 2
    assert series.num_env_steps.tolist() == [3, 4]
    assert series.times_s().tolist() == [1.25, 1.75]


def test_delta_beyond_a_gap_replaces_everything() -> None:
    series = applied(delta(0, [1, 2]), delta(10, [5, 6], oldest=4))
    assert series.first_bucket == 10
    assert series.num_env_steps.tolist() == [5, 6]


def test_wider_buckets_replace_everything() -> None:
    series = applied(delta(0, [1, 2, 3, 4]), delta(0, [3, 7], bucket_s=1.0))
    assert (series.bucket_s, series.first_bucket) == (1.0, 0)
    assert series.num_env_steps.tolist() == [3, 7]
    assert series.times_s().tolist() == [0.5, 1.5]


def test_snapshot_after_a_reconnect_replaces_everything() -> None:
    series = applied(delta(3, [1, 2, 3], oldest=3), delta(0, [7, 8], oldest=0))
    assert series.first_bucket == 0
    assert series.num_env_steps.tolist() == [7, 8]


def test_delta_without_rows_changes_nothing_but_what_is_forgotten() -> None:
    series = applied(delta(0, [1, 2, 3]), delta(3, [], oldest=1))
    assert series.first_bucket == 1
    assert series.num_env_steps.tolist() == [2, 3]


def test_new_workers_get_columns_that_were_empty_before() -> None:
    series = applied(delta(0, [1, 2]), delta(2, [3], workers=3))
    assert series.worker_steps.tolist() == [[1, 0, 0], [2, 0, 0], [3, 3, 3]]
    assert np.isnan(series.worker_return_mean[:2, 1:]).all()


def test_narrower_delta_keeps_the_columns_of_workers_that_left() -> None:
    series = applied(delta(0, [1], workers=3), delta(1, [2], workers=1))
    assert series.worker_steps.tolist() == [[1, 1, 1], [2, 0, 0]]


def test_buckets_are_complete_once_no_chunk_can_come_for_them() -> None:
    series = applied(delta(4, [1, 2, 3, 4]))
    assert series.num_complete(now_s=2.0, settle_s=1.0) == 0
    assert series.num_complete(now_s=4.2, settle_s=1.0) == 2
    assert series.num_complete(now_s=100.0, settle_s=1.0) == 4


@dataclass
class Writer:
    """A writer that retains the newest `capacity` buckets and knows when each last changed."""

    capacity: int
    steps: list[float] = field(default_factory=list)
    changed_at: list[int] = field(default_factory=list)
    seq: int = 0

    @property
    def oldest(self) -> int:
        return max(0, len(self.steps) - self.capacity)

    def write(self, back: int, value: float) -> None:
        """Change a bucket near the end, or begin a new one."""
        self.seq += 1
        place = len(self.steps) - back
        if place < self.oldest or place >= len(self.steps):
            self.steps.append(value)
            self.changed_at.append(self.seq)
        else:
            self.steps[place] = value
            self.changed_at[place] = self.seq

    def delta(self, since_seq: int) -> HistoryDelta:
        retained = range(self.oldest, len(self.steps))
        changed = [i for i in retained if self.changed_at[i] > since_seq]
        first = min(changed, default=len(self.steps))
        return delta(first, self.steps[first:], oldest=self.oldest)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0, 100), st.booleans()), max_size=60),
    st.integers(1, 12),
)
def test_reader_that_pulls_now_and_then_holds_what_the_writer_retains(
    writes: list[tuple[int, float, bool]], capacity: int
) -> None:
    writer, reader, seen = Writer(capacity), HistorySeries(), 0
    for back, value, pulls in [*writes, (0, 1.0, True)]:
        writer.write(back, value)
        if pulls:
            reader.apply(writer.delta(seen))
            seen = writer.seq
    assert reader.num_env_steps.tolist() == writer.steps[writer.oldest :]
    assert reader.first_bucket == writer.oldest
    assert len(reader.worker_steps) == len(reader)
