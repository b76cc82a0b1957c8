"""A run with simulated workers in this process, without Ray. Everything else of it is real.

It is for looking around and for debugging. Trackers are not told of it, because its figures are
made up.
"""

import os
import threading
import time
from collections.abc import Callable

from raydash.core.messages import CommandRun, RunSummary, StartRun, Verb
from raydash.core.spec import SIMULATED
from raydash.core.states import EndedBy
from raydash.supervise.account.roster import NoProbes
from raydash.supervise.assembly import assemble, run_info
from raydash.supervise.keeping.recording import Past, open_recording
from raydash.supervise.methods import SupervisorMethods, run_to_end
from raydash.supervise.placement import SupervisorPlacement
from raydash.supervise.pools.simulated import SimulatedPool

START_SPREAD_S = 1.0
"""The workers become ready one after the other, within this time."""


class SimulatedRun(SupervisorMethods):
    """Runs the supervisor of a simulated run on a thread."""

    def __init__(
        self, start: StartRun, placement: SupervisorPlacement, on_end: Callable[[], None]
    ) -> None:
        """Prepare a new run; `on_end` is called on its thread, once nothing is left to be read."""
        info = run_info(start, placement, node=SIMULATED)
        past = Past()
        self._recording = open_recording(
            start.spec,
            info,
            past,
            clock=time.monotonic,
            pid=os.getpid(),
            cluster=placement.cluster,
        )
        pool = SimulatedPool(time.monotonic, seed=start.spec.rollout.seed, spread_s=START_SPREAD_S)
        supervisor = assemble(
            start,
            placement,
            info,
            past,
            started_s=placement.started_s,
            pool=pool,
            probes=NoProbes(),
            recording=self._recording,
        )
        super().__init__(placement.run_id, supervisor)
        self._on_end = on_end
        self._thread = threading.Thread(target=self._loop, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begin the run."""
        self._thread.start()

    def summary(self) -> RunSummary:
        """Return this run's line in the list of runs."""
        return self._supervisor.summary()

    def stop_orphaned(self) -> None:
        """Stop the run, because nobody will read it any more."""
        command = CommandRun(0, self._run_id, Verb.STOP, ended_by=EndedBy.ORPHANED)
        self._supervisor.submit("", command)

    def join(self, timeout_s: float) -> None:
        """Wait until the run is over and its recording is closed, for at most `timeout_s`."""
        self._thread.join(timeout_s)

    def _loop(self) -> None:
        is_over = False
        try:
            is_over = run_to_end(self._supervisor)
        finally:
            if not is_over:
                self._recording.abandon()
            self._on_end()
