"""Ray's temp folder, which has a short, new name below a folder that only its owner can enter.

Ray opens its temp folder to everybody (0777), and a token does not protect sockets and logs.
Standard library only: the guardian imports it.
"""

import contextlib
import os
import secrets
import shutil
import stat
from pathlib import Path

from raydash.core.faults import Fault, FaultError

_MAX_LENGTH = 43
"""A socket's path may have 107 bytes, 64 of which are Ray's own part:
https://github.com/ray-project/ray/issues/7945"""


def make_temp_dir(root: Path) -> Path:
    """Make a new folder `<root>/raydash-<uid>/<8 hex>`.

    Raises:
        FaultError: if it would not be safe, or have too long a name.
        OSError: if it can't be made.
    """
    parent = root / f"raydash-{os.getuid()}"
    temp_dir = parent / secrets.token_hex(4)
    if len(os.fsencode(temp_dir)) > _MAX_LENGTH:
        raise FaultError(
            Fault(
                "Ray's temp folder has too long a name",
                f"{temp_dir} has more than {_MAX_LENGTH} characters",
                "Use a shorter temp folder",
            ),
        )
    for last_try in (False, False, True):
        _make_private(parent)
        try:
            temp_dir.mkdir(mode=0o700)
            break
        except FileNotFoundError:  # another cluster that just ended removed the parent
            if last_try:
                raise
    return temp_dir


def remove_temp_dir(temp_dir: Path) -> None:
    """Remove a folder that `make_temp_dir` made, and its parent once that is empty."""
    parent = temp_dir.parent
    if parent.name != f"raydash-{os.getuid()}" or parent.is_symlink():
        return
    shutil.rmtree(temp_dir, ignore_errors=True)
    with contextlib.suppress(OSError):
        parent.rmdir()


def _make_private(parent: Path) -> None:
    with contextlib.suppress(FileExistsError):
        parent.mkdir(mode=0o700)
    found = parent.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise FaultError(
            Fault(
                "Ray's temp folder is not safe to use",
                f"{parent} is a link or belongs to somebody else",
                f"Remove {parent}",
            ),
        )
    parent.chmod(0o700)
