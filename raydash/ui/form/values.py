"""Read the texts in a form's fields as values. Pure; no Qt."""

import json
import re
from collections.abc import Sequence
from typing import Any

from raydash.core.spec import WrapperSpec
from raydash.core.spec_rules import FIELDS, Violation

_KWARGS_ALLOWED = 'JSON such as {"gravity": 9.8}'
_WRAPPERS_ALLOWED = 'names with commas between them, TimeLimit {"max_episode_steps": 200}'
_BETWEEN, _SPACE = re.compile(r"[\s,]*"), re.compile(r"\s*")
_NAME = re.compile(r'[^\s,{}"]+')


def number_in(key: str, text: str) -> object:
    """The number that a text means, None for an empty text, or an unreadable text itself.

    The spec's own check then refuses that text, in its own words.
    """
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
    """The table that a JSON text means, and what is wrong with it.

    An empty text is an empty table.
    """
    if not text.strip():
        return {}, ()
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return {}, (Violation(key, _why_not_json(error), _KWARGS_ALLOWED),)
    return value, ()


def wrappers_in(text: str) -> tuple[list[dict[str, Any]], tuple[Violation, ...]]:
    """The list of wrappers that a text means, and what is wrong with it.

    A wrapper is a name, followed by a JSON object of keyword arguments if it takes any; commas
    separate them. A name that contains a space, a comma, a brace or a quote is in JSON's quotes.
    """
    wrappers: list[dict[str, Any]] = []
    at = _skip(_BETWEEN, text, 0)
    while at < len(text):
        kwargs: object = {}
        began = at
        try:
            name, at = _name_at(text, at)
            opening = _skip(_SPACE, text, at)
            if text.startswith("{", opening):
                kwargs, at = _DECODER.raw_decode(text, opening)
        except (ValueError, RecursionError) as error:
            return [], (Violation("env.wrappers", _why_not_json(error), _WRAPPERS_ALLOWED),)
        if not name:
            problem = f"{text[began]} stands where a name belongs"
            return [], (Violation("env.wrappers", problem, _WRAPPERS_ALLOWED),)
        wrappers.append({"name": name, "kwargs": kwargs})
        at = _skip(_BETWEEN, text, at)
    return wrappers, ()


def wrappers_text(wrappers: Sequence[WrapperSpec]) -> str:
    """The text that means these wrappers."""
    parts = []
    for wrapper in wrappers:
        is_plain = _NAME.fullmatch(wrapper.name) is not None
        name = wrapper.name if is_plain else json.dumps(wrapper.name)
        parts.append(f"{name} {json.dumps(dict(wrapper.kwargs))}" if wrapper.kwargs else name)
    return ", ".join(parts)


def _name_at(text: str, at: int) -> tuple[str, int]:
    """The name that begins there, and where it ends; empty if there is none."""
    if text.startswith('"', at):
        name, end = _DECODER.raw_decode(text, at)
        return str(name), end
    found = _NAME.match(text, at)
    return (found.group(), found.end()) if found else ("", at)


def _skip(what: re.Pattern[str], text: str, at: int) -> int:
    found = what.match(text, at)
    return found.end() if found else at


def sizes_in(text: str) -> object:
    """The list of numbers that a text such as `64, 64` means, or an unreadable text itself."""
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        return text


def _why_not_json(error: Exception) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return f"is not JSON: {error}"
    cause = error.msg[:1].lower() + error.msg[1:]
    return f"is not JSON: {cause} at character {error.colno}"


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
