"""Ray's temp folder: short, fresh, and below a folder that only its owner can enter.

Ray gives its own temp folder to everybody (0777), and a token does not protect sockets and logs.
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
"""Ray's part of its sockets' names takes 64 of the 107 bytes that they may have:
https://github.com/ray-project/ray/issues/7945"""


def make_temp_dir(root: Path) -> Path:
    """A new `<root>/raydash-<uid>/<8 hex>`.

    Raises:
        FaultError: if that would not be safe, or too long.
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
    """Remove it, and its parent when that was the last; nothing that is not one of ours."""
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
