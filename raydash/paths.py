"""The folders that raydash writes to. An environment variable can move each of them."""

import os
from pathlib import Path

import platformdirs


def _place(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or default).expanduser().absolute()


def data_dir() -> Path:
    """The folder of recordings and of the worker logs beside them: `RAYDASH_DATA_DIR`."""
    return _place("RAYDASH_DATA_DIR", platformdirs.user_data_dir("raydash", appauthor=False))


def state_dir() -> Path:
    """The folder of logs, window geometry and the launched cluster: `RAYDASH_STATE_DIR`.

    It has to be on a local disk.
    """
    return _place("RAYDASH_STATE_DIR", platformdirs.user_state_dir("raydash", appauthor=False))


def cache_dir() -> Path:
    """The folder of our processes' byte-code: `RAYDASH_CACHE_DIR`. May be deleted at any time."""
    return _place("RAYDASH_CACHE_DIR", platformdirs.user_cache_dir("raydash", appauthor=False))
