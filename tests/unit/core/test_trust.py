"""No policy file that can execute code is loaded unless the user who starts it agrees."""

import io
import json
from pathlib import Path

import pytest

from raydash.core.faults import FaultError
from raydash.core.spec import EnvSpec, PolicySpec, RunSpec
from raydash.terminal.commands.run import run_headless
from raydash.terminal.commands.trust import agree
from raydash.trial.trial import try_environment

MODEL = PolicySpec("sb3", "/models/ppo.zip")


class Terminal(io.StringIO):
    """A terminal at which somebody types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("policy", [PolicySpec(), PolicySpec("onnx", "/p.onnx")])
def test_policies_that_execute_nothing_need_no_trust(policy: PolicySpec) -> None:
    assert agree(policy, agreed=False) == policy
    assert agree(policy, agreed=True) == policy


def test_the_option_is_agreement() -> None:
    assert agree(MODEL, agreed=True).trust


def test_without_a_terminal_it_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(FaultError, match="--trust-policy"):
        agree(MODEL, agreed=False)


@pytest.mark.parametrize(("typed", "agrees"), [("y\n", True), ("YES\n", True), ("\n", False)])
def test_on_a_terminal_the_answer_counts(
    typed: str,
    agrees: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    if agrees:
        assert agree(MODEL, agreed=False).trust
    else:
        with pytest.raises(FaultError):
            agree(MODEL, agreed=False)
    said = capsys.readouterr()
    assert "/models/ppo.zip" in said.err
    assert said.out == ""  # that is for the JSON object


def test_a_spec_that_says_trust_itself_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    out, err = io.StringIO(), io.StringIO()
    spec = RunSpec(policy=PolicySpec("rllib", "/checkpoint", trust=True))
    code = run_headless(lambda: spec, as_json=True, out=out, err=err)
    assert code == 2
    assert "a spec file can not" in err.getvalue()
    assert json.loads(out.getvalue())["error_keys"] == ["policy.path"]


def test_the_trial_loads_nothing_untrusted(tmp_path: Path) -> None:
    fault = try_environment(EnvSpec(), MODEL)
    assert fault is not None
    assert "was not loaded" in fault.what
