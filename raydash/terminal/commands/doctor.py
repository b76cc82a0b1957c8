"""`raydash doctor`: prints what this machine lacks, and the line that mends it."""

import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from raydash import paths
from raydash.cluster.launch import cluster_status
from raydash.core.words import plain
from raydash.terminal.commands.display import APT_LINE, missing_library, why_no_window
from raydash.terminal.commands.options import why_wrong_platform

RAY_ALLOWED = ((2, 55), (2, 60))
"""The oldest and the newest minor version of Ray that are allowed; the newest is tested."""

_GIB = 1024**3
_SETUP = "Run scripts/setup (in a checkout), or reinstall raydash"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check; `remedy` is the line that mends what is wrong."""

    name: str
    ok: bool
    text: str
    remedy: str = ""


def examine(environment: Mapping[str, str] = os.environ) -> list[Check]:
    """Make all checks, without starting or changing anything."""
    probes: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("platform", _platform),
        ("Python", _python),
        ("PySide6", _pyside),
        ("Qt libraries", _qt_libraries),
        ("display", lambda: _display(environment)),
        ("fonts", _fonts),
        ("Ray", _ray),
        ("byte-code", _byte_code),
        ("memory", _memory),
        ("/dev/shm", _shared_memory),
        ("data folder", lambda: _folder("data folder", paths.data_dir(), "RAYDASH_DATA_DIR")),
        ("state folder", lambda: _folder("state folder", paths.state_dir(), "RAYDASH_STATE_DIR")),
        ("cache folder", lambda: _folder("cache folder", paths.cache_dir(), "RAYDASH_CACHE_DIR")),
        ("cluster", _cluster),
    )
    checks = []
    for name, probe in probes:
        try:
            checks.append(probe())
        except Exception as error:  # one that fails must not hide the others
            checks.append(Check(name, False, f"could not be looked at: {error!r}"))
    return checks


def print_report(*, as_json: bool = False) -> int:
    """Print the results of all checks; return 0 if all is well, else 2."""
    checks = examine()
    if as_json:
        print(json.dumps({"checks": [asdict(check) for check in checks]}))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            print(f"{'ok   ' if check.ok else 'WRONG'}  {check.name:<{width}}  {check.text}")
            if not check.ok and check.remedy:
                print(f"{'':7}{'':{width}}  -> {check.remedy}")
    return 0 if all(check.ok for check in checks) else 2


def _version(distribution: str) -> tuple[int, ...]:
    text = importlib.metadata.version(distribution)
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _platform() -> Check:
    problem = why_wrong_platform()
    return Check("platform", not problem, problem or "Linux")


def _python() -> Check:
    version = sys.version_info[:3]
    remedy = "Use Python 3.11, 3.12 or 3.13"
    return Check("Python", version >= (3, 11), f"{_dotted(version)}, {sys.executable}", remedy)


def _pyside() -> Check:
    try:
        version = _version("PySide6-Essentials")
    except importlib.metadata.PackageNotFoundError:
        return Check("PySide6", False, "is not installed", _SETUP)
    text = f"{_dotted(version)} on Python {_dotted(sys.version_info[:2])}"
    if version >= (6, 12) and sys.version_info < (3, 12):
        text += ": it drops references to None there and aborts after a few hundred plot updates"
        return Check("PySide6", False, text, "pip install 'PySide6-Essentials<6.12'")
    return Check("PySide6", True, text)


def _qt_libraries() -> Check:
    missing = [problem for name in ("xcb", "offscreen") if (problem := missing_library(name))]
    if missing:
        return Check("Qt libraries", False, "; ".join(missing), APT_LINE)
    return Check("Qt libraries", True, "the xcb and offscreen platforms load")


def _display(environment: Mapping[str, str]) -> Check:
    fault = why_no_window(environment)
    if fault is None:
        shown = environment.get("QT_QPA_PLATFORM") or environment.get("WAYLAND_DISPLAY")
        return Check("display", True, shown or environment.get("DISPLAY", ""))
    text = f"{fault.what}: {fault.why}" if fault.why else fault.what
    return Check("display", False, text, fault.remedy)


def _fonts() -> Check:
    places = [Path("/usr/share/fonts"), Path("/usr/local/share/fonts")]
    places += [Path.home() / ".local/share/fonts", Path.home() / ".fonts"]
    for place in places:
        for kind in ("*.ttf", "*.otf", "*.ttc"):
            font = next(place.rglob(kind), None) if place.is_dir() else None
            if font is not None:
                return Check("fonts", True, str(font))
    remedy = "sudo apt-get install fonts-dejavu-core"
    return Check("fonts", False, "there are none: the window would show boxes", remedy)


def _ray() -> Check:
    oldest, newest = RAY_ALLOWED
    allowed = f"allowed: {_dotted(oldest)} to {_dotted(newest)}; tried: {_dotted(newest)}"
    remedy = f"pip install 'ray>={_dotted(oldest)},<{newest[0]}.{newest[1] + 1}'"
    try:
        version = _version("ray")
    except importlib.metadata.PackageNotFoundError:
        return Check("Ray", False, f"is not installed ({allowed})", remedy)
    is_allowed = oldest <= version[:2] <= newest
    return Check("Ray", is_allowed, f"{_dotted(version)} ({allowed})", remedy)


def _byte_code() -> Check:
    found = importlib.util.find_spec("ray")
    if found is None or not found.submodule_search_locations:
        return Check("byte-code", False, "there is no Ray to compile", _SETUP)
    ray = Path(found.submodule_search_locations[0])
    tag = sys.implementation.cache_tag
    own = ray / "__pycache__" / f"__init__.{tag}.pyc"
    ours = Path(f"{paths.cache_dir()}/pycache{ray}") / f"__init__.{tag}.pyc"
    if own.exists() or ours.exists():
        return Check("byte-code", True, "Ray is compiled")
    text = "Ray is not compiled: its first start takes about 10 s instead of 3"
    remedy = f"env -u PYTHONDONTWRITEBYTECODE {sys.executable} -m compileall -qq {ray}"
    return Check("byte-code", False, text, remedy)


def _memory() -> Check:
    free = psutil.virtual_memory().available
    text = f"{plain.size(free)} available; Ray takes 400 MB, each worker 100 MB or more"
    return Check("memory", free > _GIB, text, "Close something, or use a larger machine")


def _shared_memory() -> Check:
    free = shutil.disk_usage("/dev/shm").free
    text = f"{plain.size(free)} free; Ray's object store takes up to 200 MB"
    remedy = "Enlarge it, for Docker: --shm-size=512m"
    return Check("/dev/shm", free > 250 * 2**20, text, remedy)


def _folder(name: str, folder: Path, variable: str) -> Check:
    """Check that a folder, or the nearest one above it that exists, can be written and has room."""
    place = folder
    while not place.exists():
        place = place.parent
    remedy = f"Set {variable} to a folder on a local disk that you may write to"
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Check(name, False, f"{folder}: {error.strerror or error}", remedy)
    free = shutil.disk_usage(place).free
    text = f"{folder}, {plain.size(free)} free"
    return Check(name, free > _GIB // 2, text, remedy)


def _cluster() -> Check:
    record = cluster_status(paths.state_dir())
    if record is None:
        return Check("cluster", True, "none is alive; one is launched when it is needed")
    return Check("cluster", True, f"{record.phase.value} at {record.address or '-'}")
