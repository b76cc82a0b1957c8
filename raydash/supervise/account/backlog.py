"""The newest episodes and events by version, for readers that have not seen them yet."""

from collections import deque
from collections.abc import Iterable

from raydash.core.events import Event
from raydash.core.records import EpisodeColumns
from raydash.core.updates import MAX_EPISODES_PER_UPDATE, MAX_EVENTS

FIRST_SEQ = 1
"""The version that a run's account begins with."""
MAX_VERSIONS = 6000
"""Ten minutes of versions; a reader that is further behind gets a snapshot."""


class Backlog:
    """Holds the newest episodes and events, with the version that brought them.

    It is bounded: 2 000 episodes and a batch, 5 000 events, ten minutes of counts.

    Attributes:
        num_episodes: All episodes of the run so far, those of earlier incarnations included.
    """

    def __init__(self, *, events: Iterable[Event], num_episodes: int, seq: int) -> None:
        """Begin at version `seq` with the events and the episode count of the recording."""
        self.num_episodes = num_episodes
        self._events: deque[tuple[int, Event]] = deque(
            ((seq, event) for event in events), maxlen=MAX_EVENTS
        )
        self._batches: deque[tuple[int, EpisodeColumns]] = deque()
        self._num_kept = 0
        self._seq = seq
        self._counts: deque[int] = deque([num_episodes], maxlen=MAX_VERSIONS)

    def add_event(self, event: Event) -> None:
        """Add an event to the version that is closed next."""
        self._events.append((self._seq + 1, event))

    def close_version(self, episodes: EpisodeColumns) -> None:
        """Close the next version with the episodes that it brought."""
        self._seq += 1
        self.num_episodes += len(episodes)
        self._counts.append(self.num_episodes)
        if len(episodes):
            self._batches.append((self._seq, episodes))
            self._num_kept += len(episodes)
            while self._num_kept - len(self._batches[0][1]) > MAX_EPISODES_PER_UPDATE:
                self._num_kept -= len(self._batches.popleft()[1])

    def covers(self, since_seq: int) -> bool:
        """Return whether the backlog reaches back to a version."""
        return self._seq - len(self._counts) < since_seq <= self._seq

    def episodes_since(self, since_seq: int) -> tuple[EpisodeColumns, int]:
        """Return the newest episodes of later versions, and how many older ones are left out.

        A `since_seq` of 0 asks for the episodes of all versions.
        """
        before = self._counts[since_seq - self._seq - 1] if since_seq else 0
        fresh: list[EpisodeColumns] = []
        for seq, batch in reversed(self._batches):
            if seq <= since_seq:
                break
            fresh.append(batch)
        newest = EpisodeColumns.joined(fresh[::-1]).tail(MAX_EPISODES_PER_UPDATE)
        return newest, self.num_episodes - before - len(newest)

    def events_since(self, since_seq: int) -> tuple[Event, ...]:
        """Return events of later versions, without those of the version that is still open."""
        found: list[Event] = []
        for seq, event in reversed(self._events):
            if seq <= since_seq:
                break
            if seq <= self._seq:
                found.append(event)
        return tuple(found[::-1])
