"""What runs in a learner's process: the learner, the normaliser, and their state on disk.

This part knows nothing of Ray; the supervisor turns it into an actor. It takes one call at a time
and answers with bytes of the codec. What user code raises becomes an answer too, and does not end
the process.
"""

import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from raydash.core.clock import Clock
from raydash.core.faults import Fault, FaultError
from raydash.core.messages import StartRun
from raydash.core.records import (
    Float64,
    GenerationResults,
    LearnerFault,
    ObservationSums,
    Parameters,
    ParametersReady,
    PolicyWritten,
)
from raydash.learn.learner import (
    Learner,
    RestorableLearner,
    checked_candidates,
    fault_of_exception,
)
from raydash.learn.normaliser import Normaliser
from raydash.learn.starting_point import StartingPoint
from raydash.protocol.codec import decode, encode
from raydash.worker.policies.parameters import Layout
from raydash.worker.policies.weights import write_weights

SAVE_EVERY_S = 1.0
_LEARNER = "learner_"
Returned = TypeVar("Returned")


class LearnerProcess:
    """One incarnation of a run's learner. Its constructor only stores arguments and can't fail."""

    def __init__(
        self, start_run: bytes, *, state_path: str, best_path: str, clock: Clock = time.monotonic
    ) -> None:
        """Store the arguments.

        Args:
            start_run: An encoded `StartRun`, of which the spec and the source folders are used.
            state_path: The file that the learner's state is saved to, and restored from if it
                exists; empty: the state is not saved.
            best_path: The file that the best policy is written to.
            clock: Gives monotonic seconds.
        """
        start: StartRun = decode(start_run)
        self._spec = start.spec
        self._source_dirs = start.source_dirs
        self._state_path = Path(state_path) if state_path else None
        self._best_path = Path(best_path)
        self._clock = clock
        self._saved_s = -SAVE_EVERY_S
        self._learner: Learner | None = None
        self._layout = Layout(())
        self._normaliser = Normaliser(0)
        self._parameters: Parameters | None = None
        self._best_candidate: Float64 | None = None
        self._went_on_from: int | None = None
        self._fault: Fault | None = None

    def ping(self) -> None:
        """Show by returning that the process is alive."""

    def begin(self, num_inputs: int, num_outputs: int) -> None:
        """Make the learner. If that fails, the next `advance` returns the fault.

        The policy's network takes `num_inputs` numbers (a flattened observation) and gives
        `num_outputs` numbers (an action).
        """
        if self._learner is not None or self._fault is not None:
            return
        try:
            self._start(num_inputs, num_outputs)
        except FaultError as error:
            self._fault = error.fault

    def advance(self, weights_seq_no: int, results: bytes) -> tuple[bytes, bytes]:
        """Tell the learner the results of its last generation and ask it for the next one.

        Args:
            weights_seq_no: The number of the next generation.
            results: Encoded `GenerationResults` of the last one.

        Returns:
            Encoded `ParametersReady` and `Parameters`, or an encoded `LearnerFault` and no bytes.
        """
        try:
            if self._fault is not None:
                raise FaultError(self._fault)
            ready, self._parameters = self._advance(weights_seq_no, decode(results))
            self._save_state()
        except FaultError as error:
            self._fault = error.fault
            return encode(LearnerFault(error.fault)), b""
        return encode(ready), encode(self._parameters)

    def save(self, weights_seq_no: int) -> bytes:
        """Write the generation's best guess to a file and return an encoded `PolicyWritten`."""
        given, trouble = self._parameters, ""
        if given is None or given.weights_seq_no != weights_seq_no:
            trouble = "its parameters are gone"
        else:
            weights = self._layout.weights(given.best_guess, given.mean, given.std)
            try:
                write_weights(self._best_path, weights)
            except OSError as error:
                trouble = f"{self._best_path}: {error.strerror}"
        return encode(PolicyWritten(weights_seq_no, str(self._best_path), trouble))

    # --- inside ------------------------------------------------------------------------------

    def _start(self, num_inputs: int, num_outputs: int) -> None:
        spec, seed = self._spec, self._spec.rollout.seed
        starting_point = StartingPoint.of(spec.policy, num_inputs, num_outputs, seed)
        self._layout, self._normaliser = starting_point.layout, starting_point.normaliser
        learner = starting_point.learner(spec.learner, seed, self._source_dirs)
        self._went_on_from = self._restore(learner)
        self._best_candidate = starting_point.start
        self._learner = learner

    def _advance(
        self, weights_seq_no: int, results: GenerationResults
    ) -> tuple[ParametersReady, Parameters]:
        learner = self._learner
        assert learner is not None
        if results.observations is not None and self._spec.learner.normalize_observations:
            self._normaliser.add(results.observations)
        returns = results.returns
        if returns is not None and self._parameters is not None:
            self._best_candidate = self._parameters.candidates[int(returns.argmax())]
            self._call("in tell", lambda: learner.tell(returns))
        count = self._layout.num_parameters
        kind = str(self._spec.learner.kind)
        asked = checked_candidates(kind, self._call("in ask", learner.ask), count)
        best = checked_candidates(kind, [self._best_guess(learner)], count)[0]
        parameters = Parameters(
            weights_seq_no=weights_seq_no,
            sizes=self._layout.sizes,
            candidates=asked,
            best_guess=best,
            mean=self._normaliser.mean.copy(),
            std=self._normaliser.std,
        )
        went_on_from, self._went_on_from = self._went_on_from, None
        ready = ParametersReady(
            weights_seq_no=weights_seq_no,
            population=len(asked),
            num_parameters=count,
            sigma=self._call("in sigma", lambda: float(getattr(learner, "sigma", np.nan))),
            num_restarts=self._call(
                "in num_restarts", lambda: int(getattr(learner, "num_restarts", 0))
            ),
            went_on_from=went_on_from,
        )
        return ready, parameters

    def _best_guess(self, learner: Any) -> Any:
        if hasattr(learner, "best_guess"):
            return self._call("in best_guess", learner.best_guess)
        return self._best_candidate

    def _call(self, when: str, method: Callable[[], Returned]) -> Returned:
        """Call a method of the learner.

        Raises:
            FaultError: if the method raises anything.
        """
        try:
            return method()
        except Exception as error:
            raise FaultError(
                fault_of_exception(str(self._spec.learner.kind), error, when)
            ) from error

    # --- its state on disk -------------------------------------------------------------------

    def _save_state(self) -> None:
        """Save the state at most once a second, so that a crash loses no more than that."""
        learner, given, path = self._learner, self._parameters, self._state_path
        if (
            path is None
            or given is None
            or not isinstance(learner, RestorableLearner)
            or self._clock() - self._saved_s < SAVE_EVERY_S
        ):
            return
        self._saved_s = self._clock()
        sums = self._normaliser.sums
        state = self._call(
            "in state",
            lambda: {
                f"{_LEARNER}{name}": np.asarray(value) for name, value in learner.state().items()
            },
        )
        if any(value.dtype.hasobject for value in state.values()):
            why = "state() gives what is no plain array of numbers"
            kind = self._spec.learner.kind
            raise FaultError(Fault(f"The learner {kind} has no state", why, keys=("learner.kind",)))
        _write_arrays(
            path,
            {
                "weights_seq_no": np.array(given.weights_seq_no),
                "count": np.array(sums.count),
                "mean": sums.mean,
                "m2": sums.m2,
                **state,
            },
        )

    def _restore(self, learner: Learner) -> int:
        """Restore the saved state; return the generation that it belongs to, or 0 without one."""
        path = self._state_path
        if path is None or not isinstance(learner, RestorableLearner) or not path.exists():
            return 0
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            weights_seq_no, count = int(arrays["weights_seq_no"]), int(arrays["count"])
            sums = ObservationSums(count, arrays["mean"], arrays["m2"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return 0
        state = {
            name.removeprefix(_LEARNER): value
            for name, value in arrays.items()
            if name.startswith(_LEARNER)
        }
        self._call("in restore", lambda: learner.restore(state))
        self._normaliser.sums = sums
        return weights_seq_no


def _write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a file whole or not at all; the recording will complain if the disk is full."""
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f"{path.stem}.", suffix=".npz", delete=False
        ) as file:
            try:
                np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub mixes up keywords
                file.flush()
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError:
        return
