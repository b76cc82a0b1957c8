"""Tries, checks or evaluates an environment in a throwaway process, before any cluster starts.

This is where bad input is found, and environments that hang or take their process down. Here is the
parent's side; the process itself is `child.py`. This side imports neither gymnasium nor Ray.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raydash.child_process import ProcessEnd, child_environment
from raydash.core.analysis.policy_evaluation import PolicyEvaluation
from raydash.core.clock import Clock
from raydash.core.env_check import (
    TIME_LIMIT_S as CHECK_TIME_LIMIT_S,
)
from raydash.core.env_check import CheckPhase, EnvCheck
from raydash.core.faults import Fault, FaultError, FaultKind
from raydash.core.messages import EnvRegistry
from raydash.core.spec import (
    TRUSTED_POLICY_KINDS,
    EnvSpec,
    LearnerSpec,
    PolicySpec,
    RolloutSpec,
)
from raydash.core.trust import why_untrusted
from raydash.trial.requests import (
    CheckRequest,
    EvaluateRequest,
    Fails,
    LastAnswer,
    ListRequest,
    PhaseBegins,
    Request,
    TryRequest,
    Works,
    decode_answers,
    encode_request,
)

TIME_LIMIT_S = 20.0
EVALUATION_TIME_LIMIT_S = 3600.0
TORCH_TIME_LIMIT_S = 120.0
"""The first import of PyTorch, before its byte-code is cached, alone takes half a minute."""
_POLL_S = 0.05
_PLAIN = RolloutSpec()
_NO_POLICY = PolicySpec()
_NO_LEARNER = LearnerSpec()
_MAX_DETAIL = 8000
_MAX_PHASES_BYTES = 4096
_LATE, _CANCELLED = "late", "cancelled"
_EPISODES = "episodes"
_PHASES = {
    "start": "Python could not start",
    "import": "importing gymnasium",
    "make": "the constructor",
    "reset": "the first reset",
    "policy": "its first action",
    "learner": "its first ask",
    "tasks": "pickling its state",
    "check": "the checker",
    _EPISODES: "its episodes",
    "timing": "stepping",
    "together": "stepping several together",
}


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a child.

    Attributes:
        phase: The last one that began; `start`: none did.
        answer: What it found; None: it did not get so far.
        ending: `_LATE`, `_CANCELLED`, or how it ended in words.
        log: The end of what it printed.
    """

    phase: str
    answer: LastAnswer | None
    ending: str
    log: str


def _never_cancelled() -> bool:
    return False


def _ignore_phase(_phase: CheckPhase) -> None:
    pass


def try_environment(
    env: EnvSpec,
    policy: PolicySpec,
    source_dirs: Sequence[str] = (),
    *,
    rollout: RolloutSpec = _PLAIN,
    learner: LearnerSpec = _NO_LEARNER,
    time_limit_s: float | None = None,
    cancelled: Callable[[], bool] = _never_cancelled,
    clock: Clock = time.monotonic,
) -> Fault | None:
    """Make and reset an environment in a process of its own.

    Args:
        env: The environment.
        policy: The policy that would choose the actions; it is asked once.
        source_dirs: Folders to import the user's modules from.
        rollout: Says whether environments are stepped together; if so, two are tried together.
        learner: The learner that would improve the policy: it is made too, and asked once.
        time_limit_s: The environment counts as hung after this time; None: a limit that leaves
            time for the policy's imports.
        cancelled: Polled 20 times a second; true ends the trial.
        clock: Measures the time limit.

    Returns:
        The fault; None if the environment works or the trial was cancelled.
    """
    if time_limit_s is None:
        needs_torch = policy.kind in TRUSTED_POLICY_KINDS
        time_limit_s = TORCH_TIME_LIMIT_S if needs_torch else TIME_LIMIT_S
    fault = why_untrusted(policy)
    if fault is not None:
        return fault
    request = TryRequest(env, policy, learner, rollout, tuple(source_dirs))
    outcome = _run_child(request, time_limit_s, cancelled, clock)
    if outcome.ending == _CANCELLED:
        return None
    match outcome.answer:
        case Works():
            return None
        case Fails(fault):
            return fault
    return _no_answer(outcome, time_limit_s, env, policy, learner)


