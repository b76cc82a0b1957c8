"""Who imports whom, as the files say it: no circles, no arrows up; and no crowded folders."""

from pathlib import Path

import pytest

from scripts._counts.import_graph import (
    MAX_LOOSE_FILES,
    arrows_up,
    circles,
    loose_files,
    read_imports,
    read_layers,
)

ROOT = Path(__file__).parents[2]

PYPROJECT = """
[[tool.importlinter.contracts]]
type = "layers"
layers = ["tiny.high", "tiny.left | tiny.right", "tiny.low"]
ignore_imports = ["tiny.low.c -> tiny.left"]

[[tool.importlinter.contracts]]
type = "forbidden"
source_modules = ["tiny"]
"""


def tiny(folder: Path, **files: str) -> Path:
    """A package with four parts, and files in them: `low_a` is `low/a.py`."""
    package = folder / "tiny"
    for part in ("high", "left", "right", "low"):
        (package / part).mkdir(parents=True)
        (package / part / "__init__.py").touch()
    (package / "__init__.py").write_text("from tiny.high import a\n")
    for name, text in {"high_a": "", **files}.items():
        (package / f"{name.replace('_', '/', 1)}.py").write_text(text)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    return package


def test_no_modules_of_raydash_import_each_other_in_a_circle() -> None:
    assert circles(read_imports(ROOT / "raydash")) == []


def test_no_module_of_raydash_imports_from_a_higher_layer() -> None:
    contracts = read_layers(ROOT / "pyproject.toml")
    assert contracts
    assert arrows_up(read_imports(ROOT / "raydash"), contracts) == []


def test_no_folder_of_raydash_is_crowded() -> None:
    loose = loose_files(ROOT / "raydash")
    assert {name: count for name, count in loose.items() if count > MAX_LOOSE_FILES} == {}


def test_imports_are_found_wherever_and_however_they_are_written(tmp_path: Path) -> None:
    text = """
import os, tiny.low.b as b
from tiny import left, __name__ as top
from tiny.right import thing
from . import c
from ..high.a import other
"""
    indented = "def f():\n    import tiny.low.b\nif TYPE_CHECKING:\n    from tiny.high import a\n"
    graph = read_imports(tiny(tmp_path, low_a=text, low_b="", low_c=indented))
    everything = {"tiny.low.b", "tiny.left", "tiny", "tiny.right", "tiny.low.c", "tiny.high.a"}
    assert graph["tiny.low.a"] == everything
    assert graph["tiny.low.c"] == {"tiny.low.b", "tiny.high.a"}
    assert graph["tiny"] == {"tiny.high.a"}


def test_package_without_faults_has_none(tmp_path: Path) -> None:
    graph = read_imports(
        tiny(tmp_path, high_b="import tiny.low.a", low_a="import tiny.low.b", low_b="")
    )
    assert circles(graph) == []
    assert arrows_up(graph, read_layers(tmp_path / "pyproject.toml")) == []


def test_circle_is_found_even_if_half_of_it_is_inside_a_function(tmp_path: Path) -> None:
    package = tiny(
        tmp_path,
        low_a="from tiny.low import b",
        low_b="from tiny.low.c import x",
        low_c="def f():\n    from tiny.low.a import y",
        low_d="from tiny.low import a",
    )
    assert circles(read_imports(package)) == [["tiny.low.a", "tiny.low.b", "tiny.low.c"]]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from tiny.right import x", ["tiny.right"]),
        ("from tiny.left import x", ["tiny.left"]),  # although it is an exception
        ("import tiny", ["tiny"]),
        ("import tiny.low.a", []),
        ("if TYPE_CHECKING:\n    from tiny.high.a import x", ["tiny.high.a"]),
    ],
)
def test_arrows_up_are_found(tmp_path: Path, text: str, found: list[str]) -> None:
    graph = read_imports(tiny(tmp_path, low_a="", low_c=text))
    contracts = read_layers(tmp_path / "pyproject.toml")
    assert arrows_up(graph, contracts) == [("tiny.low.c", other) for other in found]


def test_neighbours_of_one_layer_are_no_arrow_up(tmp_path: Path) -> None:
    graph = read_imports(tiny(tmp_path, left_a="import tiny.right", right_a="import tiny.left"))
    assert arrows_up(graph, read_layers(tmp_path / "pyproject.toml")) == []


def test_layer_that_names_no_module_is_refused(tmp_path: Path) -> None:
    graph = read_imports(tiny(tmp_path))
    with pytest.raises(ValueError, match=r"tiny\.gone names no module"):
        arrows_up(graph, [[["tiny.gone"]]])


def test_loose_files_are_counted_by_folder_without_init(tmp_path: Path) -> None:
    package = tiny(tmp_path, low_a="", low_b="")
    assert loose_files(package) == {"tiny/high": 1, "tiny/low": 2}
