"""Collects what happens in one slice, until a chunk is made of it."""

import math
import traceback

from raydash.core.records import EnvError
from raydash.core.words.texts import one_line

MAX_STEP_SAMPLES = 512
MAX_RESET_SAMPLES = 64
MAX_ERRORS = 16
MAX_TRACEBACK = 4000


class ChunkBuilder:
    """One slice: its limits, its samples and its errors. Times are on the loop's clock.

    Attributes:
        started_s: When the slice began.
        deadline_s: When it is to end.
        drain: The episode that is under way is finished and no other one begins.
        is_over: Nothing more is stepped in this slice.
        num_episodes: Episodes that finished in it.
        first_step_s: When its first step returned; NaN: none did.
        step_samples_s: Durations of some steps.
        reset_samples_s: Durations of its first resets.
        errors: The first exceptions in it.
    """

    def __init__(self, started_s: float, deadline_s: float, *, drain: bool) -> None:
        self.started_s = started_s
        self.deadline_s = deadline_s
        self.drain = drain
        self.is_over = False
        self.num_episodes = 0
        self.first_step_s = math.nan
        self.step_samples_s: list[float] = []
        self.reset_samples_s: list[float] = []
        self.errors: list[EnvError] = []

    def add_step(self, stepped_s: float, step_s: float) -> None:
        """Add the duration of a step that returned at `stepped_s`."""
        if self.first_step_s != self.first_step_s:
            self.first_step_s = stepped_s
        if len(self.step_samples_s) < MAX_STEP_SAMPLES:
            self.step_samples_s.append(step_s)

    def add_reset(self, reset_s: float) -> None:
        """Add the duration of a reset."""
        if len(self.reset_samples_s) < MAX_RESET_SAMPLES:
            self.reset_samples_s.append(reset_s)

    def add_exception(self, now_s: float, where: str, error: BaseException, who: str = "") -> None:
        """Add an exception and its traceback, unless there are `MAX_ERRORS` already."""
        if len(self.errors) < MAX_ERRORS:
            message = f"{who}{type(error).__name__}: {one_line(error)}"
            words = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
            self.add_error(now_s, where, message, words)

    def add_error(self, now_s: float, where: str, message: str, words: str) -> None:
        """Add the message of an exception and the words of its traceback, likewise."""
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(EnvError(now_s - self.started_s, where, message, words))
