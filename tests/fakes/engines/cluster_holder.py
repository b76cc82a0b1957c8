"""A process that holds a lease on a launched cluster, as an engine does, until its stdin ends.

``python -m tests.fakes.engines.cluster_holder STATE_DIR CACHE_DIR SETTINGS_JSON``
"""

import json
import sys
from pathlib import Path

from raydash.cluster.cluster_file import GuardianSettings
from raydash.cluster.launch import ensure_cluster


def main() -> None:
    state_dir, cache_dir, settings = sys.argv[1:]
    cluster = ensure_cluster(
        state_dir=Path(state_dir),
        cache_dir=Path(cache_dir),
        settings=GuardianSettings(**json.loads(settings)),
    )
    print(json.dumps({"address": cluster.address, "joined": cluster.joined}), flush=True)
    sys.stdin.read()
    cluster.lease.release()


if __name__ == "__main__":
    main()
