"""Faults are words for people; code acts on their kinds and never on the words."""

import ast
from pathlib import Path

import msgspec
import pytest

from raydash.core.faults import Fault, FaultKind
from raydash.core.messages import Answer
from raydash.protocol.codec import decode, encode

PACKAGE = Path(__file__).parents[3] / "raydash"
WORDS = {"what", "why", "remedy", "detail", "sentence"}
"""What a fault says to people."""
SEARCHES = {"startswith", "endswith", "find", "index", "count", "search", "match", "fullmatch"}
KNOW_OTHERS_WORDS = {"cluster/ray_words.py", "cluster/death_words.py"}
"""These read what Ray says, which has no other way to say it."""


def comparisons_of_words(source: str) -> list[str]:
    """Find comparisons with a fault's words, or with any English of more than one word."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            operators = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
            sides = [node.left, *node.comparators]
            if any(isinstance(each, operators) for each in node.ops) and (
                any(map(_is_words, sides)) or any(map(_is_english, sides))
            ):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", "")
            receiver = getattr(node.func, "value", node.func)
            if name in SEARCHES and any(map(_is_words, [receiver, *node.args])):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.MatchValue) and _is_english(node.value):
            found.append(ast.unparse(node))
    return found


def _is_words(node: ast.expr) -> bool:
    """Tell whether this is a part of a fault's text, be it in lower case or cut."""
    while True:
        match node:
            case ast.Attribute(attr=name) if name in WORDS:
                return True
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Call(func=inner):
                node = inner
            case _:
                return False


def _is_english(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=str(text)):
            return len(text.split()) > 1
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            return any(map(_is_english, parts))
        case _:
            return False


def test_nobody_compares_what_is_written_for_people() -> None:
    found = {
        str(path.relative_to(PACKAGE)): compared
        for path in sorted(PACKAGE.rglob("*.py"))
        if (compared := comparisons_of_words(path.read_text("utf-8")))
    }
    assert {name: said for name, said in found.items() if name not in KNOW_OTHERS_WORDS} == {}
    assert "cluster/death_words.py" in found


@pytest.mark.parametrize(
    "source",
    [
        "'Could not set lock' in fault.detail",
        "lock in error.fault.detail.lower()",
        "fault.why == reason",
        "'disk' not in fault.sentence()",
        "reason == 'the disk is full'",
        "reason in ('the disk is full', '')",
        "error.fault.why.startswith('disk')",
        "re.search(pattern, fault.detail)",
        "match reason:\n  case 'the disk is full': pass",
    ],
)
def test_comparison_with_words_is_found(source: str) -> None:
    assert comparisons_of_words(source)


@pytest.mark.parametrize(
    "source",
    [
        "fault.kind is FaultKind.DISK_FULL",
        "fault.why or fault.remedy",
        "fault.what.rstrip('. ')",
        "kind == 'csv'",
        "fault is None",
        "each in fault.keys",
    ],
)
def test_what_is_no_comparison_with_words_is_not_found(source: str) -> None:
    assert comparisons_of_words(source) == []


@pytest.mark.parametrize("kind", FaultKind)
def test_kind_travels(kind: FaultKind) -> None:
    answer = Answer(3, Fault("It did not work", kind=kind))
    assert decode(encode(answer)) == answer


def test_fault_of_an_older_raydash_has_no_kind_and_one_of_a_newer_may_have_an_unknown_one() -> None:
    for kind in ({}, {"kind": "on_strike"}):
        body = {"command_id": 3, "fault": {"what": "It did not work", **kind}}
        answer = decode(msgspec.msgpack.encode(("Answer", body)))
        assert answer.fault == Fault("It did not work", kind=FaultKind.OTHER)
