"""Writes files and folders that appear under their names once they are whole, or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from raydash.core.faults import Fault, FaultError
from raydash.record.file.database import wal_of

_OURS = (".monitor.csv", ".raydash")
"""How names of files end in folders that an export has written."""


@contextmanager
def staged_output(
    out: Path, names: Sequence[str], *, force: bool, recording: Path | None = None
) -> Iterator[Path]:
    """Provide a temporary folder beside `out`; what is in it at the end is moved to its place.

    Args:
        out: The file or folder that is to be written.
        names: The names of everything that will be written, `out` among them, all in one folder.
        force: Replace what is there.
        recording: A file that must never be replaced.

    Raises:
        FaultError: if something is in the way, or the disk refuses it.
    """
    _check(out, names, force=force, recording=recording)
    try:
        # On the same disk, so that moving is renaming; hidden, so that nobody uses it half-written.
        staging = Path(tempfile.mkdtemp(".partial", f".{out.name[:40]}.", out.parent))
    except OSError as error:
        raise FaultError(_writing_fault(out, error)) from error
    try:
        yield staging
        _check(out, names, force=force, recording=recording)
        for name in names:
            new, place = staging / name, out.parent / name
            _sync(new)
            _move(new, place, aside=staging.with_suffix(".replaced"))
    except OSError as error:
        raise FaultError(_writing_fault(out, error)) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check(out: Path, names: Sequence[str], *, force: bool, recording: Path | None) -> None:
    if not out.name:
        raise FaultError(_refused(out, f"{out} is no file", "Name the file to write"))
    if not out.parent.is_dir():
        if out.parent.exists():
            raise FaultError(_refused(out, f"{out.parent} is no folder", "Choose another place"))
        why = f"there is no folder {out.parent}"
        raise FaultError(_refused(out, why, "Make it, or choose another place"))
    for name in names:
        place = out.parent / name
        if not os.path.lexists(place):
            continue
        if not force:
            why = f"{place} is there already"
            raise FaultError(_refused(out, why, "Choose another name, or replace it with --force"))
        mine = [recording, wal_of(recording)] if recording else []
        if any(each.exists() and place.samefile(each) for each in mine if place.exists()):
            raise FaultError(_refused(out, "that is the recording itself", "Choose another name"))
        if place.is_dir() and not place.is_symlink() and not _is_ours(place):
            why = f"{place} is a folder with other things in it"
            raise FaultError(_refused(out, why, "Choose another name"))


def _move(new: Path, place: Path, *, aside: Path) -> None:
    """Move what was written to its place.

    A folder can't be replaced in one step, so the one that is there waits as `aside`, and comes
    back if the new one can't be moved.
    """
    if not place.is_dir():
        new.replace(place)
        return
    place.rename(aside)
    try:
        new.replace(place)
    except BaseException:
        aside.rename(place)
        raise
    if aside.is_symlink():
        aside.unlink()
    else:
        shutil.rmtree(aside, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    """Tell whether a folder is empty, or holds nothing but what an export writes."""
    return all(
        entry.is_file() and (entry.name.endswith(_OURS) or ".tfevents." in entry.name)
        for entry in folder.iterdir()
    )


def _sync(path: Path) -> None:
    """Flush files to the disk, which may report only now that it is full."""
    for part in path.iterdir() if path.is_dir() else [path]:
        with part.open("rb") as file:
            os.fsync(file.fileno())


_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors that are the disk's fault, not that of the user who chose the place."""


def _refused(out: Path, why: str, remedy: str) -> Fault:
    return Fault(f"{out.name or out} was not written", why, remedy, str(out), bad_input=True)


def _writing_fault(out: Path, error: OSError) -> Fault:
    reasons = {
        errno.ENOSPC: ("the disk is full", "Free some space, or choose another place"),
        errno.EDQUOT: ("your share of the disk is full", "Free some space"),
        errno.EFBIG: ("the file would be too large for this disk", "Choose another place"),
        errno.EACCES: ("the folder is not writable", "Choose another place"),
        errno.EPERM: ("the folder is not writable", "Choose another place"),
        errno.EROFS: ("the disk is read-only", "Choose another place"),
        errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter one"),
    }
    unknown = (error.strerror or str(error), "Choose another place")
    why, remedy = reasons.get(error.errno or 0, unknown)
    is_place = error.errno not in _DISK
    return Fault(f"{out.name} was not written", why, remedy, f"{out}\n{error}", bad_input=is_place)
