"""Reads who imports whom in a package, and finds circles, arrows up and crowded folders.

Nothing is executed: the files are only parsed, so any revision can be read, with the standard
library alone.
"""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

MAX_LOOSE_FILES = 12
"""How many Python files a folder may hold directly, as `loose_files` counts them."""

Graph = dict[str, set[str]]
"""For each module, the modules of the same package that it imports."""

Layers = list[list[str]]
"""From the highest layer to the lowest one, the modules and packages that share it."""


def read_imports(package: Path) -> Graph:
    """Read the imports of every module of a package.

    Imports inside functions and under `if TYPE_CHECKING` count like all others. That Python also
    runs the parents of a module which is imported does not count, only what a file names.

    Args:
        package: The package's folder.
    """
    files = {_dotted(package, path): path for path in sorted(package.rglob("*.py"))}
    graph: Graph = {}
    for module, path in files.items():
        tree = ast.parse(path.read_bytes(), str(path))
        home = module if path.name == "__init__.py" else module.rpartition(".")[0]
        graph[module] = {name for name in _named(tree, home, set(files)) if name != module}
    return graph


def _dotted(package: Path, path: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _named(tree: ast.Module, home: str, modules: set[str]) -> Iterator[str]:
    """The modules among `modules` that a file names, which belongs to the package `home`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                above = home.split(".")[: home.count(".") + 2 - node.level]
                source = ".".join([*above, source] if source else above)
            for alias in node.names:
                name = f"{source}.{alias.name}"
                if name in modules:
                    yield name
                elif source in modules:
                    yield source


def circles(graph: Graph) -> list[list[str]]:
    """The groups of modules each of which reaches all others of its group by imports."""
    reached = {module: _reached(graph, module) for module in graph}
    groups = {
        tuple(sorted(other for other in reached[module] if module in reached[other]))
        for module in graph
    }
    return [list(group) for group in sorted(groups) if len(group) > 1]


def _reached(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def read_layers(pyproject: Path) -> list[Layers]:
    """Read every contract of import-linter that lists layers; exceptions to it are not read."""
    tool = tomllib.loads(pyproject.read_text("utf-8")).get("tool", {})
    return [
        [re.findall(r"[\w.]+", layer) for layer in contract["layers"]]
        for contract in tool.get("importlinter", {}).get("contracts", [])
        if contract["type"] == "layers"
    ]


def arrows_up(graph: Graph, contracts: list[Layers]) -> list[tuple[str, str]]:
    """The imports that go from a lower layer to a higher one, or from within to the top package.

    Args:
        graph: Who imports whom.
        contracts: Lists of layers, each of which is held against every import.

    Returns:
        Pairs of the module that imports and the one that is imported.

    Raises:
        ValueError: if a layer names no module, because then nothing would be held against it.
    """
    for name in (name for layers in contracts for names in layers for name in names):
        if name not in graph:
            raise ValueError(f"The layer {name} names no module.")
    return [
        (module, other)
        for module in sorted(graph)
        for other in sorted(graph[module])
        if "." not in other or any(_goes_up(module, other, layers) for layers in contracts)
    ]


def _goes_up(module: str, other: str, layers: Layers) -> bool:
    start, end = _depth(module, layers), _depth(other, layers)
    return start is not None and end is not None and end < start


def _depth(module: str, layers: Layers) -> int | None:
    for depth, names in enumerate(layers):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return depth
    return None


def loose_files(package: Path) -> dict[str, int]:
    """How many Python files, `__init__.py` aside, each folder of a package holds directly."""
    loose = (path for path in package.rglob("*.py") if path.name != "__init__.py")
    return dict(Counter(str(path.parent.relative_to(package.parent)) for path in loose))
