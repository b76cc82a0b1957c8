"""What every test gets: private folders, and a failure if it leaves anything behind."""

import gc
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

# Private and short: a Unix socket's path has 107 bytes, and Ray's own part takes 64 of them.
_HOME = Path(tempfile.mkdtemp(prefix="rdt-", dir="/tmp"))
os.environ["RAYDASH_DATA_DIR"] = str(_HOME / "d")
os.environ["RAYDASH_STATE_DIR"] = str(_HOME / "s")
# Not private: Ray's byte-code, compiled once, saves each later session 6 s of Ray's start.
os.environ.setdefault("RAYDASH_CACHE_DIR", str(Path(sys.prefix) / "raydash-test-cache"))
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

# Two shared cores: deadlines would measure the neighbours, and many examples cost minutes.
settings.register_profile(
    "two_cores", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", settings.get_profile("two_cores"), max_examples=1500)
settings.load_profile("two_cores")

_MARKS: dict[str, Callable[[str], bool]] = {
    "ray": lambda fixture: fixture.startswith("ray_"),
    "window": lambda fixture: fixture in ("qtbot", "qapp"),
    "long": lambda fixture: fixture == "long_round",
}
_SETTLE_S = 5.0
_MAX_PROCESSES = 4


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out what needs a real Ray")
    parser.addoption("--long", action="store_true", help="also rounds that take over 20 s")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "ray: uses a real local Ray (by its fixtures)")
    config.addinivalue_line("markers", "window: uses Qt (by its fixtures)")
    config.addinivalue_line("markers", "long: takes over 20 s (by its fixtures)")
    if config.getoption("--long"):
        settings.load_profile("long")


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Folders are spread over processes; tests of named files are over sooner in this one."""
    paths = [config.invocation_params.dir / arg.partition("::")[0] for arg in config.args]
    if not all(path.is_dir() for path in paths):
        return 0
    # Most of the time goes by in waiting for other processes: one more than can compute.
    return min(len(os.sched_getaffinity(0)) + 1, _MAX_PROCESSES)


@pytest.hookimpl(tryfirst=True)  # pytest-xdist looks at the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        for mark, is_meant in _MARKS.items():
            if any(is_meant(fixture) for fixture in fixtures):
                item.add_marker(mark)
        group = _group(item)
        if group:
            item.add_marker(pytest.mark.xdist_group(group))
    left_out = [
        mark
        for mark, is_left_out in (
            ("ray", config.getoption("--quick")),
            ("long", not config.getoption("--long")),
        )
        if is_left_out
    ]
    deselected = [item for item in items if any(map(item.get_closest_marker, left_out))]
    config.hook.pytest_deselected(items=deselected)
    items[:] = [item for item in items if item not in deselected]
    # What takes longest begins first.
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


def _group(item: pytest.Item) -> str:
    """Tests of one group run in one process, one after the other. Empty: anywhere, any time.

    One cluster is started for all tests that can share it, and those with a cluster of their own
    get it one at a time. Fixtures of a module are made once.
    """
    if "ray_cluster" in getattr(item, "fixturenames", ()):
        return "the shared cluster"
    if item.get_closest_marker("ray"):
        return "clusters of their own"
    info = getattr(item, "_fixtureinfo", None)
    fixtures = info.name2fixturedefs.values() if info else ()
    if any(fixture.scope == "module" for used in fixtures for fixture in used):
        return item.nodeid.partition("::")[0]
    return ""


def _threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _everything() -> set[object]:
    return {*_threads(), *_children()}


def _ray_folders() -> set[object]:
    """Temp folders of clusters that were launched for this session: gone once a cluster is."""
    launches = [json.loads(path.read_text()) for path in _HOME.rglob("launch.json")]
    return {launch["temp_dir"] for launch in launches if Path(launch["temp_dir"]).exists()}


def _check_nothing_left(before: set[object], look: Callable[[], set[object]] = _everything) -> None:
    ceiling = time.monotonic() + _SETTLE_S
    while (left := look() - before) and time.monotonic() < ceiling:
        threading.Event().wait(0.05)
    if left:
        pytest.fail(f"left behind: {left}", pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def _session_leaves_nothing() -> Iterator[None]:
    before = _everything()
    yield
    _check_nothing_left(before)
    _check_nothing_left(set(), _ray_folders)


@pytest.fixture(autouse=True)
def _test_leaves_nothing() -> Iterator[None]:
    """Wider fixtures are set up before this one: what they own is part of the baseline."""
    before = _everything()
    yield
    _check_nothing_left(before)


@pytest.fixture(autouse=True)
def _no_garbage_is_collected_within_events(request: pytest.FixtureRequest) -> None:
    """As in the app (`ui/kit/garbage.py`): what a test of the window leaves goes before the next.

    It would go sometime in the next one else, in a paint event if it so happens: that crashes.
    """
    if not gc.isenabled():
        from PySide6.QtCore import QCoreApplication, QEvent

        # Nobody else does: no loop of events runs between tests.
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
        gc.collect()
    if request.node.get_closest_marker("window"):
        gc.disable()
    else:
        gc.enable()


class _Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


@pytest.fixture(autouse=True)
def raydash_warnings() -> Iterator[list[str]]:
    """Warnings that raydash logged; a test that expects some takes them out of the list."""
    handler = _Warnings()
    logger = logging.getLogger("raydash")
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)
    if handler.lines:
        pytest.fail("unexpected warnings:\n" + "\n".join(handler.lines), pytrace=False)


@pytest.fixture
def long_round() -> None:
    """Whoever asks for it takes over 20 s, and runs with `scripts/test --long` only."""


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """`wait_until(condition, what)`: polls until it is true; fails after the ceiling of 30 s."""

    def wait(condition: Callable[[], object], what: str = "", *, ceiling_s: float = 30.0) -> None:
        end = time.monotonic() + ceiling_s
        while not condition():
            if time.monotonic() > end:
                pytest.fail(f"not within {ceiling_s:g} s: {what or condition}")
            threading.Event().wait(0.02)

    return wait


@pytest.fixture
def private_dirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data and state folders of this test alone; the byte-code stays shared."""
    home = Path(tempfile.mkdtemp(prefix="t", dir=_HOME))
    monkeypatch.setenv("RAYDASH_DATA_DIR", str(home / "d"))
    monkeypatch.setenv("RAYDASH_STATE_DIR", str(home / "s"))
    return home
