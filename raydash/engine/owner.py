"""Who we are among the owners of runs. Apart, because the terminal asks too, and has no Ray."""

import getpass
import os
import socket


def owner() -> str:
    """`user@host`, as lists of runs show it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
