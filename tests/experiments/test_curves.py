"""What the charts of several runs show."""

import re

from experiments.charts import COLORS
from experiments.curves import score_chart


def log(*losses):
    rows = [{"step": step, "loss": 2.0} for step in range(1, 81)]
    return rows + [
        {"step": 5 * i, "evaluation": {"step": 5 * i, "validation_loss": x}} for i, x in enumerate(losses, 1)
    ]


def marks(svg, color):
    """The places of a color's marks, without the one in the legend."""
    found = re.findall(rf'<use [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*fill: {color}', svg)
    return set(found[:-1])


def test_runs_that_lie_on_one_another_have_marks_of_their_own():
    losses = [3 / i for i in range(1, 17)]
    svg = score_chart("loss", {name: log(*losses) for name in "abcde"}, log=True)
    places = [marks(svg, color) for color in COLORS[:5]]
    # What is drawn later covers what is drawn before; every run keeps a mark that none covers.
    assert all(found - set().union(*places[i + 1 :]) for i, found in enumerate(places))


def test_runs_with_one_evaluation_or_none_that_is_finite_are_drawn():
    svg = score_chart("loss", {"one": log(2.0), "none": log(None, None)}, log=True)
    assert svg.startswith("<svg")
