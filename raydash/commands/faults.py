"""Faults in a terminal, where nothing can be folded away and opened."""

from raydash.core.faults import Fault


def words_for(fault: Fault) -> str:
    """Its sentence, below the traceback or the last words that it refers to."""
    said = f"raydash: {fault.sentence()}"
    refers = "traceback" in fault.remedy or "details" in fault.remedy
    return f"{fault.detail.rstrip()}\n{said}" if refers and fault.detail.strip() else said
