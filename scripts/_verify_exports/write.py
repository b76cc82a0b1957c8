"""Export a recording in every format, and write down what a reader must find: `expected.npz`."""

import sys
import tempfile
from pathlib import Path

import numpy as np

import raydash
from raydash.core.library import ExportFormat
from raydash.record.export.export import export
from tests.fakes.recordings.finished_run import mixed_episodes, record_run

NAMES = {
    ExportFormat.CSV: "run.csv",
    ExportFormat.PARQUET: "run.parquet",
    ExportFormat.JSON: "run.json",
    ExportFormat.MONITOR: "monitor",
    ExportFormat.TENSORBOARD: "tensorboard",
}


def write(recording: Path, out: Path, expected: dict[str, np.ndarray]) -> None:
    """Everything into the folder `out`."""
    out.mkdir()
    np.savez(out / "expected.npz", **expected)  # type: ignore[arg-type]  # its stub mixes up the keywords
    for format in ExportFormat:
        export(recording, format, out / NAMES[format], say=print)
    count = len(expected["ending"])
    print(f"{recording.name}: {count} episodes, {recording.stat().st_size} bytes")


def main(out: Path, recording: Path | None) -> None:
    """Of a recording that is made, its script is what is expected; of another, its rows."""
    names = ("worker_index", "episode_return", "episode_len", "ending")
    if recording is not None:
        with raydash.open_run(recording) as run:
            episodes = run.episodes()
            write(recording, out, {name: episodes[name] for name in names})
        return
    with tempfile.TemporaryDirectory() as made:
        script = mixed_episodes(20_000)
        path = record_run(Path(made) / "scripted.duckdb", script)
        write(path, out, {name: getattr(script, name) for name in names})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
