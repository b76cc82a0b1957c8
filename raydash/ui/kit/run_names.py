"""Distinct names of runs that are shown side by side. Pure."""

from collections.abc import Sequence


def distinct_names(
    names: Sequence[str], seeds: Sequence[int | None], run_ids: Sequence[str]
) -> list[str]:
    """Make names distinct: where several are the same, add the seed or the end of the id.

    The sequences have the same length; a seed is None where it is not known.
    """
    labels = []
    for name, seed, run_id in zip(names, seeds, run_ids, strict=True):
        same_named = [other for same, other in zip(names, seeds, strict=True) if same == name]
        if len(same_named) == 1:
            labels.append(name)
        elif seed is not None and same_named.count(seed) == 1:
            labels.append(f"{name} · seed {seed}")
        else:
            labels.append(f"{name} · {run_id[-4:]}")
    return labels
