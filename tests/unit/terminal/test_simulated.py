"""`--simulated N`: which options it goes with, and its temporary data folder."""

import os
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from raydash import paths
from raydash.core.spec import ClusterSpec, RunSpec, named_simulated
from raydash.core.spec_rules import SpecError, spec_from_table
from raydash.terminal.commands.simulated import simulated_spec, temporary_data_dir

LEARNS = spec_from_table({"policy": {"kind": "linear"}, "learner": {"kind": "cmaes"}})


def test_its_number_of_workers_wins_and_no_cluster_is_left() -> None:
    spec = spec_from_table({"rollout": {"num_workers": 2}, "cluster": {"address": "h:6379"}})
    simulated = simulated_spec(spec, 100, {"--address": None, "--detach": False, "--open": []})
    assert simulated.rollout.num_workers == 100
    assert simulated.cluster == ClusterSpec()


@pytest.mark.parametrize(
    ("spec", "others", "words"),
    [
        (RunSpec(), {"--address": "h:6379"}, "--address: does not go with --simulated"),
        (RunSpec(), {"--detach": True}, "--detach: does not go"),
        (RunSpec(), {"--open": ["20261125-1"]}, "--open: does not go"),
        (LEARNS, {}, "learner.kind: simulated workers do not learn"),
    ],
)
def test_what_does_not_go_with_it_is_refused_in_words(
    spec: RunSpec, others: dict[str, object], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        simulated_spec(spec, 2, others)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "simulated CartPole-v1"),
        ("mine", "simulated mine"),
        ("simulated mine", "simulated mine"),
    ],
)
def test_the_name_says_that_the_run_is_simulated(name: str, expected: str) -> None:
    assert named_simulated(replace(RunSpec(), name=name)).name == expected


@pytest.mark.parametrize("before", [None, "/home/me/recordings"])
def test_its_data_folder_is_gone_at_the_end(
    before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if before is None:
        monkeypatch.delenv("RAYDASH_DATA_DIR", raising=False)
    else:
        monkeypatch.setenv("RAYDASH_DATA_DIR", before)
    with suppress(KeyboardInterrupt), temporary_data_dir() as folder:
        assert paths.data_dir() == folder
        assert folder.parent == tmp_path
        (folder / "runs").mkdir()
        raise KeyboardInterrupt
    assert os.environ.get("RAYDASH_DATA_DIR") == before
    assert not list(tmp_path.iterdir())
