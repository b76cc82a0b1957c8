"""Worker output in the engine's log: tagged, folded, bounded."""

from pathlib import Path

from raydash.engine.worker_output import MAX_LINES_PER_LOOK, WorkerOutput, folded
from raydash.worker.tag import TAG


def test_each_line_says_who_printed_it() -> None:
    assert folded("run worker 3", ["a", "b"]) == (["[run worker 3] a", "[run worker 3] b"], 0)


def test_like_lines_in_a_row_become_one_with_a_count() -> None:
    assert folded("w", ["a", "a", "a", "b"]) == (["[w] a  (x 3)", "[w] b"], 2)


def test_a_flood_is_cut_off_and_what_is_missing_is_counted() -> None:
    said, left_out = folded("w", [str(n) for n in range(1000)])
    assert len(said) == MAX_LINES_PER_LOOK + 1
    assert said[-1] == f"[w] ({1000 - MAX_LINES_PER_LOOK} more lines folded away)"
    assert left_out == 1000 - MAX_LINES_PER_LOOK


def test_only_whole_lines_of_workers_are_read_and_each_once(tmp_path: Path) -> None:
    said: list[str] = []
    output = WorkerOutput(tmp_path, said.append)
    file = tmp_path / "worker-1-01000000-77.out"
    (tmp_path / "worker-2-01000000-78.out").write_text("no worker of ours\n")
    (tmp_path / "raylet.out").write_text("nobody reads this\n")
    file.write_text(f":job_id:01\n{TAG}r worker 1\nhel")
    output.look()
    assert said == []
    with file.open("a") as stream:
        stream.write("lo\nhello\n\n")
    output.look()
    output.look()
    assert said == ["[r worker 1] hello  (x 2)"]
    assert output.num_folded == 1
