"""What the texts in a form's fields mean. Pure; no Qt."""

import json

from raydash.core.spec import FIELDS, Violation

_KWARGS_ALLOWED = 'JSON such as {"gravity": 9.8}'


def number_in(key: str, text: str) -> object:
    """The number that a text means, None for an empty one, or the text itself, to be refused."""
    cleaned = text.replace(" ", "").replace("\u202f", "").replace("\u00a0", "")
    if not cleaned:
        return None
    try:
        return int(cleaned)
    except ValueError:
        pass
    try:
        number = float(cleaned)
    except ValueError:
        return text
    return int(number) if FIELDS[key].kind == "int" and number.is_integer() else number


def table_in(key: str, text: str) -> tuple[object, tuple[Violation, ...]]:
    """The table that a JSON text means, and what is wrong with it; empty for an empty text."""
    if not text.strip():
        return {}, ()
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        where = f" at character {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        cause = str(error)
        if isinstance(error, json.JSONDecodeError):
            cause = error.msg[:1].lower() + error.msg[1:]
        return {}, (Violation(key, f"is not JSON: {cause}{where}", _KWARGS_ALLOWED),)
    return value, ()


def sizes_in(text: str) -> object:
    """The list of numbers that a text such as `64, 64` means, or the text itself, to be refused."""
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        return text


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")
