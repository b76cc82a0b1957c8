"""Exports a recording as a folder of Stable-Baselines3 `monitor.csv` files, one per worker."""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from raydash.core.states import Ending
from raydash.core.words import plain
from raydash.record.export.anchors import ClockAnchors
from raydash.record.export.batches import batches
from raydash.record.file.schema import Connection


def write(connection: Connection, target: Path, say: Callable[[str], None]) -> None:
    """Write `target/N.monitor.csv` for every worker N.

    The first line is `#{"t_start": Unix time, "env_id": ...}`, the second the header `r,l,t`:
    return (exact), length, and seconds since `t_start` to the microsecond. Error episodes have no
    return and are left out; `say` is called with their number.

    Raises:
        OSError, duckdb.Error: if the recording can't be read or the folder not written.
    """
    target.mkdir()
    (env_id,) = connection.execute("SELECT env_id FROM run").fetchone()
    head = {"t_start": ClockAnchors(connection).start_unix_s, "env_id": env_id}
    workers = connection.execute(
        "SELECT worker_index FROM worker_totals UNION SELECT worker_index FROM episodes"
    ).fetchall()
    for (worker,) in workers:
        _file_of(target, worker).write_text(f"#{json.dumps(head)}\nr,l,t\n", encoding="utf-8")
    num_errors = 0
    columns = "worker_index, episode_return, episode_len, end_s, ending"
    for rows in batches(connection, "episodes", columns):
        lines: dict[int, list[str]] = defaultdict(list)
        for worker, episode_return, episode_len, end_s, ending in rows:
            if ending == Ending.ERROR:
                num_errors += 1
            else:
                lines[worker].append(f"{episode_return!r},{episode_len},{round(end_s, 6)!r}\n")
        for worker, text in lines.items():
            with _file_of(target, worker).open("a", encoding="utf-8") as file:
                file.writelines(text)
    if num_errors:
        say(
            f"{plain.plural(num_errors, 'episode')} that ended in an error"
            f" {'have' if num_errors > 1 else 'has'} no return and"
            f" {'were' if num_errors > 1 else 'was'} left out"
        )


def _file_of(folder: Path, worker_index: int) -> Path:
    return folder / f"{worker_index}.monitor.csv"
