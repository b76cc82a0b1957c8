"""Who reads a run: which engines are there, and the answers that wait for them.

Not thread-safe by itself: the supervisor uses it under its lock.
"""

from raydash.core.clock import Clock
from raydash.core.messages import Answer
from raydash.protocol.codec import encode

GONE_AFTER_S = 4.0


class Readers:
    """The engines that read one run.

    Attributes:
        has_new_answer: An answer was put in since this was last set to False.
    """

    def __init__(self, clock: Clock) -> None:
        self.has_new_answer = False
        self._clock = clock
        self._seen_s: dict[str, float] = {}
        self._answers: dict[str, list[Answer]] = {}
        self._told_last: set[str] = set()

    def __len__(self) -> int:
        return len(self._seen_s)

    def __contains__(self, reader_id: str) -> bool:
        return reader_id in self._seen_s

    def see(self, reader_id: str) -> None:
        """A reader is there."""
        self._seen_s[reader_id] = self._clock()

    def leave(self, reader_id: str) -> None:
        """A reader goes, and its answers with it."""
        self._seen_s.pop(reader_id, None)
        self._answers.pop(reader_id, None)

    def forget_gone(self) -> None:
        """Those that were silent for long are gone; their answers stay: they may be suspended."""
        for reader_id in self._seen_s.keys() - self._present():
            del self._seen_s[reader_id]

    def answer(self, reader_id: str, answer: Answer) -> None:
        """Keep an answer until its reader comes for it."""
        self._answers.setdefault(reader_id, []).append(answer)
        self.has_new_answer = True

    def has_answer(self, reader_id: str) -> bool:
        """An answer waits for this reader."""
        return bool(self._answers.get(reader_id))

    def take_answers(self, reader_id: str) -> list[bytes]:
        """What waits for a reader, encoded; it waits no longer."""
        return [encode(answer) for answer in self._answers.pop(reader_id, [])]

    def tell_last(self, reader_id: str) -> None:
        """A reader has heard the run's end."""
        self._told_last.add(reader_id)

    @property
    def all_told_last(self) -> bool:
        """Every reader that is there has heard the run's end."""
        return self._present() <= self._told_last

    def _present(self) -> set[str]:
        now_s = self._clock()
        return {r for r, at_s in self._seen_s.items() if now_s - at_s <= GONE_AFTER_S}
