"""`scripts/chaos`: kill supervisors at random moments, and look whether anything was lost.

Two runs at once on a real cluster: CartPole, and an environment that numbers its episodes. A
terminal notes which totals it was sent and when. At the end the recordings must hold everything
that was sent more than a second before each kill, and nothing twice.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from raydash.core.messages import Verb
from raydash.record.file.schema import Connection
from raydash.record.read.query import open_read_only
from tests.fakes.engines.terminal import SeenRun, Terminal
from tests.fakes.runs.recount import check_recording

MAX_LOST_S = 1.0
LONGEST_WAIT_S = 4.0
NUMBERED = {"id": "tests.fakes.user_code.envs:NumberedEnv"}
Wait = Callable[[Callable[[], object], str], None]


@dataclass(frozen=True, slots=True)
class SeenTotals:
    """The totals in an update, with when (monotonic) and by which incarnation they were sent."""

    at_s: float
    incarnation: int
    num_env_steps: int
    num_episodes: int


@dataclass(frozen=True, slots=True)
class Kill:
    """One `kill -9` of a supervisor: its incarnation, when (monotonic), how long it was away."""

    incarnation: int
    at_s: float
    restarted_after_s: float


@dataclass(frozen=True, slots=True)
class KillReport:
    """What one kill has cost: totals sent before it, totals resumed from, and the oldest loss."""

    run: str
    incarnation: int
    seen_episodes: int
    restored_episodes: int
    lost_s: float
    restarted_after_s: float


class Victim:
    """A run whose supervisor is killed, and the totals that it has sent."""

    def __init__(self, name: str, run: SeenRun) -> None:
        self.name = name
        self.run = run
        self.seen: list[SeenTotals] = []
        self.kills: list[Kill] = []
        self._seq = (-1, -1)

    def note(self) -> None:
        """Record the totals of the newest update, unless they are recorded already."""
        latest = self.run.latest
        seq = (latest.health.incarnation, latest.seq)
        if seq != self._seq:
            self._seq = seq
            figures = latest.figures
            self.seen.append(
                SeenTotals(
                    time.monotonic(),
                    latest.health.incarnation,
                    figures.num_env_steps_sampled_lifetime,
                    figures.num_episodes_lifetime,
                )
            )

    def kill(self, wait: Wait) -> None:
        """Kill its supervisor, and wait for the next one."""
        incarnation = self.run.latest.health.incarnation
        at_s = time.monotonic()
        os.kill(self.run.latest.health.pid, signal.SIGKILL)
        wait(
            lambda: self.run.latest.health.incarnation > incarnation,
            f"life {incarnation + 1} of {self.name}",
        )
        self.kills.append(Kill(incarnation, at_s, time.monotonic() - at_s))

    def reports(self) -> list[KillReport]:
        """What each kill has cost, by the recording.

        Raises:
            AssertionError: if the recording disagrees with the totals that were sent.
        """
        check_recording(self.run)
        with closing(open_read_only(self.run.recording)) as connection:
            _check_commits(connection)
            _check_history(connection)
            if self.name == "numbered":
                _check_numbers(connection)
            began = dict(
                connection.execute("SELECT incarnation, started_s FROM incarnations").fetchall()
            )
            assert sorted(began) == list(range(len(self.kills) + 1)), began
            return [
                self._report(connection, kill, began[kill.incarnation + 1]) for kill in self.kills
            ]

    def _report(self, connection: Connection, kill: Kill, last_t_s: float) -> KillReport:
        restored = connection.execute(
            "SELECT coalesce(sum(steps), 0), coalesce(sum(episodes), 0) FROM"
            " (SELECT max(num_env_steps) AS steps, max(num_episodes) AS episodes"
            " FROM worker_totals WHERE t_s <= ? GROUP BY worker_index, incarnation)",
            [last_t_s],
        ).fetchone()
        # Earlier incarnations do not count: what they lost is charged to their own kill.
        before = [seen for seen in self.seen if seen.incarnation == kill.incarnation]
        lost = [
            kill.at_s - seen.at_s
            for seen in before
            if seen.num_env_steps > int(restored[0]) or seen.num_episodes > int(restored[1])
        ]
        seen_episodes = max((seen.num_episodes for seen in before), default=0)
        lost_s = max(lost, default=0.0)
        return KillReport(
            self.name,
            kill.incarnation,
            seen_episodes,
            int(restored[1]),
            lost_s,
            kill.restarted_after_s,
        )


def _check_commits(connection: Connection) -> None:
    """No transaction is missing, and time never goes back."""
    count, low, high, steps_back = connection.execute(
        "SELECT count(*), min(number), max(number), count(*) FILTER (t_s < before) FROM"
        " (SELECT number, t_s, lag(t_s) OVER (ORDER BY number) AS before FROM commits)"
    ).fetchone()
    assert (low, high, steps_back) == (1, count, 0), (count, low, high, steps_back)


def _check_history(connection: Connection) -> None:
    """The buckets hold every episode and step once."""
    in_buckets, steps = connection.execute(
        "SELECT sum(num_terminated + num_truncated + num_both + num_error), sum(num_env_steps)"
        " FROM history"
    ).fetchone()
    (episodes,) = connection.execute("SELECT count(*) FROM episodes").fetchone()
    (total,) = connection.execute(
        "SELECT sum(steps) FROM (SELECT max(num_env_steps) AS steps FROM worker_totals"
        " GROUP BY worker_index, incarnation)"
    ).fetchone()
    assert in_buckets == episodes, (in_buckets, episodes)
    assert abs(steps - int(total)) < 50, (steps, total)


def _check_numbers(connection: Connection) -> None:
    """Every incarnation of every worker has played episodes 1, 2, 3, ... without a gap."""
    incarnations = connection.execute(
        "SELECT worker_index, incarnation, list(episode_return ORDER BY rowid) FROM episodes"
        " GROUP BY ALL"
    ).fetchall()
    for worker, incarnation, returns in incarnations:
        wanted = np.arange(1, len(returns) + 1)
        assert np.array_equal(np.array(returns), wanted), (worker, incarnation, returns[:20])


def chaos(terminal: Terminal, *, num_kills: int, seed: int) -> list[KillReport]:
    """Kill supervisors at random, then stop the runs and check their recordings.

    The terminal must be connected. `num_kills` are spread over both runs; `seed` decides which
    supervisor is killed when.

    Raises:
        AssertionError: if a run does not go on, or its recording is not what it must be.
    """
    rng = random.Random(seed)
    victims = [
        Victim("cartpole", terminal.start()),
        Victim("numbered", terminal.start(env=NUMBERED)),
    ]

    def wait(condition: Callable[[], object], what: str) -> None:
        def look() -> object:
            for victim in victims:
                victim.note()
            return condition()

        terminal.wait(look, what)

    for number in range(num_kills):
        victim = victims[number % 2] if number < 2 else rng.choice(victims)
        until_s = time.monotonic() + rng.uniform(0.0, LONGEST_WAIT_S)
        wait(partial(_is_past, until_s), "time passes")
        victim.kill(wait)
        print(f"{number + 1}/{num_kills}: {victim.name}", file=sys.stderr, flush=True)
    for victim in victims:
        wait(victim.run.is_stepping, f"{victim.name} steps again")
        assert terminal.ask(victim.run, Verb.STOP) is None
        terminal.end_of(victim.run)
    return [report for victim in victims for report in victim.reports()]


def _is_past(until_s: float) -> bool:
    return time.monotonic() >= until_s


@contextmanager
def _private_folders() -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="rdc-", dir="/tmp") as home:
        os.environ["RAYDASH_STATE_DIR"] = str(Path(home) / "s")
        os.environ["RAYDASH_DATA_DIR"] = str(Path(home) / "d")
        yield


def main() -> int:
    """Print a row per kill; return 0 if no kill has cost more than a second."""
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("kills", nargs="?", type=int, default=50, help="how many (50)")
    parser.add_argument("--seed", type=int, default=None, help="of who is killed when")
    arguments = parser.parse_args()
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    with _private_folders():
        terminal = Terminal()
        try:
            terminal.connect()
            reports = chaos(terminal, num_kills=arguments.kills, seed=seed)
        finally:
            terminal.close()
    print(f"{'run':10} {'life':>4} {'told':>9} {'gone on from':>12} {'lost s':>7} {'back s':>7}")
    for report in reports:
        print(
            f"{report.run:10} {report.incarnation:4} {report.seen_episodes:9,}"
            f" {report.restored_episodes:12,} {report.lost_s:7.2f} {report.restarted_after_s:7.2f}"
        )
    worst = max((report.lost_s for report in reports), default=0.0)
    is_good = worst <= MAX_LOST_S
    verdict = "nothing else was lost, nothing is double" if is_good else "too much was lost"
    print(f"seed {seed}: {len(reports)} kills; at most {worst:.2f} s lost; {verdict}")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
