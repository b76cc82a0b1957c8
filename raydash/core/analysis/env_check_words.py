"""The result of an environment check in words, for terminal, dialog and clipboard alike. Pure."""

from raydash.core.env_check import EnvCheck
from raydash.core.words import plain

_MAX_NAMED = 8
_TURNS = {"parallel": "acting all at once", "aec": "taking turns"}


def rows_of(found: EnvCheck) -> list[tuple[str, str]]:
    """Put the figures of a check into words, as pairs of a title and a text."""
    rows = _space_rows(found)
    if found.make_time_s is not None:
        median, p95 = _time(found.step_time_median_s), _time(found.step_time_p95_s)
        rows += [
            ("step", f"{median} median, {p95} p95"),
            ("reset", f"{_time(found.reset_time_median_s)} median"),
            ("constructor", _time(found.make_time_s)),
            ("speed", _speed(found)),
            ("episodes", _episodes(found)),
        ]
    if found.vectorization != "none":
        rows.append(("together", _together(found)))
    if found.make_time_s is not None and found.multi_agent is None:
        limit = found.max_episode_steps
        rows += [
            ("limit", "none known" if limit is None else f"{plain.count(limit)} steps an episode"),
            ("vector form", "its own" if found.has_vector_entry_point else "sync only"),
            ("tasks mode", _state(found)),
        ]
    growth = found.memory_growth_bytes
    grown = ""
    if growth is not None:
        grown = f", {'+' * (growth >= 0)}{plain.size(growth)} in its last second"
    rows.append(("memory", f"{plain.size(found.memory_bytes or 0)}{grown}"))
    return rows


def verdict_of(found: EnvCheck) -> str:
    """Sum up how the check went, in a few words: `1 error, 2 warnings`."""
    errors = sum(problem.is_error for problem in found.problems)
    counts = ((errors, "error"), (len(found.problems) - errors, "warning"))
    parts = [plain.plural(count, noun) for count, noun in counts if count]
    return ", ".join(parts) or "no problems found"


def lines_of(found: EnvCheck) -> list[str]:
    """Write the figures of a check, one per line, and then its problems."""
    lines = [found.env_id, *(f"  {name:<13} {text}" for name, text in rows_of(found))]
    for problem in found.problems:
        lines.append(f"  {'ERROR' if problem.is_error else 'warning':<13} {problem.text}")
    if not found.problems:
        lines.append(f"  {verdict_of(found)}")
    return lines


def _space_rows(found: EnvCheck) -> list[tuple[str, str]]:
    if found.multi_agent is None:
        return [
            ("observations", found.observation_space or "-"),
            ("actions", found.action_space or "-"),
        ]
    names = [each.agent for each in found.agents]
    rows = [("agents", f"{len(names)}, {_TURNS[found.multi_agent]}: {_listed(names)}")]
    for title, spaces in (
        ("observations", {each.agent: each.observation_space for each in found.agents}),
        ("actions", {each.agent: each.action_space for each in found.agents}),
    ):
        for space in dict.fromkeys(spaces.values()):
            agents = [agent for agent, its in spaces.items() if its == space]
            of_some = f" of {_listed(agents)}" if len(agents) < len(names) else ""
            rows.append((title, f"{space}{of_some}"))
    return rows


def _listed(names: list[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _speed(found: EnvCheck) -> str:
    rate = found.env_steps_per_s
    if rate is None:
        return "-"
    text = f"{plain.decimal(rate)} steps/s with random actions"
    if found.num_agent_steps is not None and found.num_env_steps:
        actions = rate * found.num_agent_steps / found.num_env_steps
        text += f", {plain.decimal(actions)} actions/s of all agents"
    return text


def _together(found: EnvCheck) -> str:
    rate = found.together_env_steps_per_s
    speed = "not possible" if rate is None else f"{plain.decimal(rate)} steps/s in all"
    return f"{found.num_envs} by {found.vectorization}: {speed}"


def _state(found: EnvCheck) -> str:
    if found.state_bytes is None:
        return "no: its state can't be carried (actors and lockstep step it)"
    what = "its state" if found.is_functional else "the whole environment"
    size = plain.size(found.state_bytes)
    return f"each step carries {what}: {size}, {_time(found.state_time_s)} to pickle and unpickle"


def _episodes(found: EnvCheck) -> str:
    steps = f"{plain.count(found.num_env_steps)} steps"
    if not found.num_episodes:
        return f"none ended in {steps}"
    return (
        f"{plain.count(found.num_episodes)} in {steps}: "
        f"{plain.count(found.num_terminated)} terminated, "
        f"{plain.count(found.num_truncated)} truncated"
    )


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else plain.short_time(seconds)
