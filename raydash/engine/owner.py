"""The owner that our runs get, in a module of its own because the terminal has no Ray."""

import getpass
import os
import socket


def owner() -> str:
    """Name the current user as `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
