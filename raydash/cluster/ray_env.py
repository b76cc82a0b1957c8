"""The environment of a Ray driver, to be set before `import ray`.

Ray reads most of its settings once, when it is imported. Never imports ray itself.
"""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from raydash.cluster.processes import MARKER

_FIXED = {
    # Without it a stray ray call after a shutdown starts a whole new cluster in /tmp/ray:
    # https://github.com/ray-project/ray/issues/64206 has a like case.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    # Under `uv run` Ray would ship the working folder and start its workers through uv:
    # https://github.com/ray-project/ray/pull/53060
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
DRIVER_ONLY = {
    # A wrong token is reported after 1 s instead of 20 s, a dead port after 6 s instead of never.
    "RAY_gcs_server_port_wait_time_s": "1",
    "RAY_py_gcs_connect_timeout_s": "3",
    "RAY_gcs_rpc_server_connect_timeout_s": "1",
}
"""Short timeouts for a driver that a user waits for; a launched cluster must not inherit them."""
_FOREIGN = (
    "RAY_ADDRESS",  # the address is always given explicitly
    "RAY_NAMESPACE",
    "RAY_JOB_CONFIG_JSON_ENV_VAR",
    "PYTHONDONTWRITEBYTECODE",  # workers would inherit it, and compile Ray again each time
    MARKER,  # a driver does not belong to a cluster that may have started it
)


def find_token(base: Mapping[str, str], token_path: Path | None) -> Path | str | None:
    """Find the token to connect with: the given path, or else what Ray itself would take.

    Returns:
        A path, or the token itself (`RAY_AUTH_TOKEN`), or None if there is none.
    """
    if token_path is not None:
        return token_path
    if base.get("RAY_AUTH_TOKEN"):
        return base["RAY_AUTH_TOKEN"]
    if base.get("RAY_AUTH_TOKEN_PATH"):
        return Path(base["RAY_AUTH_TOKEN_PATH"])
    default = Path(base.get("HOME") or Path.home()) / ".ray" / "auth_token"
    return default if default.is_file() else None


def driver_environment(
    base: Mapping[str, str], *, token_path: Path | None = None, cache_dir: Path | None = None
) -> dict[str, str]:
    """Return the whole environment of a process that connects to a cluster.

    Args:
        base: The environment so far (`os.environ`).
        token_path: File with the cluster's token; always given for a launched cluster.
        cache_dir: Where to keep byte-code; None leaves that as it is.
    """
    environment = {name: value for name, value in base.items() if name not in _FOREIGN}
    environment.update(_FIXED | DRIVER_ONLY)
    token = find_token(base, token_path)
    # Always explicit, because with an address Ray never turns the token on by itself.
    environment["RAY_AUTH_MODE"] = "disabled" if token is None else "token"
    if isinstance(token, Path):
        environment.pop("RAY_AUTH_TOKEN", None)  # it would be taken instead of the path
        environment["RAY_AUTH_TOKEN_PATH"] = str(token)
    if cache_dir is not None:
        environment["PYTHONPYCACHEPREFIX"] = str(cache_dir / "pycache")
    return environment


def apply_driver_environment(
    *,
    token_path: Path | None = None,
    cache_dir: Path | None = None,
    environ: MutableMapping[str, str] = os.environ,
) -> None:
    """Turn this process's environment into that of a driver. Call it before `import ray`."""
    wanted = driver_environment(environ, token_path=token_path, cache_dir=cache_dir)
    for name in set(environ) - set(wanted):
        del environ[name]
    environ.update(wanted)
