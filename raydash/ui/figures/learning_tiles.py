"""The texts of the tiles of a run that learns. Pure functions of an update."""

import math

from raydash.core.updates import LearningFigures, RunUpdate
from raydash.core.words import numbers, spans
from raydash.ui.figures.tile_text import TileText, join_parts, with_steady_width


def evaluation_text(learning: LearningFigures) -> TileText:
    """The newest evaluation beside the target; green once the target is reached."""
    mean, target = learning.evaluation_episode_return_mean, learning.target_return
    best = learning.best_episode_return_mean
    best_words = f"best candidate {numbers.decimal(best)}" if math.isfinite(best) else ""
    aim = f"target {numbers.decimal(target)}" if target is not None else ""
    if not math.isfinite(mean):
        waiting = "no evaluation yet"
        return TileText(
            numbers.UNKNOWN,
            (join_parts(waiting, aim, best_words), join_parts(waiting, aim), waiting),
            "muted",
        )
    is_reached = target is not None and mean >= target
    over = f"{numbers.plural(learning.evaluation_n, 'episode')}"
    return TileText(
        with_steady_width(mean),
        (
            join_parts(f"mean of {over} of the best guess", aim, best_words),
            join_parts(f"mean of {over}", aim, best_words),
            join_parts(f"n = {numbers.count(learning.evaluation_n)}", aim, best_words),
            join_parts(f"n = {numbers.count(learning.evaluation_n)}", aim),
        ),
        "good" if is_reached else "text",
    )


def generation_text(update: RunUpdate, learning: LearningFigures) -> TileText:
    """The generation that is being played, its age, and how much of it has been played."""
    if not learning.weights_seq_no:
        return TileText(numbers.UNKNOWN, ("the learner is starting",), "muted")
    extra = [
        numbers.plural(number, noun)
        for number, noun in (
            (learning.num_restarts, "restart"),
            (learning.num_stale, "stale result"),
        )
        if number
    ]
    extras = [join_parts(*extra), join_parts(*extra[:1]), ""]
    if update.state.is_over:
        finished = numbers.plural(learning.num_generations, "finished generation")
        parameters = numbers.plural(learning.num_parameters, "parameter")
        longest = [join_parts(finished, parameters, text) for text in extras]
        return TileText(numbers.count(learning.num_generations), (*longest, finished))
    age = f"{spans.rough(learning.weights_age_s)} old"
    played = (
        f"{numbers.count(learning.num_played)} of {numbers.count(learning.population)} played"
        if learning.population
        else ""
    )
    return TileText(
        numbers.count(learning.weights_seq_no),
        (*(join_parts(age, played, text) for text in extras), played or age),
    )
