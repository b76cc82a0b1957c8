"""What every process of a worker does for itself, whatever it runs."""

import contextlib
import gc
import os

import ray

from raydash.worker.node.tag import print_tag

NICE = 15  # Ray's own choice for workers; a launched cluster starts them at 0 (see the guardian)


def tag_output_and_lower_priority(run_id: str, who: str) -> None:
    """Before any user code runs.

    Args:
        run_id: For the tag of its output; empty: no tag.
        who: Likewise: `worker 3`.
    """
    # Ray sets it to a debugger that waits for someone to connect: a stray `breakpoint()` in
    # user code would hang the worker for ever. https://github.com/ray-project/ray/issues/17023
    os.environ["PYTHONBREAKPOINT"] = "0"
    if run_id:
        print_tag(run_id, who)


def lower_priority() -> None:
    """Once everything is imported, and only under Ray: let everything else on the node go first."""
    be_nice()
    # What was imported stays: no need to look through Ray's 300 000 objects ever again.
    gc.freeze()


def be_nice() -> None:
    """Other raydash processes and the user's desktop come first. Does nothing the second time."""
    with contextlib.suppress(OSError):
        os.nice(max(0, NICE - os.nice(0)))


def node_address() -> tuple[str, str]:
    """This node's address and Ray's id of it; empty outside of Ray."""
    if not ray.is_initialized():
        return "", ""
    return ray.util.get_node_ip_address(), ray.get_runtime_context().get_node_id()


def log_paths() -> tuple[str, ...]:
    """Stdout and stderr of this process, as files on its node."""
    # Only this needs Ray's private parts; a worker without them runs, unlogged.
    try:
        from raydash.cluster.private_ray import worker_log_paths

        return worker_log_paths()
    except Exception:
        return ()
