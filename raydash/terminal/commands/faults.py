"""Formats faults for a terminal, where no field can be marked and no details can be unfolded."""

from raydash.core.faults import Fault


def fault_text(fault: Fault) -> str:
    """Format a fault: its keys and sentence, below the traceback or details that it mentions."""
    said = fault.sentence()
    unnamed = [key for key in fault.keys if key not in said]
    said = f"raydash: {', '.join(unnamed)}: {said}" if unnamed else f"raydash: {said}"
    refers = "traceback" in fault.remedy or "details" in fault.remedy
    return f"{fault.detail.rstrip()}\n{said}" if refers and fault.detail.strip() else said
