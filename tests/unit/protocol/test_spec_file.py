from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.spec import (
    WANDB_MODES,
    ClusterSpec,
    EnvSpec,
    RolloutSpec,
    RunSpec,
    SinksSpec,
    StopSpec,
)
from raydash.core.spec_rules import SpecError
from raydash.protocol.spec_file import read_spec, spec_from_toml, toml_from_spec

NUMBERS = st.floats(1e-3, 1e9)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KWARGS = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
SPECS = st.builds(
    RunSpec,
    name=TEXTS,
    env=st.builds(
        EnvSpec,
        id=TEXTS.filter(str.strip),
        kwargs=st.dictionaries(TEXTS, KWARGS, max_size=3),
    ),
    rollout=st.builds(
        RolloutSpec,
        num_workers=st.none() | st.integers(1, 10_000),
        seed=st.integers(0, 2**63 - 1),
        hang_timeout_s=st.none() | NUMBERS,
    ),
    stop=st.builds(
        StopSpec, seconds=st.none() | NUMBERS, episodes=st.none() | st.integers(1, 2**63 - 1)
    ),
    cluster=st.builds(
        ClusterSpec,
        address=st.none() | TEXTS,
        num_cpus=st.none() | NUMBERS,
        resources=st.dictionaries(TEXTS, NUMBERS, max_size=2),
    ),
    sinks=st.builds(
        SinksSpec,
        tensorboard=st.none() | TEXTS.map("~/{}".format),
        wandb_project=st.none() | TEXTS.filter(str.strip),
        wandb_mode=st.sampled_from(WANDB_MODES),
        mlflow_uri=st.none() | TEXTS.map("file:///{}".format),
        mlflow_experiment=TEXTS.filter(str.strip),
    ),
)


@given(SPECS)
def test_spec_survives_its_file(spec: RunSpec) -> None:
    assert spec_from_toml(toml_from_spec(spec)) == spec


def test_file_reads_as_people_would_write_it() -> None:
    spec = spec_from_toml(
        """
        name = "a first try"
        [env]
        id = "CartPole-v1"
        kwargs = { sutton_barto_reward = true }
        [rollout]
        num_workers = 4
        [stop]
        seconds = 20
        """
    )
    assert spec.env.kwargs == {"sutton_barto_reward": True}
    assert spec.rollout.num_workers == 4
    assert spec.stop.seconds == 20.0


def test_malformed_file_is_refused_with_its_line() -> None:
    with pytest.raises(SpecError, match=r"not TOML: .*line 2"):
        spec_from_toml("a = 1\nb = \n")


def test_dates_in_kwargs_are_refused() -> None:
    with pytest.raises(SpecError, match=r"env\.kwargs.*JSON"):
        spec_from_toml("[env]\nkwargs = { day = 2026-11-22 }\n")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00broken", "folder"])
def test_file_that_cannot_be_read_is_refused_by_its_path(
    tmp_path: Path, content: bytes | str | None
) -> None:
    path = tmp_path / "spec.toml"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder":
        path.mkdir()
    with pytest.raises(SpecError, match=r"spec\.toml: cannot be read"):
        read_spec(path)


def test_file_is_read_as_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_bytes('name = "größer → besser"\n'.encode())
    assert read_spec(path).name == "größer → besser"


def test_null_cannot_be_written_and_is_named() -> None:
    with pytest.raises(SpecError, match=r"env\.kwargs: holds a null"):
        toml_from_spec(RunSpec(env=EnvSpec("x", {"render_mode": None})))
