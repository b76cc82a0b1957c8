"""Calls of an object in this process that look like those of a Ray actor."""

import threading
from collections.abc import Iterator

import pytest

from raydash.engine.simulated.local_actor import LocalActor, LocalActorDiedError

CEILING_S = 30.0


class Target:
    def __init__(self) -> None:
        self.calls: list[int] = []
        self.may_go_on = threading.Event()

    def add(self, number: int) -> int:
        self.calls.append(number)
        return len(self.calls)

    def fail(self) -> None:
        raise ValueError("it is broken")

    def wait(self) -> str:
        self.may_go_on.wait(CEILING_S)
        return threading.current_thread().name


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
def actor(target: Target) -> Iterator[LocalActor]:
    actor = LocalActor(target, "actor", waiting=["wait"])
    yield actor
    target.may_go_on.set()
    actor.close()


def test_calls_are_made_in_their_order_and_answered(actor: LocalActor, target: Target) -> None:
    futures = [actor.add.remote(number).future() for number in range(100)]
    assert [future.result(CEILING_S) for future in futures] == list(range(1, 101))
    assert target.calls == list(range(100))


def test_an_exception_comes_with_the_reference(actor: LocalActor) -> None:
    assert isinstance(actor.fail.remote().future().exception(CEILING_S), ValueError)


def test_a_method_that_waits_holds_up_no_other(actor: LocalActor, target: Target) -> None:
    waiting = [actor.wait.remote().future() for _ in range(2)]
    assert actor.add.remote(1).future().result(CEILING_S) == 1
    assert not any(future.done() for future in waiting)
    target.may_go_on.set()
    names = {future.result(CEILING_S) for future in waiting}
    assert len(names) == 2
    assert all(name.startswith("actor-readers-") for name in names)


def test_it_has_the_methods_of_its_target_only(actor: LocalActor) -> None:
    assert hasattr(actor, "wait")
    assert not hasattr(actor, "history")


def test_calls_before_the_end_are_made_and_later_ones_fail(
    actor: LocalActor, target: Target
) -> None:
    before = [actor.add.remote(number).future() for number in range(10)]
    target.may_go_on.set()
    actor.close()
    assert [future.result(0) for future in before] == list(range(1, 11))
    for late in (actor.add.remote(11), actor.wait.remote()):
        assert isinstance(late.future().exception(0), LocalActorDiedError)
    assert target.calls == list(range(10))
    assert not [each for each in threading.enumerate() if each.name.startswith("actor-")]
