"""The card of a live run, `<run_id>.run.json`: it says what the locked recording beside it can't.

The recorder writes it when it has opened the recording, and removes it when it has closed that
cleanly. So a run whose recording was damaged still has its card.
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
    """What can be known of a run without opening its recording.

    Attributes:
        name: From the spec; the environment's id if the spec has no name.
        owner: `user@host`.
        started_utc: ISO 8601.
        num_workers: As many as the spec asks for; 0 if it leaves that open.
    """

    name: str
    env_id: str
    owner: str
    started_utc: str
    num_workers: int


def card_of(recording: Path) -> Path:
    """Return the path of a recording's card."""
    return recording.with_name(f"{recording.name.removesuffix('.duckdb')}.run.json")


def write_card(recording: Path, run: RunRow) -> None:
    """Write the card of a run.

    A disk that refuses it is only logged: the recorder meets the same disk and reports it.
    """
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
    """Remove the card, once the recording itself can be read."""
    with contextlib.suppress(OSError):
        card_of(recording).unlink()


def read_card(recording: Path) -> RunCard | None:
    """Read the card beside a recording; None if there is none, or it makes no sense."""
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
