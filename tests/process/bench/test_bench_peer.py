"""A peer of `raydash bench peers` runs in a Python that does not have raydash."""

import subprocess
import sys

from raydash.bench.rollouts import peer


def test_a_peer_prints_its_steps_and_seconds() -> None:
    done = subprocess.run(
        [sys.executable, "-I", peer.__file__, "async_vector_env", "2", "0.2"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    steps, seconds = done.stdout.split()
    assert int(steps) > 0
    assert int(steps) % 2 == 0
    assert float(seconds) >= 0.2
