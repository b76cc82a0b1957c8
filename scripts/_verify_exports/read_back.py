"""Read exports with other people's libraries only, and compare them with `expected.npz`."""

import importlib.util
import json
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import polars as pl
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

WORDS = np.array(["terminated", "truncated", "both", "error"])
UNKNOWN = 255


@dataclass(frozen=True)
class Expected:
    """What was recorded, one element per episode."""

    worker_index: np.ndarray
    episode_return: np.ndarray
    episode_len: np.ndarray
    ending: np.ndarray

    @property
    def good(self) -> np.ndarray:
        """No errors."""
        is_good: np.ndarray = self.ending != WORDS.tolist().index("error")
        return is_good

    def has_flag(self, word: str) -> int:
        """Episodes with a flag, alone or with the other."""
        numbers = [WORDS.tolist().index(word), WORDS.tolist().index("both")]
        return int(np.isin(self.ending, numbers).sum())


@dataclass(frozen=True)
class Line:
    """One thing that was compared."""

    what: str
    found: object
    wanted: object

    @property
    def is_same(self) -> bool:
        """Exactly, NaN being NaN."""
        if isinstance(self.found, np.ndarray) and isinstance(self.wanted, np.ndarray):
            is_float = self.wanted.dtype.kind == "f"
            return np.array_equal(self.found, self.wanted, equal_nan=is_float)
        return bool(self.found == self.wanted)

    def words(self) -> tuple[str, str]:
        """Both sides, short."""

        def short(side: object) -> str:
            if not isinstance(side, np.ndarray):
                return str(side)
            if side.dtype.kind != "f":
                return f"{len(side)} values"
            return f"{len(side)} values, sum {float(np.nansum(side))!r}"

        return short(self.found), short(self.wanted)


def table_lines(
    returns: np.ndarray,
    lens: np.ndarray,
    workers: np.ndarray,
    endings: list[str | None],
    e: Expected,
) -> list[Line]:
    """Of a table of all episodes."""
    kinds = {word: endings.count(word) for word in WORDS}
    return [
        Line("episodes", len(returns), len(e.ending)),
        Line("returns", returns, e.episode_return),
        Line("lengths", lens.astype(np.int64), e.episode_len.astype(np.int64)),
        Line("workers", workers.astype(np.int64), e.worker_index.astype(np.int64)),
        *(
            Line(word, count, int((e.ending == number).sum()))
            for number, (word, count) in enumerate(kinds.items())
        ),
    ]


def of_pandas(frame: pd.DataFrame, e: Expected) -> list[Line]:
    """Of a data frame with all episodes."""
    endings = frame["ending"].astype(object).where(frame["ending"].notna(), None).tolist()
    returns = frame["episode_return"].to_numpy(np.float64)
    lens, workers = frame["episode_len"].to_numpy(), frame["worker_index"].to_numpy()
    return table_lines(returns, lens, workers, endings, e)


def of_polars(frame: pl.DataFrame, e: Expected) -> list[Line]:
    """Of a data frame with all episodes."""
    returns = frame["episode_return"].cast(pl.Float64).to_numpy()
    lens, workers = frame["episode_len"].to_numpy(), frame["worker_index"].to_numpy()
    return table_lines(returns, lens, workers, frame["ending"].to_list(), e)


def of_json(path: Path, e: Expected) -> list[Line]:
    """Of the document: episodes and figures."""
    document = json.loads(path.read_text())
    numbers = {None: np.nan, "inf": np.inf, "-inf": -np.inf}
    columns = document["episodes"]
    returns = np.array([numbers.get(v, v) if not isinstance(v, float) else v
                        for v in columns["episode_return"]], np.float64)  # fmt: skip
    lines = table_lines(
        returns,
        np.array(columns["episode_len"], np.int64),
        np.array(columns["worker_index"], np.int64),
        columns["ending"],
        e,
    )
    return lines + figure_lines(document["figures"], e)


def figure_lines(figures: dict[str, float], e: Expected) -> list[Line]:
    """Of the figures of the whole run."""
    good = e.episode_return[e.good]
    return [
        Line("num_episodes_lifetime", figures["num_episodes_lifetime"], len(e.ending)),
        Line("num_..._terminated", figures["num_episodes_terminated_lifetime"],
             e.has_flag("terminated")),
        Line("num_..._truncated", figures["num_episodes_truncated_lifetime"],
             e.has_flag("truncated")),
        Line("episode_return_min", figures["episode_return_min"], float(np.fmin.reduce(good))),
        Line("episode_return_max", figures["episode_return_max"], float(np.fmax.reduce(good))),
    ]  # fmt: skip


