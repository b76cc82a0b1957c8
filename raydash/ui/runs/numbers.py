"""The number of each run in the list, from which its colour follows as long as it is there."""

from collections.abc import Iterable


class RunNumbers:
    """Gives each new run the lowest free number; a run that is gone frees its own."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, run_id: str) -> int:
        """The number of a run, which gets one now if it has none."""
        if run_id not in self._numbers:
            used = set(self._numbers.values())
            free = (number for number in range(len(used) + 1) if number not in used)
            self._numbers[run_id] = next(free)
        return self._numbers[run_id]

    def known(self, run_id: str) -> int | None:
        """The number of a run, if it has one."""
        return self._numbers.get(run_id)

    def keep(self, run_ids: Iterable[str]) -> None:
        """Free the numbers of all other runs, and number new ones in this order."""
        wanted = list(run_ids)
        self._numbers = {run: n for run, n in self._numbers.items() if run in wanted}
        for run_id in wanted:
            self.of(run_id)
