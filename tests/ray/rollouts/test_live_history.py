"""A part of a live run's history, asked of its supervisor through a real engine."""

from raydash.core.messages import HistoryRange, OpenRecording, QueryHistory
from tests.fakes.engines.terminal import Terminal


def test_a_live_run_answers_for_any_part_of_its_history(terminal: Terminal) -> None:
    run = terminal.start_stepping()
    terminal.wait(lambda: run.is_committed(3.0), "three seconds of steps")
    number = terminal.client.send(QueryHistory(0, run.run_id, 0.0, run.latest.t_s, 4))
    parts: list[HistoryRange] = []
    for message in terminal.client.messages(30.0):
        if isinstance(message, HistoryRange):
            parts.append(message)
        terminal._take(message)
        if parts:
            break
    assert terminal.answer_to(number).fault is None
    (part,) = parts
    assert part.run_id == run.run_id
    assert 0 < len(part.history) <= 4
    counted = int(part.history.return_n.sum())
    assert 0 < counted <= run.latest.figures.num_episodes_lifetime
    assert part.history.worker_steps.shape[1] == 2


def test_opening_a_run_that_is_live_here_attaches_to_it(terminal: Terminal) -> None:
    run = terminal.start_stepping()
    before = run.snapshots
    answer = terminal.done(OpenRecording(0, run.run_id))
    assert answer.run_id == run.run_id
    terminal.wait(lambda: run.snapshots > before, "a snapshot of the live run")
    assert not run.latest.last