def check_environment(
    env: EnvSpec,
    source_dirs: Sequence[str] = (),
    *,
    rollout: RolloutSpec = _PLAIN,
    time_limit_s: float = CHECK_TIME_LIMIT_S,
    cancelled: Callable[[], bool] = _never_cancelled,
    tell: Callable[[CheckPhase], None] = _ignore_phase,
    clock: Clock = time.monotonic,
) -> EnvCheck | None:
    """Check and time an environment in a process of its own.

    Args:
        env: The environment.
        source_dirs: Folders to import the user's modules from.
        rollout: Says whether environments are stepped together; if so, that is timed too.
        time_limit_s: The environment counts as hung after this time.
        cancelled: Polled 20 times a second; true ends the check.
        tell: Called with each phase as it begins; short phases may be left out.
        clock: Measures the time limit.

    Returns:
        The findings; None if the check was cancelled.

    Raises:
        FaultError: if the environment can't be made or reset, hangs, or takes its process down.
    """
    request = CheckRequest(env, rollout, tuple(source_dirs))
    outcome = _run_child(request, time_limit_s, cancelled, clock, tell)
    if outcome.ending == _CANCELLED:
        return None
    match outcome.answer:
        case EnvCheck() as found:
            return found
        case Fails(fault):
            raise FaultError(fault)
    raise FaultError(_no_answer(outcome, time_limit_s, env))


def evaluate_policy(
    env: EnvSpec,
    policy: PolicySpec,
    source_dirs: Sequence[str] = (),
    *,
    num_episodes: int,
    seed: int | None = None,
    time_limit_s: float = EVALUATION_TIME_LIMIT_S,
    clock: Clock = time.monotonic,
) -> PolicyEvaluation:
    """Play fresh episodes of a policy in a process of its own.

    Args:
        env: The environment.
        policy: The policy.
        source_dirs: Folders to import the user's modules from.
        num_episodes: How many episodes to play.
        seed: Seeds the episodes; None: a random one is drawn.
        time_limit_s: The episodes count as hung after this time; what comes before them has the
            limit of any trial.
        clock: Measures the time limits.

    Raises:
        FaultError: if environment or policy can't be made, do not fit, hang or keep raising.
    """
    request = EvaluateRequest(env, policy, num_episodes, seed, tuple(source_dirs))
    outcome = _run_child(
        request, TIME_LIMIT_S, _never_cancelled, clock, episodes_limit_s=time_limit_s
    )
    match outcome.answer:
        case PolicyEvaluation() as found:
            return found
        case Fails(fault):
            raise FaultError(fault)
    limit_s = time_limit_s if outcome.phase == _EPISODES else TIME_LIMIT_S
    raise FaultError(_no_answer(outcome, limit_s, env, policy))


def _no_answer(
    outcome: _Outcome,
    time_limit_s: float,
    env: EnvSpec,
    policy: PolicySpec = _NO_POLICY,
    learner: LearnerSpec = _NO_LEARNER,
) -> Fault:
    """Return the fault of a child that ended, or hung, before it gave its last answer."""
    phase, log = outcome.phase, outcome.log
    who, where = env.id, _PHASES.get(phase, "the trial")
    keys: tuple[str, ...] = ("env.id", "env.kwargs") if env.kwargs else ("env.id",)
    if phase == "policy":
        who = f"The policy {policy.path or policy.kind}"
        keys = ("policy.path",) if policy.path else ("policy.kind",)
    elif phase == "learner":
        who, keys = f"The learner {learner.kind}", ("learner.kind",)
    if outcome.ending == _LATE:
        return Fault(
            what=f"{who} gave no answer within {time_limit_s:g} s",
            why=f"It hung in {where}",
            remedy="Check what it waits for: a licence, a display, a port, a download",
            detail=log,
            keys=keys,
            bad_input=True,
        )
    return Fault(
        what=f"{who} took its process down in {where}",
        why=outcome.ending,
        remedy="Try it alone in a terminal"
        + ("; its last words are in the details" if log.strip() else ""),
        detail=log,
        keys=keys,
        bad_input=True,
        kind=FaultKind.USER_CODE,
    )


