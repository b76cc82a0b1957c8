"""Feeds a file of stimuli to a machine again, and prints what it decides, up to where it raises."""

import argparse
import sys
import traceback
from pathlib import Path

from raydash.core.machine.stimuli import Instruction, Stimulus
from raydash.supervise.keeping.stimulus_log import machine_of, read_log, workers_of


def main() -> int:
    """Play one file again.

    Returns:
        0 if nothing raised, 1 if a stimulus or the machine's own rules did, 2 for a file that
        can't be read.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--worker", type=int, help="print only what is about this worker")
    arguments = parser.parse_args()
    try:
        header, stimuli = read_log(arguments.file)
    except (OSError, ValueError) as error:
        print(f"{arguments.file} can't be played again: {error}", file=sys.stderr)
        return 2
    print(f"run {header.run_id}, {len(stimuli)} stimuli; it ended with {header.error}")
    if not header.start.is_run_start:
        print(f"It begins in the middle, at {header.start.t_s:.3f} s: requests are assumed.")
    machine = machine_of(header)
    for t_s, stimulus in stimuli:
        try:
            instructions = machine.handle(stimulus, t_s)
            machine.validate()
        except Exception:
            print(f"{t_s:10.3f} s  {stimulus}\n")
            traceback.print_exc()
            return 1
        _print(t_s, stimulus, instructions, arguments.worker)
    print("The machine took all of it: what raised lies outside the machine.")
    print(header.traceback)
    return 0


def _print(
    t_s: float, stimulus: Stimulus, instructions: list[Instruction], worker: int | None
) -> None:
    about = [each for each in instructions if worker in (None, getattr(each, "worker_index", None))]
    if worker is None or about or worker in workers_of(stimulus):
        print(f"{t_s:10.3f} s  {stimulus}")
        for instruction in about:
            print(f"{'':12} -> {instruction}")


if __name__ == "__main__":
    sys.exit(main())
