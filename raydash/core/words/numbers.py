"""Numbers in words: counts, measured values, rates, sizes, percentages and plurals. Pure.

`count` is for what was counted and `decimal` for what was measured or averaged; `compact` and
`rate` are for lists and plots, where room is short. A narrow no-break space separates thousands and
a no-break space the unit, so that no line break ever falls inside a figure; an unknown value is an
en dash, never `nan`. `raydash.core.words.plain` says the same in characters that a keyboard has.
"""

import math

THIN = "\u202f"
NBSP = "\u00a0"
MINUS = "\u2212"
UNKNOWN = "\u2013"

_PREFIXES = ("", "k", "M", "G", "T", "P")
_TOO_LONG = 1e15
"""From here on nobody reads a number digit by digit."""


def count(number: float) -> str:
    """A whole number: `212 480`."""
    if not math.isfinite(number):
        return UNKNOWN
    if abs(number) >= _TOO_LONG:
        return decimal(number)
    return signed(f"{round(number):,}".replace(",", THIN))


def decimal(value: float) -> str:
    """A figure of any size, about four digits: `187.4`, `112`, `0.01234`, `1 204`, `1.2e+07`."""
    if not math.isfinite(value):
        return UNKNOWN
    size = abs(float(f"{value:.4g}"))  # 999.96 is 1000 here, so that it gets no decimal
    if size >= 1e7 or 0 < size < 1e-4:
        return signed(f"{value:.3g}")
    if size >= 1000 or value == round(value):
        return count(value)
    digits = 1 if size >= 10 else 3 - math.floor(math.log10(size))
    return signed(f"{value:.{digits}f}")


def compact(value: float, unit: str = "") -> str:
    """Three digits and an SI prefix: `3.16 k`, `212 k`, `98`, with `unit` behind it."""
    if not math.isfinite(value):
        return UNKNOWN
    size, step = abs(value), 0
    while size >= 999.5 and step < len(_PREFIXES):
        size /= 1000
        step += 1
    if step == len(_PREFIXES):
        return decimal(value) + (f"{NBSP}{unit}" if unit else "")
    head = _three_digits(math.copysign(size, value))
    return head + (NBSP if step or unit else "") + _PREFIXES[step] + unit


def rate(per_s: float) -> str:
    """Something per second: `3.16 k/s`, `0.42/s`."""
    return compact(per_s) + ("/s" if math.isfinite(per_s) else "")


def size(num_bytes: float) -> str:
    """An amount of memory or disk, in powers of ten: `999 B`, `41.2 MB`, `1.50 GB`."""
    if abs(num_bytes) < 999.5:
        return f"{count(num_bytes)}{NBSP}B"
    return compact(num_bytes, "B")


def percent(share: float) -> str:
    """A share of 1: `81 %`, `1.2 %`, `0 %`."""
    if not math.isfinite(share):
        return UNKNOWN
    value = share * 100
    if abs(value) >= 9.95:
        return f"{count(value)}{NBSP}%"
    return f"{signed(f'{value:.1f}'.removesuffix('.0'))}{NBSP}%"


def percent_of(part: float, whole: float) -> str:
    """A quotient as a percentage; unknown if the whole is 0."""
    return percent(part / whole) if whole else UNKNOWN


def plural(number: float, noun: str) -> str:
    """A number with a noun: `1 worker`, `8 workers`."""
    text = count(number)
    return f"{text}{NBSP}{noun}{'' if text == '1' else 's'}"


def signed(text: str) -> str:
    """A formatted number with a true minus sign, and with none before a zero."""
    if text.startswith("-"):
        body = text[1:]
        return MINUS + body if body.strip("0.,") else body
    return text


def _three_digits(value: float) -> str:
    """A number with three digits: `3.16`, `31.6`, `316`, `0.42`, `0`."""
    digits = 0 if abs(value) >= 99.95 or value == round(value) else 1 if abs(value) >= 9.995 else 2
    return signed(f"{value:.{digits}f}")
