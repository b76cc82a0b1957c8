"""Faults: what went wrong, in the words that a user will read."""

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What went wrong, for code that acts on it; people read the fault's words.

    Attributes:
        OTHER: Nothing in raydash needs to tell it from others.
        USER_CODE: The user's own code failed, and only `detail` says why: it has the traceback, or
            the last words of the process.
        WRITTEN_HERE: This process has the recording open for writing.
        WRITTEN_ELSEWHERE: Another process has the recording open for writing.
        NO_PERMISSION: The system does not allow it.
        DISK_FULL: There is no room on the disk, or none for this user.
        DAMAGED: The file itself is broken, so that trying again can't help.
    """

    OTHER = "other"
    USER_CODE = "user_code"
    WRITTEN_HERE = "written_here"
    WRITTEN_ELSEWHERE = "written_elsewhere"
    NO_PERMISSION = "no_permission"
    DISK_FULL = "disk_full"
    DAMAGED = "damaged"

    @classmethod
    def _missing_(cls, value: object) -> "FaultKind":
        """Read a kind that only a newer raydash knows."""
        return cls.OTHER

    @property
    def is_being_written(self) -> bool:
        """Some process has the recording open for writing."""
        return self in (FaultKind.WRITTEN_HERE, FaultKind.WRITTEN_ELSEWHERE)


@dataclass(frozen=True, slots=True)
class Fault:
    """An error that reaches a user.

    Attributes:
        what: What happened, in one plain sentence without a final full stop.
        why: The cause, as far as it is known.
        remedy: What to do next.
        detail: A traceback or log tail, shown one click away.
        keys: The spec keys at fault (`env.id`), if the input was bad.
        bad_input: True when the user's input was refused and nothing was started.
        kind: What code may act on; nothing compares the words.
    """

    what: str
    why: str = ""
    remedy: str = ""
    detail: str = ""
    keys: tuple[str, ...] = ()
    bad_input: bool = False
    kind: FaultKind = FaultKind.OTHER

    def sentence(self) -> str:
        """Join what, why and remedy to running text; a why in lower case follows a colon."""
        text = ""
        for part in (self.what, self.why, self.remedy):
            words = part.rstrip(". ")
            if not words:
                continue
            if text.endswith(".") and words[0].islower():
                text = text[:-1] + ":"
            text += f" {words}" + ("" if words.endswith(("?", "!")) else ".")
        return text.strip()


class FaultError(Exception):
    """Carries a fault up the stack to where it is shown."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.sentence())
        self.fault = fault

    def __reduce__(self) -> tuple[type["FaultError"], tuple[Fault]]:
        """Pickle the whole fault, because the sentence alone would lose its parts on the way."""
        return type(self), (self.fault,)
