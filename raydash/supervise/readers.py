"""The engines that read a run, and the answers that wait for them.

Not thread-safe by itself: the supervisor uses it under its lock.
"""

from raydash.core.clock import Clock
from raydash.core.messages import Answer
from raydash.protocol.codec import encode

GONE_AFTER_S = 4.0


class Readers:
    """Keeps track of the engines that read one run.

    Attributes:
        has_new_answer: True once an answer was added; the supervisor sets it back to False.
    """

    def __init__(self, clock: Clock) -> None:
        self.has_new_answer = False
        self._clock = clock
        self._seen_s: dict[str, float] = {}
        self._answers: dict[str, list[Answer]] = {}
        self._saw_end: set[str] = set()

    def __len__(self) -> int:
        return len(self._seen_s)

    def __contains__(self, reader_id: str) -> bool:
        return reader_id in self._seen_s

    def note_seen(self, reader_id: str) -> None:
        """Note that a reader is present now."""
        self._seen_s[reader_id] = self._clock()

    def leave(self, reader_id: str) -> None:
        """Remove a reader and its answers."""
        self._seen_s.pop(reader_id, None)
        self._answers.pop(reader_id, None)

    def forget_gone(self) -> None:
        """Stop counting readers that were silent for long.

        Their answers stay, because such a reader may only be suspended.
        """
        for reader_id in self._seen_s.keys() - self._present():
            del self._seen_s[reader_id]

    def add_answer(self, reader_id: str, answer: Answer) -> None:
        """Keep an answer until its reader pulls it."""
        self._answers.setdefault(reader_id, []).append(answer)
        self.has_new_answer = True

    def has_answer(self, reader_id: str) -> bool:
        """Return whether an answer waits for this reader."""
        return bool(self._answers.get(reader_id))

    def take_answers(self, reader_id: str) -> list[bytes]:
        """Return a reader's answers, encoded, and forget them."""
        return [encode(answer) for answer in self._answers.pop(reader_id, [])]

    def note_end_sent(self, reader_id: str) -> None:
        """Note that a reader was sent the run's end."""
        self._saw_end.add(reader_id)

    @property
    def all_saw_end(self) -> bool:
        """Whether every reader that is present was sent the run's end."""
        return self._present() <= self._saw_end

    def _present(self) -> set[str]:
        now_s = self._clock()
        return {r for r, at_s in self._seen_s.items() if now_s - at_s <= GONE_AFTER_S}
