"""Imports what users name as `module:name`: wrappers, policies and learners of their own."""

import difflib
import importlib
import traceback
from collections.abc import Callable
from typing import Any

from raydash.core.faults import Fault, FaultError, FaultKind
from raydash.core.words.texts import listed, one_line


def own_callable(word: str, named: str, key: str) -> Callable[..., Any]:
    """Import the class or function that `module:name` names.

    Args:
        word: What it should be, as faults say it: `policy`, `learner`, `wrapper`.
        named: Its name; after the colon, dots lead to nested names.
        key: The spec key that names it.

    Raises:
        FaultError: if the module can't be imported or has no such callable.
    """
    module_name, _, name = named.partition(":")
    try:
        target: Any = importlib.import_module(module_name)
    except Exception as error:
        is_absent = isinstance(error, ModuleNotFoundError) and module_name.startswith(
            error.name or "?"
        )
        raise FaultError(
            Fault(
                f"The {word} {named} could not be imported",
                f"{type(error).__name__}: {one_line(error)}",
                "Start raydash from the folder that holds it, or install it"
                if is_absent
                else "The traceback names the line",
                detail=traceback.format_exc(),
                keys=(key,),
                bad_input=True,
                kind=FaultKind.OTHER if is_absent else FaultKind.USER_CODE,
            )
        ) from error
    known = [each for each, value in vars(target).items() if callable(value) and each[0] != "_"]
    for part in name.split("."):
        target = getattr(target, part, None)
    if not callable(target):
        near = difflib.get_close_matches(name, known, n=3)
        raise FaultError(
            Fault(
                f"{module_name} has no {word} {name}",
                "It is neither a class nor a function of that module",
                f"Did you mean {listed(near)}?" if near else "Check the part after the colon",
                keys=(key,),
                bad_input=True,
            )
        )
    own: Callable[..., Any] = target
    return own
