"""`raydash check-env`: what a throwaway process found out about an environment."""

import json
from dataclasses import asdict

from raydash.commands.options import fault_of, source_dirs, spec_from_options
from raydash.commands.progress import grouped
from raydash.core.env_check import EnvCheck
from raydash.core.faults import FaultError
from raydash.core.spec import SpecError
from raydash.worker.trial import check_environment

EXIT_FINE, EXIT_BAD = 0, 2


def check_and_print(env_id: str, env_kwargs: str | None = None, *, as_json: bool = False) -> int:
    """Check, and print what was found; 0 if it is fine (warnings are), 2 if it is not.

    Args:
        env_id: Its name.
        env_kwargs: JSON of its keyword arguments.
        as_json: One JSON object on stdout, also if it could not be checked.

    Raises:
        FaultError: if it can't be made or reset, hangs or crashes, or the input is bad.
    """
    try:
        spec = spec_from_options(None, {"env.id": env_id, "env.kwargs": env_kwargs})
        found = check_environment(spec.env, source_dirs(None))
    except SpecError as error:
        raise _told(FaultError(fault_of(error)), env_id, as_json) from None
    except FaultError as error:
        raise _told(error, env_id, as_json) from None
    assert found is not None  # nobody cancels it
    if as_json:
        print(json.dumps({**asdict(found), "ok": found.ok, "fault": None}))
    else:
        print("\n".join(lines_of(found)))
    return EXIT_FINE if found.ok else EXIT_BAD


def lines_of(found: EnvCheck) -> list[str]:
    """The figures of a check, a line each, then its problems."""
    limit = found.max_episode_steps
    growth = found.memory_growth_bytes
    grown = "" if growth is None else f", {growth / 2**20:+.1f} MiB in its last second"
    rate = found.env_steps_per_s
    rows = [
        ("observations", found.observation_space),
        ("actions", found.action_space),
        ("step", f"{_time(found.step_time_median_s)} median, {_time(found.step_time_p95_s)} p95"),
        ("reset", f"{_time(found.reset_time_median_s)} median"),
        ("constructor", _time(found.make_time_s)),
        ("speed", "-" if rate is None else f"{grouped(round(rate))} steps/s with random actions"),
        ("episodes", _episodes(found)),
        ("limit", "none known" if limit is None else f"{grouped(limit)} steps an episode"),
        ("vector form", "its own" if found.has_vector_entry_point else "sync only"),
        ("tasks mode", _state(found)),
        ("memory", f"{(found.memory_bytes or 0) / 2**20:.0f} MiB{grown}"),
    ]
    lines = [found.env_id, *(f"  {name:<13} {text}" for name, text in rows)]
    for problem in found.problems:
        lines.append(f"  {'ERROR' if problem.is_error else 'warning':<13} {problem.text}")
    if not found.problems:
        lines.append("  no problems found")
    return lines


def _state(found: EnvCheck) -> str:
    if found.state_bytes is None:
        return "no: its state can't be carried (actors and lockstep step it)"
    what = "its state" if found.is_functional else "the whole environment"
    size = f"{grouped(found.state_bytes)} bytes"
    return f"each step carries {what}: {size}, {_time(found.state_time_s)} to pickle and unpickle"


def _episodes(found: EnvCheck) -> str:
    steps = f"{grouped(found.num_env_steps)} steps"
    if not found.num_episodes:
        return f"none ended in {steps}"
    return (
        f"{grouped(found.num_episodes)} in {steps}: {grouped(found.num_terminated)} terminated, "
        f"{grouped(found.num_truncated)} truncated"
    )


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1.0:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.2g} µs"


def _told(error: FaultError, env_id: str, as_json: bool) -> FaultError:
    """With `--json` there is one JSON object on stdout whatever happens."""
    if as_json:
        print(json.dumps({"env_id": env_id, "ok": False, "fault": asdict(error.fault)}))
    return error
