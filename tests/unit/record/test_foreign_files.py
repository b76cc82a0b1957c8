"""A file that only looks like a recording can't make raydash read anything else."""

from pathlib import Path

import duckdb
import pytest

import raydash
from raydash.core.faults import FaultError
from raydash.record.file.schema import DDL
from raydash.record.read.query import figures
from raydash.record.read.restore import restore


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """Make a database whose `run` is a view of another file."""
    path = tmp_path / "trap.duckdb"
    (tmp_path / "secret.csv").write_text("run_id\nsecret\n")
    with duckdb.connect(str(path)) as connection:
        connection.execute(DDL)
        connection.execute("DROP TABLE run")
        connection.execute(f"CREATE VIEW run AS FROM read_csv('{tmp_path / 'secret.csv'}')")
    return path


@pytest.mark.parametrize("read", [figures, raydash.open_run, restore])
def test_a_view_in_place_of_a_table_is_refused(read: object, trap: Path) -> None:
    assert callable(read)
    with pytest.raises(FaultError) as caught:
        read(trap)
    assert "raydash did not make it" in caught.value.fault.sentence()
    assert trap.exists()
