"""What the charts of several runs show."""

import re

from optchain.lab.reports.charts import COLORS
from optchain.lab.reports.curves import changes, optimizer_charts, score_chart


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


def test_sizes_of_batches_are_drawn_where_they_vary():
    one = [{"step": step, "loss": 2.0, "batch": 32} for step in range(1, 9)]
    varied = [row | {"batch": 16 * (1 + row["step"] // 4)} for row in one]
    assert optimizer_charts({"one": one}) == []
    assert len(optimizer_charts({"one": varied})) == len(optimizer_charts({"one": one, "other": varied})) == 1


def test_changes_by_hand_are_lines_of_a_single_run():
    rows = log(2.0, 1.0)
    changed = [*rows, {"step": 40, "control": {"lr.learning_rate": 1e-3}}]
    assert changes({"one": changed}) == [40] and changes({"one": changed, "other": rows}) == []
    plain, marked = (score_chart("loss", {"one": one}) for one in (rows, changed))
    assert marked.count("stroke-dasharray") > plain.count("stroke-dasharray")
