"""Faults: what went wrong, in the words that a user will read."""

from dataclasses import dataclass


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
    """

    what: str
    why: str = ""
    remedy: str = ""
    detail: str = ""
    keys: tuple[str, ...] = ()
    bad_input: bool = False

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
