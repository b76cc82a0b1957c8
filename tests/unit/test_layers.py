"""Who imports whom, seen in a fresh interpreter: a clean grep is not a clean import."""

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import raydash

ROOT = Path(raydash.__file__).parent
RAY_SIDE = {"ray", "gymnasium", "duckdb"}
QT_SIDE = {"PySide6", "pyqtgraph", "shiboken6"}

WINDOW_SIDE = ["app", "ui", "link"]
TERMINAL = ["cli", "terminal"]
CLUSTER_SIDE = ["engine", "supervise", "trial", "learn", "worker", "record", "sinks", "cluster"]
IN_PROCESS = ["in_process"]
BOTH = ["protocol", "core", "paths", "child_process", "version"]

_CHILD = """
import importlib, json, sys

class Blocker:
    def __init__(self, names):
        self.names = names
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError(f"{name} is blocked")

blocked, wanted = json.loads(sys.argv[1])
sys.meta_path.insert(0, Blocker(set(blocked)))
before = set(sys.modules)
for name in wanted:
    importlib.import_module(name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def modules_of(part: str) -> list[str]:
    """A module, or all modules of a package; without `__main__`, which is not for importing."""
    place = ROOT / part
    dotted = f"raydash.{part.replace('/', '.')}"
    if not place.is_dir():
        return [dotted]
    found = [module.name for module in pkgutil.walk_packages([str(place)], f"{dotted}.")]
    return [dotted, *(name for name in found if not name.endswith("__main__"))]


def imported(parts: list[str], blocked: set[str] = frozenset()) -> set[str]:  # type: ignore[assignment]
    """Everything that a fresh interpreter has loaded once it imported those parts of raydash.

    Commands about recordings are a part of their own: of all commands only they load DuckDB.
    """
    apart = "raydash.terminal.commands.recordings."
    wanted = [
        name
        for part in parts
        for name in modules_of(part)
        if part == "terminal/commands/recordings" or not name.startswith(apart)
    ]
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, json.dumps([sorted(blocked), wanted])],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def tops(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def parts_of(modules: set[str]) -> set[str]:
    """Which parts of raydash these are, but for the version: any import of raydash loads it."""
    return {name.split(".")[1] for name in modules if name.startswith("raydash.")} - {"version"}


def test_every_part_of_raydash_is_on_a_side() -> None:
    found = {module.name for module in pkgutil.iter_modules([str(ROOT)])} - {"__main__", "bench"}
    assert found == {*WINDOW_SIDE, *TERMINAL, *CLUSTER_SIDE, *IN_PROCESS, *BOTH}


def test_every_package_but_the_top_one_has_an_empty_init() -> None:
    inits = [path for path in ROOT.rglob("__init__.py") if path.parent != ROOT]
    assert inits
    assert [path for path in inits if path.read_text().strip()] == []


def test_window_side_imports_where_there_is_no_ray() -> None:
    loaded = imported(["ui", "link"], blocked=RAY_SIDE)
    assert parts_of(loaded) <= {"ui", "link", *BOTH}
    app = imported(["app"], blocked=RAY_SIDE)
    assert not parts_of(app) & set(CLUSTER_SIDE)
    # A third of a second, which is to be spent after the first paint.
    assert "pyqtgraph" not in tops(app)


def test_terminal_imports_where_there_is_neither_ray_nor_qt() -> None:
    loaded = imported(TERMINAL, blocked=RAY_SIDE | QT_SIDE)
    assert not parts_of(loaded) & set(WINDOW_SIDE)


def test_commands_about_recordings_need_duckdb_alone() -> None:
    loaded = imported(["terminal/commands/recordings"], blocked=(RAY_SIDE - {"duckdb"}) | QT_SIDE)
    assert not parts_of(loaded) & set(WINDOW_SIDE)


def test_cluster_side_imports_where_there_is_no_qt() -> None:
    loaded = imported(CLUSTER_SIDE, blocked=QT_SIDE)
    assert parts_of(loaded) <= {*CLUSTER_SIDE, *BOTH}


@pytest.mark.parametrize("part", ["core", "protocol", "paths", "child_process"])
def test_shared_parts_load_neither_ray_nor_qt(part: str) -> None:
    assert not tops(imported([part])) & (RAY_SIDE | QT_SIDE)


def test_simulated_engine_imports_where_there_is_neither_ray_nor_gymnasium() -> None:
    loaded = imported(
        ["engine/simulated", "supervise/simulated_run", *IN_PROCESS],
        blocked=(RAY_SIDE - {"duckdb"}) | QT_SIDE,
    )
    assert parts_of(loaded) <= {*CLUSTER_SIDE, *IN_PROCESS, "terminal", *BOTH}


def test_core_loads_the_standard_library_and_numpy_only() -> None:
    loaded = imported(["core"])
    assert tops(loaded) - set(sys.stdlib_module_names) == {"raydash", "numpy"}
    assert parts_of(loaded) == {"core"}


def test_protocol_stands_on_the_core_alone() -> None:
    assert parts_of(imported(["protocol"])) == {"protocol", "core"}


def test_cluster_knows_nothing_of_what_runs_on_it() -> None:
    loaded = parts_of(imported(["cluster"]))
    assert not loaded & {"engine", "supervise", "trial", "learn", "worker", "record", "sinks"}


def test_engine_of_the_terminal_is_spoken_to_without_ray() -> None:
    child = "import sys, raydash.terminal.engine_client; print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", child],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
        check=True,
    )
    assert "'ray'" not in done.stdout
    assert "'PySide6'" not in done.stdout
