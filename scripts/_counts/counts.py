"""Counts what tends to grow in the repository, now or at a git revision: see scripts/counts."""

import argparse
import ast
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scripts._counts.import_graph import (
    MAX_LOOSE_FILES,
    arrows_up,
    circles,
    loose_files,
    read_imports,
    read_layers,
)

ROOT = Path(__file__).parents[2]
MAX_FUNCTION_LINES = 60
MAX_CLASS_LINES = 450
MAX_PARAMETERS = 12


@dataclass(frozen=True)
class Count:
    """One row of the table, and what was counted where that is worth a list."""

    label: str
    number: int
    found: list[str] = field(default_factory=list)


def listed(label: str, found: list[str]) -> Count:
    """A row whose number is the length of its list."""
    return Count(label, len(found), found)


def counts_of(root: Path) -> list[Count]:
    """Count everything in the repository whose files lie in `root`."""
    package = root / "raydash"
    graph = read_imports(package)
    contracts = read_layers(root / "pyproject.toml")
    crowded = [
        f"{folder} {number}"
        for folder, number in sorted(loose_files(package).items())
        if number > MAX_LOOSE_FILES
    ]
    arrows = [f"{module} -> {other}" for module, other in arrows_up(graph, contracts)]
    architecture = root / "ARCHITECTURE.md"
    words = architecture.read_text("utf-8").split() if architecture.exists() else []
    return [
        *size_of(package),
        *size_of(root / "tests"),
        listed(f"folders of raydash/ with over {MAX_LOOSE_FILES} loose files", crowded),
        listed("import circles", [", ".join(circle) for circle in circles(graph)]),
        Count("lists of layers in pyproject.toml", len(contracts)),
        listed("arrows that run up", arrows),
        *long_code(package),
        Count("words in ARCHITECTURE.md", len(words)),
    ]


def size_of(folder: Path) -> list[Count]:
    """The Python files of a folder that are not empty, and their lines."""
    texts = [text for path in folder.rglob("*.py") if (text := path.read_bytes()).strip()]
    return [
        Count(f"files of {folder.name}/", len(texts)),
        Count(f"lines of {folder.name}/", sum(len(text.splitlines()) for text in texts)),
    ]


def long_code(package: Path) -> list[Count]:
    """Functions and classes with too many lines, and constructors with too many parameters."""
    functions, classes, constructors = [], [], []
    for path in sorted(package.rglob("*.py")):
        for name, node in definitions(ast.parse(path.read_bytes(), str(path))):
            place = f"{path.relative_to(package.parent)}:{node.lineno} {name}"
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if isinstance(node, ast.ClassDef):
                if lines > MAX_CLASS_LINES:
                    classes.append(f"{place} {lines}")
                continue
            if lines > MAX_FUNCTION_LINES:
                functions.append(f"{place} {lines}")
            if node.name == "__init__" and parameters(node.args) > MAX_PARAMETERS:
                constructors.append(f"{place} {parameters(node.args)}")
    return [
        listed(f"functions over {MAX_FUNCTION_LINES} lines", functions),
        listed(f"classes over {MAX_CLASS_LINES} lines", classes),
        listed(f"constructors with over {MAX_PARAMETERS} parameters", constructors),
    ]


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def definitions(node: ast.AST, within: str = "") -> Iterator[tuple[str, Definition]]:
    """All functions and classes in a tree, with names like `Class.method`."""
    for child in ast.iter_child_nodes(node):
        name = within
        if isinstance(child, Definition):
            name = f"{within}.{child.name}".lstrip(".")
            yield name, child
        yield from definitions(child, name)


def parameters(arguments: ast.arguments) -> int:
    """How many parameters a method has; `self` is not counted, `*args` and `**kwargs` are."""
    plain = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len(plain) - 1 + (arguments.vararg is not None) + (arguments.kwarg is not None)


def counts_at(revision: str) -> list[Count]:
    """Count everything in a git revision, which is unpacked into a folder for that long."""
    with tempfile.TemporaryDirectory(prefix="raydash-counts-") as folder:
        archive = subprocess.run(
            ["git", "archive", "--format=tar", revision], cwd=ROOT, capture_output=True, check=False
        )
        if archive.returncode:
            raise SystemExit(archive.stderr.decode().strip())
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        return counts_of(Path(folder))


def print_table(columns: dict[str, list[Count]], with_lists: bool) -> None:
    """Print a row for each count, and below it what was found, if that is wanted."""
    width = max(len(count.label) for counts in columns.values() for count in counts)
    wide = max(9, *map(len, columns))
    print(" " * width, *(f"{title:>{wide}}" for title in columns))
    for row in zip(*columns.values(), strict=True):
        print(f"{row[0].label:<{width}}", *(f"{count.number:>{wide}}" for count in row))
        if with_lists:
            print(*(f"    {line}\n" for line in row[0].found), sep="", end="")


def main() -> None:
    """Print the table that the arguments ask for."""
    parser = argparse.ArgumentParser(prog="scripts/counts", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--rev", metavar="REV", help="count in this git revision")
    which.add_argument("--compare", metavar="REV", help="count in this revision and now")
    asked = parser.parse_args()
    if asked.rev is not None:
        print_table({asked.rev: counts_at(asked.rev)}, with_lists=True)
    elif asked.compare is not None:
        before = counts_at(asked.compare)
        print_table({asked.compare: before, "now": counts_of(ROOT)}, with_lists=False)
    else:
        print_table({"now": counts_of(ROOT)}, with_lists=True)


if __name__ == "__main__":
    main()
