"""Formats faults for a terminal, where no field can be marked and no details can be unfolded."""

from raydash.core.faults import Fault, FaultKind


def fault_text(fault: Fault) -> str:
    """Format a fault: its keys and sentence, below the traceback or last words of user code."""
    said = fault.sentence()
    unnamed = [key for key in fault.keys if key not in said]
    said = f"raydash: {', '.join(unnamed)}: {said}" if unnamed else f"raydash: {said}"
    is_needed = fault.kind is FaultKind.USER_CODE and fault.detail.strip()
    return f"{fault.detail.rstrip()}\n{said}" if is_needed else said
