"""Makes the engine of simulated runs."""

from pathlib import Path

from raydash.engine.commands.library_commands import LibraryFiles
from raydash.engine.engine import Engine
from raydash.engine.simulated.backend import SimulatedBackend
from raydash.engine.wire import Wire


def simulated_engine(wire: Wire, log_path: str) -> Engine:
    """Make an engine without Ray that serves the other end of `wire`."""
    return Engine(wire, log_path, SimulatedBackend(), open_library=_open_library)


def _open_library(data_dir: Path) -> LibraryFiles:
    """Open the library of a temporary folder, and leave nothing of it in any other folder."""
    from raydash.record.library.library import LibraryFolder

    return LibraryFolder(data_dir, cache_dir=data_dir / "cache", state_dir=data_dir)
