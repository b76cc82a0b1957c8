"""Where raydash writes. Every place can be moved by an environment variable."""

import os
from pathlib import Path

import platformdirs


def _place(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or default).expanduser().absolute()


def data_dir() -> Path:
    """Recordings and the worker logs kept beside them: `RAYDASH_DATA_DIR`."""
    return _place("RAYDASH_DATA_DIR", platformdirs.user_data_dir("raydash", appauthor=False))


def state_dir() -> Path:
    """Logs, window geometry, the launched cluster's folder: `RAYDASH_STATE_DIR`. Local disk."""
    return _place("RAYDASH_STATE_DIR", platformdirs.user_state_dir("raydash", appauthor=False))


def cache_dir() -> Path:
    """Byte-code of the processes we start: `RAYDASH_CACHE_DIR`. May be deleted at any time."""
    return _place("RAYDASH_CACHE_DIR", platformdirs.user_cache_dir("raydash", appauthor=False))
