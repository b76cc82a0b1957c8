"""Worker output in the engine's log: tagged, folded, bounded."""

from pathlib import Path

from raydash.engine.cluster.worker_output import (
    MAX_LINES_PER_POLL,
    MAX_READ_BYTES,
    WorkerOutput,
    fold_lines,
)
from raydash.worker.node.tag import TAG


def test_each_line_says_who_printed_it() -> None:
    assert fold_lines("run worker 3", ["a", "b"]) == (["[run worker 3] a", "[run worker 3] b"], 0)


def test_like_lines_in_a_row_become_one_with_a_count() -> None:
    assert fold_lines("w", ["a", "a", "a", "b"]) == (["[w] a  (x 3)", "[w] b"], 2)


def test_a_flood_is_cut_off_and_what_is_missing_is_counted() -> None:
    logged, left_out = fold_lines("w", [str(n) for n in range(1000)])
    assert len(logged) == MAX_LINES_PER_POLL + 1
    assert logged[-1] == f"[w] ({1000 - MAX_LINES_PER_POLL} more lines folded away)"
    assert left_out == 1000 - MAX_LINES_PER_POLL


def test_only_whole_lines_of_workers_are_read_and_each_once(tmp_path: Path) -> None:
    logged: list[str] = []
    output = WorkerOutput(tmp_path, logged.append)
    file = tmp_path / "worker-1-01000000-77.out"
    (tmp_path / "worker-2-01000000-78.out").write_text("no worker of ours\n")
    (tmp_path / "raylet.out").write_text("nobody reads this\n")
    file.write_text(f":job_id:01\n{TAG}r worker 1\nhel")
    output.poll()
    assert logged == []
    with file.open("a") as stream:
        stream.write("lo\nhello\n\n")
    output.poll()
    output.poll()
    assert logged == ["[r worker 1] hello  (x 2)"]
    assert output.num_folded == 1


def test_worker_that_prints_more_than_is_read_is_known_by_its_first_line(tmp_path: Path) -> None:
    logged: list[str] = []
    output = WorkerOutput(tmp_path, logged.append)
    file = tmp_path / "worker-1-01000000-77.out"
    flood = "a line that is printed over and over again\n" * 10_000
    assert len(flood) > MAX_READ_BYTES
    file.write_text(f"{TAG}r worker 1\n{flood}last")
    output.poll()
    with file.open("a") as stream:
        stream.write(f" one\n{flood}")
    output.poll()
    assert [line.partition("  (x ")[0] for line in logged] == [
        "[r worker 1] a line that is printed over and over again"
    ] * 2


def test_flood_on_stderr_leaves_room_for_what_is_printed_on_stdout(tmp_path: Path) -> None:
    logged: list[str] = []
    output = WorkerOutput(tmp_path, logged.append)
    (tmp_path / "worker-1-01000000-77.out").write_text(f"{TAG}r worker 1\nhello\n")
    flood = "".join(f"{n}\n" for n in range(1000))
    (tmp_path / "worker-1-01000000-77.err").write_text(f"{TAG}r worker 1\n{flood}")
    output.poll()
    assert logged[-1] == "[r worker 1] hello"
    assert len(logged) == MAX_LINES_PER_POLL + 2


def test_lines_after_a_skipped_flood_are_not_credited_to_the_last_known_worker(
    tmp_path: Path,
) -> None:
    logged: list[str] = []
    output = WorkerOutput(tmp_path, logged.append)
    one, other = (f"{TAG}r worker {number}\n" for number in (1, 2))
    flood = "b\n" * MAX_READ_BYTES
    file = tmp_path / "worker-1-01000000-77.out"
    file.write_text(f"{one}a\n{other}b\n")
    output.poll()
    with file.open("a") as stream:
        stream.write(f"{one}a\n{other}{flood}{one}c\n")
    output.poll()
    assert logged == ["[r worker 1] a", "[r worker 2] b", "[r worker 1] c"]


def test_workers_that_take_turns_in_one_process_are_told_apart(tmp_path: Path) -> None:
    """Tasks do that: the next line of a file may be of another worker than the last one."""
    logged: list[str] = []
    output = WorkerOutput(tmp_path, logged.append)
    one, other = (f"{TAG}r worker {number}\n" for number in (1, 2))
    nobody = f"{TAG}r tasks\n"
    (tmp_path / "worker-1-01000000-77.out").write_text(
        f"before\n{one}a\n{nobody}{other}b\n{nobody}native\n{one}a\n{nobody}"
    )
    (tmp_path / "worker-2-01000000-78.out").write_text(f"{one}a\n{nobody}{other}c\n{nobody}")
    output.poll()
    assert logged == [
        "[r worker 1] a  (x 3)",
        "[r worker 2] b",
        "[r worker 2] c",
        "[r tasks] native",
    ]