def list_names(
    *, time_limit_s: float = TIME_LIMIT_S, cancelled: Callable[[], bool] = _never_cancelled
) -> EnvRegistry:
    """List the ids in Gymnasium's registry and its wrappers; empty if they could not be read."""
    outcome = _run_child(ListRequest(), time_limit_s, cancelled, time.monotonic)
    return outcome.answer if isinstance(outcome.answer, EnvRegistry) else EnvRegistry(())


def _run_child(
    request: Request,
    time_limit_s: float,
    cancelled: Callable[[], bool],
    clock: Clock,
    tell: Callable[[CheckPhase], None] = _ignore_phase,
    *,
    episodes_limit_s: float = 0.0,
) -> _Outcome:
    """Run the child; once it plays episodes, it may take `episodes_limit_s` for them."""
    # Files and not pipes: a pipe can fill up, and a grandchild that inherits it keeps it open.
    with (
        tempfile.TemporaryFile() as request_file,
        tempfile.TemporaryFile() as answer_file,
        tempfile.TemporaryFile() as log,
    ):
        request_file.write(encode_request(request))
        request_file.seek(0)
        child = subprocess.Popen(
            [
                *(sys.executable, "-m", "raydash.trial.child"),
                *(f"{time_limit_s + episodes_limit_s:g}", str(os.getpid())),
            ],
            stdin=request_file,
            stdout=answer_file,
            stderr=log,
            env=child_environment(),
            start_new_session=True,
        )
        phase = ""

        def newest_phase() -> str:
            # `pread`, because the child writes through the same open file and shares its offset.
            return _read(os.pread(answer_file.fileno(), _MAX_PHASES_BYTES, 0))[0]

        def look() -> bool:
            nonlocal phase
            newest = newest_phase()
            if newest in tuple(CheckPhase) and newest != phase:
                phase = newest
                tell(CheckPhase(newest))
            return cancelled()

        try:
            late = _wait(child.pid, time_limit_s, look, clock)
            if late == _LATE and newest_phase() == _EPISODES:
                late = _wait(child.pid, episodes_limit_s, look, clock)
        finally:
            # The child is not reaped yet, so the group id is still its own. This also kills
            # whatever the child started.
            os.killpg(child.pid, signal.SIGKILL)
        code = child.wait()
        answer_file.seek(0)
        log.seek(max(0, log.seek(0, os.SEEK_END) - _MAX_DETAIL))
        (phase, found), words = _read(answer_file.read()), log.read().decode(errors="replace")
    return _Outcome(phase, found, late or f"It {ProcessEnd(code).words}", words)


def _wait(pid: int, time_limit_s: float, cancelled: Callable[[], bool], clock: Clock) -> str:
    """Wait until a child ends, without reaping it; return empty, `_LATE` or `_CANCELLED`."""
    until_s = clock() + time_limit_s
    descriptor = os.pidfd_open(pid)
    try:
        while not select.select([descriptor], [], [], _POLL_S)[0]:
            if cancelled():
                return _CANCELLED
            if clock() > until_s:
                return _LATE
        return ""
    finally:
        os.close(descriptor)


def _read(output: bytes) -> tuple[str, LastAnswer | None]:
    """Return the phase that began last, and what was found; None: nothing yet."""
    phase, found = "start", None
    for answer in decode_answers(output):
        if isinstance(answer, PhaseBegins):
            phase = answer.phase
        else:
            found = answer
    return phase, found
