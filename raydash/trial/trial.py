"""An environment tried, checked or evaluated in a throwaway process, before any cluster is started.

Bad input ends here, and so does an environment that hangs or takes its process down. This is the
parent's side; the process itself is `child.py`. Imports neither gymnasium nor Ray.
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

from raydash.core.analysis.policy_evaluation import PolicyEvaluation
from raydash.core.clock import Clock
from raydash.core.env_check import (
    TIME_LIMIT_S as CHECK_TIME_LIMIT_S,
)
from raydash.core.env_check import AgentSpaces, CheckPhase, EnvCheck, EnvProblem
from raydash.core.faults import Fault, FaultError
from raydash.core.messages import EnvRegistry
from raydash.core.spec import (
    TRUSTED_POLICY_KINDS,
    EnvSpec,
    LearnerSpec,
    PolicySpec,
    RolloutSpec,
)
from raydash.core.trust import why_untrusted
from raydash.paths import cache_dir

TIME_LIMIT_S = 20.0
EVALUATION_TIME_LIMIT_S = 3600.0
TORCH_TIME_LIMIT_S = 120.0
"""PyTorch's first import without its byte-code takes half a minute by itself."""
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


def _never() -> bool:
    return False


def _nobody(_phase: CheckPhase) -> None:
    pass


def try_environment(
    env: EnvSpec,
    policy: PolicySpec,
    source_dirs: Sequence[str] = (),
    *,
    rollout: RolloutSpec = _PLAIN,
    learner: LearnerSpec = _NO_LEARNER,
    time_limit_s: float | None = None,
    cancelled: Callable[[], bool] = _never,
    clock: Clock = time.monotonic,
) -> Fault | None:
    """Construct and reset an environment in a process of its own.

    Args:
        env: Which environment.
        policy: What would choose the actions.
        source_dirs: Folders to import the user's modules from.
        rollout: Whether several are stepped together; then two are tried together.
        learner: What would improve the policy: it is made too, and asked once.
        time_limit_s: After so long it counts as hung; None: as the policy needs.
        cancelled: Asked 20 times a second; true ends the trial.
        clock: What the limit is measured by.

    Returns:
        What is wrong; None if the environment works, or if the trial was cancelled.
    """
    if time_limit_s is None:
        needs_torch = policy.kind in TRUSTED_POLICY_KINDS
        time_limit_s = TORCH_TIME_LIMIT_S if needs_torch else TIME_LIMIT_S
    fault = why_untrusted(policy)
    if fault is not None:
        return fault
    order = {
        "env": asdict(env),
        "policy": asdict(policy),
        "learner": asdict(learner),
        "seed": rollout.seed,
        "num_envs": min(rollout.num_envs_per_worker, _MAX_TRIED_TOGETHER),
        "vectorization": rollout.chosen_vectorization,
        "mode": rollout.mode,
        "source_dirs": list(source_dirs),
    }
    answers, ending, log = _ask(order, time_limit_s, cancelled, clock)
    last: dict[str, Any] = answers[-1] if answers else {"phase": "start"}
    if ending == "cancelled":
        return None
    if "fault" in last:
        fault = last["fault"]
        return None if fault is None else Fault(**{**fault, "keys": tuple(fault["keys"])})
    return _no_answer(env, policy, learner, str(last.get("phase")), ending, log, time_limit_s)


