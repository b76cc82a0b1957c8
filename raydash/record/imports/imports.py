"""Turns other tools' files into recordings, so that past work can be compared with new."""

import contextlib
import hashlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from raydash.core.faults import Fault, FaultError, FaultKind
from raydash.core.library import RunSource
from raydash.record.file.database import connect, diagnose
from raydash.record.imports import monitor, rllib, tensorboard
from raydash.record.imports.draft import DraftRecording
from raydash.record.imports.sources import ImportSource, sources_of

_READERS = {
    RunSource.SB3_MONITOR: monitor.read,
    RunSource.RLLIB: rllib.read,
    RunSource.TENSORBOARD: tensorboard.read,
}
_READ_BYTES = 1 << 20
_STALE_S = 24 * 3600.0

Say = Callable[[str], None]


def import_runs(
    paths: Sequence[Path], data_dir: Path, *, say: Say | None = None
) -> tuple[str, ...]:
    """Make a recording of each run that some files and folders hold.

    A folder of SB3's `*.monitor.csv` is one run with one worker per file; a folder with RLlib's
    `result.json` or `progress.csv`, or with TensorBoard's event files, is one run each. Folders
    within folders are searched too. The new recordings appear once all of them are whole, or not
    at all. The exception is a folder with several runs: those that can't be read are left out, and
    `say` is called with the reason.

    Args:
        paths: The files and folders to import.
        data_dir: The data folder; the recordings go to its folder `runs`.
        say: Called with one line for each thing that was left out or is in the library already.

    Returns:
        The ids of the new runs.

    Raises:
        FaultError: naming file and line of what can't be understood; nothing was imported then.
    """
    say = say or (lambda line: None)
    folder = data_dir / "runs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _delete_abandoned(folder)
        staging = Path(tempfile.mkdtemp(".partial", ".import-", folder))
    except OSError as error:
        raise FaultError(_writing_fault(folder, error)) from error
    try:
        run_ids: list[str] = []
        for path in paths:
            run_ids += _import_path(path, staging, folder, say)
        for run_id in run_ids:
            (staging / f"{run_id}.duckdb").rename(folder / f"{run_id}.duckdb")
        return tuple(run_ids)
    except OSError as error:
        raise FaultError(_writing_fault(folder, error)) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _import_path(path: Path, staging: Path, folder: Path, say: Say) -> list[str]:
    sources = sources_of(path)
    run_ids: list[str] = []
    faults: list[FaultError] = []
    for source in sources:
        try:
            run_ids.append(_import_source(source, staging, folder, say))
        except FaultError as error:
            if len(sources) == 1 or not error.fault.bad_input:
                raise
            faults.append(error)
    if not run_ids:
        raise faults[0]
    for left_out in faults:
        say(f"{left_out.fault.detail}: {left_out.fault.sentence()}")
    return run_ids


def _import_source(source: ImportSource, staging: Path, folder: Path, say: Say) -> str:
    draft_path = staging / "draft.duckdb"
    try:
        content = _hash_of(source.files)
        with closing(DraftRecording(draft_path)) as draft:
            imported = _READERS[source.kind](source, draft, say)
            if not draft.num_episodes and not draft.num_scalars:
                raise FaultError(
                    Fault(
                        f"{source.name} was not imported",
                        "it holds no episode",
                        "Choose another file",
                        str(source.files[0]),
                        bad_input=True,
                    )
                )
            run_id = _run_id(imported.started_unix_s, source.name, content, [folder, staging], say)
            origin: dict[str, object] = {
                "imported_from": [str(path) for path in source.files[:100]],
                "content_sha256": content,
            }
            draft.finish(run_id, source.name, source.kind, imported, origin)
        draft_path.rename(staging / f"{run_id}.duckdb")
        return run_id
    except OSError as error:
        raise FaultError(_reading_fault(source, error)) from error
    except duckdb.Error as error:
        raise FaultError(_recording_fault(source, folder, error)) from error
    finally:
        for part in staging.glob("draft.duckdb*"):
            shutil.rmtree(part) if part.is_dir() else part.unlink()


def _run_id(started: float, name: str, content: str, folders: Sequence[Path], say: Say) -> str:
    """Make an id that sorts by the run's start, and ends with a hash by which copies are found."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "imported"
    short = content[:8]
    taken = [path for folder in folders for path in folder.glob(f"*-{short}*.duckdb")]
    for path in sorted(taken):
        if _content_of(path) == content:
            say(f"{name}: the same files are in the library already, as {path.stem}")
            break
    try:
        when = datetime.fromtimestamp(started, UTC)
    except (ValueError, OverflowError, OSError):
        when = datetime.fromtimestamp(0, UTC)
    first = f"{when:%Y%m%d-%H%M%S}-{slug}-{short}"
    run_id, count = first, 1
    while any((folder / f"{run_id}.duckdb").exists() for folder in folders):
        count += 1
        run_id = f"{first}-{count}"
    return run_id


def _content_of(path: Path) -> str | None:
    """Read the hash of the files that a recording was made of; None if it was not imported."""
    try:
        with closing(connect(path, read_only=True)) as connection:
            (text,) = connection.execute("SELECT machine_json FROM run").fetchone()
        found = json.loads(text).get("content_sha256")
    except (duckdb.Error, TypeError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None


def _hash_of(files: Sequence[Path]) -> str:
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.stat().st_size}:".encode())
        with path.open("rb") as file:
            while piece := file.read(_READ_BYTES):
                whole.update(piece)
    return whole.hexdigest()


def _delete_abandoned(folder: Path) -> None:
    """Delete what killed imports have left behind, once it is a day old."""
    for stale in folder.glob(".import-*.partial"):
        with contextlib.suppress(OSError):
            newest_s = max(part.stat().st_mtime for part in (stale, *stale.iterdir()))
            if time.time() - newest_s > _STALE_S:
                shutil.rmtree(stale, ignore_errors=True)


def _reading_fault(source: ImportSource, error: OSError) -> Fault:
    return Fault(
        f"{source.name} was not imported",
        error.strerror or str(error),
        "Look whether the file can be read, and whether the disk is full",
        f"{error.filename or source.folder}\n{error}",
    )


def _recording_fault(source: ImportSource, folder: Path, error: duckdb.Error) -> Fault:
    found = diagnose(error)
    return Fault(
        f"{source.name} was not imported",
        found.reason,
        "Free some space" if found.kind is FaultKind.DISK_FULL else found.remedy,
        f"{folder}\n{error}",
        kind=found.kind,
    )


def _writing_fault(folder: Path, error: OSError) -> Fault:
    return Fault(
        "Nothing was imported",
        f"{folder}: {error.strerror or error}",
        "Make the folder writable or free some space, or choose another with RAYDASH_DATA_DIR",
        str(error),
    )
