"""The connection's state machine: each transition, and any interleaving of user and engines."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydash.core.spec import ClusterSpec
from raydash.link.connection import ClusterConnection, ConnectionState, Step

HERE, THERE = ClusterSpec(), ClusterSpec(address="10.0.0.5:6379")
IDLE, WAITING, CONNECTING, CONNECTED, ON_HOLD = ConnectionState

EVENTS: dict[str, Callable[[ClusterConnection], Step | None]] = {
    "request": lambda connection: connection.request(THERE),
    "cancel": lambda connection: connection.cancel(),
    "ready": lambda connection: connection.on_engine_ready(),
    "gone": lambda connection: connection.on_engine_gone(),
    "accepted": lambda connection: connection.on_connect_answered(accepted=True),
    "refused": lambda connection: connection.on_connect_answered(accepted=False),
    "lost": lambda connection: connection.on_cluster_lost(),
}
PATHS = {
    "idle": (),
    "idle with an engine": ("ready",),
    "idle after cancel": ("ready", "request", "cancel"),
    "waiting": ("request",),
    "waiting for another engine": ("ready", "request", "request"),
    "connecting": ("request", "ready"),
    "connected": ("request", "ready", "accepted"),
    "on hold": ("request", "ready", "accepted", "lost"),
    "on hold with a new engine": ("request", "ready", "accepted", "lost", "gone", "ready"),
    "waiting after a hold": ("request", "ready", "refused", "gone", "ready", "request"),
}
STAYS = None, None
TRANSITIONS: dict[str, dict[str, tuple[ConnectionState | None, Step | None]]] = {
    "idle": {"request": (WAITING, None)},
    "idle with an engine": {"request": (CONNECTING, Step.CONNECT)},
    "idle after cancel": {"request": (WAITING, None)},
    "waiting": {"cancel": (IDLE, None), "ready": (CONNECTING, Step.CONNECT)},
    "waiting for another engine": {"cancel": (IDLE, None), "ready": (CONNECTING, Step.CONNECT)},
    "connecting": {
        "request": (WAITING, Step.REPLACE_ENGINE),
        "cancel": (IDLE, Step.END_ENGINE),
        "gone": (WAITING, None),
        "accepted": (CONNECTED, Step.USE_CLUSTER),
        "refused": (ON_HOLD, Step.REPORT),
        "lost": (ON_HOLD, Step.REPORT),
    },
    "connected": {
        "request": (WAITING, Step.REPLACE_ENGINE),
        "gone": (WAITING, None),
        "lost": (ON_HOLD, Step.REPORT),
    },
    "on hold": {"request": (WAITING, Step.REPLACE_ENGINE)},
    "on hold with a new engine": {"request": (WAITING, Step.REPLACE_ENGINE)},
    "waiting after a hold": {"cancel": (IDLE, None), "ready": (CONNECTING, Step.CONNECT)},
}


def after(*events: str) -> ClusterConnection:
    connection = ClusterConnection()
    for event in events:
        EVENTS[event](connection)
    return connection


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("place", PATHS)
def test_each_event_leads_where_the_diagram_says(place: str, event: str) -> None:
    connection = after(*PATHS[place])
    before = connection.state
    state, step = TRANSITIONS[place].get(event, STAYS)
    assert EVENTS[event](connection) is step
    assert connection.state is (state or before)


def test_planned_cluster_counts_until_one_is_asked_for() -> None:
    connection = ClusterConnection()
    assert connection.spec == HERE
    connection.plan(THERE)
    assert connection.spec == THERE
    connection.request(HERE)
    assert connection.spec == HERE
    connection.cancel()
    assert connection.spec == THERE


class Window:
    """A connection, with the engines that it is told of and the cluster that each was asked for.

    An engine connects once. One that was told to end, or replaced, may say and do things until it
    is gone; each answers its connect once, and what is left unanswered fails when it is gone.
    """

    def __init__(self) -> None:
        self.connection = ClusterConnection()
        self.wanted: ClusterSpec | None = None
        self.is_ready = False
        self.is_leaving = False
        self.asked: ClusterSpec | None = None
        self.unanswered = False
        self.connected_to: ClusterSpec | None = None

    def request(self, spec: ClusterSpec) -> None:
        self.wanted = spec
        self.do(self.connection.request(spec))

    def cancel(self) -> None:
        step = self.connection.cancel()
        if self.connection.state is IDLE:
            self.wanted = None
        self.do(step)

    def engine_becomes_ready(self) -> None:
        if not self.is_ready:
            self.is_ready, self.is_leaving, self.asked = True, False, None
            self.do(self.connection.on_engine_ready())

    def engine_goes(self) -> None:
        self.is_ready, self.connected_to = False, None
        self.connection.on_engine_gone()
        self.answer(accepted=False)

    def answer(self, *, accepted: bool) -> None:
        if self.unanswered:
            self.unanswered = False
            self.connected_to = self.asked if accepted else None
            self.do(self.connection.on_connect_answered(accepted=accepted))

    def cluster_is_lost(self) -> None:
        if self.connected_to is not None:
            self.connected_to = None
            self.do(self.connection.on_cluster_lost())

    def do(self, step: Step | None) -> None:
        match step:
            case Step.CONNECT:
                assert self.is_ready, "only an engine that is there can connect"
                assert not self.is_leaving, "an engine that was told to end is not asked"
                assert self.asked is None, "an engine connects once"
                assert self.connection.spec == self.wanted
                self.asked, self.unanswered = self.wanted, True
            case Step.REPLACE_ENGINE | Step.END_ENGINE:
                self.is_leaving = self.is_ready
            case Step.USE_CLUSTER:
                assert self.connected_to == self.wanted
                assert not self.is_leaving, "what an engine that leaves says does not count"
            case Step.REPORT:
                assert self.wanted is not None
                assert not self.is_leaving, "what an engine that leaves says does not count"

    def check(self) -> None:
        state = self.connection.state
        assert (state is IDLE) == (self.wanted is None)
        if state is CONNECTED:
            assert self.is_ready
            assert not self.is_leaving
            assert self.connected_to == self.wanted == self.connection.spec
        if state is CONNECTING:
            assert self.unanswered
            assert self.asked == self.wanted
        if state is WAITING:
            usable = self.is_ready and not self.is_leaving and self.asked is None
            assert not usable, "an engine that could connect was left waiting"


ACTS: dict[str, Callable[[Window], None]] = {
    "request here": lambda window: window.request(HERE),
    "request there": lambda window: window.request(THERE),
    "cancel": Window.cancel,
    "ready": Window.engine_becomes_ready,
    "gone": Window.engine_goes,
    "accepted": lambda window: window.answer(accepted=True),
    "refused": lambda window: window.answer(accepted=False),
    "lost": Window.cluster_is_lost,
}


@settings(max_examples=200)
@given(st.lists(st.sampled_from(list(ACTS)), max_size=40))
def test_window_gets_the_cluster_it_asked_for_last_whatever_happens(acts: list[str]) -> None:
    window = Window()
    for act in acts:
        ACTS[act](window)
        window.check()
    window.request(THERE)
    window.engine_goes()
    window.engine_becomes_ready()
    window.answer(accepted=True)
    window.check()
    assert window.connection.is_connected
    assert window.connected_to == THERE
