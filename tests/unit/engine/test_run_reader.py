"""A pull that Ray never answers is not waited for without end."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from raydash.engine.runs import live_runs
from raydash.engine.runs.live_runs import PullResult, RunReader


def test_a_pull_that_takes_too_long_is_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(live_runs, "time", SimpleNamespace(monotonic=lambda: now_s))
    asked: list[Future[Any]] = []

    def remote(*_: object) -> SimpleNamespace:
        asked.append(Future())
        return SimpleNamespace(future=lambda: asked[-1])

    results: list[PullResult] = []
    handle = SimpleNamespace(pull=SimpleNamespace(remote=remote))
    reader = RunReader("run", handle, "me", lambda _, pulled: results.append(pulled))

    def is_overdue() -> bool:
        # mypy takes what was asserted of a property for lasting, but not what a function gave.
        return reader.is_overdue

    assert not is_overdue()
    reader.pull()
    now_s += live_runs.OVERDUE_S
    assert not is_overdue()
    now_s += 0.1
    assert is_overdue()

    asked[0].set_result((0, 1, False, []))
    reader.add_result(results[0])
    assert not is_overdue()
