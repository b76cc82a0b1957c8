"""Which number each run of the list has, and with it which colour, for as long as it is there."""

from collections.abc import Iterable


class RunNumbers:
    """The lowest number that is free when a run is first seen; a run that is gone frees its own."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, run_id: str) -> int:
        """The number of a run, given to it now if it has none."""
        if run_id not in self._numbers:
            used = set(self._numbers.values())
            free = (number for number in range(len(used) + 1) if number not in used)
            self._numbers[run_id] = next(free)
        return self._numbers[run_id]

    def known(self, run_id: str) -> int | None:
        """The number of a run, if it has one."""
        return self._numbers.get(run_id)

    def keep(self, run_ids: Iterable[str]) -> None:
        """These are all that there are, in the order in which new ones get their numbers."""
        wanted = list(run_ids)
        self._numbers = {run: n for run, n in self._numbers.items() if run in wanted}
        for run_id in wanted:
            self.of(run_id)
