"""Ray's exceptions become a cause and plain words. The texts here are those of Ray 2.60."""

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    GetTimeoutError,
    NodeDiedError,
    OutOfMemoryError,
    RayTaskError,
    WorkerCrashedError,
)

from raydash.core.machine.stimuli import DeathCause
from raydash.supervise.pools.ray_pool import MAX_TEXT, died_from

GUESSES = (
    " Some common causes include: (1) the process was killed by the OOM killer due to high memory "
    "usage, (2) ray stop --force was called, or (3) the worker crashed unexpectedly due to SIGSEGV "
    "or another unexpected error. If the process was killed by the kernel OOM killer (verifiable "
    "by checking for OOM in dmesg of the OOMing node), consider enabling resource isolation via "
    "--enable-resource-isolation to prevent node deaths by resource contention."
)
OLDER_GUESSES = (
    " There are some potential root causes. (1) The process is killed by SIGKILL by OOM killer due "
    "to high memory usage. (2) ray stop --force is called. (3) The worker is crashed unexpectedly "
    "due to SIGSEGV or other unexpected errors."
)
LOST = "Worker unexpectedly exits with a connection error code 2. End of file."
UNEXPECTED = "its process ended unexpectedly (killed, or crashed in native code)"


def dead(message: str, *, never_started: bool = False) -> ActorDiedError:
    return ActorDiedError(
        ActorDiedErrorContext(
            error_message=message,
            actor_id=b"\1" * 16,
            class_name="RolloutWorker",
            pid=4711,
            ray_namespace="raydash",
            node_ip_address="127.0.0.2",
            never_started=never_started,
        )
    )


def process_died(how: str, kind: str = "SYSTEM_ERROR") -> str:
    return (
        "The actor is dead because its worker process has died. "
        f"Worker exit type: {kind} Worker exit detail: {how}"
    )


def task_error(text: str, error: Exception) -> RayTaskError:
    head = "\x1b[36mray::RolloutWorker.rollout()\x1b[39m (pid=4711, ip=127.0.0.2)\n"
    frame = '  File "rollout.py", line 8, in run\n    self.step()\n    ^^^^^^^^^^^\n'
    return RayTaskError(
        "rollout", f"{head}{frame}{text}", error, proctitle="ray::x", pid=1, ip="127.0.0.2"
    )


@pytest.mark.parametrize(
    ("error", "cause", "text"),
    [
        (dead(process_died(LOST + GUESSES)), DeathCause.CRASHED, UNEXPECTED),
        (dead(process_died(LOST + OLDER_GUESSES)), DeathCause.CRASHED, UNEXPECTED),
        (
            dead(
                process_died(
                    "Worker exits unexpectedly. Worker exits with an exit code 1. The process "
                    "receives a SIGTERM."
                )
            ),
            DeathCause.CRASHED,
            "its process ended by SIGTERM",
        ),
        (
            dead(process_died("Worker exits unexpectedly. Worker exits with an exit code 4.")),
            DeathCause.CRASHED,
            "its process ended with exit code 4",
        ),
        (
            dead(
                process_died(
                    "Worker exits by an user request. Worker exits with an exit code 0. "
                    "exit_actor() is called.",
                    "INTENDED_USER_EXIT",
                )
            ),
            DeathCause.CRASHED,
            "its process ended with exit code 0",
        ),
        (
            dead(process_died(LOST + GUESSES), never_started=True),
            DeathCause.COULD_NOT_START,
            UNEXPECTED,
        ),
        (
            dead("The actor is dead because it was killed by `ray.kill`."),
            DeathCause.KILLED,
            "killed by ray.kill",
        ),
        (
            dead("The actor died because its node has died. Node Id: 12ab"),
            DeathCause.NODE_LOST,
            "its node died",
        ),
        (
            dead("The actor is dead because its owner has died. Owner Id: 12ab"),
            DeathCause.NODE_LOST,
            "its node died",
        ),
        (ActorDiedError(None), DeathCause.CRASHED, "its process ended"),
        (
            ActorDiedError(task_error("ValueError: no such\nthing", ValueError("no such\nthing"))),
            DeathCause.COULD_NOT_START,
            "ValueError: no such",
        ),
        (
            ActorUnavailableError("RpcError: connection refused", b"\1" * 16),
            DeathCause.NODE_LOST,
            "its node does not answer",
        ),
        (NodeDiedError("node 12ab died"), DeathCause.NODE_LOST, "its node does not answer"),
        (
            OutOfMemoryError("Task was killed due to the node running low on memory."),
            DeathCause.OUT_OF_MEMORY,
            "the node ran out of memory",
        ),
        (
            ActorUnschedulableError("the node of its affinity is dead"),
            DeathCause.COULD_NOT_START,
            "its node is gone, or has not what it needs:"
            " see num_cpus, num_gpus and resources under [cluster]",
        ),
        (
            task_error("KeyError: 'x'", KeyError("x")).as_instanceof_cause(),
            DeathCause.CRASHED,
            "KeyError: 'x'",
        ),
        (
            GetTimeoutError("Get timed out: some object(s) not ready."),
            DeathCause.CRASHED,
            "GetTimeoutError: Get timed out: some object(s) not ready.",
        ),
        (
            WorkerCrashedError(),
            DeathCause.CRASHED,
            "the process of its task ended unexpectedly (killed, or crashed in native code)",
        ),
    ],
)
def test_an_exception_of_ray_becomes_a_cause_and_one_line(
    error: Exception, cause: DeathCause, text: str
) -> None:
    died = died_from(error, 3, 1)
    assert (died.worker_index, died.incarnation) == (3, 1)
    assert (died.cause, died.text) == (cause, text)


def test_the_whole_text_is_kept_as_detail_without_colours() -> None:
    died = died_from(task_error("KeyError: 'x'", KeyError("x")), 1, 0)
    assert "line 8, in run" in died.detail
    assert "\x1b" not in died.detail


def test_a_long_message_is_cut_to_one_line_of_bearable_length() -> None:
    died = died_from(task_error("ValueError: " + "x" * 5000, ValueError("x")), 1, 0)
    assert len(died.text) == MAX_TEXT
