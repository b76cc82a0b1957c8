"""Exports a recording as one JSON document.

JSON can't express numbers that are not finite, so NaN becomes null, and an infinite number the
string `"inf"` or `"-inf"`. Columns are written one after the other, a piece at a time.
"""

import json
import math
from pathlib import Path
from typing import IO, Any

from raydash.core.analysis.run_table import RunFacts
from raydash.core.library import RunSource
from raydash.record.export.batches import batches
from raydash.record.export.tables import columns_of, ending_words
from raydash.record.file.schema import Connection
from raydash.record.read import query
from raydash.record.read.generations import learning_figures
from raydash.record.read.named_values import NamedValueReader
from raydash.record.read.query import EVENTS, WORKERS, num_restarts

FORMAT = "raydash-recording"
_STREAMED = ("episodes", "agent_episodes", "generations", "evaluation_episodes", "scalars")


def write(connection: Connection, path: Path, target: Path) -> None:
    """Write the document to `target`.

    Keys: `format`, `run` (the row of that table), `spec`, `figures` (as `raydash run --json` has
    them), and the tables `workers`, `events`, `episodes`, `agent_episodes`, `generations`,
    `evaluation_episodes` and `scalars`, each an object of columns.

    Raises:
        OSError, duckdb.Error: if the recording can't be read or the file not written.
    """
    run = _run(connection)
    spec = json.loads(run.pop("spec_json"))
    versions, machine = json.loads(run.pop("versions_json")), json.loads(run.pop("machine_json"))
    head = {
        "format": FORMAT,
        "run": {**run, "versions": versions, "machine": machine},
        "spec": spec,
        "figures": figures_table(connection, path),
        "workers": _columns(connection, WORKERS),
        "events": _columns(connection, EVENTS),
    }
    with target.open("w", encoding="utf-8") as file:
        file.write("{")
        for key, value in head.items():
            file.write(f"{json.dumps(key)}: {_json(value)},\n")
        for place, table in enumerate(_STREAMED):
            file.write(",\n" if place else "")
            _stream(connection, table, file)
        file.write("}\n")


def figures_table(connection: Connection, path: Path) -> dict[str, object]:
    """Read the figures of the whole run under the names of `raydash run --json`."""
    known = query.figures_of(connection)
    run = _run(connection)
    was_ours = run.get("source") in (None, RunSource.RAYDASH)
    (wanted,) = connection.execute("SELECT arg_max(num_workers, number) FROM commits").fetchone()
    (num_workers,) = connection.execute(
        "SELECT count(DISTINCT worker_index) FROM worker_totals"
    ).fetchone()
    named = NamedValueReader(connection)
    return RunFacts(
        run_id=known.run_id,
        env_id=known.env_id,
        num_workers=num_workers if wanted is None else wanted,
        seed=run["seed"],
        spec=json.loads(run["spec_json"]) if was_ours else None,
        figures=known,
        scalars=named.scalars(),
        agents=named.agents(),
        learning=learning_figures(connection, path),
        num_restarts=num_restarts(connection),
        state=known.state,
        ended_by=known.ended_by,
        cause=known.cause,
        recording=str(path),
    ).table()


def _run(connection: Connection) -> dict[str, Any]:
    cursor = connection.execute("SELECT * FROM run")
    names = [column[0] for column in cursor.description]
    return dict(zip(names, cursor.fetchone(), strict=True))


def _columns(connection: Connection, sql: str) -> dict[str, list[Any]]:
    cursor = connection.execute(sql)
    names = [column[0] for column in cursor.description]
    rows = cursor.fetchall()
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _stream(connection: Connection, table: str, file: IO[str]) -> None:
    file.write(f"{json.dumps(table)}: {{")
    for place, name in enumerate(columns_of(connection, table)):
        is_ending = name == "ending"
        file.write(("" if place == 0 else ",") + f"\n{json.dumps(name)}: [")
        lead = ""
        for rows in batches(connection, table, ending_words() if is_ending else f'"{name}"'):
            file.write(lead + _json([value for (value,) in rows])[1:-1])
            lead = ", "
        file.write("]")
    file.write("}")


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:  # rare, and checking beforehand would take longer than writing
        return json.dumps(_json_safe(value), ensure_ascii=False, allow_nan=False)


def _json_safe(value: object) -> object:
    match value:
        case float() if not math.isfinite(value):
            return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
        case dict():
            return {key: _json_safe(part) for key, part in value.items()}
        case list():
            return [_json_safe(part) for part in value]
        case _:
            return value
