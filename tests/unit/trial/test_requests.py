"""The two sides of a trial understand each other."""

import math
from typing import Any

import pytest

from raydash.core.analysis.policy_evaluation import PolicyEvaluation
from raydash.core.env_check import AgentSpaces, EnvCheck, EnvProblem
from raydash.core.faults import Fault
from raydash.core.messages import EnvRegistry
from raydash.core.spec import EnvSpec, LearnerSpec, PolicySpec, RolloutSpec, WrapperSpec
from raydash.trial.requests import (
    Answer,
    CheckRequest,
    EvaluateRequest,
    Fails,
    ListRequest,
    PhaseBegins,
    Request,
    TryRequest,
    Works,
    decode_answers,
    decode_request,
    encode_answer,
    encode_request,
)

ENV = EnvSpec("mine:Env", {"level": 3, "limit": math.inf}, (WrapperSpec("TimeLimit", {"n": 9}),))
EVALUATION = PolicyEvaluation(
    "Env", "a.npz", 7, 3, math.inf, None, None, None, 4.5, 1, 2, 0, 9, 0.5
)
ANSWERS: list[Answer] = [
    PhaseBegins("make"),
    Works(),
    Fails(Fault("it broke", "a cause", "a remedy", "a traceback", ("env.id",), bad_input=True)),
    EnvCheck("Env", agents=(AgentSpaces("a", "Box", "Box"),), problems=(EnvProblem(True, "no"),)),
    EVALUATION,
    EnvRegistry(("CartPole-v1",), ("TimeLimit",)),
]


@pytest.mark.parametrize(
    "request_",
    [
        TryRequest(
            ENV,
            PolicySpec("constant", action=[0.5]),
            LearnerSpec("cmaes", options={"x": [1]}),
            RolloutSpec(num_envs_per_worker=4),
            ("/src",),
        ),
        CheckRequest(ENV, RolloutSpec(vectorization="sync"), ()),
        EvaluateRequest(ENV, PolicySpec("mlp", "a.npz"), 10, None, ("/src",)),
        ListRequest(),
    ],
)
def test_a_request_comes_out_as_it_went_in(request_: Request) -> None:
    assert decode_request(encode_request(request_)) == request_


def test_answers_come_out_as_they_went_in_and_a_cut_one_is_left_out() -> None:
    data = b"".join(map(encode_answer, ANSWERS))
    assert decode_answers(data) == ANSWERS
    assert decode_answers(data[:-1]) == ANSWERS[:-1]
    assert decode_answers(b"") == []


def test_a_file_that_the_environment_wrote_into_holds_no_answer() -> None:
    assert decode_answers(encode_answer(Works()) + b"Segmentation fault (core dumped)") == []


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (
            Fails(Fault("no \udcff", keys=("k\udcff",))),
            Fails(Fault("no \\udcff", keys=("k\\udcff",))),
        ),
        (
            EnvCheck("Env", problems=(EnvProblem(True, "in \ud800", "line"),)),
            EnvCheck("Env", problems=(EnvProblem(True, "in \\ud800", "line"),)),
        ),
    ],
)
def test_halves_of_characters_in_answers_are_escaped(answer: Any, wanted: Any) -> None:
    assert decode_answers(encode_answer(answer)) == [wanted]


def test_halves_of_characters_in_requests_are_escaped() -> None:
    broken = EnvSpec("m\udcff:Env", {"a": {"b": ["\ud800", 1.5, None]}}, (WrapperSpec("w\udcff"),))
    sound = EnvSpec(
        "m\\udcff:Env", {"a": {"b": ["\\ud800", 1.5, None]}}, (WrapperSpec("w\\udcff"),)
    )
    request = CheckRequest(broken, RolloutSpec(), ("/src",))
    wanted = CheckRequest(sound, RolloutSpec(), ("/src",))
    assert decode_request(encode_request(request)) == wanted
