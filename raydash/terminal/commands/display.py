"""Finds out whether a window can open here, without Qt, which would abort the process if not."""

import ctypes
import importlib.util
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from raydash.core.faults import Fault

QT_PACKAGES = (
    "libgl1 libegl1 libxkbcommon0 libxkbcommon-x11-0 libx11-xcb1 libxcb-cursor0 libxcb-icccm4 "
    "libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-shm0 "
    "libxcb-sync1 libxcb-xfixes0 libxcb-xkb1 libfontconfig1 libdbus-1-3 libglib2.0-0 "
    "libwayland-client0 libwayland-cursor0"
)
PLATFORMS = ("xcb", "wayland", "offscreen")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
APT_LINE = f"sudo apt-get install --no-install-recommends {QT_PACKAGES}"
_SEVERAL_WAYS = (
    "Start it from a desktop, through ssh -X, or under xvfb-run; raydash run needs no display"
)


def platform_plugin(environment: Mapping[str, str] = os.environ) -> str:
    """Name the platform of Qt that will be used: `xcb`, `wayland`, ...; empty if there is none."""
    chosen = environment.get("QT_QPA_PLATFORM", "").split(";")[0].split(":")[0]
    if chosen:
        return chosen
    if environment.get("WAYLAND_DISPLAY"):
        return "wayland"
    return "xcb" if environment.get("DISPLAY") else ""


def why_no_window(environment: Mapping[str, str] = os.environ) -> Fault | None:
    """Say why no window can open here; None if one can."""
    platform = platform_plugin(environment)
    if not platform:
        return Fault(
            "There is no display for the window",
            "neither DISPLAY nor WAYLAND_DISPLAY is set",
            _SEVERAL_WAYS,
            bad_input=True,
        )
    display = environment.get("DISPLAY", "")
    if platform == "xcb" and not display_answers(display):
        return Fault(
            f"Nobody answers at the display {display or '(DISPLAY is not set)'}",
            remedy=_SEVERAL_WAYS,
            bad_input=True,
        )
    missing = missing_library(platform)
    if missing and platform not in PLATFORMS:
        remedy = f"Unset QT_QPA_PLATFORM, or set it to {', '.join(PLATFORMS)}"
        return Fault("Qt cannot open a window", missing, remedy, bad_input=True)
    if missing:
        return Fault("Qt cannot open a window", missing, f"Run: {APT_LINE}", bad_input=True)
    return None


def why_no_picture(path: Path | None) -> Fault | None:
    """Say why a screenshot could not be saved there, or None. Makes the folder."""
    if path is None:
        return None
    problem = ""
    if path.suffix.lower() not in PICTURES:
        problem = f"it ends in {path.suffix or 'nothing'}; pictures are {', '.join(PICTURES)}"
    else:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            is_new = not path.exists()
            path.open("ab").close()
            if is_new:
                path.unlink()
        except OSError as error:
            problem = error.strerror or str(error)
    if not problem:
        return None
    return Fault(
        f"The window can't be saved as {path}",
        problem,
        "Give --screenshot another file",
        keys=("--screenshot",),
        bad_input=True,
    )


def display_answers(display: str) -> bool:
    """Whether an X server listens at `[HOST]:NUMBER[.SCREEN]`."""
    match = re.fullmatch(r"(?P<host>[^:]*):(?P<number>\d+)(\.\d+)?", display)
    if not match:
        return False
    number = int(match["number"])
    # A Unix socket may be a file, or have an abstract name (with a leading zero byte).
    path = f"/tmp/.X11-unix/X{number}"
    if match["host"] in ("", "unix"):
        return any(_connects(socket.AF_UNIX, name) for name in (path, f"\0{path}"))
    return _connects(socket.AF_INET, (match["host"], 6000 + number))


def missing_library(platform: str) -> str:
    """Say what is missing to load Qt's plugin of a platform; empty if nothing is."""
    found = importlib.util.find_spec("PySide6")
    if found is None or not found.submodule_search_locations:
        return "PySide6 is not installed"
    plugins = Path(found.submodule_search_locations[0]) / "Qt" / "plugins" / "platforms"
    plugin = plugins / f"libq{platform}.so"
    if not plugin.exists():
        return f"PySide6 has no platform {platform}"
    try:
        ctypes.CDLL(str(plugin))
    except OSError as error:
        return str(error)
    return ""


def _connects(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(3.0)
        try:
            probe.connect(address)
        except OSError:
            return False
        return True
