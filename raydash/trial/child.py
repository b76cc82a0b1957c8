"""The throwaway process of a trial: `python -m raydash.trial.child TIME_LIMIT_S PARENT_PID`.

It reads a request from stdin and answers on its original stdout (`requests.py`): each phase before
it begins, then what was found. Descriptor 1 is pointed at its log first, so that whatever the
environment prints does no harm.

Modules that take long to import are imported inside functions, after a phase has announced them.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable

from raydash.cluster.processes import end_with
from raydash.core.faults import Fault, FaultError, FaultKind
from raydash.core.messages import EnvRegistry
from raydash.core.spec import EnvSpec
from raydash.trial.requests import (
    Answer,
    CheckRequest,
    EvaluateRequest,
    Fails,
    LastAnswer,
    ListRequest,
    PhaseBegins,
    Request,
    TryRequest,
    Works,
    decode_request,
    encode_answer,
)

_OnPhase = Callable[[str], None]


def _last_answer(request: Request, on_phase: _OnPhase) -> LastAnswer:
    match request:
        case TryRequest():
            return _try(request, on_phase)
        case CheckRequest():
            return _check(request, on_phase)
        case EvaluateRequest():
            return _evaluate(request, on_phase)
        case ListRequest():
            return _list_names()


def _try(request: TryRequest, on_phase: _OnPhase) -> LastAnswer:
    from raydash.trial.trying import try_run

    def work() -> Works:
        try_run(
            request.env,
            request.policy,
            request.learner,
            request.rollout,
            request.source_dirs,
            on_phase=on_phase,
        )
        return Works()

    return _guarded(request.env, work)


def _check(request: CheckRequest, on_phase: _OnPhase) -> LastAnswer:
    from raydash.trial.checking import examine

    return _guarded(
        request.env,
        lambda: examine(
            request.env,
            request.source_dirs,
            num_envs=request.rollout.num_envs_per_worker,
            vectorization=request.rollout.chosen_vectorization,
            on_phase=on_phase,
        ),
    )


def _evaluate(request: EvaluateRequest, on_phase: _OnPhase) -> LastAnswer:
    from raydash.trial.evaluating import evaluate

    return _guarded(
        request.env,
        lambda: evaluate(
            request.env,
            request.policy,
            request.num_episodes,
            request.seed,
            request.source_dirs,
            on_phase=on_phase,
        ),
    )


def _list_names() -> EnvRegistry:
    os.nice(10)  # the engine is importing Ray meanwhile, and the user waits for that
    from raydash.worker.envs.environments import registry_ids
    from raydash.worker.envs.wrappers import wrapper_names

    return EnvRegistry(registry_ids(), wrapper_names())


def _guarded(env: EnvSpec, work: Callable[[], LastAnswer]) -> LastAnswer:
    """Return what was found, or the fault of what was raised."""
    try:
        return work()
    except FaultError as error:
        return Fails(error.fault)
    except Exception as error:
        return Fails(
            Fault(
                what=f"{env.id} raised {type(error).__name__} when it was tried",
                why=str(error),
                remedy="The traceback names the line",
                detail=traceback.format_exc(),
                keys=("env.id",),
                bad_input=True,
                kind=FaultKind.USER_CODE,
            )
        )


def _main() -> None:
    time_limit_s, parent_pid = float(sys.argv[1]), int(sys.argv[2])
    # If the parent is killed or too busy, nothing else would end an environment that hangs.
    end_with(parent_pid)
    signal.alarm(int(time_limit_s) + 5)
    request = decode_request(sys.stdin.buffer.read())
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)

        def answer(value: Answer) -> None:
            out.write(encode_answer(value))
            out.flush()

        def on_phase(phase: str) -> None:
            answer(PhaseBegins(phase))

        on_phase("import")
        answer(_last_answer(request, on_phase))
    # Simulators often hang or crash during interpreter shutdown; the answer has been given.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    _main()
