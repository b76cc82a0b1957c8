"""The declared columns of the worker table: what each shows, means and sorts by."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raydash.core.states import Activity
from raydash.core.updates import RunUpdate, WorkerColumns
from raydash.core.words import numbers, spans
from raydash.ui.kit import run_words


@dataclass(frozen=True, slots=True)
class WorkerRows:
    """What the cells are made from: the workers of one update, and how old it is.

    Attributes:
        workers: All workers of the run.
        nodes: Node addresses that `workers.node` points into.
        since_s: Time since the update arrived, which is added to every age.
    """

    workers: WorkerColumns
    nodes: tuple[str, ...]
    since_s: float = 0.0

    def node(self, row: int) -> str:
        """The address of a worker's node; empty before the worker is placed."""
        number = int(self.workers.node[row])
        return self.nodes[number] if 0 <= number < len(self.nodes) else ""

    def activity(self, row: int) -> Activity:
        """What a worker is doing."""
        return Activity(int(self.workers.activity[row]))

    def activity_age_s(self, row: int) -> float:
        """How long it has been doing that, in seconds."""
        return float(self.workers.activity_age_s[row]) + self.since_s


@dataclass(frozen=True, slots=True)
class WorkerColumn:
    """One column.

    Attributes:
        key: Stable name, for settings and filters (`node:10.`).
        title: The text in the header.
        help: The definition, for a tool tip.
        text: Gives the text of a cell.
        sort_by: Gives one number per worker; NaN sorts last.
        sample: A wide cell's text: the column becomes as wide as that, or as its title.
        is_number: It is right-aligned.
        is_hidden: It is not shown until the user chooses it.
        applies_to: Whether the column says anything of a run; if not, it is left out.
    """

    key: str
    title: str
    help: str
    text: Callable[[WorkerRows, int], str]
    sort_by: Callable[[WorkerRows], NDArray[np.generic]]
    sample: str = ""
    is_number: bool = True
    is_hidden: bool = False
    applies_to: Callable[[RunUpdate], bool] | None = None


# Workers that need attention come first; stepping, resetting and, where something learns, idling
# alternate too fast to be distinguished.
_SEVERITY = np.zeros(len(Activity), np.int32)
for _rank, _activities in enumerate(
    (
        (Activity.FAILED,),
        (Activity.UNREACHABLE,),
        (Activity.STALLED,),
        (Activity.RESTARTING,),
        (Activity.STARTING,),
        (Activity.PAUSING, Activity.PAUSED),
        (Activity.DRAINING,),
        (Activity.STOPPING,),
        (Activity.IDLE, Activity.STEPPING, Activity.RESETTING),
        (Activity.STOPPED,),
    )
):
    for _activity in _activities:
        _SEVERITY[_activity] = _rank


def _share(part: str) -> Callable[[WorkerRows], NDArray[np.generic]]:
    def shares(rows: WorkerRows) -> NDArray[np.generic]:
        whole = rows.workers.num_episodes.astype(np.float64)
        parts = getattr(rows.workers, part)
        return np.where(whole > 0, parts / np.maximum(whole, 1), np.nan)

    return shares


def _share_text(part: str) -> Callable[[WorkerRows, int], str]:
    return lambda rows, row: numbers.percent_of(
        float(getattr(rows.workers, part)[row]), float(rows.workers.num_episodes[row])
    )


def _nodes_in_order(rows: WorkerRows) -> NDArray[np.generic]:
    rank = {node: number for number, node in enumerate(sorted(rows.nodes))}
    ranks = np.array([rank[node] for node in rows.nodes] + [-1], np.int32)
    return ranks[np.clip(rows.workers.node, -1, len(rows.nodes))]


def _versions(rows: WorkerRows) -> NDArray[np.generic]:
    """The versions of the policy, all 0 in a run whose policy has never changed."""
    versions = rows.workers.weights_seq_no
    return versions if len(versions) else np.zeros(len(rows.workers), np.int32)


def _mean_return(rows: WorkerRows, row: int) -> str:
    n = int(rows.workers.return_n[row])
    mean = numbers.decimal(float(rows.workers.return_mean[row]))
    return f"{mean}{numbers.NBSP}·{numbers.NBSP}{n}" if n else numbers.UNKNOWN


def _partial(rows: WorkerRows, row: int) -> str:
    steps = int(rows.workers.partial_len[row])
    if not steps:
        return numbers.UNKNOWN
    so_far = numbers.decimal(float(rows.workers.partial_return[row]))
    return f"{so_far}{numbers.NBSP}in{numbers.NBSP}{numbers.count(steps)}"


