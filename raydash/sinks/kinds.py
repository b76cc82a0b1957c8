"""Lists the sinks with their names, libraries and classes, without loading any of them."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from raydash.core.spec import SinksSpec
from raydash.sinks.lines import Row, RunEnd, SinkRun


class Sink(Protocol):
    """Passes one run on to another tool. Any method may raise, block and print."""

    def write(self, row: Row) -> None:
        """Pass on the figures of an instant."""

    def close(self, end: RunEnd) -> None:
        """Pass on the last figures and how the run ended, and flush everything."""


@dataclass(frozen=True, slots=True)
class SinkKind:
    """A tool that runs can be passed on to.

    Attributes:
        key: Its name in names of files and processes.
        title: Its name as users see it.
        library: The package that it needs.
        install: What to pass to `pip install` to get that package.
        remedy: What a user can check when it can't be started or written to.
        factory: `module:class` of the `Sink`.
        is_wanted: Tells whether a spec asks for it.
    """

    key: str
    title: str
    library: str
    install: str
    remedy: str
    factory: str
    is_wanted: Callable[[SinksSpec], bool]

    def open(self, run: SinkRun) -> Sink:
        """Load the library and begin a run there. Takes seconds; may raise anything."""
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
    """Look up a sink by its key.

    Raises:
        KeyError: if there is none.
    """
    return {kind.key: kind for kind in KINDS}[key]


def wanted(sinks: SinksSpec) -> tuple[SinkKind, ...]:
    """List the sinks that a spec asks for."""
    return tuple(kind for kind in KINDS if kind.is_wanted(sinks))
