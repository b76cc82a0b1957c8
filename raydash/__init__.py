"""raydash: a window that launches, controls and live-plots rollouts on Ray."""

from pathlib import Path
from typing import TYPE_CHECKING

from raydash.version import __version__

if TYPE_CHECKING:
    from raydash.record.opened_run import OpenedRun

__all__ = ["__version__", "open_run"]


def open_run(path_or_id: str | Path) -> "OpenedRun":
    """Open a recording for one's own analysis, read-only.

    ::

        with raydash.open_run("20261122-1015") as run:
            print(run.figures.episode_return_mean)
            returns = run.returns()  # NumPy, shape (episodes,)
            run.sql("SELECT worker_index, max(episode_return) FROM episodes GROUP BY ALL").show()

    Args:
        path_or_id: A recording's file, a run's id, or a unique beginning of one (then the library
            in `RAYDASH_DATA_DIR`, or the user's data folder, is searched).

    Returns:
        The opened run; close it, or use it as a context manager. Of a live run it is a copy, which
        does not grow.

    Raises:
        raydash.core.faults.FaultError: if there is no such run, or its file can't be read.
    """
    # Imported when it is needed, so that `import raydash` is instant.
    from raydash.record.opened_run import open_run

    return open_run(path_or_id)
