"""Sets up the process that a worker runs in: its output, its priority, its address."""

import contextlib
import gc
import os

import ray

from raydash.worker.node.tag import print_tag

NICE = 15  # Ray's own default for workers; a launched cluster starts them at 0 (see the guardian)


def tag_output_and_lower_priority(run_id: str, who: str) -> None:
    """Tag this process's output, before any user code runs.

    Args:
        run_id: The run that the tag names; empty: no tag.
        who: The worker that the tag names, such as `worker 3`.
    """
    # Ray sets it to a debugger that waits for a connection: a stray `breakpoint()` in user code
    # would hang the worker forever. https://github.com/ray-project/ray/issues/17023
    os.environ["PYTHONBREAKPOINT"] = "0"
    if run_id:
        print_tag(run_id, who)


def lower_priority() -> None:
    """Lower this process's priority; call it under Ray only, once everything is imported."""
    be_nice()
    # Imported objects stay, so the collector need not visit Ray's 300 000 of them again.
    gc.freeze()


def be_nice() -> None:
    """Let raydash's other processes and the user's desktop go first. Repeating it does nothing."""
    with contextlib.suppress(OSError):
        os.nice(max(0, NICE - os.nice(0)))


def node_address() -> tuple[str, str]:
    """Return this node's address and Ray's id of the node; both are empty outside of Ray."""
    if not ray.is_initialized():
        return "", ""
    return ray.util.get_node_ip_address(), ray.get_runtime_context().get_node_id()


def log_paths() -> tuple[str, ...]:
    """Return the files on this node that hold this process's stdout and stderr."""
    # Only this needs Ray's private API; without it a worker runs, but its log can't be found.
    try:
        from raydash.cluster.private_ray import worker_log_paths

        return worker_log_paths()
    except Exception:
        return ()
