"""Finds out what the files to import are, and which of them belong to one run."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raydash.core.faults import Fault, FaultError
from raydash.core.library import RunSource

MONITOR = "monitor.csv"
PROGRESS = "progress.csv"
RESULT = "result.json"
EVENTS = ".tfevents."


@dataclass(frozen=True, slots=True)
class ImportSource:
    """Files that are to become one run.

    Attributes:
        kind: The tool that wrote the files.
        name: The name to show: that of the folder or of the file.
        files: The files to read, in this order.
        folder: The folder that they are in.
    """

    kind: RunSource
    name: str
    files: tuple[Path, ...]
    folder: Path


def sources_of(path: Path) -> tuple[ImportSource, ...]:
    """Find the runs that a file or a folder holds, including folders within it.

    Raises:
        FaultError: if there are none, or none in a known format.
    """
    try:
        found = tuple(_in_folder(path)) if path.is_dir() else (_of_file(path.absolute()),)
    except OSError as error:
        raise FaultError(
            _refused(path, error.strerror or str(error), "Look whether the path is right")
        ) from error
    if not found:
        why = f"it holds no *.{MONITOR}, {PROGRESS}, {RESULT} or *tfevents* file"
        raise FaultError(_refused(path, why, "Choose the folder of a run, or a file of it"))
    return found


def _in_folder(path: Path) -> Iterator[ImportSource]:
    # Links are not followed: RLlib creates links to files that are in the folder anyway.
    for place, folders, names in os.walk(path):
        folders.sort()
        folder = Path(place)
        files = sorted((name for name in names if not name.startswith(".")), key=_natural)
        monitors = [folder / name for name in files if name.endswith(MONITOR)]
        events = [folder / name for name in files if EVENTS in name]
        tables = [
            folder / name
            for name in (
                RESULT,
                PROGRESS,
            )  # the CSV lacks keys that came after its first line
            if name in files and (folder / name).stat().st_size
        ]
        name = folder.absolute().name or "imported"
        if monitors:
            yield ImportSource(RunSource.SB3_MONITOR, name, tuple(monitors), folder)
        elif tables:
            yield ImportSource(RunSource.RLLIB, name, (tables[0],), folder)
        elif events:  # beside RLlib's tables, events would say the same once more
            yield ImportSource(RunSource.TENSORBOARD, name, tuple(events), folder)


def _of_file(path: Path) -> ImportSource:
    kind = _kind_of(path)
    if kind is None:
        why = "it is neither an SB3 monitor.csv, nor RLlib's progress.csv or result.json, nor a"
        raise FaultError(_refused(path, f"{why} TensorBoard event file", "Choose another file"))
    generic = path.name in (PROGRESS, RESULT, MONITOR) or EVENTS in path.name
    name = path.parent.name if generic else path.name.removesuffix(f".{MONITOR}")
    return ImportSource(kind, name or "imported", (path,), path.parent)


def _kind_of(path: Path) -> RunSource | None:
    """Recognise a file by its name, or else by how it begins; None if it is unknown."""
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise FaultError(_refused(path, "it is empty", "Choose another file"))
    if path.name.endswith(MONITOR) or head.startswith((b"#{", b"\xef\xbb\xbf#{")):
        return RunSource.SB3_MONITOR
    if path.name in (PROGRESS, RESULT) or head.startswith(b"{"):
        return RunSource.RLLIB
    if EVENTS in path.name or b"brain.Event:" in head[:64]:
        return RunSource.TENSORBOARD
    if path.suffix == ".csv" and re.search(rb"\btraining_iteration\b|\bepisode_re", head):
        return RunSource.RLLIB
    return None


def _natural(name: str) -> list[tuple[int, str]]:
    """Make a sort key that puts 2 before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _refused(path: Path, why: str, remedy: str) -> Fault:
    return Fault(f"{path.name or path} was not imported", why, remedy, str(path), bad_input=True)
