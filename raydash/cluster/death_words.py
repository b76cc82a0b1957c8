"""What Ray's words say of the end of an actor or of a task: pure functions of an exception's text.

The texts are those of Ray 2.60. Exceptions with a type of their own need none of this.
"""

import re

from raydash.core.machine.stimuli import DeathCause

UNEXPECTEDLY = "unexpectedly (killed, or crashed in native code)"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def plain(error: Exception) -> str:
    """Return an exception's text without colours."""
    return _COLOURS.sub("", str(error))


def actor_died(detail: str) -> tuple[DeathCause, str]:
    """Read from the text of an `ActorDiedError` what ended the actor; the words are ours."""
    if "raised in its creation task" in detail:
        return DeathCause.COULD_NOT_START, raised(detail)
    if "its node has died" in detail or "its owner has died" in detail:
        return DeathCause.NODE_LOST, "its node died"
    if "killed by `ray.kill`" in detail:
        return DeathCause.KILLED, "killed by ray.kill"
    never_ran = "The actor never ran" in detail
    return DeathCause.COULD_NOT_START if never_ran else DeathCause.CRASHED, _how_it_ended(detail)


def _how_it_ended(detail: str) -> str:
    # Ray goes on to list causes that are common ("... due to SIGSEGV"), which are no evidence.
    seen = re.split(r"Some common causes|some potential root causes", detail)[0]
    signal = re.search(r"\bSIG[A-Z]+\b", seen)
    if signal:
        return f"its process ended by {signal.group()}"
    code = re.search(r"exit[ _]code:?\s*=?\s*(-?\d+)", seen)
    if code:
        return f"its process ended with exit code {code.group(1)}"
    if "connection error" in seen or "exits unexpectedly" in seen:
        return f"its process ended {UNEXPECTEDLY}"
    return "its process ended"


def raised(traceback: str) -> str:
    """Return type and first line of the exception, which follow the last (indented) frame."""
    lines = [line for line in traceback.splitlines() if line.strip()]
    frames = [number for number, line in enumerate(lines) if line.startswith(" ")]
    after = lines[frames[-1] + 1 :] if frames else lines[-1:]
    return after[0].strip() if after else (lines[-1].strip() if lines else "")


def first_line(error: Exception) -> str:
    """Return an exception's type and the first line of its text."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
