"""`raydash run` with the stand-in engine: `python terminal_run.py STORY FOLDER [OPTION...]`.

Options: `--detach`, `--json`, `--steps=N`.
"""

import sys
from functools import partial

from raydash.terminal.commands.options import spec_from_options
from raydash.terminal.commands.run import run_headless
from raydash.terminal.engine_client import EngineClient
from tests.fakes.engines import terminal_engine


def main() -> int:
    story, folder, *options = sys.argv[1:]
    steps = [int(option.split("=")[1]) for option in options if option.startswith("--steps=")]
    command = (sys.executable, terminal_engine.__file__, story, folder)
    return run_headless(
        lambda: spec_from_options(None, {"stop.env_steps": steps[0] if steps else None}),
        detach="--detach" in options,
        as_json="--json" in options,
        try_first=lambda *order, **options: None,
        open_engine=partial(EngineClient, command, end_grace_s=2.0),
    )


if __name__ == "__main__":
    sys.exit(main())
