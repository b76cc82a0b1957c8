"""Lists the recordings in a folder, and the files that belong to each of them.

All names come from listing the folder, never from a user, so no path can lead out of it. No
recording is opened here.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from raydash.core.faults import Fault, FaultError
from raydash.record.file.database import wal_of

_RECORDING = re.compile(r"(?P<id>.+)\.duckdb|.+\.duckdb\.damaged-\d+", re.DOTALL)
_BESIDE = re.compile(
    r"\.duckdb\.(wal|tmp)|\.(logs|run\.json|notes\.json.*|(best|learner|policy|stimuli)[.-].*)"
)
_BESIDE_DAMAGED = re.compile(r"\.(wal|tmp|run\.json|notes\.json.*)")

FileStamp = tuple[int, int, int, int]
"""Size and time (ns) of the file, then of its WAL: while they are the same, so is the content."""


@dataclass(frozen=True, slots=True)
class RecordingEntry:
    """A recording that was found in a folder.

    Attributes:
        run_id: The file's name without `.duckdb`; the whole name of a damaged file that was set
            aside.
        beside: The files and folders that belong to it: WAL, notes, logs, ...
        size_bytes: The size of the file and of all that lies beside it.
        modified_s: Unix time of the last change of file or WAL.
        problem: Why there is no use in opening it, in words; empty if it may be tried.
    """

    run_id: str
    path: Path
    beside: tuple[Path, ...]
    size_bytes: int
    modified_s: float
    stamp: FileStamp
    problem: str = ""

    @property
    def is_in_place(self) -> bool:
        """Whether it lies under its run's name, and is not a damaged file that was set aside."""
        return self.path.suffix == ".duckdb"

    @property
    def notes_path(self) -> Path:
        """The path of its notes, whether there are any or not."""
        return self.path.with_name(f"{self.path.name.removesuffix('.duckdb')}.notes.json")


def scan(folder: Path) -> tuple[RecordingEntry, ...]:
    """Find all recordings in a folder, in no particular order, without opening any.

    Raises:
        FaultError: if the folder can't be read.
    """
    try:
        with os.scandir(folder) as found:
            names = {entry.name: entry for entry in found}
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise FaultError(
            Fault(
                "The library can't be read",
                f"{folder}: {error.strerror}",
                "Look at the folder, or choose another with RAYDASH_DATA_DIR",
                bad_input=True,
            )
        ) from error
    recordings: dict[str, str] = {}
    for name in names:
        match = _RECORDING.fullmatch(name)
        if match and not name.startswith("."):
            recordings[match["id"] or name] = name
    beside: dict[str, list[os.DirEntry[str]]] = {run_id: [] for run_id in recordings}
    for name in names.keys() - recordings.values():
        owner = _owner(name, recordings)
        if owner is not None:
            beside[owner].append(names[name])
    return tuple(_entry(run_id, names[name], beside[run_id]) for run_id, name in recordings.items())


def entry_of(path: Path) -> RecordingEntry:
    """Find what belongs to one recording, wherever it lies and whatever it is called.

    Raises:
        FaultError: if it is gone, or its folder can't be read.
    """
    match = _RECORDING.fullmatch(path.name)
    run_id = (match["id"] if match else None) or path.name
    try:
        with os.scandir(path.parent) as found:
            names = {each.name: each for each in found if each.name.startswith(run_id)}
        file = names.pop(path.name)
    except (OSError, KeyError) as error:
        why = error.strerror if isinstance(error, OSError) else "there is no such file"
        fault = Fault(f"The recording {shown_name(path.name)} can't be read", why or "")
        raise FaultError(replace(fault, bad_input=True)) from error
    beside = [each for name, each in names.items() if _owner(name, {run_id: path.name}) == run_id]
    return _entry(run_id, file, beside)


def best_policy_of(recording: Path) -> Path:
    """Return the path at which a learner's best policy is saved."""
    return recording.with_name(f"{recording.name.removesuffix('.duckdb')}.best.npz")


def stimuli_of(recording: Path, incarnation: int) -> Path:
    """Return the path at which a supervisor that fails leaves what its machine was told last."""
    return recording.with_name(
        f"{recording.name.removesuffix('.duckdb')}.stimuli-{incarnation}.log"
    )


def learner_state_of(recording: Path) -> Path:
    """Return the path at which a learner's state is saved while its run goes on."""
    return recording.with_name(f"{recording.name.removesuffix('.duckdb')}.learner.npz")


def shown_name(name: str) -> str:
    """Turn a file's name into text that can be shown; bytes that are not UTF-8 are spelled out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _owner(name: str, recordings: Mapping[str, str]) -> str | None:
    """Find the recording that a file belongs to: the longest run id that its name begins with."""
    end = len(name)
    while (end := name.rfind(".", 0, end)) > 0:
        run_id = name[:end]
        if run_id in recordings:
            pattern = _BESIDE_DAMAGED if recordings[run_id] == run_id else _BESIDE
            if pattern.fullmatch(name[end:]):
                return run_id
    return None


def _entry(run_id: str, found: os.DirEntry[str], beside: list[os.DirEntry[str]]) -> RecordingEntry:
    path = Path(found.path)
    problem = ""
    is_folder = False
    status: os.stat_result | None = None
    try:
        status = found.stat()
        is_folder = stat.S_ISDIR(status.st_mode)
    except FileNotFoundError:
        problem = "it is a link to a file that is gone"
    except OSError as error:
        problem = f"it can't be looked at: {error.strerror}"
    if shown_name(found.name) != found.name:
        problem = "its name is not UTF-8: rename it"
    elif status is not None and not stat.S_ISREG(status.st_mode):
        problem = "it is a folder" if is_folder else "it is not a file"
    elif status is not None and not status.st_size:
        problem = "the file is empty"
    size, modified_ns, wal_size, wal_modified_ns = 0, 0, 0, 0
    if status is not None:
        size, modified_ns = status.st_size, status.st_mtime_ns
    total = 0 if is_folder else size
    for part in beside:
        for each in _stats(part):
            total += each.st_size
            if part.name == wal_of(path).name:
                wal_size, wal_modified_ns = each.st_size, each.st_mtime_ns
    return RecordingEntry(
        run_id=run_id,
        path=path,
        beside=tuple(Path(part.path) for part in beside),
        size_bytes=total,
        modified_s=max(modified_ns, wal_modified_ns) / 1e9,
        stamp=(size, modified_ns, wal_size, wal_modified_ns),
        problem=problem,
    )


def _stats(part: os.DirEntry[str]) -> Iterator[os.stat_result]:
    """Yield the status of a file, or of every file in a folder.

    Links are not followed, and a file that has vanished meanwhile is left out.
    """
    try:
        if not part.is_dir(follow_symlinks=False):
            yield part.stat(follow_symlinks=False)
            return
        with os.scandir(part.path) as inside:
            for each in inside:
                yield from _stats(each)
    except OSError:
        return
