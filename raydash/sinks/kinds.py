"""The sinks that there are: what each is called, needs, and is made by. Loads none of them."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from raydash.core.spec import SinksSpec
from raydash.sinks.lines import Row, RunEnd, SinkRun


class Sink(Protocol):
    """One other tool that is told of one run. Any method may raise, block and print."""

    def write(self, row: Row) -> None:
        """Take the figures of a moment."""

    def close(self, end: RunEnd) -> None:
        """Take the last figures and how the run ended, and hand everything over."""


@dataclass(frozen=True, slots=True)
class SinkKind:
    """One tool.

    Attributes:
        key: In names of files and processes.
        title: For people.
        library: The package that it takes.
        install: What to give to `pip install` for it.
        remedy: What to look at when it cannot be started or written to.
        factory: `module:class` of the `Sink`.
        is_wanted: Whether a spec asks for it.
    """

    key: str
    title: str
    library: str
    install: str
    remedy: str
    factory: str
    is_wanted: Callable[[SinksSpec], bool]

    def open(self, run: SinkRun) -> Sink:
        """Load the library and begin with a run. Takes seconds; may raise anything."""
        module, _, name = self.factory.partition(":")
        sink: Sink = getattr(importlib.import_module(module), name)(run)
        return sink


KINDS = (
    SinkKind(
        "tensorboard",
        "TensorBoard",
        "tensorboardX",
        "tensorboardX",
        "See that the folder sinks.tensorboard can be written on the cluster's machine",
        "raydash.sinks.to_tensorboard:TensorBoardSink",
        lambda sinks: sinks.tensorboard is not None,
    ),
    SinkKind(
        "wandb",
        "Weights & Biases",
        "wandb",
        "'raydash[wandb]'",
        "Run wandb login on the cluster's machine (or set WANDB_API_KEY before the cluster is "
        'launched), or set sinks.wandb_mode = "offline"',
        "raydash.sinks.to_wandb:WandbSink",
        lambda sinks: sinks.wandb_project is not None,
    ),
    SinkKind(
        "mlflow",
        "MLflow",
        "mlflow",
        "'raydash[mlflow]'",
        "See that sinks.mlflow_uri can be reached and written from the cluster's machine",
        "raydash.sinks.to_mlflow:MlflowSink",
        lambda sinks: sinks.mlflow_uri is not None,
    ),
)


def kind_of(key: str) -> SinkKind:
    """The sink of that key.

    Raises:
        KeyError: if there is none.
    """
    return {kind.key: kind for kind in KINDS}[key]


def wanted(sinks: SinksSpec) -> tuple[SinkKind, ...]:
    """The sinks that a spec asks for."""
    return tuple(kind for kind in KINDS if kind.is_wanted(sinks))