def check_environment(
    env: EnvSpec,
    source_dirs: Sequence[str] = (),
    *,
    rollout: RolloutSpec = _PLAIN,
    time_limit_s: float = CHECK_TIME_LIMIT_S,
    cancelled: Callable[[], bool] = _never,
    tell: Callable[[CheckPhase], None] = _nobody,
    clock: Clock = time.monotonic,
) -> EnvCheck | None:
    """Check and time an environment in a process of its own.

    Args:
        env: Which environment.
        source_dirs: Folders to import the user's modules from.
        rollout: Whether several are stepped together; then that is timed, too.
        time_limit_s: After so long it counts as hung.
        cancelled: Asked 20 times a second; true ends the check.
        tell: Called with what the check is about to do; short phases may be left out.
        clock: What the limit is measured by.

    Returns:
        What was found; None if the check was cancelled.

    Raises:
        FaultError: if it can't be made or reset, hangs, or takes its process down.
    """
    order = {
        "check": True,
        "env": asdict(env),
        "num_envs": rollout.num_envs_per_worker,
        "vectorization": rollout.chosen_vectorization,
        "source_dirs": list(source_dirs),
    }
    answers, ending, log = _ask(order, time_limit_s, cancelled, clock, tell)
    last: dict[str, Any] = answers[-1] if answers else {"phase": "start"}
    if ending == "cancelled":
        return None
    if "check" in last:
        problems = tuple(EnvProblem(**problem) for problem in last["check"].pop("problems"))
        agents = tuple(AgentSpaces(**agent) for agent in last["check"].pop("agents"))
        return EnvCheck(**last["check"], problems=problems, agents=agents)
    if "fault" in last:
        raise FaultError(Fault(**{**last["fault"], "keys": tuple(last["fault"]["keys"])}))
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
        env: On which environment.
        policy: Which one.
        source_dirs: Folders to import the user's modules from.
        num_episodes: How many.
        seed: Of them; None: one that nobody knows.
        time_limit_s: After so long its episodes count as hung; before them, as in any trial.
        clock: What the limit is measured by.

    Raises:
        FaultError: if environment or policy can't be had, do not fit, hang or keep raising.
    """
    order = {
        "env": asdict(env),
        "policy": asdict(policy),
        "evaluate": {"num_episodes": num_episodes, "seed": seed},
        "source_dirs": list(source_dirs),
    }
    answers, ending, log = _ask(order, TIME_LIMIT_S, _never, clock, episodes_limit_s=time_limit_s)
    last: dict[str, Any] = answers[-1] if answers else {"phase": "start"}
    if "evaluation" in last:
        return PolicyEvaluation(**last["evaluation"])
    if "fault" in last:
        raise FaultError(Fault(**{**last["fault"], "keys": tuple(last["fault"]["keys"])}))
    phase = str(last.get("phase"))
    limit_s = time_limit_s if phase == _EPISODES else TIME_LIMIT_S
    raise FaultError(_no_answer(env, policy, _NO_LEARNER, phase, ending, log, limit_s))


def _no_answer(
    env: EnvSpec,
    policy: PolicySpec,
    learner: LearnerSpec,
    phase: str,
    ending: str,
    log: str,
    time_limit_s: float,
) -> Fault:
    """Why a child's last word was only what it was about to do."""
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
    )


def list_names(
    *, time_limit_s: float = TIME_LIMIT_S, cancelled: Callable[[], bool] = _never
) -> EnvRegistry:
    """Every id in Gymnasium's registry here, and its wrappers; none if it could not be read."""
    answers, _, _ = _ask({"list": True}, time_limit_s, cancelled, time.monotonic)
    last: dict[str, Any] = answers[-1] if answers else {}
    return EnvRegistry(tuple(last.get("env_ids", ())), tuple(last.get("wrapper_names", ())))


def _ask(
    order: dict[str, Any],
    time_limit_s: float,
    cancelled: Callable[[], bool],
    clock: Clock,
    tell: Callable[[CheckPhase], None] = _nobody,
    *,
    episodes_limit_s: float = 0.0,
) -> tuple[list[dict[str, Any]], str, str]:
    """Run the child: its answers, how it ended (in words), and the end of its log.

    Once it plays episodes, it may take `episodes_limit_s` for them.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(cache_dir() / "pycache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    # Files, not pipes: they can't fill up, and nobody who inherits them can keep us waiting.
    with (
        tempfile.TemporaryFile() as question,
        tempfile.TemporaryFile() as answer,
        tempfile.TemporaryFile() as log,
    ):
        question.write(json.dumps(order).encode())
        question.seek(0)
        child = subprocess.Popen(
            [
                *(sys.executable, "-m", "raydash.trial.child"),
                *(f"{time_limit_s + episodes_limit_s:g}", str(os.getpid())),
            ],
            stdin=question,
            stdout=answer,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
        phase = ""

        def newest_phase() -> str:
            # By position: the child writes through the same open file, whose offset is shared.
            answers = _parsed(os.pread(answer.fileno(), _MAX_PHASES_BYTES, 0))
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
            # Not reaped yet, so the number is still its own: what it started goes with it.
            os.killpg(child.pid, signal.SIGKILL)
        code = child.wait()
        answer.seek(0)
        log.seek(max(0, log.seek(0, os.SEEK_END) - _MAX_DETAIL))
        answers, words = _parsed(answer.read()), log.read().decode(errors="replace")
    return answers, late or _how_it_ended(code), words


def _wait(pid: int, time_limit_s: float, cancelled: Callable[[], bool], clock: Clock) -> str:
    """Wait until a child ends (it stays a zombie): empty, `late` or `cancelled`."""
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
            # A line that was cut off by the end of its writer.
            break
    return answers


def _how_it_ended(code: int) -> str:
    if code < 0:
        try:
            return f"It was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"It was ended by signal {-code}"
    return f"It left with exit code {code}"
