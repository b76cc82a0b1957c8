"""What went wrong, in the words that a user will read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """An error that reaches a user.

    Attributes:
        what: What happened, one plain sentence without a final full stop.
        why: The cause as far as it is known.
        remedy: What to do next.
        detail: A traceback or log tail, shown one click away.
        keys: The spec keys that are at fault (`env.id`), if the input was bad.
        bad_input: True when the user's input was refused and nothing was started.
    """

    what: str
    why: str = ""
    remedy: str = ""
    detail: str = ""
    keys: tuple[str, ...] = ()
    bad_input: bool = False

    def sentence(self) -> str:
        """What, why and remedy as running text; a why that goes on a sentence follows a colon."""
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
    """Raised where a fault has to travel up the stack before it is shown."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.sentence())
        self.fault = fault

    def __reduce__(self) -> tuple[type["FaultError"], tuple[Fault]]:
        """How it travels between processes: with its fault, not with the sentence alone."""
        return type(self), (self.fault,)
