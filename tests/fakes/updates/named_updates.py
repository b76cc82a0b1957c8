"""Handmade updates of a run whose episodes have named scalars and agents."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from raydash.core.records import agent_return_name
from raydash.core.updates import AgentFigures, HistoryDelta, RunUpdate, ScalarFigures
from raydash.link.store import RunStore, Store
from tests.fakes.updates.updates import RUN_ID, make_update

AGENTS = ("walker_0", "walker_1")


def with_names(
    update: RunUpdate, scalars: Sequence[str] = ("is_success", "score"), agents: Sequence[str] = ()
) -> RunUpdate:
    """Add scalars: success grows with the return, agents share it, others are a tenth of it."""
    names = (*scalars, *(agent_return_name(agent) for agent in agents))

    def column(delta: HistoryDelta, name: str) -> Any:
        if name == "is_success":
            return np.clip(delta.return_mean / 200, 0, 1)
        return delta.return_mean / (2 if "/" in name else 10)

    def named(delta: HistoryDelta) -> HistoryDelta:
        columns = [column(delta, name) for name in names]
        return replace(
            delta,
            scalar_names=names,
            scalar_mean=np.array(columns, np.float32).reshape(len(names), len(delta)).T.copy(),
        )

    count = len(scalars)
    figures = ScalarFigures(
        tuple(scalars), np.full(count, 0.5), np.full(count, 0.83), np.full(count, 1000)
    )
    found = None
    if agents:
        numbers = np.arange(1, len(agents) + 1)
        found = AgentFigures(
            tuple(agents),
            1000 * numbers,
            10.0 * numbers.astype(np.float64),
            12.0 * numbers.astype(np.float64),
            50 * numbers,
        )
    return replace(
        update,
        recent=named(update.recent),
        whole=named(update.whole),
        scalars=figures,
        agents=found,
    )


def make_named_store(**names: Sequence[str]) -> tuple[Store, RunStore]:
    """A store that shows a run of eight workers with these `scalars` and `agents`."""
    store = Store(clock=lambda: 600.0)
    store.receive(with_names(make_update(), **names))
    store.show_run(RUN_ID)
    run = store.shown
    assert run is not None
    return store, run
