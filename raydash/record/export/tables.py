"""Exports tables as CSV or Parquet; DuckDB writes both, a row group at a time."""

from pathlib import Path

from raydash.core.library import ExportFormat
from raydash.core.states import Ending
from raydash.record.file.schema import Connection

FORMATS = (ExportFormat.CSV, ExportFormat.PARQUET)
OTHER_TABLES = (
    "run", "incarnations", "worker_totals", "agent_episodes", "agent_totals", "generations",
    "evaluation_episodes", "learner_totals", "events", "commits", "history", "history_scalars",
    "scalars",
)  # fmt: skip
"""The tables of a recording besides `episodes`."""

_OPTIONS = {
    ExportFormat.CSV: "FORMAT csv, HEADER true",
    ExportFormat.PARQUET: "FORMAT parquet, COMPRESSION zstd",
}


def write(
    connection: Connection, format: ExportFormat, target: Path, *, all_tables: bool = False
) -> None:
    """Write `episodes` to `target`, and the other tables beside it if they are wanted.

    Each episode also carries what is the same for all of them, `run_id`, `env_id` and the run's
    `seed`, so that files of several runs can be combined.

    Raises:
        duckdb.Error: if the recording can't be read or the file not written.
    """
    _copy(connection, format, "episodes", target)
    for table in OTHER_TABLES if all_tables else ():
        _copy(connection, format, table, path_of_table(target, table))


def path_of_table(target: Path, table: str) -> Path:
    """Return the path at which a table other than `episodes` is written."""
    return target.with_name(f"{target.stem}.{table}{target.suffix}")


def ending_words(column: str = "ending") -> str:
    """Build SQL that gives an ending's name; NULL where the ending is not known."""
    cases = " ".join(f"WHEN {int(kind)} THEN '{kind.name.lower()}'" for kind in Ending)
    return f"CASE {column} {cases} END"


def columns_of(connection: Connection, table: str) -> dict[str, str]:
    """Map a table's columns to their types; empty if an older raydash had no such table."""
    rows = connection.execute(
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_name = ? ORDER BY ordinal_position",
        [table],
    ).fetchall()
    return dict(rows)


def _copy(connection: Connection, format: ExportFormat, table: str, target: Path) -> None:
    columns = columns_of(connection, table)
    chosen = [
        f'{_value(format, table, name, type_name)} AS "{name}"'
        for name, type_name in columns.items()
        if not (format is ExportFormat.CSV and type_name == "BLOB")
    ]
    source = f'"{table}"'
    if table == "episodes":
        chosen += ["run.run_id", "run.env_id", "run.seed"]
        source += ", run"
    query = (
        f"SELECT {', '.join(chosen)} FROM {source}" if columns else "SELECT 1 AS nothing LIMIT 0"
    )
    place = str(target).replace("'", "''")
    # The target is in a temporary folder already.
    connection.execute(f"COPY ({query}) TO '{place}' ({_OPTIONS[format]}, USE_TMP_FILE false)")


def _value(format: ExportFormat, table: str, name: str, type_name: str) -> str:
    column = f'"{table}"."{name}"'
    if name == "ending":
        return ending_words(column)
    if format is ExportFormat.CSV:
        if type_name in ("DOUBLE", "FLOAT"):
            # This is the spelling that pandas and polars both read as a number.
            return f"CASE WHEN isnan({column}) THEN 'NaN' ELSE {column}::VARCHAR END"
        if type_name.endswith("[]") or type_name.startswith("MAP"):
            return f"to_json({column})"
    return column