def sb3_monitor() -> ModuleType:
    """SB3's own module, without its package, which would import PyTorch."""
    place = Path(sysconfig.get_path("purelib")) / "stable_baselines3" / "common" / "monitor.py"
    spec = importlib.util.spec_from_file_location("sb3_monitor", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_monitor(folder: Path, e: Expected) -> list[Line]:
    """Of a folder of monitor files, which have no errors."""
    together = sb3_monitor().load_results(str(folder))  # sorted by time
    returns = together["r"].to_numpy(np.float64)
    lines = [
        Line("episodes of load_results", len(together), int(e.good.sum())),
        Line("steps of load_results", int(together["l"].sum()), int(e.episode_len[e.good].sum())),
        Line("returns, sorted", np.sort(returns), np.sort(e.episode_return[e.good])),
    ]
    for worker in np.unique(e.worker_index):
        mine = e.good & (e.worker_index == worker)
        frame = pd.read_csv(folder / f"{worker}.monitor.csv", skiprows=1)
        lines.append(
            Line(f"returns of worker {worker}", frame["r"].to_numpy(np.float64),
                 e.episode_return[mine])
        )  # fmt: skip
        lines.append(
            Line(f"lengths of worker {worker}", frame["l"].to_numpy(np.int64),
                 e.episode_len[mine].astype(np.int64))
        )  # fmt: skip
    return lines


def of_tensorboard(folder: Path, e: Expected) -> list[Line]:
    """Of an event file: its last and its extreme points, and the exact figures in it."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    last = {tag: events.Scalars(tag)[-1] for tag in events.Tags()["scalars"]}
    lows = [point.value for point in events.Scalars("episode_return_min")]
    highs = [point.value for point in events.Scalars("episode_return_max")]
    good = e.episode_return[e.good]
    text = events.Tensors("run/text_summary")[0].tensor_proto.string_val[0]
    single = np.float32  # what TensorBoard keeps of a scalar
    return [
        Line("episodes", last["num_episodes_lifetime"].value, single(len(e.ending))),
        Line("terminated or both", last["num_episodes_terminated_lifetime"].value,
             single(e.has_flag("terminated"))),
        Line("truncated or both", last["num_episodes_truncated_lifetime"].value,
             single(e.has_flag("truncated"))),
        Line("last step", last["num_episodes_lifetime"].step,
             json.loads(text)["num_env_steps_sampled_lifetime"]),
        Line("smallest return (float32)", min(lows), float(single(np.fmin.reduce(good)))),
        Line("largest return (float32)", max(highs), float(single(np.fmax.reduce(good)))),
        *figure_lines(json.loads(text), e),
    ]  # fmt: skip


def main(folder: Path) -> int:
    """Compare everything; 1 if something differs."""
    e = Expected(**np.load(folder / "expected.npz"))
    csv, parquet = folder / "run.csv", folder / "run.parquet"
    readers: dict[str, Callable[[], list[Line]]] = {
        "csv, pandas": lambda: of_pandas(pd.read_csv(csv), e),
        "csv, polars": lambda: of_polars(pl.read_csv(csv, infer_schema_length=None), e),
        "parquet, pandas": lambda: of_pandas(pd.read_parquet(parquet), e),
        "parquet, polars": lambda: of_polars(pl.read_parquet(parquet), e),
        "json": lambda: of_json(folder / "run.json", e),
        "monitor, SB3": lambda: of_monitor(folder / "monitor", e),
        "tensorboard": lambda: of_tensorboard(folder / "tensorboard", e),
    }
    num_wrong = 0
    for name, read in readers.items():
        for line in read():
            found, wanted = line.words()
            num_wrong += not line.is_same
            verdict = "same" if line.is_same else f"DIFFERENT: expected {wanted}"
            print(f"{name:<16} {line.what:<31} {found:<48} {verdict}")
    print("all the same" if not num_wrong else f"{num_wrong} are different")
    return 1 if num_wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
