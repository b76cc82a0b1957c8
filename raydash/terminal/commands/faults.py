"""Faults in a terminal, where nothing is marked red, and nothing can be unfolded."""

from raydash.core.faults import Fault


def words_for(fault: Fault) -> str:
    """Its keys and its sentence, below the traceback or the last words that it refers to."""
    said = fault.sentence()
    unnamed = [key for key in fault.keys if key not in said]
    said = f"raydash: {', '.join(unnamed)}: {said}" if unnamed else f"raydash: {said}"
    refers = "traceback" in fault.remedy or "details" in fault.remedy
    return f"{fault.detail.rstrip()}\n{said}" if refers and fault.detail.strip() else said
