"""Tries, checks or evaluates an environment in a throwaway process, before any cluster starts.

This is where bad input is found, and environments that hang or take their process down. Here is the
parent's side; the process itself is `child.py`. This side imports neither gymnasium nor Ray.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from raydash.child_process import ProcessEnd, child_environment
from raydash.core.analysis.policy_evaluation import PolicyEvaluation
from raydash.core.clock import Clock
from raydash.core.env_check import (
    TIME_LIMIT_S as CHECK_TIME_LIMIT_S,
)
from raydash.core.env_check import AgentSpaces, CheckPhase, EnvCheck, EnvProblem
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

TIME_LIMIT_S = 20.0
EVALUATION_TIME_LIMIT_S = 3600.0
TORCH_TIME_LIMIT_S = 120.0
"""The first import of PyTorch, before its byte-code is cached, alone takes half a minute."""
_POLL_S = 0.05
_MAX_TRIED_TOGETHER = 2
_PLAIN = RolloutSpec()
_NO_LEARNER = LearnerSpec()
_MAX_DETAIL = 8000
_MAX_PHASES_BYTES = 4096
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
    request = {
        "env": asdict(env),
        "policy": asdict(policy),
        "learner": asdict(learner),
        "seed": rollout.seed,
        "num_envs": min(rollout.num_envs_per_worker, _MAX_TRIED_TOGETHER),
        "vectorization": rollout.chosen_vectorization,
        "mode": rollout.mode,
        "source_dirs": list(source_dirs),
    }
    answers, ending, log = _run_child(request, time_limit_s, cancelled, clock)
    last: dict[str, Any] = answers[-1] if answers else {"phase": "start"}
    if ending == "cancelled":
        return None
    if "fault" in last:
        return None if last["fault"] is None else _fault_from(last["fault"])
    return _no_answer(env, policy, learner, str(last.get("phase")), ending, log, time_limit_s)


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
    request = {
        "check": True,
        "env": asdict(env),
        "num_envs": rollout.num_envs_per_worker,
        "vectorization": rollout.chosen_vectorization,
        "source_dirs": list(source_dirs),
    }
    answers, ending, log = _run_child(request, time_limit_s, cancelled, clock, tell)
    last: dict[str, Any] = answers[-1] if answers else {"phase": "start"}
    if ending == "cancelled":
        return None
    if "check" in last:
        problems = tuple(EnvProblem(**problem) for problem in last["check"].pop("problems"))
        agents = tuple(AgentSpaces(**agent) for agent in last["check"].pop("agents"))
        return EnvCheck(**last["check"], problems=problems, agents=agents)
    if "fault" in last:
        raise FaultError(_fault_from(last["fault"]))
    phase = str(last.get("phase"))
    raise FaultError(_no_answer(env, PolicySpec(), _NO_LEARNER, phase, ending, log, time_limit_s))


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
    request = {
        "env": asdict(env),
        "policy": asdict(policy),
        "evaluate": {"num_episodes": num_episodes, "seed": seed},
        "source_dirs": list(source_dirs),
    }
    answers, ending, log = _run_child(
        request, TIME_LIMIT_S, _never_cancelled, clock, episodes_limit_s=time_limit_s
    )
    last: dict[str, Any] = answers[-1] if answers else {"phase": "start"}
    if "evaluation" in last:
        return PolicyEvaluation(**last["evaluation"])
    if "fault" in last:
        raise FaultError(_fault_from(last["fault"]))
    phase = str(last.get("phase"))
    limit_s = time_limit_s if phase == _EPISODES else TIME_LIMIT_S
    raise FaultError(_no_answer(env, policy, _NO_LEARNER, phase, ending, log, limit_s))


def _fault_from(table: dict[str, Any]) -> Fault:
    """Make a fault again of the JSON that the child made of it."""
    kind = FaultKind(table["kind"])
    return Fault(**{**table, "keys": tuple(table["keys"]), "kind": kind})


def _no_answer(
    env: EnvSpec,
    policy: PolicySpec,
    learner: LearnerSpec,
    phase: str,
    ending: str,
    log: str,
    time_limit_s: float,
) -> Fault:
    """Return the fault of a child that ended, or hung, before it gave its last answer."""
    who, where = env.id, _PHASES.get(phase, "the trial")
    keys: tuple[str, ...] = ("env.id", "env.kwargs") if env.kwargs else ("env.id",)
    if phase == "policy":
        who = f"The policy {policy.path or policy.kind}"
        keys = ("policy.path",) if policy.path else ("policy.kind",)
    elif phase == "learner":
        who, keys = f"The learner {learner.kind}", ("learner.kind",)
    if ending == "late":
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
        why=ending,
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
    answers, _, _ = _run_child({"list": True}, time_limit_s, cancelled, time.monotonic)
    last: dict[str, Any] = answers[-1] if answers else {}
    return EnvRegistry(tuple(last.get("env_ids", ())), tuple(last.get("wrapper_names", ())))


def _run_child(
    request: dict[str, Any],
    time_limit_s: float,
    cancelled: Callable[[], bool],
    clock: Clock,
    tell: Callable[[CheckPhase], None] = _ignore_phase,
    *,
    episodes_limit_s: float = 0.0,
) -> tuple[list[dict[str, Any]], str, str]:
    """Run the child; return its answers, how it ended (in words), and the end of its log.

    Once the child plays episodes, it may take `episodes_limit_s` for them.
    """
    # Files and not pipes: a pipe can fill up, and a grandchild that inherits it keeps it open.
    with (
        tempfile.TemporaryFile() as request_file,
        tempfile.TemporaryFile() as answer_file,
        tempfile.TemporaryFile() as log,
    ):
        request_file.write(json.dumps(request).encode())
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
            answers = _parsed(os.pread(answer_file.fileno(), _MAX_PHASES_BYTES, 0))
            return str(answers[-1].get("phase", "")) if answers else ""

        def look() -> bool:
            nonlocal phase
            newest = newest_phase()
            if newest in tuple(CheckPhase) and newest != phase:
                phase = newest
                tell(CheckPhase(newest))
            return cancelled()

        try:
            late = _wait(child.pid, time_limit_s, look, clock)
            if late == "late" and newest_phase() == _EPISODES:
                late = _wait(child.pid, episodes_limit_s, look, clock)
        finally:
            # The child is not reaped yet, so the group id is still its own. This also kills
            # whatever the child started.
            os.killpg(child.pid, signal.SIGKILL)
        code = child.wait()
        answer_file.seek(0)
        log.seek(max(0, log.seek(0, os.SEEK_END) - _MAX_DETAIL))
        answers, words = _parsed(answer_file.read()), log.read().decode(errors="replace")
    return answers, late or f"It {ProcessEnd(code).words}", words


def _wait(pid: int, time_limit_s: float, cancelled: Callable[[], bool], clock: Clock) -> str:
    """Wait until a child ends, without reaping it; return empty, `late` or `cancelled`."""
    until_s = clock() + time_limit_s
    descriptor = os.pidfd_open(pid)
    try:
        while not select.select([descriptor], [], [], _POLL_S)[0]:
            if cancelled():
                return "cancelled"
            if clock() > until_s:
                return "late"
        return ""
    finally:
        os.close(descriptor)


def _parsed(output: bytes) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    for line in output.splitlines():
        try:
            answers.append(json.loads(line))
        except ValueError:
            # The child ended in the middle of this line.
            break
    return answers
