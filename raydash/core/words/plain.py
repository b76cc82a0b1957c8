"""Figures in characters that a keyboard has, for terminals, logs and messages: `1 204`, `-`.

They say what `raydash.core.words.numbers` and its neighbours say, with ordinary spaces, and with a
hyphen for a minus sign and for what is unknown, so that they can be searched and cut into columns.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from raydash.core.words import moments, numbers, spans

_PLAIN = str.maketrans(
    {numbers.THIN: " ", numbers.NBSP: " ", numbers.MINUS: "-", numbers.UNKNOWN: "-"}
)
_Arguments = ParamSpec("_Arguments")


def plainly(text: str) -> str:
    """Replace the characters in a text of figures that a keyboard has not."""
    return text.translate(_PLAIN)


def _plain(say: Callable[_Arguments, str]) -> Callable[_Arguments, str]:
    @wraps(say)
    def say_plainly(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> str:
        return plainly(say(*args, **kwargs))

    return say_plainly


count = _plain(numbers.count)
decimal = _plain(numbers.decimal)
percent = _plain(numbers.percent)
plural = _plain(numbers.plural)
size = _plain(numbers.size)
duration = _plain(spans.duration)
rough = _plain(spans.rough)
short_time = _plain(spans.short_time)
dated = _plain(moments.dated)
