"""A study around advice: which numbers are searched, from where to where, and which points are tried first."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optchain.lab.probes.advice.advice import Advice

SEARCHED = ("optimizer.lr.learning_rate.peak", "optimizer.decay.weight_decay")
REACH = 10.0  # times less and times more than advised, which are searched
TRIALS = 20


def of_study(advice: Sequence[Advice], earlier: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[Advice]:
    """The tables `[search]` and `[space]`.

    Args:
        advice: on the configuration.
        earlier: points of earlier studies, and where each is from.
    """
    advised = {one.key: one.value for one in advice if one.key in SEARCHED}
    points = [("advised above", advised), *earlier]
    yield Advice("search.trials", TRIALS, f"of {len(advised)} numbers")
    yield Advice("search.sampler", "tpe", "learns from the first trials")
    why = "; ".join(f"{number}. {where}" for number, (where, _) in enumerate(points, 1))
    yield Advice("search.enqueue", [dict(point) for _, point in points], f"tried first: {why}")
    for key in advised:
        values = [point[key] for _, point in points if key in point]
        low, high = (float(f"{x:.2g}") for x in (min(values) / REACH, max(values) * REACH))
        yield Advice(f'space."{key}".use', "log", "what matters is by how many times it is changed")
        yield Advice(f'space."{key}".low', low, f"a {REACH:g}th of the least that is tried first")
        yield Advice(f'space."{key}".high', high, f"{REACH:g} times the most that is tried first")