COLUMNS: tuple[WorkerColumn, ...] = (
    WorkerColumn(
        "worker",
        "Worker",
        "Number of the worker within its run, from 1.",
        lambda rows, row: str(rows.workers.worker_index[row]),
        lambda rows: rows.workers.worker_index,
        sample="9999",
    ),
    WorkerColumn(
        "activity",
        "Activity",
        "What the worker is doing; a silent worker is stalled, with the time since its last word; "
        "an idle one waits for the learner, or for others to end their part of a generation.",
        lambda rows, row: run_words.activity(rows.activity(row), rows.activity_age_s(row)),
        lambda rows: _SEVERITY[rows.workers.activity],
        sample="stalled 999 s",
        is_number=False,
    ),
    WorkerColumn(
        "node",
        "Node",
        "Address of the machine that it runs on.",
        lambda rows, row: rows.node(row) or numbers.UNKNOWN,
        _nodes_in_order,
        sample="10.0.0.111",
        is_number=False,
    ),
    WorkerColumn(
        "pid",
        "Pid",
        "Its process id on that machine.",
        lambda rows, row: str(rows.workers.pid[row]) if rows.workers.pid[row] else numbers.UNKNOWN,
        lambda rows: rows.workers.pid,
        sample="481234",
    ),
    WorkerColumn(
        "env_steps_per_s",
        "Steps/s",
        "Environment steps per second, over the last 10 s.",
        lambda rows, row: numbers.compact(float(rows.workers.env_steps_per_s[row])),
        lambda rows: rows.workers.env_steps_per_s,
        sample="3.16 k",
    ),
    WorkerColumn(
        "version",
        "Version",
        "Version of the parameters that its newest data were played with: the generation of a "
        "learner, or how often the policy was swapped.",
        lambda rows, row: numbers.count(float(_versions(rows)[row])),
        _versions,
        sample="9 999",
        applies_to=lambda update: update.weights_seq_no > 0 or update.learning is not None,
    ),
    WorkerColumn(
        "return_mean",
        "Return · n",
        "Mean return of its last 100 episodes, and over how many episodes that is.",
        _mean_return,
        lambda rows: rows.workers.return_mean,
        sample="185.1 · 100",
    ),
    WorkerColumn(
        "last_return",
        "Last",
        "Return of its newest finished episode: the undiscounted sum of its rewards.",
        lambda rows, row: numbers.decimal(float(rows.workers.last_return[row])),
        lambda rows: rows.workers.last_return,
        sample="1 204.5",
    ),
    WorkerColumn(
        "partial",
        "So far",
        "Return so far of the unfinished episode of its first environment, in how many steps.",
        _partial,
        lambda rows: rows.workers.partial_len,
        sample="165 in 520",
    ),
    WorkerColumn(
        "episodes",
        "Episodes",
        "Episodes that ended, all its incarnations together, errors included.",
        lambda rows, row: numbers.count(float(rows.workers.num_episodes[row])),
        lambda rows: rows.workers.num_episodes,
        sample="1 204 331",
    ),
    WorkerColumn(
        "terminated",
        "Term.",
        "Share of its episodes with the flag terminated, alone or with the other.",
        _share_text("num_terminated"),
        _share("num_terminated"),
        sample="98.2 %",
    ),
    WorkerColumn(
        "truncated",
        "Trunc.",
        "Share of its episodes with the flag truncated, alone or with the other.",
        _share_text("num_truncated"),
        _share("num_truncated"),
        sample="98.2 %",
    ),
    WorkerColumn(
        "errors",
        "Errors",
        "Episodes that ended in an exception.",
        lambda rows, row: numbers.count(float(rows.workers.num_error[row])),
        lambda rows: rows.workers.num_error,
        sample="9 999",
    ),
    WorkerColumn(
        "restarts",
        "Restarts",
        "Lives before this one: ended by a death or a restart, a change of scale, or with an "
        "earlier supervisor. The restarts of the run are the first two only.",
        lambda rows, row: str(rows.workers.incarnation[row]),
        lambda rows: rows.workers.incarnation,
        sample="99",
    ),
    WorkerColumn(
        "step_time_p95",
        "Step p95",
        "95 % of its sampled calls of env.step were faster than this. In the modes lockstep and "
        "tasks: of its steps there and back, as the stepping loop sees them.",
        lambda rows, row: spans.short_time(float(rows.workers.step_time_p95_s[row])),
        lambda rows: rows.workers.step_time_p95_s,
        sample="99.8 µs",
    ),
    WorkerColumn(
        "cpu",
        "CPU",
        "Of one core.",
        lambda rows, row: numbers.percent(float(rows.workers.cpu_percent[row]) / 100),
        lambda rows: rows.workers.cpu_percent,
        sample="100 %",
    ),
    WorkerColumn(
        "memory",
        "Memory",
        "Resident memory of its process.",
        lambda rows, row: numbers.size(float(rows.workers.rss_bytes[row])),
        lambda rows: rows.workers.rss_bytes,
        sample="117 MB",
    ),
    WorkerColumn(
        "data_age",
        "Age",
        "Time since its newest data came.",
        lambda rows, row: spans.rough(float(rows.workers.data_age_s[row]) + rows.since_s),
        lambda rows: rows.workers.data_age_s,
        sample="999 s",
    ),
    WorkerColumn(
        "seed",
        "Seed",
        "Seed of the first reset of this incarnation.",
        lambda rows, row: str(rows.workers.seed[row]),
        lambda rows: rows.workers.seed,
        sample="9223372036854775807",
        is_hidden=True,
    ),
)
COLUMN_OF = {column.key: number for number, column in enumerate(COLUMNS)}
