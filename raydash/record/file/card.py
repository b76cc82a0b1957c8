"""Who a live run is: `<run_id>.run.json` beside its recording, which nobody can read meanwhile.

Written when the recorder has opened the file and removed once the recording is closed well, so
that it also names a run whose file was damaged.
"""

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

from raydash.record.file.json_file import read_table, write_table
from raydash.record.file.rows import RunRow

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunCard:
    """What is known of a run without its recording.

    Attributes:
        name: From the spec; the environment's id if it has none.
        env_id: Of the environment.
        owner: `user@host`.
        started_utc: ISO 8601.
        num_workers: That the spec asks for; 0: it leaves that open.
    """

    name: str
    env_id: str
    owner: str
    started_utc: str
    num_workers: int


def card_of(recording: Path) -> Path:
    """Where the card of a recording is."""
    return recording.with_name(f"{recording.name.removesuffix('.duckdb')}.run.json")


def write_card(recording: Path, run: RunRow) -> None:
    """Leave a card. A disk that does not take it is no matter: the recorder tells of its own."""
    spec = run.spec
    table = {
        "name": spec.name or spec.env.id,
        "env_id": spec.env.id,
        "owner": run.owner,
        "started_utc": run.started_utc,
        "num_workers": spec.rollout.num_workers or 0,
    }
    try:
        write_table(card_of(recording), table, durable=False)
    except OSError as error:
        log.info("no card beside %s: %s", recording, error)


def remove_card(recording: Path) -> None:
    """The recording speaks for itself from now on."""
    with contextlib.suppress(OSError):
        card_of(recording).unlink()


def read_card(recording: Path) -> RunCard | None:
    """The card beside a recording; None if there is none that makes sense."""
    try:
        table = read_table(card_of(recording))
    except (OSError, ValueError):
        return None
    match table:
        case {
            "name": str(name),
            "env_id": str(env_id),
            "owner": str(owner),
            "started_utc": str(started_utc),
            "num_workers": int(num_workers),
        }:
            return RunCard(name, env_id, owner, started_utc, num_workers)
    return None
