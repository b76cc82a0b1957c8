"""Only collected by `scripts/test --extras`, which has the optional packages."""

import os

collect_ignore_glob = [] if os.environ.get("RAYDASH_TEST_EXTRAS") else ["test_*.py"]
